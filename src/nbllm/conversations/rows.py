"""Messages, replies and errors as rows of the store, and messages back from rows."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from nbllm.errors import NbllmError, ProviderError
from nbllm.messages import ChatRequest, File, Image, Message, Part, Reply, Role, message_from_json, message_to_json
from nbllm.store import schema

_NOTHING: Mapping[str, Any] = {column.name: None for column in schema.calls.columns}
"""A call of which nothing is known yet."""
_BYTES: Mapping[str, type[Image] | type[File]] = {"image": Image, "file": File}


def new_id() -> str:
    """An id that no other process makes."""
    return uuid.uuid4().hex


def attachment_rows(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """The bytes in these messages, each once."""
    found = (p.data for m in messages for p in m.parts if isinstance(p, Image | File))
    return list({(sha := hashlib.sha256(data).hexdigest()): {"id": sha, "data": data} for data in found}.values())


def parts_of(message: Message) -> list[dict[str, Any]]:
    """The parts as JSON, with the hash of bytes in their place."""
    parts: list[dict[str, Any]] = message_to_json(message, inline_bytes=False)["parts"]
    return parts


def attachment_ids(parts: Sequence[Mapping[str, Any]]) -> set[str]:
    """The hashes in these parts."""
    return {p["sha256"] for p in parts if "sha256" in p}


def message_from(role: str, parts: Sequence[Mapping[str, Any]], attachments: Mapping[str, bytes]) -> Message:
    """The message of a row.

    Raises:
        KeyError: The bytes of an attachment are missing.
        ValueError: The row was not written by nbllm.
    """
    return Message(Role(role), tuple(_part_from(p, attachments) for p in parts))


def _part_from(shape: Mapping[str, Any], attachments: Mapping[str, bytes]) -> Part:
    if "sha256" in shape:
        kind = _BYTES[shape["type"]]
        return kind(data=attachments[shape["sha256"]], media_type=shape["media_type"], name=shape.get("name"))
    return message_from_json({"role": Role.USER, "parts": [shape]}).parts[0]


def plain(value: Mapping[str, Any]) -> dict[str, Any]:
    """As JSON that every database takes: parameters may hold objects of other libraries."""
    shape: dict[str, Any] = json.loads(json.dumps(value, default=str))
    return shape


def _storable(text: str | None) -> str | None:
    """Foreign text for a column: no half characters, which cannot be encoded, and no zero bytes (PostgreSQL)."""
    return None if text is None else text.encode("utf-8", "replace").decode().replace("\x00", "")


def settings_of(request: ChatRequest) -> dict[str, Any]:
    """All that decided the answer besides the messages."""
    return plain(request.settings())


def call_of(request: ChatRequest, *, kernel: str) -> dict[str, Any]:
    """The row of a call, with what is known before there is an answer; all else is null."""
    return dict(_NOTHING) | {
        "id": new_id(),
        "created_at": schema.now(),
        "kernel": kernel,
        "provider": request.provider,
        "model": _storable(request.model),
        "request": settings_of(request),
        "request_hash": request.key(),
    }


def answered(reply: Reply) -> dict[str, Any]:
    """What a reply adds to the row of its call."""
    usage = reply.usage
    return {
        "model_reported": _storable(reply.model_reported),
        "base_url_host": _storable(reply.base_url_host),
        "input_tokens": usage.input_tokens,
        "cached_input_tokens": usage.cached_input_tokens,
        "cache_write_tokens": usage.cache_write_tokens,
        "output_tokens": usage.output_tokens,
        "reasoning_tokens": usage.reasoning_tokens,
        "usage_source": usage.source,
        "cost_pico_usd": schema.to_pico(reply.cost_usd),
        "latency_ms": reply.latency_ms,
        "ttft_ms": reply.ttft_ms,
        "finish_reason": reply.finish_reason.value,
        "request_id": _storable(reply.request_id),
        "replayed": reply.replayed,
    }


def failed(error: BaseException) -> dict[str, Any]:
    """What an error adds to the row of its call: its class and numbers, never its text."""
    row: dict[str, Any] = {"error_type": type(error).__name__ if isinstance(error, NbllmError) else "other"}
    if isinstance(error, ProviderError):
        row |= {"status": error.status, "attempts": error.attempts, "request_id": _storable(error.request_id)}
    return row
