"""The gate before an origin: limits of a minute, requests at once, and the circuit breaker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from nbllm.errors import AuthenticationError, NbllmError, UnreachableError
from nbllm.providers.spec import RateLimit
from nbllm.transport.limits import Gate
from nbllm.transport.retry import NEVER, RetryPolicy, retrying


@dataclass
class Clock:
    now: float = 1000.0
    slept: list[float] = field(default_factory=list)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)


def gate_of(clock: Clock, **limits: int) -> Gate:
    return Gate(RateLimit(**limits), name="there", clock=lambda: clock.now, sleep=clock.sleep)


async def go(gate: Gate, *, tokens: int = 0, bypass: bool = False) -> None:
    async with gate.pass_(tokens=tokens, bypass=bypass):
        pass


def gone() -> UnreachableError:
    return UnreachableError("gone", phase="connect", provider="there")


def test_requests_a_minute_are_kept() -> None:
    clock = Clock()
    gate = gate_of(clock, requests_per_minute=3)

    async def main() -> list[float]:
        started = []
        for _ in range(7):
            await go(gate)
            started.append(clock.now - 1000)
        return started

    assert asyncio.run(main()) == pytest.approx([0, 0, 0, 60, 60, 60, 120])


def test_tokens_a_minute_are_kept_and_corrected() -> None:
    clock = Clock()
    gate = gate_of(clock, tokens_per_minute=1000)

    async def main() -> list[float]:
        started = []
        for tokens in (600, 300, 200, 5000):
            async with gate.pass_(tokens=tokens) as spent:
                started.append(clock.now - 1000)
                if tokens == 300:
                    spent.tokens = 500  # it took more than was thought
        return started

    # 200 more fit when the 600 are a minute old; 5000 never fit, and go when nothing else counts.
    assert asyncio.run(main()) == pytest.approx([0, 0, 60, 120])


def test_no_more_run_at_once_than_allowed_and_all_get_their_turn() -> None:
    gate = gate_of(Clock(), concurrency=3)
    running: list[int] = []
    most = 0

    async def work(number: int) -> None:
        nonlocal most
        async with gate.pass_():
            running.append(number)
            most = max(most, len(running))
            await asyncio.sleep(0.001)
            running.remove(number)

    async def main() -> None:
        tasks = [asyncio.create_task(work(n)) for n in range(30)]
        await asyncio.sleep(0)
        tasks[5].cancel()  # a cancelled waiter takes no place with it
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(main())
    assert most == 3


def test_a_wait_for_our_own_limit_is_shown_too() -> None:
    clock = Clock()
    gate = gate_of(clock, requests_per_minute=1)
    told: list[tuple[float, str]] = []

    async def attempt(number: int) -> AsyncIterator[str]:
        yield "a"

    async def main() -> None:
        for _ in range(2):
            async for _ in retrying(attempt, policy=RetryPolicy(), gate=gate,
                                    on_wait=lambda left, error, _: told.append((left, error.message))):  # fmt: skip
                pass

    asyncio.run(main())
    assert told[0] == (60.0, "the rate limit set for there")
    assert len(told) == 60


async def fail(gate: Gate, times: int, error: NbllmError | None = None) -> None:
    async def attempt(number: int) -> AsyncIterator[str]:
        raise error or gone()
        yield ""

    for _ in range(times):
        with pytest.raises(NbllmError):
            async for _ in retrying(attempt, policy=NEVER, gate=gate):
                pass


def test_five_failures_to_connect_pause_for_30_s_and_then_one_may_try() -> None:
    clock = Clock()
    gate = gate_of(clock)

    async def main() -> None:
        await fail(gate, 4)
        await go(gate)
        await fail(gate, 1)
        with pytest.raises(UnreachableError, match="not reachable 5 times") as caught:
            await go(gate)
        assert caught.value.retry_after_s == 30.0
        assert not caught.value.retryable
        assert "%llm_providers test there" in str(caught.value)

        clock.now += 29.9
        with pytest.raises(UnreachableError):
            await go(gate)
        clock.now += 0.2
        async with gate.pass_():  # the probe is under way
            with pytest.raises(UnreachableError, match="not reachable"):
                await go(gate)
        await fail(gate, 1)  # it failed: another 30 s
        with pytest.raises(UnreachableError):
            await go(gate)
        clock.now += 30.1
        async with gate.pass_():
            gate.record(None)
        await go(gate)
        await go(gate)

    asyncio.run(main())


def test_any_answer_closes_the_breaker_and_a_refused_key_does_not_open_it() -> None:
    gate = gate_of(Clock())

    async def main() -> None:
        await fail(gate, 20, AuthenticationError("no", status=401))
        await go(gate)
        for _ in range(5):
            await fail(gate, 4)
            await fail(gate, 1, AuthenticationError("no", status=401))
        await go(gate)

    asyncio.run(main())
    assert not gate.open


def test_a_users_own_test_is_never_stopped() -> None:
    clock = Clock()
    gate = gate_of(clock, requests_per_minute=5, concurrency=1)

    async def main() -> None:
        await fail(gate, 5)
        assert gate.open
        for _ in range(3):
            await go(gate, bypass=True)
        assert clock.slept == []

    asyncio.run(main())


def test_the_breakers_own_refusal_is_no_attempt_and_is_not_waited_for() -> None:
    clock = Clock()
    gate = gate_of(clock)
    sent = 0

    async def attempt(number: int) -> AsyncIterator[str]:
        nonlocal sent
        sent += 1
        raise gone()
        yield ""

    async def main() -> UnreachableError:
        await fail(gate, 5)
        with pytest.raises(UnreachableError) as caught:
            async for _ in retrying(attempt, policy=RetryPolicy(), gate=gate, sleep=clock.sleep):
                pass
        return caught.value

    error = asyncio.run(main())
    assert (sent, error.attempts, clock.slept) == (0, 0, [])


def test_the_breaker_repeats_what_opened_it() -> None:
    clock = Clock()
    gate = gate_of(clock)

    async def attempt(number: int) -> AsyncIterator[str]:
        raise UnreachableError("there: port 9 refused the connection", phase="dns", provider="there")
        yield ""

    async def main() -> list[UnreachableError]:
        found = []
        for _ in range(3):
            with pytest.raises(UnreachableError) as caught:
                async for _ in retrying(attempt, policy=RetryPolicy(), gate=gate, sleep=clock.sleep):
                    pass
            found.append(caught.value)
        return found

    first, second, third = asyncio.run(main())
    assert (first.message, first.attempts) == ("there: port 9 refused the connection", 4)
    assert (second.message, second.attempts) == ("there: port 9 refused the connection", 1)
    assert third.message == "there was not reachable 5 times in a row (port 9 refused the connection)"
    assert (third.phase, third.attempts) == ("dns", 0)


def test_a_place_is_given_back_after_a_failure() -> None:
    gate = gate_of(Clock(), concurrency=1)

    async def main() -> None:
        await fail(gate, 4)
        await asyncio.wait_for(go(gate), 1)

    asyncio.run(main())
