"""The figures of one or more cells in words: how long it took, how many tokens, what it cost, how it was scored.

None is unknown and is said or left out, never shown as 0. The words are the same wherever the cells come from: nothing
here looks at `from_store` or at the time of day.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import Any

from nbllm.compare.cells import Row
from nbllm.foreign import one_line

_ENDINGS = {
    "length": "cut: the limit of tokens was reached",
    "content_filter": "stopped by the provider's content filter",
    "interrupted": "interrupted: this is what had arrived",
    "broken": "broken off: this is what had arrived",
    "tool_calls": "ended with a call of a tool",
}


def facts_line(rows: Sequence[Row]) -> str:
    """Time, tokens and cost on one line, for example `1.24 s · 12 in · 34 out · $0.0012`; "" when nothing is known."""
    return " · ".join(filter(None, (latency_words(rows), tokens_words(rows), cost_words(rows))))


def latency_words(rows: Sequence[Row]) -> str:
    """The time to the whole answer, or from the shortest to the longest."""
    return _range([row.get("latency_ms") for row in rows], milliseconds)


def milliseconds(value: float) -> str:
    """With three digits, for example `812 ms`, `1.24 s`."""
    if value < 999.5:
        return f"{value:.0f} ms"
    seconds = value / 1000
    return f"{seconds:.2f} s" if seconds < 9.995 else f"{seconds:.1f} s" if seconds < 99.95 else f"{seconds:,.0f} s"


def tokens_words(rows: Sequence[Row]) -> str:
    """Tokens in and out; `~` marks an estimate."""
    about = "~" if any(row.get("usage_source") == "estimate" for row in rows) else ""
    into = _range([_prompt_tokens(row) for row in rows], _count)
    out = _range([row.get("output_tokens") for row in rows], _count)
    thought = _range([row.get("reasoning_tokens") for row in rows], _count)
    reasoning = f" ({about}{thought} reasoning)" if thought not in ("", "0") else ""
    return " · ".join(
        filter(None, (f"{about}{into} in" if into else "", f"{about}{out} out{reasoning}" if out else ""))
    )


def _prompt_tokens(row: Row) -> int | None:
    known = [row[name] for name in ("input_tokens", "cached_input_tokens") if row.get(name) is not None]
    return sum(known) if known else None


def _count(value: float) -> str:
    return f"{value:,.0f}"


def _range(values: Iterable[Any], word: Callable[[float], str]) -> str:
    known = sorted(value for value in values if value is not None)
    if not known:
        return ""
    low, high = word(known[0]), word(known[-1])
    return low if low == high else f"{low} – {high}"


def cost_words(rows: Sequence[Row]) -> str:
    """What the cells cost together; `cost unknown` as soon as one of them is, and "" when there are none."""
    if not rows:
        return ""
    cost = total_cost(rows)
    return dollars(cost) + (" together" if len(rows) > 1 and cost is not None else "")


def total_cost(rows: Iterable[Row]) -> Decimal | None:
    """The sum in USD. None: the cost of an answer is unknown. An error that says nothing of a cost counts as none."""
    costs = [row.get("cost_usd") for row in rows if row.get("status") != "error" or row.get("cost_usd") is not None]
    if any(cost is None for cost in costs):
        return None
    return sum((Decimal(str(cost)) for cost in costs), Decimal(0))


def dollars(cost: Decimal | float | None) -> str:
    """For example `$0.0012`: two significant digits below a cent, cents above. None is `cost unknown`."""
    if cost is None:
        return "cost unknown"
    amount = Decimal(str(cost))
    if amount == 0:
        return "$0"
    return f"${amount:,.{max(2, 1 - amount.adjusted())}f}"


def ending_words(row: Row) -> str:
    """What a reader must know about how the answer ended; "" when it ended by itself."""
    return _ENDINGS.get(str(row.get("finish_reason")), "")


def score_of(rows: Sequence[Row], scorer: str) -> float | str | None:
    """The mean over cells that have a number there; else the first word of another kind; None when there is none."""
    values = [row[scorer] for row in rows if row.get(scorer) is not None]
    numeric = [float(v) for v in values if is_number(v)]
    if numeric:
        return math.fsum(numeric) / len(numeric)
    return next((one_line(v, 60) for v in values if not is_number(v) and v == v), None)


def is_number(value: Any) -> bool:
    """Whether `value` counts in a mean: a finite number, yes (1) or no (0)."""
    return isinstance(value, (numbers.Real, Decimal)) and math.isfinite(float(value))


def score_words(value: float | str | None) -> str:
    """At most three digits; `–` when there is no score."""
    if value is None:
        return "–"
    return value if isinstance(value, str) else f"{value:.3g}"
