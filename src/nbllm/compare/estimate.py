"""What a run may cost, before it: tokens guessed from the text, corrected by what this user's own cells took.

Every number here is a guess and says so. A price that is unknown makes the whole unknown, never cheaper.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, select

from nbllm.chat.reckoning import prompt_text
from nbllm.compare.cells import CellSpec
from nbllm.messages import ChatRequest, Usage
from nbllm.prices import Prices
from nbllm.providers.spec import ProviderConfig
from nbllm.store import Store, schema
from nbllm.usage import cost_usd, estimate_tokens

SPREAD = 0.3
"""A guess made of the text alone is off by about a third either way."""
_LEARNED_SPREAD = 0.1
SLACK = 50
"""Tokens that servers put around a prompt and count: chat templates, a system text of their own."""
_ENOUGH = 10
"""Cells of a model before its own ratio counts."""
_NEWEST = 2_000
_cells = schema.cells


@dataclass(frozen=True, slots=True)
class Guess:
    """Tokens of one cell."""

    input_tokens: int
    """As guessed from the text; what is kept with the cell, so that guesses can learn."""
    input_low: int
    input_high: int
    output_low: int
    output_high: int | None
    """None: nothing bounds it."""


@dataclass(frozen=True, slots=True)
class Past:
    """What the user has seen of one model. None: nothing, or too little."""

    ratio: float | None = None
    """Counted tokens for each guessed one, median."""
    ratio_high: float | None = None
    """The largest that was seen."""
    output: int | None = None
    """Tokens of an answer, median."""
    output_by_request: Mapping[str, int] = field(default_factory=dict)
    """The same, of answers to the same request."""
    latency_ms: float | None = None
    """Median."""


class History:
    """What earlier cells took.

    Args:
        store: None: nothing is known.
    """

    def __init__(self, store: Store | None) -> None:
        self._store = store
        self._known: dict[tuple[str, str], Past] = {}

    def of(self, provider: str, model: str) -> Past:
        """Of one model; read once."""
        at = (provider, model)
        if at not in self._known:
            self._known[at] = _past(self._read(provider, model))
        return self._known[at]

    def _read(self, provider: str, model: str) -> Sequence[Any]:
        def look(connection: Connection) -> Sequence[Any]:
            query = select(_cells.c.request_hash, _cells.c.estimated_tokens, _cells.c.outcome).where(
                _cells.c.provider == provider, _cells.c.model == model, _cells.c.status == "ok"
            )
            return connection.execute(query.order_by(_cells.c.created_at.desc()).limit(_NEWEST)).all()

        return [] if self._store is None else self._store.read(look)

    def seconds(self, specs: Iterable[CellSpec], at_once: Callable[[str], int]) -> float | None:
        """How long it may take, when every lane is full; None when a model was never asked."""
        per_lane: dict[str, float] = {}
        for spec in specs:
            provider = spec.request.provider
            latency_ms = self.of(provider, spec.request.model).latency_ms
            if latency_ms is None:
                return None
            per_lane[provider] = per_lane.get(provider, 0.0) + latency_ms
        return max((total / 1000 / at_once(name) for name, total in per_lane.items()), default=0.0)


def _past(cells: Sequence[Any]) -> Past:
    ratios: list[float] = []
    outputs: list[int] = []
    by_request: dict[str, list[int]] = {}
    latencies: list[float] = []
    for row in cells:
        usage = Usage(**row.outcome.get("usage", {}))
        if usage.source == "provider" and usage.prompt_tokens is not None and row.estimated_tokens:
            ratios.append(usage.prompt_tokens / row.estimated_tokens)
        if usage.source == "provider" and usage.output_tokens is not None:
            outputs.append(usage.output_tokens)
            by_request.setdefault(row.request_hash, []).append(usage.output_tokens)
        if row.outcome.get("latency_ms") is not None and row.outcome.get("replayed") is None:
            latencies.append(row.outcome["latency_ms"])
    learned = len(ratios) >= _ENOUGH
    return Past(
        ratio=statistics.median(ratios) if learned else None,
        ratio_high=max(ratios) if learned else None,
        output=int(statistics.median(outputs)) if outputs else None,
        output_by_request={key: int(statistics.median(seen)) for key, seen in by_request.items()},
        latency_ms=statistics.median(latencies) if latencies else None,
    )


@dataclass(frozen=True, slots=True)
class Priced:
    """What is known of a model's costs and limits."""

    provider: ProviderConfig
    known: Sequence[Prices]
    max_output: int | None
    """Tokens that the model can write at most; None: not known."""


class Estimator:
    """Guesses tokens and cost of single cells.

    Args:
        history: What earlier cells took.
        priced: What is known of a model, by provider and id.
    """

    def __init__(self, history: History, priced: Callable[[str, str], Priced]) -> None:
        self.history = history
        self._find = priced
        self._priced: dict[tuple[str, str], Priced] = {}
        self._highest: dict[tuple[str, str], float] = {}

    def priced(self, request: ChatRequest) -> Priced:
        """What is known of the model; looked up once."""
        at = (request.provider, request.model)
        if at not in self._priced:
            self._priced[at] = self._find(*at)
        return self._priced[at]

    def guess(self, request: ChatRequest) -> Guess:
        """Tokens of a request and of its answer."""
        past = self.history.of(request.provider, request.model)
        raw = estimate_tokens(prompt_text(request) + json.dumps(dict(request.schema or {}))) + 4 * len(request.messages)
        low, bound = self._output(request, past)
        if past.ratio is None or past.ratio_high is None:
            high = max(raw * (1 + SPREAD) + SLACK, raw * self._highest.get((request.provider, request.model), 1.0))
            return Guess(raw, int(raw * (1 - SPREAD)), int(high), low, bound)
        middle = raw * past.ratio
        seen = max(past.ratio_high, self._highest.get((request.provider, request.model), 0.0))
        high = max(middle * (1 + _LEARNED_SPREAD), raw * seen)
        return Guess(raw, int(middle * (1 - _LEARNED_SPREAD)), int(high) + 1, low, bound)

    def observe(self, request: ChatRequest, guessed: int, usage: Usage) -> None:
        """Take in what a cell of this run took: the worst case of those to come is no smaller."""
        if usage.source == "provider" and usage.prompt_tokens is not None:
            at = (request.provider, request.model)
            self._highest[at] = max(self._highest.get(at, 0.0), usage.prompt_tokens / max(guessed, 1))

    def _output(self, request: ChatRequest, past: Past) -> tuple[int, int | None]:
        bounds = [n for n in (request.max_tokens, self.priced(request).max_output) if n is not None]
        bound = min(bounds) if bounds else None
        seen = past.output_by_request.get(request.key(), past.output) if past.output is not None else 1
        low = 1 if seen is None else seen
        return (low if bound is None else min(low, bound)), bound

    def cost(self, request: ChatRequest, input_tokens: int, output_tokens: int) -> Decimal | None:
        """USD for so many tokens; None when a price is unknown."""
        priced = self.priced(request)
        usage = Usage(input_tokens=input_tokens, output_tokens=output_tokens, source="estimate")
        return cost_usd(priced.provider, request.model, usage, known=priced.known)

    def worst(self, request: ChatRequest) -> Decimal | None:
        """USD that a request may cost at most; None when a price or the length of the answer is unknown."""
        guess = self.guess(request)
        return None if guess.output_high is None else self.cost(request, guess.input_high, guess.output_high)


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a run would do; a dry run's result. Token numbers are guesses."""

    cells: int
    """Of the whole grid."""
    stored: int
    """Of these are in the store and are not asked again."""
    asked: int
    """Requests to be sent, the judge's among them."""
    judged: int
    """Of these are the judge's."""
    input_tokens_low: int
    input_tokens_high: int
    output_tokens_low: int
    output_tokens_high: int | None
    """None: no upper bound; give `max_tokens`."""
    cost_low_usd: Decimal | None
    """None: a price is unknown."""
    cost_high_usd: Decimal | None
    """None: a price is unknown, or the answers have no upper bound."""
    unknown_prices: tuple[str, ...] = ()
    """Models without a known price."""
    unbounded: tuple[str, ...] = ()
    """Models whose answers nothing bounds."""
    seconds: float | None = None
    """From the user's own history; None: a model was never asked."""

    def __repr__(self) -> str:
        return self.to_text()

    def to_text(self) -> str:
        """For people."""
        judged = f" ({self.judged:,} of them the judge's)" if self.judged else ""
        lines = [
            "dry run: nothing was sent",
            f"cells         {self.cells:,}; {self.stored:,} in the store; {self.asked:,} to ask{judged}",
            f"tokens in     about {self.input_tokens_low:,} to {self.input_tokens_high:,} (estimate)",
            f"tokens out    about {self.output_tokens_low:,} to {self._output_high()} (estimate)",
            f"cost          {self._cost()}",
            f"time          {self._time()}",
        ]
        if self.unknown_prices:
            lines.append(f"no price is known for {_named(self.unknown_prices)}")
        if self.unbounded:
            lines.append(f"no upper bound: give max_tokens to {_named(self.unbounded)}")
        return "\n".join(lines)

    def _output_high(self) -> str:
        return "no upper bound" if self.output_tokens_high is None else f"{self.output_tokens_high:,}"

    def _cost(self) -> str:
        if self.cost_low_usd is None:
            return "unknown"
        high = "no upper bound" if self.cost_high_usd is None else f"{self.cost_high_usd:.4f} USD"
        return f"about {self.cost_low_usd:.4f} USD to {high}"

    def _time(self) -> str:
        if self.seconds is None:
            return "unknown: not every model was asked before"
        return f"about {self.seconds:,.0f} s, from earlier answers" if self.seconds >= 1 else "under a second"


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more


def estimate(
    estimator: Estimator, specs: Sequence[CellSpec], *, cells: int, stored: int, judged: int,
    at_once: Callable[[str], int],
) -> Estimate:  # fmt: skip
    """Add up what `specs` may take.

    Args:
        estimator: Guesses one.
        specs: What would be sent.
        cells: How many cells the grid has.
        stored: How many of them are there already.
        judged: How many of `specs` are the judge's.
        at_once: How many requests to a provider are under way at once.
    """
    low_in = high_in = low_out = high_out = 0
    low_cost = high_cost = Decimal(0)
    unknown: dict[str, None] = {}
    unbounded: dict[str, None] = {}
    for spec in specs:
        guess = estimator.guess(spec.request)
        low_in, high_in, low_out = low_in + guess.input_low, high_in + guess.input_high, low_out + guess.output_low
        high_out += guess.output_high or 0
        cheap = estimator.cost(spec.request, guess.input_low, guess.output_low)
        dear = estimator.cost(spec.request, guess.input_high, guess.output_high or 0)
        if guess.output_high is None:
            unbounded[spec.request.ref] = None
        if cheap is None or dear is None:
            unknown[spec.request.ref] = None
        low_cost, high_cost = low_cost + (cheap or 0), high_cost + (dear or 0)
    return Estimate(
        cells=cells, stored=stored, asked=len(specs), judged=judged, input_tokens_low=low_in,
        input_tokens_high=high_in, output_tokens_low=low_out, output_tokens_high=None if unbounded else high_out,
        cost_low_usd=None if unknown else low_cost, cost_high_usd=None if unknown or unbounded else high_cost,
        unknown_prices=tuple(unknown), unbounded=tuple(unbounded), seconds=estimator.history.seconds(specs, at_once),
    )  # fmt: skip
