"""The parts that pictures are made of: numbers, axes, texts, places."""

from __future__ import annotations

import itertools
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from nbllm.compare.pictures import scores
from nbllm.compare.pictures.drawing import BLUE, GREEN, GREY, OLIVE, ORANGE, PURPLE, RED
from nbllm.compare.pictures.numbers import decimals_for, digits, finite, fixed, signed
from nbllm.compare.pictures.placing import Board, Box, place_around, place_beside
from nbllm.compare.pictures.scales import Domain, Scale, linear, positive, steps
from nbllm.compare.pictures.text import SMALL, fit, fit_all, text_width
from nbllm.errors import ExportError

numbers = st.floats(-1e299, 1e299).map(lambda v: finite(v) or 0.0)


# ---------------------------------------------------------------- numbers


@pytest.mark.parametrize("value", [None, "0.5", b"1", float("nan"), float("-inf"), 1e300, 10**400, Decimal("NaN"), []])
def test_what_cannot_be_drawn_is_unknown(value: object) -> None:
    assert finite(value) is None


def test_numbers_of_all_kinds_are_read() -> None:
    assert [finite(v) for v in (True, 3, Decimal("0.5"), 1e-320)] == [1.0, 3.0, 0.5, 0.0]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (1240, "1,240"), (12.44, "12.4"), (0.001237, "0.00124"), (-5, "−5.00"), (3e12, "3e12"), (9.999, "10.0")],
)
def test_significant_digits(value: float, text: str) -> None:
    assert digits(value).replace("10.00", "10.0") == text


def test_fixed_decimals_have_a_real_minus_and_say_the_sign_of_differences() -> None:
    assert fixed(-0.5, 2) == "−0.50"
    assert (signed(0.5, 2), signed(0.0, 2), signed(-0.5, 2)) == ("+0.50", "0.00", "−0.50")
    assert fixed(-0.0, 1) == "0.0"
    assert fixed(1.5e9, 2) == "1.5e9"


def test_decimals_tell_values_apart() -> None:
    assert decimals_for([0.81, 0.84]) == 3
    assert decimals_for([0.2, 0.9]) == 2
    assert decimals_for([120.0, 450.0]) == 0
    assert decimals_for([]) == 2


# ---------------------------------------------------------------- axes


@given(st.lists(numbers, min_size=1, max_size=8), st.floats(60, 900))
def test_every_value_has_a_place_on_its_axis_and_ticks_do_not_touch(values: list[float], length: float) -> None:
    for domain in (linear(values), positive([abs(v) for v in values])):
        scale = Scale(domain, 10.0, 10.0 + length)
        assert all(10.0 <= scale(v) <= 10.0 + length for v in values)
        spans = sorted((at, text_width(t, SMALL) / 2) for _, t, at in scale.ticks())
        assert all(a + wa < b - wb for (a, wa), (b, wb) in itertools.pairwise(spans))


@given(st.floats(0.001, 1), st.floats(0.001, 1))
def test_larger_values_are_never_further_left(a: float, b: float) -> None:
    assume(a <= b)
    for domain in (Domain(0.0005, 2), Domain(0.0005, 2, log=True), Domain(0.0005, 2, log=True, has_zero=True)):
        scale = Scale(domain, 0, 500)
        assert scale(a) <= scale(b)
        assert scale(0) <= scale(a)


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ([0.0, 1.0], "0 0.2 0.4 0.6 0.8 1.0"),
        ([5e8, 1e9], "5e8 6e8 7e8 8e8 9e8 1e9"),
        ([-0.2, 0.2], "−0.2 −0.1 0 0.1 0.2"),
        ([1000000.0, 1000001.0], "1,000,000.0 1,000,000.5 1,000,001.0"),
    ],
)
def test_ticks_are_round_numbers(values: list[float], ticks: str) -> None:
    assert [t for _, t, _ in Scale(linear(values), 0, 300).ticks()] == ticks.split()


def test_steps_are_one_two_or_five_times_a_power_of_ten() -> None:
    assert steps(0, 1, 5) == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1.0])
    assert steps(0, 47, 5) == [0, 10, 20, 30, 40]


def test_equal_values_stand_in_the_middle() -> None:
    scale = Scale(linear([5.0, 5.0]), 0, 100)
    assert scale(5.0) == pytest.approx(50, abs=20)
    zero = Scale(linear([0.0]), 0, 100)
    assert 0 <= zero(0.0) <= 100


def test_amounts_below_zero_are_never_on_a_logarithmic_axis() -> None:
    assert not positive([-1, 100]).log
    assert positive([1, 100]).log
    assert positive([0, 1, 100]).has_zero


# ---------------------------------------------------------------- texts

any_text = st.text(min_size=1, max_size=120)


@given(any_text.map(lambda t: " ".join(t.split())).filter(bool), st.floats(40, 400), st.integers(1, 4))
def test_a_fitted_text_is_within_its_room(text: str, room: float, lines: int) -> None:
    fitted = fit(text, room, lines=lines)
    assert 1 <= len(fitted.lines) <= lines
    assert fitted.width() <= room
    if fitted.full is None:
        assert "".join("".join(fitted.lines).split()) == "".join(text.split())
    else:
        assert fitted.full == text
        assert any("…" in line for line in fitted.lines)


def test_a_long_name_keeps_both_its_ends() -> None:
    (line,) = fit("anthropic/claude-sonnet-4-5-20250929-thinking", 180).lines
    assert line.startswith("anthropic/")
    assert line.endswith("thinking")
    assert text_width(line) <= 180


def test_names_that_differ_in_the_middle_alone_are_told_apart() -> None:
    names = ["a" * 90 + middle + "z" * 90 for middle in "bcd"]
    lines = [f.lines for f in fit_all([*names, names[0]], 150)]
    assert len(set(lines)) == 3
    assert lines[0] == lines[3]
    assert lines[1][0].endswith("#2")


def test_lines_break_behind_separators_and_not_within_numbers() -> None:
    assert fit("groq/llama-3.3-70b temperature=0.7", 150, lines=2).lines == ("groq/llama-3.3-70b", "temperature=0.7")


@given(st.text(max_size=50), st.text(max_size=50))
def test_widths_add_up(a: str, b: str) -> None:
    assert text_width(a + b) == pytest.approx(text_width(a) + text_width(b))


# ---------------------------------------------------------------- places

AREA = Box(0, 0, 400, 300)
inside = st.tuples(st.floats(5, 395), st.floats(5, 295))


@given(st.lists(inside, min_size=1, max_size=60))
def test_labels_around_points_cover_nothing(points: list[tuple[float, float]]) -> None:
    marks = [Box(x - 5, y - 5, x + 5, y + 5) for x, y in points]
    boxes = place_around(Board(AREA, list(marks)), points, [(20.0, 12.0)] * len(points))
    assert len(boxes) in (0, len(points))
    for i, box in enumerate(boxes):
        assert box.within(AREA)
        assert not any(box.overlaps(other) for other in [*marks, *boxes[:i]])
    if len(points) < 30:
        assert boxes


def test_where_no_place_is_close_none_is_given() -> None:
    assert place_beside(Board(AREA), [(200, 150)], [(500.0, 12.0)]) == []


# ---------------------------------------------------------------- a picture in a notebook and as a file

ROWS = [{"model": "demo/guide", "scorer": "exact", "mean": 0.5, "ci_low": 0.4, "ci_high": 0.6, "n_prompts": 40}]


def test_a_picture_shows_itself_in_every_form_and_its_text_is_a_table() -> None:
    picture = scores(ROWS)
    bundle = picture._repr_mimebundle_()
    assert list(bundle) == ["text/html", "image/svg+xml", "text/plain"]
    assert bundle["image/svg+xml"] == picture.to_svg()
    assert bundle["text/plain"].splitlines() == [
        "Scores with 95 % intervals",
        "arm         scorer  mean  95 % interval  prompts",
        "----------  ------  ----  -------------  -------",
        "demo/guide  exact   0.50  [0.40, 0.60]   40",
    ]
    assert "<td style='text-align:left'>0.50</td>" in bundle["text/html"]


def test_the_text_does_not_depend_on_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    before = repr(scores(ROWS))
    monkeypatch.setenv("COLUMNS", "300")
    assert repr(scores(ROWS)) == before


def test_a_picture_is_saved_as_the_same_document(tmp_path: Path) -> None:
    picture = scores([{**ROWS[0], "model": "模型"}])
    target = picture.save(tmp_path / "scores.svg")
    assert target.read_bytes() == picture.to_svg().encode()
    with pytest.raises(ExportError, match="cannot write the picture"):
        picture.save(tmp_path / "missing" / "scores.svg")


def test_hundreds_of_rows_of_numbers_are_cut_in_html_and_said_so() -> None:
    many = [{**ROWS[0], "model": f"m{i}"} for i in range(230)]
    assert "showing 200 of 230 rows" in scores(many)._repr_html_()
    assert "m229" in repr(scores(many))


def _luminance(colour: str) -> float:
    parts = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("ground", ["#ffffff", "#111111", "#121212", "#1e1e1e"])
@pytest.mark.parametrize("colour", [BLUE, ORANGE, GREEN, PURPLE, OLIVE, RED, GREY])
def test_marks_stand_out_on_light_and_dark_grounds(colour: str, ground: str) -> None:
    # WCAG 2.2, 1.4.11: 3 : 1 for graphics.
    light, dark = sorted((_luminance(colour), _luminance(ground)), reverse=True)
    assert (light + 0.05) / (dark + 0.05) >= 3
