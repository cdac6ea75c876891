"""What each picture shows of its rows."""

from __future__ import annotations

import statistics
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbllm.compare.pictures import cost_against_score, differences, latency, scores, win_rates
from nbllm.compare.pictures.cost import frontier
from nbllm.compare.pictures.drawing import BLUE, GREY
from nbllm.compare.pictures.latency import quantile
from unit.compare.pictures.reading import SVG, check, circles, description, parse, texts


def said(picture: Any) -> list[str]:
    return [t.text for t in texts(picture)]


def score(model: str, mean: float | None, **more: Any) -> dict[str, Any]:
    half = None if mean is None else 0.1
    ends = {} if half is None or mean is None else {"ci_low": mean - half, "ci_high": mean + half}
    return {"model": model, "params": {}, "scorer": "exact", "mean": mean, "n_prompts": 40, **ends, **more}


# ---------------------------------------------------------------- scores


def test_scores_stand_best_first_and_further_right_means_more() -> None:
    picture = scores([score("low", 0.2), score("high", 0.8), score("middle", 0.5)])
    assert [r["arm"] for r in picture.rows] == ["high", "middle", "low"]
    (x1, y1), (x2, y2), (x3, y3) = circles(picture, BLUE)
    assert y1 < y2 < y3
    assert x1 - x2 == pytest.approx(x2 - x3, abs=0.2)
    assert x1 > x2 > x3


@pytest.mark.parametrize("mean", [None, float("nan"), float("inf"), "0.5"])
def test_an_unknown_score_is_told_in_words_and_not_drawn(mean: Any) -> None:
    picture = scores([score("a", 0.5), {**score("b", None, n_cells=12, n_errors=12), "mean": mean}])
    assert len(circles(picture, BLUE)) == 1
    assert "no score: all 12 cells failed" in said(picture)
    assert "b by exact: no score: all 12 cells failed, 40 prompts." in description(picture)
    assert not any(t.startswith("0.00") for t in said(picture))


def test_an_interval_without_an_end_is_left_out_and_the_point_stays() -> None:
    picture = scores([score("a", 0.5, ci_low=None)])
    assert len(circles(picture, BLUE)) == 1
    assert "0.50" in said(picture)


def test_each_scorer_has_a_panel_of_its_own() -> None:
    picture = scores([score("a", 0.5), score("a", 3.5, scorer="grade"), score("b", 0.6), score("b", 4, scorer="grade")])
    headings = [t for t in said(picture) if "interval" in t]
    assert headings == [
        "exact: mean score with 95 % interval, n = 40 prompts",
        "grade: mean score with 95 % interval, n = 40 prompts",
    ]


def test_different_numbers_of_prompts_stand_in_each_row() -> None:
    picture = scores([score("a", 0.5), score("b", 0.6, n_prompts=38)])
    assert "0.60 [0.50, 0.70]  n = 38" in said(picture)


def test_parameters_tell_arms_of_one_model_apart() -> None:
    rows = [score("m", 0.1, params={"temperature": t}) for t in (0, 0.7)] + [score("m", 0.3, params='{"top_p": 1}')]
    assert {r["arm"] for r in scores(rows).rows} == {"m temperature=0", "m temperature=0.7", "m top_p=1"}
    assert scores([score("m", 0.1, arm="mine")]).rows[0]["arm"] == "mine"


def test_a_score_of_one_with_its_interval_does_not_pass_one() -> None:
    picture = scores([score("a", 1.0, ci_low=0.9, ci_high=1.0), score("b", 0.2, ci_low=0.0, ci_high=0.4)])
    ticks = [t for t in said(picture) if t.replace(".", "").isdigit()]
    assert "1.2" not in ticks
    assert "1.0" in ticks


# ---------------------------------------------------------------- differences


def pair(a: str, b: str, difference: float | None, half: float = 0.1, **more: Any) -> dict[str, Any]:
    ends = {} if difference is None else {"ci_low": difference - half, "ci_high": difference + half}
    return {"a": a, "b": b, "scorer": "exact", "difference": difference, "n_prompts": 200, "mde": 0.1, **ends, **more}


def test_a_difference_whose_interval_holds_zero_is_hollow() -> None:
    picture = differences([pair("a", "b", 0.3), pair("a", "c", 0.04)])
    key_filled, filled = circles(picture, BLUE)[::-1]
    assert filled != key_filled
    hollow = [c for g in parse(picture).iter(f"{SVG}g") if g.get("stroke") == BLUE for c in g.findall(f"{SVG}circle")]
    assert len(hollow) == 2  # the point and its key
    assert "interval with zero: not distinguishable" in said(picture)


def test_the_zero_line_is_always_in_the_picture_of_differences() -> None:
    assert "0" in said(differences([pair("a", "b", 5.0)]))
    assert "0" in said(differences([pair("a", "b", -5.0)]))


def test_a_difference_carries_sign_n_and_the_smallest_detectable_effect() -> None:
    picture = differences([pair("a", "b", 0.04, 0.07)])
    assert "a − b" in said(picture)
    assert "+0.04 [−0.03, +0.11]" in said(picture)
    assert description(picture) == (
        "a − b by exact: +0.04, interval [−0.03, +0.11], 200 paired prompts, smallest detectable 0.10."
    )
    bands = [g for g in parse(picture).iter(f"{SVG}g") if g.get("fill") == GREY]
    assert bands


def test_an_unknown_difference_is_told_in_words() -> None:
    picture = differences([pair("a", "b", None)])
    assert "difference unknown" in said(picture)
    assert circles(picture, BLUE) == []


def test_a_pair_too_long_for_a_line_breaks_between_its_arms() -> None:
    picture = differences([pair("provider/some-quite-long-model", "provider/another-quite-long-model", 0.1)])
    assert "provider/some-quite-long-model −" in said(picture)
    assert "provider/another-quite-long-model" in said(picture)


# ---------------------------------------------------------------- latency


def test_latency_of_cells_leaves_out_failures_and_stored_answers() -> None:
    cells = [
        {"model": "a", "params": {}, "latency_ms": ms, "status": "ok", "from_store": False} for ms in (100, 200, 300)
    ]
    cells += [{"model": "a", "params": {}, "latency_ms": 9e6, "status": "error", "from_store": False}]
    cells += [{"model": "a", "params": {}, "latency_ms": 1, "status": "ok", "from_store": True}]
    cells += [{"model": "b", "params": {}, "latency_ms": 5, "status": "ok", "from_store": True}]
    rows = latency(cells).rows
    assert rows[0]["p50"] == "200 ms"
    assert rows[0]["answers"] == 3
    assert rows[1] == {
        "arm": "b", "p50": "unknown", "p50 interval": "", "p95": "unknown", "p95 interval": "", "answers": 0,
    }  # fmt: skip


def test_latency_is_logarithmic_only_when_the_range_asks_for_it() -> None:
    def picture(slow: float) -> list[str]:
        return said(latency([{"model": "a", "latency_p50_ms": 100, "latency_p95_ms": slow}]))

    assert any("logarithmic" in t for t in picture(3000))
    assert not any("logarithmic" in t for t in picture(1000))


def test_a_summary_with_several_scorers_shows_each_arm_once() -> None:
    rows = [{"model": "a", "scorer": s, "latency_p50_ms": 10, "latency_p95_ms": 20} for s in ("x", "y")]
    assert len(latency(rows).rows) == 1


def test_an_arm_with_p50_alone_is_drawn_and_says_what_is_missing() -> None:
    picture = latency([{"model": "a", "latency_p50_ms": 120}])
    assert "120 / ? ms" in said(picture)
    assert len(circles(picture, BLUE)) == 2  # the point and its key


@given(st.lists(st.floats(0, 1e6), min_size=2, max_size=50))
def test_the_quantile_is_that_of_the_standard_library(values: list[float]) -> None:
    cut = statistics.quantiles(values, n=20, method="inclusive")
    assert quantile(values, 0.5) == pytest.approx(cut[9], rel=1e-9, abs=1e-9)
    assert quantile(values, 0.95) == pytest.approx(cut[18], rel=1e-9, abs=1e-9)


# ---------------------------------------------------------------- cost


def test_arms_of_unknown_cost_are_listed_in_words() -> None:
    rows = [score("a", 0.5, cost_usd=0.1), score("b", 0.6, cost_usd=None), score("c", None, cost_usd=0.2)]
    picture = cost_against_score(rows)
    assert "b: score 0.60, cost unknown" in said(picture)
    assert "c: score unknown, cost $0.200" in said(picture)
    assert "b by exact: 0.60, interval [0.50, 0.70], cost unknown." in description(picture)


def test_a_free_arm_has_a_place_on_a_logarithmic_axis() -> None:
    rows = [score("free", 0.4, cost_usd=0), score("cheap", 0.5, cost_usd=0.001), score("dear", 0.6, cost_usd=1)]
    picture = cost_against_score(rows)
    check(picture)
    assert "0" in said(picture)
    assert "free" in said(picture)
    assert any("logarithmic" in t for t in said(picture))


def test_different_numbers_of_cells_are_brought_to_a_thousand() -> None:
    rows = [score("a", 0.5, cost_usd=1, n_cells=100), score("b", 0.6, cost_usd=1, n_cells=200)]
    costs = {r["arm"]: r["cost"] for r in cost_against_score(rows).rows}
    assert costs == {"a": "10.0 USD for 1,000 cells", "b": "5.00 USD for 1,000 cells"}
    same = cost_against_score([{**r, "n_cells": 100} for r in rows]).rows[0]["cost"]
    assert same == "1.00 USD for 100 cells"


def test_thirteen_arms_are_numbered_with_a_key() -> None:
    rows = [score(f"arm-{i}", 0.3 + i / 40, cost_usd=0.01 * (i + 1)) for i in range(13)]
    assert "13" in said(cost_against_score(rows))
    assert "13" not in said(cost_against_score(rows[:12]))


def test_arms_on_the_same_spot_keep_labels_apart() -> None:
    for n in (2, 8, 12, 40, 60):
        check(cost_against_score([score(f"provider/arm-{i}", 0.5, cost_usd=0.01) for i in range(n)]))


def test_settings_of_one_model_share_a_shape_and_models_differ() -> None:
    rows = [score(m, 0.5 + i / 10, cost_usd=i + 1, params={"t": i}) for i, m in enumerate(("x", "x", "y"))]
    fills = [
        g.get("fill") for g in parse(cost_against_score(rows)).iter(f"{SVG}g") if g.get("fill", "").startswith("#")
    ]
    marks = [f for f in fills if f != "#fff"]
    assert len(marks) == 3
    assert len(set(marks)) == 2


coordinate = st.floats(-5, 5)


@given(st.lists(st.tuples(coordinate, coordinate), min_size=1, max_size=30))
def test_no_arm_beats_one_of_the_frontier(points: list[tuple[float, float]]) -> None:
    best = frontier(points)
    for point in points:
        beaten = any(o != point and o[0] <= point[0] and o[1] >= point[1] for o in points)
        assert (point in best) == (not beaten)


# ---------------------------------------------------------------- wins


def test_the_reverse_of_a_pair_follows_and_what_is_given_counts() -> None:
    picture = win_rates([{"a": "x", "b": "y", "win_rate": 0.7, "n": 10}])
    assert {"0.70", "0.30"} <= set(said(picture))
    both = win_rates([{"a": "x", "b": "y", "win_rate": 0.7, "n": 10}, {"a": "y", "b": "x", "win_rate": 0.2, "n": 10}])
    assert {"0.70", "0.20"} <= set(said(both))


def test_every_cell_says_its_number_so_that_colour_is_not_needed() -> None:
    rows = [{"a": a, "b": b, "win_rate": 0.25, "n": 7} for a, b in (("x", "y"), ("x", "z"), ("y", "z"))]
    assert [t for t in said(win_rates(rows)) if t.startswith("0.")].count("0.25") == 3
    assert [t for t in said(win_rates(rows)) if t.startswith("0.")].count("0.75") == 3


def test_a_pair_that_never_met_stays_empty_and_is_told() -> None:
    rows = [{"a": "x", "b": "y", "win_rate": 0.5, "n": 7}, {"a": "x", "b": "z", "win_rate": None, "n": 0}]
    picture = win_rates(rows)
    assert "empty: never met" in said(picture)
    assert {r["win rate"] for r in picture.rows} == {"0.50", "never met"}
    assert not any("0.00" in t for t in said(picture))


def test_the_arm_that_wins_most_is_on_top() -> None:
    rows = [{"a": "x", "b": "y", "win_rate": 0.2, "n": 9}, {"a": "x", "b": "z", "win_rate": 0.1, "n": 9},
            {"a": "y", "b": "z", "win_rate": 0.3, "n": 9}]  # fmt: skip
    assert description(win_rates(rows)).startswith("Arm 1 is z. Arm 2 is y. Arm 3 is x.")


def test_a_rate_outside_zero_to_one_is_not_a_rate() -> None:
    picture = win_rates([{"a": "x", "b": "y", "win_rate": 62, "n": 9}])
    assert {r["win rate"] for r in picture.rows} == {"never met"}
