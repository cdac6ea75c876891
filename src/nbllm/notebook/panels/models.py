"""`ModelTable.view()`: the table as a widget that sorts and filters in the browser.

All rows go there once, as one trait that never changes; sorting, filtering and scrolling ask the kernel nothing.
Where no widget can be shown (a saved notebook, nbconvert), the same output holds the first rows as static HTML.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import anywidget
import traitlets

from nbllm.catalog.wanted import LIMIT
from nbllm.foreign import one_line

if TYPE_CHECKING:
    from nbllm.catalog.table import ModelTable

_STATIC = Path(__file__).parent / "static"

COLUMNS = (
    ("favourite", "★", "mark"), ("ref", "model", "text"), ("context", "context", "number"),
    ("input_price", "in $/M", "number"), ("output_price", "out $/M", "number"), ("vision", "vision", "flag"),
    ("tools", "tools", "flag"), ("reasoning", "reasoning", "flag"), ("structured_output", "json", "flag"),
    ("usable", "usable", "text"), ("max_output", "max output", "number"),
    ("cached_input_price", "cached $/M", "number"),
    ("name", "name", "text"), ("type", "type", "text"), ("status", "status", "text"),
)  # fmt: skip
"""Name in the row, heading, and how it is shown."""


class ModelView(anywidget.AnyWidget):
    """Models to be sorted and filtered."""

    _esm = _STATIC / "models.js"
    _css = _STATIC / "models.css"
    columns = traitlets.List().tag(sync=True)
    rows = traitlets.List().tag(sync=True)
    note = traitlets.Unicode("").tag(sync=True)

    def __init__(self, table: ModelTable) -> None:
        self._table = table
        super().__init__(
            columns=[{"name": name, "title": title, "kind": kind} for name, title, kind in COLUMNS],
            rows=[_row(row) for row in table],
            note=table.remarks or "",
        )

    def __repr__(self) -> str:
        return self._table.first(LIMIT).to_text()

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        # One output with both: a front end that knows the widget shows it, every other one the static table.
        bundle = super()._repr_mimebundle_(**kwargs)
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
        table = self._table.first(LIMIT)  # all of them would be megabytes in the notebook
        shown = {**(data or {}), "text/plain": table.to_text(), "text/html": table._repr_html_()}
        return shown, metadata


def _row(row: Any) -> list[Any]:
    """The values in the order of `COLUMNS`; text is on one line and shows hidden characters."""
    seeing = {**row, "vision": None if row["input_modalities"] is None else "image" in row["input_modalities"]}
    return [one_line(value) if isinstance(value, str) else value for value in (seeing[name] for name, _, _ in COLUMNS)]
