"""Token counts, in classes that do not overlap. What was not counted is None, never 0."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nbllm.messages import Usage


def count(value: Any) -> int | None:
    """A number of tokens; None for anything that is none."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    return None


def openai_usage(payload: Mapping[str, Any]) -> Usage | None:
    """The usage of a Chat Completions chunk or document; None when it has none, or when all of it is zero.

    All zero is what some mocks and proxies send beside text, and means that nobody counted.
    """
    found = payload.get("usage")
    if found is None and isinstance(groq := payload.get("x_groq"), Mapping):
        found = groq.get("usage")
    if not isinstance(found, Mapping):
        return None
    prompt, output = count(found.get("prompt_tokens")), count(found.get("completion_tokens"))
    if not prompt and not output:
        return None
    cached = _cached(found)
    written = _detail(found, "prompt_tokens_details", "cache_write_tokens")
    reasoning = _detail(found, "completion_tokens_details", "reasoning_tokens")
    return Usage(
        # OpenAI's prompt count includes what was cached: docs/explanation/wire-formats.md, "Usage".
        input_tokens=None if prompt is None else max(0, prompt - (cached or 0) - (written or 0)),
        cached_input_tokens=cached,
        cache_write_tokens=written,
        output_tokens=_with_reasoning(output, reasoning, prompt, count(found.get("total_tokens"))),
        reasoning_tokens=reasoning,
    )


def _detail(usage: Mapping[str, Any], group: str, name: str) -> int | None:
    details = usage.get(group)
    return count(details.get(name)) if isinstance(details, Mapping) else None


def _cached(usage: Mapping[str, Any]) -> int | None:
    for value in (
        _detail(usage, "prompt_tokens_details", "cached_tokens"),
        count(usage.get("prompt_cache_hit_tokens")),  # DeepSeek: api-docs.deepseek.com, read 2026-11-20
        count(usage.get("cached_tokens")),  # Moonshot
    ):
        if value is not None:
            return value
    return None


def _with_reasoning(output: int | None, reasoning: int | None, prompt: int | None, total: int | None) -> int | None:
    """Some servers count reasoning beside the output; their total says so."""
    if output is None or not reasoning or prompt is None or total is None:
        return output
    return output + reasoning if total == prompt + output + reasoning else output


def anthropic_usage(usage: Mapping[str, Any]) -> Usage | None:
    """The usage of a Messages answer, its cache classes already apart; None when all of it is zero or missing."""
    input_, output = count(usage.get("input_tokens")), count(usage.get("output_tokens"))
    cached, written = count(usage.get("cache_read_input_tokens")), count(usage.get("cache_creation_input_tokens"))
    if not any((input_, output, cached, written)):
        return None
    return Usage(input_tokens=input_, cached_input_tokens=cached, cache_write_tokens=written, output_tokens=output)
