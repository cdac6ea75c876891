"""The first place where two requests differ, in words."""

from __future__ import annotations

import json
from typing import Any

from nbllm.foreign import one_line
from nbllm.transport.recording import Asked

_SHOWN = 60
_BEFORE = 12
"""Characters of what is equal that are shown before a difference inside a text."""


def first_difference(recorded: Asked, asked: Asked) -> str:
    """Such as `messages[1].content: recorded "a", asked "b"`."""
    for name in ("provider", "method", "path"):
        before, now = getattr(recorded, name), getattr(asked, name)
        if before != now:
            return f"{name}: recorded {before}, asked {now}"
    return _difference(recorded.body, asked.body, "") or "nothing that can be shown"


def _difference(before: Any, now: Any, path: str) -> str | None:
    if before == now:
        return None
    if isinstance(before, dict) and isinstance(now, dict):
        for name in sorted({*before, *now}):
            inner = f"{path}.{name}" if path else name
            if name not in before or name not in now:
                return f"{inner}: {'asked' if name in now else 'recorded'} only"
            if found := _difference(before[name], now[name], inner):
                return found
    if isinstance(before, list) and isinstance(now, list):
        for at, (one, other) in enumerate(zip(before, now, strict=False)):
            if found := _difference(one, other, f"{path}[{at}]"):
                return found
        return f"{path}: recorded {len(before)} items, asked {len(now)}"
    return f"{path}: recorded {_shown(before, now)}, asked {_shown(now, before)}"


def _shown(value: Any, other: Any) -> str:
    if isinstance(value, str) and isinstance(other, str):
        same = next((i for i, (a, b) in enumerate(zip(value, other, strict=False)) if a != b), 0)
        start = max(0, same - _BEFORE)
        value = ("…" if start else "") + value[start:]
    text = one_line(json.dumps(value, ensure_ascii=False), 10_000)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
