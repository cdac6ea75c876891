"""Read by mypy, never run: what a user's editor knows of the public names."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import assert_type

import nbllm
from nbllm.compare.comparison import Comparison
from nbllm.compare.pictures import Svg
from nbllm.connection.overview import ProviderTable
from nbllm.connection.result import ConnectionCheck
from nbllm.conversations import Conversation
from nbllm.providers.registry import Registry
from nbllm.tables import Table
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

# ---------------------------------------------------------------- comparisons

compared = nbllm.compare("hi", ["demo/guide", "demo/echo"], repeats=3, params={"temperature": [0, 1]}, budget_usd=2.5)
assert_type(compared, Comparison)
assert_type(nbllm.compare(["hi", "ho"], "demo/echo", name="study", engine="dask", resume=True), Comparison)
assert_type(nbllm.comparison("study"), Comparison)
assert_type(compared.cells, Table)
assert_type(compared.summary(group="topic"), Table)
assert_type(compared.stats("a", "b"), Table)
assert_type(compared.ranking("votes"), Table)
assert_type(compared.plot("scores"), Svg)
assert_type(compared.score("exact:right", lambda reply, case: 1.0), Comparison)
assert_type(compared.judge("demo/guide"), Comparison)
assert_type(compared.resume(), Comparison)
assert_type(compared.retry_errors(), Comparison)
assert_type(compared.to_csv("cells.csv"), Path)
assert_type(compared.notes, list[str])


async def ask_many() -> None:
    """The awaited form."""
    assert_type(await nbllm.acompare("hi", ["demo/guide", "demo/echo"], repeats=2), Comparison)


nbllm.compare("hi")  # type: ignore[call-arg]
nbllm.compare("hi", ["demo/echo"], engine="ray")  # type: ignore[arg-type]
