"""The cells of one comparison in the store: claimed before they are asked, committed as they finish.

What waits is committed together: while one transaction is written, finished cells and new claims gather, and go into
the next one. So each cell is on the disk some milliseconds after it came, at hundreds of cells a second.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Connection, delete, func, insert, select, update

from nbllm.compare.cells import CellSpec, Outcome
from nbllm.compare.owners import LEASE_S, Owner
from nbllm.compare.replies import reply_of
from nbllm.conversations import rows
from nbllm.errors import StoreError
from nbllm.store import Changes, Store, schema

_CHUNK = 400
_APART_S = 0.02
"""Transactions begin at least so far apart: one costs as much for one cell as for ten."""
_cells, _claims, _words = schema.cells, schema.cell_claims, schema.comparison_words


def comparison_id(name: str) -> str:
    """The id of the comparison of this name."""
    return hashlib.sha256(f"comparison\0{name}".encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Claimed:
    """What came of claiming cells."""

    granted: frozenset[str] = frozenset()
    """Keys that are ours to ask."""
    done: Mapping[str, Outcome] = field(default_factory=dict)
    """Cells that another process has finished meanwhile."""


@dataclass(slots=True)
class _Job:
    """Something to be written, and who waits for it."""

    done: asyncio.Future[Claimed]
    wanted: Sequence[str] = ()
    settled: Sequence[dict[str, Any]] = ()
    calls: Sequence[dict[str, Any]] = ()
    released: Sequence[str] = ()


class Ledger:
    """Reads and writes the cells of a comparison, for one run.

    Args:
        store: Where they are.
        name: The comparison's.
        owner: Who claims.
        kernel: An id of this process, for the totals of usage.
        known: What was there when the run was planned, by key. What is there beyond it was done by somebody else since.
    """

    def __init__(
        self, store: Store, name: str, owner: Owner, *, kernel: str, known: Mapping[str, Outcome] | None = None
    ) -> None:
        self._store, self._owner, self._kernel = store, owner, kernel
        self.id = comparison_id(name)
        self._name = name
        self._known = known or {}
        self._durable = store.durable
        self._jobs: list[_Job] = []
        self._writing: asyncio.Task[None] | None = None
        self._renewed_at = time.time()
        self._claimed = False
        self._next_at = 0.0

    # ------------------------------------------------------------ before a run

    def begin(self, design: Mapping[str, Any]) -> None:
        """Keep what is compared."""
        moment = schema.now()

        def build(connection: Connection) -> Changes:
            home = {"id": self.id, "name": self._name, "created_at": moment}
            run = {"id": rows.new_id(), "comparison_id": self.id, "created_at": moment, "design": dict(design)}
            return Changes({"comparisons": [home], "comparison_runs": [run]}, remembered=False)

        self._store.write(build)
        self._check_kept(0)

    def unknown(self) -> int:
        """How many cells were taken by a process that died before it wrote down what came: paid for, perhaps."""

        def look(connection: Connection) -> int:
            found = connection.execute(select(_claims).where(_claims.c.comparison_id == self.id)).all()
            return sum(not self._owner.holds(row.owner, row.until) for row in found)

        return self._store.read(look)

    # ------------------------------------------------------------ during a run

    async def claim(self, keys: Sequence[str]) -> Claimed:
        """Take cells for this run; those that another living one has taken or finished are not granted.

        Raises:
            StoreError: Nothing can be kept any more.
        """
        return await self._submit(wanted=keys)

    async def settle(self, spec: CellSpec, outcome: Outcome, *, estimated_tokens: int | None) -> None:
        """Commit what came of a cell.

        Raises:
            StoreError: It is in memory only.
        """
        call = self._call(spec, outcome)
        row = {
            "id": rows.new_id(),
            "comparison_id": self.id,
            "cell_key": spec.key,
            "created_at": call["created_at"],
            "status": outcome.status,
            "provider": spec.request.provider,
            "model": spec.request.model,
            "request_hash": call["request_hash"],
            "estimated_tokens": estimated_tokens,
            "outcome": outcome.to_json(),
            "asked": _packed(spec),
        }
        await self._submit(settled=[row], calls=[call], released=[spec.key])

    async def release(self, keys: Sequence[str]) -> None:
        """Give claims back."""
        if keys:
            await self._submit(released=keys)

    def _call(self, spec: CellSpec, outcome: Outcome) -> dict[str, Any]:
        """The row for the totals of usage."""
        call = rows.call_of(spec.request, kernel=self._kernel)
        if outcome.status == "ok":
            return call | rows.answered(reply_of(spec.request, outcome)) | {
                "attempts": outcome.attempts, "price_source": outcome.price_version,
            }  # fmt: skip
        return call | {"error_type": outcome.error_type, "attempts": outcome.attempts}

    async def _submit(self, **work: Any) -> Claimed:
        job = _Job(asyncio.get_running_loop().create_future(), **work)
        self._jobs.append(job)
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write())
        return await job.done

    async def _write(self) -> None:
        while self._jobs:
            await self._gather()
            jobs, self._jobs = self._jobs, []
            try:
                claimed = await asyncio.to_thread(self._commit, jobs)
            except Exception as exc:  # noqa: BLE001  (it belongs to each of those who wait)
                for job in jobs:
                    if not job.done.done():
                        job.done.set_exception(exc)
            else:
                for job, result in zip(jobs, claimed, strict=True):
                    if not job.done.done():
                        job.done.set_result(result)

    async def _gather(self) -> None:
        """Where cells come fast, wait a moment for those that may go into the same transaction."""
        clock = asyncio.get_running_loop().time
        if (early := self._next_at - clock()) > 0:
            await asyncio.sleep(early)
        self._next_at = clock() + _APART_S

    async def flush(self) -> None:
        """Wait until everything that was handed in is written, also by those who no longer wait for it."""
        while self._writing is not None and not self._writing.done():
            await asyncio.wait({self._writing})

    async def close(self) -> None:
        """Wait for what is being written, and give back every claim of this run; a later one may ask those cells."""
        await self.flush()
        if self._claimed:
            await asyncio.to_thread(self._store.write, self._without_claims)

    def _without_claims(self, connection: Connection) -> Changes:
        connection.execute(delete(_claims).where(_claims.c.owner == self._owner.name))
        return Changes()

    def _commit(self, jobs: Sequence[_Job]) -> list[Claimed]:
        wanted = [key for job in jobs for key in job.wanted]
        self._claimed = self._claimed or bool(wanted)
        settled = [row for job in jobs for row in job.settled]
        released = [key for job in jobs for key in job.released]
        calls = [row for job in jobs for row in job.calls]
        claimed: list[Claimed] = []

        def build(connection: Connection) -> Changes:
            self._release(connection, released)
            self._renew(connection)
            claimed[:] = [self._claim(connection, wanted)] if wanted else [Claimed()]
            return Changes({"cells": settled, "calls": calls}, remembered=False)

        self._store.write(build)
        self._check_kept(len(settled))
        return [_part(claimed[0], job.wanted) for job in jobs]

    def _check_kept(self, count: int) -> None:
        """A store that went into memory lets a chat go on; here it would go on paying for what is lost."""
        if self._durable and not self._store.durable:
            raise StoreError(
                f"the store failed: {self._store.warning or 'it cannot be written'}",
                hint="nothing more is asked; what was answered is in the comparison in memory: `to_jsonl` saves it",
            )

    def _claim(self, connection: Connection, wanted: Sequence[str]) -> Claimed:
        done = dict(self._done(connection, wanted))
        held = dict(self._held(connection, wanted))
        granted = [key for key in dict.fromkeys(wanted) if key not in done and not held.get(key, False)]
        until = time.time() + LEASE_S
        fresh = [key for key in granted if key not in held]
        if fresh:
            connection.execute(
                insert(_claims),
                [
                    {"id": self._claim_id(key), "comparison_id": self.id, "cell_key": key, "owner": self._owner.name,
                     "until": until} for key in fresh
                ],
            )  # fmt: skip
        for ids in _chunks([self._claim_id(key) for key in granted if key in held]):
            taken = update(_claims).where(_claims.c.id.in_(ids))
            connection.execute(taken.values(owner=self._owner.name, until=until))
        return Claimed(frozenset(granted), done)

    def _done(self, connection: Connection, keys: Sequence[str]) -> Iterator[tuple[str, Outcome]]:
        """Cells that were finished since the plan was made. An error that it knew of is none of them."""
        for part in _chunks(keys):
            for key, outcome in _outcomes(connection, self.id, _cells.c.cell_key.in_(part)).items():
                if outcome != self._known.get(key):
                    yield key, outcome

    def _held(self, connection: Connection, keys: Sequence[str]) -> Iterator[tuple[str, bool]]:
        """Claims that are there, and whether they keep us off."""
        for part in _chunks([self._claim_id(key) for key in keys]):
            for row in connection.execute(select(_claims).where(_claims.c.id.in_(part))):
                yield row.cell_key, self._owner.holds(row.owner, row.until)

    def _release(self, connection: Connection, keys: Sequence[str]) -> None:
        for part in _chunks([self._claim_id(key) for key in keys]):
            connection.execute(delete(_claims).where(_claims.c.id.in_(part), _claims.c.owner == self._owner.name))

    def _renew(self, connection: Connection) -> None:
        now = time.time()
        if now > self._renewed_at + LEASE_S / 4:
            self._renewed_at = now
            connection.execute(update(_claims).where(_claims.c.owner == self._owner.name).values(until=now + LEASE_S))

    def _claim_id(self, key: str) -> str:
        return f"{self.id[:16]}{key[:48]}"

    # ------------------------------------------------------------ words of an engine

    def words(self) -> dict[str, str]:
        """What engines keep with the comparison."""

        def look(connection: Connection) -> dict[str, str]:
            query = select(_words).where(_words.c.comparison_id == self.id).order_by(_words.c.seq)
            newest = {row.name: row.value for row in connection.execute(query)}
            return {name: value for name, value in newest.items() if value is not None}

        return self._store.read(look)

    def keep_word(self, name: str, value: str | None) -> None:
        """Keep one; None forgets it.

        Raises:
            StoreError: It cannot be kept.
        """

        def build(connection: Connection) -> Changes:
            newest = connection.scalar(select(func.max(_words.c.seq)).where(_words.c.comparison_id == self.id)) or 0
            row = {"id": rows.new_id(), "comparison_id": self.id, "created_at": schema.now(), "seq": newest + 1}
            return Changes({"comparison_words": [row | {"name": name, "value": value}]}, remembered=False)

        self._store.write(build)
        self._check_kept(0)


def _part(claimed: Claimed, wanted: Collection[str]) -> Claimed:
    """What one of several who claimed together is to know; of two that want the same cell, both are one process."""
    mine = frozenset(wanted)
    return Claimed(claimed.granted & mine, {k: o for k, o in claimed.done.items() if k in mine})


def _packed(spec: CellSpec) -> bytes:
    text = json.dumps(spec.request.canonical(), ensure_ascii=False, separators=(",", ":"), default=str)
    return zlib.compress(text.encode("utf-8", "surrogatepass"), 1)


def outcomes_of(store: Store, name: str) -> dict[str, Outcome]:
    """What is there under a name: the newest answer of each cell, else its newest error."""
    return store.read(lambda connection: _outcomes(connection, comparison_id(name)))


def _outcomes(connection: Connection, id: str, *where: ColumnElement[bool]) -> dict[str, Outcome]:
    query = select(_cells.c.cell_key, _cells.c.outcome).where(_cells.c.comparison_id == id, *where)
    found: dict[str, Outcome] = {}
    for row in connection.execute(query.order_by(_cells.c.created_at)):
        outcome = Outcome.from_json(row.outcome)
        before = found.get(row.cell_key)
        if before is None or before.status == "error" or outcome.status == "ok":
            found[row.cell_key] = outcome
    return found


def _chunks(items: Iterable[str]) -> Iterator[list[str]]:
    waiting = list(items)
    for start in range(0, len(waiting), _CHUNK):
        yield waiting[start : start + _CHUNK]


def newest_design(store: Store, name: str) -> Mapping[str, Any] | None:
    """What was compared last under a name; None when nothing was."""
    runs = schema.comparison_runs

    def look(connection: Connection) -> Mapping[str, Any] | None:
        query = select(runs.c.design).where(runs.c.comparison_id == comparison_id(name))
        found: Mapping[str, Any] | None = connection.scalar(query.order_by(runs.c.created_at.desc()).limit(1))
        return found

    return store.read(look)


def names(store: Store) -> list[str]:
    """The comparisons that are there, the newest first."""
    table = schema.comparisons
    return store.read(lambda c: list(c.scalars(select(table.c.name).order_by(table.c.created_at.desc()))))
