"""The few distributions that intervals and tests need, so that a summary needs no scipy.

Normal quantiles come from the standard library. Student's t and the binomial are both read off the regularised
incomplete beta function.
"""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import NormalDist

_NORMAL = NormalDist()
_TINY = 1e-300


def normal_quantile(probability: float) -> float:
    """The value below which a standard normal variable lies with this probability (0 < probability < 1)."""
    return _NORMAL.inv_cdf(probability)


def normal_cdf(value: float) -> float:
    """The probability that a standard normal variable is at most `value`."""
    return _NORMAL.cdf(value)


def incomplete_beta(x: float, a: float, b: float) -> float:
    """The regularised incomplete beta function I_x(a, b), for 0 <= x <= 1 and positive a and b.

    By its continued fraction (DLMF 8.17.22), which converges quickly on the side of the mean that is taken here.
    """
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        return 1 - incomplete_beta(1 - x, b, a)
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    return math.exp(log_front) / (a * _beta_fraction(x, a, b))


def _beta_fraction(x: float, a: float, b: float) -> float:
    """1 + d1/(1 + d2/(1 + ...)) by the modified method of Lentz."""
    value, upper, lower = 1.0, 1.0, 0.0
    for step in range(1, 100_000):
        term = _beta_term(step, x, a, b)
        lower = 1 / (1 + term * lower or _TINY)
        upper = 1 + term / upper or _TINY
        value *= upper * lower
        if abs(upper * lower - 1) < 1e-15:
            break
    return value


def _beta_term(step: int, x: float, a: float, b: float) -> float:
    m = step // 2
    if step % 2:
        return -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
    return m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))


def student_t_p_value(t: float, degrees: float) -> float:
    """The two-sided p of Student's t: how often it lies at least as far from 0 with so many degrees of freedom."""
    return incomplete_beta(degrees / (degrees + t * t), degrees / 2, 0.5)


@lru_cache(maxsize=4096)
def student_t_quantile(probability: float, degrees: float) -> float:
    """The value below which Student's t lies with this probability (0 < probability < 1)."""
    if probability < 0.5:
        return -student_t_quantile(1 - probability, degrees)
    two_sided = 2 * (1 - probability)
    low, high = 0.0, 2.0
    while student_t_p_value(high, degrees) > two_sided:
        low, high = high, 2 * high
    while high - low > 1e-13 * high:
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (middle, high) if student_t_p_value(middle, degrees) > two_sided else (low, middle)
    return (low + high) / 2


def fair_coin_p_value(heads: int, tosses: int) -> float:
    """The exact two-sided p of a fair coin: twice the smaller tail of the binomial with 1/2, at most 1."""
    fewer = min(heads, tosses - heads)
    return min(1.0, 2 * incomplete_beta(0.5, tosses - fewer, fewer + 1)) if tosses else 1.0
