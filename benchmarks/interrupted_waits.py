"""What an interrupt at a random instant makes of a wait: of `threading.Event`, of a future, and of nbllm's two.

    python benchmarks/interrupted_waits.py [SECONDS_EACH]

Prints how often each wait ended with which exception; what is there for a long time is named in results/interrupts.md.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import platform
import random
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable

from nbllm import aio

aio.TICK_S = TICK_S = 0.0003
"""Waits wake 300 times as often as they do, so that more interrupts meet the instructions around the lock."""


def event() -> None:
    never = threading.Event()
    while True:
        never.wait(TICK_S)


def future() -> None:
    never: concurrent.futures.Future[None] = concurrent.futures.Future()
    while True:
        with contextlib.suppress(concurrent.futures.TimeoutError):
            never.result(TICK_S)


def run() -> None:
    aio.run(asyncio.sleep(60))


def iterate() -> None:
    async def silence() -> AsyncIterator[int]:
        await asyncio.sleep(60)
        yield 0

    for _ in aio.iterate(silence()):
        pass


def count(wait: Callable[[], None], seconds: float) -> Counter[str]:
    """How the interrupted waits ended."""
    ends = Counter[str]()
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            signal.setitimer(signal.ITIMER_REAL, random.uniform(0.0005, 0.003))
            wait()
        except KeyboardInterrupt:
            ends["KeyboardInterrupt"] += 1
        except RuntimeError as exc:
            ends[f"RuntimeError: {exc}"] += 1
    return ends


def main() -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60
    signal.signal(signal.SIGALRM, interrupt)
    aio.run(asyncio.sleep(0))
    print(f"Python {platform.python_version()}, {seconds:.0f} s each")
    for wait in (event, future, run, iterate):
        print(f"{wait.__name__}: {dict(count(wait, seconds))}", flush=True)


if __name__ == "__main__":
    main()
