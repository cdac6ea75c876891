"""Duels: where they come from when nobody judged, the ranking they give, and what a judge may have looked at."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import Any, Literal

from nbllm.compare.analysis_cells import check_scorer, prompt_means, rows_by_arm, scores_by_prompt
from nbllm.compare.cells import Arm, Duel, Row
from nbllm.compare.statistics import (
    Agreement,
    Standing,
    StyleReport,
    cohen_kappa,
    split,
    standings,
    style_report,
    win_matrix,
    win_rate,
)
from nbllm.compare.statistics.ranking import RESAMPLES, PromptWins
from nbllm.errors import UnsupportedError


def duels_from_scores(rows: Sequence[Row], arms: Sequence[Arm], scorer: str) -> list[Duel]:
    """A duel for each prompt and pair of arms that both have a score: the higher mean over repeats wins.

    Raises:
        UsageError: There is no such scorer, or two arms are the same.
    """
    check_scorer(rows, scorer)
    cells = rows_by_arm(rows, arms)
    means = {label: prompt_means(scores_by_prompt(r, scorer)) for label, r in cells.items()}
    return [
        Duel(prompt, 0, a, b, _winner(score, means[b][prompt]), source="score")
        for a, b in combinations(means, 2)
        for prompt, score in means[a].items()
        if prompt in means[b]
    ]


def _winner(a: float, b: float) -> Literal["a", "b", "tie"]:
    if math.isclose(a, b, rel_tol=1e-12, abs_tol=1e-15):
        return "tie"
    return "a" if a > b else "b"


def ranking_rows(duels: Iterable[Duel], arms: Sequence[Arm], *, seed: int = 0) -> list[dict[str, Any]]:
    """Bradley-Terry strengths, ranks and win rates, the strongest first.

    Repeats of a pair on a prompt are averaged, so each prompt counts once; `n` is the arm's number of prompts.
    Strengths have a geometric mean of 1. Under 10 prompts there are no intervals, and with one prompt no rank either.

    Args:
        duels: A tie is half a win for each. Those of arms that are not in `arms` are left out.
        arms: Who is ranked; `model` in the rows is the label.
        seed: Of the bootstrap over prompts; kept in each row.

    Raises:
        UnsupportedError: There is no ranking, because some never met the others, or never lost to them.
    """
    labels = [arm.label for arm in arms]
    kept = [d for d in duels if d.a in labels and d.b in labels and d.a != d.b]
    wins = _wins_by_prompt(kept, labels)
    places: Sequence[Standing | None] = [None] * len(arms)
    if len(wins) != 1:
        _check_connected(wins, labels)
        places = standings(wins, len(arms), seed=seed)
    met = [sum(label in (d.a, d.b) for d in kept) for label in labels]
    rows = [
        _ranking_row(label, place, win_rate(wins, i), met[i], seed)
        for i, (label, place) in enumerate(zip(labels, places, strict=True))
    ]
    return sorted(rows, key=lambda row: (row["rank"] or 0, -(row["win_rate"] or 0)))


def _wins_by_prompt(duels: Sequence[Duel], labels: Sequence[str]) -> list[PromptWins]:
    number = {label: place for place, label in enumerate(labels)}
    points = {"a": 1.0, "b": 0.0, "tie": 0.5}
    shares: dict[str, dict[tuple[int, int], list[float]]] = defaultdict(lambda: defaultdict(list))
    for duel in duels:
        a, b = number[duel.a], number[duel.b]
        shares[duel.prompt_id][a, b].append(points[duel.winner])
        shares[duel.prompt_id][b, a].append(1 - points[duel.winner])
    ordered = (shares[prompt] for prompt in sorted(shares, key=str))
    return [{pair: math.fsum(won) / len(won) for pair, won in by_pair.items()} for by_pair in ordered]


def _check_connected(wins: Sequence[PromptWins], labels: Sequence[str]) -> None:
    if not wins:
        raise UnsupportedError("there are no duels, so there is no ranking", hint="judge, vote, or rank by a score")
    apart = split(win_matrix(wins, len(labels)))
    if apart is None:
        return
    places, met = apart
    names = ", ".join(labels[i] for i in places)
    others = ", ".join(label for i, label in enumerate(labels) if i not in places)
    if met:
        raise UnsupportedError(
            f"{names} never lost to {others}, so strengths have no finite value",
            hint="compare win rates or scores instead, or ask more prompts",
        )
    raise UnsupportedError(
        f"{names} never met {others}, so they cannot be ranked together",
        hint="let them answer the same prompts, or rank them apart",
    )


def _ranking_row(
    label: str, place: Standing | None, rate: tuple[float | None, int], n_duels: int, seed: int
) -> dict[str, Any]:
    has_interval = place is not None and place.low is not None
    return {
        "model": label,
        "rank": place and place.rank,
        "rank_low": place and place.rank_low,
        "rank_high": place and place.rank_high,
        "strength": place and place.strength,
        "ci_low": place and place.low,
        "ci_high": place and place.high,
        "win_rate": rate[0],
        "n": rate[1],
        "n_duels": n_duels,
        "resamples": RESAMPLES if has_interval else None,
        "seed": seed,
    }


def judge_style(duels: Iterable[Duel], rows: Sequence[Row], arms: Sequence[Arm]) -> StyleReport:
    """How the winners of duels differ from the losers in length and format.

    Ties, and cells without text, are left out.
    """
    texts = {
        (label, row["prompt_id"], row["repeat"]): row["text"]
        for label, cells in rows_by_arm(rows, arms).items()
        for row in cells
        if row["text"] is not None
    }
    found = []
    for duel in duels:
        if duel.winner != "tie":
            winner, loser = (duel.a, duel.b) if duel.winner == "a" else (duel.b, duel.a)
            keys = [(label, duel.prompt_id, duel.repeat) for label in (winner, loser)]
            if all(key in texts for key in keys):
                found.append((texts[keys[0]], texts[keys[1]]))
    return style_report(found)


def duel_agreement(duels: Iterable[Duel], others: Iterable[Duel]) -> Agreement | None:
    """How far two sources agree on the same duels, for example a judge and people's votes.

    None when they share no duel.
    """
    first, second = _by_question(duels), _by_question(others)
    shared = [question for question in first if question in second]
    return cohen_kappa([first[q] for q in shared], [second[q] for q in shared]) if shared else None


def _by_question(duels: Iterable[Duel]) -> dict[tuple[str, int, str, str], str]:
    """The verdict on each question, with the arms in the order of their labels."""
    turned = {"a": "b", "b": "a", "tie": "tie"}
    return {
        (d.prompt_id, d.repeat, min(d.a, d.b), max(d.a, d.b)): d.winner if d.a < d.b else turned[d.winner]
        for d in duels
    }
