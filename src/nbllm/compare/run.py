"""A run: from cells that are wanted to cells that are answered, whichever engine asks.

The driver claims each cell and reserves its worst cost before it is sent, commits what came, waits for cells that
another process is asking, and stops at once when the budget is used up, a key is refused, or nothing can be kept.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence

from nbllm.compare.budget import Budget, used_up
from nbllm.compare.cells import CellSpec, Outcome
from nbllm.compare.engines.base import Engine
from nbllm.compare.estimate import Estimator
from nbllm.compare.lanes import Lane
from nbllm.compare.ledger import Ledger
from nbllm.compare.progress import Phase, Progress

_LOOK_S = 0.5
"""Cells of another process are looked for this often."""
_SHOW_S = 0.1
"""Progress is told this often."""


class Run:
    """One phase of a comparison under way: answers, or verdicts. Serves engines as their desk.

    Args:
        specs: Every cell of the phase, in the order of asking.
        known: What is there already, by key. Errors among it are asked again when they are left out here.
        ledger: Where cells are claimed and kept.
        budget: Shared by the phases of a run.
        estimator: Guesses the worst case of a cell.
        lane: The lane of a provider.
        name: The comparison's, for messages.
    """

    def __init__(
        self,
        specs: Sequence[CellSpec],
        known: Mapping[str, Outcome],
        *,
        ledger: Ledger,
        budget: Budget,
        estimator: Estimator,
        lane: Callable[[str], Lane],
        name: str,
        phase: Phase = "asking",
    ) -> None:
        self.outcomes: dict[str, Outcome] = {spec.key: known[spec.key] for spec in specs if spec.key in known}
        self.fresh: set[str] = set()
        """Keys that were answered in this run."""
        self.progress = Progress(total=len(specs), stored=len(self.outcomes), phase=phase)
        self._specs = {spec.key: spec for spec in specs}
        self._ledger, self._budget, self._estimator, self._lane, self._name = ledger, budget, estimator, lane, name
        self._elsewhere: dict[str, CellSpec] = {}
        self._postponed: list[CellSpec] = []
        self._settled = asyncio.Event()

    # ------------------------------------------------------------ driving

    async def drive(self, engine: Engine) -> AsyncGenerator[Progress, None]:
        """Ask all that is wanted; tells of the progress some ten times a second.

        Raises:
            BudgetError: The next cell did not fit; what was sent is kept.
            StoreError: Nothing can be kept any more; what was answered is in `outcomes`.
        """
        task = asyncio.ensure_future(self._work(engine))
        try:
            while not task.done():
                yield self.progress
                await asyncio.wait({task}, timeout=_SHOW_S)
            await task
            yield self.progress
        finally:
            if not task.done():
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task

    async def _work(self, engine: Engine) -> None:
        waiting = [spec for spec in self._specs.values() if spec.key not in self.outcomes]
        while waiting:
            await engine.run(waiting, self)
            postponed, self._postponed = self._postponed, []
            elsewhere, self._elsewhere = self._elsewhere, {}
            waiting = [*postponed, *elsewhere.values()]
            if waiting and not postponed:
                self.progress.news = f"waiting for {len(waiting):,} cells that another process asks"
                await asyncio.sleep(_LOOK_S)
            waiting = [spec for spec in waiting if self._lane(spec.request.provider).stopped is None]
        self.progress.news = ""

    # ------------------------------------------------------------ the desk

    async def admit(self, specs: Sequence[CellSpec]) -> Sequence[CellSpec]:
        """See `Desk`."""
        wanted = [s for s in specs if self._lane(s.request.provider).stopped is None]
        claimed = await self._ledger.claim([s.key for s in wanted])
        for key, outcome in claimed.done.items():
            self._take(key, outcome)
        for spec in wanted:
            if spec.key not in claimed.granted and spec.key not in claimed.done:
                self._elsewhere[spec.key] = spec
        return await self._afford([s for s in wanted if s.key in claimed.granted])

    def _take(self, key: str, outcome: Outcome) -> None:
        """Another process has answered it meanwhile."""
        if key not in self.outcomes:
            self.progress.stored += 1
        self.outcomes[key] = outcome

    async def _afford(self, granted: list[CellSpec]) -> list[CellSpec]:
        """Those whose worst case fits. What does not fit beside those under way waits for what they really cost."""
        sent: list[CellSpec] = []
        for at, spec in enumerate(granted):
            worst = None if self._budget.usd is None else self._estimator.worst(spec.request)
            while not self._budget.fits(worst):
                if sent:
                    self._postponed += granted[at:]
                    await self.release(granted[at:])
                    return sent
                if not self._budget.reserved:
                    await self.release(granted)
                    left = sum(key not in self.outcomes for key in self._specs)
                    raise used_up(self._budget, done=len(self.outcomes), left=left, name=self._name)
                self._settled.clear()
                await self._settled.wait()
            self._budget.reserve(spec.key, worst)
            sent.append(spec)
        return sent

    async def settle(self, outcome: Outcome) -> None:
        """See `Desk`."""
        spec = self._specs[outcome.key]
        if outcome.key in self.fresh:
            return  # a batch that two processes look at
        self._count(outcome)
        self.outcomes[outcome.key] = outcome
        self.fresh.add(outcome.key)
        self._settled.set()
        guess = self._estimator.guess(spec.request).input_tokens
        self._estimator.observe(spec.request, guess, outcome.usage)
        await self._ledger.settle(spec, outcome, estimated_tokens=guess)

    def _count(self, outcome: Outcome) -> None:
        # A stream that broke has cost something, and nobody says how much.
        paid = outcome.status == "ok" or outcome.error_type == "StreamBrokenError"
        self._budget.settle(outcome.key, outcome.cost_usd, answered=paid)
        progress = self.progress
        progress.done += 1
        progress.errors += outcome.status == "error"
        progress.cost_usd += outcome.cost_usd or 0
        progress.unknown_costs += paid and outcome.cost_usd is None

    async def release(self, specs: Sequence[CellSpec]) -> None:
        """See `Desk`."""
        for spec in specs:
            self._budget.release(spec.key)
        self._settled.set()
        await self._ledger.release([spec.key for spec in specs])

    async def remember(self, name: str, value: str | None) -> None:
        """See `Desk`."""
        await asyncio.to_thread(self._ledger.keep_word, name, value)

    async def recall(self) -> dict[str, str]:
        """See `Desk`."""
        return await asyncio.to_thread(self._ledger.words)
