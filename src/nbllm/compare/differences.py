"""What is different between two answers, word by word.

A longest common subsequence of words, found exactly: Python's large integers hold a row of the table as bits, so that
two texts of 20,000 words take a fraction of a second (Hyyrö 2004, "Bit-parallel LCS-length computation revisited").
`difflib` takes minutes for the same, or treats frequent words as junk. White space follows the words around it. Short
islands that are equal by chance are then given to the changes around them, since nobody can read confetti.
"""

from __future__ import annotations

import functools
import html
import itertools
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from nbllm.foreign import visible

Kind = Literal["same", "removed", "added"]

TABLE_CAP = 1_500_000_000
"""Words of one text times words of the other, after what is equal at both ends is taken off: about a second's work."""
_ISLAND = 40
"""Characters from which an equal stretch is never taken for chance."""
TOO_LONG = "too long to compare word by word"

_UNSPACED = (
    "\u0e01-\u0eff\u0f40-\u0fbc\u1000-\u109f\u1780-\u17b3\u2e80-\u2fdf\u3005-\u3007\u3040-\u30ff\u3100-\u312f"
    "\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
)
"""Scripts without a space between words: Thai, Lao, Tibetan, Burmese, Khmer, Chinese, Japanese. A letter is a word."""
_MARKS = (
    "\u0300-\u036f\u0e31\u0e34-\u0e3a\u0e47-\u0e4e\u0eb1\u0eb4-\u0ebc\u0ec8-\u0ece\u0f71-\u0f84\u0f90-\u0fbc"
    "\u102b-\u103e\u17b4-\u17d3\u3099\u309a\ufe00-\ufe0f\U000e0100-\U000e01ef"
)
"""What belongs to the letter before it."""
_SIGNS = (
    r"!-/:-@\[-\^`{-~\u00a1-\u00a9\u00ab-\u00b1\u00b4-\u00b8\u00bb-\u00bf\u060c\u061b\u061f\u0964\u0965\u2010-\u2027"
)
_SIGNS += r"\u2030-\u205e\u2190-\u23ff\u2500-\u25ff\u3001-\u3003\u3008-\u3020\uff01-\uff0f\uff1a-\uff20\uff3b-\uff65"
_LETTER = rf"[^\s{_SIGNS}{_UNSPACED}]"
_TOKEN = re.compile(
    rf"\r?\n|[^\S\n]+|\d+(?:[.,]\d+)*(?!{_LETTER})|{_LETTER}+(?:['’]{_LETTER}+)*|[{_UNSPACED}][{_MARKS}]*|(?s:.)"
)
_LINE = re.compile(r"[^\n]*\n|[^\n]+")


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of text that both have, or only the first (`removed`), or only the second (`added`)."""

    kind: Kind
    text: str


def difference(before: str, after: str, *, cap: int = TABLE_CAP) -> tuple[Piece, ...] | None:
    """The way from `before` to `after`; all that is not `added` is `before`, all that is not `removed` is `after`.

    Args:
        before: One text.
        after: The other.
        cap: The size of the table up to which words are compared; see `TABLE_CAP`.

    Returns:
        Pieces in order, no two of a kind beside each other; of a change what was removed comes first. None: the texts
        are too long and too different.
    """
    a, b = _TOKEN.findall(before), _TOKEN.findall(after)
    start, end = _common_ends(a, b)
    inner = _between(a[start : len(a) - end], b[start : len(b) - end], cap)
    if inner is None:
        return None
    last = a[len(a) - end :] if end else []
    pieces = [("same", "".join(a[:start])), *inner, ("same", "".join(last))]
    return tuple(Piece(kind, text) for kind, text in _readable(_joined(pieces)))


def difference_html(before: str, after: str, *, cap: int = TABLE_CAP) -> str:
    """The difference as HTML: `<del>` and `<ins>`, each with words for screen readers; all of it escaped.

    Where the texts are too long, a sentence that says so and the second text. Needs `white-space: pre-wrap`.
    """
    pieces = difference(before, after, cap=cap)
    if pieces is None:
        return f'<em class="nbc-said">({TOO_LONG})</em>\n{_escaped(after)}'
    return "".join(_TAGGED[p.kind](p.text) for p in pieces)


def difference_text(before: str, after: str, *, cap: int = TABLE_CAP) -> str:
    """The difference as plain text, in the notation of `wdiff`: `[-removed-]{+added+}`. Hidden characters are shown."""
    pieces = difference(before, after, cap=cap)
    if pieces is None:
        return f"({TOO_LONG})\n{visible(after)}"
    marks = {"same": ("", ""), "removed": ("[-", "-]"), "added": ("{+", "+}")}
    return "".join(marks[p.kind][0] + visible(p.text) + marks[p.kind][1] for p in pieces)


def _escaped(text: str) -> str:
    return html.escape(visible(text), quote=True)


def _tagged(tag: str, word: str, text: str) -> str:
    """Brackets and words are there for screen readers, and for viewers that drop styles."""
    before, after = (f'<span class="nbc-unseen">{w}</span>' for w in (f"[{word}: ", "]"))
    return f"<{tag}>{before}{_escaped(_shown(text))}{after}</{tag}>"


_TAGGED: dict[Kind, Callable[[str], str]] = {
    "same": _escaped,
    "removed": functools.partial(_tagged, "del", "removed"),
    "added": functools.partial(_tagged, "ins", "added"),
}


def _shown(text: str) -> str:
    """White space that changed, so that it can be seen."""
    if text.strip():
        return text
    return text.replace("\r", "␍").replace("\n", "↵\n").replace("\t", "⇥\t").replace(" ", "␣")


# ---------------------------------------------------------------- from tokens to pieces

_Raw = tuple[Kind, str]


def _common_ends(a: Sequence[str], b: Sequence[str]) -> tuple[int, int]:
    """How many items are equal at the start, and how many of the rest at the end."""
    short = min(len(a), len(b))
    start = next((i for i in range(short) if a[i] != b[i]), short)
    rest = short - start
    end = next((i for i in range(rest) if a[-1 - i] != b[-1 - i]), rest)
    return start, end


def _between(a: list[str], b: list[str], cap: int) -> list[_Raw] | None:
    """Word by word; where that is too much, line by line, and word by word within lines that changed."""
    if (pieces := _by_words(a, b, cap)) is not None:
        return pieces
    lines_a, lines_b = _LINE.findall("".join(a)), _LINE.findall("".join(b))
    matches = common(lines_a, lines_b, cap=cap)
    if matches is None:
        return None
    found: list[_Raw] = []
    for old, new, line in _gaps(lines_a, lines_b, matches):
        inner = _by_words(_TOKEN.findall("".join(old)), _TOKEN.findall("".join(new)), cap)
        if inner is None:
            return None
        cap -= len(old) * len(new)
        found += [*inner, ("same", line)]
    return found


def _by_words(a: list[str], b: list[str], cap: int) -> list[_Raw] | None:
    words_a = [i for i, token in enumerate(a) if not token.isspace()]
    words_b = [i for i, token in enumerate(b) if not token.isspace()]
    matches = common([a[i] for i in words_a], [b[i] for i in words_b], cap=cap)
    if matches is None:
        return None
    found: list[_Raw] = []
    for old, new, word in _gaps(a, b, [(words_a[i], words_b[j]) for i, j in matches]):
        found += [*_change(old, new), ("same", word)]
    return found


def _gaps(
    a: Sequence[str], b: Sequence[str], matches: Iterable[tuple[int, int]]
) -> Iterator[tuple[Sequence[str], Sequence[str], str]]:
    """What stands between two matches in both, and the item that follows it; "" after the last."""
    i = j = 0
    for next_i, next_j in matches:
        yield a[i:next_i], b[j:next_j], a[next_i]
        i, j = next_i + 1, next_j + 1
    yield a[i:], b[j:], ""


def _change(old: Sequence[str], new: Sequence[str]) -> Iterator[_Raw]:
    """Between two words that are the same: white space may be equal at the ends, all else has changed."""
    start, end = _common_ends(old, new)
    yield "same", "".join(old[:start])
    yield "removed", "".join(old[start : len(old) - end])
    yield "added", "".join(new[start : len(new) - end])
    yield "same", "".join(old[len(old) - end :] if end else ())


def _joined(pieces: Iterable[_Raw]) -> list[_Raw]:
    """Without empty ones; neighbours of a kind in one; what was removed before what was added."""
    found: list[_Raw] = []
    for is_same, group in itertools.groupby((p for p in pieces if p[1]), key=lambda p: p[0] == "same"):
        parts = list(group)
        kinds: tuple[Kind, ...] = ("same",) if is_same else ("removed", "added")
        texts = ((kind, "".join(text for k, text in parts if k == kind)) for kind in kinds)
        found += [(kind, text) for kind, text in texts if text]
    return found


def _readable(pieces: list[_Raw]) -> list[_Raw]:
    """Islands that are small beside the changes on both sides become a part of them, until nothing moves."""
    while True:
        islands = {i for i in range(1, len(pieces) - 1) if _is_island(pieces, i)}
        if not islands:
            return pieces
        split: list[_Raw] = []
        for i, (kind, text) in enumerate(pieces):
            split += [("removed", text), ("added", text)] if i in islands else [(kind, text)]
        pieces = _joined(split)


def _is_island(pieces: Sequence[_Raw], at: int) -> bool:
    kind, text = pieces[at]
    size = len(text.strip())
    return (
        kind == "same" and size < _ISLAND and 2 * size <= min(_change_size(pieces, at, -1), _change_size(pieces, at, 1))
    )


def _change_size(pieces: Sequence[_Raw], at: int, step: int) -> int:
    """Characters of the larger half of the change beside `at`."""
    size = 0
    for i in (at + step, at + 2 * step):
        if not 0 <= i < len(pieces) or pieces[i][0] == "same":
            break
        size = max(size, len(pieces[i][1]))
    return size


# ---------------------------------------------------------------- longest common subsequence


def common(a: Sequence[str], b: Sequence[str], *, cap: int = TABLE_CAP) -> list[tuple[int, int]] | None:
    """A longest common subsequence, as pairs of places; None when the table would be larger than `cap`."""
    start, end = _common_ends(a, b)
    in_a, in_b = set(a[start : len(a) - end]), set(b[start : len(b) - end])
    left = [i for i in range(start, len(a) - end) if a[i] in in_b]
    right = [j for j in range(start, len(b) - end) if b[j] in in_a]
    if len(left) * len(right) > cap:
        return None
    inner = _trace([a[i] for i in left], [b[j] for j in right]) if left and right else []
    ends = [(len(a) - k, len(b) - k) for k in range(end, 0, -1)]
    return [*((i, i) for i in range(start)), *((left[i], right[j]) for i, j in inner), *ends]


def _trace(a: Sequence[str], b: Sequence[str]) -> list[tuple[int, int]]:
    """The pairs. Of the table only some rows are kept; those between are made again on the way back."""
    masks = _masks(a)
    step = math.isqrt(len(b)) + 1
    kept = list(_rows((1 << len(a)) - 1, b, masks, step))
    pairs: list[tuple[int, int]] = []
    column = len(a)
    for block in range(len(kept) - 1, -1, -1):
        first = block * step
        rows = [kept[block], *_rows(kept[block], b[first : first + step], masks, 1, first=False, n=len(a))]
        column = _walk(rows, first, column, pairs)
    return pairs[::-1]


def _masks(a: Sequence[str]) -> dict[str, int]:
    """For each word the places where it stands, as bits."""
    masks: dict[str, int] = {}
    for place, word in enumerate(a):
        masks[word] = masks.get(word, 0) | 1 << place
    return masks


def _rows(
    row: int, b: Sequence[str], masks: dict[str, int], step: int, *, first: bool = True, n: int | None = None
) -> Iterator[int]:
    """Rows of the table after each `step` words of `b`. Bit i is 0 where word i of `a` makes the subsequence longer."""
    full = (1 << n) - 1 if n is not None else row
    for place, word in enumerate(b):
        if first and place % step == 0:
            yield row
        hits = row & masks[word]
        if hits:
            row = ((row + hits) | (row - hits)) & full
        if not first:
            yield row


def _walk(rows: Sequence[int], first: int, column: int, pairs: list[tuple[int, int]]) -> int:
    """Back through some rows, from `column`; adds the pairs, the last first, and says in which column it left."""
    line = len(rows) - 1
    while line > 0 and column > 0:
        if rows[line] >> column - 1 & 1:
            column -= 1
        elif not rows[line - 1] >> column - 1 & 1:
            line -= 1
        else:
            line, column = line - 1, column - 1
            pairs.append((column, first + line))
    return column
