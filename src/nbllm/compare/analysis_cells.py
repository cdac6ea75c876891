"""From rows of cells to numbers for each arm and prompt. Repeats end here: they are averaged within their prompt."""

from __future__ import annotations

import json
import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from nbllm.compare.cells import Arm, Row
from nbllm.errors import UsageError

_ANSWERED_BY_AN_ERROR = frozenset({
    "AuthenticationError", "BadRequestError", "BudgetError", "ContextLengthError", "CredentialError",
    "LockedStoreError", "MissingKeyError", "ModelNotFoundError", "OfflineError", "OverloadedError", "ProviderError",
    "QuotaError", "RateLimitError", "RedirectError", "ReplayMissError", "ServerError", "UnsupportedError",
})  # fmt: skip
"""Errors that came in place of an answer, so that nothing was generated and no price is missing. A stream that broke or
a time that ran out is not among them: what that cost is unknown."""


def rows_by_arm(rows: Iterable[Row], arms: Sequence[Arm]) -> dict[str, list[Row]]:
    """The rows of each arm by its label, in the order of `arms`; rows of other arms are left out.

    Raises:
        UsageError: Two arms have the same label, or the same model and parameters.
    """
    labels = {(arm.model, _frozen(arm.params)): arm.label for arm in arms}
    found: dict[str, list[Row]] = {arm.label: [] for arm in arms}
    if len(labels) < len(arms) or len(found) < len(arms):
        raise UsageError("two arms are the same", hint="give each model and set of parameters once, with its own label")
    for row in rows:
        label = labels.get((row["model"], _frozen(_mapping(row["params"]))))
        if label is not None:
            found[label].append(row)
    return found


def check_scorer(rows: Sequence[Row], scorer: str) -> None:
    """Refuse a scorer that no row has a column of.

    Raises:
        UsageError: There are rows, and none of them has it.
    """
    if rows and not any(scorer in row for row in rows):
        raise UsageError(
            f"no scorer {scorer!r} in these cells", hint="score them first, or name a column that is there"
        )


def score_of(row: Row, scorer: str) -> float | None:
    """The score as a number; None when there is none, or none that is finite.

    Raises:
        UsageError: It is neither a number nor yes or no.
    """
    value = row.get(scorer)
    if value is None:
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise UsageError(
            f"the score {scorer!r} of prompt {row['prompt_id']} is {value!r}",
            hint="a scorer gives a number, True, False or None",
        ) from None
    return number if math.isfinite(number) else None


def is_error(row: Row) -> bool:
    """Whether there is an error in place of an answer."""
    return bool(row["status"] == "error")


def scores_by_prompt(rows: Iterable[Row], scorer: str, *, errors_as_0: bool = False) -> dict[str, list[float]]:
    """The scores of one arm's answers, a list for each prompt that has any, in the order of prompt ids.

    Args:
        errors_as_0: Whether an error counts as a score of 0; else it is left out. A missing score always is.
    """
    found: dict[str, list[float]] = {}
    for row in rows:
        score = score_of(row, scorer) if not is_error(row) else 0.0 if errors_as_0 else None
        if score is not None:
            found.setdefault(row["prompt_id"], []).append(score)
    # Draws of a bootstrap follow this order, and must not depend on which cell was finished first.
    return dict(sorted(found.items(), key=lambda item: str(item[0])))


def prompt_means(scores: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """The mean over the repeats of each prompt."""
    return {prompt: math.fsum(values) / len(values) for prompt, values in scores.items()}


def is_yes_or_no(scores: Mapping[str, Sequence[float]]) -> bool:
    """Whether there are scores, and each is 0 or 1."""
    return bool(scores) and all(v in (0, 1) for values in scores.values() for v in values)


def total_cost(rows: Iterable[Row]) -> float | None:
    """What these cells cost in USD; None as soon as one cost is unknown.

    An error that came in place of an answer, and for which no cost is known, costs nothing.
    """
    total = Decimal(0)
    for row in rows:
        cost = row["cost_usd"]
        if cost is None or cost != cost:  # pandas knows no None among numbers
            if is_error(row) and row.get("error_type") in _ANSWERED_BY_AN_ERROR:
                continue
            return None
        total += Decimal(str(cost))
    return float(total)


def latencies(rows: Iterable[Row]) -> tuple[list[float], list[str]]:
    """Milliseconds of answers that were asked now, not taken from the store, and the prompt of each."""
    measured = [
        (float(row["latency_ms"]), row["prompt_id"])
        for row in rows
        if not is_error(row) and not row["from_store"] and row["latency_ms"] is not None
    ]
    known = [(ms, prompt) for ms, prompt in measured if math.isfinite(ms)]
    return [ms for ms, _ in known], [prompt for _, prompt in known]


def clusters_by_prompt(rows: Iterable[Row], column: str) -> dict[str, Hashable]:
    """The value of a column of `vars` for each prompt.

    Raises:
        UsageError: A row has no such column, or a prompt has two values of it.
    """
    found: dict[str, Hashable] = {}
    for row in rows:
        values = _mapping(row["vars"])
        if column not in values:
            raise UsageError(
                f"prompt {row['prompt_id']} has no column {column!r} to group by",
                hint=f"there are: {', '.join(map(str, values)) or 'none'}",
            )
        cluster = _frozen(values[column])
        if found.setdefault(row["prompt_id"], cluster) != cluster:
            raise UsageError(f"prompt {row['prompt_id']} is in two groups of {column!r}")
    return found


def _mapping(value: Any) -> Mapping[str, Any]:
    """A mapping as it is; text is read as JSON, for cells that come out of a CSV file."""
    if isinstance(value, str):
        value = json.loads(value or "{}")
    return value or {}


def _frozen(value: Any) -> Hashable:
    """Equal for equal JSON, whatever the order of its keys."""
    if isinstance(value, Mapping):
        return frozenset((key, _frozen(item)) for key, item in value.items())
    if isinstance(value, list | tuple):
        return tuple(map(_frozen, value))
    return value if isinstance(value, Hashable) else repr(value)
