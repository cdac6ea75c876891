"""One thread that alone touches the database of this process.

SQLite connections and their locks belong to one thread of one process; with one writer there is nothing to share,
and two transactions of one process never wait for each other's locks.
"""

from __future__ import annotations

import concurrent.futures
import queue
import threading
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

from nbllm import aio

T = TypeVar("T")

_WAKE_S = 0.1
"""A wait wakes this often: Windows cannot interrupt a lock that waits without a timeout."""

_Job = tuple[Callable[[], Any], "concurrent.futures.Future[Any]"]


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
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
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
        future: concurrent.futures.Future[T] = concurrent.futures.Future()
        self._jobs.put((job, future))
        while True:
            try:
                return future.result(timeout=_WAKE_S)
            except concurrent.futures.TimeoutError:
                if future.done():
                    return future.result()

    def _started(self) -> threading.Thread | None:
        with self._lock:
            if self._inline or (self._thread is not None and self._thread.is_alive()):
                return self._thread
            self._thread = threading.Thread(target=self._serve, args=(self._jobs,), name="nbllm-store", daemon=True)
            try:
                self._thread.start()
            except RuntimeError:  # no threads here (JupyterLite), or the interpreter is ending
                self._thread, self._inline = None, True
            return self._thread

    @staticmethod
    def _serve(jobs: queue.SimpleQueue[_Job | None]) -> None:
        while (entry := jobs.get()) is not None:
            job, future = entry
            try:
                future.set_result(job())
            except BaseException as exc:  # noqa: BLE001  (whatever it is, it belongs to the one who waits)
                future.set_exception(exc)
            del entry, job, future  # nothing of the last job stays alive while waiting for the next

    def stop(self) -> None:
        """End the thread after the jobs that wait. A later `run` starts it again."""
        with self._lock:
            thread, self._thread = self._thread, None
        if thread is not None and thread.is_alive() and thread is not threading.current_thread():
            self._jobs.put(None)
            thread.join()
