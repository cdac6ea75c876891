"""A chat with a model file, all the way: file, child process, adapter, deltas."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import tiny_gguf
from nbllm import aio
from nbllm.adapters import load_adapter
from nbllm.adapters.base import Endpoint
from nbllm.errors import StreamBrokenError, UnreachableError
from nbllm.local.servers import LocalServers
from nbllm.messages import ChatRequest, Delta, FinishReason, Message
from nbllm.providers.spec import ProviderConfig
from nbllm.transport.http import Http

REQUEST = ChatRequest("mine", "tiny", (Message.user("Tell me something."),), max_tokens=8)


@pytest.fixture
def row(tmp_path: Path) -> ProviderConfig:
    path = tiny_gguf.write(tmp_path / "tiny.gguf", words_before_stop=1e9)
    return ProviderConfig.model_validate({"id": "mine", "gguf": str(path), "serve": {"context": 4096}})


@pytest.fixture
def servers() -> Iterator[LocalServers]:
    kept = LocalServers()
    yield kept
    kept.close()


async def chat(servers: LocalServers, row: ProviderConfig, request: ChatRequest, *, kill: bool = False) -> list[Delta]:
    """The deltas; with `kill` the child is killed as soon as the first text is there."""
    served, key = await servers.serve(row)
    http = Http(environ={})
    deltas: list[Delta] = []
    try:
        async for delta in load_adapter(served.kind).stream(request, Endpoint(served, key, http)):
            deltas.append(delta)
            if kill and delta.text:
                os.kill(servers.running()["mine"], signal.SIGKILL)
                kill = False
    finally:
        await http.aclose()
    return deltas


def test_a_model_file_answers_in_a_stream(servers: LocalServers, row: ProviderConfig) -> None:
    deltas = aio.run(chat(servers, row, REQUEST))

    assert "".join(d.text for d in deltas).strip()
    assert [d.finish_reason for d in deltas if d.finish_reason] == [FinishReason.LENGTH]
    assert [d.usage for d in deltas if d.usage][-1].output_tokens == 8


def test_the_listing_of_the_child_and_of_the_file_agree(servers: LocalServers, row: ProviderConfig) -> None:
    async def listed() -> list[str]:
        served, key = await servers.serve(row)
        http = Http(environ={})
        models = await load_adapter(served.kind).list_models(Endpoint(served, key, http))
        await http.aclose()
        return [m.id for m in models]

    assert aio.run(listed()) == ["tiny"]


def test_a_crash_in_the_middle_of_an_answer_is_an_error_and_the_next_answer_comes(
    servers: LocalServers, row: ProviderConfig
) -> None:
    with pytest.raises((StreamBrokenError, UnreachableError)):
        aio.run(chat(servers, row, replace(REQUEST, max_tokens=4000), kill=True))

    deltas = aio.run(chat(servers, row, REQUEST))

    assert deltas[-1].finish_reason or any(d.finish_reason for d in deltas)
