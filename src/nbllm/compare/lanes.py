"""How many requests to one provider are under way at once: more while it goes well, fewer when it asks for that.

Slow start as in TCP: each answer allows one more, so the number doubles with each round of answers, until the provider
says 429 for the first time. Then it halves, the lane pauses for as long as the provider asked, and from there on it
grows by one a round. Where the row says how many may be under way, a run begins with as many: there is nothing to find
out. The row's limits of the minute are kept by the gate before the origin, not here.
"""

from __future__ import annotations

import time
from collections.abc import Callable

START = 20
"""Requests at once in the beginning, unless the row says how many it allows."""
CAP = 100
"""Never more at once, unless the row says how many it allows."""


class Lane:
    """One provider's share of a run. Used on one event loop.

    Args:
        cap: The most at once.
        start: How many in the beginning.
        clock: Seconds, never going back.
    """

    def __init__(self, *, cap: int = CAP, start: int = START, clock: Callable[[], float] = time.monotonic) -> None:
        self.cap = max(1, cap)
        self.stopped: str | None = None
        """Why nothing more is sent; None while it goes on."""
        self._allowed = float(min(start, self.cap))
        self._slow_start = True
        self._clock = clock
        self._resume_at = 0.0
        self._halved_at: float | None = None

    @property
    def allowed(self) -> int:
        """Requests that may be under way at once now."""
        return int(self._allowed)

    def free(self, running: int) -> int:
        """How many more may be sent now, when `running` are under way."""
        return 0 if self.stopped is not None or self.pause_s() > 0 else max(0, self.allowed - running)

    def pause_s(self) -> float:
        """Seconds until the lane goes on; 0 when it is not paused."""
        return max(0.0, self._resume_at - self._clock())

    def answered(self) -> None:
        """One answer came."""
        grown = self._allowed + (1.0 if self._slow_start else 1.0 / self._allowed)
        self._allowed = min(float(self.cap), grown)

    def limited(self, wait_s: float) -> None:
        """The provider asked for fewer requests, and for none during `wait_s`.

        All requests that were under way may be refused at once; they count as one sign.
        """
        now = self._clock()
        self._resume_at = max(self._resume_at, now + wait_s)
        if self._halved_at is None or now >= self._halved_at:
            self._slow_start = False
            self._allowed = max(1.0, self._allowed / 2)
            self._halved_at = now + max(1.0, wait_s)

    def stop(self, why: str) -> None:
        """Send nothing more."""
        self.stopped = self.stopped or why
