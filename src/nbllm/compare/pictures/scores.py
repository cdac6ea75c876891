"""Scores: a point for each arm, with its interval."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from nbllm.compare.pictures.arms import Row, arm_name, by_scorer, common_count, ends, titled, why_unknown
from nbllm.compare.pictures.drawing import Drawing, marker
from nbllm.compare.pictures.numbers import count, decimals_for, finite, fixed, known
from nbllm.compare.pictures.scales import Scale, linear
from nbllm.compare.pictures.strips import Panel, Strip, interval
from nbllm.compare.pictures.svg import Svg
from nbllm.compare.pictures.writing import picture, said_interval

COLUMNS = ("arm", "scorer", "mean", "95 % interval", "prompts")


def scores(summary_rows: Iterable[Row], *, width: int = 640) -> Svg:
    """Mean scores with their 95 % intervals, best first, a panel for each scorer.

    Args:
        summary_rows: A mapping for each arm and scorer with `model`, `params`, `label` (optional), `scorer`, `mean`,
            `ci_low`, `ci_high`, `n_prompts`, and `n_cells`, `n_errors` where known. An arm without a mean is told in
            words and not drawn.
        width: Pixels; below about 450 the names stand above their marks.
    """
    panels, table = [], []
    for scorer, rows in by_scorer(summary_rows).items():
        ordered = sorted(rows, key=_best_first)
        places = decimals_for(_numbers(rows))
        panels.append(_panel(scorer, ordered, places))
        table += [_told(row, scorer, places) for row in ordered]
    return picture("Scores with 95 % intervals", panels, table, columns=COLUMNS, width=width, sentence=_sentence)


def _best_first(row: Row) -> tuple[bool, float]:
    mean = finite(row.get("mean"))
    return mean is None, -(mean or 0.0)


def _numbers(rows: Iterable[Row]) -> list[float]:
    return known(finite(row.get(c)) for row in rows for c in ("mean", "ci_low", "ci_high"))


def _panel(scorer: str, rows: Sequence[Row], places: int) -> Panel:
    n = common_count(rows)
    drawn = [row for row in rows if finite(row.get("mean")) is not None]
    return Panel(
        heading=titled("mean score with 95 % interval", scorer, n),
        strips=[_strip(row, places, with_n=n is None) for row in rows],
        domain=linear(_numbers(drawn)),
        axis="mean score",
    )


def _strip(row: Row, places: int, *, with_n: bool) -> Strip:
    mean = finite(row.get("mean"))
    n = count(row, "n_prompts")
    behind = f"  n = {n:,}" if with_n and n is not None else ""
    if mean is None:
        return Strip(arm_name(row), said=behind.strip(), words=why_unknown(row, "score"))
    span = ends(row)

    def draw(drawing: Drawing, scale: Scale, y: float) -> None:
        if span is not None:
            interval(drawing, scale, y, span)
        drawing.add("mark", marker("circle", scale(mean), y))

    return Strip(arm_name(row), said=fixed(mean, places) + said_interval(span, places) + behind, draw=draw)


def _told(row: Row, scorer: str, places: int) -> dict[str, Any]:
    mean = finite(row.get("mean"))
    return {
        "arm": arm_name(row),
        "scorer": scorer,
        "mean": why_unknown(row, "score") if mean is None else fixed(mean, places),
        "95 % interval": said_interval(ends(row), places).strip() if mean is not None else "",
        "prompts": count(row, "n_prompts"),
    }


def _sentence(told: Mapping[str, Any]) -> str:
    n = f", {told['prompts']} prompts" if told["prompts"] is not None else ""
    span = f", interval {told['95 % interval']}" if told["95 % interval"] else ""
    scorer = f" by {told['scorer']}" if told["scorer"] else ""
    return f"{told['arm']}{scorer}: {told['mean']}{span}{n}."
