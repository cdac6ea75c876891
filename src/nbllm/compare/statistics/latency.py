"""p50 and p95 of latencies, with bootstrap intervals over prompts.

Cells of one prompt resemble each other (a long answer takes long in each repeat), so whole prompts are drawn.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import floor
from typing import Any

from nbllm.compare.statistics.intervals import CONFIDENCE
from nbllm.compare.statistics.quantiles import sorted_quantile
from nbllm.compare.statistics.resampling import count_chunks, draws, numpy_if_installed

RESAMPLES = 1000


@dataclass(frozen=True, slots=True)
class QuantileInterval:
    """A quantile of what was measured, and where it may lie for prompts like these."""

    probability: float
    value: float
    low: float | None
    """None with a single prompt."""
    high: float | None


def quantile_intervals(
    values: Sequence[float],
    probabilities: Sequence[float] = (0.5, 0.95),
    *,
    prompts: Sequence[Hashable] | None = None,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> list[QuantileInterval]:
    """Quantiles with percentile bootstrap intervals.

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
    number = {label: place for place, label in enumerate(dict.fromkeys(labels))}
    cells = sorted((v, number[label]) for v, label in zip(values, labels, strict=True))
    latencies, order = [v for v, _ in cells], [unit for _, unit in cells]
    points = [sorted_quantile(latencies, p) for p in probabilities]
    if len(number) < 2:
        return [QuantileInterval(p, v, None, None) for p, v in zip(probabilities, points, strict=True)]
    found = _resampled(latencies, order, len(number), probabilities, resamples, seed)
    tails = (1 - confidence) / 2, (1 + confidence) / 2
    bounds = [[sorted_quantile(sorted(f), t) for t in tails] for f in found]
    return [QuantileInterval(p, v, *b) for p, v, b in zip(probabilities, points, bounds, strict=True)]


def _resampled(
    latencies: Sequence[float], order: Sequence[int], n: int, probabilities: Sequence[float], resamples: int, seed: int
) -> list[list[float]]:
    """For each probability, its quantile in each resample. `order` says whose the n-th smallest latency is."""
    if numpy := numpy_if_installed():
        return _resampled_by_numpy(numpy, latencies, order, n, probabilities, resamples, seed)
    found: list[list[float]] = [[] for _ in probabilities]
    for units in draws(n, resamples=resamples, seed=seed):
        # How many cells of the resample are among the k smallest of the sample.
        upto = list(accumulate(map(Counter(units).__getitem__, order)))
        for probability, into in zip(probabilities, found, strict=True):
            place = (upto[-1] - 1) * probability
            low = bisect_right(upto, floor(place))
            high = bisect_right(upto, min(floor(place) + 1, upto[-1] - 1))
            into.append(_between(latencies[low], latencies[high], place - floor(place)))
    return found


def _resampled_by_numpy(
    numpy: Any,
    latencies: Sequence[float],
    order: Sequence[int],
    n: int,
    probabilities: Sequence[float],
    resamples: int,
    seed: int,
) -> list[list[float]]:
    found: list[list[float]] = [[] for _ in probabilities]
    values, owners = numpy.asarray(latencies), numpy.asarray(order)
    for counts in count_chunks(numpy, n, resamples=resamples, seed=seed):
        for row in counts:
            upto = row[owners].cumsum()
            for probability, into in zip(probabilities, found, strict=True):
                place = (int(upto[-1]) - 1) * probability
                ranks = floor(place), min(floor(place) + 1, int(upto[-1]) - 1)
                low, high = numpy.searchsorted(upto, ranks, side="right")
                into.append(_between(float(values[low]), float(values[high]), place - floor(place)))
    return found


def _between(low: float, high: float, share: float) -> float:
    return low + (high - low) * share
