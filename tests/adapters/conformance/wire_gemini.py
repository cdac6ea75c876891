"""How an answer looks in Gemini's own format."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from adapters.conformance.specimen import Call, Logical, Sent, Specimen
from nbllm.messages import FinishReason, Usage

FINISH = {
    FinishReason.STOP: "STOP",
    FinishReason.LENGTH: "MAX_TOKENS",
    FinishReason.TOOL_CALLS: "STOP",
    FinishReason.CONTENT_FILTER: "SAFETY",
}


def event(payload: Any) -> bytes:
    """One event."""
    return b"data: " + json.dumps(payload).encode() + b"\n\n"


def payload(answer: Logical, *parts: dict[str, Any], **candidate: Any) -> dict[str, Any]:
    """One `GenerateContentResponse`."""
    content = {"content": {"parts": list(parts), "role": "model"}} if parts else {}
    return {"candidates": [{"index": 0, **content, **candidate}], "modelVersion": answer.model, "responseId": "r1"}


def usage(count: Usage) -> dict[str, Any]:
    """Cached tokens are a part of the prompt; Google leaves out what is zero."""
    prompt = (count.input_tokens or 0) + (count.cached_input_tokens or 0)
    shape = {
        "promptTokenCount": prompt,
        "cachedContentTokenCount": count.cached_input_tokens,
        "candidatesTokenCount": count.output_tokens,
        "totalTokenCount": prompt + (count.output_tokens or 0),
    }
    return {k: v for k, v in shape.items() if v}


def _call(call: Call) -> dict[str, Any]:
    return {"functionCall": {"name": call.name, "args": json.loads(call.whole)}}


def _parts(answer: Logical) -> list[dict[str, Any]]:
    thoughts = [{"text": r, "thought": True} for r in answer.reasoning]
    return [*thoughts, *({"text": t} for t in answer.text), *map(_call, answer.calls)]


def _end(answer: Logical) -> dict[str, Any]:
    """The last payload: the finish reason and the count come together."""
    assert answer.finish is not None
    last = payload(answer, {"text": ""}, finishReason=FINISH[answer.finish])
    return last | ({"usageMetadata": usage(answer.usage)} if answer.usage else {})


def _events(answer: Logical) -> list[bytes]:
    made = [event(payload(answer, part)) for part in _parts(answer)]
    return made if answer.finish is None else [*made, event(_end(answer))]


def _document(answer: Logical) -> bytes:
    whole = _end(answer) | payload(answer, *_parts(answer), finishReason=FINISH[answer.finish or FinishReason.STOP])
    return json.dumps(whole).encode()


def _zero(answer: Logical) -> list[bytes]:
    zero = {"promptTokenCount": 0, "candidatesTokenCount": 0, "totalTokenCount": 0}
    return [*_events(answer)[:-1], event({**_end(answer), "usageMetadata": zero})]


def _refused(words: str) -> bytes:
    return json.dumps({"error": {"code": None, "message": words, "status": "UNKNOWN"}}).encode()


def _listing(ids: Sequence[str]) -> bytes:
    rows = [{"name": f"models/{i}", "supportedGenerationMethods": ["generateContent"]} for i in ids]
    return json.dumps({"models": rows}).encode()


def _sent(body: dict[str, Any]) -> Sent:
    turns, images, results = [], [], []
    for content in body["contents"]:
        parts = content["parts"]
        text = "".join(p.get("text", "") for p in parts)
        images += [p["inlineData"]["data"] for p in parts if "inlineData" in p]
        responses = [p["functionResponse"] for p in parts if "functionResponse" in p]
        results += [(r["name"], r["response"]["output"]) for r in responses]
        if text:
            turns.append(("assistant" if content["role"] == "model" else "user", text))
    config = body.get("generationConfig", {})
    instruction = body.get("systemInstruction", {}).get("parts", [])
    tools = [d["name"] for t in body.get("tools", ()) for d in t["functionDeclarations"]]
    return Sent(
        system="".join(p["text"] for p in instruction) or None,
        turns=tuple(turns),
        images=tuple(images),
        results=tuple(results),
        tools=tuple(tools),
        schema=config.get("responseJsonSchema"),
        temperature=config.get("temperature"),
        max_tokens=config.get("maxOutputTokens"),
    )


SPECIMEN = Specimen(
    kind="gemini",
    events=_events,
    document=_document,
    refused=_refused,
    error_event=lambda words: event({"error": {"code": 500, "message": words, "status": "INTERNAL"}}),
    listing=_listing,
    sent=_sent,
    zero_usage=_zero,
    keepalive=(b": alive\n\n", b"event: ping\n\n"),
    end_events=0,
    has_call_ids=False,
)
