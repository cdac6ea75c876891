"""Win rates: how often the arm of a row was better than the arm of a column."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nbllm.compare.pictures.arms import Row, titled
from nbllm.compare.pictures.drawing import BLUE, GREY, ORANGE, Drawing, rectangle
from nbllm.compare.pictures.numbers import count, finite, fixed
from nbllm.compare.pictures.strips import EDGE, Note, draw_heading, draw_notes
from nbllm.compare.pictures.svg import Svg
from nbllm.compare.pictures.text import LEADING, SMALL, fit_all, named, text_width
from nbllm.compare.pictures.writing import check_width, finished, nothing

TITLE = "Win rates"
COLUMNS = ("arm", "against", "win rate", "n")
_LEVELS = 5
"""Steps of colour to each side of one half."""
_NARROWEST_NAME, _ROOMY_NAME = 110.0, 250.0
"""Pixels of the column of names, where the matrix leaves little room."""
_DEEPEST = 0.5
"""Opacity of the deepest step; text on it keeps 4.5 : 1 on light and dark grounds."""


@dataclass(frozen=True, slots=True)
class _Duels:
    """What is known of two arms."""

    rate: float
    n: int | None


_Matrix = Mapping[tuple[str, str], _Duels]


@dataclass(frozen=True, slots=True)
class _Grid:
    """Where cells are."""

    left: float
    top: float
    cell: float
    row_height: float
    with_n: bool


def win_rates(matrix_rows: Iterable[Row], *, width: int = 640) -> Svg:
    """A matrix of win rates, the arm that wins most on top; each cell says its number, the colour only repeats it.

    Args:
        matrix_rows: A mapping for each pair with `a`, `b` (labels), `win_rate` (of a over b, 0 to 1, a tie is half a
            win) and `n` (duels). The reverse of a pair follows from it when it is not given. A pair without a rate
            stays empty and is told so.
        width: Pixels. From about 15 arms on the matrix takes more, so that its numbers stay readable.
    """
    check_width(width)
    matrix, arms = _matrix(matrix_rows)
    if not arms:
        return nothing(TITLE, columns=COLUMNS, width=width)
    ordered = sorted(arms, key=lambda a: -_mean_rate(a, arms, matrix))
    drawing = Drawing()
    right, bottom = _draw(drawing, ordered, matrix, width)
    table = _table(ordered, matrix)
    words = _words(ordered, matrix)
    return finished(drawing, TITLE, table, words, columns=COLUMNS, width=max(width, right + EDGE), height=bottom)


def _matrix(rows: Iterable[Row]) -> tuple[dict[tuple[str, str], _Duels], list[str]]:
    given: dict[tuple[str, str], _Duels] = {}
    arms: dict[str, None] = {}
    for row in rows:
        a, b = named(row.get("a")), named(row.get("b"))
        arms |= {a: None, b: None}
        rate = finite(row.get("win_rate"))
        if a != b and rate is not None and 0 <= rate <= 1:
            given[a, b] = _Duels(rate, count(row, "n"))
    reverse = {(b, a): _Duels(1 - d.rate, d.n) for (a, b), d in given.items()}
    return reverse | given, list(arms)


def _mean_rate(arm: str, arms: Sequence[str], matrix: _Matrix) -> float:
    rates = [matrix[arm, other].rate for other in arms if (arm, other) in matrix]
    return sum(rates) / len(rates) if rates else -1.0


def _common_n(matrix: _Matrix) -> int | None:
    counts = {d.n for d in matrix.values()}
    return counts.pop() if len(counts) == 1 else None


# ---------------------------------------------------------------- drawing


def _draw(drawing: Drawing, arms: Sequence[str], matrix: _Matrix, width: int) -> tuple[float, float]:
    n = _common_n(matrix)
    heading = titled("how often the row was better than the column", "", n, "duels each")
    top = draw_heading(drawing, heading, width, EDGE) + 8
    cell = max(36.0, min(48.0, (width - 2 * EDGE - 42 - max(_NARROWEST_NAME, width / 4)) / len(arms)))
    with_n = n is None and len(arms) <= 8 and any(d.n is not None for d in matrix.values())
    room = width - 2 * EDGE - 42 - cell * len(arms)
    if room < _NARROWEST_NAME:  # wider than was asked for in any case
        room = _ROOMY_NAME if len(arms) > 8 else _NARROWEST_NAME
    names = fit_all(arms, room, lines=2)
    tall = 36.0 if with_n or any(len(f.lines) > 1 for f in names) else 28.0
    left = EDGE + 30 + max(f.width() for f in names) + 12
    grid = _Grid(left, top + 20, cell, tall, with_n)
    for i, name in enumerate(names):
        middle = grid.top + (i + 0.5) * tall
        drawing.write("end", EDGE + 20, middle + 4.5, str(i + 1))
        first = middle + 4.5 - (len(name.lines) - 1) * LEADING / 2
        drawing.write_lines("start", EDGE + 30, first, name)
        drawing.write("tick", left + (i + 0.5) * cell, top + 13, str(i + 1))
    _draw_cells(drawing, arms, matrix, grid)
    bottom = grid.top + tall * len(arms) + 10
    return left + cell * len(arms), draw_notes(drawing, _notes(arms, matrix), width, bottom)


def _notes(arms: Sequence[str], matrix: _Matrix) -> list[Note]:
    missing = len(arms) * (len(arms) - 1) - len(matrix)
    notes = [Note("blue: the row was better more often; orange: the column; a tie is half a win each")]
    return notes + ([Note("empty: never met")] if missing else [])


def _draw_cells(drawing: Drawing, arms: Sequence[str], matrix: _Matrix, grid: _Grid) -> None:
    grounds: dict[int, list[str]] = {}
    for i, a in enumerate(arms):
        for j, b in enumerate(arms):
            x, y = grid.left + j * grid.cell, grid.top + i * grid.row_height
            if a == b:
                drawing.box("band", x + 1, y + 1, grid.cell - 2, grid.row_height - 2)
            elif (a, b) in matrix:
                duels = matrix[a, b]
                grounds.setdefault(_level(duels.rate), []).append(
                    rectangle(x + 1, y + 1, grid.cell - 2, grid.row_height - 2)
                )
                _write_cell(drawing, duels, x + grid.cell / 2, y + grid.row_height / 2, grid)
    for level in sorted(grounds):
        colour = BLUE if level > 0 else ORANGE if level else GREY
        opacity = f"{max(abs(level), 0.6) / _LEVELS * _DEEPEST:.2f}".removeprefix("0")
        drawing.add("band", f'<path d="{"".join(grounds[level])}" fill="{colour}" fill-opacity="{opacity}"/>')


def _level(rate: float) -> int:
    return max(-_LEVELS, min(_LEVELS, round((rate - 0.5) * 2 * _LEVELS)))


def _write_cell(drawing: Drawing, duels: _Duels, x: float, y: float, grid: _Grid) -> None:
    if not grid.with_n:
        drawing.write("tick", x, y + 4.2, fixed(duels.rate, 2))
        return
    drawing.write("tick", x, y - 1.5, fixed(duels.rate, 2))
    n = "n ?" if duels.n is None else f"n {duels.n}"
    if text_width(n, SMALL) <= grid.cell - 4:
        drawing.write("tick", x, y + 12.5, n)


# ---------------------------------------------------------------- words


def _table(arms: Sequence[str], matrix: _Matrix) -> list[dict[str, Any]]:
    return [
        {
            "arm": a,
            "against": b,
            "win rate": fixed(matrix[a, b].rate, 2) if (a, b) in matrix else "never met",
            "n": matrix[a, b].n if (a, b) in matrix else None,
        }
        for i, a in enumerate(arms)
        for b in arms[i + 1 :]
    ]


def _words(arms: Sequence[str], matrix: _Matrix) -> str:
    """Names once, then numbers: with sixty arms names in each sentence would be a book."""
    sentences = [f"Arm {i + 1} is {arm}." for i, arm in enumerate(arms)]
    for i, a in enumerate(arms):
        for j, b in enumerate(arms):
            if j > i and (a, b) in matrix:
                duels = matrix[a, b]
                behind = "" if duels.n is None else f" of {duels.n}"
                sentences.append(f"{i + 1} against {j + 1}: {fixed(duels.rate, 2)}{behind}.")
    return " ".join(sentences)
