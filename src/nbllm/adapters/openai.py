"""Chat Completions, as OpenAI and the many servers that follow it speak it.

Spoken without the openai SDK, of which nothing was left but its cost: docs/adr/0026-without-the-openai-sdk.md.

Quirks of a row that count here (all others are ignored):

- `max_tokens_field`: `max_tokens` (the default, except for api.openai.com) or `max_completion_tokens`
- `no_stream_options`: the server refuses `stream_options`, so usage is not asked for
- `no_schema`: the server has no `response_format` of type `json_schema`
- `think_tags`: reasoning stands in the content; true: between `<think>` and `</think>`, a stray `</think>` is
  dropped; "open": the answer begins inside the reasoning
- `system_role`: the role of the system message, `developer` for instance
- `reasoning_back`: the field in which the reasoning of earlier answers must be sent back along with tool calls
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlsplit

from nbllm.adapters import parts
from nbllm.adapters.base import Endpoint, WireRequest
from nbllm.adapters.chunks import Answer
from nbllm.adapters.listing import Asking, Listed, ask_pages
from nbllm.adapters.reading import Arrival, drain, refusal
from nbllm.errors import BadRequestError, UnsupportedError
from nbllm.messages import ChatRequest, Delta, File, Image, Message, Reasoning, Role, Text, Tool, ToolResult
from nbllm.providers.spec import ModelInfo, ProviderConfig
from nbllm.providers.urls import origin_of

if TYPE_CHECKING:
    import httpx2

_LIMITS = ("max_tokens", "max_completion_tokens")
_HEADERS = {"accept": "application/json"}
"""As OpenAI's own clients say it, for streams too."""

_no_stream_options: set[str] = set()
"""Origins that refused `stream_options` in this process."""


class OpenAIAdapter:
    """Chat Completions and the compatible family."""

    native_schema: ClassVar[bool] = True

    def build(self, request: ChatRequest, endpoint: Endpoint) -> WireRequest:
        """The request as it would be sent. Parameters that nobody set are not in it.

        Raises:
            PromptError: There is nothing to send, or `max_tokens` is below 1.
            UnsupportedError: An attachment, or a schema, has no place in this format.
        """
        parts.check(request)
        row = endpoint.provider
        body: dict[str, Any] = {**row.extra_body, **row.params}
        _set_options(body, request, row)
        if request.tools:
            body["tools"] = [_tool(t) for t in request.tools]
        if request.tool_choice is not None and request.tools:
            body["tool_choice"] = _tool_choice(request.tool_choice)
        if request.schema is not None:
            body["response_format"] = _response_format(request, row)
        body.update(request.params)
        body |= {"model": request.model, "messages": _messages(request, row), "stream": request.stream}
        if request.stream and not row.quirk("no_stream_options") and origin_of(row.base_url) not in _no_stream_options:
            body["stream_options"] = {"include_usage": True} | dict(body.get("stream_options") or {})
        return WireRequest("POST", f"{endpoint.base_url}/chat/completions", body)

    async def stream(self, request: ChatRequest, endpoint: Endpoint) -> AsyncGenerator[Delta, None]:
        """Send once, and yield what arrives; the last delta has the finish reason.

        Text that came in one piece of the network is one delta. A server that refuses `stream_options` is asked
        once more without it.
        """
        wire = self.build(request, endpoint)
        async with contextlib.AsyncExitStack() as stack:
            try:
                response = await _open(stack, wire, request, endpoint)
            except BadRequestError as error:
                again = _without_stream_options(wire, error, endpoint)
                if again is None:
                    raise _schema_refused(error, request) from None
                response = await _open(stack, again, request, endpoint)
            arrival = Arrival(response, endpoint.provider)
            answer = Answer(request, endpoint.provider, arrival)
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
        """The provider's own listing, each id once."""
        return list((await self.ask_listing(endpoint, Asking())).models)

    async def ask_listing(self, endpoint: Endpoint, asking: Asking) -> Listed:
        """The provider's own listing, and what came with it."""
        return await ask_pages(endpoint, endpoint.provider.listing_url, asking)


# ---------------------------------------------------------------- the body


def _set_options(body: dict[str, Any], request: ChatRequest, row: ProviderConfig) -> None:
    if request.temperature is not None:
        body["temperature"] = request.temperature
    if request.max_tokens is not None:
        for name in _LIMITS:
            body.pop(name, None)
        body[_limit_field(row)] = request.max_tokens


def _limit_field(row: ProviderConfig) -> str:
    # OpenAI's reasoning models refuse `max_tokens`; most others know nothing else.
    # https://platform.openai.com/docs/api-reference/chat/create (read 2026-11-20)
    official = urlsplit(row.base_url).hostname == "api.openai.com"
    return str(row.quirk("max_tokens_field", "max_completion_tokens" if official else "max_tokens"))


def _tool(tool: Tool) -> dict[str, Any]:
    function = {"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)}
    return {"type": "function", "function": function}


def _tool_choice(choice: str) -> Any:
    return choice if choice in ("auto", "required", "none") else {"type": "function", "function": {"name": choice}}


def _response_format(request: ChatRequest, row: ProviderConfig) -> dict[str, Any]:
    if row.quirk("no_schema"):
        raise UnsupportedError(f"{row.id} has no structured output by schema", provider=row.id)
    named: dict[str, Any] = {"name": request.schema_name, "schema": dict(request.schema or {})}
    if parts.fits_strict(named["schema"]):
        named["strict"] = True
    return {"type": "json_schema", "json_schema": named}


def _messages(request: ChatRequest, row: ProviderConfig) -> list[dict[str, Any]]:
    role = str(row.quirk("system_role", "system"))
    rows: list[dict[str, Any]] = [{"role": role, "content": request.system}] if request.system else []
    known = parts.answered(request.messages)
    for message in request.messages:
        if message.role is Role.SYSTEM:
            rows.append({"role": role, "content": message.text})
        elif message.role is Role.ASSISTANT:
            rows += _assistant(message, known, row)
        else:
            rows += _tool_results(message)
            rows += _user(message, request)
    return rows


def _assistant(message: Message, known: frozenset[str], row: ProviderConfig) -> list[dict[str, Any]]:
    calls = parts.sendable_calls(message, known)
    if not calls:
        return [{"role": "assistant", "content": message.text}] if message.text else []
    said: dict[str, Any] = {"role": "assistant", "content": message.text or None}
    said["tool_calls"] = [
        {"id": c.id, "type": "function", "function": {"name": c.name, "arguments": c.arguments or "{}"}} for c in calls
    ]
    thought = "".join(p.text for p in message.parts if isinstance(p, Reasoning))
    if thought and (field := row.quirk("reasoning_back")):
        said[str(field)] = thought
    return [said]


def _tool_results(message: Message) -> list[dict[str, Any]]:
    results = [p for p in message.parts if isinstance(p, ToolResult)]
    return [{"role": "tool", "tool_call_id": r.call_id, "content": r.content} for r in results]


def _user(message: Message, request: ChatRequest) -> list[dict[str, Any]]:
    content = [_part(p, request) for p in message.parts if not isinstance(p, ToolResult)]
    if not content:
        return []
    if all(p["type"] == "text" for p in content):  # many servers know no other content than a string
        return [{"role": "user", "content": "\n\n".join(p["text"] for p in content)}]
    return [{"role": "user", "content": content}]


def _part(part: Any, request: ChatRequest) -> dict[str, Any]:
    if isinstance(part, Text):
        return {"type": "text", "text": part.text}
    if isinstance(part, Image):
        return {"type": "image_url", "image_url": {"url": parts.data_url(part)}}
    if isinstance(part, File) and parts.is_text(part):
        return {"type": "text", "text": parts.inlined(part)}
    if isinstance(part, File) and part.media_type == "application/pdf":
        file = {"filename": part.name or "document.pdf", "file_data": parts.data_url(part)}
        return {"type": "file", "file": file}
    raise parts.cannot_carry(f"a file of type {getattr(part, 'media_type', type(part).__name__)}", request)


# ---------------------------------------------------------------- refusals that have an answer


def _without_stream_options(wire: WireRequest, error: BadRequestError, endpoint: Endpoint) -> WireRequest | None:
    """The same request without `stream_options`, when that is what was refused."""
    said = (error.body or "").lower()
    if "stream_options" not in wire.body or not ("stream_options" in said or "include_usage" in said):
        return None
    _no_stream_options.add(origin_of(endpoint.base_url))
    return WireRequest(wire.method, wire.url, {k: v for k, v in wire.body.items() if k != "stream_options"})


_SCHEMA_WORDS = ("response_format", "json_schema", "json schema", "structured output", "guided_json", "grammar")


def _schema_refused(error: BadRequestError, request: ChatRequest) -> BadRequestError:
    said = (error.body or "").lower()
    if request.schema is None or isinstance(error, UnsupportedError) or type(error) is not BadRequestError:
        return error
    if not any(word in said for word in _SCHEMA_WORDS):
        return error
    return UnsupportedError(
        f"{request.provider} refused the schema: {error.body}",
        hint="the schema is asked for in the prompt instead",
        provider=request.provider,
        status=error.status,
        request_id=error.request_id,
        body=error.body,
    )


# ---------------------------------------------------------------- sending


async def _open(
    stack: contextlib.AsyncExitStack, wire: WireRequest, request: ChatRequest, endpoint: Endpoint
) -> httpx2.Response:
    """The response of status 2xx, its body not yet read."""
    sending = endpoint.http.stream(
        wire.method, wire.url, provider=endpoint.provider, key=endpoint.key, json=wire.body, headers=_HEADERS
    )
    response = await stack.enter_async_context(sending)
    if not response.is_success:
        raise await refusal(response, endpoint, model=request.model)
    return response
