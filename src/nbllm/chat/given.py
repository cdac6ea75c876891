"""What the user gave, checked before anything is sent: text that can be sent, values that JSON has, one or several."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from nbllm.errors import PromptError
from nbllm.foreign import one_line


def text(value: Any, what: str) -> str:
    """A text that can be sent.

    Halves of a character that belong together (as JavaScript counts) are joined.

    Raises:
        PromptError: It is no text, or holds half a character.
    """
    if not isinstance(value, str):
        raise PromptError(f"{what} is of type {type(value).__name__}, not a text", hint=f"give {what} as a str")
    if sendable(value):
        return value
    joined = value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if joined.count("\ufffd") == value.count("\ufffd"):
        return joined
    broken = next(c for c in value if not sendable(c))
    raise PromptError(
        f"{what} holds half a character (U+{ord(broken):04X}), which cannot be sent",
        hint="it may come from a file name or a text that was decoded with the wrong encoding",
    )


def sendable(value: str) -> bool:
    """Whether a text can be written as UTF-8."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def params(values: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters as JSON has them; numbers of numpy become plain ones.

    Raises:
        PromptError: A value is none that JSON has.
    """
    return {text(name, "a parameter's name"): _plain(name, value) for name, value in values.items()}


def _plain(name: str, value: Any) -> Any:
    try:
        return json.loads(json.dumps(value, allow_nan=False, default=_number).encode())
    except (TypeError, ValueError, RecursionError):
        pass
    raise PromptError(
        f"the parameter {one_line(name, 40)} is {one_line(repr(value), 60)}, which JSON does not have",
        hint="use text, numbers, true, false, null, lists and dicts",
    )


def _number(value: Any) -> Any:
    plain = getattr(value, "item", None)  # numpy, torch
    if plain is None:
        raise TypeError
    return plain()


def several(values: Any) -> Sequence[Any]:
    """What is in a list or tuple; anything else, a str or a table too, is one thing by itself."""
    return values if isinstance(values, (list, tuple)) else (values,)
