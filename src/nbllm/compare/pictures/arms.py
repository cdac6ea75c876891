"""Rows of a summary as arms: their names, and the panels that scorers make of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from nbllm.compare.pictures.numbers import count, finite
from nbllm.compare.pictures.text import clean, named

Row = Mapping[str, Any]


def arm_name(row: Row) -> str:
    """What the row calls its arm: `label` or `arm`, else the model with its parameters."""
    label = clean(row.get("label") or row.get("arm") or "")
    return label or clean(f"{named(row.get('model'))} {params_text(row.get('params'))}")


def params_text(params: Any) -> str:
    """Parameters, a mapping or its JSON, in a few words: `temperature=0.7, top_p=1`."""
    if isinstance(params, str):
        try:
            read = json.loads(params)
        except ValueError:
            return params
        return params_text(read) if isinstance(read, Mapping) else ""
    if not isinstance(params, Mapping):
        return ""
    return ", ".join(f"{key}={value}" for key, value in params.items())


def by_scorer(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """The rows of each scorer, in the order in which scorers appear."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(clean(row.get("scorer") or ""), []).append(row)
    return groups


def one_of_each_arm(rows: Iterable[Row]) -> list[Row]:
    """The first row of each arm: what does not depend on the scorer stands in each of its rows."""
    first: dict[str, Row] = {}
    for row in rows:
        first.setdefault(arm_name(row), row)
    return list(first.values())


def ends(row: Row, low: str = "ci_low", high: str = "ci_high") -> tuple[float, float] | None:
    """An interval, when both its ends are known."""
    a, b = finite(row.get(low)), finite(row.get(high))
    return None if a is None or b is None else (min(a, b), max(a, b))


def common_count(rows: Sequence[Row], column: str = "n_prompts") -> int | None:
    """The number that all rows share in that column, or None."""
    counts = {count(row, column) for row in rows}
    return counts.pop() if len(counts) == 1 else None


def why_unknown(row: Row, what: str) -> str:
    """Why there is nothing to draw, as far as the row tells."""
    errors, cells = count(row, "n_errors"), count(row, "n_cells")
    if errors and cells and errors >= cells:
        return f"no {what}: all {cells} cells failed"
    return f"no {what}: {errors} of {cells} cells failed" if errors and cells else f"{what} unknown"


def titled(start: str, scorer: str, n: int | None, unit: str = "prompts") -> str:
    """A heading: `exact: mean score with 95 % interval, n = 40 prompts`."""
    head = f"{scorer}: {start}" if scorer else start[:1].upper() + start[1:]
    return head if n is None else f"{head}, n = {n:,} {unit}"
