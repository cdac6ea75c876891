"""The scorers that come with nbllm: exact, contains, regex, json, numeric.

Each is a function `(reply, case)` with its settings in it. What a case is measured by stands in a column of its row;
a list there holds several answers of which each is right. A case without a value there has no score.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from nbllm.chat.structured import Shape
from nbllm.compare.cells import Case
from nbllm.compare.numerals import EXACT, last_number, number_of
from nbllm.compare.patterns import Matcher, problem_of
from nbllm.foreign import one_line
from nbllm.messages import Reply

VERSION = "1"
"""Of all scorers here: another number when one of them says something else of the same answer."""


@dataclass(frozen=True, slots=True)
class Score:
    """A value and why: what a scorer may return in the place of a plain value."""

    value: Any
    """A number, a bool, a dict of these, or None: there is no score."""
    reason: str | None = None


def normalised(text: str, *, casefold: bool = False) -> str:
    """How `exact` and `contains` read a text: Unicode NFC, lines that end in `\\n`, no white space around it.

    Args:
        text: An answer, or what is expected.
        casefold: Whether capitals are the same as small letters, by Unicode's full folding (ß is ss).
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n").strip()
    if casefold:  # folding can undo the normal form, which is made anew
        text = unicodedata.normalize("NFC", text).casefold()
    return unicodedata.normalize("NFC", text)


def expected(case: Case, column: str) -> list[Any]:
    """The values of a column: one, several where it holds a list, none where it holds nothing (None, NaN, NA)."""
    value: Any = case.vars.get(column)
    if getattr(value, "ndim", 0):  # an array of numpy, as a list comes out of Parquet
        value = value.tolist()
    items = value if isinstance(value, (list, tuple, set, frozenset)) else [value]
    return [item for item in items if not _is_missing(item)]


def _is_missing(value: Any) -> bool:
    if value is None:
        return True
    try:
        return bool(value != value)
    except (TypeError, ValueError):  # pandas' NA does not know
        return True


def as_text(value: Any) -> str:
    """A value of a table as an answer would have it: 4.0, which pandas makes of 4 beside a gap, is `4`."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return str(value)


def _nothing(column: str) -> Score:
    return Score(None, f"the column {one_line(column, 60)} is empty here")


@dataclass(frozen=True, slots=True)
class Exact:
    """Whether the whole answer is what the column holds."""

    column: str
    casefold: bool = False

    def __call__(self, reply: Reply, case: Case) -> bool | Score:
        wanted = [normalised(as_text(v), casefold=self.casefold) for v in expected(case, self.column)]
        return normalised(reply.text, casefold=self.casefold) in wanted if wanted else _nothing(self.column)


@dataclass(frozen=True, slots=True)
class Contains:
    """Whether what the column holds stands somewhere in the answer."""

    column: str
    casefold: bool = False
    word: bool = False
    """Only as words of their own: `no` is not in `know`."""

    def __call__(self, reply: Reply, case: Case) -> bool | Score:
        wanted = [normalised(as_text(v), casefold=self.casefold) for v in expected(case, self.column)]
        wanted = list(filter(None, wanted))  # the empty text stands in every answer
        if not wanted:
            return _nothing(self.column)
        text = normalised(reply.text, casefold=self.casefold)
        return any(_has_word(text, w) if self.word else w in text for w in wanted)


def _has_word(text: str, wanted: str) -> bool:
    return any(
        not (_in_word(text[:start][-1:]) and _in_word(wanted[0]))
        and not (_in_word(text[start + len(wanted) :][:1]) and _in_word(wanted[-1]))
        for start in _places(text, wanted)
    )


def _places(text: str, wanted: str) -> Iterator[int]:
    start = text.find(wanted)
    while start >= 0:
        yield start
        start = text.find(wanted, start + 1)


def _in_word(char: str) -> bool:
    return char.isalnum() or char == "_"


@dataclass(frozen=True, slots=True)
class Matches:
    """Whether the regular expression in the column is found in the answer (Python's `re.search`)."""

    column: str
    matcher: Matcher = field(default_factory=Matcher, compare=False)

    def __call__(self, reply: Reply, case: Case) -> bool | Score:
        patterns = [str(v) for v in expected(case, self.column)]
        return any(self.matcher.search(p, reply.text) for p in patterns) if patterns else _nothing(self.column)

    def check(self, case: Case) -> str | None:
        """Why the pattern of a case cannot be used."""
        for pattern in expected(case, self.column):
            if not isinstance(pattern, str):
                return f"{one_line(pattern, 60)} is not a text with a pattern"
            if problem := problem_of(pattern):
                return f"{one_line(repr(pattern), 60)} is not a regular expression: {problem}"
        return None

    def close(self) -> None:
        """End the process that matches."""
        self.matcher.close()


@dataclass(frozen=True, slots=True)
class Fits:
    """Whether the answer is JSON that fits a schema; the reason says what does not fit."""

    shape: Shape

    def __call__(self, reply: Reply, case: Case) -> Score:
        _, problems = self.shape.read(reply.text)
        return Score(not problems, "; ".join(problems[:5]) or None)


@dataclass(frozen=True, slots=True)
class Near:
    """Whether the last number in the answer is the one in the column, within a tolerance."""

    column: str
    tolerance: Decimal = Decimal(0)
    """The largest distance that is still right."""
    relative: bool = False
    """Whether the tolerance is a share of the expected number and not a distance."""

    def __call__(self, reply: Reply, case: Case) -> Score:
        values = expected(case, self.column)
        if not values:
            return _nothing(self.column)
        wanted = [n for n in map(number_of, values) if n is not None]
        if not wanted:
            return Score(None, f"there is no number in {one_line(values[0], 60)}")
        found = last_number(reply.text)
        if found is None:
            return Score(False, "there is no number in the answer")
        right = any(self._is_near(found, number) for number in wanted)
        return Score(right, None if right else f"{found:.10g} was read")

    def _is_near(self, found: Decimal, wanted: Decimal) -> bool:
        allowed = EXACT.multiply(self.tolerance, EXACT.abs(wanted)) if self.relative else self.tolerance
        distance = EXACT.abs(EXACT.subtract(found, wanted))
        return found == wanted or (distance.is_finite() and EXACT.compare(distance, allowed) <= 0)

    def check(self, case: Case) -> str | None:
        """Why the value of a case is no number."""
        bad = next((v for v in expected(case, self.column) if number_of(v) is None), None)
        return None if bad is None else f"{one_line(repr(bad), 60)} is not a number"
