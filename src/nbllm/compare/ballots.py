"""Blind votes: which answers are put beside each other, on which side, and what the votes say in the end.

Everything here is a function of the answers, the seed and the votes, so that a vote goes on in another kernel where it
stopped. Order and sides come from SHA-256 over the seed and the pair and not from a random generator: the same in every
version of Python, in whatever order the rows come, and hardly changed when a row is added.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import combinations
from typing import Any, Literal, get_args

from nbllm.compare.cells import Arm, Duel, Row
from nbllm.errors import UsageError
from nbllm.foreign import one_line

Choice = Literal["left", "right", "tie", "skip", "undo"]
"""`skip`: the voter does not want to judge. `undo` takes the voter's earlier vote on the ballot back."""
Verdict = Literal["left", "right", "tie"]

_MIRRORED: Mapping[str, Verdict] = {"left": "right", "right": "left", "tie": "tie"}
_WINNER: Mapping[str, Literal["a", "b", "tie"]] = {"left": "a", "right": "b", "tie": "tie"}


@dataclass(frozen=True, slots=True)
class Ballot:
    """Two answers to one prompt, one on each side."""

    prompt_id: str
    repeat: int
    left: str
    """The label of an arm."""
    right: str
    seen: str = ""
    """SHA-256 over both texts, whatever their sides: a vote belongs to what was read, not to what is asked later."""

    @property
    def id(self) -> str:
        """What a vote is kept under: 32 hexadecimal digits, in which no arm can be read, nor its side."""
        return _digest("ballot", self.prompt_id, self.repeat, self.left, self.right, self.seen)[:32]

    @property
    def twin(self) -> Ballot:
        """The same pair with its sides changed. Votes on it count: another seed or one more row may change sides."""
        return Ballot(self.prompt_id, self.repeat, self.right, self.left, self.seen)


class Ballots(list[Ballot]):
    """Ballots in the order in which they are voted on.

    Attributes:
        identical: Pairs that were left out because both texts are the same (but for spaces around them).
        unanswered: Pairs that were left out because one of them, or both, have no answer.
    """

    def __init__(self, found: Iterable[Ballot] = (), *, identical: int = 0, unanswered: int = 0) -> None:
        super().__init__(found)
        self.identical = identical
        self.unanswered = unanswered


@dataclass(frozen=True, slots=True)
class Vote:
    """What somebody said of one ballot. Votes are only ever added; the latest one of a voter counts."""

    ballot: str
    """Its id."""
    choice: Choice
    at: str
    """ISO, UTC."""
    voter: str | None = None
    """None: whoever sits at this notebook."""

    def __post_init__(self) -> None:
        if self.choice not in get_args(Choice):
            known = ", ".join(get_args(Choice))
            raise UsageError(f"a vote is not {one_line(self.choice, 40)!r}", hint=f"one of {known}")
        try:
            datetime.fromisoformat(self.at)
        except (TypeError, ValueError):
            raise UsageError(
                f"a vote was not cast at {one_line(self.at, 40)!r}", hint="a moment as ISO 8601, in UTC"
            ) from None

    @property
    def moment(self) -> datetime:
        """`at` as a moment; without an offset it is UTC."""
        moment = datetime.fromisoformat(self.at)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far one voter is."""

    done: int
    """Ballots that have the voter's vote or were skipped."""
    skipped: int
    total: int


@dataclass(frozen=True, slots=True)
class Agreement:
    """How often two voters said the same of the same pair."""

    one: str | None
    other: str | None
    n: int
    """Ballots that both judged; skipped ones are not among them."""
    same: int

    @property
    def share(self) -> float | None:
        """From 0 to 1, chance not taken out; None where they have no ballot in common."""
        return self.same / self.n if self.n else None


@dataclass(frozen=True, slots=True)
class Share:
    """What the votes say of one arm, against all others or against one."""

    arm: str
    against: str | None
    """None: all others together."""
    wins: int
    ties: int
    losses: int

    @property
    def n(self) -> int:
        """Votes."""
        return self.wins + self.ties + self.losses

    @property
    def share(self) -> float | None:
        """Share of wins, a tie half a win; None without votes."""
        return (self.wins + self.ties / 2) / self.n if self.n else None


# ---------------------------------------------------------------- which pairs


def ballots(
    rows: Iterable[Row], arms: Sequence[Arm], *, seed: int, pairs: Iterable[tuple[str, str]] | None = None
) -> Ballots:
    """The pairs of answers to be voted on, in the order and on the sides that the seed draws.

    A ballot is a prompt x a repeat x two arms which both answered it with different texts. Of the ballots of a pair of
    arms half have one arm on the left and half the other (up to one), and which half a prompt is in says nothing of the
    next prompt.

    Args:
        rows: Cells. Those of other arms than `arms` are passed over.
        arms: What is compared.
        seed: Draws order and sides; the same seed, the same ballots.
        pairs: Labels of the arms to put beside each other; None: each with each.

    Raises:
        UsageError: A pair names an arm that is not there, or one arm twice.
    """
    texts, asked = _texts(rows, arms)
    found, identical, unanswered = [], 0, 0
    for pair in _pairs(arms, pairs):
        fit: list[tuple[str, int, str]] = []
        for place in sorted(asked):
            one, other = (texts.get((label, *place)) for label in pair)
            if one is None or other is None:
                unanswered += 1
            elif one.strip() == other.strip():
                identical += 1
            else:
                fit.append((*place, _digest("seen", one, other)))
        found += _with_sides(fit, pair, seed)
    found.sort(key=lambda ballot: _digest("place", seed, *sorted((ballot.left, ballot.right)), *_place(ballot)))
    return Ballots(found, identical=identical, unanswered=unanswered)


def answers_of(rows: Iterable[Row], arms: Sequence[Arm]) -> dict[tuple[str, str, int], str]:
    """The texts of all answers by label, prompt and repeat: what the sides of a ballot stand for."""
    return _texts(rows, arms)[0]


def _texts(rows: Iterable[Row], arms: Sequence[Arm]) -> tuple[dict[tuple[str, str, int], str], set[tuple[str, int]]]:
    """The answers by label, prompt and repeat, and every prompt and repeat that any of the arms was asked."""
    finder, texts, asked = ArmOf(arms), {}, set()
    for row in rows:
        if (at := finder(row)) is None:
            continue
        place = (str(row["prompt_id"]), int(row.get("repeat") or 0))
        asked.add(place)
        if row.get("status") == "ok":
            texts[(arms[at].label, *place)] = str(row.get("text") or "")
    return texts, asked


def _pairs(arms: Sequence[Arm], pairs: Iterable[tuple[str, str]] | None) -> list[tuple[str, str]]:
    """Each pair once, its labels sorted."""
    labels = [arm.label for arm in arms]
    if doubled := next((label for label in labels if labels.count(label) > 1), None):
        raise UsageError(f"two arms are called {one_line(doubled)}", hint="give each arm a label of its own")
    wanted = combinations(labels, 2) if pairs is None else [tuple(pair) for pair in pairs]
    found = []
    for pair in wanted:
        if len(pair) != 2 or pair[0] == pair[1]:
            raise UsageError(f"{one_line(pair)} is not a pair", hint="a pair is the labels of two arms")
        if unknown := next((label for label in pair if label not in labels), None):
            known = ", ".join(one_line(label) for label in labels)
            raise UsageError(f"there is no arm {one_line(unknown)}", hint=f"arms: {known}")
        found.append((min(pair), max(pair)))
    return list(dict.fromkeys(found))


def _with_sides(fit: Sequence[tuple[str, int, str]], pair: tuple[str, str], seed: int) -> list[Ballot]:
    # The half with the lower digests gets one order; which one is ahead when the number is odd is drawn too.
    drawn = sorted(fit, key=lambda place: _digest("side", seed, *pair, *place[:2]))
    first, second = pair if _digest("odd", seed, *pair) < "8" else pair[::-1]
    half = (len(drawn) + 1) // 2
    sides = [(first, second)] * half + [(second, first)] * (len(drawn) - half)
    return [Ballot(*place[:2], *side, place[2]) for place, side in zip(drawn, sides, strict=True)]


def _place(ballot: Ballot) -> tuple[str, int]:
    return ballot.prompt_id, ballot.repeat


def _digest(*words: object) -> str:
    # Each word with its length in front, so that ("a", "bc") and ("ab", "c") differ.
    text = "".join(f"{len(word)}:{word}" for word in map(str, words))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()  # servers send half characters


class ArmOf:
    """Says which arm a row belongs to: its place in `arms`, or None.

    An arm is a model with its parameters; where a model is in one arm only, the parameters need not fit.
    """

    def __init__(self, arms: Sequence[Arm]) -> None:
        self._exact = {(arm.model, _canonical(arm.params)): at for at, arm in enumerate(arms)}
        models = [arm.model for arm in arms]
        self._single = {model: at for at, model in enumerate(models) if models.count(model) == 1}

    def __call__(self, row: Row) -> int | None:
        model = str(row["model"])
        if (at := self._single.get(model)) is not None:
            return at
        return self._exact.get((model, _canonical(row.get("params"))))


def _canonical(params: Any) -> str:
    if isinstance(params, str):
        try:
            params = json.loads(params)
        except ValueError:
            return str(params)
    return json.dumps(dict(params) if isinstance(params, Mapping) else {}, sort_keys=True, default=str)


# ---------------------------------------------------------------- what the votes say


def verdicts(votes: Iterable[Vote], ballots: Iterable[Ballot]) -> dict[tuple[str | None, Ballot], str]:
    """What counts: for each voter and ballot `left`, `right`, `tie` or `skip`, as the sides of `ballots` are.

    The latest vote counts; of two of the same moment, the one that stands later. Nothing is there for a ballot whose
    vote was taken back. Votes on ballots that are not in `ballots` are passed over.
    """
    known = _by_id(ballots)
    latest: dict[tuple[str | None, Ballot], str] = {}
    for vote in sorted(votes, key=lambda each: each.moment):  # sorting is stable
        if vote.ballot in known:
            ballot, mirrored = known[vote.ballot]
            latest[vote.voter, ballot] = _MIRRORED.get(vote.choice, vote.choice) if mirrored else vote.choice
    return {key: choice for key, choice in latest.items() if choice != "undo"}


def _by_id(ballots: Iterable[Ballot]) -> dict[str, tuple[Ballot, bool]]:
    known: dict[str, tuple[Ballot, bool]] = {}
    for ballot in ballots:
        known[ballot.id] = ballot, False
        known.setdefault(ballot.twin.id, (ballot, True))
    return known


def duels_of(votes: Iterable[Vote], ballots: Iterable[Ballot]) -> list[Duel]:
    """Votes as duels, one for each voter and ballot that has a verdict; `a` is the arm on the left.

    What was skipped, or taken back, is not among them: no verdict is not a tie.
    """
    return [
        Duel(ballot.prompt_id, ballot.repeat, ballot.left, ballot.right, _WINNER[choice], source="vote")
        for (_, ballot), choice in verdicts(votes, ballots).items()
        if choice != "skip"
    ]


def progress(votes: Iterable[Vote], ballots: Sequence[Ballot], voter: str | None = None) -> Progress:
    """How many of the ballots this voter is done with."""
    mine = [choice for (who, _), choice in verdicts(votes, ballots).items() if who == voter]
    return Progress(len(mine), mine.count("skip"), len(ballots))


def aligned(
    votes: Iterable[Vote], ballots: Iterable[Ballot], one: str | None, other: str | None
) -> list[tuple[Verdict, Verdict]]:
    """What two voters said of each ballot that both judged, whichever sides each of them saw.

    For a measure of agreement that takes chance out, such as Cohen's kappa.
    """
    said = verdicts(votes, ballots)
    both = [(choice, said.get((other, ballot))) for (who, ballot), choice in said.items() if who == one]
    return [(a, b) for a, b in both if a in _WINNER and b in _WINNER]  # type: ignore[misc]  # neither is a skip


def agreement(votes: Iterable[Vote], ballots: Sequence[Ballot]) -> list[Agreement]:
    """Each two voters who have votes, and how often they agree."""
    votes = list(votes)
    voters = sorted({who for who, _ in verdicts(votes, ballots)}, key=lambda who: (who is not None, who or ""))
    found = []
    for one, other in combinations(voters, 2):
        both = aligned(votes, ballots, one, other)
        found.append(Agreement(one, other, len(both), sum(a == b for a, b in both)))
    return found


def shares(duels: Iterable[Duel], arms: Sequence[Arm]) -> list[Share]:
    """Wins, ties and losses of each arm against all others, then of each pair that has votes, as in `arms`."""
    labels = [arm.label for arm in arms]
    counts: dict[tuple[str, str | None], list[int]] = {(label, None): [0, 0, 0] for label in labels}
    for duel in duels:
        for arm, against, won in ((duel.a, duel.b, "a"), (duel.b, duel.a, "b")):
            at = 1 if duel.winner == "tie" else 0 if duel.winner == won else 2
            counts.setdefault((arm, None), [0, 0, 0])[at] += 1
            counts.setdefault((arm, against), [0, 0, 0])[at] += 1
    pairs: list[tuple[str, str | None]] = [pair for pair in combinations(labels, 2) if pair in counts]
    return [Share(*key, *counts[key]) for key in [(label, None) for label in labels] + pairs]
