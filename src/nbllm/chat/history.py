"""Which of the earlier messages can be sent again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from nbllm.messages import Message, Part, Role, ToolCall, ToolResult


def sendable(messages: Sequence[Message]) -> tuple[Message, ...]:
    """Stored messages as servers accept them: a tool call without its result is left out.

    An answer that was interrupted between the calls and their results, or cut inside them, ends like that; OpenAI and
    Anthropic refuse every further request with it. The stored messages stay as they are.
    """
    answered = {p.call_id for m in messages if m.role is Role.TOOL for p in m.parts if isinstance(p, ToolResult)}
    kept = (replace(m, parts=tuple(_without_open_calls(m.parts, answered))) for m in messages)
    return tuple(m for m in kept if m.parts)


def _without_open_calls(parts: Iterable[Part], answered: set[str]) -> Iterable[Part]:
    return (p for p in parts if not isinstance(p, ToolCall) or p.id in answered)
