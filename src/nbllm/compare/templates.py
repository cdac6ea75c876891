r"""A prompt for each row of a table: `{{column}}` is that row's value, `\{{` a literal `{{`.

Nothing is evaluated: what stands between the braces is a column's name, and a value is inserted once, verbatim.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping
from typing import Any

from nbllm.errors import PromptError
from nbllm.foreign import one_line

_PLACE = re.compile(r"\\\{\{|\{\{\s*(.+?)\s*\}\}")


def columns_in(template: str) -> list[str]:
    """The columns that a template names, each once, in order."""
    return list(dict.fromkeys(m[1] for m in _PLACE.finditer(template) if m[1] is not None))


def check_columns(template: str, columns: Collection[str]) -> None:
    """See that every column is there.

    Raises:
        PromptError: One is not; the closest names are told.
    """
    for name in columns_in(template):
        if name in columns:
            continue
        close = difflib.get_close_matches(name, columns, n=3)
        has = ", ".join(one_line(c, 40) for c in list(columns)[:12])
        raise PromptError(
            f"the template names the column {one_line(name, 60)!r}, which the data does not have",
            hint=f"did you mean {', '.join(one_line(c, 40) for c in close)}?" if close else f"it has {has}",
        )


def fill(template: str, values: Mapping[str, Any], *, where: str) -> str:
    """The prompt of one row.

    Args:
        template: With the places.
        values: Column to value, every column of the template among them.
        where: Which row it is, for the error.

    Raises:
        PromptError: The row has no value in a column that the template names.
    """

    def value(found: re.Match[str]) -> str:
        name = found[1]
        if name is None:
            return "{{"
        if values[name] is None:
            raise PromptError(
                f"{where} has no value in the column {one_line(name, 60)!r}",
                hint="fill it in, or leave the row out",
            )
        return str(values[name])

    return _PLACE.sub(value, template)
