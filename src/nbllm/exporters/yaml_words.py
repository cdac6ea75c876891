"""Our own values as YAML text that readers of 1.1 and of 1.2 take alike.

llm and litellm read YAML 1.1, the others 1.2: what either could take for something else than text is quoted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

_SAFE = re.compile(r"[A-Za-z_][A-Za-z0-9_./+-]*(:+[A-Za-z0-9_./+-]+)*")
_TAKEN_FOR_OTHERS = frozenset(("y", "n", "yes", "no", "on", "off", "true", "false", "null", "none", "nan", "inf"))
_NOT_TEXT = re.compile(
    r"""~|null|Null|NULL|true|True|TRUE|false|False|FALSE|yes|Yes|YES|no|No|NO|on|On|ON|off|Off|OFF|y|Y|n|N|
        |[-+]?(0b[01_]+|0o?[0-7_]+|0x[0-9a-fA-F_]+|[0-9][0-9_]*(:[0-5]?[0-9])*(\.[0-9_]*)?([eE][-+]?[0-9]+)?)
        |[-+]?(\.[0-9_]+([eE][-+]?[0-9]+)?|\.inf|\.Inf|\.INF)|\.nan|\.NaN|\.NAN
        |\d{4}-\d\d?-\d\d?([Tt\s].*)?|=|<<""",
    re.VERBOSE,
)
_ESCAPED = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def is_text(written: str) -> bool:
    """Whether an unquoted scalar is text to every reader."""
    return bool(written) and not _NOT_TEXT.fullmatch(written)


def as_plain(value: Any) -> Any:
    """A scalar for comparing: text as such, anything else as a pair `("plain", how it is written)`."""
    if isinstance(value, str):
        return value
    return ("plain", scalar(value))


def scalar(value: Any) -> str:
    """A scalar as it is written. Numbers without exponent, since `5e-08` is text to readers of YAML 1.1."""
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, (float, Decimal)):
        return _number(Decimal(str(value)))
    raise TypeError(f"{type(value).__name__} is no scalar")


def _number(value: Decimal) -> str:
    written = f"{value:f}"
    if "." in written:
        written = written.rstrip("0").rstrip(".")
    return written if "." in written else f"{written}.0"


def _text(value: str) -> str:
    if _SAFE.fullmatch(value) and value.lower() not in _TAKEN_FOR_OTHERS and len(value) < 1000:
        return value
    if value.isprintable() and ("'" not in value or '"' in value):
        return f"'{value.replace(chr(39), chr(39) * 2)}'"
    return f'"{_escaped(value)}"'


def quoted(value: Any, quote: str | None) -> str:
    """A scalar in the quotes that its predecessor had."""
    if isinstance(value, str) and value.isprintable():
        if quote == '"':
            return f'"{_escaped(value)}"'
        if quote == "'":
            return f"'{value.replace(chr(39), chr(39) * 2)}'"
    return scalar(value)


def _escaped(value: str) -> str:
    return "".join(_ESCAPED.get(c) or (c if c.isprintable() else _by_number(c)) for c in value)


def _by_number(char: str) -> str:
    code = ord(char)
    return f"\\x{code:02X}" if code < 0x100 else f"\\u{code:04X}" if code < 0x10000 else f"\\U{code:08X}"


def flow(value: Any) -> str:
    """A value on one line: `[a, b]`, `{a: 1}`."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_flow_text(scalar(k))}: {flow(v)}" for k, v in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(flow(v) for v in value) + "]"
    return _flow_text(scalar(value))


def _flow_text(written: str) -> str:
    return f"'{written}'" if ":" in written and written[0] not in "'\"" else written


def pair(key: str, value: Any, *, column: int, style: Style) -> list[str]:
    """`key: value` as lines, the first without its indentation, the others with theirs."""
    name = scalar(key)
    if isinstance(value, Mapping) and value:
        return [f"{name}:", *indented(mapping(value, column=column + style.step, style=style), column + style.step)]
    if isinstance(value, Sequence) and not isinstance(value, str) and value and isinstance(value[0], Mapping):
        at = column + style.dash
        lines = [line for v in value for line in indented(item(v, column=at, style=style), at)]
        return [f"{name}:", *lines]
    return [f"{name}: {flow(value) if not isinstance(value, str) else scalar(value)}"]


def mapping(value: Mapping[str, Any], *, column: int, style: Style) -> list[str]:
    """The lines of a block mapping; the first lines of its pairs without indentation."""
    found: list[str] = []
    for i, (key, v) in enumerate(value.items()):
        lines = pair(key, v, column=column, style=style)
        found += lines if i == 0 else [" " * column + lines[0], *lines[1:]]
    return found


def item(value: Any, *, column: int, style: Style) -> list[str]:
    """The lines of an item of a block sequence whose dash stands at `column`; the first without indentation."""
    if not isinstance(value, Mapping):
        return [f"- {scalar(value)}"]
    lines = mapping(value, column=column + style.inside, style=style)
    return ["-" + " " * (style.inside - 1) + lines[0], *lines[1:]]


def indented(lines: Sequence[str], column: int) -> list[str]:
    """`lines` with the first one indented."""
    return [" " * column + lines[0], *lines[1:]]


class Style:
    """How a file indents.

    Args:
        step: Columns from a key to the keys below it.
        dash: Columns from a key to the dash of its list.
        inside: Columns from a dash to the first key.
    """

    __slots__ = ("dash", "inside", "step")

    def __init__(self, step: int = 2, dash: int = 2, inside: int = 2) -> None:
        self.step, self.dash, self.inside = step, dash, inside
