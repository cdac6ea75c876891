"""The background loop: results, streams, interrupts, forks."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import FrameType
from typing import Any

import pytest

from nbllm import aio, bell
from nbllm.store import writer
from nbllm.store.writer import Writer


class Source:
    """Counts up; remembers whether it was closed."""

    def __init__(self, count: int, *, then: Callable[[], object] | None = None, wait: bool = False) -> None:
        self.closed = threading.Event()
        self._count, self._then, self._wait = count, then, wait

    async def items(self) -> AsyncIterator[int]:
        try:
            for number in range(self._count):
                yield number
            if self._wait:
                await asyncio.sleep(60)
            if self._then is not None:
                self._then()
        finally:
            await asyncio.sleep(0)  # closing a connection takes a turn of the loop
            self.closed.set()


async def _tasks() -> int:
    return len(asyncio.all_tasks()) - 1


@pytest.fixture(autouse=True)
def no_task_stays() -> Iterator[None]:
    yield
    deadline = time.monotonic() + 5
    while aio.run(_tasks()) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert aio.run(_tasks()) == 0


def test_ten_thousand_items_come_in_order() -> None:
    source = Source(10_000)
    assert list(aio.iterate(source.items())) == list(range(10_000))
    assert source.closed.is_set()


def test_an_exception_of_the_source_passes_after_its_items() -> None:
    def fail() -> None:
        raise LookupError("from the source")

    source, seen = Source(3, then=fail), list[int]()
    with pytest.raises(LookupError, match="from the source"):
        seen.extend(aio.iterate(source.items()))
    assert seen == [0, 1, 2]
    assert source.closed.is_set()


def test_leaving_early_closes_the_source_before_going_on() -> None:
    source = Source(5, wait=True)
    stream = aio.iterate(source.items())
    assert next(stream) == 0
    stream.close()  # type: ignore[attr-defined]
    assert source.closed.is_set()


def test_closing_before_the_first_step_leaves_nothing() -> None:
    source = Source(5)
    aio.iterate(source.items()).close()  # type: ignore[attr-defined]
    for is_started in (True, False):
        pump = aio._Pump(Source(5, wait=True).items())
        if is_started:
            pump.start()
        pump.stop()
        assert pump.ended


def test_an_interrupt_closes_the_source() -> None:
    source = Source(1, wait=True)

    def interrupt() -> None:
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        for _ in aio.iterate(source.items(), on_tick=interrupt):
            pass
    assert source.closed.is_set()


def test_an_interrupt_of_a_wait_cancels_it() -> None:
    cancelled = threading.Event()

    async def wait() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            cancelled.set()

    with pytest.raises(KeyboardInterrupt):
        aio.run(wait(), on_tick=lambda: signal.raise_signal(signal.SIGINT))
    assert cancelled.wait(5)


class Interrupter:
    """Interrupts the calling thread before its n-th line of a wait, as a signal just then does."""

    def __init__(self, at: int) -> None:
        self._left = at
        self.place = ""

    def __enter__(self) -> None:
        sys.settrace(self._trace)

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)

    def _trace(self, frame: FrameType, event: str, arg: object) -> Callable[..., Any] | None:
        if frame.f_code.co_filename not in (aio.__file__, bell.__file__, writer.__file__, threading.__file__):
            return None
        if event == "line":
            self._left -= 1
            if self._left == 0:
                self.place = frame.f_code.co_name
                sys.settrace(None)
                raise KeyboardInterrupt
        return self._trace


def _iterate_silence(interrupter: Interrupter) -> None:
    source = Source(0, wait=True)
    stream = aio.iterate(source.items())
    with interrupter:
        next(stream)


def _wait_in_silence(interrupter: Interrupter) -> None:
    with interrupter:
        aio.run(asyncio.sleep(60))


_writer = Writer(on_fork=lambda: None)


def _write(interrupter: Interrupter) -> None:
    released = threading.Event()
    try:
        with interrupter:
            _writer.run(lambda: released.wait(20))
    finally:
        released.set()


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")  # interrupted before it was
@pytest.mark.parametrize("wait", [_iterate_silence, _wait_in_silence, _write])
def test_an_interrupt_at_any_line_of_a_wait_is_an_interrupt(
    wait: Callable[[Interrupter], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wait on a Condition, which is Python too, turned some of them into RuntimeError: release unlocked lock."""
    monkeypatch.setattr(aio, "TICK_S", 0.001)
    monkeypatch.setattr(writer, "_WAKE_S", 0.001)
    aio.run(_tasks())
    _writer.run(lambda: None)  # both threads are there
    places = Counter[str]()

    def everywhere() -> None:
        for at in range(1, 200):
            interrupter = Interrupter(at)
            with pytest.raises(KeyboardInterrupt):
                wait(interrupter)
            places[interrupter.place] += 1

    # In a thread of its own: an exception whose handler is left by a trace function stays the one being handled, on
    # CPython 3.11, and would be the context of all that the thread raises afterwards.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(everywhere).result()
    assert places["wait"] > 20
    assert _writer.run(lambda: 7) == 7
    _writer.stop()


def test_a_result_and_an_error_come_back() -> None:
    async def give() -> int:
        return 7

    async def fail() -> None:
        raise TimeoutError("its own")

    assert aio.run(give()) == 7
    with pytest.raises(TimeoutError, match="its own"):
        aio.run(fail())


def test_the_loop_refuses_to_wait_for_itself() -> None:
    async def inner() -> None: ...

    async def outer() -> list[str]:
        said = []
        for call in (lambda: aio.run(inner()), lambda: list(aio.iterate(Source(1).items()))):
            try:
                call()
            except RuntimeError as exc:
                said.append(str(exc))
        return said

    assert aio.run(outer()) == ["nbllm's event loop cannot wait for itself; await the coroutine instead"] * 2


def test_ticks_come_only_while_nothing_arrives() -> None:
    ticks: list[int] = []
    assert len(list(aio.iterate(Source(1000).items(), on_tick=lambda: ticks.append(1)))) == 1000
    assert len(ticks) <= 1


def test_a_stream_is_read_on_another_loop_too() -> None:
    source, early = Source(1000), Source(5, wait=True)

    async def read() -> list[int]:
        async for _ in aio.stream_in_caller(early.items()):
            break
        return [item async for item in aio.stream_in_caller(source.items())]

    assert asyncio.run(read()) == list(range(1000))
    assert source.closed.is_set()
    assert early.closed.wait(5)  # `break` leaves closing to the event loop


def test_an_exception_passes_to_another_loop_too() -> None:
    def fail() -> None:
        raise LookupError("from the source")

    async def read() -> list[int]:
        return [item async for item in aio.stream_in_caller(Source(3, then=fail).items())]

    with pytest.raises(LookupError, match="from the source"):
        asyncio.run(read())


def test_cancelling_the_other_loop_closes_the_source() -> None:
    source = Source(1, wait=True)

    async def read() -> None:
        async for _ in aio.stream_in_caller(source.items()):
            pass

    async def main() -> None:
        task = asyncio.create_task(read())
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert source.closed.is_set()


def test_a_wait_on_another_loop_gives_the_result_and_the_error() -> None:
    async def give() -> int:
        return 7

    async def fail() -> None:
        raise LookupError("x")

    async def main() -> None:
        assert await aio.wait_in_caller(give()) == 7
        with pytest.raises(LookupError):
            await aio.wait_in_caller(fail())

    asyncio.run(main())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_has_a_loop_of_its_own() -> None:
    told: list[int] = []
    aio.on_fork(lambda: told.append(1))
    aio.run(asyncio.sleep(0))
    child = os.fork()
    if child == 0:
        try:
            works = list(aio.iterate(Source(3).items())) == [0, 1, 2] and told == [1]
        finally:
            os._exit(0 if works else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert told == []
    assert list(aio.iterate(Source(3).items())) == [0, 1, 2]


def test_many_threads_share_the_loop() -> None:
    results: list[list[int]] = []
    threads = [
        threading.Thread(target=lambda: results.append(list(aio.iterate(Source(500).items())))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [list(range(500))] * 8
