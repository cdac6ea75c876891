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
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any, TypeVar

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
        self.thread = threading.Thread(target=self._serve, name="nbllm-loop", daemon=True)
        self.thread.start()

    def _serve(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()


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
    with _lock:
        if _current is None or not _current.thread.is_alive():
            try:
                _current = _Loop()
            except RuntimeError as exc:  # JupyterLite has no threads
                raise RuntimeError("this Python cannot start threads; use `await nbllm.achat(...)`") from exc
        return _current


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
    future = submit(coroutine)
    try:
        while True:
            try:
                return future.result(timeout=TICK_S)
            except concurrent.futures.TimeoutError:
                if future.done():
                    return future.result()  # finished just now, or a TimeoutError of its own
                if on_tick is not None:
                    on_tick()
    except BaseException:
        _cancel(future)
        raise


def _refuse_own_thread(coroutine: Coroutine[Any, Any, Any] | None = None) -> None:
    if in_loop():
        if coroutine is not None:
            coroutine.close()
        raise RuntimeError("nbllm's event loop cannot wait for itself; await the coroutine instead")


def _cancel(future: concurrent.futures.Future[Any]) -> None:
    """Cancel, and give the task a moment to close its connection."""
    if future.done():
        return
    future.cancel()


class _Pump:
    """Moves the items of an asynchronous iterator from the loop's thread to one other thread.

    Items wait in a deque, so one wake-up takes all that is there.

    Args:
        source: Where they come from.
        wake: Called on the loop's thread whenever `ready` becomes set, for a reader that is itself a loop.
    """

    def __init__(self, source: AsyncIterator[Any], *, wake: Callable[[], object] | None = None) -> None:
        self.items: deque[Any] = deque()
        self.ready = threading.Event()
        self.closed = threading.Event()
        self.error: BaseException | None = None
        self._source = source
        self._wake = wake
        self._task: asyncio.Task[None] | None = None
        self._loop = _get().loop
        self._loop.call_soon_threadsafe(self._start)

    def _start(self) -> None:
        self._task = self._loop.create_task(self._move())
        self._task.add_done_callback(self._finish)  # also called when the task is cancelled before its first step

    async def _move(self) -> None:
        first = True
        try:
            async for item in self._source:
                self.items.append(item)
                if not self.ready.is_set():
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

    def _finish(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            self.error = task.exception()
        self.closed.set()
        self._tell()

    def _tell(self) -> None:
        self.ready.set()
        if self._wake is not None:
            with contextlib.suppress(RuntimeError):  # the reader's loop has ended
                self._wake()

    def cancel(self) -> None:
        """Have the source closed; `closed` says when it is."""
        self._loop.call_soon_threadsafe(lambda: self._task and self._task.cancel())

    def stop(self) -> None:
        """Cancel, and wait until the source has closed, at most two seconds."""
        if not self.closed.is_set():
            self.cancel()
            self.closed.wait(_CLOSE_S)


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
        while True:
            while pump.items:
                yield pump.items.popleft()
            if pump.closed.is_set():
                if pump.items:
                    continue
                if pump.error is not None:
                    raise pump.error
                return
            if pump.ready.wait(TICK_S):
                pump.ready.clear()
            elif on_tick is not None:
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
        while True:
            while pump.items:
                yield pump.items.popleft()
            if pump.closed.is_set() and not pump.items:
                break
            await ready.wait()
            ready.clear()
            pump.ready.clear()  # before the items are taken: what comes after this wakes again
        if pump.error is not None:
            raise pump.error
    finally:
        ticker.cancel()
        if not pump.closed.is_set():
            pump.cancel()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(_closed(pump, ready), _CLOSE_S)


async def _closed(pump: _Pump, ready: asyncio.Event) -> None:
    while not pump.closed.is_set():
        ready.clear()
        if not pump.closed.is_set():
            await ready.wait()


async def _tick() -> None:
    while True:  # noqa: ASYNC110  (the tick is the purpose)
        await asyncio.sleep(TICK_S / 2)
