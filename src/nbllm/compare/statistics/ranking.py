"""Duels to a ranking: strengths, ranks and win rates, with a bootstrap over prompts.

The duels of one prompt hang together (all arms answered the same question), so whole prompts are drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor
from typing import Any

from nbllm.compare.statistics.bradley_terry import many_strengths, split, strengths
from nbllm.compare.statistics.intervals import CONFIDENCE
from nbllm.compare.statistics.paired import FEWEST_PROMPTS
from nbllm.compare.statistics.quantiles import sorted_quantile
from nbllm.compare.statistics.resampling import expanded, numpy_if_installed, resample_sums

RESAMPLES = 1000

_TIE = 0.01
"""What each pair that met is given as wins both ways where a resample has no maximum, because somebody never lost in
it. The strength is then large and finite, and the rank is kept."""

_EQUAL = 1e-7
"""Strengths that differ by less, relatively, are equal: it is the precision of the fit."""

PromptWins = Mapping[tuple[int, int], float]
"""One prompt: how often the first arm of each pair beat the second, as a share of that pair's duels; ties as halves.
Both orders of a pair are there."""


@dataclass(frozen=True, slots=True)
class Standing:
    """One arm's place among the others."""

    rank: int
    """1 is the strongest; those with equal strength share the better rank."""
    rank_low: int | None
    """The better end. None under 10 prompts."""
    rank_high: int | None
    strength: float
    """Geometric mean 1 over all arms; s / (1 + s) is the probability of beating an average one."""
    low: float | None
    high: float | None


def win_rate(wins: Sequence[PromptWins], arm: int) -> tuple[float | None, int]:
    """The share of duels won, a tie as half, and the number of prompts; each pair of a prompt counts once.

    None when the arm met nobody.
    """
    mine = [[(won, prompt[j, i]) for (i, j), won in prompt.items() if i == arm] for prompt in wins]
    won = sum(w for pairs in mine for w, _ in pairs)
    met = sum(w + lost for pairs in mine for w, lost in pairs)
    return (won / met if met else None), sum(bool(pairs) for pairs in mine)


def win_matrix(wins: Sequence[PromptWins], n_arms: int) -> list[list[float]]:
    """How often each arm (row) beat each other (column), over all prompts."""
    matrix = [[0.0] * n_arms for _ in range(n_arms)]
    for prompt in wins:
        for (i, j), won in prompt.items():
            matrix[i][j] += won
    return matrix


def standings(
    wins: Sequence[PromptWins],
    n_arms: int,
    *,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> list[Standing]:
    """Bradley-Terry strengths and ranks, with (expanded) percentile intervals of a bootstrap over prompts.

    Args:
        wins: One mapping for each prompt. No arm may stand apart (see `bradley_terry.split`).
        n_arms: Arms are numbered from 0.
        confidence: Of the intervals.
        resamples: Of the bootstrap.
        seed: Of the bootstrap.
    """
    fitted = strengths(win_matrix(wins, n_arms))
    ranks = _ranks(fitted)
    if len(wins) < FEWEST_PROMPTS:
        return [Standing(r, None, None, s, None, None) for r, s in zip(ranks, fitted, strict=True)]
    samples = _resampled(wins, fitted, resamples, seed)
    found_ranks = [_ranks(s) for s in samples]
    confidence = expanded(confidence, len(wins))
    return [
        Standing(
            ranks[i],
            *_rank_bounds(sorted(r[i] for r in found_ranks), confidence),
            fitted[i],
            *_bounds(sorted(s[i] for s in samples), confidence),
        )
        for i in range(n_arms)
    ]


def _ranks(values: Sequence[float]) -> list[int]:
    return [1 + sum(other > value * (1 + _EQUAL) for other in values) for value in values]


def _bounds(ordered: Sequence[float], confidence: float) -> tuple[float, float]:
    return sorted_quantile(ordered, (1 - confidence) / 2), sorted_quantile(ordered, (1 + confidence) / 2)


def _rank_bounds(ordered: Sequence[int], confidence: float) -> tuple[int, int]:
    last = len(ordered) - 1
    return ordered[floor(last * (1 - confidence) / 2)], ordered[ceil(last * (1 + confidence) / 2)]


def _resampled(wins: Sequence[PromptWins], fitted: Sequence[float], resamples: int, seed: int) -> list[list[float]]:
    """The strengths in each resample."""
    pairs = sorted({pair for prompt in wins for pair in prompt})
    columns = [[prompt.get(pair, 0.0) for prompt in wins] for pair in pairs]
    sums = resample_sums(columns, resamples=resamples, seed=seed)
    if numpy := numpy_if_installed():
        return _fitted_by_numpy(numpy, sums, pairs, fitted)
    return [_fitted(dict(zip(pairs, row, strict=True)), fitted) for row in zip(*sums, strict=True)]


def _fitted(sums: Mapping[tuple[int, int], float], start: Sequence[float]) -> list[float]:
    n = len(start)
    matrix = [[sums.get((i, j), 0.0) for j in range(n)] for i in range(n)]
    if split(matrix):
        matrix = [[w + _TIE * ((i, j) in sums) for j, w in enumerate(row)] for i, row in enumerate(matrix)]
    return strengths(matrix, start=start)


def _fitted_by_numpy(
    numpy: Any, sums: Sequence[Sequence[float]], pairs: Sequence[tuple[int, int]], start: Sequence[float]
) -> list[list[float]]:
    n = len(start)
    matrices = numpy.zeros((len(sums[0]), n, n))
    for (i, j), column in zip(pairs, sums, strict=True):
        matrices[:, i, j] = column
    tie = numpy.zeros((n, n))
    tie[tuple(zip(*pairs, strict=True))] = _TIE
    matrices[~_connected(numpy, matrices)] += tie
    found: list[list[float]] = many_strengths(numpy, matrices, start).tolist()
    return found


def _connected(numpy: Any, matrices: Any) -> Any:
    """For each matrix, whether every arm beat every other at the end of some chain."""
    n = matrices.shape[1]
    reached = (matrices > 0) | numpy.eye(n, dtype=bool)
    for _ in range(max(1, (n - 1).bit_length())):
        steps = reached.astype(numpy.float32)
        reached = (steps @ steps) > 0
    return reached.all(axis=(1, 2))
