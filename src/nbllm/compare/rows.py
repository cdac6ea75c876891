"""Cells as rows: tidy, one row a cell, in the order of prompts, arms and repeats."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from nbllm.compare.cells import Outcome
from nbllm.compare.design import Cell


def tidy_rows(
    cells: Iterable[Cell], outcomes: Mapping[str, Outcome], *, fresh: Collection[str]
) -> list[dict[str, Any]]:
    """The rows of those cells that were asked; one that was not is left out.

    Args:
        cells: All of a design.
        outcomes: What came, by key.
        fresh: Keys that were answered in this run; the others come from the store.
    """
    return [
        _row(cell, outcomes[cell.spec.key], from_store=cell.spec.key not in fresh)
        for cell in cells
        if cell.spec.key in outcomes
    ]


def _row(cell: Cell, outcome: Outcome, *, from_store: bool) -> dict[str, Any]:
    usage, answered = outcome.usage, outcome.status == "ok"
    return {
        "cell_key": cell.spec.key,
        "prompt_id": cell.case.prompt_id,
        "prompt": cell.case.prompt,
        "vars": dict(cell.case.vars),
        "model": cell.arm.model,
        "model_reported": outcome.model_reported,
        "params": dict(cell.arm.params),
        "repeat": cell.repeat,
        "status": outcome.status,
        "text": outcome.text if answered else None,
        "finish_reason": outcome.finish_reason,
        "error_type": outcome.error_type,
        "error": outcome.error,
        "ttft_ms": outcome.ttft_ms,
        "latency_ms": outcome.latency_ms,
        "input_tokens": usage.input_tokens,
        "cached_input_tokens": usage.cached_input_tokens,
        "output_tokens": usage.output_tokens,
        "reasoning_tokens": usage.reasoning_tokens,
        "usage_source": usage.source if answered else None,
        "cost_usd": None if outcome.cost_usd is None else float(outcome.cost_usd),
        "price_version": outcome.price_version,
        "request_id": outcome.request_id,
        "started_at": outcome.started_at,
        "from_store": from_store,
    }
