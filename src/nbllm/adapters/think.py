"""Reasoning that stands between tags in the content: for rows with the quirk `think_tags` only.

Elsewhere the tags are text like any other, since an answer may well speak about them.
"""

from __future__ import annotations

from collections.abc import Iterator

OPEN, CLOSE = "<think>", "</think>"


class ThinkTags:
    """Splits text that arrives in pieces into `("text", ...)` and `("reasoning", ...)`; the tags go away.

    Args:
        opened: The answer begins inside the reasoning, since the server's template has already opened it.
    """

    __slots__ = ("_held", "_inside")

    def __init__(self, *, opened: bool = False) -> None:
        self._inside = opened
        self._held = ""

    @property
    def _kind(self) -> str:
        return "reasoning" if self._inside else "text"

    def feed(self, text: str) -> Iterator[tuple[str, str]]:
        """What is certain by now; what may be the beginning of a tag is held back."""
        rest = self._held + text
        while True:
            tag, place = self._next_tag(rest)
            if tag is None:
                break
            if rest[:place]:
                yield self._kind, rest[:place]
            self._inside = tag == OPEN
            rest = rest[place + len(tag) :]
        keep = _possible_tag(rest)
        self._held = rest[len(rest) - keep :]
        if rest[: len(rest) - keep]:
            yield self._kind, rest[: len(rest) - keep]

    def _next_tag(self, text: str) -> tuple[str | None, int]:
        tags = (CLOSE,) if self._inside else (OPEN, CLOSE)
        found = [(text.index(tag), tag) for tag in tags if tag in text]
        if not found:
            return None, -1
        place, tag = min(found)
        return tag, place

    def finish(self) -> tuple[str, str]:
        """What was held back: it was no tag."""
        held, self._held = self._held, ""
        return self._kind, held


def _possible_tag(text: str) -> int:
    """How many characters at the end may be the beginning of a tag."""
    for length in range(min(len(CLOSE) - 1, len(text)), 0, -1):
        if OPEN.startswith(text[-length:]) or CLOSE.startswith(text[-length:]):
            return length
    return 0
