"""One thread that alone touches the database of this process.

SQLite connections and their locks belong to one thread of one process; with one writer there is nothing to share,
and two transactions of one process never wait for each other's locks.
"""

from __future__ import annotations

import queue
import threading
import weakref
from collections.abc import Callable
from typing import Any, Generic, TypeVar, cast

from nbllm import aio
from nbllm.bell import Bell

T = TypeVar("T")

_WAKE_S = 0.1
"""A wait wakes this often: Windows cannot interrupt a lock that waits without a timeout."""


class _Job(Generic[T]):
    """Work for the thread, and what came of it."""

    def __init__(self, work: Callable[[], T]) -> None:
        self.done = Bell()
        self._work = work
        self._result: T | None = None
        self._error: BaseException | None = None

    def execute(self) -> None:
        try:
            self._result = self._work()
        except BaseException as exc:  # noqa: BLE001  (whatever it is, it belongs to the one who waits)
            self._error = exc
        self.done.ring()

    def result(self) -> T:
        error, self._error = self._error, None
        if error is not None:
            try:
                raise error
            finally:
                del error  # else it and this frame keep each other
        return cast("T", self._result)


class Writer:
    """Runs functions one after another on its own thread, which starts with the first of them.

    In a forked child the thread is gone; the next `run` starts another, and `on_fork` is called before it.

    Args:
        on_fork: Called in a forked child, on the forking thread: drop what must not be shared.
    """

    def __init__(self, on_fork: Callable[[], None]) -> None:
        self._on_fork = on_fork
        self._reset()
        forked = weakref.WeakMethod(self._forked)
        aio.on_fork(lambda: (callback := forked()) and callback())

    def _reset(self) -> None:
        self._jobs: queue.SimpleQueue[_Job[Any] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        # Not `is_alive()`: interrupted within, it takes a living thread for a dead one from then on (bpo-45274).
        self._ended = Bell()
        self._inline = False

    def _forked(self) -> None:
        self._reset()
        self._on_fork()

    def run(self, job: Callable[[], T]) -> T:
        """Run `job` on the writer's thread and wait for its result.

        An interrupt ends the wait, not the job: a transaction is finished or undone, never left open.
        """
        thread = self._started()
        if thread is None or threading.current_thread() is thread:
            return job()
        entry = _Job(job)
        self._jobs.put(entry)
        while not entry.done.wait(_WAKE_S):
            pass
        return entry.result()

    def _started(self) -> threading.Thread | None:
        if self._is_ready():
            return self._thread
        with self._lock:
            if self._is_ready():
                return self._thread
            self._ended = Bell()
            self._thread = threading.Thread(
                target=self._serve, args=(self._jobs, self._ended), name="nbllm-store", daemon=True
            )
            try:
                self._thread.start()
            except RuntimeError:  # no threads here (JupyterLite), or the interpreter is ending
                self._thread, self._inline = None, True
            return self._thread

    def _is_ready(self) -> bool:
        return self._inline or (self._thread is not None and not self._ended.is_rung())

    @staticmethod
    def _serve(jobs: queue.SimpleQueue[_Job[Any] | None], ended: Bell) -> None:
        try:
            while (entry := jobs.get()) is not None:
                entry.execute()
                del entry  # nothing of the last job stays alive while waiting for the next
        finally:
            ended.ring()

    def stop(self) -> None:
        """End the thread after the jobs that wait. A later `run` starts it again."""
        with self._lock:
            thread, self._thread = self._thread, None
        if thread is not None and thread.is_alive() and thread is not threading.current_thread():
            self._jobs.put(None)
            thread.join()
