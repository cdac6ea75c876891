"""What the view of a comparison shows, as plain data that JSON can say. Every text has its hidden characters shown.

No text of a model is cut in the kernel for good: the table holds beginnings where all of it would be megabytes, whole
answers are fetched for one prompt, and searching goes through whole texts.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from nbllm.compare.ballots import ArmOf, Ballot, Vote, agreement, duels_of, shares, verdicts
from nbllm.compare.cells import Arm, Case, Row
from nbllm.foreign import one_line, visible

WHOLE = 2_000_000
"""Characters of all answers and prompts up to which the browser gets them whole."""
_BEGINNING = 120
_PAGE = 4_000
"""Rows in one message: 20,000 come in five, the first of which is drawn at once."""
LONGEST = 200_000
"""Characters of one text that are put on the page."""
_FEW_PROMPTS = 10
_NUMBERS = ("latency_ms", "ttft_ms", "input_tokens", "output_tokens", "cost_usd")


class Table:
    """The cells of a comparison as the browser lists them.

    Args:
        rows: Cells.
        arms: In the order in which they are shown.
        cases: Prompts, likewise; those of cells that are not among them follow.
        scorers: Names of the columns with scores.
    """

    def __init__(self, rows: Sequence[Row], arms: Sequence[Arm], cases: Sequence[Case], scorers: Sequence[str]) -> None:
        self.rows, self.arms, self.scorers = rows, arms, scorers
        self.labels = [one_line(arm.label) for arm in arms]
        self._prompts = {str(case.prompt_id): case.prompt for case in cases}
        for row in rows:
            self._prompts.setdefault(str(row["prompt_id"]), str(row.get("prompt") or ""))
        self._places = {prompt_id: at for at, prompt_id in enumerate(self._prompts)}
        self._arm_of = ArmOf(arms)
        self._haystack: list[str] | None = None
        length = sum(len(str(row.get("text") or "")) for row in rows) + sum(map(len, self._prompts.values()))
        self.is_whole = length <= WHOLE

    def prompt(self, prompt_id: str) -> str:
        """A prompt, fit to be shown."""
        return _shown(self._prompts.get(prompt_id, ""))

    def pages(self) -> Iterator[dict[str, Any]]:
        """The table in messages; the first says what all the others need."""
        limit = LONGEST if self.is_whole else _BEGINNING
        head = {
            "arms": self.labels,
            "scorers": [one_line(name) for name in self.scorers],
            "ranged": [one_line(name) for name in self.scorers if any(_is_number(row.get(name)) for row in self.rows)],
            "prompts": [[one_line(id_), one_line(prompt, limit)] for id_, prompt in self._prompts.items()],
            "whole": self.is_whole,
            "repeats": 1 + max((int(row.get("repeat") or 0) for row in self.rows), default=0),
        }
        for first in range(0, max(1, len(self.rows)), _PAGE):
            lines = [self._line(row, limit) for row in self.rows[first : first + _PAGE]]
            yield {"first": first, "total": len(self.rows), "rows": lines, **({} if first else {"head": head})}

    def _line(self, row: Row, limit: int) -> list[Any]:
        arm = self._arm_of(row)
        said = row.get("text") if row.get("status") == "ok" else row.get("error")
        return [
            self._places[str(row["prompt_id"])], -1 if arm is None else arm, int(row.get("repeat") or 0),
            row.get("status") == "ok", one_line(str(said or "")[:limit], limit),
            *(number(row.get(name)) for name in _NUMBERS),
            *(_score(row.get(name)) for name in self.scorers),
        ]  # fmt: skip

    def find(self, words: Sequence[str]) -> list[int]:
        """The rows whose prompt, model, answer or error holds all of these words."""
        if self._haystack is None:
            self._haystack = [self._text_of(row) for row in self.rows]
        low = [word.lower() for word in words]
        return [at for at, text in enumerate(self._haystack) if all(word in text for word in low)]

    def _text_of(self, row: Row) -> str:
        prompt_id, arm = str(row["prompt_id"]), self._arm_of(row)
        label = "" if arm is None else self.labels[arm]
        return (
            f"{prompt_id} {self._prompts[prompt_id]} {label} {row.get('text') or ''} {row.get('error') or ''}".lower()
        )

    def opened(self, at: int) -> dict[str, Any]:
        """All answers to the prompt of a row, at its repeat, side by side."""
        row = self.rows[at]
        prompt_id, repeat = str(row["prompt_id"]), int(row.get("repeat") or 0)
        beside = {
            arm: each
            for each in self.rows
            if str(each["prompt_id"]) == prompt_id and int(each.get("repeat") or 0) == repeat
            if (arm := self._arm_of(each)) is not None
        }
        answers = [{"arm": label, **self._answer(beside.get(arm))} for arm, label in enumerate(self.labels)]
        asked = self._arm_of(row)
        return {"row": at, "prompt_id": one_line(prompt_id), "repeat": repeat, "prompt": self.prompt(prompt_id),
                "answers": answers, "arm": asked}  # fmt: skip

    def _answer(self, row: Row | None) -> dict[str, Any]:
        if row is None:
            return {"status": "none"}
        scores = [[one_line(name), _score(row.get(name))] for name in self.scorers]
        return {
            "status": "ok" if row.get("status") == "ok" else "error",
            "text": _shown(row.get("text") or ""),
            "error": _shown(": ".join(str(row[k]) for k in ("error_type", "error") if row.get(k))),
            "finish": one_line(row.get("finish_reason") or ""),
            "scores": scores,
            **{name: number(row.get(name)) for name in _NUMBERS},
        }


def side_by_side(texts: Mapping[tuple[str, str, int], str], ballot: Ballot) -> dict[str, str]:
    """The two texts of a ballot, and nothing that says whose they are."""
    place = (ballot.prompt_id, ballot.repeat)
    return {"left": _shown(texts[ballot.left, *place]), "right": _shown(texts[ballot.right, *place])}


def results(
    votes: Sequence[Vote], ballots: Sequence[Ballot], arms: Sequence[Arm], summary_rows: Sequence[Row]
) -> dict[str, Any]:
    """What the votes say, and beside it what scorers said."""
    duels = duels_of(votes, ballots)
    said = Counter(verdicts(votes, ballots).values())
    found = shares(duels, arms)
    prompts = len({duel.prompt_id for duel in duels})
    return {
        "shares": [
            {"arm": one_line(s.arm), "against": s.against and one_line(s.against), "wins": s.wins, "ties": s.ties,
             "losses": s.losses, "n": s.n, "share": s.share}
            for s in found
        ],
        "votes": len(duels), "skipped": said["skip"], "prompts": prompts, "few": prompts < _FEW_PROMPTS,
        "left": said["left"], "right": said["right"], "ties": said["tie"],
        "agreement": [
            {"one": _voter(a.one), "other": _voter(a.other), "n": a.n, "same": a.same}
            for a in agreement(votes, ballots)
        ],
        "summary": [_summary(row, arms) for row in summary_rows],
    }  # fmt: skip


def _voter(name: str | None) -> str:
    return "you" if name is None else one_line(name, 60)


def _summary(row: Row, arms: Sequence[Arm]) -> dict[str, Any]:
    arm = ArmOf(arms)(row)
    names = ("n_prompts", "n_errors", "mean", "ci_low", "ci_high", "cost_usd", "latency_p50_ms")
    label = str(row["model"]) if arm is None else arms[arm].label
    return {"arm": one_line(label), "scorer": one_line(row.get("scorer") or ""),
            **{name: number(row.get(name)) for name in names}}  # fmt: skip


def number(value: Any) -> float | int | None:
    """A number that JSON can say; None for everything else, NaN too, which would break the whole message."""
    if value is None or isinstance(value, str):
        return None
    try:
        found = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    if not math.isfinite(found):
        return None
    return int(found) if found.is_integer() else found


def _score(value: Any) -> float | int | str | None:
    return one_line(value, 60) if isinstance(value, str) else number(value)


def _is_number(value: Any) -> bool:
    return number(value) is not None


def _shown(text: object) -> str:
    whole = str(text)
    if len(whole) <= LONGEST:
        return visible(whole)
    return f"{visible(whole[:LONGEST])}\n… cut here: the first {LONGEST:,} of {len(whole):,} characters"
