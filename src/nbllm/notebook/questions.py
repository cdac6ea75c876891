"""`%chat why is the sky blue?`: the question mark belongs to the question.

IPython takes a line that ends in `?` for a request for help (`%chat?`), and does so before it looks for magics.
"""

from __future__ import annotations

import tokenize
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from IPython.core.inputtransformer2 import EscapedCommand, MagicAssign, TokenTransformBase

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

Line = Sequence[tokenize.TokenInfo]


class Question(TokenTransformBase):
    """Turns such a line into the call of the magic, as IPython does with lines that end otherwise."""

    priority = 1  # before IPython's `HelpEnd`, which has 5

    def __init__(self, start: tuple[int, int], magic: TokenTransformBase) -> None:
        super().__init__(start)
        self._magic = magic

    @classmethod
    def find(cls, tokens_by_line: Sequence[Line]) -> Question | None:
        """The first question in a cell."""
        return next((q for line in tokens_by_line if (q := cls._in(line)) is not None), None)

    @classmethod
    def _in(cls, line: Line) -> Question | None:
        first = next((i for i, t in enumerate(line) if t.type not in (tokenize.INDENT, tokenize.DEDENT)), None)
        at = _chat_in(line)
        if first is None or at is None or line[-2].string != "?":
            return None
        if line[first].string == "%":  # also `%time %chat ...`
            return cls(line[first].start, EscapedCommand(line[first].start))
        if line[at - 1].string == "=":
            return cls(line[first].start, MagicAssign(line[at].start))
        return None

    def transform(self, lines: list[str]) -> list[str]:
        """The cell with the line replaced."""
        changed: list[str] = self._magic.transform(lines)
        return changed


def _chat_in(line: Line) -> int | None:
    """Where `%chat` and a space stand."""
    for i in range(len(line) - 3):
        percent, name, after = line[i : i + 3]
        if (percent.string, name.string) == ("%", "chat") and percent.end == name.start and name.end < after.start:
            return i
    return None


def _transformers(shell: InteractiveShell) -> list[Any]:
    found: list[Any] = shell.input_transformer_manager.token_transformers
    return found


def install(shell: InteractiveShell) -> None:
    """Let questions of `%chat` end in a question mark."""
    if Question not in _transformers(shell):
        _transformers(shell).append(Question)


def uninstall(shell: InteractiveShell) -> None:
    """Undo `install`."""
    if Question in _transformers(shell):
        _transformers(shell).remove(Question)
