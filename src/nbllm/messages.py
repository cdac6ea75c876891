"""The words that travel: messages and their parts, the request, the deltas, the reply.

All frozen; all made of strings, numbers, bytes and tuples, so that every layer can hold, compare, hash and
store them. `None` means "let the provider decide" in a request, and "unknown" in an answer. Standard library only.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any, Literal


class Role(StrEnum):
    """Who speaks."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


class FinishReason(StrEnum):
    """Why an answer ended."""

    STOP = "stop"
    LENGTH = "length"
    TOOL_CALLS = "tool_calls"
    CONTENT_FILTER = "content_filter"
    INTERRUPTED = "interrupted"
    """The user stopped it; the text that arrived is kept."""
    BROKEN = "broken"
    """The stream ended without saying so; the text that arrived is kept."""
    OTHER = "other"
    """The provider gave a reason that has no name here."""


# ---------------------------------------------------------------- parts of a message


@dataclass(frozen=True, slots=True)
class Text:
    """Plain text."""

    text: str


@dataclass(frozen=True, slots=True)
class Reasoning:
    """What a model thought before it answered."""

    text: str
    signature: str | None = None
    """Anthropic's proof that the block is its own; must be sent back unchanged with tool results."""
    redacted: str | None = None
    """Anthropic's encrypted reasoning (`redacted_thinking.data`)."""


@dataclass(frozen=True, slots=True)
class Image:
    """A picture, as its file's bytes."""

    data: bytes
    media_type: str
    """For example `image/png`."""
    name: str | None = None


@dataclass(frozen=True, slots=True)
class File:
    """A document, as its file's bytes."""

    data: bytes
    media_type: str
    """For example `application/pdf`."""
    name: str | None = None


@dataclass(frozen=True, slots=True)
class ToolCall:
    """The model wants a function to be called."""

    id: str
    name: str
    arguments: str
    """JSON text exactly as it came; cut text stays cut."""
    complete: bool = True
    """False when the answer ended inside the arguments: such a call is never executed."""
    signature: str | None = None
    """Gemini's `thoughtSignature`, sent back with the result."""


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a function gave back."""

    call_id: str
    name: str
    content: str
    is_error: bool = False


Part = Text | Reasoning | Image | File | ToolCall | ToolResult


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: Role
    parts: tuple[Part, ...]

    @classmethod
    def user(cls, text: str, *attachments: Part) -> Message:
        """A user's message: attachments first, as providers advise, then the text."""
        return cls(Role.USER, (*attachments, Text(text)) if text else tuple(attachments))

    @classmethod
    def assistant(cls, text: str) -> Message:
        """An answer of plain text."""
        return cls(Role.ASSISTANT, (Text(text),))

    @classmethod
    def system(cls, text: str) -> Message:
        """An instruction that stands above the conversation."""
        return cls(Role.SYSTEM, (Text(text),))

    @property
    def text(self) -> str:
        """The text parts, joined; no reasoning, no tool calls."""
        return "".join(p.text for p in self.parts if isinstance(p, Text))

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The calls that the model asks for."""
        return tuple(p for p in self.parts if isinstance(p, ToolCall))


# ---------------------------------------------------------------- the request


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the model may ask to be called."""

    name: str
    description: str
    parameters: Mapping[str, Any]
    """JSON Schema of its arguments."""


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One request to one model: all that decides the answer, and nothing else (no key, no address)."""

    provider: str
    model: str
    messages: tuple[Message, ...]
    system: str | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    """Further parameters in the provider's own words."""
    tools: tuple[Tool, ...] = ()
    tool_choice: str | None = None
    """`auto`, `required`, `none` or a tool's name; None: the provider's default."""
    schema: Mapping[str, Any] | None = None
    """JSON Schema that the answer must fit."""
    schema_name: str = "answer"
    stream: bool = True

    @property
    def ref(self) -> str:
        """`provider/model`."""
        return f"{self.provider}/{self.model}"

    def canonical(self) -> dict[str, Any]:
        """The request as JSON with a fixed shape: same meaning, same bytes. Bytes appear as their SHA-256."""
        shape: dict[str, Any] = {
            "provider": self.provider,
            "model": self.model,
            "messages": [message_to_json(m, inline_bytes=False) for m in self.messages],
        }
        return shape | self.settings()

    def settings(self) -> dict[str, Any]:
        """The part of `canonical` that says how to answer, as far as it was given."""
        optional = {
            "system": self.system,
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
            "params": dict(self.params) or None,
            "tools": [[t.name, t.description, dict(t.parameters)] for t in self.tools] or None,
            "tool_choice": self.tool_choice,
            "schema": dict(self.schema) if self.schema is not None else None,
        }
        return {k: v for k, v in optional.items() if v is not None}

    def key(self) -> str:
        """SHA-256 of `canonical()`, hexadecimal."""
        text = json.dumps(self.canonical(), sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()  # servers send half characters


# ---------------------------------------------------------------- the answer


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one reply, in classes that do not overlap (reasoning is a part of output). None: unknown."""

    input_tokens: int | None = None
    """Prompt tokens that were neither read from nor written to the provider's cache."""
    cached_input_tokens: int | None = None
    cache_write_tokens: int | None = None
    output_tokens: int | None = None
    """Reply tokens, reasoning included."""
    reasoning_tokens: int | None = None
    source: Literal["provider", "estimate"] = "provider"
    """Who counted."""

    @property
    def prompt_tokens(self) -> int | None:
        """All prompt tokens, cached or not; None when nothing is known of them."""
        known = [n for n in (self.input_tokens, self.cached_input_tokens, self.cache_write_tokens) if n is not None]
        return sum(known) if known else None

    def __add__(self, other: Usage) -> Usage:
        """Two calls together, as in a turn with tools. An unknown part makes the sum of that class unknown."""
        if not isinstance(other, Usage):
            return NotImplemented
        source: Literal["provider", "estimate"] = (
            "provider" if self.source == other.source == "provider" else "estimate"
        )
        return Usage(
            input_tokens=_sum(self.input_tokens, other.input_tokens),
            cached_input_tokens=_sum_optional(self.cached_input_tokens, other.cached_input_tokens),
            cache_write_tokens=_sum_optional(self.cache_write_tokens, other.cache_write_tokens),
            output_tokens=_sum(self.output_tokens, other.output_tokens),
            reasoning_tokens=_sum_optional(self.reasoning_tokens, other.reasoning_tokens),
            source=source,
        )


def _sum(a: int | None, b: int | None) -> int | None:
    return None if a is None or b is None else a + b


def _sum_optional(a: int | None, b: int | None) -> int | None:
    """Classes that most servers leave out when there is nothing to count: one known part is the sum."""
    return b if a is None else a if b is None else a + b


@dataclass(frozen=True, slots=True)
class ToolCallDelta:
    """A piece of a tool call. Pieces with the same `index` belong together."""

    index: int
    id: str | None = None
    name: str | None = None
    arguments: str = ""
    signature: str | None = None


@dataclass(frozen=True, slots=True)
class Delta:
    """What arrived since the last one. Fields are empty or None where nothing did."""

    text: str = ""
    reasoning: str = ""
    tool_call: ToolCallDelta | None = None
    usage: Usage | None = None
    """The newest count, replacing earlier ones."""
    finish_reason: FinishReason | None = None
    model_reported: str | None = None
    """The model that the server says it used."""
    request_id: str | None = None
    reasoning_signature: str | None = None
    reasoning_redacted: str | None = None
    notice: str | None = None
    """A word to the user from nbllm, never from the model: a retry is waiting, a count is estimated."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A model's answer, complete or kept as far as it came.

    `str(reply)` is the text.
    """

    text: str
    provider: str
    model: str
    finish_reason: FinishReason
    reasoning: str = ""
    parsed: Any = None
    """The answer as an object, when a schema was asked for."""
    tool_calls: tuple[ToolCall, ...] = ()
    model_reported: str | None = None
    usage: Usage = field(default_factory=Usage)
    cost_usd: Decimal | None = None
    """None when a price or a count is unknown - never 0, which would mean free."""
    latency_ms: float | None = None
    ttft_ms: float | None = None
    """Milliseconds from sending to the first text or reasoning; None when none came."""
    params: Mapping[str, Any] = field(default_factory=dict)
    conversation: str | None = None
    message_id: str | None = None
    request_id: str | None = None
    replayed: str | None = None
    """When the answer was recorded (ISO date), if it comes from a recording."""
    recorded: str | None = None
    """When the answer was recorded (ISO date), if it stands in a recording: also when that is written just now."""
    base_url_host: str | None = None
    tool_rounds: tuple[tuple[ToolCall, ToolResult], ...] = ()
    """Each tool call that was executed on the way to this answer, with its result."""
    warnings: tuple[str, ...] = ()
    """What the user should know about this answer: it is empty, it was cut, its count is estimated."""

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        text = self.text if len(self.text) <= 60 else self.text[:59] + "…"
        return f"Reply({text!r}, model={self.ref!r}, finish_reason={self.finish_reason.value!r})"

    @property
    def ref(self) -> str:
        """`provider/model`, as it was asked for."""
        return f"{self.provider}/{self.model}"

    def provenance(self) -> dict[str, Any]:
        """Facts for the output's metadata: JSON, no key, no prompt."""
        u = self.usage
        return {
            "provider": self.provider,
            "model": self.model,
            "model_reported": self.model_reported,
            "base_url_host": self.base_url_host,
            "params": dict(self.params),
            "usage": {
                "input_tokens": u.input_tokens,
                "cached_input_tokens": u.cached_input_tokens,
                "cache_write_tokens": u.cache_write_tokens,
                "output_tokens": u.output_tokens,
                "reasoning_tokens": u.reasoning_tokens,
                "source": u.source,
            },
            "cost_usd": None if self.cost_usd is None else float(self.cost_usd),
            "latency_ms": None if self.latency_ms is None else round(self.latency_ms, 1),
            "ttft_ms": None if self.ttft_ms is None else round(self.ttft_ms, 1),
            "finish_reason": self.finish_reason.value,
            "conversation": self.conversation,
            "message_id": self.message_id,
            "replayed": self.replayed,
        }


# ---------------------------------------------------------------- to JSON and back

_PARTS: dict[str, type[Any]] = {
    "text": Text,
    "reasoning": Reasoning,
    "image": Image,
    "file": File,
    "tool_call": ToolCall,
    "tool_result": ToolResult,
}
_PART_NAMES = {cls: name for name, cls in _PARTS.items()}


def message_to_json(message: Message, *, inline_bytes: bool = True) -> dict[str, Any]:
    """A message as JSON.

    Args:
        inline_bytes: True keeps attachments as base64; False puts their SHA-256 there.
    """
    return {"role": message.role.value, "parts": [_part_to_json(p, inline_bytes) for p in message.parts]}


def _part_to_json(part: Part, inline_bytes: bool) -> dict[str, Any]:
    shape: dict[str, Any] = {"type": _PART_NAMES[type(part)]}
    for name in part.__dataclass_fields__:
        value = getattr(part, name)
        if isinstance(value, bytes):
            if inline_bytes:
                shape["base64"] = base64.b64encode(value).decode("ascii")
            else:
                shape["sha256"] = hashlib.sha256(value).hexdigest()
        elif value is not None:
            shape[name] = value
    return shape


def message_from_json(shape: Mapping[str, Any]) -> Message:
    """The reverse of `message_to_json(..., inline_bytes=True)`.

    Raises:
        ValueError: The shape is not one that `message_to_json` writes.
    """
    try:
        return Message(Role(shape["role"]), tuple(_part_from_json(p) for p in shape["parts"]))
    except (KeyError, TypeError) as exc:
        raise ValueError(f"not a message: {exc}") from exc


def _part_from_json(shape: Mapping[str, Any]) -> Part:
    fields = {k: v for k, v in shape.items() if k not in ("type", "base64")}
    if "base64" in shape:
        fields["data"] = base64.b64decode(shape["base64"])
    part: Part = _PARTS[shape["type"]](**fields)
    return part


def join_text(messages: Sequence[Message]) -> str:
    """All text of these messages, a blank line between them: for estimates and searches."""
    return "\n\n".join(m.text for m in messages)
