"""One comparison while it is made: checked, asked, scored, judged. What finished is kept whatever happens.

with session:
    for progress in session.run():
        ...
session.comparison
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nbllm.chat.plan import Services, find_endpoint
from nbllm.compare.asking import Asker
from nbllm.compare.budget import Budget, read_usd
from nbllm.compare.cells import CellSpec, Outcome
from nbllm.compare.design import LARGE, Cell, Design, asking_order, cells_of
from nbllm.compare.engines import make_engine
from nbllm.compare.engines.base import Engine
from nbllm.compare.estimate import Estimate, Estimator, History, Priced, estimate
from nbllm.compare.lanes import CAP, START, Lane
from nbllm.compare.ledger import Ledger
from nbllm.compare.options import CompareOptions
from nbllm.compare.owners import Owner
from nbllm.compare.preflight import Check, preflight
from nbllm.compare.progress import Phase, Progress
from nbllm.compare.run import Run
from nbllm.errors import BudgetError, NbllmError, UsageError
from nbllm.providers.spec import ModelInfo, ProviderConfig
from nbllm.store import Store


@dataclass(frozen=True, slots=True)
class Parts:
    """What a comparison needs of the workspace."""

    services: Services
    store: Callable[[], Store]
    check: Check
    model_info: Callable[[ProviderConfig, str], ModelInfo]
    kernel: str
    locks: Path
    services_name: str
    """Of the function that gives `services` in another process, as `module:function`."""


@dataclass(slots=True)
class Plan:
    """What is to be done, and what is there already."""

    name: str
    design: Design
    cells: Sequence[Cell]
    known: Mapping[str, Outcome]
    options: CompareOptions
    notes: list[str] = field(default_factory=list)

    def waiting(self) -> list[Cell]:
        """The cells that are to be asked."""
        return [c for c in self.cells if c.spec.key not in self.kept()]

    def kept(self) -> Mapping[str, Outcome]:
        """What counts as there: with `retry_errors` an error does not."""
        if not self.options.retry_errors:
            return self.known
        return {key: outcome for key, outcome in self.known.items() if outcome.status == "ok"}


class Session:
    """A comparison under way; a context manager.

    Attributes:
        answers: What came of the cells so far, by key.
        fresh: Keys that were answered in this session.
        verdicts: What came of the judge's questions, by key.
    """

    def __init__(self, plan: Plan, parts: Parts) -> None:
        self.plan, self._parts = plan, parts
        self.answers: dict[str, Outcome] = dict(plan.known)
        self.verdicts: dict[str, Outcome] = dict(plan.known)
        self.fresh: set[str] = set()
        self.budget = Budget(read_usd(plan.options.budget_usd))
        self.news: list[str] = []
        self._owner = Owner(parts.locks)
        self._lanes: dict[str, Lane] = {}
        self.estimator = Estimator(History(parts.store()), self._priced)

    # ------------------------------------------------------------ before anything is sent

    def estimate(self, judged: Sequence[CellSpec] = ()) -> Estimate:
        """What a run would do. Sends nothing."""
        specs = [c.spec for c in self.plan.waiting()]
        stored = len(self.plan.cells) - len(specs)
        return estimate(
            self.estimator, [*specs, *judged], cells=len(self.plan.cells), stored=stored, judged=len(judged),
            at_once=lambda name: self.lane(name).cap,
        )  # fmt: skip

    def refuse(self) -> None:
        """See that the run may start.

        Raises:
            BudgetError: A budget is set, and what a cell costs at most is not known.
            UsageError: There are more cells than are asked without a word.
            NbllmError: A provider cannot be asked: a key is missing, it is disabled, ...
        """
        waiting = self.plan.waiting()
        options = self.plan.options
        if len(waiting) > LARGE and not options.yes and self.budget.usd is None:
            raise UsageError(
                f"{len(waiting):,} cells are to be asked, which is more than {LARGE:,}",
                hint="set a budget, or say yes (`--yes`, in Python `yes=True`); --dry-run estimates the cost",
            )
        for provider in dict.fromkeys(c.spec.request.provider for c in waiting):
            find_endpoint(self._parts.services.registry.get(provider), self._parts.services)
        if self.budget.usd is not None and not options.allow_unknown_price:
            self._refuse_unknown([c.spec for c in waiting])

    def _refuse_unknown(self, specs: Sequence[CellSpec]) -> None:
        found = estimate(self.estimator, specs, cells=0, stored=0, judged=0, at_once=lambda _: 1)
        if found.unknown_prices:
            raise BudgetError(
                f"a budget is set, and no price is known for {', '.join(found.unknown_prices[:3])}",
                hint="say what it costs with `%llm_models add REF --input-price X --output-price Y`, or allow it with "
                "--allow-unknown-price (Python: allow_unknown_price=True)",
            )
        if found.unbounded:
            raise BudgetError(
                f"a budget is set, and nothing bounds the answers of {', '.join(found.unbounded[:3])}",
                hint="set max_tokens, for example -p max_tokens=500",
            )

    # ------------------------------------------------------------ running

    def __enter__(self) -> Session:
        self._owner.live()
        return self

    def __exit__(self, *exc: object) -> None:
        self._owner.end()

    async def drive(self, specs: Sequence[CellSpec], phase: Phase) -> AsyncGenerator[Progress, None]:
        """Ask cells on the background loop; progress as it comes. What is there already is not asked.

        Raises:
            NbllmError: The test before the grid failed; the budget is used up; the store failed.
        """
        there, known = (self.plan.known, self.plan.kept()) if phase == "asking" else (self.verdicts, self.verdicts)
        ledger = Ledger(self._parts.store(), self.plan.name, self._owner, kernel=self._parts.kernel, known=there)
        run = Run(
            specs, known, ledger=ledger, budget=self.budget, estimator=self.estimator, lane=self.lane,
            name=self.plan.name, phase=phase,
        )  # fmt: skip
        into = self.answers if phase == "asking" else self.verdicts
        try:
            await self._check([s for s in specs if s.key not in run.outcomes])
            async with contextlib.aclosing(run.drive(self._engine())) as steps:
                async for progress in steps:
                    yield progress
        finally:
            into.update(run.outcomes)
            self.fresh |= run.fresh
            self._tell_of_lanes()
            with contextlib.suppress(NbllmError):  # a store that failed has been told
                await ledger.close()

    def begin(self) -> int:
        """Keep the design; how many cells a dead process may have paid for without writing down what came."""
        ledger = Ledger(self._parts.store(), self.plan.name, self._owner, kernel=self._parts.kernel)
        lost = ledger.unknown()
        ledger.begin(self.plan.design.to_json())
        return lost

    def refuse_running_batches(self) -> None:
        """See that no batch of an earlier run holds cells of this comparison, unless this run looks at it too.

        Raises:
            UsageError: One does: its cells would be paid for twice.
        """
        if self.plan.options.engine == "batch":
            return
        ledger = Ledger(self._parts.store(), self.plan.name, self._owner, kernel=self._parts.kernel)
        running = [name for name in ledger.words() if name.startswith("batch:")]
        if running:
            count = f"{len(running)} batch{'es' if len(running) > 1 else ''}"
            raise UsageError(
                f"{count} of this comparison may still run at the provider",
                hint="go on with the engine batch, which fetches what has come",
            )

    async def _check(self, specs: Sequence[CellSpec]) -> None:
        recordings = self._parts.services.recordings
        live = {p for p in {s.request.provider for s in specs} if not recordings.stands_in(p, has_key=True)}
        if live:
            await preflight([s for s in specs if s.request.provider in live], self._parts.check)

    def _engine(self) -> Engine:
        services = self._parts.services
        return make_engine(
            self.plan.options, services, Asker(services), self.lane, self.news.append,
            services_name=self._parts.services_name,
        )  # fmt: skip

    def lane(self, provider_id: str) -> Lane:
        """The lane of a provider, one for the session."""
        if provider_id not in self._lanes:
            limit = self._parts.services.registry.get(provider_id).rate_limit.concurrency
            self._lanes[provider_id] = Lane(cap=limit or CAP, start=limit or START)
        return self._lanes[provider_id]

    def _tell_of_lanes(self) -> None:
        for name, lane in self._lanes.items():
            if lane.stopped is not None:
                self.news.append(f"{name} was stopped, and its other cells were not asked: {lane.stopped}")

    def _priced(self, provider_id: str, model: str) -> Priced:
        services = self._parts.services
        provider = services.registry.get(provider_id)
        info = self._parts.model_info(provider, model)
        return Priced(provider, services.prices(provider, model), info.max_output)


def address_of(services: Services) -> Callable[[str], str]:
    """What says who answers for a provider: its base URL, or the file that is served."""

    def address(provider_id: str) -> str:
        row = services.registry.get(provider_id)
        return str(row.gguf or row.base_url)

    return address


def plan_cells(design: Design, services: Services) -> list[Cell]:
    """Every cell of a design, in the order of tables."""
    return cells_of(design, address_of(services))


def in_asking_order(plan: Plan) -> list[CellSpec]:
    """Every cell, in the order of asking."""
    return [c.spec for c in asking_order(plan.cells, plan.design.seed)]
