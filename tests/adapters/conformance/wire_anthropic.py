"""How an answer looks in Messages."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from adapters.conformance.specimen import Call, Logical, Sent, Specimen
from nbllm.messages import FinishReason, Usage

FINISH = {
    FinishReason.STOP: "end_turn",
    FinishReason.LENGTH: "max_tokens",
    FinishReason.TOOL_CALLS: "tool_use",
    FinishReason.CONTENT_FILTER: "refusal",
}


def event(payload: dict[str, Any]) -> bytes:
    """One event, named as Anthropic names it."""
    return b"event: %s\ndata: %s\n\n" % (payload["type"].encode(), json.dumps(payload).encode())


def block(index: int, shape: dict[str, Any], deltas: Sequence[dict[str, Any]]) -> list[bytes]:
    """A content block from start to stop."""
    made = [event({"type": "content_block_start", "index": index, "content_block": shape})]
    made += [event({"type": "content_block_delta", "index": index, "delta": d}) for d in deltas]
    return [*made, event({"type": "content_block_stop", "index": index})]


def usage(count: Usage | None) -> dict[str, Any]:
    """Anthropic's classes do not overlap."""
    if count is None:
        return {}
    shape = {
        "input_tokens": count.input_tokens,
        "cache_read_input_tokens": count.cached_input_tokens,
        "cache_creation_input_tokens": count.cache_write_tokens,
        "output_tokens": count.output_tokens,
    }
    return {k: v for k, v in shape.items() if v is not None}


def start(answer: Logical) -> bytes:
    """The first event; its output count is a placeholder."""
    counts = usage(answer.usage) | ({"output_tokens": 1} if answer.usage else {})
    message = {"id": "msg_1", "type": "message", "role": "assistant", "content": [], "model": answer.model}
    return event({"type": "message_start", "message": {**message, "stop_reason": None, "usage": counts}})


def _blocks(answer: Logical) -> list[bytes]:
    made: list[bytes] = []
    index = 0
    if answer.reasoning:
        deltas = [{"type": "thinking_delta", "thinking": r} for r in answer.reasoning]
        deltas.append({"type": "signature_delta", "signature": "c2ln"})
        made += block(index, {"type": "thinking", "thinking": ""}, deltas)
        index += 1
    if answer.text:
        made += block(index, {"type": "text", "text": ""}, [{"type": "text_delta", "text": t} for t in answer.text])
        index += 1
    for call in answer.calls:
        shape = {"type": "tool_use", "id": call.id, "name": call.name, "input": {}}
        pieces = [{"type": "input_json_delta", "partial_json": a} for a in ("", *call.arguments)]
        made += block(index, shape, pieces)
        index += 1
    return made


def _events(answer: Logical) -> list[bytes]:
    made = [start(answer), *_blocks(answer)]
    if answer.finish is None:
        return made
    out = {"output_tokens": answer.usage.output_tokens} if answer.usage else {}
    end = {"stop_reason": FINISH[answer.finish], "stop_sequence": None}
    return [*made, event({"type": "message_delta", "delta": end, "usage": out}), event({"type": "message_stop"})]


def _use(call: Call) -> dict[str, Any]:
    try:
        arguments = json.loads(call.whole)
    except ValueError:
        arguments = call.whole
    return {"type": "tool_use", "id": call.id, "name": call.name, "input": arguments}


def _document(answer: Logical) -> bytes:
    content: list[dict[str, Any]] = []
    if answer.reasoning:
        content.append({"type": "thinking", "thinking": "".join(answer.reasoning), "signature": "c2ln"})
    if answer.text:
        content.append({"type": "text", "text": "".join(answer.text)})
    content += [_use(c) for c in answer.calls]
    stop = FINISH[answer.finish] if answer.finish else None
    body = {"id": "msg_1", "type": "message", "role": "assistant", "model": answer.model, "content": content}
    return json.dumps({**body, "stop_reason": stop, "usage": usage(answer.usage)}).encode()


def _zero(answer: Logical) -> list[bytes]:
    made = _events(answer)
    zero = {"input_tokens": 0, "output_tokens": 0}
    end = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": zero}
    return [*made[:-2], event(end), made[-1]]


def _refused(words: str) -> bytes:
    return json.dumps({"type": "error", "error": {"type": "some_error", "message": words}}).encode()


def _listing(ids: Sequence[str]) -> bytes:
    rows = [{"type": "model", "id": i, "display_name": i.title()} for i in ids]
    return json.dumps({"data": rows, "has_more": False, "first_id": None, "last_id": None}).encode()


def _sent(body: dict[str, Any]) -> Sent:
    turns, images, results = [], [], []
    for message in body["messages"]:
        blocks = message["content"]
        text = "".join(b["text"] for b in blocks if b["type"] == "text")
        images += [b["source"]["data"] for b in blocks if b["type"] == "image"]
        results += [(b["tool_use_id"], b["content"]) for b in blocks if b["type"] == "tool_result"]
        if text:
            turns.append((message["role"], text))
    tools = {t["name"]: t["input_schema"] for t in body.get("tools", ())}
    forced = body.get("tool_choice", {}).get("name")
    return Sent(
        system=body.get("system"),
        turns=tuple(turns),
        images=tuple(images),
        results=tuple(results),
        tools=tuple(tools),
        schema=tools.get(forced),
        temperature=body.get("temperature"),
        max_tokens=body.get("max_tokens"),
    )


SPECIMEN = Specimen(
    kind="anthropic",
    events=_events,
    document=_document,
    refused=_refused,
    error_event=lambda words: event({"type": "error", "error": {"type": "api_error", "message": words}}),
    listing=_listing,
    sent=_sent,
    zero_usage=_zero,
    keepalive=(b": ping\n\n", b'event: ping\ndata: {"type": "ping"}\n\n'),
    end_events=1,
    schema_call=True,
    has_signed_reasoning=True,
    has_cache_write=True,
)
