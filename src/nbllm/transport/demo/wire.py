"""Requests and answers of the demo provider, as bytes of OpenAI's Chat Completions.

Field by field after https://platform.openai.com/docs/api-reference/chat-streaming (read 2026-11-20), with
`reasoning_content` as DeepSeek and llama.cpp have it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from nbllm.transport.demo.models import MODELS, Refusal, Said, count_tokens, say, tokens

PACE_S = 0.008
"""Seconds for each word, unless `NBLLM_DEMO_PACE_S` or the constructor says otherwise."""

_CREATED = 1767225600  # 2026-01-01: a clock would make two equal requests differ
_REMEMBERED = 256


@dataclass(frozen=True, slots=True)
class DemoAnswer:
    """What goes back over the wire."""

    status: int
    headers: Mapping[str, str]
    pieces: Iterable[tuple[float, bytes]]
    """Seconds to wait, then the bytes to send."""
    ends: Literal["clean", "cut"] = "clean"
    """`cut`: the connection closes without the end of the body."""


class Demo:
    """The application behind transport and server.

    Its only memory is how often `error-429` has refused the same request.
    """

    def __init__(self, *, pace_s: float | None = None) -> None:
        self.pace_s = _pace_from_environment() if pace_s is None else pace_s
        self._refused: OrderedDict[str, int] = OrderedDict()

    def answer(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> DemoAnswer:
        """Answer one request."""
        request_id = "req_demo_" + hashlib.sha256(path.encode() + b"\n" + body).hexdigest()[:16]
        refused = self._refused.get(request_id, 0)
        made = answer(method, path, headers, body, pace_s=self.pace_s, request_id=request_id, refused=refused)
        if made.status == 429:
            self._refused[request_id] = refused + 1
            while len(self._refused) > _REMEMBERED:
                self._refused.popitem(last=False)
        else:
            self._refused.pop(request_id, None)
        return made


def answer(
    method: str,
    path: str,
    headers: Mapping[str, str],
    body: bytes,
    *,
    pace_s: float = PACE_S,
    request_id: str = "req_demo",
    refused: int = 0,
) -> DemoAnswer:
    """The answer to one request; the same arguments give the same bytes.

    Args:
        method: HTTP method.
        path: Path without host; a query is ignored.
        headers: Not looked at: the demo wants no key.
        body: The request's JSON.
        pace_s: Seconds for each word.
        request_id: Sent back as `x-request-id`.
        refused: How often this request was refused before (for `error-429`).
    """
    route = path.partition("?")[0].rstrip("/")
    try:
        if route.endswith("/models"):
            _must_be(method, "GET")
            return _json(200, _listing(), request_id)
        if not route.endswith("/chat/completions"):
            raise Refusal(404, f"demo: there is nothing at {route or '/'}", "not_found")
        _must_be(method, "POST")
        return _chat(parse_body(body), pace_s, request_id, refused)
    except Refusal as refusal:
        return _refuse(refusal, request_id)


def parse_body(body: bytes) -> dict[str, Any]:
    """The request's JSON object.

    Raises:
        Refusal: It is none, or names no model or no message.
    """
    try:
        parsed = json.loads(body)
    except ValueError:  # a UnicodeDecodeError is one too
        raise Refusal(400, "demo: the request body is not JSON", "invalid_json") from None
    if not isinstance(parsed, dict):
        raise Refusal(400, "demo: the request body is not a JSON object", "invalid_json")
    messages = parsed.get("messages")
    if not isinstance(messages, list) or not messages or not all(isinstance(m, dict) for m in messages):
        raise Refusal(400, "demo: 'messages' must be a list with at least one message", "invalid_value")
    return parsed


def _pace_from_environment() -> float:
    try:
        return max(0.0, float(os.environ.get("NBLLM_DEMO_PACE_S", PACE_S)))
    except ValueError:
        return PACE_S


def _must_be(method: str, wanted: str) -> None:
    if method != wanted:
        raise Refusal(405, f"demo: use {wanted} here", "method_not_allowed")


def _listing() -> dict[str, Any]:
    rows = [
        {"id": model, "object": "model", "created": _CREATED, "owned_by": "nbllm-demo", "description": purpose}
        for model, purpose in MODELS.items()
    ]
    return {"object": "list", "data": rows}


# ---------------------------------------------------------------- a chat


def _chat(request: dict[str, Any], pace_s: float, request_id: str, refused: int) -> DemoAnswer:
    said = say(request, refused=refused)
    said = _shorten(said, request)
    if request.get("stream"):
        pieces = _with_pace(_events(said, request, request_id), pace_s * said.slowness)
        return DemoAnswer(200, _headers("text/event-stream; charset=utf-8", request_id), pieces, said.ends)
    if said.ends == "cut":
        half = _encode(_completion(said, request, request_id))
        pieces = iter([(pace_s, half[: len(half) // 2])])
        return DemoAnswer(200, _headers("application/json", request_id), pieces, "cut")
    return _json(200, _completion(said, request, request_id), request_id, delay_s=pace_s)


def _shorten(said: Said, request: Mapping[str, Any]) -> Said:
    """Keep as many words as `max_tokens` (or its newer name) allows, reasoning counted first."""
    limit = request.get("max_completion_tokens") or request.get("max_tokens")
    return said.first(limit) if isinstance(limit, int) and limit > 0 else said


def _with_pace(events: Iterable[bytes], pace_s: float) -> Iterator[tuple[float, bytes]]:
    for event in events:
        yield pace_s, event


def _events(said: Said, request: Mapping[str, Any], request_id: str) -> Iterator[bytes]:
    yield _event(_chunk(request, request_id, delta={"role": "assistant", "content": ""}))
    for delta in _deltas(said):
        yield _event(_chunk(request, request_id, delta=delta))
    if said.ends == "cut":
        return
    yield _event(_chunk(request, request_id, delta={}, finish=said.finish_reason))
    options = request.get("stream_options")
    if isinstance(options, dict) and options.get("include_usage"):
        yield _event(
            {**_frame(request, request_id, "chat.completion.chunk"), "choices": [], "usage": _usage(said, request)}
        )
    yield b"data: [DONE]\n\n"


def _deltas(said: Said) -> Iterator[dict[str, Any]]:
    for piece in tokens(said.reasoning):
        yield {"reasoning_content": piece}
    for piece in tokens(said.text):
        yield {"content": piece}
    for index, call in enumerate(said.calls):
        head = {"index": index, "id": call.id, "type": "function"}
        yield {"tool_calls": [{**head, "function": {"name": call.name, "arguments": ""}}]}
        for piece in tokens(call.arguments):
            yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}


def _chunk(
    request: Mapping[str, Any], request_id: str, *, delta: dict[str, Any], finish: str | None = None
) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {**_frame(request, request_id, "chat.completion.chunk"), "choices": [choice]}


def _completion(said: Said, request: Mapping[str, Any], request_id: str) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": said.text or None}
    if said.reasoning:
        message["reasoning_content"] = said.reasoning
    if said.calls:
        message["tool_calls"] = [
            {"id": c.id, "type": "function", "function": {"name": c.name, "arguments": c.arguments}} for c in said.calls
        ]
    choice = {"index": 0, "message": message, "finish_reason": said.finish_reason}
    return {**_frame(request, request_id, "chat.completion"), "choices": [choice], "usage": _usage(said, request)}


def _frame(request: Mapping[str, Any], request_id: str, kind: str) -> dict[str, Any]:
    return {
        "id": request_id.replace("req_demo", "chatcmpl-demo"),
        "object": kind,
        "created": _CREATED,
        "model": request["model"],
    }


def _usage(said: Said, request: Mapping[str, Any]) -> dict[str, Any]:
    prompt, reasoning = count_tokens(request), len(tokens(said.reasoning))
    output = reasoning + len(tokens(said.text)) + sum(len(tokens(c.arguments)) for c in said.calls)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": output,
        "total_tokens": prompt + output,
        "completion_tokens_details": {"reasoning_tokens": reasoning},
    }


# ---------------------------------------------------------------- bytes


def _refuse(refusal: Refusal, request_id: str) -> DemoAnswer:
    error = {"message": refusal.message, "type": refusal.kind, "param": None, "code": refusal.code}
    made = _json(refusal.status, {"error": error}, request_id)
    return DemoAnswer(made.status, {**made.headers, **refusal.headers}, made.pieces)


def _json(status: int, payload: Mapping[str, Any], request_id: str, *, delay_s: float = 0.0) -> DemoAnswer:
    return DemoAnswer(status, _headers("application/json", request_id), iter([(delay_s, _encode(payload))]))


def _headers(content_type: str, request_id: str) -> dict[str, str]:
    return {"content-type": content_type, "x-request-id": request_id, "server": "nbllm-demo"}


def _event(payload: Mapping[str, Any]) -> bytes:
    return b"data: " + _encode(payload) + b"\n\n"


def _encode(payload: Mapping[str, Any]) -> bytes:
    # A lone surrogate has no UTF-8; as `\\udXXX` it is what JSON writes for it.
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace")
