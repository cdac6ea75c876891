"""How an answer looks in Chat Completions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from adapters.conformance.specimen import Logical, Sent, Specimen
from nbllm.messages import FinishReason, Usage

FINISH = {
    FinishReason.STOP: "stop",
    FinishReason.LENGTH: "length",
    FinishReason.TOOL_CALLS: "tool_calls",
    FinishReason.CONTENT_FILTER: "content_filter",
}
DONE = b"data: [DONE]\n\n"


def event(payload: Any) -> bytes:
    """One event."""
    return b"data: " + json.dumps(payload).encode() + b"\n\n"


def chunk(delta: dict[str, Any], model: str = "tiny-2026", finish: str | None = None, **extra: Any) -> bytes:
    """One chunk."""
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    top = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": model, "choices": [choice]}
    return event({**top, **extra})


def usage(count: Usage) -> dict[str, Any]:
    """OpenAI counts cached tokens into the prompt."""
    prompt = (count.input_tokens or 0) + (count.cached_input_tokens or 0)
    shape: dict[str, Any] = {"prompt_tokens": prompt, "completion_tokens": count.output_tokens}
    if count.cached_input_tokens is not None:
        shape["prompt_tokens_details"] = {"cached_tokens": count.cached_input_tokens}
    if count.reasoning_tokens is not None:
        shape["completion_tokens_details"] = {"reasoning_tokens": count.reasoning_tokens}
    return shape


def _events(answer: Logical) -> list[bytes]:
    made = [chunk({"role": "assistant", "content": ""}, answer.model)]
    made += [chunk({"reasoning_content": r}, answer.model) for r in answer.reasoning]
    made += [chunk({"content": t}, answer.model) for t in answer.text]
    for index, call in enumerate(answer.calls):
        head = {"index": index, "id": call.id, "type": "function", "function": {"name": call.name, "arguments": ""}}
        made.append(chunk({"tool_calls": [head]}, answer.model))
        made += [
            chunk({"tool_calls": [{"index": index, "function": {"arguments": a}}]}, answer.model)
            for a in call.arguments
        ]
    if answer.finish is not None:
        made.append(chunk({}, answer.model, FINISH[answer.finish]))
    if answer.usage is not None:
        made.append(event({"id": "chatcmpl-1", "model": answer.model, "choices": [], "usage": usage(answer.usage)}))
    return [*made, DONE] if answer.finish is not None else made


def _document(answer: Logical) -> bytes:
    message: dict[str, Any] = {"role": "assistant", "content": "".join(answer.text) or None}
    if answer.reasoning:
        message["reasoning_content"] = "".join(answer.reasoning)
    if answer.calls:
        message["tool_calls"] = [
            {"id": c.id, "type": "function", "function": {"name": c.name, "arguments": c.whole}} for c in answer.calls
        ]
    choice = {"index": 0, "message": message, "finish_reason": FINISH[answer.finish] if answer.finish else None}
    body: dict[str, Any] = {"id": "chatcmpl-1", "model": answer.model, "choices": [choice]}
    if answer.usage is not None:
        body["usage"] = usage(answer.usage)
    return json.dumps(body).encode()


def _zero(answer: Logical) -> list[bytes]:
    made = _events(answer)
    zero = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    return [*made[:-1], event({"choices": [], "usage": zero}), made[-1]]


def _refused(words: str) -> bytes:
    return json.dumps({"error": {"message": words, "type": "some_error", "param": None, "code": None}}).encode()


def _listing(ids: Sequence[str]) -> bytes:
    return json.dumps({"object": "list", "data": [{"id": i, "object": "model"} for i in ids]}).encode()


def _sent(body: dict[str, Any]) -> Sent:
    turns, images, results, system = [], [], [], None
    for message in body["messages"]:
        content = message["content"]
        if message["role"] == "system":
            system = content
        elif message["role"] == "tool":
            results.append((message["tool_call_id"], content))
        else:
            parts = [{"type": "text", "text": content or ""}] if not isinstance(content, list) else content
            text = "".join(p.get("text", "") for p in parts)
            images += [p["image_url"]["url"].partition("base64,")[2] for p in parts if p["type"] == "image_url"]
            if text:
                turns.append((message["role"], text))
    schema = body.get("response_format", {}).get("json_schema", {}).get("schema")
    return Sent(
        system=system,
        turns=tuple(turns),
        images=tuple(images),
        results=tuple(results),
        tools=tuple(t["function"]["name"] for t in body.get("tools", ())),
        schema=schema,
        temperature=body.get("temperature"),
        max_tokens=body.get("max_tokens"),
    )


SPECIMEN = Specimen(
    kind="openai",
    events=_events,
    document=_document,
    refused=_refused,
    error_event=lambda words: event({"error": {"message": words, "type": "server_error"}}),
    listing=_listing,
    sent=_sent,
    zero_usage=_zero,
    keepalive=(b": OPENROUTER PROCESSING\n\n", b":\n", b"event: ping\ndata: {}\n\n"),
    end_events=2,
)
