"""Calls into other people's code that may never come back: keyrings, Colab."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")

DEADLINE_S = 2.9
"""The whole of a question to a keyring takes less than three seconds, whatever the keyring does."""


@dataclass(frozen=True, slots=True)
class Outcome(Generic[T]):
    """What a call came to: a value, the names of a failure, or nothing in time."""

    value: T | None = None
    failure: tuple[str, ...] = ()
    """Class names of the exception, most special first. The exception is not kept: its frames may hold a key."""
    timed_out: bool = False

    def failed_with(self, *names: str) -> bool:
        """Whether the failure is one of these classes, or of a class below."""
        return any(name in self.failure for name in names)


def call_within(call: Callable[[], T], *, deadline_s: float = DEADLINE_S) -> Outcome[T]:
    """Run `call` in a daemon thread and wait for at most `deadline_s` seconds.

    A call that hangs is left behind; being a daemon, its thread does not keep the process alive.
    """
    outcomes: list[Outcome[T]] = []

    def work() -> None:
        try:
            outcomes.append(Outcome(value=call()))
        except Exception as exc:  # noqa: BLE001  (any code may run here; the failure is recorded by name)
            outcomes.append(Outcome(failure=tuple(cls.__name__ for cls in type(exc).__mro__)))

    worker = threading.Thread(target=work, name="nbllm-deadline", daemon=True)
    try:
        worker.start()
    except RuntimeError:  # JupyterLite has no threads, and no keyring either
        return Outcome(failure=("RuntimeError",))
    worker.join(deadline_s)
    return outcomes[0] if outcomes else Outcome(timed_out=True)
