"""Quantiles, as latency needs them: its tails are too heavy for a mean."""

from __future__ import annotations

import math
from collections.abc import Sequence


def quantile(values: Sequence[float], probability: float) -> float:
    """A quantile by linear interpolation, as numpy's default (type 7 of Hyndman and Fan 1996).

    Raises:
        ValueError: There are no values.
    """
    if not values:
        raise ValueError("no values, so no quantile")
    return sorted_quantile(sorted(values), probability)


def sorted_quantile(values: Sequence[float], probability: float) -> float:
    """`quantile` of values that are sorted already."""
    place = (len(values) - 1) * probability
    below = math.floor(place)
    above = min(below + 1, len(values) - 1)
    return values[below] + (values[above] - values[below]) * (place - below)
