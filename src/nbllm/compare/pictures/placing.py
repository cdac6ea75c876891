"""Labels beside points, so that none covers another label, a mark or the edge."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

_Pair = tuple[float, float]
_Candidates = Callable[["Box", float, float, float, float], Iterator["Box"]]

_Avoid = Sequence[Sequence["Box"]]

STEP = 9.0
"""Pixels between places that are tried."""

_CHOICES = 30
"""Free places that are looked at: one far away is worse than a crossed line."""


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle: its left upper corner, its right lower one."""

    left: float
    top: float
    right: float
    bottom: float

    def overlaps(self, other: Box) -> bool:
        """Whether they share more than an edge."""
        return (
            self.left < other.right and other.left < self.right and self.top < other.bottom and other.top < self.bottom
        )

    def within(self, other: Box) -> bool:
        """Whether it lies wholly in `other`."""
        return (
            other.left <= self.left
            and self.right <= other.right
            and other.top <= self.top
            and self.bottom <= other.bottom
        )


@dataclass(slots=True)
class Board:
    """What is taken already on an area."""

    area: Box
    taken: list[Box] = field(default_factory=list)

    def is_free(self, box: Box) -> bool:
        """Whether the box lies in the area and covers nothing."""
        return box.within(self.area) and not any(box.overlaps(t) for t in self.taken)


def place_beside(board: Board, points: Sequence[_Pair], sizes: Sequence[_Pair], avoid: _Avoid = ()) -> list[Box]:
    """A box close to each point, taken on the board; an empty list when one of them finds no place.

    Args:
        avoid: Kinds of things that had better not be covered, the most important first; a point that finds no place
            clear of all of them gives up the last kind, then the one before.
    """
    return _place(board, points, sizes, beside, avoid)


def place_around(board: Board, points: Sequence[_Pair], sizes: Sequence[_Pair], avoid: _Avoid = ()) -> list[Box]:
    """As `place_beside`, with places further and further away, as far as the area reaches."""
    return _place(board, points, sizes, around, avoid)


def _place(
    board: Board, points: Sequence[_Pair], sizes: Sequence[_Pair], candidates: _Candidates, avoid: _Avoid
) -> list[Box]:
    chosen: list[Box] = []
    for (x, y), (width, height) in zip(points, sizes, strict=True):
        box = _best(board, candidates(board.area, x, y, width, height), avoid)
        if box is None:
            return []
        board.taken.append(box)
        chosen.append(box)
    return chosen


def _best(board: Board, candidates: Iterator[Box], avoid: _Avoid) -> Box | None:
    """The first that is free of everything, else the first of those that are free of the most important kinds."""
    kept: dict[int, Box] = {}
    for box in islice(filter(board.is_free, candidates), _CHOICES):
        covered = next((i for i, kind in enumerate(avoid) if any(map(box.overlaps, kind))), len(avoid))
        if covered == len(avoid):
            return box
        kept.setdefault(covered, box)
    return kept[max(kept)] if kept else None


def beside(area: Box, x: float, y: float, width: float, height: float) -> Iterator[Box]:
    """The eight places next to a mark, best first."""
    off, half = 8.0, height / 2
    for left, top in (
        (x + off, y - half),
        (x - off - width, y - half),
        (x - width / 2, y - off - height),
        (x - width / 2, y + off),
        (x + off - 1, y - off - height + 4),
        (x + off - 1, y + off - 4),
        (x - off + 1 - width, y - off - height + 4),
        (x - off + 1 - width, y + off - 4),
    ):
        yield Box(left, top, left + width, top + height)


def around(area: Box, x: float, y: float, width: float, height: float) -> Iterator[Box]:
    """First beside the mark, then every place of a grid over the area, from near to far."""
    yield from beside(area, x, y, width, height)
    columns = range(int((area.right - area.left - width) // STEP) + 1)
    rows = range(int((area.bottom - area.top - height) // STEP) + 1)
    places = [(area.left + c * STEP, area.top + r * STEP) for c in columns for r in rows]

    def distance(place: tuple[float, float]) -> tuple[float, float, float]:
        dx, dy = place[0] + width / 2 - x, place[1] + height / 2 - y
        return round(dx * dx + dy * dy, 3), place[1], place[0]

    for left, top in sorted(places, key=distance):
        yield Box(left, top, left + width, top + height)
