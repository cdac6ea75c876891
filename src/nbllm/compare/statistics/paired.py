"""A against B on the same prompts.

Prompts differ far more than models do; taking the difference within each prompt first takes that out.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from nbllm.compare.statistics.distributions import fair_coin_p_value, student_t_p_value
from nbllm.compare.statistics.intervals import CONFIDENCE, cluster_sums, mean_interval
from nbllm.compare.statistics.power import minimum_detectable_effect
from nbllm.compare.statistics.resampling import RESAMPLES, bootstrap_means

FEWEST_PROMPTS = 10
"""With fewer no p is given: the comparison only describes."""


@dataclass(frozen=True, slots=True)
class Test:
    """A p-value, and the test that it comes from."""

    name: str
    """`exact McNemar`, `paired t`, `cluster-robust t` or `exact sign test`."""
    p_value: float

    __test__ = False
    """Not one of pytest's."""


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """What B lacks to A, over prompts that both answered."""

    n: int
    """Prompts."""
    n_clusters: int
    mean_a: float
    mean_b: float
    difference: float
    """`mean_a - mean_b`."""
    standard_error: float | None
    low: float | None
    """By Student's t over the per-prompt differences. None when they do not vary, or there is one."""
    high: float | None
    bootstrap_low: float | None
    """None under 12 prompts or clusters, too."""
    bootstrap_high: float | None
    test: Test | None
    """None under 10 prompts, or with a single cluster."""
    minimum_detectable_effect: float | None
    """At 80 % power and 5 %."""
    resamples: int
    seed: int


def paired_difference(
    a: Sequence[float],
    b: Sequence[float],
    *,
    clusters: Sequence[Hashable] | None = None,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> PairedDifference:
    """Compare two arms on the same prompts.

    Args:
        a: The first arm's score for each prompt, repeats averaged.
        b: The second arm's, in the same order.
        clusters: Which cluster each prompt belongs to; None: prompts are independent.
        confidence: Of both intervals.
        resamples: Of the bootstrap; 0 leaves it out.
        seed: Of the bootstrap; kept in the result.

    Raises:
        ValueError: There are no prompts, or the sequences are not of the same length.
    """
    gaps = differences(a, b)
    bootstrap: tuple[float, float] | tuple[None, None] = (None, None)
    if resamples:
        [bootstrap] = bootstrap_means([gaps], clusters=clusters, confidence=confidence, resamples=resamples, seed=seed)
    interval = mean_interval(gaps, clusters=clusters, confidence=confidence)
    error = interval.standard_error
    return PairedDifference(
        n=len(gaps),
        n_clusters=interval.n_clusters,
        mean_a=math.fsum(a) / len(a),
        mean_b=math.fsum(b) / len(b),
        difference=interval.mean,
        standard_error=error,
        low=interval.low,
        high=interval.high,
        bootstrap_low=bootstrap[0],
        bootstrap_high=bootstrap[1],
        test=paired_test(a, b, clusters=clusters),
        minimum_detectable_effect=minimum_detectable_effect(error) if error else None,
        resamples=resamples,
        seed=seed,
    )


def differences(a: Sequence[float], b: Sequence[float]) -> list[float]:
    """`a - b` for each prompt; a difference that is rounding alone is 0."""
    return [0.0 if math.isclose(x, y, rel_tol=1e-12, abs_tol=1e-15) else x - y for x, y in zip(a, b, strict=True)]


def paired_test(a: Sequence[float], b: Sequence[float], *, clusters: Sequence[Hashable] | None = None) -> Test | None:
    """The test that is right for these scores; None under 10 prompts.

    Yes or no for every prompt: exact McNemar. Means of repeats and other scores: t over the per-prompt differences, by
    cluster-robust standard error where there are clusters (McNemar takes prompts for independent). Where all
    differences are the same, t has no standard error, and the exact sign test is used.
    """
    gaps = differences(a, b)
    units = gaps if clusters is None else cluster_sums(gaps, clusters)
    if len(gaps) < FEWEST_PROMPTS or len(units) < 2:
        return None
    if clusters is None and set(a) | set(b) <= {0, 1}:
        return Test("exact McNemar", mcnemar_p_value(a, b))
    interval = mean_interval(gaps, clusters=clusters)
    if not interval.standard_error:
        return Test("exact sign test", sign_test_p_value(units))
    p_value = student_t_p_value(interval.mean / interval.standard_error, interval.n_clusters - 1)
    return Test("paired t" if clusters is None else "cluster-robust t", p_value)


def mcnemar_p_value(a: Sequence[float], b: Sequence[float]) -> float:
    """The exact two-sided p of McNemar's test: the binomial with 1/2 on the prompts where just one is right.

    Args:
        a: 0 or 1 for each prompt.
        b: Likewise, in the same order.
    """
    return sign_test_p_value(differences(a, b))


def sign_test_p_value(gaps: Sequence[float]) -> float:
    """The exact two-sided p of the sign test; differences of 0 are left out."""
    above, below = sum(g > 0 for g in gaps), sum(g < 0 for g in gaps)
    return fair_coin_p_value(above, above + below)
