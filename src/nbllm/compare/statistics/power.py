"""How many prompts a question needs, and what a sample could have shown.

n = (z(1 - alpha/2) + z(power))^2 sigma^2 / delta^2 for a paired difference (Miller 2024, arXiv 2411.00640).
"""

from __future__ import annotations

import math

from nbllm.compare.statistics.distributions import normal_quantile

POWER = 0.8
ALPHA = 0.05


def minimum_detectable_effect(standard_error: float, *, power: float = POWER, alpha: float = ALPHA) -> float:
    """The smallest true difference that such a sample finds significant with this power, in the scorer's unit.

    Args:
        standard_error: Of the paired difference.
        power: The probability of finding it.
        alpha: The two-sided level.
    """
    return _multiple(power, alpha) * standard_error


def required_prompts(effect: float, standard_deviation: float, *, power: float = POWER, alpha: float = ALPHA) -> int:
    """How many prompts a paired comparison needs to find a true difference of `effect`.

    Args:
        effect: In the scorer's unit, for example 0.05 for five points of a rate; not 0.
        standard_deviation: Of the per-prompt differences, in the same unit.

    Raises:
        ValueError: The effect is 0, which no sample can find.
    """
    if effect == 0:
        raise ValueError("a difference of 0 cannot be found by any number of prompts")
    return max(2, math.ceil((_multiple(power, alpha) * standard_deviation / effect) ** 2))


def _multiple(power: float, alpha: float) -> float:
    return normal_quantile(1 - alpha / 2) + normal_quantile(power)
