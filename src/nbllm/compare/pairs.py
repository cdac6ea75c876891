"""The two answers that a duel was about."""

from __future__ import annotations

from collections.abc import Sequence

from nbllm.compare.cells import Arm, Row
from nbllm.compare.layout import ArmFinder

PlaceKey = tuple[str, int, str]
"""A prompt's id, a repeat, the label of an arm."""


def answered(rows: Sequence[Row], arms: Sequence[Arm]) -> dict[PlaceKey, Row]:
    """The cells that have an answer, by prompt, repeat and arm. An error is no answer, and neither is an empty text."""
    find = ArmFinder(arms)
    found: dict[PlaceKey, Row] = {}
    for row in rows:
        at = find(row)
        if at is not None and row.get("status") != "error" and str(row.get("text") or "").strip():
            found[str(row["prompt_id"]), int(row.get("repeat") or 0), arms[at].label] = row
    return found
