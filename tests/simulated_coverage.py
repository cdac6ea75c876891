"""How often an interval holds the true value, by simulation where the truth is known.

Each function of `COVERAGES` makes one sample from a generator and says whether the interval held the truth. Each of
`ERROR_RATES` says whether a test found a difference where there is none. The worlds look like comparisons: bounded
scores, prompts of different difficulty that all arms share, repeats, ties, latencies with heavy tails.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from itertools import combinations
from statistics import NormalDist

from nbllm.compare.statistics import (
    bootstrap_means,
    cohen_kappa,
    holm,
    mean_interval,
    paired_difference,
    paired_test,
    quantile_intervals,
    standings,
    strengths,
    wilson_interval,
)

NORMAL = NormalDist()


@dataclass(frozen=True)
class Simulation:
    """A world, and whether the interval held in one sample of it."""

    name: str
    conditions: str
    sample: Callable[[random.Random], bool]
    repetitions: int = 4000
    promised: bool = True
    """Whether 93 to 97 % is promised here; elsewhere it is only shown what small samples do."""


def share(simulation: Simulation, repetitions: int, seed: int) -> float:
    """How often `sample` said yes."""
    source = random.Random(seed)
    return sum(simulation.sample(source) for _ in range(repetitions)) / repetitions


def _holds(low: float | None, truth: float, high: float | None) -> bool:
    return low is not None and high is not None and low <= truth <= high


def _logistic(x: float) -> float:
    return 1 / (1 + math.exp(-x))


@cache
def true_rate(skill: float) -> float:
    """The rate of an arm with this skill over prompts whose difficulty is standard normal."""
    return math.fsum(_logistic(skill + NORMAL.inv_cdf((i + 0.5) / 20_000)) for i in range(20_000)) / 20_000


def wilson(source: random.Random, n: int) -> bool:
    rate = source.uniform(0.02, 0.98)
    low, high = wilson_interval(sum(source.random() < rate for _ in range(n)), n)
    return low <= rate <= high


def skewed_mean(source: random.Random, n: int) -> bool:
    interval = mean_interval([source.betavariate(4, 1) for _ in range(n)])
    return _holds(interval.low, 0.8, interval.high)


def _answers(source: random.Random, skills: tuple[float, ...], n: int, repeats: int) -> list[list[float]]:
    """For each arm its mean over repeats of yes or no, for each prompt."""
    hard = [source.gauss(0, 1) for _ in range(n)]
    return [[sum(source.random() < _logistic(s + h) for _ in range(repeats)) / repeats for h in hard] for s in skills]


def repeated_mean(source: random.Random, n: int) -> bool:
    interval = mean_interval(_answers(source, (0.5,), n, 4)[0])
    return _holds(interval.low, true_rate(0.5), interval.high)


def paired_t(source: random.Random, n: int, repeats: int) -> bool:
    a, b = _answers(source, (0.5, 0.0), n, repeats)
    found = paired_difference(a, b, resamples=0)
    return _holds(found.low, true_rate(0.5) - true_rate(0.0), found.high)


def _clustered(source: random.Random, clusters: int) -> tuple[list[float], list[int]]:
    values, labels = [], []
    for cluster in range(clusters):
        common = source.gauss(0, 0.2)
        for _ in range(source.randint(4, 8)):
            values.append(0.5 + common + source.gauss(0, 0.3))
            labels.append(cluster)
    return values, labels


def cluster_mean(source: random.Random, clusters: int) -> bool:
    values, labels = _clustered(source, clusters)
    interval = mean_interval(values, clusters=labels)
    return _holds(interval.low, 0.5, interval.high)


def clusters_ignored(source: random.Random, clusters: int) -> bool:
    interval = mean_interval(_clustered(source, clusters)[0])
    return _holds(interval.low, 0.5, interval.high)


def bootstrap(source: random.Random, n: int) -> bool:
    a, b = _answers(source, (0.5, 0.0), n, 4)
    [(low, high)] = bootstrap_means([[x - y for x, y in zip(a, b, strict=True)]], seed=source.getrandbits(32))
    return _holds(low, true_rate(0.5) - true_rate(0.0), high)


def bootstrap_skewed(source: random.Random, n: int) -> bool:
    values = [source.betavariate(4, 1) for _ in range(n)]
    [(low, high)] = bootstrap_means([values], seed=source.getrandbits(32))
    return _holds(low, 0.8, high)


def cluster_bootstrap(source: random.Random, clusters: int) -> bool:
    values, labels = _clustered(source, clusters)
    [(low, high)] = bootstrap_means([values], clusters=labels, seed=source.getrandbits(32))
    return _holds(low, 0.5, high)


SKILLS = (0.0, 0.2, 0.4, 0.6, 0.8)
TIE = 0.4


@cache
def true_strengths() -> tuple[float, ...]:
    """What Bradley-Terry gives for all prompts there could be."""
    matrix = [[0.0] * len(SKILLS) for _ in SKILLS]
    for i, j in combinations(range(len(SKILLS)), 2):
        gap = SKILLS[i] - SKILLS[j]
        won, lost = NORMAL.cdf((gap - TIE) / math.sqrt(2)), NORMAL.cdf((-gap - TIE) / math.sqrt(2))
        matrix[i][j], matrix[j][i] = won + (1 - won - lost) / 2, lost + (1 - won - lost) / 2
    return tuple(strengths(matrix))


def _duels(source: random.Random, n: int) -> list[dict[tuple[int, int], float]]:
    prompts = []
    for _ in range(n):
        scores = [s + source.gauss(0, 1) for s in SKILLS]
        wins: dict[tuple[int, int], float] = {}
        for i, j in combinations(range(len(SKILLS)), 2):
            gap = scores[i] - scores[j]
            wins[i, j] = 0.5 if abs(gap) < TIE else float(gap > 0)
            wins[j, i] = 1 - wins[i, j]
        prompts.append(wins)
    return prompts


def bradley_terry(source: random.Random, n: int, arm: int) -> bool:
    place = standings(_duels(source, n), len(SKILLS), seed=source.getrandbits(32))[arm]
    return _holds(place.low, true_strengths()[arm], place.high)


def true_rank(source: random.Random, n: int, arm: int) -> bool:
    place = standings(_duels(source, n), len(SKILLS), seed=source.getrandbits(32))[arm]
    return _holds(place.rank_low, len(SKILLS) - arm, place.rank_high)


def latency(source: random.Random, n: int, probability: float, repeats: int) -> bool:
    means = [source.gauss(6, 0.5) for _ in range(n)]
    cells = [(m + source.gauss(0, 0.4), p) for p, m in enumerate(means) for _ in range(repeats)]
    values, prompts = [math.exp(x) for x, _ in cells], [p for _, p in cells]
    [found] = quantile_intervals(values, [probability], prompts=prompts)
    return _holds(found.low, math.exp(6 + math.hypot(0.5, 0.4) * NORMAL.inv_cdf(probability)), found.high)


def kappa(source: random.Random, n: int) -> bool:
    # Two raters who agree on purpose in 60 % and guess evenly among three else: kappa is 0.6.
    first = [source.randrange(3) for _ in range(n)]
    second = [x if source.random() < 0.6 else source.randrange(3) for x in first]
    found = cohen_kappa(first, second)
    return _holds(found.low, 0.6, found.high)


def false_alarm(source: random.Random, n: int, repeats: int) -> bool:
    a, b = _answers(source, (0.3, 0.3), n, repeats)
    test = paired_test(a, b)
    return test is not None and test.p_value < 0.05


def holm_false_alarm(source: random.Random, n: int) -> bool:
    arms = _answers(source, (0.3,) * 5, n, 4)
    tests = [paired_test(a, b) for a, b in combinations(arms, 2)]
    return any(p is not None and p < 0.05 for p in holm([t and t.p_value for t in tests]))


_S = Simulation
COVERAGES = [
    *(
        _S("Wilson, averaged over rates", f"n = {n}, rate uniform in 0.02 to 0.98", partial(wilson, n=n))
        for n in (10, 30, 100)
    ),
    _S("t, skewed scores", "n = 10, Beta(4, 1)", partial(skewed_mean, n=10), promised=False),
    *(_S("t, skewed scores", f"n = {n}, Beta(4, 1)", partial(skewed_mean, n=n)) for n in (20, 50, 200)),
    *(_S("t, yes or no with 4 repeats", f"n = {n}", partial(repeated_mean, n=n)) for n in (10, 20, 200)),
    *(_S("paired t, yes or no, 1 repeat", f"n = {n}", partial(paired_t, n=n, repeats=1)) for n in (20, 50, 200)),
    *(_S("paired t, yes or no, 4 repeats", f"n = {n}", partial(paired_t, n=n, repeats=4)) for n in (10, 20, 200)),
    *(
        _S("cluster t", f"{n} clusters of 4 to 8, intra-cluster correlation 0.31", partial(cluster_mean, clusters=n))
        for n in (10, 20, 40)
    ),
    _S("t, the clusters ignored", "20 clusters of 4 to 8", partial(clusters_ignored, clusters=20), promised=False),
    *(
        _S("bootstrap (BCa), paired difference", f"n = {n}, 4 repeats", partial(bootstrap, n=n), 2000)
        for n in (12, 20, 50, 200)
    ),
    *(
        _S("bootstrap (BCa), skewed scores", f"n = {n}, Beta(4, 1)", partial(bootstrap_skewed, n=n), 2000)
        for n in (12, 50, 200)
    ),
    *(
        _S("bootstrap (BCa) over clusters", f"{n} clusters of 4 to 8", partial(cluster_bootstrap, clusters=n), 2000)
        for n in (12, 20, 40, 80)
    ),
    *(
        _S(
            "Bradley-Terry, strength of the best of 5",
            f"{n} prompts, 21 % ties",
            partial(bradley_terry, n=n, arm=4),
            1000,
        )
        for n in (10, 30)
    ),
    *(
        _S(
            f"Bradley-Terry, strength of the {name} of 5",
            "200 prompts, 21 % ties",
            partial(bradley_terry, n=200, arm=arm),
            1000,
        )
        for arm, name in ((0, "worst"), (2, "middle"), (4, "best"))
    ),
    _S("rank of the middle of 5", "200 prompts, 21 % ties", partial(true_rank, n=200, arm=2), 1000, promised=False),
    *(
        _S(
            f"latency p{100 * p:.0f}",
            f"{n} prompts x {repeats}, log-normal",
            partial(latency, n=n, probability=p, repeats=repeats),
        )
        for p, n, repeats in (
            *((0.5, n, repeats) for n in (10, 100, 400) for repeats in (1, 3)),
            *((0.95, n, repeats) for n in (72, 100, 400) for repeats in (1, 3)),
        )
    ),
    *(_S("Cohen's kappa", f"n = {n}, three verdicts, kappa 0.6", partial(kappa, n=n)) for n in (30, 50, 200)),
]
"""Nominal 95 % intervals."""

ERROR_RATES = [
    _S("exact McNemar", "n = 200", partial(false_alarm, n=200, repeats=1)),
    _S("paired t", "n = 20, 4 repeats", partial(false_alarm, n=20, repeats=4)),
    _S("paired t", "n = 200, 4 repeats", partial(false_alarm, n=200, repeats=4)),
    _S("any of 10 pairs of 5 arms, Holm", "n = 100, 4 repeats", partial(holm_false_alarm, n=100), 2000),
]
"""Tests at 5 %, where there is no difference."""
