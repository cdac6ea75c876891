"""Models as a table: text, static HTML, a DataFrame, and on request a widget that sorts and filters."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from nbllm.catalog.marks import Marked
from nbllm.catalog.wanted import COLUMNS
from nbllm.errors import UnsupportedError
from nbllm.foreign import escape
from nbllm.providers.spec import ModelInfo
from nbllm.tables import Row, Table

UNKNOWN = "—"
NOT_LISTED = "not listed"
"""The status of a model that has a mark, and that its provider's listing lacks."""

_ABILITIES = (("tools", "tools"), ("reasoning", "reasoning"), ("structured_output", "json"))
_CELL = "padding:2px 8px;white-space:nowrap;text-align:"
_HEAD = "position:sticky;top:0;background:var(--jp-layout-color1, Canvas);"
_BOX = "max-height:32em;max-width:100%;overflow:auto;width:fit-content"


class ModelTable(Table):
    """Models, one a row, with the fixed columns and `usable`: whether it can be asked now, or what it lacks.

    Args:
        rows: From `row_of`.
        total: How many fit, shown or not.
        note: Sentences below the table.
        viewer: Makes the widget of `view`.
    """

    columns = ("★", "ref", "context", "in $/M", "out $/M", "can", "usable")
    numbers = frozenset(("context", "in $/M", "out $/M"))

    def __init__(
        self,
        rows: Sequence[Row],
        *,
        total: int | None = None,
        note: str | None = None,
        viewer: Callable[[ModelTable], Any] | None = None,
    ) -> None:
        self.total = len(rows) if total is None else total
        self.remarks = note
        """What stands below, without the count."""
        lines = (_count(len(rows), self.total) if rows else None, note)
        super().__init__(rows, note="\n".join(filter(None, lines)) or None)
        self.viewer = viewer

    def noted(self, lines: Sequence[str]) -> ModelTable:
        """The same with more sentences below."""
        self.note = "\n".join(filter(None, (self.note, *lines))) or None
        self.remarks = "\n".join(filter(None, (self.remarks, *lines))) or None
        return self

    def first(self, count: int) -> ModelTable:
        """The first rows, as a table that tells how many there are."""
        if len(self.rows) <= count:
            return self
        return ModelTable(self.rows[:count], total=self.total, note=self.remarks, viewer=self.viewer)

    def as_json(self) -> list[dict[str, Any]]:
        """The rows with the fixed columns, for programs. Unknown is None."""
        return [{c: row[c] for c in COLUMNS} for row in self.rows]

    def shown_rows(self) -> list[dict[str, Any]]:
        """The rows as a person reads them."""
        return [_for_people(row) for row in self.rows]

    def view(self) -> Any:
        """A widget that sorts and filters these rows, where there is a notebook.

        Raises:
            UnsupportedError: There is none.
        """
        if self.viewer is None:
            raise UnsupportedError("this table has no view here", hint="in a notebook `%llm_models` gives one that has")
        return self.viewer(self)

    def _repr_html_(self) -> str:
        if not self.rows:
            return super()._repr_html_()
        sides = {c: "right" if c in self.numbers else "left" for c in self.shown}
        head = "".join(f"<th scope='col' style='{_CELL}{sides[c]};{_HEAD}'>{escape(c)}</th>" for c in self.shown)
        body = "".join(
            "<tr>" + "".join(_cell(row, shown, c, sides[c]) for c in self.shown) + "</tr>"
            for row, shown in zip(self.rows, self.shown_rows(), strict=True)
        )
        note = "".join(f"<p>{escape(line, 1000)}</p>" for line in (self.note or "").splitlines())
        table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        return f"<div style='{_BOX}' tabindex='0' role='region' aria-label='models'>{table}</div>{note}"


def row_of(model: ModelInfo, marked: Marked, *, favourites: Collection[str], usable: str) -> dict[str, Any]:
    """One model with the fixed columns, and `usable`."""
    row: dict[str, Any] = {c: getattr(model, c) for c in COLUMNS if c not in ("favourite", "groups")}
    row["input_modalities"] = None if model.input_modalities is None else list(model.input_modalities)
    row["output_modalities"] = None if model.output_modalities is None else list(model.output_modalities)
    row["favourite"] = model.ref in favourites
    row["groups"] = [name for name, refs in marked.groups.items() if model.ref in refs]
    row["sources"] = dict(model.sources)
    return {c: row[c] for c in COLUMNS} | {"usable": usable}


_SOURCE_OF = {"context": "context", "in $/M": "input_price", "out $/M": "output_price"}


def _cell(row: Row, shown: Row, column: str, side: str) -> str:
    source = row["sources"].get(_SOURCE_OF.get(column, ""))
    title = f" title='{escape(source)}'" if source else ""
    return f"<td style='{_CELL}{side}'{title}>{escape(shown[column] or '')}</td>"


def _for_people(row: Row) -> dict[str, Any]:
    return {
        **row,
        "★": "★" if row["favourite"] else "",
        "context": _tokens(row),
        "in $/M": price(row["input_price"]),
        "out $/M": price(row["output_price"]),
        "can": _abilities(row),
        "usable": row["usable"] if not row["status"] else f"{row['usable']}, {row['status']}",
    }


def _tokens(row: Row) -> str:
    return UNKNOWN if row["context"] is None else f"{row['context']:,}"


def price(usd: float | None) -> str:
    """USD per million tokens; a price of 0 is free, and an unknown one is neither."""
    return UNKNOWN if usd is None else f"{usd:.4g}"


def _abilities(row: Row) -> str:
    """What it is known to do; none of it is known to be lacking."""
    words = ["vision"] if "image" in (row["input_modalities"] or ()) else []
    words += [word for column, word in _ABILITIES if row[column]]
    return " ".join(words) or (str(row["type"]) if row["type"] not in (None, "chat") else "")


def _count(shown: int, total: int) -> str:
    if shown == total:
        return f"{total:,} model{'s' if total != 1 else ''}"
    return f"{shown:,} of {total:,}, --limit shows more"


def facts_table(rows: Sequence[Mapping[str, Any]], *, title: str, note: str | None = None) -> Table:
    """What is known of one model: each value with who says so, since when, and whether it counts."""
    return Table(rows, columns=("field", "value", "source", "date", "counts"), title=title, note=note)
