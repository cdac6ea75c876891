"""The engine of one process: all lanes at once on the background loop.

One process keeps some hundred requests a second, which is more than nearly every account allows; docs/how-to/
large-comparisons.md says when that is not enough.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from nbllm.compare.asking import Asker
from nbllm.compare.cells import CellSpec, Outcome
from nbllm.compare.engines.base import Desk
from nbllm.compare.lanes import Lane

_AHEAD = 2
"""Beside those that may be sent now, half as many as are under way are admitted ahead."""


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
        halt = asyncio.Event()
        trips = [_Traffic(self._asker, self._lane(name), queue, desk, halt) for name, queue in queues.items()]
        ended = await asyncio.gather(*(trip.run() for trip in trips), return_exceptions=True)
        for problem in ended:
            if isinstance(problem, BaseException):
                raise problem


class _Traffic:
    """One lane while it is served: slots that ask one cell after the other, and cells admitted before a slot is free.

    Admitting waits for the disk. Were it done when a slot is free, each slot would stand idle for as long, which at
    hundreds of answers a second is a tenth of the rate (docs/adr/0027-cells-and-claims.md).

    Args:
        halt: Set by the first lane that must stop all.
    """

    def __init__(self, asker: Asker, lane: Lane, queue: deque[CellSpec], desk: Desk, halt: asyncio.Event) -> None:
        self._asker, self._lane, self._queue, self._desk, self._halt = asker, lane, queue, desk, halt
        self._ready: deque[CellSpec] = deque()
        """Admitted, and not sent yet."""
        self._running = 0
        self._starting = 0
        """Slots that were begun and have not taken their first cell yet."""
        self._asking: set[asyncio.Task[None]] = set()
        self._settling: set[asyncio.Task[None]] = set()
        self._admitting = False
        self._changed = asyncio.Event()
        self._failure: BaseException | None = None

    async def run(self) -> None:
        """Until nothing is left to send and nothing is under way."""
        try:
            while self._sends() and (self._queue or self._ready or self._admitting):
                self._go_on()
                await self._wait(self._lane.pause_s() or None)
            await self._drain()
        except BaseException:
            await self._give_up()
            raise
        await self._desk.release(list(self._ready))
        if self._failure is not None:
            raise self._failure

    def _sends(self) -> bool:
        return not self._halt.is_set() and self._lane.stopped is None

    def _go_on(self) -> None:
        """Send what may be sent, and have the next cells admitted before they are needed."""
        while self._may_send():
            self._running += 1
            self._starting += 1
            self._begin(self._slot(), self._asking)
        wanted = self._lane.free(self._running) + self._lane.allowed // _AHEAD + 1 - len(self._ready)
        if wanted > 0 and self._queue and not self._admitting and self._sends():
            self._admitting = True
            self._begin(self._admit(wanted), self._asking)

    def _may_send(self) -> bool:
        return self._sends() and len(self._ready) > self._starting and self._lane.free(self._running) > 0

    async def _admit(self, wanted: int) -> None:
        batch = [self._queue.popleft() for _ in range(min(wanted, len(self._queue)))]
        try:
            self._ready.extend(await self._desk.admit(batch))
        finally:
            self._admitting = False
            self._changed.set()

    async def _slot(self) -> None:
        """Ask one cell after the other. The next is sent before the answer is written down.

        A cell is taken in the moment in which it is sent, so they are sent in their order.
        """
        self._starting -= 1
        spec = self._ready.popleft()
        while True:
            try:
                outcome = await self._asker.ask(spec, on_limit=self._lane.limited)
            finally:
                self._running -= 1
            self._judge(outcome)
            following = self._ready.popleft() if self._may_send() else None
            self._running += following is not None
            self._go_on()
            self._begin(self._desk.settle(outcome), self._settling)
            if following is None:
                self._changed.set()
                return
            spec = following

    def _judge(self, outcome: Outcome) -> None:
        if outcome.refused:
            self._lane.stop(outcome.error or "refused")
        elif outcome.status == "ok":
            self._lane.answered()

    async def _wait(self, seconds: float | None) -> None:
        self._changed.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()

    def _begin(self, work: Coroutine[Any, Any, None], among: set[asyncio.Task[None]]) -> None:
        task = asyncio.create_task(work)
        among.add(task)
        task.add_done_callback(among.discard)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            self._failure = self._failure or task.exception()
            self._halt.set()
            self._changed.set()

    async def _drain(self) -> None:
        while under_way := self._asking | self._settling:
            await asyncio.wait(under_way)

    async def _give_up(self) -> None:
        """Cancel what is under way, and wait until its connections are closed. What has come is still kept."""
        for task in self._asking:
            task.cancel()
        await asyncio.gather(*self._asking, *self._settling, return_exceptions=True)
