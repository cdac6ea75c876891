"""Rows, cases and arms as a comparison has them."""

from __future__ import annotations

from typing import Any

from nbllm.compare.cells import Arm, Case, CellSpec, Outcome
from nbllm.messages import FinishReason, Reply


def reply(text: str) -> Reply:
    """An answer."""
    return Reply(text, "demo", "m", FinishReason.STOP)


def row(
    text: str | None, *, prompt_id: str = "p1", model: str = "demo/x", repeat: int = 0, **more: Any
) -> dict[str, Any]:
    """A cell; without a text it ended with an error."""
    shape = {
        "cell_key": f"{prompt_id}-{model}-{repeat}",
        "prompt_id": prompt_id,
        "prompt": "Why?",
        "vars": {},
        "model": model,
        "params": {},
        "repeat": repeat,
        "status": "ok" if text is not None else "error",
        "text": text or "",
        "finish_reason": "stop",
        "error_type": None if text is not None else "RateLimitError",
    }
    return shape | more


def case(prompt_id: str = "p1", prompt: str = "Why?", **columns: Any) -> Case:
    """A prompt with its row of data."""
    return Case(prompt_id, prompt, columns)


ARMS = (Arm("demo/x"), Arm("demo/y"))


def said(spec: CellSpec, text: str, **more: Any) -> Outcome:
    """What a judge answered."""
    return Outcome(spec.key, "ok", "2026-11-01T00:00:00Z", text, **more)


def failed(spec: CellSpec, error: str = "too many requests") -> Outcome:
    """A question to the judge that ended with an error."""
    return Outcome(spec.key, "error", "2026-11-01T00:00:00Z", error_type="RateLimitError", error=error)
