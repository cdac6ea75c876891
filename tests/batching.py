"""The batch engine in tests: cells to ask, a desk that keeps them in memory, and time that does not pass."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from batch_server import BatchServer
from nbllm.adapters.base import Endpoint
from nbllm.compare.cells import CellSpec, Outcome
from nbllm.compare.engines.batch import BatchEngine
from nbllm.credentials.secret import Secret
from nbllm.errors import BudgetError
from nbllm.messages import ChatRequest, Message
from nbllm.providers.spec import ProviderConfig
from nbllm.transport.http import Http

KINDS = ("openai", "anthropic")


def spec(prompt: str, *, provider: str = "openai", model: str = "m", **fields: Any) -> CellSpec:
    """A cell that asks `prompt`."""
    request = ChatRequest(provider, model, (Message.user(prompt),), max_tokens=20, **fields)
    name = f"{provider}/{model}/{prompt}".encode("utf-8", "surrogatepass")
    return CellSpec(hashlib.sha256(name).hexdigest(), request)


def specs(count: int, **fields: Any) -> list[CellSpec]:
    """That many cells, with prompts `p0`, `p1`, ..."""
    return [spec(f"p{n}", **fields) for n in range(count)]


@dataclass
class MemoryDesk:
    """A desk whose store is in memory: `words` and `outcomes` are what another process would find."""

    words: dict[str, str] = field(default_factory=dict)
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    admitted: list[str] = field(default_factory=list)
    released: list[str] = field(default_factory=list)
    settled: list[str] = field(default_factory=list)
    """Keys in the order they were settled, each time they were."""
    budget: int | None = None
    """Cells that may be admitted in all."""
    taken: set[str] = field(default_factory=set)
    """Keys that another process has."""
    on_settle: Callable[[Outcome], None] | None = None
    on_remember: Callable[[str, str | None], None] | None = None

    async def admit(self, specs: Sequence[CellSpec]) -> Sequence[CellSpec]:
        free = [s for s in specs if s.key not in self.taken]
        if self.budget is not None and len(self.admitted) + len(free) > self.budget:
            raise BudgetError("the next one does not fit")
        self.admitted += [s.key for s in free]
        return free

    async def settle(self, outcome: Outcome) -> None:
        if self.on_settle is not None:
            self.on_settle(outcome)
        self.settled.append(outcome.key)
        self.outcomes[outcome.key] = outcome

    async def release(self, specs: Sequence[CellSpec]) -> None:
        self.released += [s.key for s in specs]

    async def remember(self, name: str, value: str | None) -> None:
        if self.on_remember is not None:
            self.on_remember(name, value)
        if value is None:
            self.words.pop(name, None)
        else:
            self.words[name] = value

    async def recall(self) -> dict[str, str]:
        return dict(self.words)

    def texts(self, specs: Sequence[CellSpec]) -> list[str]:
        return [self.outcomes[s.key].text for s in specs]

    def errors(self) -> dict[str, str | None]:
        """Key to the class of its error."""
        return {k: o.error_type for k, o in self.outcomes.items() if o.status == "error"}


def row(server: BatchServer, kind: str = "openai", **fields: Any) -> ProviderConfig:
    """A provider at this server, whose id is its kind."""
    base_url = server.origin if kind == "anthropic" else server.url
    auth = "x-api-key" if kind == "anthropic" else "bearer"
    return ProviderConfig(**{"id": kind, "kind": kind, "base_url": base_url, "auth": auth, "local": True, **fields})


@dataclass
class Batching:
    """An engine, and what it said. Waits take no time, and are kept in `waits`."""

    rows: dict[str, ProviderConfig]
    key: str | None = None
    news: list[str] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    http: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    during: Callable[[], Any] | None = None
    """Called at each wait."""

    async def _sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        if self.during is not None:
            self.during()
        await asyncio.sleep(0)

    def _do(self, ask: Callable[[BatchEngine], Any]) -> Any:
        async def main() -> Any:
            http = Http(**self.http)
            secret = Secret(self.key) if self.key else None
            try:
                engine = BatchEngine(
                    lambda id: Endpoint(self.rows[id], secret, http),
                    on_news=self.news.append,
                    sleep=self._sleep,
                    **self.options,
                )
                return await ask(engine)
            finally:
                await http.aclose()

        return asyncio.run(main())

    def run(self, cells: Sequence[CellSpec], desk: MemoryDesk) -> None:
        """One process, from start to end."""
        self._do(lambda engine: engine.run(cells, desk))

    def cancel(self, desk: MemoryDesk) -> list[str]:
        stopped: list[str] = self._do(lambda engine: engine.cancel(desk))
        return stopped


def batching(server: BatchServer, *, key: str | None = None, **options: Any) -> Batching:
    """An engine whose providers `openai` and `anthropic` are at this server."""
    return Batching({kind: row(server, kind) for kind in KINDS}, key, options=options)


# ---------------------------------------------------------------- processes that end


class Killed(BaseException):
    """The process is gone: nothing is tidied up after it."""


def killed_when(told: Callable[[str, str | None], bool]) -> Callable[[str, str | None], None]:
    """A desk's `on_remember` at which the process ends."""

    def remember(name: str, value: str | None) -> None:
        if told(name, value):
            raise Killed

    return remember


def has_id(name: str, value: str | None) -> bool:
    return value is not None and json.loads(value)["id"] is not None


def killed(run: Callable[[], Any]) -> None:
    with pytest.raises(Killed):
        run()


def interrupted(server: BatchServer, cells: Any, desk: MemoryDesk) -> Any:
    """An engine that was cancelled at its first wait."""
    asker = batching(server)
    tasks: list[asyncio.Task[Any]] = []

    def stop() -> None:
        for task in asyncio.all_tasks():
            if task is tasks[0]:
                task.cancel()

    asker.during = stop
    run = asker._do

    def remembering(ask: Any) -> Any:
        async def main(engine: Any) -> Any:
            tasks.append(asyncio.current_task())  # type: ignore[arg-type]
            return await ask(engine)

        return run(main)

    asker._do = remembering  # type: ignore[method-assign]
    with pytest.raises(asyncio.CancelledError):
        asker.run(cells, desk)
    return asker


def origin(server: BatchServer) -> str:
    return f"http://127.0.0.1:{server.port}"
