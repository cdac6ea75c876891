"""Tool calls of the wire formats that leave out what the others have: ids, and arguments as text."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from nbllm.messages import ToolCall

_MADE = "nbllm_"


def made_id(*facts: Any) -> str:
    """An id for a call that came without one; the same facts give the same id."""
    return _MADE + hashlib.sha256(json.dumps(facts, default=str).encode()).hexdigest()[:16]


def sent_id(call_id: str) -> str | None:
    """The id to send back; None for one that was made here, which the server does not know."""
    return None if call_id.startswith(_MADE) else call_id


def arguments_text(arguments: Any) -> str:
    """Arguments as JSON text, as `ToolCall` has them. Text stays as it came, so that nothing cut is repaired."""
    if isinstance(arguments, str):
        return arguments
    return json.dumps({} if arguments is None else arguments, ensure_ascii=False)


def arguments_object(call: ToolCall) -> dict[str, Any]:
    """The arguments of a complete call as an object."""
    value = json.loads(call.arguments or "{}")
    return value if isinstance(value, dict) else {}
