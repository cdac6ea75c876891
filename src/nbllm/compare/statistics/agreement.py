"""Do two who judged the same things agree more than by chance: a judge and a person, or two judges."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from nbllm.compare.statistics.distributions import student_t_quantile
from nbllm.compare.statistics.intervals import CONFIDENCE

FEWEST_RATINGS = 30
"""With fewer, the interval held the truth too seldom in some of the simulated worlds."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far two raters agree."""

    n: int
    """Things that both rated."""
    observed: float
    """Share of equal ratings."""
    expected: float
    """Share of equal ratings if each kept its own habits and they had nothing to do with each other."""
    kappa: float | None
    """Cohen's kappa: 1 is full agreement, 0 is chance. None when both always say the same one thing."""
    low: float | None
    """None under 30 ratings, and where there is no spread."""
    high: float | None


def cohen_kappa(a: Sequence[Hashable], b: Sequence[Hashable], *, confidence: float = CONFIDENCE) -> Agreement:
    """Cohen's kappa (1960), with an interval.

    The variance is that of large samples (Fleiss, Cohen and Everitt 1969, doi:10.1037/h0028106). The interval is
    symmetric on the scale of Fisher's z = atanh(kappa), since kappa's own distribution leans the more, the nearer to 1
    it is, and has Student's t with n - 1 degrees of freedom.

    Args:
        a: The first rater's category for each thing.
        b: The second's, in the same order.

    Raises:
        ValueError: There are no ratings, or not as many of the one as of the other.
    """
    if not a:
        raise ValueError("no ratings, so no agreement")
    n = len(a)
    cells = {pair: count / n for pair, count in Counter(zip(a, b, strict=True)).items()}
    of_a = {k: v / n for k, v in Counter(a).items()}
    of_b = {k: v / n for k, v in Counter(b).items()}
    observed = math.fsum(share for (x, y), share in cells.items() if x == y)
    expected = math.fsum(of_a[k] * of_b.get(k, 0.0) for k in of_a)
    if expected > 1 - 1e-12:
        return Agreement(n, observed, expected, None, None, None)
    kappa = (observed - expected) / (1 - expected)
    variance = _variance(cells, of_a, of_b, observed, expected) / n
    # Who always agrees, or never, shows no spread; what rounding leaves of it is none.
    if n < FEWEST_RATINGS or variance < 1e-14 or abs(kappa) > 1 - 1e-9:
        return Agreement(n, observed, expected, kappa, None, None)
    centre = math.atanh(kappa)
    half = student_t_quantile((1 + confidence) / 2, n - 1) * math.sqrt(variance) / (1 - kappa**2)
    return Agreement(n, observed, expected, kappa, math.tanh(centre - half), math.tanh(centre + half))


def _variance(
    cells: dict[tuple[Hashable, Hashable], float],
    of_a: dict[Hashable, float],
    of_b: dict[Hashable, float],
    observed: float,
    expected: float,
) -> float:
    """n times the variance of kappa (Fleiss, Cohen and Everitt 1969)."""
    rest, kappa_rest = 1 - expected, 1 - observed
    total = 0.0
    for (x, y), share in cells.items():
        if x == y:
            total += share * (rest - (of_a[x] + of_b[x]) * kappa_rest) ** 2
        else:
            total += share * (of_b.get(x, 0.0) + of_a.get(y, 0.0)) ** 2 * kappa_rest**2
    return (total - (observed * expected - 2 * expected + observed) ** 2) / rest**4
