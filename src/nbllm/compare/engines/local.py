"""The engine of one process: all lanes at once on the background loop.

One process keeps some hundred requests a second, which is more than nearly every account allows; docs/how-to/
large-comparisons.md says when that is not enough.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Sequence

from nbllm.compare.asking import Asker
from nbllm.compare.cells import CellSpec, Outcome
from nbllm.compare.engines.base import Desk
from nbllm.compare.lanes import Lane
from nbllm.errors import NbllmError


class LocalEngine:
    """Asks cells in this process.

    Args:
        asker: Asks one cell.
        lane: The lane of a provider, by its id; the same object each time.
    """

    def __init__(self, asker: Asker, lane: Callable[[str], Lane]) -> None:
        self._asker = asker
        self._lane = lane

    async def run(self, specs: Sequence[CellSpec], desk: Desk) -> None:
        """Ask each cell once; see `Engine`."""
        queues: dict[str, deque[CellSpec]] = {}
        for spec in specs:
            queues.setdefault(spec.request.provider, deque()).append(spec)
        trips = [_Traffic(self._asker, self._lane(name), queue, desk) for name, queue in queues.items()]
        halt = asyncio.Event()
        ended = await asyncio.gather(*(trip.run(halt) for trip in trips), return_exceptions=True)
        for problem in ended:
            if isinstance(problem, BaseException):
                raise problem


class _Traffic:
    """One lane while it is served."""

    def __init__(self, asker: Asker, lane: Lane, queue: deque[CellSpec], desk: Desk) -> None:
        self._asker, self._lane, self._queue, self._desk = asker, lane, queue, desk
        self._running = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()
        self._failure: NbllmError | None = None

    async def run(self, halt: asyncio.Event) -> None:
        """Until nothing is left to send and nothing is under way. The first lane that must stop all sets `halt`."""
        try:
            while not halt.is_set() and self._failure is None and await self._dispatch():
                pass
        except NbllmError as exc:  # the desk lets nothing more through; what is under way is still settled
            self._failure = exc
        except BaseException:
            await self._give_up()
            raise
        if self._failure is not None:
            halt.set()
        await self._drain()
        if self._failure is not None:
            raise self._failure

    async def _dispatch(self) -> bool:
        """Send what may be sent, or wait for a change; whether there is more to do."""
        if not self._queue or self._lane.stopped is not None:
            return False
        free = self._lane.free(self._running)
        if free:
            batch = [self._queue.popleft() for _ in range(min(free, len(self._queue)))]
            for spec in await self._desk.admit(batch):
                self._start(spec)
            return True
        await self._wait(self._lane.pause_s() or None)
        return True

    async def _wait(self, seconds: float | None) -> None:
        self._changed.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()

    def _start(self, spec: CellSpec) -> None:
        self._running += 1
        task = asyncio.create_task(self._one(spec))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _one(self, spec: CellSpec) -> None:
        try:
            outcome = await self._asker.ask(spec, on_limit=self._lane.limited)
        finally:
            self._running -= 1  # the slot is free while the answer is written down
            self._changed.set()
        self._judge(outcome)
        try:
            await self._desk.settle(outcome)
        except NbllmError as exc:
            self._failure = self._failure or exc
            self._changed.set()

    def _judge(self, outcome: Outcome) -> None:
        if outcome.refused:
            self._lane.stop(outcome.error or "refused")
        elif outcome.status == "ok":
            self._lane.answered()

    async def _drain(self) -> None:
        try:
            while self._tasks:
                await asyncio.wait(set(self._tasks))
        except BaseException:
            await self._give_up()
            raise

    async def _give_up(self) -> None:
        """Cancel what is under way, and wait until its connections are closed."""
        tasks = set(self._tasks)
        for task in tasks:
            task.cancel()
        await _all_done(tasks)


async def _all_done(tasks: set[asyncio.Task[None]]) -> None:
    if tasks:
        await asyncio.gather(*tasks, return_exceptions=True)
