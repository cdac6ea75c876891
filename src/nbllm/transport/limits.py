"""A gate before each origin: how many requests and tokens a minute, how many at once, and a circuit breaker."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from nbllm.errors import NbllmError, UnreachableError
from nbllm.providers.spec import RateLimit

FAILURES = 5
"""Connection failures in a row that open the breaker."""
PAUSE_S = 30.0
"""Seconds for which nothing is sent then; after them one request tries."""
_MINUTE_S = 60.0
_TICK_S = 0.001

OnWait = Callable[[float], Awaitable[None] | None]
"""Called with the seconds that are left."""


@dataclass(slots=True)
class _Spent:
    """A request that went through, and the tokens that it took."""

    at: float
    tokens: int


class _Turn:
    """A place in the line before a gate."""

    __slots__ = ("_called",)

    def __init__(self) -> None:
        self._called: asyncio.Future[None] | None = None

    async def come(self) -> None:
        """Wait until `wake`."""
        self._called = asyncio.get_running_loop().create_future()
        await self._called

    def wake(self) -> None:
        """Let it look again."""
        if self._called is not None and not self._called.done():
            self._called.set_result(None)


class Gate:
    """What stands before one origin.

    A request passes with `async with gate.pass_(...)`; its outcome is told with `record`. The breaker opens after
    five connection failures in a row: for 30 s everything is refused at once, then one request may try. Any answer
    closes it, also a 401. A user's own test passes with `bypass=True` whatever the gate thinks.

    Args:
        name: The provider's id, for messages.
        clock: Seconds, never going back.
        sleep: How to wait.
    """

    def __init__(
        self,
        limit: RateLimit | None = None,
        *,
        name: str = "the provider",
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.limit = limit or RateLimit()
        self.name = name
        self._clock = clock
        self._sleep = sleep
        self._spent: deque[_Spent] = deque()
        self._running = 0
        self._line: deque[_Turn] = deque()
        self._failures = 0
        self._last: UnreachableError | None = None
        self._open_until: float | None = None
        self._probing = False

    def configure(self, limit: RateLimit) -> None:
        """Use other limits from now on."""
        self.limit = limit

    # ------------------------------------------------------------ passing

    @asynccontextmanager
    async def pass_(
        self, *, tokens: int = 0, bypass: bool = False, on_wait: OnWait | None = None
    ) -> AsyncIterator[_Spent]:
        """Wait until a request may go, and hold its place until it ends.

        Args:
            tokens: An estimate of what it will take. Correct `.tokens` of what this gives when it is known better.
            bypass: Neither wait nor be refused.
            on_wait: Called about once a second while waiting for a limit.

        Raises:
            UnreachableError: The breaker is open.
        """
        if bypass:
            yield _Spent(self._clock(), tokens)
            return
        self._check()
        await self._wait(tokens, on_wait)
        # Checked once more: the breaker may have opened while this request waited.
        probe = self._check(take=True)
        entry = _Spent(self._clock(), tokens)
        self._spent.append(entry)
        self._running += 1
        try:
            yield entry
        finally:
            self._running -= 1
            if probe:
                self._probing = False
            self._wake_first()

    async def _wait(self, tokens: int, on_wait: OnWait | None) -> None:
        """Until a request of `tokens` may go. Who came first goes first, also past a smaller one that would fit."""
        turn = _Turn()
        self._line.append(turn)
        try:
            while True:
                first = self._line[0] is turn
                left = self._seconds_left(tokens)
                if left > 0 and (first or on_wait is not None):
                    if on_wait is not None:
                        told = on_wait(left)
                        if told is not None:
                            await told
                    # Never so short that the clock does not move by it.
                    await self._sleep(max(_TICK_S, min(1.0, left)))
                elif first and not self._is_full():
                    return
                else:
                    await turn.come()
        finally:
            self._line.remove(turn)
            self._wake_first()

    def _is_full(self) -> bool:
        return self.limit.concurrency is not None and self._running >= self.limit.concurrency

    def _wake_first(self) -> None:
        if self._line:
            self._line[0].wake()

    def _seconds_left(self, tokens: int) -> float:
        """Until the limits of the minute let a request of `tokens` through."""
        now = self._clock()
        while self._spent and self._spent[0].at <= now - _MINUTE_S:
            self._spent.popleft()
        left = 0.0
        requests = self.limit.requests_per_minute
        if requests is not None and len(self._spent) >= requests:
            left = self._spent[len(self._spent) - requests].at + _MINUTE_S - now
        allowed = self.limit.tokens_per_minute
        if allowed is not None:
            over = sum(entry.tokens for entry in self._spent) + tokens - allowed
            for entry in self._spent:  # a request larger than the limit goes alone
                if over <= 0:
                    break
                over -= entry.tokens
                left = max(left, entry.at + _MINUTE_S - now)
        return left

    # ------------------------------------------------------------ breaker

    def _check(self, *, take: bool = False) -> bool:
        """Whether this request is the probe; raises when the breaker is open."""
        if self._open_until is None:
            return False
        left = self._open_until - self._clock()
        if left > 0 or self._probing:
            raise UnreachableError(
                f"{self.name} was not reachable {self._failures} times in a row{self._why()}",
                phase=self._last.phase if self._last else "connect",
                hint=f"it is asked again in {max(1, round(left))} s; `%llm_providers test {self.name}` asks at once"
                if left > 0
                else "one request is trying it now",
                provider=self.name,
                retry_after_s=max(0.0, left),
                retryable=False,
                attempts=0,
            )
        self._probing = take
        return take

    def _why(self) -> str:
        return f" ({self._last.message.removeprefix(f'{self.name}: ')})" if self._last else ""

    def record(self, outcome: NbllmError | None) -> None:
        """Tell how a request ended: None or an error that came as an answer closes the breaker."""
        if not isinstance(outcome, UnreachableError):
            self._failures, self._last, self._open_until = 0, None, None
            return
        if outcome.attempts == 0:  # the breaker's own refusal
            return
        self._failures += 1
        # A copy of the facts: the error itself goes on to the caller, with a traceback that must not be kept.
        self._last = UnreachableError(outcome.message, phase=outcome.phase)
        if self._failures >= FAILURES:
            self._open_until = self._clock() + PAUSE_S

    @property
    def open(self) -> bool:
        """Whether requests are refused at the moment."""
        return self._open_until is not None and self._open_until > self._clock()
