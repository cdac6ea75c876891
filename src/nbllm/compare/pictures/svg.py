"""A finished picture: it shows itself in a notebook, is saved as a file, and tells its numbers as text."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nbllm.compare.pictures.drawing import PAPER, ROOT, STYLE, escaped
from nbllm.errors import ExportError
from nbllm.foreign import escape
from nbllm.tables import Table

ROWS_SHOWN = 200
"""Rows of numbers below a picture in HTML."""
_TEXT_WIDTH = 120
_SHRINKS = 900
"""Pixels up to which a picture shrinks with the page; a wide matrix would lose its numbers."""


@dataclass(frozen=True, slots=True)
class Svg:
    """A picture. The same rows give the same bytes, so a notebook that is run again does not change."""

    title: str
    """What it shows, in a few words."""
    description: str
    """Every number of it in words, for those who do not see it."""
    width: int
    """Pixels."""
    height: int
    """Pixels."""
    body: str
    """The strokes, as SVG."""
    columns: tuple[str, ...] = ()
    """Of the numbers as a table."""
    rows: tuple[Mapping[str, Any], ...] = ()
    """The numbers, as they are said in the picture."""

    def to_svg(self) -> str:
        """The whole document. It loads nothing, runs nothing, and can stand inside a page or be a file."""
        size = f'width="{self.width}" height="{self.height}"'
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} viewBox="0 0 {self.width} {self.height}" role="img" '
            f"{ROOT}><title>{escaped(self.title)}</title><desc>{escaped(self.description)}</desc>{STYLE}"
            f'<rect {size} {PAPER}/><g fill="currentColor">{self.body}</g></svg>\n'
        )

    def save(self, path: str | Path) -> Path:
        """Write the document to `path`, UTF-8, and say where.

        Raises:
            ExportError: The file cannot be written.
        """
        target = Path(path).expanduser()
        try:
            target.write_bytes(self.to_svg().encode())
        except OSError as error:
            raise ExportError(
                f"cannot write the picture to {target}: {error.strerror}", hint="choose a folder that can be written to"
            ) from error
        return target

    def _repr_html_(self) -> str:
        # As <img>, because JupyterLab drops <svg> out of a notebook that is not trusted and leaves its words behind;
        # an image with `color-scheme` still follows the light or dark of the page around it.
        data = base64.b64encode(self.to_svg().encode()).decode("ascii")
        # No smaller than 7 tenths, where letters are 9 pixels: a narrower page scrolls.
        limit = f"max-width:100%;min-width:{self.width * 7 // 10}px" if self.width <= _SHRINKS else "max-width:none"
        picture = (
            f'<img src="data:image/svg+xml;base64,{data}" width="{self.width}" alt="{escape(self.title)}" '
            f'style="{limit};height:auto">'
        )
        numbers = self._table(ROWS_SHOWN)._repr_html_()
        return f"<div>{picture}<details><summary>Numbers of this picture</summary>{numbers}</details></div>"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"text/html": self._repr_html_(), "image/svg+xml": self.to_svg(), "text/plain": repr(self)}

    def _table(self, limit: int | None = None) -> Table:
        rows = self.rows[:limit]
        left = len(self.rows) - len(rows)
        note = f"showing {len(rows)} of {len(self.rows)} rows" if left else None
        return Table(rows, columns=self.columns, title=self.title, note=note)

    def __repr__(self) -> str:
        return self._table().to_text(_TEXT_WIDTH)
