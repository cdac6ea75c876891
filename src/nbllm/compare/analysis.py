"""The tables of a comparison: each function takes rows of cells and gives rows of figures.

Pure functions: no store, no clock, and the same rows with the same seed give the same figures. A prompt is one item
however often it was asked; higher is better for every scorer. What each column means is written in
docs/explanation/statistics.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from nbllm.compare.analysis_cells import (
    check_scorer,
    clusters_by_prompt,
    is_error,
    is_yes_or_no,
    latencies,
    prompt_means,
    rows_by_arm,
    scores_by_prompt,
    total_cost,
)
from nbllm.compare.analysis_duels import duel_agreement, duels_from_scores, judge_style, ranking_rows
from nbllm.compare.analysis_pairs import stats_rows
from nbllm.compare.cells import Arm, Row
from nbllm.compare.statistics import (
    MeanInterval,
    mean_interval,
    pass_at_k,
    pass_hat_k,
    quantile,
    quantile_intervals,
    rate_interval,
)
from nbllm.errors import UsageError

__all__ = [
    "consistency_rows",
    "duel_agreement",
    "duels_from_scores",
    "judge_style",
    "latency_rows",
    "ranking_rows",
    "stats_rows",
    "summary_rows",
]


def summary_rows(
    rows: Sequence[Row], arms: Sequence[Arm], scorers: Sequence[str], *, seed: int = 0, group: str | None = None
) -> list[dict[str, Any]]:
    """How each arm did: a row for each arm and scorer, or for each arm when there is no scorer.

    The interval is Wilson's where every prompt is 0 or 1, else Student's t over prompts, kept within 0 and 1 for yes
    or no. `n_prompts` counts prompts with a score. `mean` leaves errors out, `mean_errors_as_0` counts them. Costs are
    of all cells, and None as soon as one is unknown. Latency is of answers that did not come from the store.

    Args:
        rows: Cells, with the columns of `COLUMNS` and of scorers.
        arms: Which to show, in this order.
        scorers: Columns of scores.
        seed: Nothing is drawn here; it is taken so that all tables are called alike.
        group: A column of `vars`: prompts with the same value are a cluster, and intervals are robust to that.

    Raises:
        UsageError: There is no such scorer or column, or two arms are the same.
    """
    for scorer in scorers:
        check_scorer(rows, scorer)
    found: list[dict[str, Any]] = []
    for arm, cells in _by_arm(rows, arms):
        clusters = clusters_by_prompt(cells, group) if group else None
        common = _counts(cells)
        if not scorers:
            found.append(_summary(arm, None, common | _NO_SCORE))
        for scorer in scorers:
            found.append(_summary(arm, scorer, common | _score(cells, scorer, clusters, common["cost_usd"])))
    return found


_SUMMARY = (
    "n_prompts", "n_cells", "n_errors", "mean", "ci_low", "ci_high", "cost_usd", "cost_per_correct_usd",
    "latency_p50_ms", "latency_p95_ms", "mean_errors_as_0", "n_scored", "interval",
)  # fmt: skip

_NO_SCORE: dict[str, Any] = dict.fromkeys(
    ("mean", "ci_low", "ci_high", "cost_per_correct_usd", "mean_errors_as_0", "n_scored", "interval")
)


def _by_arm(rows: Sequence[Row], arms: Sequence[Arm]) -> list[tuple[Arm, list[Row]]]:
    return list(zip(arms, rows_by_arm(rows, arms).values(), strict=True))


def _summary(arm: Arm, scorer: str | None, figures: Mapping[str, Any]) -> dict[str, Any]:
    head = {"model": arm.model, "params": dict(arm.params), "scorer": scorer}
    return head | {column: figures[column] for column in _SUMMARY} | {"arm": arm.label}


def _counts(cells: Sequence[Row]) -> dict[str, Any]:
    milliseconds, _ = latencies(cells)
    return {
        "n_prompts": len({row["prompt_id"] for row in cells}),
        "n_cells": len(cells),
        "n_errors": sum(map(is_error, cells)),
        "cost_usd": total_cost(cells) if cells else None,
        "latency_p50_ms": quantile(milliseconds, 0.5) if milliseconds else None,
        "latency_p95_ms": quantile(milliseconds, 0.95) if milliseconds else None,
    }


def _score(cells: Sequence[Row], scorer: str, clusters: Mapping[str, Any] | None, cost: float | None) -> dict[str, Any]:
    scores = scores_by_prompt(cells, scorer)
    with_errors = prompt_means(scores_by_prompt(cells, scorer, errors_as_0=True)).values()
    figures: dict[str, Any] = {
        "n_prompts": len(scores),
        "n_scored": sum(map(len, scores.values())),
        "mean_errors_as_0": math.fsum(with_errors) / len(with_errors) if with_errors else None,
        "cost_per_correct_usd": None,
    }
    if not scores:
        return _NO_SCORE | figures
    if is_yes_or_no(scores) and cost is not None and (correct := sum(map(sum, scores.values()))):
        figures["cost_per_correct_usd"] = cost / correct
    interval = _interval(scores, clusters)
    bounds = {"mean": interval.mean, "ci_low": interval.low, "ci_high": interval.high, "interval": interval.method}
    return figures | bounds


def _interval(scores: Mapping[str, Sequence[float]], clusters: Mapping[str, Any] | None) -> MeanInterval:
    means = prompt_means(scores)
    values = list(means.values())
    if clusters is None and all(v in (0, 1) for v in values):
        return rate_interval(values)
    labels = None if clusters is None else [clusters[prompt] for prompt in means]
    return _within_0_and_1(mean_interval(values, clusters=labels), is_yes_or_no(scores))


def _within_0_and_1(interval: MeanInterval, is_rate: bool) -> MeanInterval:
    if not is_rate or interval.low is None or interval.high is None:
        return interval
    return replace(interval, low=max(0.0, interval.low), high=min(1.0, interval.high))


def latency_rows(rows: Sequence[Row], arms: Sequence[Arm]) -> list[dict[str, Any]]:
    """p50 and p95 of each arm's latency in milliseconds, with intervals over prompts.

    Answers from the store and errors are left out. An arm with nothing measured has None everywhere.
    """
    found = []
    for arm, cells in _by_arm(rows, arms):
        milliseconds, prompts = latencies(cells)
        row: dict[str, Any] = {"model": arm.model, "params": dict(arm.params), "n_cells": len(milliseconds)}
        row["n_prompts"] = len(set(prompts))
        measured = quantile_intervals(milliseconds, prompts=prompts) if milliseconds else (None, None)
        for name, interval in zip(("p50", "p95"), measured, strict=True):
            row[f"latency_{name}_ms"] = interval and interval.value
            row[f"{name}_low_ms"] = interval and interval.low
            row[f"{name}_high_ms"] = interval and interval.high
        found.append(row | {"arm": arm.label})
    return found


def consistency_rows(rows: Sequence[Row], arms: Sequence[Arm], scorer: str, ks: Sequence[int]) -> list[dict[str, Any]]:
    """pass@k and pass^k of each arm, as means over prompts with t intervals.

    Prompts with fewer than `k` scored answers are left out and counted in `n_too_few`. The columns that end in
    `errors_as_0` count errors as wrong answers.

    Args:
        ks: For example (1, 3); each needs as many repeats.

    Raises:
        UsageError: The scorer is not yes or no, a `k` is below 1, or there is no such scorer.
    """
    check_scorer(rows, scorer)
    if any(k < 1 for k in ks):
        raise UsageError("k of pass@k is at least 1")
    return [_consistency(arm, cells, scorer, k) for arm, cells in _by_arm(rows, arms) for k in ks]


def _consistency(arm: Arm, cells: Sequence[Row], scorer: str, k: int) -> dict[str, Any]:
    scores = scores_by_prompt(cells, scorer)
    if scores and not is_yes_or_no(scores):
        raise UsageError(
            f"{scorer!r} is not yes or no, so nothing passes or fails", hint="pass@k needs scores of 0 and 1"
        )
    enough = [values for values in scores.values() if len(values) >= k]
    figures: dict[str, Any] = {
        "k": k,
        "n_prompts": len(enough),
        "n_too_few": len({r["prompt_id"] for r in cells}) - len(enough),
    }
    strict = [v for v in scores_by_prompt(cells, scorer, errors_as_0=True).values() if len(v) >= k]
    for name, estimate in (("pass_at_k", pass_at_k), ("pass_hat_k", pass_hat_k)):
        interval = _mean_of(estimate, enough, k)
        figures[name] = interval and interval.mean
        figures[f"{name}_low"] = interval and interval.low
        figures[f"{name}_high"] = interval and interval.high
        with_errors = _mean_of(estimate, strict, k)
        figures[f"{name}_errors_as_0"] = with_errors and with_errors.mean
    return {"model": arm.model, "params": dict(arm.params), "scorer": scorer} | figures | {"arm": arm.label}


def _mean_of(estimate: Any, answers: Sequence[Sequence[float]], k: int) -> MeanInterval | None:
    if not answers:
        return None
    values = [estimate(len(a), round(sum(a)), k) for a in answers]
    if all(v in (0, 1) for v in values):
        return rate_interval(values)
    return _within_0_and_1(mean_interval(values), True)
