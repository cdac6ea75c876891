"""Tokens a CPU second of the whole OpenAI adapter, beside plain httpx2 and the openai SDK's own stream.

The server and the ways of `decoder.py`, and one more: `OpenAIAdapter.stream`, from the request to the deltas. To be
at least 0.8 of plain lines + json, and 10 times the SDK's own stream, where events travel joined.

    PYTHONPATH=src python benchmarks/adapter.py

Prints; ratios are of the best round of each way, and the ways take turns.
"""

from __future__ import annotations

import asyncio
import multiprocessing

import httpx2
import openai
from decoder import CHUNKS, FRAMINGS, Read, compare, serve, ways

from nbllm.adapters import load_adapter
from nbllm.adapters.base import Endpoint
from nbllm.messages import ChatRequest, Message
from nbllm.providers.spec import ProviderConfig
from nbllm.transport.http import Http

REQUEST = ChatRequest("bench", "bench-1", (Message.user("go"),))


def whole_adapter(url: str, http: Http) -> Read:
    """The adapter; counts words, since adjacent pieces come as one delta."""
    endpoint = Endpoint(ProviderConfig(id="bench", base_url=url, auth="none"), None, http)
    adapter = load_adapter("openai")

    async def read() -> int:
        text = [delta.text async for delta in adapter.stream(REQUEST, endpoint)]
        count = "".join(text).count("word")
        assert count == CHUNKS
        return count

    return read


async def run(port: int) -> None:
    """Both framings, one after the other."""
    for framing in FRAMINGS:
        url = f"http://127.0.0.1:{port}/{framing}"
        http = Http()
        async with httpx2.AsyncClient() as plain, openai.AsyncOpenAI(api_key="none", base_url=url) as sdk:
            kept = ways(url, http, plain, sdk)
            best = await compare({**kept, "nbllm, adapter": whole_adapter(url, http)}, 4, 0.7)
        await http.aclose()
        ours = best["nbllm, adapter"]
        print(f"events {framing}")
        for name, tokens in best.items():
            print(f"  {name:24} {tokens:10.0f} tokens a CPU second; the adapter has {ours / tokens:.2f} of it")


def main() -> None:
    """Start the server in a process of its own, measure, end it."""
    here, there = multiprocessing.Pipe()
    server = multiprocessing.Process(target=serve, args=(there,), daemon=True)
    server.start()
    asyncio.run(run(here.recv()))
    server.terminate()


if __name__ == "__main__":
    main()
