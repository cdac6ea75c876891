"""A wait that may be interrupted at any instruction."""

from __future__ import annotations

import queue


class Bell:
    """Wakes the one thread that waits; once rung, it stays so until that thread has heard it.

    `threading.Event` and futures wait on a lock that is written in Python. Interrupted within, it stays taken, and
    whoever rings stands still for ever, or it is released twice, and the waiter gets `RuntimeError: release unlocked
    lock` in place of the KeyboardInterrupt (benchmarks/results/interrupts.md counts them). A SimpleQueue waits in C.
    """

    def __init__(self) -> None:
        self._rung: queue.SimpleQueue[None] = queue.SimpleQueue()

    def ring(self) -> None:
        """Wake the thread that waits, or the next that will. From one thread only."""
        if not self.is_rung():
            self._rung.put(None)

    def is_rung(self) -> bool:
        """Whether it was rung and nobody has heard it."""
        return not self._rung.empty()

    def wait(self, timeout_s: float) -> bool:
        """Whether it was rung before the time was over. Waits no longer than that."""
        try:
            self._rung.get(timeout=timeout_s)
        except queue.Empty:
            return False
        return True
