"""Rows, arms and cases for the tests of pages and files: made up, seeded, with everything that goes wrong."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from nbllm.compare.cells import COLUMNS, Arm, Case

ARMS = (
    Arm("demo/guide"),
    Arm("demo/echo", {"temperature": 0}, "demo/echo t=0"),
    Arm("demo/echo", {"temperature": 1}, "demo/echo t=1"),
)
SUMMARY = [
    {
        "model": arm.model, "params": dict(arm.params), "scorer": "exact", "n_prompts": 40, "n_cells": 80,
        "n_errors": at,
        "mean": 0.75 - at / 10, "ci_low": 0.6 - at / 10, "ci_high": 0.85 - at / 10, "cost_usd": Decimal("0.0123") * at,
        "cost_per_correct_usd": None, "latency_p50_ms": 700.0 + at, "latency_p95_ms": 1800.0,
    }
    for at, arm in enumerate(ARMS)
]  # fmt: skip


def row(
    arm: Arm = ARMS[0], prompt_id: str = "p1", prompt: str = "What is 2 + 2?", text: str = "4", **facts: Any
) -> dict[str, Any]:
    """One cell that was answered; `facts` change or add columns."""
    plain: dict[str, Any] = dict.fromkeys(COLUMNS)
    plain |= {
        "cell_key": f"{prompt_id}-{arm.label}-{facts.get('repeat', 0)}", "prompt_id": prompt_id, "prompt": prompt,
        "vars": {}, "model": arm.model, "model_reported": arm.model, "params": dict(arm.params), "repeat": 0,
        "status": "ok", "text": text, "finish_reason": "stop", "ttft_ms": 120.5, "latency_ms": 812.25,
        "input_tokens": 12, "output_tokens": 34, "usage_source": "provider", "cost_usd": Decimal("0.00012"),
        "price_version": "prices 1", "request_id": "r1", "started_at": "2026-11-28T10:00:00Z", "from_store": False,
    }  # fmt: skip
    return plain | facts


def failed(arm: Arm = ARMS[0], prompt_id: str = "p1", **facts: Any) -> dict[str, Any]:
    """One cell with an error in the place of the answer."""
    nothing = dict.fromkeys(("finish_reason", "ttft_ms", "latency_ms", "input_tokens", "output_tokens", "cost_usd"))
    error = {"status": "error", "error_type": "RateLimitError", "error": "demo: too many requests", **nothing}
    return row(arm, prompt_id, text="", **error | facts)


WORDS = ["a", "model", "answers", "with", "words", "that", "are", "neither", "long", "nor", "short", "and", "sometimes"]


def many(
    prompts: int, arms: Iterable[Arm] = ARMS, *, repeats: int = 1, words: int = 60, seed: int = 1
) -> tuple[list[dict[str, Any]], list[Case]]:
    """A whole comparison with scores, errors and missing figures here and there."""
    rng = random.Random(seed)
    cases = [Case(f"p{n}", f"Question {n}: {' '.join(rng.choices(WORDS, k=12))}?", {"n": n}) for n in range(prompts)]
    rows = []
    for case in cases:
        for arm in arms:
            for repeat in range(repeats):
                facts: Mapping[str, Any] = {"repeat": repeat, "vars": dict(case.vars), "prompt": case.prompt}
                if rng.random() < 0.03:
                    rows.append(failed(arm, case.prompt_id, exact=None, **facts))
                    continue
                text = " ".join(rng.choices(WORDS, k=rng.randint(words // 2, words)))
                score = rng.choice((1, 0, 1, None))
                latency = rng.choice((rng.uniform(200, 3000), None))
                rows.append(
                    row(arm, case.prompt_id, text=text, **facts, exact=score, latency_ms=latency)  # type: ignore[arg-type]
                )
    return rows, cases
