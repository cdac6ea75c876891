"""A workspace that talks to a scripted server on loopback, and answers in the OpenAI format to script it with."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from nbllm.workspace import Workspace
from wire_server import Plan, WireServer, answer


def event(payload: Mapping[str, Any] | str) -> bytes:
    """One server-sent event."""
    text = payload if isinstance(payload, str) else json.dumps(payload)
    return f"data: {text}\n\n".encode()


def chunk(delta: Mapping[str, Any], *, finish: str | None = None) -> bytes:
    """One chunk of a stream."""
    return event({"id": "c", "model": "served", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})


def says(*pieces: str, finish: str = "stop", usage: tuple[int, int] | None = (3, 5)) -> Plan:
    """An answer of text."""
    body = b"".join(chunk({"content": p}) for p in pieces) + chunk({}, finish=finish)
    if usage:
        counts = {"prompt_tokens": usage[0], "completion_tokens": usage[1], "total_tokens": sum(usage)}
        body += event({"id": "c", "choices": [], "usage": counts})
    return answer(body + event("[DONE]"))


def calls(*wanted: tuple[str, str], finish: str = "tool_calls") -> Plan:
    """An answer that asks for tools: pairs of name and arguments."""
    pieces = [
        {"index": i, "id": f"call_{i}", "type": "function", "function": {"name": n, "arguments": a}}
        for i, (n, a) in enumerate(wanted)
    ]
    return answer(chunk({"tool_calls": pieces}) + chunk({}, finish=finish) + event("[DONE]"))


def refuses(status: int, message: str = "no", **headers: str) -> Plan:
    """An error."""
    body = json.dumps({"error": {"message": message, "type": "error"}}).encode()
    return answer(body, status=status, kind="application/json", **headers)


@contextmanager
def talking(*plans: Plan, **fields: Any) -> Iterator[tuple[Workspace, WireServer]]:
    """A workspace with the provider `peer`, whose server follows the plans, one a request."""
    with WireServer(list(plans)) as server:
        workspace = Workspace()
        workspace.registry.set_session("peer", base_url=server.url, kind="openai", auth="none", **fields)
        try:
            yield workspace, server
        finally:
            workspace.close()


def sent(server: WireServer, number: int = -1) -> dict[str, Any]:
    """The JSON body of a request that the server got."""
    body: dict[str, Any] = json.loads(server.requests[number].partition(b"\r\n\r\n")[2])
    return body
