"""Read by mypy, never run: what a user's editor knows of the public names."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import assert_type

import nbllm
from nbllm.connection.overview import ProviderTable
from nbllm.connection.result import ConnectionCheck
from nbllm.conversations import Conversation
from nbllm.providers.registry import Registry
from nbllm.workspace import Workspace

assert_type(nbllm.chat("hi"), nbllm.Reply)
assert_type(nbllm.chat("hi", model="demo/guide", params={"top_p": 1}, new=True).text, str)
assert_type(nbllm.providers(), ProviderTable)
assert_type(nbllm.providers(every=True).as_json()[0]["id"], object)  # type: ignore[assert-type]  # JSON is Any
assert_type(nbllm.check("groq", model="x"), ConnectionCheck)
assert_type(nbllm.conversation("main"), Conversation)
assert_type(nbllm.workspace(), Workspace)
assert_type(nbllm.workspace().registry, Registry)
assert_type(nbllm.Usage(1) + nbllm.Usage(2), nbllm.Usage)
assert_type(nbllm.astream("hi"), AsyncIterator[nbllm.Delta])


async def ask() -> None:
    """The awaited forms."""
    assert_type(await nbllm.achat("hi", model="demo/echo"), nbllm.Reply)
    async for delta in nbllm.astream("hi"):
        assert_type(delta.text, str)


nbllm.chat("hi", modle="x")  # type: ignore[call-arg]
nbllm.chat(1)  # type: ignore[arg-type]
