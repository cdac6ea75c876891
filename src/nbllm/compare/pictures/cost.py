"""Cost against score: which arm gives how much for its money."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from nbllm.compare.pictures.arms import Row, arm_name, by_scorer, common_count, ends, titled, why_unknown
from nbllm.compare.pictures.drawing import BLUE, GREEN, OLIVE, ORANGE, PURPLE, RED, SHAPES, Drawing, marker, px
from nbllm.compare.pictures.numbers import count, decimals_for, digits, finite, fixed, known
from nbllm.compare.pictures.placing import Board, Box, place_around, place_beside
from nbllm.compare.pictures.scales import Scale, linear, positive
from nbllm.compare.pictures.strips import EDGE, draw_heading
from nbllm.compare.pictures.svg import Svg
from nbllm.compare.pictures.text import LEADING, SIZE, SMALL, Fitted, fit, fit_all, text_width
from nbllm.compare.pictures.writing import check_width, finished, nothing, said_interval

TITLE = "Cost against score"
COLUMNS = ("arm", "scorer", "mean", "95 % interval", "cost", "frontier")
NAMED = 12
"""Arms up to which each point carries its name; more get numbers and a key."""
_COLOURS = (BLUE, ORANGE, GREEN, PURPLE, OLIVE, RED)
_FRONTIER = "The dashed line joins the arms that no other arm beats in both cost and score."
_PER = 1000


@dataclass(frozen=True, slots=True)
class _Arm:
    """An arm of one scorer."""

    name: str
    row: Row
    score: float | None
    cost: float | None
    sign: int
    """The number of its model, which decides shape and colour."""

    @property
    def is_drawn(self) -> bool:
        return self.score is not None and self.cost is not None

    @property
    def point(self) -> tuple[float, float]:
        assert self.score is not None
        assert self.cost is not None
        return self.cost, self.score


def cost_against_score(summary_rows: Iterable[Row], *, width: int = 640) -> Svg:
    """A point for each arm, cost to the right and mean score upwards, a panel for each scorer.

    The cost is `cost_usd`, that of all the arm's cells, when each arm has as many cells; else it is brought to 1,000
    cells by `n_cells`. Costs on which the dearest arm is 20 times the cheapest stand on a logarithmic axis, where 0
    keeps a place of its own. Settings of the same model share shape and colour. Up to 12 points are named where they
    are, more are numbered, best first, with a key below. Arms without a cost or a score are listed in words.

    Args:
        summary_rows: A mapping for each arm and scorer with `model`, `params`, `label` (optional), `scorer`, `mean`,
            `ci_low`, `ci_high`, `cost_usd`, `n_cells`.
        width: Pixels.
    """
    check_width(width)
    rows = list(summary_rows)
    if not rows:
        return nothing(TITLE, columns=COLUMNS, width=width)
    drawing, top = Drawing(), EDGE
    table: list[dict[str, Any]] = []
    money = _Money(rows)
    for i, (scorer, group) in enumerate(by_scorer(rows).items()):
        panel = _Panel(scorer, _arms(group, money), money, width)
        top = panel.draw(drawing, top + (18 if i else 0))
        table += panel.table()
    words = " ".join(map(_sentence, table))
    return finished(drawing, TITLE, table, words, columns=COLUMNS, width=width, height=top)


class _Money:
    """What is counted as the cost of an arm, and how it is said."""

    def __init__(self, rows: Sequence[Row]) -> None:
        cells = common_count(rows, "n_cells")
        self.per_cell = cells is None and all(count(row, "n_cells") for row in rows if finite(row.get("cost_usd")))
        if self.per_cell:
            self.axis = f"USD for {_PER:,} cells"
        else:
            self.axis = "USD" if cells is None else f"USD for {cells:,} cells"

    def of(self, row: Row) -> float | None:
        cost = finite(row.get("cost_usd"))
        if cost is None or not self.per_cell or cost == 0:
            return cost
        cells = count(row, "n_cells")
        return cost / cells * _PER if cells else None


def _arms(rows: Sequence[Row], money: _Money) -> list[_Arm]:
    """Best first; those without a score last."""
    models = {model: i for i, model in enumerate(dict.fromkeys(str(row.get("model")) for row in rows))}
    arms = [
        _Arm(arm_name(r), r, finite(r.get("mean")), money.of(r), models[str(r.get("model"))]) for r in rows
    ]  # fmt: skip
    return sorted(arms, key=lambda a: (a.score is None, -(a.score or 0.0), a.cost or 0.0))


def frontier(points: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """Those (cost, score) that no other beats in one and equals in the other, from the cheapest on."""
    best: list[tuple[float, float]] = []
    for cost, score in sorted(set(points), key=lambda p: (p[0], -p[1])):
        if not best or score > best[-1][1]:
            best.append((cost, score))
    return best


class _Panel:
    """The scatter of one scorer."""

    def __init__(self, scorer: str, arms: Sequence[_Arm], money: _Money, width: int) -> None:
        self.scorer, self.arms, self.money, self.width = scorer, arms, money, width
        self.drawn = [a for a in arms if a.is_drawn]
        self.left_out = [a for a in arms if not a.is_drawn]
        self.places = decimals_for(v for a in arms for v in (a.score, *(ends(a.row) or ())))
        self.best = frontier(a.point for a in self.drawn)
        self.keyed = False

    def draw(self, drawing: Drawing, top: float) -> float:
        heading = titled("mean score against cost", self.scorer, common_count([a.row for a in self.arms]))
        top = draw_heading(drawing, heading, self.width, top) + 8
        if self.drawn:
            drawing.write("small", EDGE, top + SMALL, "mean score")
            top = self._draw_plot(drawing, top + LEADING + 4)
        if self.keyed:
            top = self._draw_key(drawing, top)
        return self._draw_words(drawing, top)

    # ------------------------------------------------------------ the plot

    def _draw_plot(self, drawing: Drawing, top: float) -> float:
        height = max(0.42 * min(self.width, 720), 200.0) + max(0, len(self.drawn) - 20) * 5
        bottom = top + height
        upright = Scale(linear(self._scores()), bottom - 10, top + 10)
        marks = upright.ticks(upright=True)
        left = EDGE + max(text_width(t, SMALL) for _, t, _ in marks) + 10
        across = Scale(positive(a.point[0] for a in self.drawn), left + 12, self.width - EDGE - 12)
        area = Box(left + 2, top, self.width - EDGE, bottom - 2)
        self._draw_axes(drawing, across, upright, area)
        self._draw_frontier(drawing, across, upright)
        self._draw_points(drawing, across, upright, area)
        return bottom + 42

    def _scores(self) -> list[float]:
        return known(v for a in self.drawn for v in (a.score, *(ends(a.row) or ())))

    def _draw_axes(self, drawing: Drawing, across: Scale, upright: Scale, area: Box) -> None:
        bottom = area.bottom + 2
        for value, text, _ in upright.ticks(upright=True):
            drawing.segment("grid", area.left - 2, upright(value), area.right, upright(value))
            drawing.write("tick-end", area.left - 8, upright(value) + 4.2, text)
        for value, text, at in across.ticks(within=(2.0, self.width - 2.0)):
            x = across(value)
            drawing.segment("grid", x, area.top, x, bottom)
            drawing.segment("axis", x, bottom, x, bottom + 4)
            drawing.write("tick", at, bottom + 17, text)
        drawing.segment("axis", area.left - 2, bottom, area.right, bottom)
        name = self.money.axis + (", logarithmic" if across.domain.log else "")
        drawing.write("tick", (area.left + area.right) / 2, bottom + 33, name)

    def _draw_frontier(self, drawing: Drawing, across: Scale, upright: Scale) -> None:
        if len(self.best) > 1:
            way = "L".join(f"{px(across(c))} {px(upright(s))}" for c, s in self.best)
            drawing.add("frontier", f"M{way}")

    def _draw_points(self, drawing: Drawing, across: Scale, upright: Scale, area: Box) -> None:
        places = [(across(a.point[0]), upright(a.point[1])) for a in self.drawn]
        self._draw_intervals(drawing, places, upright)
        for arm, (x, y) in zip(self.drawn, places, strict=True):
            _draw_mark(drawing, arm, x, y)
        marks = [Box(x - 6, y - 6, x + 6, y + 6) for x, y in places]
        names = fit_all([a.name for a in self.drawn], min(230.0, 0.42 * self.width))
        sizes = [(f.width(), float(LEADING)) for f in names]
        lines = self._lines(places, across, upright)
        boxes = place_beside(Board(area, list(marks)), places, sizes, lines) if len(names) <= NAMED else []
        if boxes:
            for fitted, box, (x, _) in zip(names, boxes, places, strict=True):
                _write_name(drawing, fitted, box, x)
        else:
            self._draw_numbers(drawing, places, marks, area, lines)

    def _lines(self, places: Sequence[tuple[float, float]], across: Scale, upright: Scale) -> list[list[Box]]:
        """What names had better not cover, the most important first: intervals, then the frontier."""
        spans = [(x, ends(arm.row)) for arm, (x, _) in zip(self.drawn, places, strict=True)]
        intervals = [Box(x - 2, upright(s[1]), x + 2, upright(s[0])) for x, s in spans if s is not None]
        way = [(across(cost), upright(score)) for cost, score in self.best]
        return [intervals, [box for a, b in pairwise(way) for box in _along(a, b)]]

    def _draw_intervals(self, drawing: Drawing, places: Sequence[tuple[float, float]], upright: Scale) -> None:
        for arm, (x, _) in zip(self.drawn, places, strict=True):
            span = ends(arm.row)
            if span is not None:
                drawing.segment("leader", x, upright(span[1]), x, upright(span[0]))

    def _draw_numbers(
        self,
        drawing: Drawing,
        places: Sequence[tuple[float, float]],
        marks: list[Box],
        area: Box,
        lines: Sequence[Sequence[Box]],
    ) -> None:
        """A number for each point, with a line to it when it had to go further away."""
        self.keyed = True
        texts = [str(i + 1) for i in range(len(self.drawn))]
        sizes = [(text_width(t, SMALL) + 2, 13.0) for t in texts]
        boxes = place_around(Board(area, marks), places, sizes, lines)
        for text, (x, y), box in zip(texts, places, boxes, strict=True):
            middle = ((box.left + box.right) / 2, (box.top + box.bottom) / 2)
            drawing.write("tick", middle[0], box.bottom - 2, text)
            if max(abs(middle[0] - x), abs(middle[1] - y)) > 20:
                toward = max(box.left, min(x, box.right)), max(box.top, min(y, box.bottom))
                drawing.segment("leader", x, y, *toward)

    # ------------------------------------------------------------ below it

    def _draw_key(self, drawing: Drawing, top: float) -> float:
        scores = [fixed(a.point[1], self.places) for a in self.drawn]
        costs = [f"${digits(a.point[0])}" for a in self.drawn]
        right = self.width - EDGE
        middle = right - max(map(text_width, costs)) - 14
        names = fit_all([a.name for a in self.drawn], middle - max(map(text_width, scores)) - EDGE - 60)
        for i, (arm, name) in enumerate(zip(self.drawn, names, strict=True)):
            y = top + i * 20 + 14
            drawing.write("end", EDGE + 22, y, str(i + 1))
            _draw_mark(drawing, arm, EDGE + 34, y - 4.5)
            drawing.write_lines("start", EDGE + 46, y, name)
            drawing.write("end", middle, y, scores[i])
            drawing.write("end", right, y, costs[i])
        return top + 20 * len(self.drawn) + 6

    def _draw_words(self, drawing: Drawing, top: float) -> float:
        lines = [_FRONTIER] if len(self.best) > 1 else []
        lines += ["Not drawn:"] if self.left_out else []
        lines += [f"{a.name}: {self._why(a)}" for a in self.left_out]
        for line in lines:
            fitted = fit(line, self.width - 2 * EDGE, lines=3, size=SMALL)
            drawing.write_lines("small", EDGE, top + SIZE, fitted)
            top += LEADING * len(fitted.lines)
        return top

    def _why(self, arm: _Arm) -> str:
        score = why_unknown(arm.row, "score") if arm.score is None else f"score {fixed(arm.score, self.places)}"
        return f"{score}, {'cost unknown' if arm.cost is None else f'cost ${digits(arm.cost)}'}"

    def table(self) -> list[dict[str, Any]]:
        """The numbers as they are said."""
        return [self._told(a) for a in self.arms]

    def _told(self, arm: _Arm) -> dict[str, Any]:
        known_score = arm.score is not None
        return {
            "arm": arm.name,
            "scorer": self.scorer,
            "mean": fixed(arm.score, self.places) if arm.score is not None else why_unknown(arm.row, "score"),
            "95 % interval": said_interval(ends(arm.row), self.places).strip() if known_score else "",
            "cost": "unknown" if arm.cost is None else f"{digits(arm.cost)} {self.money.axis}",
            "frontier": "yes" if arm.is_drawn and arm.point in self.best else "",
        }


def _along(a: tuple[float, float], b: tuple[float, float]) -> list[Box]:
    """Small boxes on the way from a to b."""
    parts = max(1, math.ceil(math.dist(a, b) / 6))
    on_it = ((a[0] + (b[0] - a[0]) * i / parts, a[1] + (b[1] - a[1]) * i / parts) for i in range(parts + 1))
    return [Box(x - 1, y - 1, x + 1, y + 1) for x, y in on_it]


def _write_name(drawing: Drawing, fitted: Fitted, box: Box, mark: float) -> None:
    """Close to its mark, whichever side of the box that is: the text may be narrower than its box."""
    layer, x = ("end", box.right) if box.right <= mark else ("middle", (box.left + box.right) / 2)
    if box.left >= mark:
        layer, x = "start", box.left
    drawing.write_lines(layer, x, box.top + SIZE - 0.5, fitted)


def _draw_mark(drawing: Drawing, arm: _Arm, x: float, y: float) -> None:
    colour = _COLOURS[arm.sign % len(_COLOURS)]
    drawing.add("free", f'<g fill="{colour}">{marker(SHAPES[arm.sign % len(SHAPES)], x, y, 5)}</g>')


def _sentence(told: Mapping[str, Any]) -> str:
    scorer = f" by {told['scorer']}" if told["scorer"] else ""
    span = f", interval {told['95 % interval']}" if told["95 % interval"] else ""
    best = ", on the frontier" if told["frontier"] else ""
    return f"{told['arm']}{scorer}: {told['mean']}{span}, cost {told['cost']}{best}."
