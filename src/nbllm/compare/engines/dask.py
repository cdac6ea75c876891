"""The engine of a cluster: shards of cells on the workers of a `distributed` scheduler.

A coroutine as a task would hold a worker's thread for as long as it waits, so each task is a whole shard that runs its
own asyncio. Only the driver claims, counts and writes. What a lost worker had answered is there already; what it had
not is asked again in a new shard, so what is paid twice is at most what was under way on that worker (its `at_once`),
and the answers of its last milliseconds that it had not told yet.

A provider's limits are divided: requests and tokens a minute among the workers, which are processes and each keep
their share, and requests at once among the threads, each of which asks one shard.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import uuid
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from nbllm.compare.cells import CellSpec, Outcome
from nbllm.compare.engines.base import Desk
from nbllm.compare.engines.dask_worker import run_shard, this_process
from nbllm.compare.lanes import Lane
from nbllm.errors import MissingKeyError, NbllmError, ProviderError, StoreError, UnreachableError, UnsupportedError
from nbllm.foreign import one_line
from nbllm.providers.spec import ProviderConfig

SHARD = 100
"""Cells of a shard."""
_TRIES = 3
"""A cell goes into this many shards at most: what kills three workers kills the next one too."""
_CONNECT_S = 10.0
_PROCESSES = 4
"""Of a cluster on this machine, or fewer where it has fewer cores: more would only divide the limits further."""

_SHIPPED = (
    "name", "kind", "base_url", "env", "base_url_env", "auth", "key_optional", "params", "extra_body", "quirks",
    "timeout", "confirmed_http",
)  # fmt: skip
"""Fields of a row that a worker is told. Headers may be secrets, and stay here."""


class DaskEngine:
    """Asks cells on a cluster.

    Args:
        cluster: A `distributed.Client`, the address of a scheduler, or None: a cluster of processes on this machine.
        row: A provider's row by its id.
        lane: The lane of a provider.
        services: The name of what gives a worker its own providers and keys.
        on_news: Called with sentences on what happens.
    """

    def __init__(
        self,
        cluster: Any,
        row: Callable[[str], ProviderConfig],
        lane: Callable[[str], Lane],
        *,
        services: str,
        on_news: Callable[[str], object] = lambda _: None,
    ) -> None:
        self._cluster, self._row, self._lane, self._services, self._news = cluster, row, lane, services, on_news

    async def run(self, specs: Sequence[CellSpec], desk: Desk) -> None:
        """Ask each cell once; see `Engine`."""
        async with self._client() as client:
            drive = _Drive(client, desk, self._row, self._lane, self._services, self._news)
            await drive.run(specs)

    @asynccontextmanager
    async def _client(self) -> AsyncIterator[Any]:
        try:
            import distributed  # noqa: PLC0415  (optional, and heavy)
        except ImportError:
            raise UnsupportedError(
                "the engine dask needs the package distributed", hint='pip install "nbllm[dask]"'
            ) from None
        if self._cluster is None:
            # What goes wrong is told by the run; the log of a cluster that nobody else uses is noise in a notebook.
            # No dashboard; the small server for health, which it has in any case, on a free port of loopback.
            own = distributed.LocalCluster(
                n_workers=min(_PROCESSES, os.cpu_count() or 1), threads_per_worker=1, dashboard_address="127.0.0.1:0",
                scheduler_kwargs={"dashboard": False}, silence_logs=logging.CRITICAL, asynchronous=True,
            )  # fmt: skip
            async with own as cluster, distributed.Client(cluster, asynchronous=True, set_as_default=False) as client:
                yield client
            return
        address, security = _address(self._cluster)
        try:
            client = await distributed.Client(
                address, asynchronous=True, timeout=_CONNECT_S, security=security, set_as_default=False
            )
        except (OSError, ValueError) as exc:
            raise UnreachableError(
                f"there is no Dask scheduler at {address}", phase="connect", hint="check the address, and that it runs"
            ) from exc
        async with client:
            yield client


def _address(cluster: Any) -> tuple[str, Any]:
    if isinstance(cluster, str):
        return cluster, None
    scheduler = getattr(cluster, "scheduler", None)
    address = getattr(scheduler, "address", None)
    if not isinstance(address, str):
        raise UnsupportedError(
            f"a {type(cluster).__name__} is no Dask client", hint="give a distributed.Client, or a scheduler's address"
        )
    return address, getattr(cluster, "security", None)


class _Drive:
    """One run on a cluster: which shards are out, and what came back."""

    def __init__(
        self,
        client: Any,
        desk: Desk,
        row: Callable[[str], ProviderConfig],
        lane: Callable[[str], Lane],
        services: str,
        news: Callable[[str], object],
    ) -> None:
        self._client, self._desk, self._row, self._lane, self._news = client, desk, row, lane, news
        self._services = services
        self._topic = f"nbllm-{uuid.uuid4().hex}"
        self._out: dict[str, CellSpec] = {}
        self._tries: dict[str, int] = {}
        self._waiting: deque[list[CellSpec]] = deque()
        self._asking: set[asyncio.Task[None]] = set()
        self._keeping: set[asyncio.Task[None]] = set()
        self._failure: NbllmError | None = None

    async def run(self, specs: Sequence[CellSpec]) -> None:
        self._refuse_files({spec.request.provider for spec in specs})
        self._waiting.extend(_shards(specs))
        self._client.subscribe_topic(self._topic, self._told)
        try:
            await self._ask_all()
        finally:
            self._client.unsubscribe_topic(self._topic)
            for task in self._asking:
                task.cancel()
            await asyncio.gather(*self._asking, return_exceptions=True)
            await asyncio.gather(*self._keeping)
            await self._desk.release(list(self._out.values()))
        if self._failure is not None:
            raise self._failure

    def _refuse_files(self, providers: Iterable[str]) -> None:
        for name in providers:
            if self._row(name).gguf:
                raise UnsupportedError(
                    f"{name} is a file on this machine, which the workers of a cluster cannot ask",
                    hint="leave it out, or use the engine local",
                )

    async def _ask_all(self) -> None:
        threads = await self._client.nthreads()
        while True:
            while self._waiting and len(self._asking) < max(1, sum(threads.values())) and self._failure is None:
                await self._send(self._waiting.popleft(), threads)
            if not self._asking:
                return
            done, self._asking = await asyncio.wait(self._asking, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                if not task.cancelled():
                    task.result()

    async def _send(self, shard: list[CellSpec], threads: Mapping[str, int]) -> None:
        try:
            admitted = list(await self._desk.admit(shard))
        except NbllmError as exc:  # nothing more is let through; what is out is still settled
            self._failure = exc
            return
        if admitted:
            self._out |= {spec.key: spec for spec in admitted}
            self._asking.add(asyncio.create_task(self._ask(admitted, threads)))

    async def _ask(self, shard: Sequence[CellSpec], threads: Mapping[str, int]) -> None:
        future = self._client.submit(run_shard, self._payload(shard, threads), pure=False, retries=0)
        try:
            came = await future
        except asyncio.CancelledError:
            await future.cancel(force=True)  # the worker looks whether its shard is still wanted
            raise
        except Exception as exc:  # noqa: BLE001  (whatever a cluster raises, the other shards go on)
            await self._lost(shard, exc)
            return
        for shape in came:
            self._take(Outcome.from_json(shape))

    def _payload(self, shard: Sequence[CellSpec], threads: Mapping[str, int]) -> str:
        """As one text: in nested data the client would look for futures, 35 ms a shard."""
        providers = dict.fromkeys(spec.request.provider for spec in shard)
        share = max(1, min(self._lane(name).cap for name in providers) // max(1, sum(threads.values())))
        payload = {
            "id": uuid.uuid4().hex,
            "topic": self._topic,
            "cells": [spec.to_json() for spec in shard],
            "rows": {name: self._fields(name, max(1, len(threads))) for name in providers},
            "at_once": share,
            "services": self._services,
            "driver": this_process(),
        }
        return json.dumps(payload, default=str)

    def _fields(self, provider_id: str, workers: int) -> dict[str, Any]:
        """The row as a worker is to have it, with its slice of the rate limit."""
        row = self._row(provider_id).model_dump(mode="json")
        fields = {name: row[name] for name in _SHIPPED if row.get(name) is not None}
        limit = {k: max(1, v // workers) for k, v in (row.get("rate_limit") or {}).items() if v is not None}
        return fields | ({"rate_limit": limit} if limit else {})

    def _told(self, event: Any) -> None:
        """A worker has an answer."""
        self._take(Outcome.from_json(event[1]))

    def _take(self, outcome: Outcome) -> None:
        """Have it kept, beside others: what comes through the client's one line waits for nobody's commit."""
        spec = self._out.pop(outcome.key, None)
        if spec is None:
            return  # it was told before
        if outcome.refused:
            self._lane(spec.request.provider).stop(self._why(spec, outcome))
        task = asyncio.create_task(self._keep(outcome))
        self._keeping.add(task)
        task.add_done_callback(self._keeping.discard)

    def _why(self, spec: CellSpec, outcome: Outcome) -> str:
        said = outcome.error or "refused"
        if outcome.error_type != MissingKeyError.__name__:
            return said
        names = " or ".join(self._row(spec.request.provider).env[:2]) or "its variable"
        return (
            f"{said} on the workers; set {names} in the environment in which they are started, and put a provider of "
            "your own into their config.toml (`%llm_providers export FILE`)"
        )

    async def _keep(self, outcome: Outcome) -> None:
        try:
            await self._desk.settle(outcome)
        except NbllmError as exc:
            self._failure = self._failure or exc
            if isinstance(exc, StoreError):  # nothing can be kept: what is out is not paid for to the end
                for task in self._asking:
                    task.cancel()

    async def _lost(self, shard: Sequence[CellSpec], why: Exception) -> None:
        """What has not come back goes into a new shard; what has is not asked again."""
        missing = [self._out.pop(spec.key) for spec in shard if spec.key in self._out]
        await self._desk.release(missing)
        if not missing:
            return
        self._news(f"a worker was lost; {len(missing)} cells are asked again, some of them paid for twice, perhaps")
        for spec in missing:
            self._tries[spec.key] = self._tries.get(spec.key, 0) + 1
        again = [spec for spec in missing if self._tries[spec.key] < _TRIES]
        if len(again) < len(missing):
            self._failure = self._failure or _given_up(why)
        if again:
            self._waiting.append(again)


def _given_up(why: Exception) -> NbllmError:
    if isinstance(why, ImportError):
        return UnsupportedError(
            f"the workers cannot do it: {one_line(why)}", hint="install the same nbllm where the workers run"
        )
    return ProviderError(
        f"{_TRIES} workers were lost with the same cells: {type(why).__name__}",
        hint="look into the workers' logs; `resume()` asks what is missing",
    )


def _shards(specs: Sequence[CellSpec]) -> list[list[CellSpec]]:
    """In the order of asking, a provider each, since a lane that stops must not take others along."""
    by_provider: dict[str, list[CellSpec]] = {}
    for spec in specs:
        by_provider.setdefault(spec.request.provider, []).append(spec)
    cut = [[specs[start : start + SHARD] for start in range(0, len(specs), SHARD)] for specs in by_provider.values()]
    return [shard for round_ in _interleaved(cut) for shard in round_]


def _interleaved(columns: Sequence[Sequence[list[CellSpec]]]) -> list[list[list[CellSpec]]]:
    longest = max((len(c) for c in columns), default=0)
    return [[column[i] for column in columns if i < len(column)] for i in range(longest)]
