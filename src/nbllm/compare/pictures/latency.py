"""Latency: for each arm the median and the time that 95 of 100 answers kept within."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from nbllm.compare.pictures.arms import Row, arm_name, common_count, ends, one_of_each_arm
from nbllm.compare.pictures.drawing import Drawing, marker
from nbllm.compare.pictures.numbers import count, digits, finite, known
from nbllm.compare.pictures.scales import Scale, positive
from nbllm.compare.pictures.strips import Note, Panel, Strip, interval
from nbllm.compare.pictures.svg import Svg
from nbllm.compare.pictures.writing import picture

COLUMNS = ("arm", "p50", "p50 interval", "p95", "p95 interval", "answers")
_P50, _P95 = "p50", "p95"
_NOTES = (Note("p50, half of the answers", "mark", "circle"), Note("p95, 95 of 100 answers", "mark2", "diamond"))
_SPANS = Note("bars: 95 % intervals")


def latency(rows: Iterable[Row], *, width: int = 640) -> Svg:
    """p50 and p95 of each arm, fastest first; the axis is logarithmic when the slowest takes 20 times the fastest.

    Args:
        rows: Either rows of a summary with `latency_p50_ms`, `latency_p95_ms` and, where given, the ends of their 95 %
            intervals `p50_low_ms`, `p50_high_ms`, `p95_low_ms`, `p95_high_ms`; or cells with `latency_ms`, of which the
            quantiles are taken here. Failed cells and answers that were in the store already (`from_store`) are left
            out.
        width: Pixels; below about 450 the names stand above their marks.
    """
    taken: Sequence[Row] = list(rows)
    if any("latency_ms" in row for row in taken):
        taken = _of_cells(taken)
    arms = sorted(one_of_each_arm(taken), key=_fastest_first)
    unit = _Unit(_numbers(arms))
    table = [_told(row, unit) for row in arms]
    panels = [_panel(arms, unit)] if arms else []
    return picture("Latency, p50 and p95", panels, table, columns=COLUMNS, width=width, sentence=_sentence)


class _Unit:
    """Milliseconds as they are said: in s once one of them is a second, else in ms."""

    def __init__(self, values: Sequence[float]) -> None:
        self.name = "s" if max(map(abs, values), default=0.0) >= 1000 else "ms"
        self.factor = 1000.0 if self.name == "s" else 1.0

    def say(self, value_ms: float) -> str:
        return f"{digits(value_ms / self.factor)} {self.name}"

    def span(self, span: tuple[float, float] | None) -> str:
        return "" if span is None else "[" + ", ".join(digits(v / self.factor) for v in span) + "]"


def _of_cells(cells: Iterable[Row]) -> list[dict[str, Any]]:
    arms: dict[str, list[float]] = {}
    for cell in cells:
        times = arms.setdefault(arm_name(cell), [])
        value = finite(cell.get("latency_ms"))
        if value is not None and cell.get("status", "ok") == "ok" and not cell.get("from_store"):
            times.append(value)
    return [
        {
            "label": arm,
            f"latency_{_P50}_ms": quantile(times, 0.5),
            f"latency_{_P95}_ms": quantile(times, 0.95),
            "n_timed": len(times),
        }
        for arm, times in arms.items()
    ]


def quantile(values: Sequence[float], share: float) -> float | None:
    """Between the two nearest values in proportion (Hyndman and Fan's type 7, numpy's default); None for no values."""
    if not values:
        return None
    ordered = sorted(values)
    place = (len(ordered) - 1) * share
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def _point(row: Row, which: str) -> float | None:
    return finite(row.get(f"latency_{which}_ms"))


def _span(row: Row, which: str) -> tuple[float, float] | None:
    return ends(row, f"{which}_low_ms", f"{which}_high_ms") if _point(row, which) is not None else None


def _numbers(rows: Iterable[Row]) -> list[float]:
    found: list[float | None] = []
    for row in rows:
        for which in (_P50, _P95):
            found += [_point(row, which), *(_span(row, which) or ())]
    return known(found)


def _fastest_first(row: Row) -> tuple[bool, float]:
    value = _point(row, _P50)
    value = _point(row, _P95) if value is None else value
    return value is None, value or 0.0


def _panel(rows: Sequence[Row], unit: _Unit) -> Panel:
    numbers = _numbers(rows)
    domain = positive([v / unit.factor for v in numbers])
    n = common_count(rows, "n_timed")
    with_spans = any(_span(row, which) for row in rows for which in (_P50, _P95))
    return Panel(
        heading="Latency, p50 / p95" + ("" if n is None else f", n = {n:,} answers each"),
        strips=[_strip(row, unit) for row in rows],
        domain=domain,
        axis=("seconds" if unit.name == "s" else "milliseconds") + (", logarithmic" if domain.log else ""),
        notes=(*_NOTES, *([_SPANS] if with_spans else [])) if numbers else (),
    )


def _strip(row: Row, unit: _Unit) -> Strip:
    p50, p95 = _point(row, _P50), _point(row, _P95)
    if p50 is None and p95 is None:
        return Strip(arm_name(row), words="latency unknown")

    def draw(drawing: Drawing, scale: Scale, y: float) -> None:
        if p50 is not None and p95 is not None:
            drawing.segment("leader", scale(p50 / unit.factor), y, scale(p95 / unit.factor), y)
        for which, layer, shape, line in ((_P95, "mark2", "diamond", "line2"), (_P50, "mark", "circle", "line")):
            value, span = _point(row, which), _span(row, which)
            if value is None:
                continue
            if span is not None:
                interval(drawing, scale, y, (span[0] / unit.factor, span[1] / unit.factor), line)
            drawing.add(layer, marker(shape, scale(value / unit.factor), y))

    said = " / ".join("?" if v is None else digits(v / unit.factor) for v in (p50, p95))
    return Strip(arm_name(row), said=f"{said} {unit.name}", draw=draw)


def _told(row: Row, unit: _Unit) -> dict[str, Any]:
    p50, p95 = _point(row, _P50), _point(row, _P95)
    return {
        "arm": arm_name(row),
        "p50": "unknown" if p50 is None else unit.say(p50),
        "p50 interval": unit.span(_span(row, _P50)),
        "p95": "unknown" if p95 is None else unit.say(p95),
        "p95 interval": unit.span(_span(row, _P95)),
        "answers": count(row, "n_timed"),
    }


def _sentence(told: Mapping[str, Any]) -> str:
    parts = []
    for which in ("p50", "p95"):
        span = told[f"{which} interval"]
        parts.append(f"{which} {told[which]}" + (f", interval {span}" if span else ""))
    answers = f", {told['answers']} answers" if told["answers"] is not None else ""
    return f"{told['arm']}: {', '.join(parts)}{answers}."
