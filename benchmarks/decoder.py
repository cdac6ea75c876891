"""Tokens a CPU second: our transport and decoder beside plain httpx2 and the openai SDK's own stream.

The same 2,000-event stream comes from a server on loopback, in a process of its own. Counted is the CPU time of the
reading process, reading, decoding and `json.loads` included; the best of the rounds is kept, and the ways take turns.
Also: the time to the first event, warm, median of 50.

    PYTHONPATH=src python benchmarks/decoder.py

Writes benchmarks/results/decoder.json and decoder.md.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import platform
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx2
import openai

from nbllm.providers.spec import ProviderConfig
from nbllm.transport.http import Http
from nbllm.transport.sse import SseDecoder, parse_object

CHUNKS = 2000
RESULTS = Path(__file__).parent / "results"


def event(index: int) -> bytes:
    """One chunk as OpenAI's servers send it."""
    chunk = {
        "id": "chatcmpl-9x2f",
        "object": "chat.completion.chunk",
        "created": 1795000000,
        "model": "bench-1",
        "choices": [{"index": 0, "delta": {"content": f" word{index}"}, "logprobs": None, "finish_reason": None}],
    }
    return b"data: " + json.dumps(chunk, separators=(",", ":")).encode() + b"\n\n"


FRAMINGS = {"joined": 8192, "apart": 0}
"""How the events travel: joined by a proxy or a buffer into HTTP chunks of so many bytes, or each in one of its own."""


def body(size: int) -> bytes:
    """The whole answer, in HTTP chunks of `size` bytes; 0: one for each event."""
    events = [event(index) for index in range(CHUNKS)] + [b"data: [DONE]\n\n"]
    whole = b"".join(events)
    parts = [whole[at : at + size] for at in range(0, len(whole), size)] if size else events
    return b"".join(f"{len(part):x}\r\n".encode() + part + b"\r\n" for part in parts) + b"0\r\n\r\n"


def serve(ready: Any) -> None:
    """Answer every request of every connection with the stream."""
    top = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    answers = {name: top + body(size) for name, size in FRAMINGS.items()}

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                framing = head.split(b"/", 2)[1].decode()
                for line in head.lower().split(b"\r\n"):
                    if line.startswith(b"content-length:"):
                        await reader.readexactly(int(line.split(b":")[1]))
                writer.write(answers[framing])
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def main() -> None:
        server = await asyncio.start_server(handle, "127.0.0.1", 0)
        ready.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(main())


Read = Callable[[], Awaitable[int]]
MESSAGE = {"model": "bench-1", "messages": [{"role": "user", "content": "go"}], "stream": True}


def ways(url: str, http: Http, plain: httpx2.AsyncClient, sdk: openai.AsyncOpenAI) -> dict[str, Read]:
    """Each gives the number of pieces of text that it read."""
    row = ProviderConfig(id="bench", base_url=url, auth="none")

    async def plain_lines() -> int:
        count = 0
        async with plain.stream("POST", url + "/chat/completions", json=MESSAGE) as response:
            async for line in response.aiter_lines():
                if line.startswith("data: ") and line != "data: [DONE]":
                    count += bool(json.loads(line[6:])["choices"][0]["delta"]["content"])
        return count

    async def ours() -> int:
        count = 0
        decoder = SseDecoder()
        async with http.stream("POST", url + "/chat/completions", provider=row, key=None, json=MESSAGE) as response:
            async for chunk in response.aiter_bytes():
                for found in decoder.feed(chunk):
                    if found.data != "[DONE]":
                        count += bool(parse_object(found.data, provider="bench")["choices"][0]["delta"]["content"])
        return count

    async def sdk_stream() -> int:
        count = 0
        async for chunk in await sdk.chat.completions.create(**MESSAGE):  # type: ignore[call-overload]
            count += bool(chunk.choices[0].delta.content)
        return count

    return {"httpx2, lines + json": plain_lines, "nbllm": ours, "openai, its own stream": sdk_stream}


async def measure(read: Read, seconds: float) -> float:
    """Tokens a CPU second."""
    tokens, end, cpu = 0, time.monotonic() + seconds, time.process_time()
    while time.monotonic() < end:
        tokens += await read()
    return tokens / (time.process_time() - cpu)


async def first_event_ms(url: str, http: Http, plain: httpx2.AsyncClient) -> dict[str, float]:
    """Median milliseconds until the first event is there as an object."""
    row = ProviderConfig(id="bench", base_url=url, auth="none")

    async def plain_first() -> None:
        async with plain.stream("POST", url + "/chat/completions", json=MESSAGE) as response:
            async for line in response.aiter_lines():
                json.loads(line[6:])
                return

    async def our_first() -> None:
        decoder = SseDecoder()
        async with http.stream("POST", url + "/chat/completions", provider=row, key=None, json=MESSAGE) as response:
            async for chunk in response.aiter_bytes():
                for found in decoder.feed(chunk):
                    parse_object(found.data, provider="bench")
                    return

    spans: dict[str, list[float]] = {"httpx2": [], "nbllm": []}
    for _ in range(60):
        for name, first in (("httpx2", plain_first), ("nbllm", our_first)):
            begin = time.perf_counter()
            await first()
            spans[name].append((time.perf_counter() - begin) * 1000)
    return {name: round(statistics.median(found[10:]), 3) for name, found in spans.items()}


async def run(port: int, rounds: int, seconds: float) -> dict[str, Any]:
    """All ways in turn, `rounds` times, for each framing."""
    found: dict[str, Any] = {}
    http = Http()
    async with httpx2.AsyncClient(trust_env=False) as plain:
        for framing in FRAMINGS:
            url = f"http://127.0.0.1:{port}/{framing}/v1"
            sdk = openai.AsyncOpenAI(api_key="none", base_url=url, max_retries=0)
            found[framing] = summary(await compare(ways(url, http, plain, sdk), rounds, seconds))
            await sdk.close()
        found["first_event_ms"] = await first_event_ms(url, http, plain)
    await http.aclose()
    return found


async def compare(all_ways: dict[str, Read], rounds: int, seconds: float) -> dict[str, float]:
    """The best round of each way."""
    for name, read in all_ways.items():
        assert await read() == CHUNKS, name
    best = dict.fromkeys(all_ways, 0.0)
    for _ in range(rounds):
        for name, read in all_ways.items():
            best[name] = max(best[name], await measure(read, seconds))
    return best


def summary(best: dict[str, float]) -> dict[str, Any]:
    """Rates, and what they are of plain httpx2 and of the SDK."""
    base = best["httpx2, lines + json"]
    return {
        "tokens_per_cpu_s": {name: round(value) for name, value in best.items()},
        "share": {name: round(value / base, 3) for name, value in best.items()},
        "times_the_sdk": round(best["nbllm"] / best["openai, its own stream"], 1),
    }


def conditions(rounds: int, seconds: float) -> dict[str, Any]:
    """What the figures depend on."""
    return {
        "date": time.strftime("%Y-%m-%d"),
        "python": platform.python_version(),
        "system": platform.system(),
        "cores": os.cpu_count(),
        "load_average": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
        "httpx2": version("httpx2"),
        "openai": version("openai"),
        "stream": f"{CHUNKS} events of {len(event(1000))} bytes, loopback, server in another process",
        "rounds": f"{rounds} of {seconds:g} s each, best kept",
    }


def write(found: dict[str, Any]) -> None:
    """As JSON and as a table."""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "decoder.json").write_text(json.dumps(found, indent=2) + "\n")
    joined, apart = found["joined"], found["apart"]
    rows = [
        f"| {name} | {joined['tokens_per_cpu_s'][name]:,} | {joined['share'][name]:.2f} "
        f"| {apart['tokens_per_cpu_s'][name]:,} | {apart['share'][name]:.2f} |"
        for name in joined["share"]
    ]
    first = found["first_event_ms"]
    lines = [
        "# Reading a stream",
        "",
        "Tokens a CPU second of the reading process. *Joined*: events arrive in HTTP chunks of 8 kB. *Apart*: each in",
        "a HTTP chunk of its own, where taking the chunks apart (h11, the same for all three) costs most of the time.",
        "",
        "| path | joined | share | apart | share |",
        "| --- | --- | --- | --- | --- |",
        *rows,
        "",
        f"nbllm reads {joined['times_the_sdk']} (joined) and {apart['times_the_sdk']} (apart) times as many as the "
        "openai SDK's own stream.",
        f"First event, median of 50, warm: httpx2 {first['httpx2']} ms, nbllm {first['nbllm']} ms.",
        "",
        "Conditions: " + "; ".join(f"{key} {value}" for key, value in found["conditions"].items()) + ".",
        "",
        "Again: `PYTHONPATH=src python benchmarks/decoder.py`",
        "",
    ]
    (RESULTS / "decoder.md").write_text("\n".join(lines))


def main() -> int:
    """Measure, write, and fail when a figure is missed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0)
    args = parser.parse_args()
    here, there = multiprocessing.get_context("spawn").Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(there,), daemon=True)
    server.start()
    try:
        found = asyncio.run(run(here.recv(), args.rounds, args.seconds))
    finally:
        server.terminate()
    found["conditions"] = conditions(args.rounds, args.seconds)
    write(found)
    print(json.dumps(found, indent=2))
    late = found["first_event_ms"]["nbllm"] - found["first_event_ms"]["httpx2"]
    enough = all(found[framing]["share"]["nbllm"] >= 0.8 for framing in FRAMINGS)
    return 0 if enough and found["joined"]["times_the_sdk"] >= 10 and late < 3 else 1


if __name__ == "__main__":
    sys.exit(main())
