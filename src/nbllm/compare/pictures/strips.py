"""Rows under each other with a common axis: a name to the left, marks in the middle, numbers to the right.

Where the picture is too narrow for three columns, the name goes above its marks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from nbllm.compare.pictures.drawing import Drawing, marker
from nbllm.compare.pictures.scales import Domain, Scale
from nbllm.compare.pictures.text import LEADING, SIZE, SMALL, Fitted, fit, fit_all, text_width

EDGE = 8.0
"""Pixels that stay free around a picture."""
_GAP = 14.0
_CAPPED = 14.0
"""Pixels from which an interval has caps; shorter ones lie under their mark."""
_Ends = tuple[float, float]
_Tick = tuple[float, str, float]
_MIN_PLOT = 190.0
_MIN_NAME = 110.0
_MARGIN = 8.0
"""Pixels within the plot, left and right of the domain, so that marks at its ends are whole."""


@dataclass(frozen=True, slots=True)
class Strip:
    """One row."""

    name: str
    said: str = ""
    """Its numbers, to the right."""
    words: str = ""
    """What is written where marks would be, when there is nothing to draw."""
    draw: Callable[[Drawing, Scale, float], None] | None = None
    """Draws the marks on a scale at a height."""


@dataclass(frozen=True, slots=True)
class Note:
    """A line of explanation below the axis, with the mark that it explains."""

    text: str
    layer: str = ""
    shape: str = ""
    """A shape of `SHAPES`, "band", or nothing."""


@dataclass(frozen=True, slots=True)
class Panel:
    """Rows that share an axis."""

    heading: str
    strips: Sequence[Strip]
    domain: Domain
    axis: str
    """What the axis counts, with its unit."""
    zero: float | None = None
    """Where a line stands that rows are read against."""
    notes: Sequence[Note] = ()


@dataclass(frozen=True, slots=True)
class _Columns:
    """Where the three columns are."""

    name_room: float
    left: float
    right: float
    edge: float
    """The right end of the numbers."""
    stacked: bool
    """Whether names stand above their marks."""
    beside: bool = True
    """Whether, stacked, the numbers stand beside the name and not below it."""


def draw_panels(drawing: Drawing, panels: Sequence[Panel], width: float, top: float = EDGE) -> float:
    """Draw the panels under each other and say where they end."""
    columns = _columns([s for p in panels for s in p.strips], width)
    for i, panel in enumerate(panels):
        top = _draw_panel(drawing, panel, columns, width, top + (18 if i else 0))
    return top


def _columns(strips: Sequence[Strip], width: float) -> _Columns:
    said = max((text_width(s.said) for s in strips), default=0.0)
    names = max((text_width(s.name) for s in strips), default=0.0)
    edge = width - EDGE
    inner = edge - EDGE - (said + _GAP if said else 0) - _GAP
    name_room = min(names + 1, max(0.4 * width, inner - 0.5 * width), inner - _MIN_PLOT)
    if name_room < min(names, _MIN_NAME):
        beside = edge - EDGE - said - _GAP >= min(names, _MIN_NAME)
        room = edge - EDGE - (said + _GAP if beside else 0)
        return _Columns(room, EDGE + _MARGIN, edge - _MARGIN, edge, stacked=True, beside=beside)
    left = EDGE + name_room + _GAP
    right = edge - (said + _GAP if said else 0)
    return _Columns(name_room, left + _MARGIN, right - _MARGIN, edge, stacked=False)


def _draw_panel(drawing: Drawing, panel: Panel, columns: _Columns, width: float, top: float) -> float:
    y = draw_heading(drawing, panel.heading, width, top) + 6
    scale = Scale(panel.domain, columns.left, columns.right)
    ticks = scale.ticks(within=(2.0, columns.right + _MARGIN + EDGE - 2))
    names = fit_all([s.name for s in panel.strips], columns.name_room, lines=2)
    start, tracks = y, []
    for strip, name in zip(panel.strips, names, strict=True):
        middle, y = _draw_strip(drawing, strip, name, columns, scale, y)
        tracks.append((middle - 11, middle + 11))
    # Names above their marks would be crossed by lines that run through.
    _draw_lines(drawing, panel, scale, ticks, tracks if columns.stacked else [(start, y)])
    _draw_axis(drawing, panel, scale, ticks, y + 2)
    return draw_notes(drawing, panel.notes, width, y + 44)


def _draw_lines(drawing: Drawing, panel: Panel, scale: Scale, ticks: Sequence[_Tick], tracks: Sequence[_Ends]) -> None:
    for top, bottom in tracks:
        for value, _, _ in ticks:
            drawing.segment("grid", scale(value), top, scale(value), bottom)
        if panel.zero is not None:
            drawing.segment("axis", scale(panel.zero), top, scale(panel.zero), bottom)


def draw_heading(drawing: Drawing, heading: str, width: float, top: float) -> float:
    """A bold line or two, and where they end."""
    fitted = fit(heading, width - 2 * EDGE, lines=3, bold=True)
    drawing.write_lines("heading", EDGE, top + SIZE, fitted)
    return top + LEADING * len(fitted.lines)


def _draw_strip(drawing: Drawing, strip: Strip, name: Fitted, columns: _Columns, scale: Scale, top: float) -> _Ends:
    """The height of its marks, and where it ends."""
    if columns.stacked:
        middle, bottom = _draw_above(drawing, strip, name, columns, top)
    else:
        lines = len(name.lines)
        bottom = top + max(26.0, lines * LEADING + 10.0)
        middle = (top + bottom) / 2
        drawing.write_lines("start", EDGE, middle + 4.5 - (lines - 1) * LEADING / 2, name)
        if strip.said:
            drawing.write("end", columns.edge, middle + 4.5, strip.said)
    if strip.words:
        words = fit(strip.words, columns.right - columns.left + 2 * _MARGIN - 4)
        drawing.write_lines("start", columns.left - _MARGIN + 4, middle + 4.5, words)
    if strip.draw is not None:
        strip.draw(drawing, scale, middle)
    return middle, bottom


def _draw_above(drawing: Drawing, strip: Strip, name: Fitted, columns: _Columns, top: float) -> _Ends:
    """Name and numbers above the marks: beside each other, or the numbers below where there is no room."""
    drawing.write_lines("start", EDGE, top + LEADING, name)
    lines = len(name.lines)
    if strip.said and columns.beside:
        drawing.write("end", columns.edge, top + LEADING, strip.said)
    elif strip.said:
        said = fit(strip.said, columns.edge - EDGE, lines=3)
        drawing.write_lines("start", EDGE, top + LEADING * (lines + 1), said)
        lines += len(said.lines)
    height = lines * LEADING
    return top + height + 17, top + height + 32


def _draw_axis(drawing: Drawing, panel: Panel, scale: Scale, ticks: Sequence[_Tick], bottom: float) -> None:
    for value, text, at in ticks:
        x = scale(value)
        drawing.segment("axis", x, bottom, x, bottom + 4)
        drawing.write("tick", at, bottom + 17, text)
    drawing.segment("axis", scale.start - _MARGIN, bottom, scale.end + _MARGIN, bottom)
    fitted = fit(panel.axis, scale.end - scale.start + 2 * _MARGIN, size=SMALL)
    drawing.write_lines("tick", (scale.start + scale.end) / 2, bottom + 33, fitted)


def draw_notes(drawing: Drawing, notes: Sequence[Note], width: float, top: float) -> float:
    """Explanations below a picture, each with its mark, as many in a line as there is room for; where they end."""
    x, y = EDGE, top
    for i, note in enumerate(notes):
        indent = 20.0 if note.shape else 0.0
        fitted = fit(note.text, width - 2 * EDGE - indent, lines=4, size=SMALL)
        if i and (len(fitted.lines) > 1 or x + indent + fitted.width(SMALL) > width - EDGE):
            x, y = EDGE, y + LEADING + 2
        _draw_sign(drawing, note, x + 7, y + LEADING - 8)
        drawing.write_lines("small", x + indent, y + LEADING - 4, fitted)
        x += indent + fitted.width(SMALL) + 18
        if len(fitted.lines) > 1:
            x, y = width, y + (len(fitted.lines) - 1) * LEADING
    return y + (LEADING + 6 if notes else 0)


def _draw_sign(drawing: Drawing, note: Note, x: float, y: float) -> None:
    if note.shape == "band":
        drawing.box(note.layer, x - 7, y - 5, 14, 10)
    elif note.shape:
        drawing.add(note.layer, marker(note.shape, x, y))


def interval(drawing: Drawing, scale: Scale, y: float, ends: tuple[float, float], layer: str = "line") -> None:
    """A line between two values, with caps where a mark would leave them to be seen."""
    a, b = sorted((scale(ends[0]), scale(ends[1])))
    drawing.segment(layer, a, y, b, y)
    for x in (a, b) if b - a >= _CAPPED else ():
        drawing.segment(layer, x, y - 4, x, y + 4)
