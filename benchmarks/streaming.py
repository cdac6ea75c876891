"""The whole way of an answer: tokens a CPU second, and time to the first token, beside plain httpx2 and the openai SDK.

The same stream as in decoder.py. *adapter* is `OpenAIAdapter.stream`; *chat* is `Workspace.ask().deltas()` on the
calling thread, with the conversation read before and committed to SQLite after each answer; *achat* is the same,
awaited.

    PYTHONPATH=src python benchmarks/streaming.py

Writes benchmarks/results/streaming.json and streaming.md; exit status 1 when a figure is missed.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import httpx2
import openai
from decoder import CHUNKS, FRAMINGS, MESSAGE, RESULTS, conditions, serve

from nbllm.adapters.base import Endpoint
from nbllm.adapters.openai import OpenAIAdapter
from nbllm.chat.options import ChatOptions
from nbllm.messages import ChatRequest, Message
from nbllm.transport.http import Http
from nbllm.workspace import Workspace

ROUNDS, SECONDS, FIRSTS = 5, 1.0, 50
OPTIONS = ChatOptions(model="bench/bench-1", history=False)


def ways(url: str, workspace: Workspace) -> dict[str, Callable[[], int]]:
    """Each reads one answer and gives the number of words that arrived."""
    row = workspace.registry.set_session("bench", base_url=url, kind="openai", auth="none")
    loop = asyncio.new_event_loop()
    plain, sdk, http = (
        httpx2.AsyncClient(trust_env=False),
        openai.AsyncOpenAI(api_key="none", base_url=url, max_retries=0),
        Http(),
    )
    request = ChatRequest("bench", "bench-1", (Message.user("go"),))
    adapter, endpoint = OpenAIAdapter(), Endpoint(row, None, http)

    async def plain_lines() -> int:
        count = 0
        async with plain.stream("POST", url + "/chat/completions", json=MESSAGE) as response:
            async for line in response.aiter_lines():
                if line.startswith("data: ") and line != "data: [DONE]":
                    count += bool(json.loads(line[6:])["choices"][0]["delta"]["content"])
        return count

    async def by_adapter() -> int:
        return sum([d.text.count("word") async for d in adapter.stream(request, endpoint)])

    async def by_achat() -> int:
        return sum([d.text.count("word") async for d in workspace.astream("go", OPTIONS)])

    def by_chat() -> int:
        with workspace.ask("go", OPTIONS) as run:
            return sum(d.text.count("word") for d in run.deltas())

    async def sdk_stream() -> int:
        count = 0
        async for chunk in await sdk.chat.completions.create(**MESSAGE):  # type: ignore[call-overload]
            count += bool(chunk.choices[0].delta.content)
        return count

    def on_loop(read: Callable[[], Any]) -> Callable[[], int]:
        return lambda: loop.run_until_complete(read())

    return {
        "httpx2, lines + json": on_loop(plain_lines),
        "nbllm, adapter": on_loop(by_adapter),
        "nbllm, chat": by_chat,
        "nbllm, achat": on_loop(by_achat),
        "openai, its own stream": on_loop(sdk_stream),
    }


def rate(read: Callable[[], int]) -> float:
    """Tokens a CPU second, of all threads."""
    tokens, end, cpu = 0, time.monotonic() + SECONDS, time.process_time()
    while time.monotonic() < end:
        tokens += read()
    return tokens / (time.process_time() - cpu)


def best_rates(all_ways: dict[str, Callable[[], int]]) -> dict[str, float]:
    """The best round of each; the ways take turns."""
    for name, read in all_ways.items():
        assert read() == CHUNKS, name
    best = dict.fromkeys(all_ways, 0.0)
    for _ in range(ROUNDS):
        for name, read in all_ways.items():
            best[name] = max(best[name], rate(read))
    return best


def first_tokens_ms(url: str, workspace: Workspace) -> dict[str, float]:
    """Median milliseconds from asking to the first token in hand, warm."""
    workspace.registry.set_session("bench", base_url=url, kind="openai", auth="none")
    loop, plain = asyncio.new_event_loop(), httpx2.AsyncClient(trust_env=False)

    async def raw() -> float:
        begin = time.perf_counter()
        async with plain.stream("POST", url + "/chat/completions", json=MESSAGE) as response:
            took = 0.0
            async for line in response.aiter_lines():
                if not took:
                    json.loads(line[6:])
                    took = time.perf_counter() - begin
        return took

    def ours() -> float:
        begin, took = time.perf_counter(), 0.0
        with workspace.ask("go", OPTIONS) as run:
            for delta in run.deltas():
                took = took or (time.perf_counter() - begin if delta.text else 0.0)
        return took

    spans: dict[str, list[float]] = {"httpx2": [], "nbllm, chat": []}
    for _ in range(FIRSTS + 10):
        spans["httpx2"].append(loop.run_until_complete(raw()) * 1000)
        spans["nbllm, chat"].append(ours() * 1000)
    return {name: round(statistics.median(found[10:]), 2) for name, found in spans.items()}


def write(found: dict[str, Any]) -> None:
    """As JSON and as a table."""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "streaming.json").write_text(json.dumps(found, indent=2) + "\n")
    names = list(found["joined"])
    base = {framing: found[framing][names[0]] for framing in FRAMINGS}
    rows = [
        f"| {n} | " + " | ".join(f"{found[f][n]:,.0f} | {found[f][n] / base[f]:.2f}" for f in FRAMINGS) + " |"
        for n in names
    ]
    lines = [
        "# A whole answer",
        "",
        "Tokens a CPU second of the reading process, all its threads. *Joined*: events arrive in HTTP chunks of 8 kB;",
        "*apart*: each in a chunk of its own. *chat* and *achat* include the conversation, read before and committed",
        "to SQLite after.",
        "",
        "| path | joined | share | apart | share |",
        "| --- | --- | --- | --- | --- |",
        *rows,
        "",
        "Time to the first token, warm, median of 50: "
        + ", ".join(f"{name} {ms} ms" for name, ms in found["first_token_ms"].items())
        + ".",
        "",
        "Conditions: " + "; ".join(f"{key} {value}" for key, value in found["conditions"].items()) + ".",
        "",
        "Again: `PYTHONPATH=src python benchmarks/streaming.py`",
        "",
    ]
    (RESULTS / "streaming.md").write_text("\n".join(lines))


def main() -> int:
    """Measure, write, and fail when a figure is missed."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    server = context.Process(target=serve, args=(there,), daemon=True)
    server.start()
    with tempfile.TemporaryDirectory() as home:
        os.environ["NBLLM_HOME"] = home
        workspace = Workspace()
        try:
            port = here.recv()
            found: dict[str, Any] = {
                framing: best_rates(ways(f"http://127.0.0.1:{port}/{framing}/v1", workspace)) for framing in FRAMINGS
            }
            found["first_token_ms"] = first_tokens_ms(f"http://127.0.0.1:{port}/apart/v1", workspace)
        finally:
            server.terminate()
            workspace.close()
    found["conditions"] = conditions(ROUNDS, SECONDS)
    write(found)
    print((RESULTS / "streaming.md").read_text())
    joined = found["joined"]
    enough = all(found[f]["nbllm, adapter"] >= 0.8 * found[f]["httpx2, lines + json"] for f in FRAMINGS)
    late = found["first_token_ms"]["nbllm, chat"] - found["first_token_ms"]["httpx2"]
    return 0 if enough and joined["nbllm, adapter"] >= 10 * joined["openai, its own stream"] and late <= 3 else 1


if __name__ == "__main__":
    sys.exit(main())
