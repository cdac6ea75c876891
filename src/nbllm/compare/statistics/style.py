"""Whether what won was simply longer, or had more headings and lists: what a judge may have looked at instead."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from nbllm.compare.statistics.intervals import mean_interval, wilson_interval

_MARKS = re.compile(
    r"""^[ ]{0,3}\#{1,6}[ ]      # a heading
      | ^[ \t]*(?:[-*+]|\d+[.)])[ ]  # an item of a list
      | ^[ \t]*\|.*\|[ \t]*$     # a row of a table
      | ^[ ]{0,3}```             # a fence of code
      | \*\*[^*\n]+\*\*          # bold""",
    re.MULTILINE | re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Share:
    """How often something was so, with Wilson's interval. All None where it could never be seen."""

    n: int
    share: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class StyleReport:
    """How winners differ from losers in length and format. A tie has no winner and is not here."""

    n: int
    """Duels with a winner."""
    longer_won: Share
    """Of the duels between answers of different length."""
    length_difference: float | None
    """Mean characters of the winner less those of the loser."""
    length_low: float | None
    length_high: float | None
    more_formatted_won: Share
    """Of the duels between answers with different numbers of Markdown marks."""
    marks_difference: float | None
    """Mean marks of the winner less those of the loser."""


def markdown_marks(text: str) -> int:
    """How many headings, list items, table rows, code fences and bold passages a text has."""
    return sum(1 for _ in _MARKS.finditer(text))


def style_report(texts: Sequence[tuple[str, str]]) -> StyleReport:
    """Compare winners with losers.

    Args:
        texts: The winner's text and the loser's, for each duel that had a winner.
    """
    lengths = [float(len(w) - len(loser)) for w, loser in texts]
    marks = [float(markdown_marks(w) - markdown_marks(loser)) for w, loser in texts]
    interval = mean_interval(lengths) if lengths else None
    return StyleReport(
        n=len(texts),
        longer_won=_share_above(lengths),
        length_difference=interval.mean if interval else None,
        length_low=interval.low if interval else None,
        length_high=interval.high if interval else None,
        more_formatted_won=_share_above(marks),
        marks_difference=math.fsum(marks) / len(marks) if marks else None,
    )


def _share_above(gaps: Sequence[float]) -> Share:
    above, n = sum(g > 0 for g in gaps), sum(g != 0 for g in gaps)
    if not n:
        return Share(0, None, None, None)
    return Share(n, above / n, *wilson_interval(above, n))
