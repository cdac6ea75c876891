"""p50 and p95 of latencies, with intervals between order statistics.

How many of n independent values lie below a quantile is binomial, whatever their distribution, so the k-th smallest
value is a bound of it with a probability that is known (Hutson 1999, doi:10.1080/02664769922458, also for k between two
whole numbers). Cells of one prompt are not independent (a long answer takes long in each repeat): they count as fewer,
by the design effect of the share of values below the quantile, as in surveys (Woodruff 1952,
doi:10.1080/01621459.1952.10483443; Korn and Graubard 1998, Survey Methodology 24, 193-201).
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from nbllm.compare.statistics.distributions import incomplete_beta, normal_quantile, student_t_quantile
from nbllm.compare.statistics.intervals import CONFIDENCE, cluster_sums
from nbllm.compare.statistics.quantiles import sorted_quantile


@dataclass(frozen=True, slots=True)
class QuantileInterval:
    """A quantile of what was measured, and where it may lie for prompts like these."""

    probability: float
    value: float
    low: float | None
    """None with so few prompts that not even the smallest and the largest of as many values are bounds: at 95 %, under
    6 prompts for p50 and under 72 for p95."""
    high: float | None


def quantile_intervals(
    values: Sequence[float],
    probabilities: Sequence[float] = (0.5, 0.95),
    *,
    prompts: Sequence[Hashable] | None = None,
    confidence: float = CONFIDENCE,
) -> list[QuantileInterval]:
    """Quantiles with their intervals.

    Args:
        values: One for each cell, in whichever unit; at least one.
        probabilities: Which quantiles.
        prompts: Which prompt each cell belongs to; None: each is a prompt of its own.

    Raises:
        ValueError: There are no values.
    """
    if not values:
        raise ValueError("no values, so no quantile")
    labels = range(len(values)) if prompts is None else prompts
    cells = sorted(zip(values, labels, strict=True), key=lambda cell: cell[0])
    latencies, owners = [v for v, _ in cells], [owner for _, owner in cells]
    found = []
    for probability in probabilities:
        value = sorted_quantile(latencies, probability)
        below = bisect_right(latencies, value)
        size = _effective_size(below, owners, confidence)
        bounds = _bounds(latencies, probability, min(size, len(set(owners))), size, confidence)
        found.append(QuantileInterval(probability, value, *bounds))
    return found


def _effective_size(below: int, owners: Sequence[Hashable], confidence: float) -> float:
    """How many independent cells tell as much of the share that is below as these do. `owners` are in order of value.

    The design effect is estimated from few prompts, so it is raised as Student's t is above the normal. It lies between
    that of cells without anything in common and that of prompts whose cells are all alike.
    """
    n, share = len(owners), below / len(owners)
    sizes = Counter(owners)
    alike = math.fsum(size * size for size in sizes.values()) / n
    spread = n * share * (1 - share)
    if len(sizes) < 2 or not spread:
        return n / alike
    sums = cluster_sums([float(place < below) - share for place in range(n)], owners)
    tail = (1 + confidence) / 2
    caution = (student_t_quantile(tail, len(sizes) - 1) / normal_quantile(tail)) ** 2
    return n / min(max(1.0, caution * math.fsum(s * s for s in sums) / spread), alike)


def _bounds(
    ordered: Sequence[float], probability: float, fewest: float, size: float, confidence: float
) -> tuple[float, float] | tuple[None, None]:
    tail = (1 - confidence) / 2
    if max(probability, 1 - probability) ** fewest > tail:
        return None, None
    stretch = (len(ordered) + 1) / (size + 1)
    low, high = (_place(probability, size, share) * stretch for share in (1 - tail, tail))
    return _at(ordered, low), _at(ordered, high)


def _place(probability: float, size: float, share: float) -> float:
    """The k for which the k-th smallest of `size` values lies below the quantile with the probability `share`."""
    low, high = 1.0, size
    while high - low > 1e-9 * size:
        middle = (low + high) / 2
        if incomplete_beta(probability, middle, size + 1 - middle) > share:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _at(ordered: Sequence[float], place: float) -> float:
    """The value at a place from 1 to n, between two places in proportion."""
    return sorted_quantile(ordered, min(max(0.0, (place - 1) / (len(ordered) - 1)), 1.0))
