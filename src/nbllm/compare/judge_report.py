"""How far a judge can be believed: whether it says the same in both orders, and what its winners have in common.

Judges are known to prefer what stands first, what is longer, what has headings and lists, and what reads like
themselves. None of these figures proves a bias: longer answers may be better. They say where to look.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from nbllm.compare.cells import Arm, Duel, Row
from nbllm.compare.families import shares_family
from nbllm.compare.judge import JudgePlan, cells_by_arm
from nbllm.compare.verdicts import Judgement
from nbllm.foreign import one_line

_FORMATS: Mapping[str, re.Pattern[str]] = {
    "lists": re.compile(r"^[ \t]*(?:[-*+•]|[0-9]{1,3}[.)])[ \t]+\S", re.MULTILINE),
    "headings": re.compile(r"^[ \t]{0,3}#{1,6}[ \t]+\S", re.MULTILINE),
    "code": re.compile(r"^[ \t]*(?:```|~~~)", re.MULTILINE),
    "bold": re.compile(r"\*\*[^\s*][^*\n]*\*\*"),
    "tables": re.compile(r"^[ \t]*\|?[ \t]*:?-{3,}:?[ \t]*\|", re.MULTILINE),
}


@dataclass(frozen=True, slots=True)
class Share:
    """A share of a count, with its 95 % interval (Wilson, without continuity correction)."""

    count: int
    of: int

    @property
    def value(self) -> float | None:
        """From 0 to 1; None of nothing."""
        return self.count / self.of if self.of else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Wilson 1927; None of nothing."""
        if not self.of:
            return None
        z, n, p = 1.959963984540054, self.of, self.count / self.of
        middle = (p + z * z / (2 * n)) / (1 + z * z / n)
        half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        return max(0.0, middle - half), min(1.0, middle + half)

    def __str__(self) -> str:
        interval = self.interval
        if interval is None:
            return "0 of 0"
        return f"{self.count} of {self.of} ({self.count / self.of:.0%}, 95 % {interval[0]:.0%} to {interval[1]:.0%})"


@dataclass(frozen=True, slots=True)
class Means:
    """A figure of the answers that won, and of those that lost to them; None where there was no winner."""

    winners: float | None
    losers: float | None


@dataclass(frozen=True, slots=True)
class JudgeReport:
    """Figures about the judge, not about who won."""

    judge: str
    """Its reference."""
    duels: int
    """Pairs that were judged in both orders; without those of equal texts."""
    identical: int
    """Pairs with the same text, which were not sent: ties."""
    not_judged: int
    """Pairs of which a cell has no answer."""
    failed: int
    """Questions to the judge that ended with an error, or were not asked."""
    unreadable: int
    """Answers of the judge that hold no verdict."""
    consistent: Share
    """Of the duels: the judge said the same in both orders. What else it said counts as ties."""
    first_position: Share
    """Of the verdicts of duels that named a winner: it was the answer that stood first. Half is no preference."""
    ties: int
    """Duels that the judge called a tie in both orders."""
    longer_won: Share
    """Of the duels with a winner and a loser of another length: the longer won."""
    chars: Means
    """Mean characters."""
    words: Means
    """Mean words, divided by white space (so of no use for Chinese, Japanese and Thai)."""
    formats: Mapping[str, Means] = field(default_factory=dict)
    """Share of answers with lists, headings, code blocks, bold and tables."""
    relatives: Sequence[str] = ()
    """Contestants of the judge's own family."""

    def sentences(self) -> list[str]:
        """The report for people; what has nothing to say is left out."""
        said = [f"{self.judge} judged {self.duels} pairs, each in both orders."]
        if self.duels:
            said.append(f"It said the same in both orders for {self.consistent}; the others count as ties.")
        if self.first_position.of:
            said.append(f"Where it named a winner, that stood first in {self.first_position}.")
        if self.longer_won.of:
            said.append(f"The longer answer won {self.longer_won} decided pairs.")
        counts = (
            (self.identical, "pairs with the same text were not sent and are ties"),
            (self.not_judged, "pairs were not judged, since an answer is missing"),
            (self.unreadable, "answers of the judge could not be read"),
            (self.failed, "questions to the judge failed or were not asked"),
        )
        said += [f"{count} {what}." for count, what in counts if count]
        if self.relatives:
            said.append(self.warning or "")
        return said

    @property
    def warning(self) -> str | None:
        """That the judge is of a contestant's family; None when it is not, or nobody knows."""
        if not self.relatives:
            return None
        names = ", ".join(one_line(name, 80) for name in self.relatives)
        return f"The judge {one_line(self.judge, 80)} is of the same family as {names}, and may prefer its own kind."


def judge_report(
    judge: str, plan: JudgePlan, judgement: Judgement, rows: Iterable[Row], arms: Sequence[Arm]
) -> JudgeReport:
    """What can be said of a judge.

    Args:
        judge: Its reference.
        plan: What it was to be asked.
        judgement: What came.
        rows: The cells that were judged.
        arms: What was compared.
    """
    asked = [duel for duel in judgement.duels if duel.consistent is not None]
    decided = _decided(asked, cells_by_arm(rows, arms))
    kinds = Counter(error.kind for error in judgement.errors)
    return JudgeReport(
        judge=judge,
        duels=len(asked),
        identical=len(plan.identical),
        not_judged=len(plan.not_judged),
        failed=kinds["failed"] + kinds["not asked"],
        unreadable=kinds["unreadable"],
        consistent=Share(sum(bool(duel.consistent) for duel in asked), len(asked)),
        first_position=_first_position(judgement, asked),
        ties=sum(bool(duel.consistent) and duel.winner == "tie" for duel in asked),
        longer_won=_longer_won(decided),
        chars=_means(decided, len),
        words=_means(decided, lambda text: len(text.split())),
        formats={name: _means(decided, _has(pattern)) for name, pattern in _FORMATS.items()},
        relatives=tuple(shares_family(judge, (arm.model for arm in arms))),
    )


def _decided(duels: Iterable[Duel], cells: Mapping[tuple[str, int, str], Row]) -> list[tuple[str, str]]:
    """The texts of winner and loser."""
    found = []
    for duel in duels:
        if duel.winner != "tie":
            names = (duel.a, duel.b) if duel.winner == "a" else (duel.b, duel.a)
            won, lost = (cells.get((duel.prompt_id, duel.repeat, name)) for name in names)
            if won is not None and lost is not None:
                found.append((won.get("text") or "", lost.get("text") or ""))
    return found


def _first_position(judgement: Judgement, asked: Iterable[Duel]) -> Share:
    """Over complete pairs only: where one order is missing, the better answer may have stood first by chance."""
    complete = {(duel.prompt_id, duel.repeat, duel.a, duel.b) for duel in asked}
    named = [
        verdict.side
        for ask, verdict in judgement.verdicts
        if (ask.prompt_id, ask.repeat, ask.a, ask.b) in complete and verdict.side != "tie"
    ]
    return Share(named.count("A"), len(named))


def _longer_won(decided: Sequence[tuple[str, str]]) -> Share:
    different = [(won, lost) for won, lost in decided if len(won) != len(lost)]
    return Share(sum(len(won) > len(lost) for won, lost in different), len(different))


def _has(pattern: re.Pattern[str]) -> Callable[[str], float]:
    return lambda text: float(pattern.search(text) is not None)


def _means(decided: Sequence[tuple[str, str]], figure: Callable[[str], float]) -> Means:
    if not decided:
        return Means(None, None)
    return Means(
        sum(figure(won) for won, _ in decided) / len(decided), sum(figure(lost) for _, lost in decided) / len(decided)
    )
