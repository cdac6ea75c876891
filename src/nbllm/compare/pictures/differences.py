"""Differences: a forest plot of A − B for each pair, against zero and against what the sample could have shown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from nbllm.compare.pictures.arms import Row, by_scorer, common_count, ends, titled
from nbllm.compare.pictures.drawing import Drawing, marker
from nbllm.compare.pictures.numbers import count, decimals_for, finite, fixed, known, signed
from nbllm.compare.pictures.scales import Scale, linear
from nbllm.compare.pictures.strips import Note, Panel, Strip, interval
from nbllm.compare.pictures.svg import Svg
from nbllm.compare.pictures.text import named
from nbllm.compare.pictures.writing import picture, said_interval

BREAKABLE = " −\n"
COLUMNS = ("pair", "scorer", "difference", "95 % interval", "prompts", "smallest detectable")

_BAND = Note("smallest difference that this sample could have shown (80 % power)", "band", "band")
_FILLED = Note("interval without zero", "mark", "circle")
_HOLLOW = Note("interval with zero: not distinguishable", "hollow", "circle")
_SIDES = Note("right of zero: the first is better")
_OPEN = Note("no interval", "mark2", "diamond")


def differences(stats_rows: Iterable[Row], *, width: int = 640) -> Svg:
    """A forest plot: the difference of each pair with its 95 % interval, in the order of the rows.

    A point is hollow when its interval holds zero. The light band reaches as far as the minimum detectable effect to
    both sides of zero: what lies within it, this many prompts could not have told from nothing.

    Args:
        stats_rows: A mapping for each pair and scorer with `a`, `b` (labels), `scorer`, `difference` (mean of A minus
            mean of B), `ci_low`, `ci_high`, `mde`, `n_prompts`. A pair without a difference is told in words.
        width: Pixels; below about 450 the names stand above their marks.
    """
    panels, table = [], []
    for scorer, rows in by_scorer(stats_rows).items():
        places = decimals_for(_numbers(rows))
        panels.append(_panel(scorer, rows, places))
        table += [_told(row, scorer, places) for row in rows]
    title = "Differences with 95 % intervals"
    return picture(title, panels, table, columns=COLUMNS, width=width, sentence=_sentence)


def pair_name(row: Row) -> str:
    """`A − B`."""
    return _pair(row, " − ")


def _pair(row: Row, between: str) -> str:
    return between.join(named(row.get(side)) for side in ("a", "b"))


def _numbers(rows: Iterable[Row]) -> list[float]:
    return known(finite(row.get(c)) for row in rows for c in ("difference", "ci_low", "ci_high"))


def _mde(row: Row) -> float | None:
    mde = finite(row.get("mde"))
    return None if mde is None else abs(mde)


def _panel(scorer: str, rows: Sequence[Row], places: int) -> Panel:
    n = common_count(rows)
    drawn = [row for row in rows if finite(row.get("difference")) is not None]
    bands = known(_mde(row) for row in drawn)
    reach = [*_numbers(drawn), *bands, *(-b for b in bands)]
    return Panel(
        heading=titled("difference of means with 95 % interval", scorer, n, "paired prompts"),
        strips=[_strip(row, places, with_n=n is None) for row in rows],
        domain=linear(reach, include=(0.0,)),
        axis="difference in mean score",
        zero=0.0,
        notes=_notes(drawn),
    )


def _notes(rows: Sequence[Row]) -> list[Note]:
    spans = [ends(row) for row in rows]
    notes = [_SIDES] if rows else []
    notes += [_FILLED] if any(s and not _holds_zero(s) for s in spans) else []
    notes += [_HOLLOW] if any(s and _holds_zero(s) for s in spans) else []
    notes += [_OPEN] if None in spans else []
    return notes + ([_BAND] if any(_mde(row) is not None for row in rows) else [])


def _holds_zero(span: tuple[float, float]) -> bool:
    return span[0] <= 0 <= span[1]


def _strip(row: Row, places: int, *, with_n: bool) -> Strip:
    difference = finite(row.get("difference"))
    n = count(row, "n_prompts")
    behind = f"  n = {n:,}" if with_n and n is not None else ""
    if difference is None:
        return Strip(_pair(row, BREAKABLE), said=behind.strip(), words="difference unknown")
    span, mde = ends(row), _mde(row)

    def draw(drawing: Drawing, scale: Scale, y: float) -> None:
        if mde is not None:
            left, right = scale(-mde), scale(mde)
            drawing.box("band", left, y - 9, right - left, 18)
        _draw_point(drawing, scale, y, difference, span)

    said = signed(difference, places) + said_interval(span, places, sign=True) + behind
    return Strip(_pair(row, BREAKABLE), said=said, draw=draw)


def _draw_point(drawing: Drawing, scale: Scale, y: float, value: float, span: tuple[float, float] | None) -> None:
    if span is None:
        drawing.add("mark2", marker("diamond", scale(value), y))
        return
    interval(drawing, scale, y, span)
    drawing.add("hollow" if _holds_zero(span) else "mark", marker("circle", scale(value), y))


def _told(row: Row, scorer: str, places: int) -> dict[str, Any]:
    difference, mde = finite(row.get("difference")), _mde(row)
    return {
        "pair": pair_name(row),
        "scorer": scorer,
        "difference": "difference unknown" if difference is None else signed(difference, places),
        "95 % interval": said_interval(ends(row), places, sign=True).strip() if difference is not None else "",
        "prompts": count(row, "n_prompts"),
        "smallest detectable": None if mde is None else fixed(mde, places),
    }


def _sentence(told: Mapping[str, Any]) -> str:
    parts = [f"{told['pair']}{' by ' + told['scorer'] if told['scorer'] else ''}: {told['difference']}"]
    parts += [f"interval {told['95 % interval']}"] if told["95 % interval"] else []
    parts += [f"{told['prompts']} paired prompts"] if told["prompts"] is not None else []
    parts += [f"smallest detectable {told['smallest detectable']}"] if told["smallest detectable"] else []
    return ", ".join(parts) + "."
