"""When a request is sent again, and after how long: on a clock that nobody waits for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field

import pytest

from nbllm.errors import (
    AuthenticationError,
    ModelNotFoundError,
    NbllmError,
    OverloadedError,
    ProviderError,
    QuotaError,
    RateLimitError,
    RedirectError,
    ServerError,
    StreamBrokenError,
    UnreachableError,
)
from nbllm.transport.limits import Gate
from nbllm.transport.retry import NEVER, RetryPolicy, is_retryable, retry_after_s, retrying

NOW = 1_795_000_000.0  # Wed, 18 Nov 2026 11:06:40 GMT


@dataclass(frozen=True)
class Hint:
    id: str
    headers: dict[str, str]
    body: str
    seconds: float | None


HINTS = [
    Hint("nothing", {}, "", None),
    Hint("seconds", {"Retry-After": "7"}, "", 7.0),
    Hint("broken seconds", {"retry-after": "2.5"}, "", 2.5),
    Hint("with spaces and a unit", {"retry-after": " 3s "}, "", 3.0),
    Hint("zero", {"retry-after": "0"}, "", 0.0),
    Hint("negative", {"retry-after": "-5"}, "", 0.0),
    Hint("huge", {"retry-after": "99999999999999"}, "", 2_592_000.0),
    Hint("huge beyond float", {"retry-after": "9" * 500}, "", None),
    Hint("a date ahead", {"retry-after": "Wed, 18 Nov 2026 11:07:10 GMT"}, "", 30.0),
    Hint("a date behind", {"retry-after": "Wed, 18 Nov 2020 11:07:10 GMT"}, "", 0.0),
    Hint("a date in another zone", {"retry-after": "Wed, 18 Nov 2026 12:07:10 +0100"}, "", 30.0),
    Hint("a date of the far future", {"retry-after": "Wed, 18 Nov 2993 11:07:10 GMT"}, "", 2_592_000.0),
    Hint("a date that is none", {"retry-after": "Wed, 99 Foo 2026 11:07:10 GMT"}, "", None),
    Hint("garbage", {"retry-after": "soon"}, "", None),
    Hint("not a number", {"retry-after": "nan"}, "", None),
    Hint("infinity", {"retry-after": "inf"}, "", None),
    Hint("digits of another script", {"retry-after": "٣"}, "", None),
    Hint("empty", {"retry-after": ""}, "", None),
    Hint("milliseconds", {"retry-after-ms": "1500"}, "", 1.5),
    Hint("milliseconds win", {"Retry-After-Ms": "250", "Retry-After": "9"}, "", 0.25),
    Hint("garbage in ms falls back", {"retry-after-ms": "x", "retry-after": "9"}, "", 9.0),
    Hint("litellm's name", {"llm_provider-retry-after": "11"}, "", 11.0),
    Hint("the plain name wins over litellm's", {"llm_provider-retry-after": "11", "retry-after": "4"}, "", 4.0),
    Hint("Google's RetryInfo", {}, '[{"error": {"details": [{"@type": "RetryInfo", "retryDelay": "37s"}]}}]', 37.0),
    Hint("Google's with a fraction", {}, '{"retryDelay": "0.847655010s"}', 0.84765501),
    Hint("words, seconds", {}, "Rate limit reached. Please try again in 7.2s.", 7.2),
    Hint("words, minutes and seconds", {}, "Please try again in 1m2s. Visit", 62.0),
    Hint("words, hours", {}, "try again in 1h2m3.5s", 3723.5),
    Hint("words, milliseconds", {}, "Please try again in 240ms.", 0.24),
    Hint("words, spelled out", {}, "Please retry after 20 seconds", 20.0),
    Hint("words, spelled out twice", {}, "Please wait 1 minute and 30 seconds before", 90.0),
    Hint("words without a span", {}, "Please try again in a moment", None),
    Hint("a number that is no span", {}, "try again in 5 requests", None),
    Hint("the header wins over the body", {"retry-after": "1"}, "try again in 9s", 1.0),
    Hint("a bad header leaves the body", {"retry-after": "soon"}, "try again in 9s", 9.0),
    Hint("a long body is not searched for ever", {}, "try again in " * 50_000, None),
]  # fmt: skip


@pytest.mark.parametrize("hint", HINTS, ids=lambda h: h.id)
def test_a_hint_is_read_in_every_form(hint: Hint) -> None:
    assert retry_after_s(hint.headers, hint.body, now=NOW) == pytest.approx(hint.seconds)


@pytest.mark.parametrize(
    ("status", "headers", "again"),
    [
        *[(status, {}, True) for status in (408, 409, 429, 500, 502, 503, 504, 529)],
        *[(status, {}, False) for status in (400, 401, 402, 403, 404, 413, 422, 501, 505, 200, 302)],
        (400, {"X-Should-Retry": "true"}, True),
        (503, {"x-should-retry": "false"}, False),
        (503, {"x-should-retry": "maybe"}, True),
    ],
)
def test_a_status_says_whether_to_ask_again(status: int, headers: dict[str, str], again: bool) -> None:
    assert is_retryable(status, headers) is again


# ---------------------------------------------------------------- the policy


@dataclass
class Clock:
    now: float = 0.0
    slept: list[float] = field(default_factory=list)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)


@dataclass
class Ran:
    """What a run came to."""

    items: list[str] = field(default_factory=list)
    attempts: list[int] = field(default_factory=list)
    error: NbllmError | None = None
    clock: Clock = field(default_factory=Clock)
    told: list[tuple[float, str, int]] = field(default_factory=list)

    @property
    def waited(self) -> float:
        return round(sum(self.clock.slept), 9)


def run(
    *outcomes: NbllmError | str | tuple[str, NbllmError],
    policy: RetryPolicy | None = None,
    gate: Gate | None = None,
    chance: Iterable[float] = (),
) -> Ran:
    """Each attempt yields its text, raises its error, or does the one and then the other."""
    ran = Ran()
    drawn = iter(chance)
    gate = gate or Gate(clock=lambda: ran.clock.now, sleep=ran.clock.sleep)

    async def attempt(number: int) -> AsyncIterator[str]:
        ran.attempts.append(number)
        outcome = outcomes[min(number, len(outcomes)) - 1]
        text, error = outcome if isinstance(outcome, tuple) else (None, outcome)
        if isinstance(error, str):
            text, error = error, None
        if text is not None:
            yield text
        if isinstance(error, NbllmError):
            raise error

    def on_wait(left: float, error: ProviderError, number: int) -> None:
        ran.told.append((left, type(error).__name__, number))

    async def main() -> None:
        async for item in retrying(attempt, policy=policy or RetryPolicy(), gate=gate, on_wait=on_wait,
                                   sleep=ran.clock.sleep, random=lambda: next(drawn, 1.0)):  # fmt: skip
            ran.items.append(item)

    try:
        asyncio.run(main())
    except NbllmError as exc:
        ran.error = exc
    return ran


def busy(seconds: float | None = None) -> RateLimitError:
    return RateLimitError("busy", provider="there", status=429, retry_after_s=seconds)


def down() -> ServerError:
    return ServerError("down", provider="there", status=503)


def gone(phase: str = "connect") -> UnreachableError:
    return UnreachableError("gone", phase=phase, provider="there")


DEFAULT = RetryPolicy()


@dataclass(frozen=True)
class Row:
    id: str
    outcomes: tuple[NbllmError | str | tuple[str, NbllmError], ...]
    attempts: int
    waited: float
    error: type[NbllmError] | None = None
    policy: RetryPolicy = DEFAULT


ROWS = [
    Row("at once", ("a",), 1, 0),
    Row("after one failure", (down(), "a"), 2, 0.5),
    Row("after two, twice as long", (down(), down(), "a"), 3, 1.5),
    Row("after three", (down(), gone(), busy(), "a"), 4, 3.5),
    Row("never a fifth time", (down(), down(), down(), down(), "a"), 4, 3.5, ServerError),
    Row("the cap holds", (down(),), 8, 0.5 + 1 + 2 + 4 + 8 + 8 + 8, ServerError, RetryPolicy(attempts=8)),
    Row("a hint wins over jitter", (busy(7.0), "a"), 2, 7.0),
    Row("a hint of nothing", (busy(0.0), "a"), 2, 0.0),
    Row("a short hint wins too", (busy(0.01), "a"), 2, 0.01),
    Row("a hint of exactly what is left", (busy(60.0), "a"), 2, 60.0),
    Row("a hint longer than allowed ends it", (busy(60.5), "a"), 1, 0, RateLimitError),
    Row("a second hint longer than what is left", (busy(40.0), busy(30.0), "a"), 2, 40.0, RateLimitError),
    Row("hints that just fit", (busy(30.0), busy(30.0), "a"), 3, 60.0),
    Row("no waiting allowed", (down(), "a"), 1, 0, ServerError, RetryPolicy(max_wait_s=0)),
    Row("no waiting allowed, none asked", (busy(0.0), "a"), 2, 0, None, RetryPolicy(max_wait_s=0)),
    Row("never", (busy(0.0), "a"), 1, 0, RateLimitError, NEVER),
    Row("refused connection", (gone("connect"), "a"), 2, 0.5),
    Row("closed before an answer", (gone("closed"), "a"), 2, 0.5),
    Row("overloaded", (OverloadedError("x", status=529), "a"), 2, 0.5),
    Row("408 that says so", (ProviderError("x", status=408, retryable=True), "a"), 2, 0.5),
    Row("a certificate", (UnreachableError("x", phase="tls", retryable=False), "a"), 1, 0, UnreachableError),
    Row("the key", (AuthenticationError("x", status=401), "a"), 1, 0, AuthenticationError),
    Row("the credit", (QuotaError("x", status=429), "a"), 1, 0, QuotaError),
    Row("the credit, with a hint", (QuotaError("x", status=429, retry_after_s=1), "a"), 1, 0, QuotaError),
    Row("no such model", (ModelNotFoundError("x", status=404), "a"), 1, 0, ModelNotFoundError),
    Row("a redirect", (RedirectError("x", status=302), "a"), 1, 0, RedirectError),
    Row("a 503 that must not be repeated", (ServerError("x", status=503, retryable=False), "a"), 1, 0, ServerError),
    Row("a broken stream", (StreamBrokenError("x"), "a"), 1, 0, StreamBrokenError),
    Row("after the first item: broken", (("a", StreamBrokenError("x")), "b"), 1, 0, StreamBrokenError),
    Row("after the first item: an error in the stream", (("a", down()), "b"), 1, 0, ServerError),
    Row("after the first item: a rate limit with a hint", (("a", busy(1.0)), "b"), 1, 0, RateLimitError),
    Row("failures, then cut after the first item", (down(), ("a", gone()), "b"), 2, 0.5, UnreachableError),
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda r: r.id)
def test_the_policy_row_by_row(row: Row) -> None:
    ran = run(*row.outcomes, policy=row.policy)

    assert ran.attempts == list(range(1, row.attempts + 1))
    assert ran.waited == pytest.approx(row.waited)
    assert type(ran.error) is row.error if row.error else ran.error is None
    if isinstance(ran.error, ProviderError):
        assert ran.error.attempts == row.attempts
    assert ran.items in ([], ["a"])


def test_a_refused_hint_keeps_its_seconds() -> None:
    ran = run(busy(3600.0))
    assert isinstance(ran.error, RateLimitError)
    assert ran.error.retry_after_s == 3600.0


def test_a_wait_is_counted_down_each_second() -> None:
    ran = run(busy(3.5), "a")
    assert ran.told == [(left, "RateLimitError", 1) for left in (3.5, 2.5, 1.5, 0.5)]
    assert ran.clock.slept == [1.0, 1.0, 1.0, 0.5]


def test_a_thousand_cuts_after_the_first_item_are_never_repeated() -> None:
    for number in range(1000):
        error = (StreamBrokenError("x"), down(), busy(0.0), gone("closed"))[number % 4]
        ran = run(("a", error), "b")
        assert (ran.items, ran.attempts, ran.clock.slept, ran.error) == (["a"], [1], [], error)


def test_the_jitter_is_full_and_bounded() -> None:
    policy = RetryPolicy()
    assert [policy.delay_s(n, lambda: 1.0) for n in (1, 2, 3, 4, 5, 6, 60)] == [0.5, 1, 2, 4, 8, 8, 8]
    assert [policy.delay_s(n, lambda: 0.0) for n in (1, 5)] == [0, 0]


def test_a_wait_is_never_shorter_than_the_one_before_however_chance_falls() -> None:
    assert run(down(), down(), down(), "a", chance=(0.8, 0.01, 0.01)).clock.slept == pytest.approx([0.4, 0.6, 0.9])
    # After a hint chance begins anew.
    assert run(busy(1.0), down(), "a", chance=(0.25,)).clock.slept == pytest.approx([1.0, 0.25])


def test_a_wait_ends_at_once_when_it_is_cancelled() -> None:
    async def main() -> tuple[int, bool]:
        attempts = 0
        waiting = asyncio.Event()

        async def attempt(number: int) -> AsyncIterator[str]:
            nonlocal attempts
            attempts += 1
            raise busy(50.0)
            yield ""

        async def consume() -> None:
            async for _ in retrying(attempt, policy=RetryPolicy(), gate=gate, on_wait=lambda *_: waiting.set()):
                pass

        gate = Gate()
        task = asyncio.create_task(consume())
        await waiting.wait()
        task.cancel()
        done, _ = await asyncio.wait([task], timeout=5)
        return attempts, task in done and task.cancelled()

    assert asyncio.run(main()) == (1, True)


def test_a_reader_that_leaves_early_closes_the_attempt() -> None:
    async def main() -> list[str]:
        log: list[str] = []

        async def attempt(number: int) -> AsyncIterator[str]:
            try:
                yield "a"
                yield "b"
            finally:
                log.append("closed")

        run = retrying(attempt, policy=RetryPolicy(), gate=Gate())
        async for item in run:
            log.append(item)
            break
        await run.aclose()
        return log

    assert asyncio.run(main()) == ["a", "closed"]


def test_the_error_that_comes_out_holds_no_other_exception() -> None:
    ran = run(down(), gone(), busy())
    assert ran.error is not None
    assert ran.error.__context__ is None
    assert ran.error.__cause__ is None
