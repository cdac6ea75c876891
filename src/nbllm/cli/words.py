"""Words of a command line that need reading."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from nbllm.errors import UsageError


def assignments(items: Sequence[str] | None) -> dict[str, Any]:
    """`KEY=VALUE` words as a dict; a value is JSON where it can be read as such, else a string.

    Raises:
        UsageError: A word has no `=`. The value is not repeated.
    """
    found: dict[str, Any] = {}
    for item in items or ():
        name, equals, value = item.partition("=")
        if not equals or not name:
            raise UsageError("a parameter takes KEY=VALUE", hint="for example -p top_p=0.9")
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found
