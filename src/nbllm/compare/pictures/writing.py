"""What all pictures do last: put panels, table and words together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from nbllm.compare.pictures.drawing import Drawing
from nbllm.compare.pictures.numbers import fixed, signed
from nbllm.compare.pictures.strips import EDGE, Panel, draw_heading, draw_panels
from nbllm.compare.pictures.svg import Svg
from nbllm.errors import UsageError

NARROWEST, WIDEST = 240, 4000
NOTHING = "There is nothing to draw."


def picture(
    title: str,
    panels: Sequence[Panel],
    table: Sequence[Mapping[str, Any]],
    *,
    columns: tuple[str, ...],
    width: int,
    sentence: Callable[[Mapping[str, Any]], str],
) -> Svg:
    """The picture of these panels; `sentence` tells a row of the table in words."""
    check_width(width)
    drawing = Drawing()
    if not panels:
        return finished(drawing, title, (), NOTHING, columns=columns, width=width, height=_say_nothing(drawing, width))
    height = draw_panels(drawing, panels, width)
    words = " ".join(map(sentence, table))
    return finished(drawing, title, table, words, columns=columns, width=width, height=height)


def check_width(width: int) -> None:
    """Refuse what no picture can be.

    Raises:
        UsageError: It is narrower than 240 or wider than 4000 pixels.
    """
    if not NARROWEST <= width <= WIDEST:
        raise UsageError(
            f"a picture cannot be {width} pixels wide", hint=f"choose a width from {NARROWEST} to {WIDEST}"
        )


def finished(
    drawing: Drawing,
    title: str,
    table: Sequence[Mapping[str, Any]],
    words: str,
    *,
    columns: tuple[str, ...],
    width: float,
    height: float,
) -> Svg:
    """The picture of what was drawn."""
    size = {"width": round(width), "height": round(height + EDGE)}
    return Svg(title, words, **size, body=drawing.body(), columns=columns, rows=tuple(dict(r) for r in table))


def nothing(title: str, *, columns: tuple[str, ...], width: int) -> Svg:
    """The picture of no rows."""
    return picture(title, (), (), columns=columns, width=width, sentence=str)


def _say_nothing(drawing: Drawing, width: float) -> float:
    return draw_heading(drawing, NOTHING, width, EDGE)


def said_interval(span: tuple[float, float] | None, places: int, *, sign: bool = False) -> str:
    """` [0.75, 0.88]`, or nothing."""
    say = signed if sign else fixed
    return "" if span is None else f" [{say(span[0], places)}, {say(span[1], places)}]"
