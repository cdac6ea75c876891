"""How far a magic is: a bar and a line on one output that changes; nothing where nobody would see it change."""

from __future__ import annotations

import shutil
import sys
import time
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from IPython.display import clear_output, display

from nbllm.foreign import escape, one_line
from nbllm.notebook.display import MIN_INTERVAL_S, decide_live, is_terminal

if TYPE_CHECKING:
    from nbllm.compare.progress import Progress as Numbers


class Progress:
    """A bar with a line such as `tested 3 of 12 (groq: ok)`, of which the last line stays; a context manager.

    Args:
        done: The word before the numbers.
        total: How many there are.
    """

    def __init__(self, done: str, total: int) -> None:
        self._done, self._total = done, total
        self._count = 0
        self._handle: Any = None

    def __enter__(self) -> Self:
        if decide_live() and not is_terminal():
            self._handle = display(self._bar(""), raw=True, display_id=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._handle is not None:
            self._handle.update(self._line(""), raw=True)

    def step(self, what: str) -> None:
        """One more is done."""
        self._count += 1
        if self._handle is not None:
            self._handle.update(self._bar(f" ({what})"), raw=True)

    def _bar(self, what: str) -> dict[str, str]:
        line = self._line(what)
        bar = f"<progress max='{max(self._total, 1)}' value='{self._count}'></progress> "
        return line | {"text/html": bar + escape(line["text/plain"], 300)}

    def _line(self, what: str) -> dict[str, str]:
        return {"text/plain": one_line(f"{self._done} {self._count} of {self._total}{what}", 300)}


class RunProgress:
    """How far a comparison is, where somebody looks: it is gone when the comparison stands there, and stays after an
    error, since its numbers say what is kept. In a notebook a bar and its sentence on one output that changes; in a
    terminal a line that does; nothing for a runner without a front end.

    Args:
        quiet: Show nothing.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._screen = None if quiet or not decide_live() else _screen()
        self._numbers: Numbers | None = None
        self._due_at = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._screen is not None and self._numbers is not None:
            # Nothing is left to be waited for, also after an error.
            self._screen.end(replace(self._numbers, phase="done").sentence() if error is not None else None)

    def show(self, numbers: Numbers) -> None:
        """Show these; what comes sooner than a tenth of a second after the last is left out."""
        self._numbers = numbers
        if self._screen is not None and time.monotonic() >= self._due_at:
            self._due_at = time.monotonic() + MIN_INTERVAL_S
            self._screen.show(numbers)


def _screen() -> _Bar | _Line | None:
    if not is_terminal():
        return _Bar()
    return _Line() if sys.stderr.isatty() else None


class _Bar:
    """An output of a notebook."""

    def __init__(self) -> None:
        self._handle: Any = None
        self._last = ""

    def show(self, numbers: Numbers) -> None:
        sentence = numbers.sentence()
        if sentence == self._last:
            return
        self._last = sentence
        done, most = numbers.done + numbers.stored, max(numbers.total, 1)
        self._publish(sentence, f"<progress max='{most}' value='{done}'></progress> ")

    def _publish(self, sentence: str, bar: str = "") -> None:
        bundle = {"text/plain": one_line(sentence, 500), "text/html": bar + escape(sentence, 500)}
        if self._handle is None:
            self._handle = display(bundle, raw=True, display_id=True)
        else:
            self._handle.update(bundle, raw=True)

    def end(self, kept: str | None) -> None:
        if kept is not None:
            self._publish(kept)
        elif self._handle is not None:
            # An update to nothing would stay in the notebook as an empty output. This takes it away when the next
            # output is there, so the page does not jump.
            clear_output(wait=True)


class _Line:
    """Standard error of a terminal."""

    def show(self, numbers: Numbers) -> None:
        self._write(one_line(numbers.sentence(), max(20, shutil.get_terminal_size().columns - 1)))

    def end(self, kept: str | None) -> None:
        self._write(f"{one_line(kept, 500)}\n" if kept is not None else "")

    def _write(self, text: str) -> None:
        sys.stderr.write(f"\r\x1b[2K{text}")
        sys.stderr.flush()
