"""Pictures of a comparison: inline SVG of our own, from plain rows, that need neither script nor network.

Each function takes rows as `Comparison` gives them and makes an `Svg`, which shows itself in notebooks, is saved as a
file, and tells its numbers as text. What is unknown is told in words and never drawn as 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from nbllm.compare.pictures.cost import cost_against_score
from nbllm.compare.pictures.differences import differences
from nbllm.compare.pictures.latency import latency
from nbllm.compare.pictures.scores import scores
from nbllm.compare.pictures.svg import Svg
from nbllm.compare.pictures.wins import win_rates

__all__ = ["PICTURES", "Svg", "cost_against_score", "differences", "latency", "scores", "win_rates"]

PICTURES: Mapping[str, Callable[..., Svg]] = MappingProxyType(
    {
        "scores": scores,
        "differences": differences,
        "latency": latency,
        "cost": cost_against_score,
        "wins": win_rates,
    }
)
"""The pictures by the names that `Comparison.plot` takes."""
