"""Pairs of arms on the same prompts: differences, tests, and a sentence that can be quoted."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

from nbllm.compare.analysis_cells import (
    check_scorer,
    clusters_by_prompt,
    prompt_means,
    rows_by_arm,
    scores_by_prompt,
)
from nbllm.compare.analysis_sentences import pair_sentence
from nbllm.compare.cells import Arm, Row
from nbllm.compare.statistics import PairedDifference, bootstrap_means, holm, paired_difference, paired_test
from nbllm.compare.statistics.paired import differences
from nbllm.compare.statistics.resampling import RESAMPLES
from nbllm.errors import UsageError

Pair = tuple[str, str]
"""The labels of two arms."""


@dataclass(frozen=True, slots=True)
class _Scores:
    """Each arm's mean score by prompt."""

    means: Mapping[str, Mapping[str, float]]
    with_errors: Mapping[str, Mapping[str, float]]
    """Errors counted as 0."""
    asked: Mapping[str, set[str]]
    """All prompts of each arm, with a score or not."""
    clusters: Mapping[str, Hashable] | None

    def shared(self, pair: Pair) -> tuple[str, ...]:
        """The prompts that both arms have a score of."""
        a, b = (self.means[label] for label in pair)
        return tuple(prompt for prompt in a if prompt in b)

    def columns(self, pair: Pair, prompts: Sequence[str]) -> tuple[list[float], list[float]]:
        a, b = (self.means[label] for label in pair)
        return [a[p] for p in prompts], [b[p] for p in prompts]

    def labels(self, prompts: Sequence[str]) -> list[Hashable] | None:
        return None if self.clusters is None else [self.clusters[p] for p in prompts]


def stats_rows(
    rows: Sequence[Row],
    arms: Sequence[Arm],
    scorer: str,
    pairs: Sequence[Pair] | None = None,
    *,
    group: str | None = None,
    seed: int = 0,
    family: Sequence[Pair] | None = None,
) -> list[dict[str, Any]]:
    """Compare arms on the prompts that both answered: a row for each pair.

    `difference` is the mean of a less the mean of b, over complete pairs; `n_incomplete` prompts are left out because
    an arm has no score, and `difference_errors_as_0` is the difference when an error counts as 0. Under 10 prompts p
    and test are None. An interval is None where the differences do not vary.

    Args:
        rows: Cells, with the columns of `COLUMNS` and the scorer's.
        arms: All that are compared.
        scorer: The column of scores.
        pairs: Labels of arms; None: every pair, in the order of `arms`.
        group: A column of `vars`: prompts with the same value are a cluster.
        seed: Of the bootstrap; kept in each row.
        family: The pairs that Holm counts, for when only some of those that were looked at are shown; None: those
            shown.

    Raises:
        UsageError: There is no such scorer, arm or column, or a pair is twice the same arm.
    """
    check_scorer(rows, scorer)
    shown = list(combinations([a.label for a in arms], 2)) if pairs is None else [(a, b) for a, b in pairs]
    for pair in (*shown, *(family or ())):
        _check_pair(pair, arms)
    scores = _read(rows, arms, scorer, group)
    compared = _compare(shown, scores, seed)
    adjusted, size = _adjusted(compared, scores, family)
    return [
        {"a": pair[0], "b": pair[1], "scorer": scorer}
        | _figures(pair, compared[pair], adjusted[pair], size, scores)
        | {"seed": seed}
        for pair in shown
    ]


def _check_pair(pair: Pair, arms: Sequence[Arm]) -> None:
    labels = [arm.label for arm in arms]
    for label in pair:
        if label not in labels:
            raise UsageError(f"no arm is called {label!r}", hint=f"there are: {', '.join(labels)}")
    if pair[0] == pair[1]:
        raise UsageError(f"{pair[0]!r} cannot be compared with itself")


def _read(rows: Sequence[Row], arms: Sequence[Arm], scorer: str, group: str | None) -> _Scores:
    cells = rows_by_arm(rows, arms)
    return _Scores(
        means={label: prompt_means(scores_by_prompt(r, scorer)) for label, r in cells.items()},
        with_errors={label: prompt_means(scores_by_prompt(r, scorer, errors_as_0=True)) for label, r in cells.items()},
        asked={label: {row["prompt_id"] for row in r} for label, r in cells.items()},
        clusters=clusters_by_prompt([row for r in cells.values() for row in r], group) if group else None,
    )


def _compare(pairs: Sequence[Pair], scores: _Scores, seed: int) -> dict[Pair, PairedDifference | None]:
    """Each pair's difference; None where no prompt has both scores. Pairs with the same prompts share their draws."""
    found: dict[Pair, PairedDifference | None] = dict.fromkeys(pairs)
    alike: dict[tuple[str, ...], list[Pair]] = defaultdict(list)
    for pair in found:
        if prompts := scores.shared(pair):
            alike[prompts].append(pair)
    for prompts, group in alike.items():
        labels = scores.labels(prompts)
        columns = [scores.columns(pair, prompts) for pair in group]
        gaps = [differences(a, b) for a, b in columns]
        bounds = bootstrap_means(gaps, clusters=labels, seed=seed)
        for pair, (a, b), (low, high) in zip(group, columns, bounds, strict=True):
            difference = paired_difference(a, b, clusters=labels, resamples=0, seed=seed)
            found[pair] = replace(difference, bootstrap_low=low, bootstrap_high=high, resamples=RESAMPLES)
    return found


def _adjusted(
    compared: Mapping[Pair, PairedDifference | None], scores: _Scores, family: Sequence[Pair] | None
) -> tuple[dict[Pair, float | None], int]:
    """Holm's p of each pair, and how many pairs have one. A pair counts once, whichever arm comes first."""
    p_values: dict[frozenset[str], float | None] = {}
    for pair, difference in compared.items():
        p_values[frozenset(pair)] = difference.test.p_value if difference and difference.test else None
    for pair in family or ():
        if frozenset(pair) not in p_values:
            prompts = scores.shared(pair)
            test = paired_test(*scores.columns(pair, prompts), clusters=scores.labels(prompts)) if prompts else None
            p_values[frozenset(pair)] = test.p_value if test else None
    adjusted = dict(zip(p_values, holm(list(p_values.values())), strict=True))
    return {pair: adjusted[frozenset(pair)] for pair in compared}, sum(p is not None for p in p_values.values())


def _figures(
    pair: Pair, found: PairedDifference | None, p_adjusted: float | None, family_size: int, scores: _Scores
) -> dict[str, Any]:
    a, b = pair
    incomplete = len(scores.asked[a] | scores.asked[b]) - (found.n if found else 0)
    return {
        "n_prompts": found.n if found else 0,
        "mean_a": found and found.mean_a,
        "mean_b": found and found.mean_b,
        "difference": found and found.difference,
        "ci_low": found and found.low,
        "ci_high": found and found.high,
        "bootstrap_low": found and found.bootstrap_low,
        "bootstrap_high": found and found.bootstrap_high,
        "test": found and found.test and found.test.name,
        "p_value": found and found.test and found.test.p_value,
        "p_adjusted": p_adjusted,
        "mde": found and found.minimum_detectable_effect,
        "sentence": pair_sentence(pair, found, p_adjusted, family_size, incomplete, scores.clusters is not None),
        "n_incomplete": incomplete,
        "n_clusters": found.n_clusters if found and scores.clusters is not None else None,
        "difference_errors_as_0": _with_errors(pair, scores),
        "resamples": found and found.resamples,
    }


def _with_errors(pair: Pair, scores: _Scores) -> float | None:
    a, b = (scores.with_errors[label] for label in pair)
    gaps = [a[p] - b[p] for p in a if p in b]
    return math.fsum(gaps) / len(gaps) if gaps else None
