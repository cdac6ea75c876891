"""Messages, as Anthropic and the servers with its dialect speak it. No SDK: the format is small.

The API has no default for `max_tokens`; when neither the call nor the row sets it, `DEFAULT_MAX_TOKENS` is sent, and
`--dry-run` shows it. Structured output is a tool that the model is made to call (`answer`, or the schema's name);
its input comes out as the text of the answer.

Quirks of a row that count here: `max_tokens_default`, the number to send instead of 4096;
`no_schema`, for servers whose tools cannot be forced.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from typing import Any, ClassVar

from nbllm.adapters import parts
from nbllm.adapters.base import Endpoint, WireRequest
from nbllm.adapters.blocks import Answer
from nbllm.adapters.listing import Asking, Listed, ask_pages
from nbllm.adapters.reading import Arrival, drain, refusal
from nbllm.errors import UnsupportedError
from nbllm.messages import ChatRequest, Delta, File, Image, Message, Reasoning, Role, Text, Tool, ToolCall, ToolResult
from nbllm.providers.spec import ModelInfo

VERSION = "2023-06-01"
"""https://docs.claude.com/en/api/versioning (read 2026-11-20)"""

DEFAULT_MAX_TOKENS = 4096
"""Sent when nobody set a limit, since the API refuses a request without one. The oldest models allow no more."""

_IMAGES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})


class AnthropicAdapter:
    """Messages."""

    native_schema: ClassVar[bool] = True

    def build(self, request: ChatRequest, endpoint: Endpoint) -> WireRequest:
        """The request as it would be sent. Beside `max_tokens`, nothing is in it that nobody set.

        Raises:
            PromptError: There is nothing to send, or `max_tokens` is below 1.
            UnsupportedError: An attachment has no place in this format.
        """
        parts.check(request)
        row = endpoint.provider
        body: dict[str, Any] = {**row.extra_body, **row.params}
        if request.temperature is not None:
            body["temperature"] = request.temperature
        if request.max_tokens is not None:
            body["max_tokens"] = request.max_tokens
        body.setdefault("max_tokens", int(row.quirk("max_tokens_default", DEFAULT_MAX_TOKENS)))
        if system := _system(request):
            body["system"] = system
        _add_tools(body, request, endpoint)
        body.update(request.params)
        body |= {"model": request.model, "messages": _messages(request), "stream": request.stream}
        return WireRequest("POST", f"{endpoint.base_url}/v1/messages", body, _headers())

    async def stream(self, request: ChatRequest, endpoint: Endpoint) -> AsyncGenerator[Delta, None]:
        """Send once, and yield what arrives; the last delta has the finish reason."""
        wire = self.build(request, endpoint)
        provider = endpoint.provider
        async with endpoint.http.stream(
            wire.method, wire.url, provider=provider, key=endpoint.key, json=wire.body, headers=wire.headers
        ) as response:
            if not response.is_success:
                raise await refusal(response, endpoint, model=request.model)
            arrival = Arrival(response, provider)
            answer = Answer(request, provider, arrival)
            async with contextlib.aclosing(arrival.chunks()) as chunks:
                async for chunk in chunks:
                    for delta in answer.feed(chunk):
                        yield delta
                    if answer.done:
                        break
                for delta in answer.finish():
                    yield delta
                if answer.failure is not None:
                    raise answer.failure
                await drain(chunks)

    async def list_models(self, endpoint: Endpoint) -> list[ModelInfo]:
        """The provider's own listing, all pages."""
        return list((await self.ask_listing(endpoint, Asking())).models)

    async def ask_listing(self, endpoint: Endpoint, asking: Asking) -> Listed:
        """The provider's own listing, all pages, and what came with them."""
        url = endpoint.provider.listing_url
        return await ask_pages(endpoint, url, asking, paging="after_id", headers=_headers())


def _headers() -> dict[str, str]:
    return {"anthropic-version": VERSION}


# ---------------------------------------------------------------- the body


def _system(request: ChatRequest) -> str:
    texts = [request.system or "", *(m.text for m in request.messages if m.role is Role.SYSTEM)]
    return "\n\n".join(t for t in texts if t)


def _add_tools(body: dict[str, Any], request: ChatRequest, endpoint: Endpoint) -> None:
    tools = [_tool(t) for t in request.tools]
    choice = _tool_choice(request.tool_choice) if request.tool_choice is not None and tools else None
    if request.schema is not None:
        if (
            endpoint.provider.quirk("no_schema")
            or request.tools
            or body.get("thinking")
            or "thinking" in request.params
        ):
            # With tools of the user's own, or with thinking, no tool can be forced.
            raise UnsupportedError(
                f"{request.provider} cannot be made to answer by schema here", provider=request.provider
            )
        tools = [_answer_tool(request)]
        choice = {"type": "tool", "name": request.schema_name}
    if tools:
        body["tools"] = tools
    if choice is not None:
        body["tool_choice"] = choice


def _tool(tool: Tool) -> dict[str, Any]:
    return {"name": tool.name, "description": tool.description, "input_schema": dict(tool.parameters)}


def _answer_tool(request: ChatRequest) -> dict[str, Any]:
    description = "Give the final answer to the user, in this form."
    return {"name": request.schema_name, "description": description, "input_schema": dict(request.schema or {})}


def _tool_choice(choice: str) -> dict[str, Any]:
    if choice in ("auto", "none"):
        return {"type": choice}
    return {"type": "any"} if choice == "required" else {"type": "tool", "name": choice}


def _messages(request: ChatRequest) -> list[dict[str, Any]]:
    """Turns that alternate, the user's first: neighbours of one role become one message."""
    known = parts.answered(request.messages)
    rows: list[dict[str, Any]] = []
    for message in request.messages:
        role = "assistant" if message.role is Role.ASSISTANT else "user"
        content = [] if message.role is Role.SYSTEM else _content(message, known, request)
        if not content or (not rows and role == "assistant"):
            continue
        if rows and rows[-1]["role"] == role:
            rows[-1]["content"] += content
        else:
            rows.append({"role": role, "content": content})
    for row in rows:
        # Results of tools must come first in their message.
        row["content"].sort(key=lambda block: block["type"] != "tool_result")
    return rows


def _content(message: Message, known: frozenset[str], request: ChatRequest) -> list[dict[str, Any]]:
    if message.role is Role.ASSISTANT:
        return _said(message, known)
    return [b for b in (_block(p, request) for p in message.parts) if b is not None]


def _said(message: Message, known: frozenset[str]) -> list[dict[str, Any]]:
    calls = parts.sendable_calls(message, known)
    blocks: list[dict[str, Any]] = []
    for part in message.parts:
        if isinstance(part, Reasoning) and calls:
            blocks += _thinking(part)
        elif isinstance(part, Text) and part.text.strip():  # an empty text block is refused
            blocks.append({"type": "text", "text": part.text})
        elif isinstance(part, ToolCall) and part in calls:
            blocks.append({"type": "tool_use", "id": part.id, "name": part.name, "input": parts.arguments(part)})
    return blocks


def _thinking(part: Reasoning) -> list[dict[str, Any]]:
    """Thinking goes back unchanged with the results of tools, and only when it is signed: other thinking is refused.

    https://docs.claude.com/en/docs/build-with-claude/extended-thinking (read 2026-11-20)
    """
    blocks: list[dict[str, Any]] = []
    if part.signature:
        blocks.append({"type": "thinking", "thinking": part.text, "signature": part.signature})
    if part.redacted:
        blocks.append({"type": "redacted_thinking", "data": part.redacted})
    return blocks


def _block(part: Any, request: ChatRequest) -> dict[str, Any] | None:
    if isinstance(part, Text):
        return {"type": "text", "text": part.text} if part.text.strip() else None
    if isinstance(part, ToolResult):
        return _result(part)
    if isinstance(part, Image) and part.media_type in _IMAGES:
        return {"type": "image", "source": _base64(part)}
    if isinstance(part, File) and part.media_type == "application/pdf":
        return {"type": "document", "source": _base64(part)} | ({"title": part.name} if part.name else {})
    if isinstance(part, File) and parts.is_text(part):
        return {"type": "text", "text": parts.inlined(part)}
    raise parts.cannot_carry(f"a file of type {getattr(part, 'media_type', type(part).__name__)}", request)


def _result(part: ToolResult) -> dict[str, Any]:
    block: dict[str, Any] = {"type": "tool_result", "tool_use_id": part.call_id, "content": part.content}
    return block | {"is_error": True} if part.is_error else block


def _base64(part: Image | File) -> dict[str, str]:
    return {"type": "base64", "media_type": part.media_type, "data": parts.base64_text(part)}
