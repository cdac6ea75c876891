"""Many short requests at once: requests a second, CPU a request and memory, beside plain httpx2 and the openai SDK.

A server on loopback allows 100 requests at a time (429 beyond) and answers each after 0.2 s, so 100 in flight are 500
a second at best. *nbllm* is `OpenAIAdapter.stream` over a workspace's transport. Each way runs in a process of its own.

    PYTHONPATH=src python benchmarks/request.py

Writes benchmarks/results/requests.json and requests.md; exit status 1 when a figure is missed.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import platform
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil

RESULTS = Path(__file__).parent / "results"
DELAY_S, AT_ONCE = 0.2, 100
LANES = {1: 25, 20: 400, 100: 2000}
"""Requests in flight, and how many are sent altogether."""
ROUNDS = 3
TEXT = "yes it is"

Ask = Callable[[], Awaitable[str]]


# ---------------------------------------------------------------- the server


def _answer(streamed: bool) -> bytes:
    usage = {"prompt_tokens": 10, "completion_tokens": 3, "total_tokens": 13}
    if not streamed:
        choice = {"index": 0, "message": {"role": "assistant", "content": TEXT}, "finish_reason": "stop"}
        return json.dumps({"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice],
                           "usage": usage}).encode()  # fmt: skip
    deltas: list[tuple[dict[str, Any], str | None]] = [({"role": "assistant", "content": "yes "}, None),
                                                       ({"content": "it is"}, None), ({}, "stop")]  # fmt: skip
    chunks = [{"choices": [{"index": 0, "delta": d, "finish_reason": f}]} for d, f in deltas]
    common = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    events = [common | chunk for chunk in [*chunks, {"choices": [], "usage": usage}]]
    return b"".join(b"data: " + json.dumps(e).encode() + b"\n\n" for e in events) + b"data: [DONE]\n\n"


def _response(body: bytes, kind: str, status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


STREAMED = _response(_answer(True), "text/event-stream")
WHOLE = _response(_answer(False), "application/json")
TOO_MANY = _response(b"{}", "application/json", "429 Too Many Requests")


class Server(asyncio.Protocol):
    """One connection; as little work as it takes, since the server shares the machine with who is measured."""

    running = 0

    def connection_made(self, transport: Any) -> None:
        self._transport, self._got = transport, b""

    def data_received(self, data: bytes) -> None:
        self._got += data
        head, end, body = self._got.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0] or 0) if end else 0
        if not end or len(body) < length:
            return
        self._got = b""
        if Server.running >= AT_ONCE:
            self._transport.write(TOO_MANY)
            return
        Server.running += 1
        streamed = b'"stream":true' in body.replace(b" ", b"")
        asyncio.get_running_loop().call_later(DELAY_S, self._say, STREAMED if streamed else WHOLE)

    def _say(self, response: bytes) -> None:
        Server.running -= 1
        self._transport.write(response)


def serve(pipe: Connection) -> None:
    """Send the port through `pipe`, and serve until the process is ended."""

    async def main() -> None:
        server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", 0, backlog=500)
        pipe.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(main())


# ---------------------------------------------------------------- the ways of asking


def by_httpx2(url: str, streamed: bool) -> Ask:
    """The request and its JSON, and nothing else."""
    import httpx2

    limits = httpx2.Limits(max_connections=200, max_keepalive_connections=200)
    client = httpx2.AsyncClient(trust_env=False, limits=limits, timeout=60)
    body = {"model": "m", "messages": [{"role": "user", "content": "is it?"}], "stream": streamed}

    async def ask() -> str:
        async with client.stream("POST", f"{url}/chat/completions", json=body) as response:
            response.raise_for_status()
            if not streamed:
                return str(json.loads(await response.aread())["choices"][0]["message"]["content"])
            text = ""
            async for line in response.aiter_lines():
                if line.startswith("data: ") and line != "data: [DONE]":
                    for choice in json.loads(line[6:])["choices"]:
                        text += choice["delta"].get("content") or ""
            return text

    return ask


def by_sdk(url: str, streamed: bool) -> Ask:
    """The openai SDK as its documentation shows it."""
    import openai

    client = openai.AsyncOpenAI(api_key="none", base_url=url, max_retries=0)
    messages: Any = [{"role": "user", "content": "is it?"}]

    async def ask() -> str:
        if not streamed:
            whole = await client.chat.completions.create(model="m", messages=messages)
            return whole.choices[0].message.content or ""
        stream = await client.chat.completions.create(
            model="m", messages=messages, stream=True, stream_options={"include_usage": True}
        )
        return "".join([c.delta.content or "" async for chunk in stream for c in chunk.choices])

    return ask


def by_nbllm(url: str, streamed: bool) -> Ask:
    """The adapter, over everything that stands below it in a workspace."""
    from nbllm.adapters.base import Endpoint
    from nbllm.adapters.openai import OpenAIAdapter
    from nbllm.messages import ChatRequest, Message
    from nbllm.workspace import Workspace

    workspace = Workspace()
    row = workspace.registry.set_session("bench", base_url=url, kind="openai", auth="none")
    adapter, endpoint = OpenAIAdapter(), Endpoint(row, None, workspace.http)
    request = ChatRequest("bench", "m", (Message.user("is it?"),), stream=streamed)

    async def ask() -> str:
        return "".join([delta.text async for delta in adapter.stream(request, endpoint)])

    return ask


WAYS = {"httpx2": by_httpx2, "openai SDK": by_sdk, "nbllm": by_nbllm}


# ---------------------------------------------------------------- measuring


def measure(pipe: Connection, way: str, url: str, streamed: bool) -> None:
    """Send through `pipe`: for each number in flight, requests a second and CPU ms a request; memory in MB."""

    async def main() -> dict[str, Any]:
        ask = WAYS[way](url, streamed)
        assert await ask() == TEXT, way
        before = psutil.Process().memory_info().rss
        found: dict[str, Any] = {}
        for lanes, count in LANES.items():
            found[str(lanes)] = await _run(ask, lanes, count)
        found["memory_mb"] = (psutil.Process().memory_info().rss - before) / 1e6
        return found

    with tempfile.TemporaryDirectory() as home:
        os.environ["NBLLM_HOME"] = home
        pipe.send(asyncio.run(main()))


async def _run(ask: Ask, lanes: int, count: int) -> dict[str, float]:
    left = iter(range(count))

    async def lane() -> None:
        for _ in left:
            assert await ask() == TEXT

    began, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*[lane() for _ in range(lanes)])
    return {
        "per_second": count / (time.perf_counter() - began),
        "cpu_ms": (time.process_time() - cpu) / count * 1000,
    }


def one_round(context: Any, way: str, url: str, streamed: bool) -> dict[str, Any]:
    """In a process of its own, so that no way inherits memory or connections from another."""
    here, there = context.Pipe()
    process = context.Process(target=measure, args=(there, way, url, streamed))
    process.start()
    found: dict[str, Any] = here.recv()
    process.join()
    return found


def best(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """The most requests a second and the least CPU of all rounds; the most memory."""
    found: dict[str, Any] = {
        str(lanes): {
            "per_second": round(max(r[str(lanes)]["per_second"] for r in rounds), 1),
            "cpu_ms": round(min(r[str(lanes)]["cpu_ms"] for r in rounds), 3),
        }
        for lanes in LANES
    }
    return found | {"memory_mb": round(max(r["memory_mb"] for r in rounds), 1)}


def conditions() -> dict[str, Any]:
    """What the figures depend on."""
    return {
        "date": time.strftime("%Y-%m-%d"),
        "python": platform.python_version(),
        "system": platform.system(),
        "cores": os.cpu_count(),
        "load_average": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
        "httpx2": version("httpx2"),
        "openai": version("openai"),
        "server": f"loopback, plain http, another process, {DELAY_S} s an answer, {AT_ONCE} at once",
        "requests": ", ".join(f"{count} with {lanes} in flight" for lanes, count in LANES.items()),
        "rounds": f"{ROUNDS}, best kept",
    }


def write(found: dict[str, Any]) -> None:
    """As JSON and as a table."""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "requests.json").write_text(json.dumps(found, indent=2) + "\n")
    ideal = {lanes: lanes / DELAY_S for lanes in LANES}
    lines = [
        "# Requests",
        "",
        "Short answers, many at once. *Of ideal*: requests a second over what the server's pause allows. *CPU*: ms a",
        "request, of the asking process. *Memory*: MB more than after the first request, with 100 connections open.",
        "",
        "| answers | way | " + " | ".join(f"{n} in flight, of ideal | CPU" for n in LANES) + " | memory |",
        "| --- " * (3 + 2 * len(LANES)) + "|",
    ]
    for kind in ("streamed", "whole"):
        for way, row in found[kind].items():
            cells = [
                f"{row[str(n)]['per_second'] / ideal[n]:.2f} ({row[str(n)]['per_second']:.0f}/s) | "
                f"{row[str(n)]['cpu_ms']:.2f}"
                for n in LANES
            ]
            lines.append(f"| {kind} | {way} | {' | '.join(cells)} | {row['memory_mb']} |")
    lines += [
        "",
        "Conditions: " + "; ".join(f"{key} {value}" for key, value in found["conditions"].items()) + ".",
        "",
        "Again: `PYTHONPATH=src python benchmarks/request.py`",
        "",
    ]
    (RESULTS / "requests.md").write_text("\n".join(lines))


def main() -> int:
    """Measure, write, and fail when a figure is missed."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    server = context.Process(target=serve, args=(there,), daemon=True)
    server.start()
    found: dict[str, Any] = {"conditions": conditions()}
    try:
        url = f"http://127.0.0.1:{here.recv()}/v1"
        for kind, streamed in (("streamed", True), ("whole", False)):
            rounds: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
            for _ in range(ROUNDS):
                for way in WAYS:
                    rounds[way].append(one_round(context, way, url, streamed))
            found[kind] = {way: best(seen) for way, seen in rounds.items()}
    finally:
        server.terminate()
    write(found)
    print((RESULTS / "requests.md").read_text())
    most = AT_ONCE / DELAY_S
    return 0 if all(found[k]["nbllm"]["100"]["per_second"] >= 0.9 * most for k in ("streamed", "whole")) else 1


if __name__ == "__main__":
    sys.exit(main())
