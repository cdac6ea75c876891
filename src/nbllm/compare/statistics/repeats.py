"""Consistency over repeats: is it ever right, and is it always right."""

from __future__ import annotations

from math import comb


def pass_at_k(n: int, correct: int, k: int) -> float:
    """The probability that at least one of `k` answers is right: 1 - C(n - c, k) / C(n, k).

    Unbiased from `n` answers of which `correct` are right (Chen et al. 2021, arXiv 2107.03374, section 2.1).

    Raises:
        ValueError: There are fewer than `k` answers, or the numbers do not fit.
    """
    _check(n, correct, k)
    return 1 - comb(n - correct, k) / comb(n, k)


def pass_hat_k(n: int, correct: int, k: int) -> float:
    """pass^k, the probability that all of `k` answers are right: C(c, k) / C(n, k).

    Unbiased likewise (Yao et al. 2024, arXiv 2406.12045).

    Raises:
        ValueError: There are fewer than `k` answers, or the numbers do not fit.
    """
    _check(n, correct, k)
    return comb(correct, k) / comb(n, k)


def _check(n: int, correct: int, k: int) -> None:
    if k < 1 or n < k or not 0 <= correct <= n:
        raise ValueError(f"k = {k} with {correct} of {n} right is not possible")
