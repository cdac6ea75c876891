"""Tables that read well as text, as HTML without script, and as a DataFrame."""

from __future__ import annotations

import dataclasses
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from nbllm.foreign import escape, one_line, visible

Row = Mapping[str, Any]


class Table:
    """Rows with the same columns. Cells may be foreign text: they are shown escaped and on one line.

    Args:
        rows: What to show, in order; a mapping each.
        columns: Which keys to show, in order.
        title: A caption, or None.
        note: A sentence below the table, for example what was left out.
    """

    columns: ClassVar[tuple[str, ...]] = ()
    numbers: ClassVar[frozenset[str]] = frozenset()
    """Columns that stand to the right."""

    def __init__(
        self,
        rows: Sequence[Row],
        *,
        columns: Sequence[str] | None = None,
        title: str | None = None,
        note: str | None = None,
    ) -> None:
        self.rows = [dict(r) for r in rows]
        self.shown = tuple(columns or self.columns or (self.rows[0] if self.rows else ()))
        self.title = title
        self.note = note

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def __getitem__(self, index: int) -> Row:
        return self.rows[index]

    def to_pandas(self) -> Any:
        """All columns as a pandas DataFrame. Needs pandas."""
        import pandas as pd  # noqa: PLC0415  (optional, and heavy)

        return pd.DataFrame(self.rows)

    def to_polars(self) -> Any:
        """All columns as a polars DataFrame. Needs polars."""
        import polars as pl  # noqa: PLC0415  (optional, and heavy)

        return pl.DataFrame(self.rows, infer_schema_length=None)

    def __repr__(self) -> str:
        return self.to_text()

    def shown_rows(self) -> Sequence[Row]:
        """The rows that text and HTML show; all of them, unless a kind of table says otherwise."""
        return self.rows

    def to_text(self, width: int | None = None) -> str:
        """The table as text, at most `width` columns wide.

        None: the terminal's width, at least 80; 120 where there is none, so that a notebook's outputs are the same
        wherever it runs.
        """
        rows = self.shown_rows()
        if not rows:
            return self._framed("(nothing)")
        cells = [[cell_text(r.get(c)) for c in self.shown] for r in rows]
        widths = [max(len(h), *(len(row[i]) for row in cells)) for i, h in enumerate(self.shown)]
        _shrink(widths, width or _room())
        right = [c in self.numbers for c in self.shown]
        lines = [_line(self.shown, widths, right), _line(["-" * w for w in widths], widths, right)]
        lines += [_line(row, widths, right) for row in cells]
        return self._framed(*lines)

    def _framed(self, *lines: str) -> str:
        return "\n".join(filter(None, (visible(self.title or ""), *lines, visible(self.note or ""))))

    def _repr_html_(self) -> str:
        caption = f"<caption style='text-align:left'>{escape(self.title)}</caption>" if self.title else ""
        sides = {c: "right" if c in self.numbers else "left" for c in self.shown}
        head = "".join(f"<th scope='col' style='text-align:{sides[c]}'>{escape(c)}</th>" for c in self.shown)
        body = "".join(
            "<tr>"
            + "".join(f"<td style='text-align:{sides[c]}'>{escape(cell_text(r.get(c)))}</td>" for c in self.shown)
            + "</tr>"
            for r in self.shown_rows()
        )
        note = "".join(f"<p>{escape(line, 1000)}</p>" for line in (self.note or "").splitlines())
        return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{note}"


def _room() -> int:
    # A kernel inherits the terminal of whoever started it; what it writes to is none all the same.
    return max(80, shutil.get_terminal_size().columns) if sys.stdout.isatty() else 120


class Sentences(tuple[str, ...]):
    """What a command did, a sentence each; reads as lines in text and in HTML."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "\n".join(one_line(s, 1000) for s in self)

    def _repr_html_(self) -> str:
        return "".join(f"<div>{escape(s, 1000)}</div>" for s in self)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        # IPython prints a tuple by its elements unless it is told how.
        printer.text(repr(self))


def rows_of(items: Sequence[Any]) -> list[dict[str, Any]]:
    """Dataclass instances as rows."""
    return [dataclasses.asdict(i) for i in items]


def cell_text(value: Any) -> str:
    """One cell as text: unknown is empty, yes and no are words, lists are joined."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, (list, tuple)):
        return one_line(", ".join(map(str, value)))
    return one_line(value)


def ago(seconds: float | None) -> str:
    """An age as people say it, for example `3 min old`."""
    if seconds is None:
        return "age unknown"
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit} old"
    return "just now"


def _shrink(widths: list[int], available: int) -> None:
    """Take room from the widest columns until the line fits; no column goes below eight."""
    while sum(widths) + 2 * (len(widths) - 1) > available and max(widths) > 8:
        widths[widths.index(max(widths))] -= 1


def _line(cells: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    fitted = (c if len(c) <= w else c[: w - 1] + "…" for c, w in zip(cells, widths, strict=True))
    placed = (c.rjust(w) if r else c.ljust(w) for c, w, r in zip(fitted, widths, right, strict=True))
    return "  ".join(placed).rstrip()
