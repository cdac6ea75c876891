"""The one background event loop of the process.

Every request runs on it; callers on any other thread use `run` (one result), `iterate` (a stream) or `submit`
(a future). The loop lives in a daemon thread, is made anew after a fork, and is never entered from itself.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import os
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any, Generic, TypeVar

from nbllm.bell import Bell

T = TypeVar("T")

TICK_S = 0.1
"""A wait wakes this often, since Windows cannot interrupt a lock without a timeout; also the render tick."""
_HAND_OVER_S = 0.0005
_CLOSE_S = 2.0
"""How long a cancelled stream may take to close its connection before the caller goes on."""


class _Loop:
    """An event loop in a daemon thread."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        # Not `thread.is_alive()`: interrupted within, it takes a living thread for a dead one from then on (bpo-45274).
        self.ended = False
        self.thread = threading.Thread(target=self._serve, name="nbllm-loop", daemon=True)
        self.thread.start()

    def _serve(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_forever()
        finally:
            self.ended = True


_current: _Loop | None = None
_lock = threading.Lock()
_after_fork: list[Callable[[], None]] = []


def _forget() -> None:
    """In a forked child the thread is gone although the loop says that it runs: drop everything."""
    global _current, _lock
    _current = None
    _lock = threading.Lock()
    for callback in _after_fork:
        callback()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def on_fork(callback: Callable[[], None]) -> None:
    """Have `callback` called in every forked child: for connections that must not be shared."""
    _after_fork.append(callback)


def _get() -> _Loop:
    global _current
    if (current := _current) is not None and not current.ended:
        return current
    with _lock:
        if _current is None or _current.ended:
            try:
                _current = _Loop()
            except RuntimeError as exc:  # JupyterLite has no threads
                raise RuntimeError("this Python cannot start threads; use `await nbllm.achat(...)`") from exc
        return _current


class _Work(Generic[T]):
    """A coroutine on the loop, and one thread that waits for it and may be interrupted at any instruction.

    Nothing here takes a lock that is written in Python, for the reason that `Bell` gives.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, T]) -> None:
        self.bell = Bell()
        self.ended = False
        self._coroutine = coroutine
        self._task: asyncio.Task[T] | None = None
        self._loop = _get().loop

    def start(self) -> None:
        """Begin; apart from the constructor, so that whoever has the work can end it whenever it is interrupted."""
        self._loop.call_soon_threadsafe(self._start)

    def _start(self) -> None:
        self._task = self._loop.create_task(self._coroutine)
        self._task.add_done_callback(self._finish)  # also called when the task is cancelled before its first step

    def _finish(self, task: asyncio.Task[T]) -> None:
        if not task.cancelled():
            task.exception()  # seen, also where nobody waits any longer
        self.ended = True
        self._tell()

    def _tell(self) -> None:
        self.bell.ring()

    def result(self) -> T:
        """What the coroutine returned or raised, once it has ended."""
        assert self._task is not None
        return self._task.result()

    def cancel(self) -> None:
        """Have it cancelled; `ended` says when it is."""
        if not self.ended:
            self._loop.call_soon_threadsafe(self._cancel)

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()
        else:  # interrupted before `start`
            self._coroutine.close()
            self.ended = True
            self._tell()

    def stop(self) -> None:
        """Cancel, and wait until it has ended, at most two seconds."""
        self.cancel()
        end = time.monotonic() + _CLOSE_S
        while not self.ended and (left_s := end - time.monotonic()) > 0:
            self.bell.wait(left_s)


def in_loop() -> bool:
    """Whether the calling thread is the loop's own."""
    return _current is not None and threading.current_thread() is _current.thread


def submit(coroutine: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
    """Start `coroutine` on the loop and return at once."""
    return asyncio.run_coroutine_threadsafe(coroutine, _get().loop)


def run(coroutine: Coroutine[Any, Any, T], *, on_tick: Callable[[], None] | None = None) -> T:
    """Run `coroutine` on the loop and wait for its result.

    Args:
        coroutine: What to run. It is cancelled when the wait is interrupted.
        on_tick: Called on the calling thread about ten times a second while waiting.

    Raises:
        RuntimeError: Called on the loop's own thread, where waiting would never end.
    """
    _refuse_own_thread(coroutine)
    work = _Work(coroutine)
    try:
        work.start()
        while not work.ended:
            if not work.bell.wait(TICK_S) and on_tick is not None:
                on_tick()
        return work.result()
    except BaseException:
        work.cancel()
        raise


def _refuse_own_thread(coroutine: Coroutine[Any, Any, Any] | None = None) -> None:
    if in_loop():
        if coroutine is not None:
            coroutine.close()
        raise RuntimeError("nbllm's event loop cannot wait for itself; await the coroutine instead")


class _Pump(_Work[None]):
    """Moves the items of an asynchronous iterator from the loop's thread to one other thread.

    Items wait in a deque, so one wake-up takes all that is there.

    Args:
        source: Where they come from.
        wake: Called on the loop's thread whenever `bell` is rung, for a reader that is itself a loop.
    """

    def __init__(self, source: AsyncIterator[Any], *, wake: Callable[[], object] | None = None) -> None:
        super().__init__(self._move())
        self.items: deque[Any] = deque()
        self._source = source
        self._wake = wake

    async def _move(self) -> None:
        first = True
        try:
            async for item in self._source:
                self.items.append(item)
                if not self.bell.is_rung():
                    self._tell()
                    if first:
                        # Lets go of the GIL, so that the waiting thread has the first item at once and not after
                        # the interpreter's switch interval of 5 ms, when more comes than this loop can read.
                        first = False
                        await asyncio.sleep(_HAND_OVER_S)
        finally:
            close = getattr(self._source, "aclose", None)
            if close is not None:
                await close()

    def _tell(self) -> None:
        super()._tell()
        if self._wake is not None:
            with contextlib.suppress(RuntimeError):  # the reader's loop has ended
                self._wake()

    def raise_error(self) -> None:
        """Raise what the source raised; a source that was cancelled has only ended."""
        if self._task is not None and not self._task.cancelled():
            self._task.result()


def iterate(source: AsyncIterator[T], *, on_tick: Callable[[], None] | None = None) -> Iterator[T]:
    """Iterate over an asynchronous iterator from an ordinary thread.

    The source runs on the loop. When the caller stops early or is interrupted, it is cancelled and has closed
    (its `finally` blocks have run) before control goes on, or two seconds have passed.

    Args:
        source: The iterator; `aclose` is called at the end if it has one.
        on_tick: Called on the calling thread about ten times a second while nothing arrives.

    Raises:
        RuntimeError: Called on the loop's own thread.
    """
    _refuse_own_thread()
    pump = _Pump(source)
    try:
        pump.start()
        while True:
            while pump.items:
                yield pump.items.popleft()
            if pump.ended:
                if pump.items:
                    continue
                pump.raise_error()
                return
            if not pump.bell.wait(TICK_S) and on_tick is not None:
                on_tick()
    finally:
        pump.stop()


async def wait_in_caller(coroutine: Coroutine[Any, Any, T]) -> T:
    """Await, on the caller's own loop, a coroutine that runs on the background loop.

    A task ticks beside the wait: without one, ipykernel does not stop an `await` on something silent when the
    kernel is interrupted (measured on 6.30 to 7.4; notebook facts in docs/explanation/notebooks.md).
    """
    if in_loop():
        return await coroutine
    future = asyncio.wrap_future(submit(coroutine))
    ticker = asyncio.ensure_future(_tick())
    try:
        return await future
    finally:
        ticker.cancel()


async def stream_in_caller(source: AsyncIterator[T]) -> AsyncIterator[T]:
    """Iterate, on the caller's own loop, over an asynchronous iterator that runs on the background loop.

    When the caller stops early or is cancelled, the source has closed before control goes on, or two seconds have
    passed.
    """
    if in_loop():
        async for item in source:
            yield item
        return
    here = asyncio.get_running_loop()
    ready = asyncio.Event()
    pump = _Pump(source, wake=lambda: here.call_soon_threadsafe(ready.set))
    ticker = asyncio.ensure_future(_tick())
    try:
        pump.start()
        while True:
            while pump.items:
                yield pump.items.popleft()
            if pump.ended and not pump.items:
                break
            await ready.wait()
            ready.clear()
            pump.bell.wait(0)  # before the items are taken: what comes after this wakes again
        pump.raise_error()
    finally:
        ticker.cancel()
        if not pump.ended:
            pump.cancel()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(_ended(pump, ready), _CLOSE_S)


async def _ended(pump: _Pump, ready: asyncio.Event) -> None:
    while not pump.ended:
        ready.clear()
        if not pump.ended:
            await ready.wait()


async def _tick() -> None:
    while True:  # noqa: ASYNC110  (the tick is the purpose)
        await asyncio.sleep(TICK_S / 2)
