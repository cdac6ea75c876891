"""How an answer looks in Ollama's own format."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from adapters.conformance.specimen import Call, Logical, Sent, Specimen
from nbllm.messages import FinishReason

FINISH = {FinishReason.STOP: "stop", FinishReason.TOOL_CALLS: "stop", FinishReason.LENGTH: "length"}


def line(answer: Logical, *, done: bool = False, message: dict[str, Any] | None = None, **more: Any) -> bytes:
    """One line."""
    said = {"role": "assistant", "content": "", **(message or {})}
    top = {"model": answer.model, "created_at": "2026-11-20T00:00:00Z", "message": said, "done": done}
    return json.dumps({**top, **more}).encode() + b"\n"


def _call(call: Call) -> dict[str, Any]:
    return {"function": {"name": call.name, "arguments": json.loads(call.whole)}}


def _end(answer: Logical) -> dict[str, Any]:
    assert answer.finish is not None
    counts = {}
    if answer.usage is not None:
        counts = {"prompt_eval_count": answer.usage.input_tokens, "eval_count": answer.usage.output_tokens}
    return {"done": True, "done_reason": FINISH[answer.finish], "total_duration": 1, **counts}


def _events(answer: Logical) -> list[bytes]:
    made = [line(answer, message={"thinking": r}) for r in answer.reasoning]
    made += [line(answer, message={"content": t}) for t in answer.text]
    made += [line(answer, message={"tool_calls": [_call(c)]}) for c in answer.calls]
    return made if answer.finish is None else [*made, line(answer, **_end(answer))]


def _document(answer: Logical) -> bytes:
    message: dict[str, Any] = {"content": "".join(answer.text)}
    if answer.reasoning:
        message["thinking"] = "".join(answer.reasoning)
    if answer.calls:
        message["tool_calls"] = [_call(c) for c in answer.calls]
    return line(answer, message=message, **_end(answer))


def _zero(answer: Logical) -> list[bytes]:
    return [*_events(answer)[:-1], line(answer, **{**_end(answer), "prompt_eval_count": 0, "eval_count": 0})]


def _sent(body: dict[str, Any]) -> Sent:
    turns, images, results, system = [], [], [], None
    for message in body["messages"]:
        images += message.get("images", [])
        if message["role"] == "system":
            system = message["content"]
        elif message["role"] == "tool":
            results.append((message["tool_name"], message["content"]))
        elif message["content"]:
            turns.append((message["role"], message["content"]))
    options = body.get("options", {})
    return Sent(
        system=system,
        turns=tuple(turns),
        images=tuple(images),
        results=tuple(results),
        tools=tuple(t["function"]["name"] for t in body.get("tools", ())),
        schema=body.get("format"),
        temperature=options.get("temperature"),
        max_tokens=options.get("num_predict"),
    )


def _error(words: str) -> bytes:
    return json.dumps({"error": words}).encode() + b"\n"


def _listing(ids: Sequence[str]) -> bytes:
    return json.dumps({"models": [{"name": i, "model": i, "size": 1} for i in ids]}).encode()


SPECIMEN = Specimen(
    kind="ollama",
    events=_events,
    document=_document,
    refused=_error,
    error_event=_error,
    listing=_listing,
    sent=_sent,
    zero_usage=_zero,
    keepalive=(b"\n",),
    end_events=0,
    stream_kind="application/x-ndjson",
    has_call_ids=False,
    has_cache_read=False,
    finishes=(FinishReason.STOP, FinishReason.LENGTH, FinishReason.TOOL_CALLS),
)
