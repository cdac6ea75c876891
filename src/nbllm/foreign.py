"""Text that others wrote, made fit to be shown: model ids, provider names, server messages, file names.

`one_line` is for terminals and tables, `escape` for HTML. Model answers in HTML go through the pipeline in
`notebook/display`, nowhere else.
"""

from __future__ import annotations

import html
import unicodedata

FIELD_LENGTH = 200
"""Characters of a foreign text that a table shows."""

_SHOWN = {"\t": " ", "\n": " ", "\r": " "}


def visible(text: str) -> str:
    """Control, bidirectional and zero-width characters as `<U+202E>`, so that nobody is misled by them."""
    if text.isprintable():
        return text
    return "".join(
        c if c in "\n\t" or not _is_hidden(c) else f"<U+{ord(c):04X}>"
        for c in text
    )  # fmt: skip


def _is_hidden(char: str) -> bool:
    return unicodedata.category(char) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")


def one_line(text: object, limit: int = FIELD_LENGTH) -> str:
    """On one line, with hidden characters shown, cut to `limit` characters."""
    line = visible("".join(_SHOWN.get(c, c) for c in str(text))).strip()
    return line if len(line) <= limit else line[: limit - 1] + "…"


def escape(text: object, limit: int = FIELD_LENGTH) -> str:
    """`one_line`, escaped for HTML text and attribute values."""
    return html.escape(one_line(text, limit), quote=True)
