"""Streams of Gemini and Ollama, broken in every way and stopped in the middle."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest

from fuzz import mutate
from nbllm.adapters.base import Adapter, Endpoint
from nbllm.adapters.gemini import GeminiAdapter
from nbllm.adapters.ollama import OllamaAdapter
from nbllm.errors import NbllmError, StreamBrokenError
from nbllm.providers.spec import ProviderConfig
from nbllm.reply_builder import ReplyBuilder
from nbllm.transport.http import Http
from unit.adapters.native import ORIGIN, ask, row, sends


@dataclass(frozen=True)
class Format:
    id: str
    adapter: Adapter
    provider: ProviderConfig
    good: tuple[bytes, ...]


GEMINI_TEXT = (
    b'data: {"candidates": [{"content": {"parts": [{"text": "Gr\xc3\xbc\xc3\x9fe "}], "role": "model"}}]}\r\n\r\n'
    b'data: {"candidates": [{"content": {"parts": [{"text": "\xf0\x9f\x8c\x8d"}]}, "finishReason": "STOP"}],'
    b' "usageMetadata": {"promptTokenCount": 1, "totalTokenCount": 3}, "modelVersion": "m"}\r\n\r\n'
)
GEMINI_CALL = (
    b'data: {"candidates": [{"content": {"parts": [{"text": "hm", "thought": true}]}}]}\n\n'
    b'data: {"candidates": [{"content": {"parts": [{"functionCall": {"name": "f", "args": {"x": [1]}},'
    b' "thoughtSignature": "s"}]}, "finishReason": "STOP"}]}\n\n'
)
GEMINI_ARRAY = (
    b'[{"candidates": [{"content": {"parts": [{"text": "a"}]}}]}\n,\r\n'
    b'{"candidates": [{"content": {"parts": [{"text": "b"}]}, "finishReason": "MAX_TOKENS"}]}]\n'
)
OLLAMA_TEXT = (
    b'{"model": "m", "message": {"role": "assistant", "content": "Gr\xc3\xbc\xc3\x9fe "}, "done": false}\n'
    b'{"model": "m", "message": {"role": "assistant", "content": "\xf0\x9f\x8c\x8d"}, "done": false}\n'
    b'{"model": "m", "message": {"role": "assistant", "content": ""}, "done": true, "done_reason": "stop",'
    b' "prompt_eval_count": 3, "eval_count": 2}\n'
)
OLLAMA_CALL = (
    b'{"message": {"thinking": "hm"}, "done": false}\n'
    b'{"message": {"tool_calls": [{"function": {"name": "f", "arguments": {"x": [1]}}}]}, "done": false}\n'
    b'{"message": {}, "done": true}\n'
)

FORMATS = [
    Format("gemini", GeminiAdapter(), row("gemini"), (GEMINI_TEXT, GEMINI_CALL, GEMINI_ARRAY)),
    Format("ollama", OllamaAdapter(), row("ollama"), (OLLAMA_TEXT, OLLAMA_CALL)),
]


async def collect(form: Format, pieces: list[bytes]) -> tuple[ReplyBuilder, NbllmError | None]:
    http = Http(mounts={ORIGIN: sends(*pieces).transport})
    builder = ReplyBuilder()
    try:
        async with asyncio.timeout(20):
            async for delta in form.adapter.stream(ask(), Endpoint(form.provider, None, http)):
                builder.add(delta)
    except NbllmError as error:
        return builder, error
    finally:
        await http.aclose()
    return builder, None


@pytest.mark.parametrize("form", FORMATS, ids=lambda f: f.id)
def test_a_broken_stream_ends_in_one_of_our_errors_or_with_a_finish_reason(form: Format, campaign: bool) -> None:
    async def go() -> None:
        for seed in range(5000 if campaign else 300):
            broken = mutate(form.good, seed)
            answer, error = await collect(form, broken.chunks)
            assert (error is None) is (answer.finish_reason is not None), f"{form.id}, seed {seed}: {broken.how}"
            if isinstance(error, StreamBrokenError):
                assert error.partial == answer.text, f"{form.id}, seed {seed}: {broken.how}"

    asyncio.run(go())


@pytest.mark.parametrize("form", FORMATS, ids=lambda f: f.id)
def test_a_stream_cut_off_anywhere_before_its_end_is_not_complete(form: Format) -> None:
    async def go() -> None:
        for good in form.good:
            whole, error = await collect(form, [good])
            assert error is None
            for cut in range(len(good.rstrip(b"]\r\n"))):
                answer, error = await collect(form, [good[:cut]])
                assert error is not None, f"{form.id} cut at {cut}"
                assert whole.text.startswith(answer.text)

    asyncio.run(go())


@pytest.mark.parametrize("form", FORMATS, ids=lambda f: f.id)
def test_stopping_closes_the_connection(form: Format) -> None:
    closed: list[bool] = []

    class Endless(httpx2.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            while True:
                yield form.good[0].split(b"\n")[0] + b"\n\n"
                await asyncio.sleep(0)

        async def aclose(self) -> None:
            closed.append(True)

    async def go() -> None:
        transport = httpx2.MockTransport(lambda _: httpx2.Response(200, stream=Endless()))
        http = Http(mounts={ORIGIN: lambda: transport})
        stream: Any = form.adapter.stream(ask(), Endpoint(form.provider, None, http))
        assert (await anext(stream)) is not None
        assert closed == []
        await stream.aclose()
        assert closed == [True]
        await http.aclose()

    asyncio.run(go())
