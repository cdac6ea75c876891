"""The only place where a request is sent again.

Retried are refused connections, 408, 409, 429 (not when the credit is used up), 500, 502, 503, 504 and 529, and only
while nothing of the answer has come: after the first item its text is on the screen, and a second answer would be
another one. Which errors qualify is said by the error itself (`retryable`); `is_retryable` decides that for a status.
"""

from __future__ import annotations

import asyncio
import random as random_
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TypeVar

from nbllm.errors import NbllmError, ProviderError, RateLimitError
from nbllm.transport.limits import Gate

T = TypeVar("T")

RETRYABLE = frozenset({408, 409, 429, 500, 502, 503, 504, 529})
"""Statuses after which the same request may succeed."""
_TICK_S = 1.0
"""A wait is told about this often."""
_GROWTH = 1.5
"""Each wait without a hint is at least this many times the one before."""
_LONGEST_S = 30 * 86_400.0
"""A hint beyond a month is a mistake: it counts as this."""

OnWait = Callable[[float, ProviderError, int], Awaitable[None] | None]
"""Called with the seconds that are left, what failed, and how many attempts were made."""
Sleep = Callable[[float], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often, and how long."""

    attempts: int = 4
    """Requests in all, the first included."""
    max_wait_s: float = 60.0
    """Seconds of waiting in all. A hint beyond what is left of them ends it at once."""
    base_s: float = 0.5
    """The first wait without a hint is somewhere between 0 and this; each further one up to twice as long."""
    cap_s: float = 8.0
    """No wait without a hint is longer."""

    def delay_s(self, attempt: int, random: Callable[[], float], *, last_s: float = 0.0) -> float:
        """Full jitter after `attempt` (from 1): anything from 0 to the bound, so that clients spread out.

        Half as long again as the wait before (`last_s`) at least: chance alone makes one wait in four shorter than
        the one before it, which to a server is no backing off.
        """
        jittered = random() * min(self.cap_s, self.base_s * 2.0 ** (attempt - 1))
        return max(jittered, min(self.cap_s, _GROWTH * last_s))


NEVER = RetryPolicy(attempts=1, max_wait_s=0.0)
"""One request, whatever comes."""


async def retrying(
    attempt: Callable[[int], AsyncIterator[T]],
    *,
    policy: RetryPolicy,
    gate: Gate,
    on_wait: OnWait | None = None,
    tokens: int = 0,
    bypass: bool = False,
    sleep: Sleep = asyncio.sleep,
    random: Callable[[], float] = random_.random,
) -> AsyncGenerator[T, None]:
    """The items of one attempt, after as many failed ones as the policy allows.

    Args:
        attempt: Called with the number of the attempt, from 1; sends once and yields what comes.
        policy: How often and how long.
        gate: What stands before the origin.
        on_wait: Called once a second while waiting, so that a countdown can be shown. A wait ends at once when
            the task is cancelled.
        tokens: An estimate of what the request takes, for a limit of tokens a minute.
        bypass: A user's own test: neither limits nor the breaker stop it.
        sleep: How to wait.
        random: From 0 to 1.

    Raises:
        ProviderError: The last attempt's, with `attempts` set; or one whose `retry_after_s` is longer than what is
            left of `policy.max_wait_s`.
    """
    waited = last = 0.0
    number = 0
    before: ProviderError | None = None
    while True:
        number += 1
        begun = False
        failure: NbllmError | None = None
        items = attempt(number)
        try:
            async with gate.pass_(tokens=tokens, bypass=bypass, on_wait=_limited(on_wait, gate, number - 1)):
                async for item in items:
                    if not begun:
                        begun = True
                        gate.record(None)
                    yield item
        except NbllmError as exc:
            failure = exc
        finally:
            close = getattr(items, "aclose", None)
            if close is not None:
                await close()
        if failure is None:
            gate.record(None)
            return
        delay = _judge(failure, number, waited, last=last, begun=begun, policy=policy, gate=gate, random=random)
        if delay is None or not isinstance(failure, ProviderError):
            # When the breaker opened on the way, what opened it says more than the breaker does.
            raise before if before is not None and _is_refusal(failure, number) else failure
        before = failure
        last = delay if failure.retry_after_s is None else 0.0
        await _count_down(delay, failure, number, on_wait, sleep)
        waited += delay


def _judge(
    failure: NbllmError,
    number: int,
    waited: float,
    *,
    last: float,
    begun: bool,
    policy: RetryPolicy,
    gate: Gate,
    random: Callable[[], float],
) -> float | None:
    """Seconds to wait before the next attempt, or None when this failure is the last word."""
    if not begun or isinstance(failure, ProviderError):
        gate.record(failure)
    if not isinstance(failure, ProviderError):
        return None
    if failure.attempts:  # 0: the breaker refused, nothing was sent
        failure.attempts = number
    else:
        failure.attempts = number - 1
        return None
    if begun or not failure.retryable or number >= policy.attempts:
        return None
    hinted = failure.retry_after_s
    delay = policy.delay_s(number, random, last_s=last) if hinted is None else hinted
    return delay if waited + delay <= policy.max_wait_s else None


def _is_refusal(failure: NbllmError, number: int) -> bool:
    """Whether the gate refused, so that nothing was sent: it is one attempt behind."""
    return isinstance(failure, ProviderError) and failure.attempts < number


async def _count_down(delay: float, failure: ProviderError, number: int, on_wait: OnWait | None, sleep: Sleep) -> None:
    left = delay
    while True:
        if on_wait is not None:
            told = on_wait(left, failure, number)
            if told is not None:
                await told
        if left <= 0:
            return
        step = min(_TICK_S, left)
        await sleep(step)
        left -= step
        if left <= 0:
            return


def _limited(on_wait: OnWait | None, gate: Gate, number: int) -> Callable[[float], Awaitable[None] | None] | None:
    """Tells of a wait for our own limits in the same way as of one that the provider wants."""
    if on_wait is None:
        return None
    return lambda left: on_wait(left, RateLimitError(f"the rate limit set for {gate.name}", provider=gate.name), number)


# ---------------------------------------------------------------- what the server says


def is_retryable(status: int, headers: Mapping[str, str] | None = None) -> bool:
    """Whether a request that got this status may succeed later. The header `x-should-retry` has the last word."""
    said = _lower(headers or {}).get("x-should-retry", "").strip().lower()
    if said in ("true", "false"):
        return said == "true"
    return status in RETRYABLE


def retry_after_s(headers: Mapping[str, str], body: str = "", *, now: float | None = None) -> float | None:
    """Seconds that the server asks to wait; None when it does not say, or says nonsense.

    Read in this order: `retry-after-ms`, `retry-after` (seconds, also broken ones, or a date), litellm's
    `llm_provider-retry-after`, `retryDelay` in the body (Google's RetryInfo), and words such as "try again in 1m2s".
    The past is 0.

    Args:
        headers: Of the answer, in any case.
        body: Of the answer.
        now: Seconds since 1970, for dates.
    """
    now = time.time() if now is None else now
    lower = _lower(headers)
    found = _number(lower.get("retry-after-ms"), scale=0.001)
    for name in ("retry-after", "llm_provider-retry-after"):
        if found is None and name in lower:
            found = _number(lower[name])
            found = _date(lower[name], now) if found is None else found
    if found is None and body:
        found = _in_body(body[:20_000])
    return found


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def _number(text: str | None, *, scale: float = 1.0) -> float | None:
    text = (text or "").strip()
    # float() also takes "nan", "inf" and "1_0", which no server means.
    if not re.fullmatch(r"[+-]?(\d{1,30}(\.\d{0,30})?|\.\d{1,30})s?", text, re.ASCII):
        return None
    return _bounded(float(text.removesuffix("s")) * scale)


def _bounded(seconds: float) -> float:
    return min(max(0.0, seconds), _LONGEST_S)


def _date(text: str, now: float) -> float | None:
    try:
        return _bounded(parsedate_to_datetime(text.strip()).timestamp() - now)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


# Google's RetryInfo: https://github.com/googleapis/googleapis/blob/master/google/rpc/error_details.proto
_RETRY_DELAY = re.compile(r'"retryDelay"\s*:\s*"(\d{1,9}(?:\.\d{1,9})?)s"')
_WORDS = re.compile(
    r"(?:try again|retry|retrying|wait)\s+(?:in|after|for)?\s*(?:about\s+)?"
    r"((?:\d{1,6}(?:\.\d{1,9})?\s*(?:ms|milliseconds?|hours?|hrs?|minutes?|mins?|seconds?|secs?|h|m|s)\b[\s,]*(?:and\s+)?|"
    r"\d{1,6}(?:\.\d{1,9})?(?:ms|[hms])(?=\d))+)",
    re.IGNORECASE,
)
_SPAN = re.compile(r"(\d{1,6}(?:\.\d{1,9})?)\s*(ms|milli|h|m|s)", re.IGNORECASE)
_UNITS = {"ms": 0.001, "milli": 0.001, "h": 3600.0, "m": 60.0, "s": 1.0}


def _in_body(body: str) -> float | None:
    found = _RETRY_DELAY.search(body)
    if found:
        return _bounded(float(found[1]))
    words = _WORDS.search(body)
    if not words:
        return None
    return _bounded(sum(float(amount) * _UNITS[unit.lower()] for amount, unit in _SPAN.findall(words[1])))
