"""What runs on a worker of a cluster: one shard of cells, each asked as the engine of one process asks it.

A worker gets plain data: cells, and the rows of providers without headers and keys. It finds keys by name in its own
environment or keyring, and never writes to a store. Each answer is told to the driver as it comes, so that a worker
that dies loses only what was under way.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import importlib
import json
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from nbllm import aio
from nbllm.chat.plan import Services
from nbllm.compare.asking import Asker
from nbllm.compare.cells import CellSpec, Outcome
from nbllm.compare.engines.local import LocalEngine
from nbllm.compare.lanes import Lane
from nbllm.errors import ProviderError, RegistryError

Shard = Mapping[str, Any]
"""`id`, `topic`, `cells` (as `CellSpec.to_json`), `rows` (provider id to fields), `at_once`, `driver` (its process),
and `services`: the name (`module:function`) of what gives the worker's own providers and keys."""

_LOOK_S = 0.5
"""A worker looks this often whether its shard is still wanted."""

_lanes: dict[str, dict[str, Lane]] = {}
"""Of the run that was served last, by provider: its next shard goes on at the pace that was found."""


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


def run_shard(payload: str) -> list[dict[str, Any]]:
    """Ask the cells of a shard, which comes as JSON; their outcomes as JSON.

    Raises:
        ProviderError: Another worker began this shard and died: the scheduler gives it out again by itself, and asking
            it again would pay twice for what has come. The driver makes a new shard of what is missing.
    """
    from distributed import get_worker  # noqa: PLC0415  (only on a worker)

    shard: Shard = json.loads(payload)
    worker = get_worker()
    if _began_before(worker, shard["id"]):
        raise ProviderError("the worker that asked this shard was lost")
    services = _services(shard["services"])
    _learn(services, shard["rows"], at_home=shard["driver"] == this_process())
    desk = _ShardDesk(lambda shape: worker.log_event(shard["topic"], shape))
    specs = [CellSpec.from_json(shape) for shape in shard["cells"]]
    asking = aio.submit(_ask(services, specs, desk, _lanes_of(shard["topic"]), shard["at_once"]))
    _wait_while_wanted(asking, worker, worker.get_current_task())
    return desk.came


def this_process() -> str:
    """A name of this process."""
    return f"{platform.node()}#{os.getpid()}"


def _learn(services: Services, rows: Mapping[str, Mapping[str, Any]], *, at_home: bool) -> None:
    """Take the driver's rows, as far as they are not known here: a key belongs to where the worker's own row points.

    In a cluster of threads all is known, and the limits are those of the whole process.
    """
    for provider_id, fields in rows.items():
        known = _known(services, provider_id)
        new = {name: value for name, value in fields.items() if known.get(name) != value}
        if at_home and known.get("base_url") == fields.get("base_url"):
            continue
        if new:
            services.registry.set_session(provider_id, **new)


def _known(services: Services, provider_id: str) -> Mapping[str, Any]:
    try:
        return services.registry.get(provider_id).model_dump(mode="json")
    except RegistryError:
        return {}


def _wait_while_wanted(asking: concurrent.futures.Future[None], worker: Any, task: Any) -> None:
    """Until it is done, or the scheduler has let go of the task: the driver gave it up, or died.

    A thread cannot be cancelled, so without this a shard would be asked to its end, and paid for, for nobody.
    """
    while not concurrent.futures.wait({asking}, timeout=_LOOK_S).done:
        known = worker.state.tasks.get(task)
        if known is None or known.state == "cancelled":
            asking.cancel()
            return
    asking.result()


def _began_before(worker: Any, shard_id: str) -> bool:
    """Whether a worker has begun this shard, which is marked as begun by this call.

    An event of `distributed`, set by the worker's own line to the scheduler: a client on the worker would be another
    connection, and in a cluster of threads it would be the driver's.
    """

    async def mark() -> bool:
        name = f"nbllm-{shard_id}"
        if await worker.scheduler.event_is_set(name=name):
            return True
        await worker.scheduler.event_set(name=name)
        return False

    return asyncio.run_coroutine_threadsafe(mark(), worker.loop.asyncio_loop).result()


def _services(name: str) -> Services:
    """By name, as functions travel to other processes."""
    module, _, function = name.partition(":")
    found: Services = getattr(importlib.import_module(module), function)()
    return found


def _lanes_of(run: str) -> dict[str, Lane]:
    if run not in _lanes:
        _lanes.clear()
    return _lanes.setdefault(run, {})


async def _ask(
    services: Services, specs: Sequence[CellSpec], desk: _ShardDesk, lanes: dict[str, Lane], at_once: int
) -> None:
    engine = LocalEngine(Asker(services), lambda name: lanes.setdefault(name, Lane(cap=at_once)))
    await engine.run(specs, desk)
