"""Google's Gemini API in its own format: `models/{model}:streamGenerateContent?alt=sse`.

https://ai.google.dev/api/generate-content (read 2026-11-20). Reading the answer is in `gemini_answer`, bringing a
JSON Schema into the accepted subset in `gemini_schema`.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any, ClassVar
from urllib.parse import quote

from nbllm.adapters import parts
from nbllm.adapters.base import Endpoint, WireRequest
from nbllm.adapters.call_ids import arguments_object, sent_id
from nbllm.adapters.gemini_answer import GeminiAnswer, choose_decoder
from nbllm.adapters.gemini_schema import accepted_schema
from nbllm.adapters.listing import Asking, Listed, ask_pages
from nbllm.adapters.payloads import payloads
from nbllm.adapters.reading import Arrival, refusal
from nbllm.messages import (
    ChatRequest,
    Delta,
    File,
    Image,
    Message,
    Role,
    Text,
    Tool,
    ToolCall,
    ToolResult,
)
from nbllm.providers.spec import Listing, ModelInfo

_ROLES = {Role.USER: "user", Role.ASSISTANT: "model", Role.TOOL: "user"}
_TOP_LEVEL = frozenset({"safetySettings", "cachedContent", "toolConfig", "tools", "systemInstruction", "serviceTier"})
"""Parameters that stand beside `generationConfig`; every other one stands in it."""
_NAMES = {
    "top_p": "topP",
    "top_k": "topK",
    "stop": "stopSequences",
    "max_tokens": "maxOutputTokens",
    "presence_penalty": "presencePenalty",
    "frequency_penalty": "frequencyPenalty",
    "safety_settings": "safetySettings",
    "cached_content": "cachedContent",
}
"""Parameters known by another name elsewhere, so that one set of them serves several providers."""
_CHOICES = {"auto": "AUTO", "required": "ANY", "none": "NONE"}


class GeminiAdapter:
    """Gemini's own wire format."""

    native_schema: ClassVar[bool] = True

    def build(self, request: ChatRequest, endpoint: Endpoint) -> WireRequest:
        """The request as it would be sent.

        Raises:
            PromptError: There is nothing to send, or `max_tokens` is below 1.
        """
        verb = "streamGenerateContent?alt=sse" if request.stream else "generateContent"
        url = f"{endpoint.base_url}/{_model_path(request.model)}:{verb}"
        return WireRequest("POST", url, _body(request, endpoint))

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
            answer = GeminiAnswer(arrival, provider=provider.id, model=request.model)
            received = payloads(arrival, provider=provider.id, choose=choose_decoder)
            async with contextlib.aclosing(received):
                async for payload in received:
                    for delta in answer.take(payload):
                        yield delta
            yield answer.end()

    async def list_models(self, endpoint: Endpoint) -> list[ModelInfo]:
        """All models, all pages, with ids as a chat takes them: without `models/`."""
        return list((await self.ask_listing(endpoint, Asking())).models)

    async def ask_listing(self, endpoint: Endpoint, asking: Asking) -> Listed:
        """All models, all pages, and what came with them."""
        url = endpoint.provider.listing_url
        return await ask_pages(_as_gemini_lists(endpoint), url, asking, paging="page_token")


def _model_path(model: str) -> str:
    """`models/ID`; a tuned model brings its own collection."""
    collection, slash, name = model.partition("/")
    if not slash or collection not in ("models", "tunedModels"):
        collection, name = "models", model
    return f"{collection}/{quote(name, safe='-._~@')}"


# ---------------------------------------------------------------- the body


def _body(request: ChatRequest, endpoint: Endpoint) -> dict[str, Any]:
    parts.check(request)
    beside, config = _parameters(request, endpoint)
    body: dict[str, Any] = {"contents": list(_contents(request.messages))}
    if instruction := _instruction(request):
        body["systemInstruction"] = {"parts": [{"text": text} for text in instruction]}
    if request.tools:
        body["tools"] = [{"functionDeclarations": [_declaration(tool) for tool in request.tools]}]
    if request.tool_choice:
        body["toolConfig"] = {"functionCallingConfig": _choice(request.tool_choice)}
    if config:
        body["generationConfig"] = config
    return body | beside


def _parameters(request: ChatRequest, endpoint: Endpoint) -> tuple[dict[str, Any], dict[str, Any]]:
    """What stands beside `generationConfig`, and what stands in it."""
    beside, config = parts.nested_parameters(
        request, endpoint.provider, nest="generationConfig", names=_NAMES, top_level=_TOP_LEVEL, limit="maxOutputTokens"
    )
    if isinstance(stop := config.get("stopSequences"), str):
        config["stopSequences"] = [stop]
    if request.schema is not None:
        config |= {"responseMimeType": "application/json", "responseJsonSchema": accepted_schema(request.schema)}
    return beside, config


def _instruction(request: ChatRequest) -> list[str]:
    spoken = [m.text for m in request.messages if m.role is Role.SYSTEM]
    return [text for text in (request.system, *spoken) if text]


def _declaration(tool: Tool) -> dict[str, Any]:
    # `parametersJsonSchema` takes JSON Schema where `parameters` takes OpenAPI's dialect of it.
    schema = accepted_schema(tool.parameters)
    return {"name": tool.name, "description": tool.description, "parametersJsonSchema": schema}


def _choice(choice: str) -> dict[str, Any]:
    if choice in _CHOICES:
        return {"mode": _CHOICES[choice]}
    return {"mode": "ANY", "allowedFunctionNames": [choice]}


# ---------------------------------------------------------------- messages


def _contents(messages: tuple[Message, ...]) -> Iterator[dict[str, Any]]:
    """The turns. Results of parallel calls belong into one turn, however many messages they came in."""
    known = parts.answered(messages)
    results: list[dict[str, Any]] = []
    for message in messages:
        if message.role is Role.SYSTEM:
            continue
        made = [*_said(message), *map(_call, parts.sendable_calls(message, known)), *_results(message)]
        if message.role is Role.TOOL:
            results += made
            continue
        if results:
            yield {"role": "user", "parts": results}
            results = []
        if made:
            yield {"role": _ROLES[message.role], "parts": made}
    if results:
        yield {"role": "user", "parts": results}


def _said(message: Message) -> Iterator[dict[str, Any]]:
    """Text and attachments. Thoughts are not sent back: they are summaries, made for people."""
    for part in message.parts:
        if isinstance(part, Text) and part.text:
            yield {"text": part.text}
        elif isinstance(part, (Image, File)):
            yield {"inlineData": {"mimeType": part.media_type, "data": parts.base64_text(part)}}


def _call(call: ToolCall) -> dict[str, Any]:
    function: dict[str, Any] = {"name": call.name, "args": arguments_object(call)}
    if (known := sent_id(call.id)) is not None:
        function["id"] = known
    # Gemini 3 refuses a call that comes back without the signature it was given.
    # https://ai.google.dev/gemini-api/docs/thought-signatures (read 2026-11-20)
    signature = {"thoughtSignature": call.signature} if call.signature else {}
    return {"functionCall": function} | signature


def _results(message: Message) -> Iterator[dict[str, Any]]:
    for result in message.parts:
        if not isinstance(result, ToolResult):
            continue
        response = {"error" if result.is_error else "output": result.content}
        function: dict[str, Any] = {"name": result.name, "response": response}
        if (known := sent_id(result.call_id)) is not None:
            function["id"] = known
        yield {"functionResponse": function}


# ---------------------------------------------------------------- the listing

_LISTING = {
    "path": "models[]",
    "id": "name",
    "strip": "models/",
    "name": "displayName",
    "type": "supportedGenerationMethods[]",
    # Gemini counts its two limits apart, so neither of them is the window that both share.
    "max_input": "inputTokenLimit",
    "max_output": "outputTokenLimit",
    "reasoning": "thinking",
}
"""Where things stand in Gemini's format; a row may say otherwise."""


def _as_gemini_lists(endpoint: Endpoint) -> Endpoint:
    row = endpoint.provider
    own = row.listing.model_dump(exclude_unset=True)
    return replace(endpoint, provider=row.model_copy(update={"listing": Listing(**{**_LISTING, **own})}))
