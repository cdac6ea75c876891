"""What every picture promises, whatever its rows hold."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nbllm.compare.pictures import PICTURES, Svg
from nbllm.compare.pictures.arms import arm_name
from nbllm.errors import UsageError
from payloads import PAYLOADS
from unit.compare.pictures.reading import check, description, parse, texts

HARD_NAMES = (
    "排序模型" * 30,
    "שלום/עולם " * 12,
    "</svg><script>alert(1)</script>",
    "]]><![CDATA[&amp;&#0;",
    "😀👩\u200d💻" * 10,
    "x" * 200,
    "a" * 99 + "b" + "c" * 100,
    "a" * 99 + "d" + "c" * 100,
    "\u202eevil\ufffe\uffff\x00\ud800\U0010ffff",
    "مرحبا" * 15,
    "e\u0301" * 90,
    "W" * 60,
)

names = st.one_of(
    st.sampled_from(HARD_NAMES),
    st.text(min_size=1, max_size=60),
    st.from_regex(r"[a-z]{3,12}/[a-z]{2,20}(-[0-9a-z]{1,8}){0,6}", fullmatch=True),
)
values = st.one_of(
    st.none(),
    st.floats(0, 1),
    st.floats(-10, 10),
    st.floats(),
    st.sampled_from([0, 1, True, -1e307, 1e307, 5e-324, 10**400, "0.5", "", Decimal("0.25"), Decimal("sNaN")]),
)
counts = st.one_of(st.none(), st.integers(0, 10**9))


def row_of(columns: tuple[str, ...], numbers: tuple[str, ...]) -> st.SearchStrategy[dict[str, Any]]:
    fields: dict[str, st.SearchStrategy[Any]] = dict.fromkeys(columns, names)
    fields |= {column: counts if column.startswith("n") and "_" in column else values for column in numbers}
    return st.fixed_dictionaries({}, optional=fields | {"scorer": st.sampled_from(["exact", "a" * 90, None])})


SUMMARY = ("mean", "ci_low", "ci_high", "n_prompts", "n_cells", "n_errors", "cost_usd")
LATENCY = ("latency_p50_ms", "latency_p95_ms", "p50_low_ms", "p50_high_ms", "p95_low_ms", "p95_high_ms", "latency_ms")
ROWS: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "scores": row_of(("model", "label", "params"), SUMMARY),
    "differences": row_of(("a", "b"), ("difference", "ci_low", "ci_high", "mde", "n_prompts")),
    "latency": row_of(("model", "label"), LATENCY),
    "cost": row_of(("model", "label"), SUMMARY),
    "wins": row_of(("a", "b"), ("win_rate", "n")),
}


@pytest.mark.parametrize("kind", sorted(PICTURES))
def test_any_rows_make_a_picture_that_is_whole(kind: str) -> None:
    @settings(max_examples=120, suppress_health_check=list(HealthCheck))
    @given(st.lists(ROWS[kind], max_size=14), st.integers(240, 1000))
    def run(rows: list[dict[str, Any]], width: int) -> None:
        picture = PICTURES[kind](rows, width=width)
        check(picture)
        again = PICTURES[kind]([dict(r) for r in rows], width=width)
        assert again.to_svg() == picture.to_svg()
        assert repr(again) == repr(picture)
        told = description(picture)
        for row in picture.rows:
            for column, value in row.items():
                if value not in (None, "") and column not in ("arm", "against", "pair", "scorer", "frontier"):
                    assert str(value) in told or str(value) == "never met"

    run()


def summary(n: int, name: Callable[[int], str]) -> list[dict[str, Any]]:
    return [
        {
            "model": name(i), "params": {"temperature": i / 10}, "scorer": "exact", "mean": 0.5 + 0.4 * (i % 7) / 7,
            "ci_low": 0.4 + 0.4 * (i % 7) / 7, "ci_high": 0.6 + 0.4 * (i % 7) / 7, "n_prompts": 40, "n_cells": 120,
            "n_errors": 0, "cost_usd": 0.001 * 1.2 ** (i % 30), "latency_p50_ms": 300 + 40 * i,
            "latency_p95_ms": 900 + 90 * i, "p50_low_ms": 280 + 40 * i, "p50_high_ms": 320 + 40 * i,
            "p95_low_ms": 800 + 90 * i, "p95_high_ms": 1200 + 90 * i,
        }
        for i in range(n)
    ]  # fmt: skip


def rows_for(kind: str, n: int, name: Callable[[int], str]) -> list[dict[str, Any]]:
    arms = summary(n, name)
    labels = [arm_name(a) for a in arms]
    if kind == "differences":
        pairs = [(labels[i], labels[(i + 1) % n]) for i in range(n)]
        return [
            {"a": a, "b": b, "scorer": "exact", "difference": i / 50 - 0.1, "ci_low": i / 50 - 0.2,
             "ci_high": i / 50, "mde": 0.11, "n_prompts": 40}
            for i, (a, b) in enumerate(pairs)
        ]  # fmt: skip
    if kind == "wins":
        return [
            {"a": a, "b": b, "win_rate": (i * 7 + j) % 11 / 10, "n": 40}
            for i, a in enumerate(labels)
            for j, b in enumerate(labels)
            if i < j
        ]
    return arms


def plain_name(i: int) -> str:
    return f"provider-{i % 4}/model-{i}-instruct"


@pytest.mark.parametrize("width", [240, 360, 640, 1000])
@pytest.mark.parametrize("n", [1, 2, 5, 13, 30, 60])
@pytest.mark.parametrize("kind", sorted(PICTURES))
def test_one_to_sixty_arms_fit_at_every_width(kind: str, n: int, width: int) -> None:
    picture = PICTURES[kind](rows_for(kind, n, plain_name), width=width)
    check(picture)
    if kind != "wins":
        assert picture.width == width


@pytest.mark.parametrize("kind", sorted(PICTURES))
def test_names_of_all_kinds_fit_and_can_be_told_apart(kind: str) -> None:
    names = [*HARD_NAMES, *(str(getattr(p, "text", p)) for p in PAYLOADS)][:40]
    picture = PICTURES[kind](rows_for(kind, len(names), lambda i: names[i]))
    check(picture)
    for one in texts(picture):
        assert one.full is None or len(one.full) > len(one.text) or "…" in one.text or "#" in one.text


@pytest.mark.parametrize("kind", sorted(PICTURES))
def test_five_arms_take_little_room_in_a_notebook(kind: str) -> None:
    picture = PICTURES[kind](rows_for(kind, 5, plain_name))
    assert 1000 < len(picture.to_svg().encode()) < 5000


@pytest.mark.parametrize("kind", sorted(PICTURES))
def test_no_rows_make_a_picture_that_says_so(kind: str) -> None:
    picture = PICTURES[kind]([])
    check(picture)
    assert [t.text for t in texts(picture)] == ["There is nothing to draw."]
    assert description(picture) == "There is nothing to draw."
    assert "(nothing)" in repr(picture)


@pytest.mark.parametrize("kind", sorted(PICTURES))
def test_text_of_others_stays_text(kind: str) -> None:
    evil = "</title></desc></svg><script>alert(1)</script><img src=x onerror=alert(1)>\"'"
    picture = PICTURES[kind](rows_for(kind, 2, lambda i: f"{evil}{i}"))
    for markup in (picture.to_svg(), picture._repr_html_()):
        assert "<script" not in markup
        assert "<img src=x" not in markup
    assert "<script>" in description(picture)
    assert parse(picture).findall(".//script") == []


@pytest.mark.parametrize("kind", sorted(PICTURES))
def test_nothing_in_a_picture_points_elsewhere(kind: str) -> None:
    picture = PICTURES[kind](rows_for(kind, 5, plain_name))
    assert re.findall(r"https?://[^\"' ]+", picture.to_svg()) == ["http://www.w3.org/2000/svg"]
    html = picture._repr_html_()
    assert re.findall(r'src="([a-z:/+;0-9]+),', html) == ["data:image/svg+xml;base64"]
    assert "url(" not in picture.to_svg()


@pytest.mark.parametrize("kind", sorted(PICTURES))
@pytest.mark.parametrize("width", [0, 239, 4001])
def test_a_width_that_no_picture_can_have_is_refused(kind: str, width: int) -> None:
    with pytest.raises(UsageError, match="pixels wide"):
        PICTURES[kind]([], width=width)


def test_the_names_of_the_pictures_are_those_that_plot_takes() -> None:
    assert list(PICTURES) == ["scores", "differences", "latency", "cost", "wins"]
    assert all(isinstance(draw([]), Svg) for draw in PICTURES.values())
