"""The limits of a minute are held within 2 % over a thousand requests, by several lanes at once, on a fake clock.

`held` looks at what started when: in no 60 s more than allowed, and, while somebody waits, in each minute all of it.
"""

from __future__ import annotations

import asyncio
import random
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from fake_time import FakeTimeLoop, run
from nbllm.providers.spec import RateLimit
from nbllm.transport.limits import Gate

MINUTE = 60.0
WITHIN = 0.02


@dataclass
class Seen:
    """What passed a gate."""

    starts: list[tuple[float, int]] = field(default_factory=list)
    """When, and with how many tokens."""
    running: int = 0
    most_running: int = 0


def gate_of(loop: FakeTimeLoop, **limits: int) -> Gate:
    return Gate(RateLimit(**limits), clock=loop.time)


async def lane(gate: Gate, seen: Seen, loop: FakeTimeLoop, work: Sequence[tuple[int, float]]) -> None:
    """Requests one after the other: tokens and seconds of each."""
    for tokens, seconds in work:
        async with gate.pass_(tokens=tokens):
            seen.starts.append((loop.time(), tokens))
            seen.running += 1
            seen.most_running = max(seen.most_running, seen.running)
            await asyncio.sleep(seconds)
            seen.running -= 1


def in_window(seen: Seen, *, tokens: bool) -> list[int]:
    """For each start, what began in the 60 s from it on (its own included)."""
    times = [at for at, _ in seen.starts]
    counts = []
    for place, at in enumerate(times):
        end = bisect_left(times, at + MINUTE - 1e-6)
        counts.append(sum(n for _, n in seen.starts[place:end]) if tokens else end - place)
    return counts


def held(seen: Seen, limit: int, *, tokens: bool = False) -> None:
    assert seen.starts == sorted(seen.starts, key=lambda s: s[0])
    assert max(in_window(seen, tokens=tokens)) <= limit * (1 + WITHIN)
    last = seen.starts[-1][0]
    for minute in range(int(last // MINUTE)):
        took = [n if tokens else 1 for at, n in seen.starts if minute <= at / MINUTE + 1e-6 < minute + 1]
        assert sum(took) >= limit * (1 - WITHIN), f"minute {minute}: {sum(took)} of {limit}"


@pytest.mark.parametrize("lanes", [1, 4, 25, 1000])
@pytest.mark.parametrize("limit", [50, 100])
def test_requests_a_minute_over_a_thousand_requests(lanes: int, limit: int) -> None:
    seen = Seen()

    async def main(loop: FakeTimeLoop) -> None:
        gate = gate_of(loop, requests_per_minute=limit)
        await asyncio.gather(*(lane(gate, seen, loop, [(0, 0.0)] * (1000 // lanes)) for _ in range(lanes)))

    run(main)
    assert len(seen.starts) == 1000
    assert max(in_window(seen, tokens=False)) == limit
    assert seen.starts[-1][0] == pytest.approx((1000 // limit - 1) * MINUTE, abs=0.5)
    held(seen, limit)


def test_requests_that_take_their_time_and_come_at_any_moment() -> None:
    """Starts are spread over the minute, and so are the places that become free."""
    seen = Seen()
    chance = random.Random(1)

    async def main(loop: FakeTimeLoop) -> None:
        gate = gate_of(loop, requests_per_minute=300)
        work = [[(0, chance.uniform(0.2, 1.2)) for _ in range(125)] for _ in range(8)]
        await asyncio.gather(*(lane(gate, seen, loop, w) for w in work))

    run(main)
    assert len(seen.starts) == 1000
    held(seen, 300)


def test_several_providers_at_once_hold_each_its_own_limit() -> None:
    limits = {10: Seen(), 60: Seen(), 97: Seen(), 250: Seen()}

    async def main(loop: FakeTimeLoop) -> None:
        lanes = []
        for limit, seen in limits.items():
            gate = gate_of(loop, requests_per_minute=limit)
            lanes += [lane(gate, seen, loop, [(0, 0.05)] * 250) for _ in range(4)]
        await asyncio.gather(*lanes)

    run(main)
    for limit, seen in limits.items():
        assert len(seen.starts) == 1000
        assert max(in_window(seen, tokens=False)) == limit
        held(seen, limit)


def test_tokens_a_minute_over_a_thousand_requests() -> None:
    seen = Seen()
    chance = random.Random(2)

    async def main(loop: FakeTimeLoop) -> None:
        gate = gate_of(loop, tokens_per_minute=100_000)
        work = [[(chance.randint(50, 1500), 0.1) for _ in range(125)] for _ in range(8)]
        await asyncio.gather(*(lane(gate, seen, loop, w) for w in work))

    run(main)
    assert len(seen.starts) == 1000
    held(seen, 100_000, tokens=True)


def test_tokens_that_were_thought_fewer_count_as_they_were() -> None:
    seen = Seen()

    async def one(gate: Gate, loop: FakeTimeLoop) -> None:
        async with gate.pass_(tokens=100) as spent:
            seen.starts.append((loop.time(), 200))
            spent.tokens = 200

    async def main(loop: FakeTimeLoop) -> None:
        gate = gate_of(loop, tokens_per_minute=10_000)
        for _ in range(1000):
            await one(gate, loop)

    run(main)
    held(seen, 10_000, tokens=True)


def test_all_three_limits_at_once() -> None:
    seen = Seen()
    chance = random.Random(3)

    async def main(loop: FakeTimeLoop) -> None:
        gate = gate_of(loop, requests_per_minute=120, tokens_per_minute=60_000, concurrency=5)
        work = [[(chance.randint(100, 1100), chance.uniform(0.1, 2.0)) for _ in range(50)] for _ in range(20)]
        await asyncio.gather(*(lane(gate, seen, loop, w) for w in work))

    run(main)
    assert len(seen.starts) == 1000
    assert seen.most_running == 5
    assert max(in_window(seen, tokens=False)) <= 120
    assert max(in_window(seen, tokens=True)) <= 60_000


def test_who_waits_first_goes_first() -> None:
    order: list[int] = []

    async def one(gate: Gate, number: int) -> None:
        async with gate.pass_():
            order.append(number)

    async def main(loop: FakeTimeLoop) -> None:
        gate = gate_of(loop, requests_per_minute=10)
        tasks = []
        for number in range(40):
            tasks.append(asyncio.create_task(one(gate, number)))
            await asyncio.sleep(0.3)
        await asyncio.gather(*tasks)

    run(main)
    assert order == list(range(40))


def test_who_gives_up_waiting_takes_no_place() -> None:
    seen = Seen()

    async def main(loop: FakeTimeLoop) -> None:
        gate = gate_of(loop, requests_per_minute=10)
        tasks = [asyncio.create_task(lane(gate, seen, loop, [(0, 0.0)])) for _ in range(30)]
        await asyncio.sleep(30)
        for task in tasks[10:20]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    run(main)
    assert [round(at) for at, _ in seen.starts] == [0] * 10 + [60] * 10
