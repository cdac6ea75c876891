"""How wide a text is without a font at hand, and how a name is made to fit.

Nobody here knows which font will be used, so widths are those of DejaVu Sans, the widest of the usual interface fonts
(measured from its metrics, rounded up); wide East Asian characters and emoji count as they are drawn, other scripts as
wide as a capital. A text that fits by this estimate fits in Segoe, Helvetica, Liberation and Roboto too.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from nbllm.foreign import one_line

SIZE = 13
"""Pixels of the font."""
SMALL = 12
"""Pixels of the font of axes and notes."""
LEADING = 16
"""Pixels from one line of text to the next."""

_EM = {
    **dict.fromkeys("ijl'|I.,:;! ", 0.35),
    **dict.fromkeys('frt()[]{}/\\-"`', 0.46),
    **dict.fromkeys("J", 0.36),
    **dict.fromkeys("acegksvxyzLFE?_*$", 0.64),
    **dict.fromkeys("bdhnopquATXYZSPBKRCV", 0.71),
    **dict.fromkeys("0123456789", 0.64),
    **dict.fromkeys("DGHNOQU", 0.79),
    **dict.fromkeys("M+<>=~^#−±×", 0.87),
    **dict.fromkeys("mwW@%", 1.02),
    "·": 0.35,
}
_OTHER = 0.87
_WIDE = 1.1
_EMOJI = 1.4
_BREAK = re.compile(r"(?:[^/\s_.:,@+-]|[.:,](?=\d))*[/\s_.:,@+-]?")


@lru_cache(maxsize=4096)
def _em(char: str) -> float:
    known = _EM.get(char)
    if known is not None:
        return known
    if unicodedata.category(char) in ("Mn", "Me"):
        return 0.0
    if ord(char) >= 0x1F000 or unicodedata.category(char) == "So":
        return _EMOJI
    return _WIDE if unicodedata.east_asian_width(char) in "WF" else _OTHER


def text_width(text: str, size: float = SIZE, *, bold: bool = False) -> float:
    """Pixels that `text` takes at most, by the estimate of this module."""
    return sum(map(_em, text)) * size * (1.12 if bold else 1)


def clean(text: object, limit: int = 200) -> str:
    """Foreign text on one line, hidden characters shown, without what XML 1.0 has no place for."""
    return "".join(c if _is_xml(c) else f"<U+{ord(c):04X}>" for c in one_line(text, limit))


def named(text: object) -> str:
    """A name as it is shown; "unnamed" for what shows as nothing."""
    return clean("" if text is None else text) or "unnamed"


def _is_xml(char: str) -> bool:
    # https://www.w3.org/TR/xml/#charsets; what is below U+0020 was made visible before.
    return not ("\ud800" <= char <= "\udfff" or char in "\ufffe\uffff")


@dataclass(frozen=True, slots=True)
class Fitted:
    """A text as it is drawn."""

    lines: tuple[str, ...]
    full: str | None = None
    """The whole of it, when something had to be left out."""

    def width(self, size: float = SIZE, *, bold: bool = False) -> float:
        """Of the widest line, in pixels."""
        return max(text_width(line, size, bold=bold) for line in self.lines)


def fit(text: str, room: float, *, lines: int = 1, size: float = SIZE, bold: bool = False) -> Fitted:
    """On at most `lines` lines of `room` pixels; what does not fit is left out of the middle.

    A line feed in `text` says where to break first: its parts stand on one line, or else on one each.
    """
    if "\n" in text:
        return _fit_parts(text, room, size=size, bold=bold)

    def width(part: str) -> float:
        return text_width(part, size, bold=bold)

    whole = _wrap(text, room, width)
    if len(whole) <= lines:
        return Fitted(tuple(whole))
    # Whether `kept` characters fit is nearly monotonic; the greedy search ends at a number that does.
    low, high = 1, len(text) - 1
    while low < high:
        kept = (low + high + 1) // 2
        if len(_wrap(_middle(text, kept), room, width)) <= lines:
            low = kept
        else:
            high = kept - 1
    return Fitted(tuple(_wrap(_middle(text, low), room, width)[:lines]), text)


def _fit_parts(text: str, room: float, *, size: float, bold: bool) -> Fitted:
    whole = text.replace("\n", " ")
    if text_width(whole, size, bold=bold) <= room:
        return Fitted((whole,))
    parts = [fit(part, room, size=size, bold=bold) for part in text.split("\n")]
    return Fitted(tuple(p.lines[0] for p in parts), whole if any(p.full for p in parts) else None)


def fit_all(texts: Sequence[str], room: float, *, lines: int = 1, size: float = SIZE) -> list[Fitted]:
    """Each fitted; those that would read alike although they are not get a number behind them."""
    fitted = [fit(t, room, lines=lines, size=size) for t in texts]
    alike = Counter(lines_ for lines_, _ in {(f.lines, t) for f, t in zip(fitted, texts, strict=True)})
    seen: dict[tuple[str, ...], list[str]] = {}
    for i, (one, text) in enumerate(zip(fitted, texts, strict=True)):
        if alike[one.lines] > 1:
            others = seen.setdefault(one.lines, [])
            if text not in others:
                others.append(text)
            fitted[i] = _numbered(text, others.index(text) + 1, room, lines, size)
    return fitted


def _numbered(text: str, number: int, room: float, lines: int, size: float) -> Fitted:
    mark = f" #{number}"
    short = fit(text, room - text_width(mark, size), lines=lines, size=size)
    return Fitted((*short.lines[:-1], short.lines[-1] + mark), text.replace("\n", " "))


def _middle(text: str, kept: int) -> str:
    head, tail = (kept + 1) // 2, kept // 2
    end = text[len(text) - tail :]
    while end and unicodedata.category(end[0]).startswith("M"):  # a mark without its letter
        end = end[1:]
    return f"{text[:head].rstrip()}…{end.lstrip()}"


def _wrap(text: str, room: float, width: Callable[[str], float]) -> list[str]:
    """Greedy lines that break behind separators, and inside a word only where a word alone is too wide."""
    lines: list[str] = []
    line = ""
    for piece in _pieces(text, room, width):
        if line and width((line + piece).rstrip()) > room:
            lines.append(line.rstrip())
            line = piece.lstrip()
        else:
            line += piece
    return [*lines, line.rstrip()]


def _pieces(text: str, room: float, width: Callable[[str], float]) -> Iterator[str]:
    for word in filter(None, _BREAK.findall(text)):
        if width(word) <= room:
            yield word
            continue
        part = ""
        for char in word:
            if part and width(part + char) > room and not unicodedata.category(char).startswith("M"):
                yield part
                part = ""
            part += char
        yield part
