"""What runs on a worker of a cluster: one shard of cells, each asked as the engine of one process asks it.

A worker gets plain data: cells, and the rows of providers without headers and keys. It finds keys by name in its own
environment or keyring, and never writes to a store. Each answer is told to the driver as it comes, so that a worker
that dies loses only what was under way.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from nbllm import aio
from nbllm.chat.plan import Services
from nbllm.compare.asking import Asker
from nbllm.compare.cells import CellSpec, Outcome
from nbllm.compare.engines.local import LocalEngine
from nbllm.compare.lanes import Lane
from nbllm.errors import ProviderError

Shard = Mapping[str, Any]
"""`id`, `topic`, `cells` (as `CellSpec.to_json`), `rows` (provider id to fields), `at_once`, and `services`: the name
(`module:function`) of what gives the worker's own providers and keys."""


class _ShardDesk:
    """Lets everything through, and tells of each answer."""

    def __init__(self, tell: Callable[[dict[str, Any]], object]) -> None:
        self._tell = tell
        self.came: list[dict[str, Any]] = []

    async def admit(self, specs: Sequence[CellSpec]) -> Sequence[CellSpec]:
        """The driver has admitted them."""
        return specs

    async def settle(self, outcome: Outcome) -> None:
        """Tell the driver."""
        shape = outcome.to_json()
        self.came.append(shape)
        self._tell(shape)

    async def release(self, specs: Sequence[CellSpec]) -> None:
        """The driver releases what does not come back."""

    async def remember(self, name: str, value: str | None) -> None:
        """Nothing is kept here."""

    async def recall(self) -> dict[str, str]:
        """Nothing is kept here."""
        return {}


def run_shard(shard: Shard) -> list[dict[str, Any]]:
    """Ask the cells of a shard; their outcomes as JSON.

    Raises:
        ProviderError: Another worker began this shard and died: the scheduler gives it out again by itself, and asking
            it again would pay twice for what has come. The driver makes a new shard of what is missing.
    """
    from distributed import Event, get_client, get_worker  # noqa: PLC0415  (only on a worker)

    with get_client():
        begun = Event(f"nbllm-{shard['id']}")
        if begun.is_set():
            raise ProviderError("the worker that asked this shard was lost")
        begun.set()
    worker = get_worker()
    services = _services(shard["services"])
    for provider_id, fields in shard["rows"].items():
        services.registry.set_session(provider_id, **fields)
    desk = _ShardDesk(lambda shape: worker.log_event(shard["topic"], shape))
    specs = [CellSpec.from_json(shape) for shape in shard["cells"]]
    aio.run(_ask(services, specs, desk, shard["at_once"]))
    return desk.came


def _services(name: str) -> Services:
    """By name, as functions travel to other processes."""
    module, _, function = name.partition(":")
    found: Services = getattr(importlib.import_module(module), function)()
    return found


async def _ask(services: Services, specs: Sequence[CellSpec], desk: _ShardDesk, at_once: int) -> None:
    lanes: dict[str, Lane] = {}
    engine = LocalEngine(Asker(services), lambda name: lanes.setdefault(name, Lane(cap=at_once)))
    await asyncio.shield(engine.run(specs, desk))
