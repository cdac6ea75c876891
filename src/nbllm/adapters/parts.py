"""Attachments and histories, in the words that several wire formats share."""

from __future__ import annotations

import base64
import json
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nbllm.errors import PromptError, UnsupportedError
from nbllm.messages import ChatRequest, File, Image, Message, Part, Reasoning, Role, Text, ToolCall, ToolResult

if TYPE_CHECKING:
    from nbllm.providers.spec import ProviderConfig

_TEXT_TYPES = frozenset(
    {
        "application/json",
        "application/xml",
        "application/javascript",
        "application/x-python",
        "application/toml",
        "application/yaml",
        "application/x-yaml",
        "application/csv",
        "application/x-ipynb+json",
        "application/sql",
    }
)


def base64_text(part: Image | File) -> str:
    """The part's bytes as base64."""
    return base64.b64encode(part.data).decode("ascii")


def data_url(part: Image | File) -> str:
    """The part as a `data:` URL."""
    return f"data:{part.media_type};base64,{base64_text(part)}"


def is_text(part: File) -> bool:
    """Whether the file can go along as text."""
    return part.media_type.startswith("text/") or part.media_type in _TEXT_TYPES


def inlined(part: File) -> str:
    """A text file as a part of the prompt, headed by its name."""
    text = part.data.decode("utf-8", "replace").removeprefix("\ufeff")
    return f"[{part.name or 'file'}]\n{text}"


def cannot_carry(what: str, request: ChatRequest) -> UnsupportedError:
    """The error for an attachment that the wire format has no place for."""
    return UnsupportedError(
        f"{request.provider} cannot be sent {what}",
        hint="turn it into text or pictures first, or ask a provider that takes it",
        provider=request.provider,
    )


def check(request: ChatRequest) -> None:
    """Refuse what no server should be asked.

    Raises:
        PromptError: There is no message with content (servers answer nonsense to that), or `max_tokens` is below 1
            (llama.cpp takes 0 for one token and -1 for no limit).
    """
    if not any(m.role is not Role.SYSTEM and any(_has_content(p) for p in m.parts) for m in request.messages):
        raise PromptError("there is nothing to send: the prompt is empty", hint="write the prompt below the line")
    for name in ("max_tokens", "max_completion_tokens", "maxOutputTokens", "num_predict"):
        value = request.max_tokens if name == "max_tokens" and request.max_tokens is not None else None
        value = request.params.get(name) if value is None else value
        if isinstance(value, (int, float)) and value < 1:
            raise PromptError(f"{name} is {value:g}, and must be at least 1", hint="leave it out for no limit")


def _has_content(part: Part) -> bool:
    return bool(part.text.strip()) if isinstance(part, (Text, Reasoning)) else True


def answered(messages: Sequence[Message]) -> frozenset[str]:
    """Ids of the tool calls that have a result: servers refuse a history with calls that have none."""
    return frozenset(p.call_id for m in messages for p in m.parts if isinstance(p, ToolResult))


def sendable_calls(message: Message, known: frozenset[str]) -> list[ToolCall]:
    """The message's calls that may be sent back: whole, and answered."""
    return [c for c in message.tool_calls if c.complete and c.id in known]


def fits_strict(schema: Any) -> bool:
    """Whether OpenAI's strict mode takes the schema: each object closed, and each property required.

    https://platform.openai.com/docs/guides/structured-outputs (supported schemas; read 2026-11-20)
    """
    if isinstance(schema, list):
        return all(fits_strict(s) for s in schema)
    if not isinstance(schema, dict):
        return True
    if schema.get("type") == "object" or "properties" in schema:
        properties = schema.get("properties")
        if schema.get("additionalProperties") is not False or not isinstance(properties, dict):
            return False
        if set(schema.get("required", ())) != set(properties) or not fits_strict(list(properties.values())):
            return False
    inner = [schema.get(k) for k in ("items", "anyOf", "prefixItems")]
    inner += [list(schema[k].values()) for k in ("$defs", "definitions") if isinstance(schema.get(k), dict)]
    return "allOf" not in schema and "oneOf" not in schema and fits_strict(inner)


def arguments(call: ToolCall) -> dict[str, Any]:
    """The arguments of a whole call as an object."""
    value = json.loads(call.arguments or "{}")
    return value if isinstance(value, dict) else {}


def nested_parameters(
    request: ChatRequest,
    row: ProviderConfig,
    *,
    nest: str,
    names: Mapping[str, str],
    top_level: Collection[str],
    limit: str,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The parameters of wire formats that keep most of them in an object of their own. Nothing that nobody set.

    Args:
        request: What is asked.
        row: The provider; its parameters come first, the request's win.
        nest: The name of that object.
        names: Parameters known by another name elsewhere, and the name they have here.
        top_level: Those that stand beside the object.
        limit: The name of the limit on the answer's tokens.

    Returns:
        What stands beside the object, and what stands in it.
    """
    beside: dict[str, Any] = {}
    nested: dict[str, Any] = {}
    for given, value in {**row.extra_body, **row.params, **request.params}.items():
        name = names.get(given, given)
        if name == nest and isinstance(value, Mapping):
            nested.update(value)
        elif name in top_level or name in row.extra_body:
            beside[name] = value
        else:
            nested[name] = value
    if request.temperature is not None:
        nested["temperature"] = request.temperature
    if request.max_tokens is not None:
        nested[limit] = request.max_tokens
    return beside, nested
