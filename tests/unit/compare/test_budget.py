"""No more than the budget is spent while no cell costs more than its worst case, in whatever order answers come."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbllm.compare.budget import Budget, read_usd
from nbllm.compare.cells import CellSpec, Outcome
from nbllm.compare.estimate import Guess
from nbllm.compare.lanes import Lane
from nbllm.compare.ledger import Claimed
from nbllm.compare.run import Run
from nbllm.errors import BudgetError, UsageError
from nbllm.messages import ChatRequest, Message

cents = st.integers(0, 500).map(lambda n: Decimal(n) / 100)


@st.composite
def grids(draw: st.DrawFn) -> list[tuple[Decimal, Decimal | None, str]]:
    """Cells: the worst case, what it costs (None: nobody says), and how it ends."""
    found = []
    for worst in draw(st.lists(cents, min_size=1, max_size=25)):
        share = draw(st.integers(0, 100))
        ending = draw(st.sampled_from(["ok", "ok", "ok", "unknown", "error", "broken"]))
        found.append((worst, None if ending != "ok" else worst * share / 100, ending))
    return found


class _Ledger:
    """Grants everything, and keeps nothing."""

    def __init__(self) -> None:
        self.released: list[str] = []

    async def claim(self, keys: Sequence[str]) -> Claimed:
        return Claimed(frozenset(keys))

    async def settle(self, spec: CellSpec, outcome: Outcome, *, estimated_tokens: int | None) -> None: ...

    async def release(self, keys: Sequence[str]) -> None:
        self.released += keys


class _Estimator:
    """Knows the worst case of each prompt."""

    def __init__(self, worst: Sequence[Decimal]) -> None:
        self._worst = worst

    def worst(self, request: ChatRequest) -> Decimal:
        return self._worst[int(request.messages[0].text)]

    def guess(self, request: ChatRequest) -> Guess:
        return Guess(1, 1, 1, 1, 1)

    def observe(self, *facts: Any) -> None: ...


class _Engine:
    """Some at once; answers come in an order of their own."""

    def __init__(
        self, grid: Sequence[tuple[Decimal, Decimal | None, str]], dice: random.Random, budget: Budget
    ) -> None:
        self._grid, self._dice, self._budget = grid, dice, budget
        self.sent: list[str] = []
        self.most = Decimal(0)

    async def run(self, specs: Sequence[CellSpec], desk: Any) -> None:
        waiting, tasks = list(specs), []
        try:
            while waiting:
                count = self._dice.randint(1, 6)
                part, waiting = waiting[:count], waiting[count:]
                for spec in await desk.admit(part):
                    self.sent.append(spec.key)
                    tasks.append(asyncio.create_task(self._ask(spec, desk)))
                self.most = max(self.most, self._budget.spent + self._budget.reserved)
        finally:
            await asyncio.gather(*tasks)

    async def _ask(self, spec: CellSpec, desk: Any) -> None:
        for _ in range(self._dice.randint(0, 30)):
            await asyncio.sleep(0)
        _, cost, ending = self._grid[int(spec.request.messages[0].text)]
        error = {"error": "ServerError", "broken": "StreamBrokenError"}.get(ending)
        status: Any = "ok" if error is None else "error"
        await desk.settle(Outcome(spec.key, status, "", cost_usd=cost, error_type=error))


def spent(grid: Sequence[tuple[Decimal, Decimal | None, str]], number: int) -> Decimal:
    """What a cell really took at most: all that it could where nobody says."""
    worst, cost, ending = grid[number]
    return Decimal(0) if ending == "error" else worst if cost is None else cost


@settings(max_examples=150)
@given(grids(), cents.filter(bool), st.integers(0, 2**32))
def test_a_run_never_spends_more_than_its_budget_and_stops_only_when_the_next_cell_does_not_fit(
    grid: list[tuple[Decimal, Decimal | None, str]], usd: Decimal, seed: int
) -> None:
    specs = [CellSpec(f"k{n}", ChatRequest("lab", "a", (Message.user(str(n)),))) for n in range(len(grid))]
    budget, ledger, lane = Budget(usd), _Ledger(), Lane()
    engine = _Engine(grid, random.Random(seed), budget)

    async def drive() -> BudgetError | None:
        run = Run(
            specs, {}, ledger=ledger, budget=budget, estimator=_Estimator([g[0] for g in grid]),  # type: ignore[arg-type]
            lane=lambda _: lane, name="n",
        )  # fmt: skip
        try:
            async for _ in run.drive(engine):
                pass
        except BudgetError as exc:
            return exc
        return None

    stopped = asyncio.run(asyncio.wait_for(drive(), 30))

    assert len(engine.sent) == len(set(engine.sent))
    assert budget.spent == sum((spent(grid, int(key[1:])) for key in engine.sent), Decimal(0))
    assert engine.most <= usd
    assert budget.spent <= usd
    assert budget.reserved == 0
    left = [worst for n, (worst, _, _) in enumerate(grid) if f"k{n}" not in engine.sent]
    if stopped is None:
        assert not left
    else:
        assert max(left) > usd - budget.spent


@given(st.lists(st.tuples(cents, st.booleans(), st.integers(0, 100)), max_size=40), cents.filter(bool))
def test_the_arithmetic_holds_in_any_order(steps: list[tuple[Decimal, bool, int]], usd: Decimal) -> None:
    budget = Budget(usd)
    under_way: list[tuple[str, Decimal]] = []
    for number, (worst, sends, share) in enumerate(steps):
        if sends and budget.fits(worst):
            budget.reserve(f"k{number}", worst)
            under_way.append((f"k{number}", worst))
        elif under_way:
            key, reserved = under_way.pop(share % len(under_way))
            if share % 7 == 0:
                budget.release(key)
            else:
                budget.settle(key, None if share % 5 == 0 else reserved * share / 100, answered=share % 11 != 0)
        assert budget.reserved == sum((w for _, w in under_way), Decimal(0))
        assert budget.spent + budget.reserved <= usd


def test_without_a_budget_everything_fits_and_the_sum_is_kept() -> None:
    budget = Budget(None)
    assert budget.fits(Decimal(10**9))
    assert budget.fits(None)
    budget.reserve("k", None)
    budget.settle("k", Decimal("1.5"), answered=True)
    budget.settle("m", None, answered=True)
    assert (budget.spent, budget.unknown) == (Decimal("1.5"), 1)


@pytest.mark.parametrize("value", [0, -1, "", "1,5", "nan", "inf", True, [], object(), "1e"])
def test_what_is_no_amount_is_refused(value: object) -> None:
    with pytest.raises(UsageError, match="an amount in USD above 0"):
        read_usd(value)


@pytest.mark.parametrize(("value", "usd"), [(2, "2"), (0.1, "0.1"), ("2.50", "2.50"), (Decimal("1e-6"), "0.000001")])
def test_an_amount_is_taken_to_the_letter(value: object, usd: str) -> None:
    assert read_usd(value) == Decimal(usd)
