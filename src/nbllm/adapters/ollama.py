"""Ollama's own format: `/api/chat`, one JSON object a line.

https://docs.ollama.com/api/chat (read 2026-11-20). Tested against an imitation and hand-made streams, not against
Ollama itself.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any, ClassVar

from nbllm.adapters import parts
from nbllm.adapters.base import Endpoint, WireRequest
from nbllm.adapters.bodies import error_from_payload, error_in_body, request_id
from nbllm.adapters.call_ids import arguments_object, arguments_text, made_id, sent_id
from nbllm.adapters.chunks import CUT_REASONING, EMPTY
from nbllm.adapters.listing import Asking, Listed, ask_pages
from nbllm.adapters.payloads import payloads
from nbllm.adapters.reading import Arrival, refusal
from nbllm.errors import UnsupportedError
from nbllm.messages import (
    ChatRequest,
    Delta,
    File,
    FinishReason,
    Image,
    Message,
    Reasoning,
    Role,
    Text,
    ToolCall,
    ToolCallDelta,
    ToolResult,
    Usage,
)
from nbllm.providers.spec import ModelInfo
from nbllm.transport.sse import JsonLinesDecoder

_TOP_LEVEL = frozenset({"keep_alive", "think", "format", "truncate", "shift", "logprobs", "top_logprobs"})
"""Parameters that stand beside `options`; every other one stands in it."""
_NAMES = {"max_tokens": "num_predict"}
_FINISH_REASONS: Mapping[str, FinishReason] = {"stop": FinishReason.STOP, "length": FinishReason.LENGTH}


class OllamaAdapter:
    """Ollama's own wire format."""

    native_schema: ClassVar[bool] = True

    def build(self, request: ChatRequest, endpoint: Endpoint) -> WireRequest:
        """The request as it would be sent.

        Raises:
            PromptError: There is nothing to send (Ollama would only load the model), or `max_tokens` is below 1.
            UnsupportedError: A file that is no text and no image, or a tool that must be called; Ollama has neither.
        """
        parts.check(request)
        beside, options = parts.nested_parameters(
            request, endpoint.provider, nest="options", names=_NAMES, top_level=_TOP_LEVEL, limit="num_predict"
        )
        body: dict[str, Any] = {"model": request.model, "messages": list(_messages(request)), "stream": request.stream}
        if tools := _tools(request):
            body["tools"] = tools
        if request.schema is not None:
            body["format"] = dict(request.schema)
        if options:
            body["options"] = options
        return WireRequest("POST", f"{endpoint.base_url}/api/chat", body | beside)

    async def stream(self, request: ChatRequest, endpoint: Endpoint) -> AsyncIterator[Delta]:
        """Send once, and yield what arrives. See `Adapter.stream`."""
        wire = self.build(request, endpoint)
        provider = endpoint.provider
        async with endpoint.http.stream(
            wire.method, wire.url, provider=provider, key=endpoint.key, json=wire.body, headers=wire.headers
        ) as response:
            if not 200 <= response.status_code < 300:
                raise await refusal(response, endpoint, model=request.model)
            arrival = Arrival(response, provider)
            answer = _Answer(arrival, provider=provider.id, model=request.model)
            received = payloads(arrival, provider=provider.id, choose=lambda head: JsonLinesDecoder())
            async with contextlib.aclosing(received):
                async for payload in received:
                    for delta in answer.take(payload):
                        yield delta
            yield answer.end()

    async def list_models(self, endpoint: Endpoint) -> list[ModelInfo]:
        """The models that are on the server's disk."""
        return list((await self.ask_listing(endpoint, Asking())).models)

    async def ask_listing(self, endpoint: Endpoint, asking: Asking) -> Listed:
        """The models that are on the server's disk, and what came with them."""
        return await ask_pages(endpoint, endpoint.provider.listing_url, asking)


# ---------------------------------------------------------------- the body


def _tools(request: ChatRequest) -> list[dict[str, Any]]:
    if not request.tools or request.tool_choice == "none":
        return []
    if request.tool_choice not in (None, "auto"):
        raise UnsupportedError(
            f"{request.provider} cannot be told to call a tool",
            hint="leave the tool choice out",
            provider=request.provider,
        )
    return [
        {
            "type": "function",
            "function": {"name": t.name, "description": t.description, "parameters": dict(t.parameters)},
        }
        for t in request.tools
    ]


def _messages(request: ChatRequest) -> Iterator[dict[str, Any]]:
    if request.system:
        yield {"role": "system", "content": request.system}
    known = parts.answered(request.messages)
    for message in request.messages:
        if message.role is Role.TOOL:
            yield from (_result(part) for part in message.parts if isinstance(part, ToolResult))
        elif made := _message(message, known, request):
            yield made


def _message(message: Message, known: frozenset[str], request: ChatRequest) -> dict[str, Any] | None:
    text, images = _content(message, request)
    made: dict[str, Any] = {"role": message.role.value, "content": text}
    if images:
        made["images"] = images
    if calls := parts.sendable_calls(message, known):
        made["tool_calls"] = [_call(call) for call in calls]
        # Models that think between calls go on from their own thoughts.
        if thoughts := "".join(p.text for p in message.parts if isinstance(p, Reasoning)):
            made["thinking"] = thoughts
    return made if text or len(made) > 2 else None


def _content(message: Message, request: ChatRequest) -> tuple[str, list[str]]:
    """The text, files of text included, and the images; Ollama has no place for anything else."""
    texts: list[str] = []
    images: list[str] = []
    for part in message.parts:
        if isinstance(part, Text):
            texts.append(part.text)
        elif isinstance(part, Image):
            images.append(parts.base64_text(part))
        elif isinstance(part, File):
            if not parts.is_text(part):
                raise parts.cannot_carry(f"a file of type {part.media_type}", request)
            texts.append(parts.inlined(part) + "\n\n")
    return "".join(texts), images


def _call(call: ToolCall) -> dict[str, Any]:
    made: dict[str, Any] = {"function": {"name": call.name, "arguments": arguments_object(call)}}
    if (known := sent_id(call.id)) is not None:
        made["id"] = known
    return made


def _result(result: ToolResult) -> dict[str, Any]:
    made = {"role": "tool", "tool_name": result.name, "content": result.content}
    if (known := sent_id(result.call_id)) is not None:
        made["tool_call_id"] = known
    return made


# ---------------------------------------------------------------- the answer


class _Answer:
    """One answer, taken in line by line."""

    def __init__(self, arrival: Arrival, *, provider: str, model: str) -> None:
        self._arrival = arrival
        self._provider = provider
        self._model = model
        self._calls = 0
        self._introduced = False
        self._thought = False
        self._last: Delta | None = None

    def take(self, payload: Mapping[str, Any]) -> Iterator[Delta]:
        """The deltas of one line.

        Raises:
            ProviderError: The line is an error, which Ollama also sends inside a 200.
        """
        if error_in_body(payload):
            raise error_from_payload(payload, provider=self._provider, headers=self._arrival.headers, model=self._model)
        if not self._introduced:
            self._introduced = True
            model = payload.get("model")
            yield Delta(
                model_reported=model if isinstance(model, str) and model else None,
                request_id=request_id(self._arrival.headers),
            )
        message = payload.get("message")
        yield from self._message(message if isinstance(message, dict) else {}, payload.get("created_at"))
        if payload.get("done") is True:
            self._last = self._end_of(payload)
            self._arrival.settled = True

    def end(self) -> Delta:
        """The last delta, with the finish reason and the count.

        Raises:
            StreamBrokenError: No line said `done`.
        """
        if self._last is None:
            raise self._arrival.unfinished()
        return self._last

    def _message(self, message: Mapping[str, Any], moment: Any) -> Iterator[Delta]:
        # `reasoning_content` is an imitation's name for `thinking`.
        thought = message.get("thinking") or message.get("reasoning_content")
        if isinstance(thought, str) and thought:
            self._thought = True
            yield Delta(reasoning=thought)
        text = message.get("content")
        if isinstance(text, str) and text:
            self._arrival.partial.append(text)
            yield Delta(text=text)
        calls = message.get("tool_calls")
        for call in calls if isinstance(calls, list) else []:
            if isinstance(call, dict) and isinstance(call.get("function"), dict):
                yield self._call(call, moment)

    def _call(self, call: Mapping[str, Any], moment: Any) -> Delta:
        function = call["function"]
        name, arguments = str(function.get("name") or ""), arguments_text(function.get("arguments"))
        given = call.get("id")
        call_id = given if isinstance(given, str) and given else made_id(moment, self._calls, name, arguments)
        # Our own count: Ollama's `function.index` is missing in older versions and always 0 in some.
        piece = ToolCallDelta(index=self._calls, id=call_id, name=name, arguments=arguments)
        self._calls += 1
        return Delta(tool_call=piece)

    def _end_of(self, payload: Mapping[str, Any]) -> Delta:
        reason = _FINISH_REASONS.get(str(payload.get("done_reason") or "stop"), FinishReason.OTHER)
        if reason is FinishReason.STOP and self._calls:
            reason = FinishReason.TOOL_CALLS
        return Delta(finish_reason=reason, usage=_usage(payload), notice=self._notice(reason))

    def _notice(self, reason: FinishReason) -> str | None:
        if self._arrival.partial or self._calls:
            return None
        if reason is FinishReason.LENGTH and self._thought:
            return CUT_REASONING
        return EMPTY if reason is FinishReason.STOP else None


def _usage(payload: Mapping[str, Any]) -> Usage | None:
    """Ollama leaves a count out when it evaluated nothing, for example a prompt it still had: unknown, not 0."""
    prompt, output = payload.get("prompt_eval_count"), payload.get("eval_count")
    prompt = prompt if isinstance(prompt, int) and prompt > 0 else None
    output = output if isinstance(output, int) and output > 0 else None
    if prompt is None and output is None:
        return None
    return Usage(input_tokens=prompt, output_tokens=output)
