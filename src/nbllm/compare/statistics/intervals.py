"""How sure a rate or a mean is: Wilson's interval, and t intervals with and without clusters.

The items are prompts. Repeats of a prompt are averaged before they come here, since a prompt that was asked ten times
is still one prompt.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from nbllm.compare.statistics.distributions import normal_quantile, student_t_quantile

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class MeanInterval:
    """A mean of items, and where the mean of all such items may lie."""

    mean: float
    standard_error: float | None
    """None with fewer than two items (or clusters): one item does not say how items differ."""
    low: float | None
    """None when the standard error is unknown, or 0: no spread seen is not no spread."""
    high: float | None
    n: int
    """Items."""
    n_clusters: int
    """Equal to `n` when items are not clustered."""
    method: str
    """`wilson`, `t` or `cluster t`."""


def wilson_interval(successes: float, n: int, *, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Wilson's score interval of a rate (Wilson 1927, doi:10.1080/01621459.1927.10502953).

    Args:
        successes: From 0 to `n`.
        n: Items; at least one.

    Raises:
        ValueError: There are no items, or more successes than items.
    """
    if n < 1 or not 0 <= successes <= n:
        raise ValueError(f"{successes} of {n} is no rate")
    z = normal_quantile((1 + confidence) / 2)
    rate, spread = successes / n, z * z / n
    centre = (rate + spread / 2) / (1 + spread)
    half = z * math.sqrt(rate * (1 - rate) / n + spread / (4 * n)) / (1 + spread)
    # At the ends the formula gives 0 and 1 exactly; rounding must not put a bound past the rate.
    return min(max(0.0, centre - half), rate), max(min(1.0, centre + half), rate)


def mean_interval(
    values: Sequence[float], *, clusters: Sequence[Hashable] | None = None, confidence: float = CONFIDENCE
) -> MeanInterval:
    """The mean with Student's t interval; with clusters the cluster-robust one.

    Args:
        values: One for each item; at least one.
        clusters: Which cluster each item belongs to (questions about one text are not independent). The degrees of
            freedom are then clusters - 1, so with few clusters the interval is wide.
        confidence: For example 0.95.

    Raises:
        ValueError: There are no values, or not as many clusters as values.
    """
    if not values:
        raise ValueError("no values, so no mean")
    n = len(values)
    mean = math.fsum(values) / n
    n_clusters, error = standard_error(values, clusters=clusters)
    low = high = None
    if error:
        half = student_t_quantile((1 + confidence) / 2, n_clusters - 1) * error
        low, high = mean - half, mean + half
    return MeanInterval(mean, error, low, high, n, n_clusters, "t" if clusters is None else "cluster t")


def rate_interval(values: Sequence[float], *, confidence: float = CONFIDENCE) -> MeanInterval:
    """The mean of values that are all 0 or 1, with Wilson's interval.

    Raises:
        ValueError: There are no values.
    """
    total = math.fsum(values)
    low, high = wilson_interval(total, len(values), confidence=confidence)
    _, error = standard_error(values)
    return MeanInterval(total / len(values), error, low, high, len(values), len(values), "wilson")


def standard_error(values: Sequence[float], *, clusters: Sequence[Hashable] | None = None) -> tuple[int, float | None]:
    """The number of clusters and the standard error of the mean; None with fewer than two of them.

    The residuals are added up within each cluster (Miller 2024, arXiv 2411.00640) and the variance is
    corrected by G / (G - 1) for G clusters. When each item is its own cluster that is the usual s / sqrt(n).
    """
    n = len(values)
    mean = math.fsum(values) / n
    # Sums of equal values are not exactly n times the value; a spread below rounding is none.
    residuals = [v - mean for v in values]
    sums = residuals if clusters is None else cluster_sums(residuals, clusters)
    count = len(sums)
    if count < 2:
        return count, None
    error = math.sqrt(math.fsum(s * s for s in sums) * count / (count - 1)) / n
    return count, 0.0 if error <= 1e-14 * max(map(abs, values)) else error


def cluster_sums(values: Sequence[float], clusters: Sequence[Hashable]) -> list[float]:
    """The sum of the values in each cluster, in the order in which clusters are met."""
    sums: dict[Hashable, float] = {}
    for value, cluster in zip(values, clusters, strict=True):
        sums[cluster] = sums.get(cluster, 0.0) + value
    return list(sums.values())
