"""The engine of one process, against a desk and an asker that count."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from nbllm.compare.cells import CellSpec, Outcome
from nbllm.compare.engines.local import LocalEngine
from nbllm.compare.lanes import Lane
from nbllm.errors import StoreError
from nbllm.messages import ChatRequest, Message

SPECS = [CellSpec(f"k{n}", ChatRequest("lab", "a", (Message.user(str(n)),))) for n in range(40)]


class Desk:
    """Counts. Admitting takes some turns of the loop, as a disk would."""

    def __init__(self) -> None:
        self.admitted: list[str] = []
        self.settled: list[str] = []
        self.released: list[str] = []

    async def admit(self, specs: Sequence[CellSpec]) -> Sequence[CellSpec]:
        await asyncio.sleep(0.001)
        self.admitted += [s.key for s in specs]
        return specs

    async def settle(self, outcome: Outcome) -> None:
        self.settled.append(outcome.key)

    async def release(self, specs: Sequence[CellSpec]) -> None:
        self.released += [s.key for s in specs]

    async def remember(self, name: str, value: str | None) -> None: ...

    async def recall(self) -> dict[str, str]:
        return {}


class Asker:
    """Answers as it is told to."""

    def __init__(self, answer: Callable[[str], Outcome]) -> None:
        self.sent: list[str] = []
        self._answer = answer

    async def ask(self, spec: CellSpec, **_: Any) -> Outcome:
        self.sent.append(spec.key)
        await asyncio.sleep(0.002)
        return self._answer(spec.key)


def fine(key: str) -> Outcome:
    return Outcome(key, "ok", "")


def engine(asker: Asker, *, at_once: int = 4) -> tuple[LocalEngine, Lane]:
    lane = Lane(cap=at_once)
    return LocalEngine(asker, lambda _: lane), lane  # type: ignore[arg-type]


def test_cells_are_admitted_before_a_slot_is_free_and_not_many_of_them() -> None:
    desk = Desk()
    ahead: list[int] = []

    def answer(key: str) -> Outcome:
        ahead.append(len(desk.admitted) - len(asker.sent))
        return fine(key)

    asker = Asker(answer)
    asyncio.run(engine(asker)[0].run(SPECS, desk))
    assert asker.sent == desk.admitted == [s.key for s in SPECS]
    assert sorted(desk.settled) == sorted(asker.sent)
    assert desk.released == []
    assert 1 <= max(ahead) <= 3  # half of the lane, and one


def test_an_answer_that_came_is_kept_also_when_the_run_is_cancelled_in_that_moment() -> None:
    desk = Desk()

    def answer(key: str) -> Outcome:
        if key == "k9":
            run.cancel()  # takes effect at the next turn of the loop, when this answer's settling has not begun
        return fine(key)

    asker = Asker(answer)

    async def main() -> None:
        nonlocal run
        run = asyncio.ensure_future(engine(asker)[0].run(SPECS, desk))
        with pytest.raises(asyncio.CancelledError):
            await run

    run: asyncio.Future[None]
    asyncio.run(main())
    assert "k9" in desk.settled
    assert len(asker.sent) < len(SPECS)


def test_what_was_admitted_and_not_sent_is_given_back_when_the_lane_stops() -> None:
    desk = Desk()

    def answer(key: str) -> Outcome:
        return Outcome(key, "error", "", error="no such key", refused=True) if key == "k9" else fine(key)

    asker = Asker(answer)
    made, lane = engine(asker)
    asyncio.run(made.run(SPECS, desk))
    assert lane.stopped == "no such key"
    assert set(desk.admitted) == {*asker.sent, *desk.released}
    assert not set(asker.sent) & set(desk.released)
    assert sorted(desk.settled) == sorted(asker.sent)


@pytest.mark.parametrize("problem", [StoreError("full"), TypeError("a mistake of ours")])
def test_whatever_goes_wrong_is_raised_after_what_is_under_way_was_kept(problem: Exception) -> None:
    desk = Desk()

    def answer(key: str) -> Outcome:
        if key == "k9":
            raise problem
        return fine(key)

    asker = Asker(answer)
    with pytest.raises(type(problem)):
        asyncio.run(engine(asker)[0].run(SPECS, desk))
    assert sorted(desk.settled) == sorted(set(asker.sent) - {"k9"})
    assert len(asker.sent) < 20
