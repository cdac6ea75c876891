"""How far a magic is: a bar and a line on one output that changes; nothing where nobody would see it change."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from IPython.display import display

from nbllm.foreign import escape, one_line
from nbllm.notebook.display import decide_live, is_terminal

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
    """How far a comparison is: a bar and its sentence on one output, which is gone when the table stands there.

    Args:
        quiet: Show nothing.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._shown = not quiet and decide_live() and not is_terminal()
        self._handle: Any = None
        self._last = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._handle is not None:
            # After an error the numbers stay: they say what is kept.
            words = {"text/plain": self._last if error else ""}
            self._handle.update(words | {"text/html": escape(words["text/plain"], 500)}, raw=True)

    def show(self, numbers: Numbers) -> None:
        """Show these; about ten times a second is fine."""
        sentence = numbers.sentence()
        if not self._shown or sentence == self._last:
            return
        self._last = sentence
        done, most = numbers.done + numbers.stored, max(numbers.total, 1)
        bar = f"<progress max='{most}' value='{done}'></progress> "
        bundle = {"text/plain": one_line(sentence, 500), "text/html": bar + escape(sentence, 500)}
        if self._handle is None:
            self._handle = display(bundle, raw=True, display_id=True)
        else:
            self._handle.update(bundle, raw=True)
