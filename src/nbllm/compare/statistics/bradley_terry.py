"""Who beats whom, as one strength for each: Bradley and Terry (1952), by maximum likelihood.

P(i beats j) = s_i / (s_i + s_j). A tie is half a win for each. Strengths are scaled to a geometric mean of 1, so that
s / (1 + s) is the probability of beating an average opponent. They are fitted by Newton's method on their logarithms,
with steps that are short enough to climb always (Sun and Tran-Dinh 2019, arXiv 1703.04599, for functions of this
kind).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

Matrix = Sequence[Sequence[float]]
"""How often each (row) beat each (column), ties as halves."""

_STEPS = 200
_PRECISION = 1e-9


def strengths(wins: Matrix, *, start: Sequence[float] | None = None) -> list[float]:
    """The maximum likelihood strengths, with a geometric mean of 1.

    Args:
        wins: A square matrix. Between any two there must be a chain of wins both ways (see `split`), else there is no
            maximum.
        start: Strengths to start from; makes it faster.
    """
    logs = [math.log(s) for s in start] if start else [0.0] * len(wins)
    met = [[wins[i][j] + wins[j][i] for j in range(len(wins))] for i in range(len(wins))]
    for _ in range(_STEPS):
        gradient, curvature = _derivatives(wins, met, logs)
        step = _solve(curvature, gradient)
        size = max(step) - min(step)
        scale = math.log1p(size) / size if size > 0 else 0.0
        logs = [x + scale * d for x, d in zip(logs, step, strict=True)]
        if size < _PRECISION:
            break
    centre = math.fsum(logs) / len(logs)
    return [math.exp(x - centre) for x in logs]


def _derivatives(wins: Matrix, met: Matrix, logs: Sequence[float]) -> tuple[list[float], list[list[float]]]:
    """Of the log likelihood: its gradient, and its negative second derivative made regular."""
    n = len(logs)
    gradient = [0.0] * n
    # The likelihood knows no scale; adding a constant everywhere picks the step that keeps the mean of the logarithms.
    constant = max(map(max, met)) / n
    curvature = [[constant] * n for _ in range(n)]
    for i in range(n):
        for j in range(i):
            beats = _logistic(logs[i] - logs[j])
            surplus, weight = wins[i][j] - met[i][j] * beats, met[i][j] * beats * (1 - beats)
            gradient[i] += surplus
            gradient[j] -= surplus
            curvature[i][i] += weight
            curvature[j][j] += weight
            curvature[i][j] -= weight
            curvature[j][i] -= weight
    return gradient, curvature


def _logistic(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


def _solve(matrix: list[list[float]], right: Sequence[float]) -> list[float]:
    """The solution of a symmetric positive definite system, by elimination; no pivots are needed then."""
    n = len(right)
    rows = [[*row, value] for row, value in zip(matrix, right, strict=True)]
    for k in range(n):
        for i in range(k + 1, n):
            factor = rows[i][k] / rows[k][k]
            rows[i] = [x - factor * y for x, y in zip(rows[i], rows[k], strict=True)]
    found = [0.0] * n
    for k in reversed(range(n)):
        known = math.fsum(rows[k][j] * found[j] for j in range(k + 1, n))
        found[k] = (rows[k][n] - known) / rows[k][k]
    return found


def many_strengths(numpy: Any, wins: Any, start: Sequence[float]) -> Any:
    """`strengths` of many matrices at once: an array of (matrices) x (n) from one of (matrices) x (n) x (n)."""
    count, n = wins.shape[:2]
    logs = numpy.tile(numpy.log(start), (count, 1))
    met = wins + wins.transpose(0, 2, 1)
    constant = met.max(axis=(1, 2), keepdims=True) / n
    diagonal = numpy.arange(n)
    for _ in range(_STEPS):
        beats = 0.5 * (1 + numpy.tanh((logs[:, :, None] - logs[:, None, :]) / 2))
        gradient = (wins - met * beats).sum(axis=2)
        weight = met * beats * (1 - beats)
        curvature = constant - weight
        curvature[:, diagonal, diagonal] += weight.sum(axis=2)
        step = numpy.linalg.solve(curvature, gradient[:, :, None])[:, :, 0]
        size = step.max(axis=1) - step.min(axis=1)
        scale = numpy.divide(numpy.log1p(size), size, out=numpy.zeros_like(size), where=size > 0)
        logs += scale[:, None] * step
        if size.max() < _PRECISION:
            break
    return numpy.exp(logs - logs.mean(axis=1, keepdims=True))


def split(wins: Matrix) -> tuple[list[int], bool] | None:
    """Who stands apart, so that there is no ranking: they never lost to the others, or never met them.

    Returns:
        The places of the smaller such group, and whether it met the others at all; None when each has a chain of wins
        and of losses to every other.
    """
    n = len(wins)
    groups = [_above(wins, i) for i in range(n)]
    unbeaten = min((g for g in groups if len(g) < n), key=len, default=None)
    if unbeaten is None:
        return None
    rest = [j for j in range(n) if j not in unbeaten]
    met = any(wins[i][j] > 0 for i in unbeaten for j in rest)
    return sorted(unbeaten), met


def _above(wins: Matrix, start: int) -> set[int]:
    """All who beat `start`, or beat one who did; with it."""
    seen, waiting = {start}, [start]
    while waiting:
        loser = waiting.pop()
        found = [i for i in range(len(wins)) if wins[i][loser] > 0 and i not in seen]
        seen.update(found)
        waiting += found
    return seen
