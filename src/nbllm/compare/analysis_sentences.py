"""A comparison in one sentence, with its number of prompts and what it could have shown."""

from __future__ import annotations

import math

from nbllm.compare.statistics import FEWEST_PROMPTS, PairedDifference

LEVEL = 0.05


def pair_sentence(
    pair: tuple[str, str],
    found: PairedDifference | None,
    p_adjusted: float | None,
    family_size: int,
    n_incomplete: int,
    clustered: bool,
) -> str:
    """For example `A - B = +0.04 [-0.03, +0.11], n = 200 paired prompts, MDE 0.10 at 80 % power: not distinguishable`.

    Args:
        pair: The labels of the arms.
        found: Their difference; None: no prompt has a score of both.
        p_adjusted: By Holm; None under 10 prompts.
        family_size: How many p-values Holm counted.
        n_incomplete: Prompts that were left out because a score is missing.
        clustered: Whether prompts are in groups.
    """
    a, b = pair
    if found is None:
        return f"{a} - {b}: no prompt has a score of both, so there is nothing to compare"
    parts = [_difference(a, b, found), _size(found, n_incomplete, clustered)]
    if found.minimum_detectable_effect is not None and p_adjusted is not None:
        parts.append(f"MDE {found.minimum_detectable_effect:.{_decimals(found)}f} at 80 % power")
    return f"{', '.join(parts)}: {_verdict(a, b, found, p_adjusted, family_size)}"


def _difference(a: str, b: str, found: PairedDifference) -> str:
    places = _decimals(found)
    text = f"{a} - {b} = {_signed(found.difference, places)}"
    if found.low is None or found.high is None:
        return text
    return f"{text} [{_signed(found.low, places)}, {_signed(found.high, places)}]"


def _signed(value: float, places: int) -> str:
    text = f"{value:+.{places}f}"
    return text if float(text) else text[1:]  # no sign on a 0


def _decimals(found: PairedDifference) -> int:
    """As many as show the interval in two digits; two when there is none."""
    if found.low is None or found.high is None or found.high <= found.low:
        return 2
    return min(6, max(0, 1 - math.floor(math.log10(found.high - found.low))))


def _size(found: PairedDifference, n_incomplete: int, clustered: bool) -> str:
    text = f"n = {found.n} paired prompt{'s' * (found.n != 1)}"
    if clustered:
        text += f" in {found.n_clusters} group{'s' * (found.n_clusters != 1)}"
    return f"{text} ({n_incomplete} left out, a score is missing)" if n_incomplete else text


def _verdict(a: str, b: str, found: PairedDifference, p_adjusted: float | None, family_size: int) -> str:
    if found.n == 1:
        return "one prompt, no winner"
    if found.n < FEWEST_PROMPTS:
        return f"descriptive only, since there are fewer than {FEWEST_PROMPTS} prompts"
    if p_adjusted is None or found.test is None:
        return "descriptive only, since all prompts are in one group"
    if found.difference == 0 and not found.standard_error:
        return "the same score on every prompt"
    if p_adjusted >= LEVEL:
        return "not distinguishable"
    better = a if found.difference > 0 else b
    after = f" after Holm over {family_size} pairs" if family_size > 1 else ""
    return f"{better} scores higher ({found.test.name}, {_p(p_adjusted)}{after})"


def _p(value: float) -> str:
    return f"p = {value:.2g}" if value >= 0.0005 else "p < 0.001"
