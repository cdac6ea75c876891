"""From deltas to an answer."""

from __future__ import annotations

import json

from nbllm.messages import (
    Delta,
    FinishReason,
    Message,
    Part,
    Reasoning,
    Role,
    Text,
    ToolCall,
    ToolCallDelta,
    Usage,
)


class _Call:
    """A tool call while its pieces arrive."""

    __slots__ = ("arguments", "id", "name", "signature")

    def __init__(self) -> None:
        self.id: str | None = None
        self.name: str | None = None
        self.signature: str | None = None
        self.arguments: list[str] = []

    def finished(self, index: int) -> ToolCall:
        arguments = "".join(self.arguments)
        return ToolCall(
            id=self.id or f"call_{index}",
            name=self.name or "",
            arguments=arguments,
            complete=bool(self.name) and _is_json_object(arguments or "{}"),
            signature=self.signature,
        )


class ReplyBuilder:
    """Collects deltas into the parts of an answer. Not thread-safe; one for each attempt."""

    __slots__ = (
        "_calls", "_reasoning", "_text", "_thought", "_thought_up_to",
        "finish_reason", "model_reported", "notices", "request_id", "usage",
    )  # fmt: skip

    def __init__(self) -> None:
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._thought: list[Reasoning] = []
        self._thought_up_to = 0
        self._calls: dict[int, _Call] = {}
        self.usage: Usage | None = None
        self.finish_reason: FinishReason | None = None
        self.model_reported: str | None = None
        self.request_id: str | None = None
        self.notices: list[str] = []

    def add(self, delta: Delta) -> None:
        """Take in one delta."""
        if delta.text:
            self._text.append(delta.text)
        if delta.reasoning:
            self._reasoning.append(delta.reasoning)
        if delta.tool_call is not None:
            self._add_call(delta.tool_call)
        if delta.reasoning_signature or delta.reasoning_redacted:
            self._end_thought(delta)
        self.usage = delta.usage or self.usage
        self.finish_reason = delta.finish_reason or self.finish_reason
        self.model_reported = delta.model_reported or self.model_reported
        self.request_id = delta.request_id or self.request_id
        if delta.notice:
            self.notices.append(delta.notice)

    def _add_call(self, piece: ToolCallDelta) -> None:
        call = self._calls.setdefault(piece.index, _Call())
        call.id = call.id or piece.id
        call.name = call.name or piece.name
        call.signature = call.signature or piece.signature
        call.arguments.append(piece.arguments)

    def _end_thought(self, delta: Delta) -> None:
        """A signature or an encrypted block belongs to the reasoning since the last one."""
        text = "".join(self._reasoning[self._thought_up_to :])
        self._thought_up_to = len(self._reasoning)
        self._thought.append(Reasoning(text, delta.reasoning_signature, delta.reasoning_redacted))

    @property
    def text(self) -> str:
        """The text so far."""
        return "".join(self._text)

    @property
    def reasoning(self) -> str:
        """The reasoning so far."""
        return "".join(self._reasoning)

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The calls so far. Those whose arguments are not a JSON object are marked as not complete."""
        return tuple(call.finished(i) for i, call in sorted(self._calls.items()))

    def message(self) -> Message:
        """The answer as a message, to be kept and to be sent back."""
        parts: list[Part] = [*self._thought]
        if rest := "".join(self._reasoning[self._thought_up_to :]):
            parts.append(Reasoning(rest))
        if self._text:
            parts.append(Text(self.text))
        parts.extend(self.tool_calls)
        return Message(Role.ASSISTANT, tuple(parts))


def _is_json_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):  # RecursionError: lists in lists without end
        return False
