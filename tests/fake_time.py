"""An event loop whose time passes only when nobody has anything to do, and then at once.

A thousand requests at one a second take as long as their work; what waits is woken at exactly its moment, in order.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class FakeTimeLoop(asyncio.SelectorEventLoop):
    """`time()` is the fake clock; `asyncio.sleep` waits by it."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def time(self) -> float:
        return self.now

    def _run_once(self) -> None:
        loop: Any = self
        while loop._scheduled and loop._scheduled[0]._cancelled:
            loop._timer_cancelled_count -= 1
            handle = loop._scheduled.pop(0)
            handle._scheduled = False
            loop._scheduled.sort()
        if not loop._ready and loop._scheduled:
            self.now = max(self.now, loop._scheduled[0]._when)
        super()._run_once()  # type: ignore[misc]


def run(main: Callable[[FakeTimeLoop], Coroutine[Any, Any, T]]) -> T:
    """The result of `main`, which is given the loop for its clock."""
    loop = FakeTimeLoop()
    try:
        return loop.run_until_complete(main(loop))
    finally:
        loop.close()
