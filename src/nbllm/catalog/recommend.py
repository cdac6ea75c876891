"""Which model to take, from what the user has seen of them, with the reason; nothing where too little is known.

Medians with their counts, of real calls: not of replayed ones and not of the demo. Nobody else's ranking is used.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from sqlalchemy import Connection, select

from nbllm.providers.registry import Registry
from nbllm.providers.spec import ModelInfo
from nbllm.store import Store, schema
from nbllm.tables import Sentences, Table

Aim = Literal["score", "price", "latency"]
AIMS: tuple[Aim, ...] = get_args(Aim)

MIN_CALLS = 10
"""Answers of one model before their median says something, and of all models before a typical question is known."""
MIN_MODELS = 2
"""Fewer leave nothing to choose from."""

_calls = schema.calls
_READ = ("provider", "model", "latency_ms", "ttft_ms", "input_tokens", "cached_input_tokens", "cache_write_tokens",
         "output_tokens", "finish_reason", "error_type")  # fmt: skip
_WHOLE = ("stop", "tool_calls")
"""How a whole answer ends; one that was cut is shorter and cheaper."""
_CALLS_READ = 20_000
"""The newest ones; what was measured long ago may hold no longer."""


@dataclass(slots=True)
class Past:
    """What the user has seen of one model."""

    answers: list[Mapping[str, Any]] = field(default_factory=list)
    """Calls that ended with a whole answer."""
    failed: int = 0

    @property
    def asked(self) -> int:
        """How often it was asked to the end, well or not."""
        return len(self.answers) + self.failed

    def said(self) -> str:
        """How reliable it was, for people."""
        return f"{self.failed} of {self.asked} failed" if self.failed else f"none of {self.asked} failed"


@dataclass(frozen=True, slots=True)
class Recommended:
    """Models in order, each with the reason; or the sentence why there are none."""

    aim: Aim
    rows: tuple[Mapping[str, Any], ...] = ()
    """`model` and `why`, the best first."""
    abstains: str | None = None

    def shown(self) -> Table | Sentences:
        """For people."""
        if self.abstains is not None:
            return Sentences([self.abstains])
        rows = [{"rank": n, **row} for n, row in enumerate(self.rows, 1)]
        return Table(rows, columns=("rank", "model", "why"), title=f"by {self.aim}, from your own calls")

    def sentence(self) -> str:
        """On one line."""
        if self.abstains is not None:
            return self.abstains
        return f"{self.aim}: {self.rows[0]['model']}: {self.rows[0]['why']}"


class Adviser:
    """Recommends models of one workspace.

    Args:
        store: Gives the store with the calls.
        model: What is known of a model.
        registry: Says which providers are the demo, whose calls are no model's.
        candidates: References that are compared by price beside those that were asked.
    """

    def __init__(
        self,
        store: Callable[[], Store],
        model: Callable[[str], ModelInfo | None],
        registry: Registry,
        candidates: Callable[[], Collection[str]],
    ) -> None:
        self._store, self._model, self._registry, self._candidates = store, model, registry, candidates

    def recommend(self, aim: Aim) -> Recommended:
        """The models for an aim."""
        if aim == "score":
            return Recommended(
                aim, abstains="score: no answers were scored yet, so nothing is known of which model answers better"
            )
        past = self._past()
        return _by_latency(past) if aim == "latency" else self._by_price(past)

    def _past(self) -> dict[str, Past]:
        found: dict[str, Past] = {}
        demos = {row.id for row in self._registry.all() if row.kind == "demo"}
        for call in self._store().read(_read):
            if call["provider"] in demos:
                continue
            past = found.setdefault(f"{call['provider']}/{call['model']}", Past())
            if call["error_type"]:
                past.failed += 1
            elif call["finish_reason"] in _WHOLE:
                past.answers.append(call)
        return found

    def _by_price(self, past: Mapping[str, Past]) -> Recommended:
        answers = [
            a for p in past.values() for a in p.answers if _prompt(a) is not None and a["output_tokens"] is not None
        ]
        if len(answers) < MIN_CALLS:
            return Recommended("price", abstains=_too_few("price", f"{len(answers)} answers whose tokens were counted"))
        tokens_in = statistics.median(_prompt(a) or 0 for a in answers)
        tokens_out = statistics.median(a["output_tokens"] for a in answers)
        asked = [ref for ref, p in past.items() if p.answers]
        priced = list(self._priced(dict.fromkeys((*asked, *self._candidates())), tokens_in, tokens_out))
        if len(priced) < MIN_MODELS:
            return Recommended(
                "price",
                abstains=f"price: of the models that you have asked or marked, {len(priced)} "
                f"{'has' if len(priced) == 1 else 'have'} known prices, and a choice needs {MIN_MODELS}",
            )
        typical = f"your typical question ({tokens_in:g} tokens in, {tokens_out:g} out, median of {len(answers)})"
        return Recommended(
            "price",
            tuple(
                {"model": ref, "why": f"{usd:.2g} USD for {typical}; {_seen(past.get(ref))}", "usd": usd}
                for usd, ref in sorted(priced)
            ),
        )

    def _priced(self, refs: Iterable[str], tokens_in: float, tokens_out: float) -> Iterable[tuple[float, str]]:
        for ref in refs:
            model = self._model(ref)
            if model is not None and model.input_price is not None and model.output_price is not None:
                yield (tokens_in * model.input_price + tokens_out * model.output_price) / 1_000_000, ref


def _by_latency(past: Mapping[str, Past]) -> Recommended:
    timed = {ref: [a["latency_ms"] / 1000 for a in p.answers if a["latency_ms"] is not None] for ref, p in past.items()}
    enough = {ref: times for ref, times in timed.items() if len(times) >= MIN_CALLS}
    if len(enough) < MIN_MODELS:
        known = f"{len(enough)} model{'s' if len(enough) != 1 else ''} with {MIN_CALLS} answers or more"
        return Recommended("latency", abstains=_too_few("latency", known, f"{MIN_MODELS} such models are needed"))
    rows = []
    for ref, times in sorted(enough.items(), key=lambda item: statistics.median(item[1])):
        low, middle, high = statistics.quantiles(times, n=4)
        first = [a["ttft_ms"] / 1000 for a in past[ref].answers if a["ttft_ms"] is not None]
        begins = f", the first word after {statistics.median(first):.2g} s" if len(first) >= MIN_CALLS else ""
        why = f"{middle:.2g} s an answer (median of {len(times)}, half of them {low:.2g} to {high:.2g} s){begins}"
        rows.append({"model": ref, "why": f"{why}; {past[ref].said()}", "latency_s": middle})
    return Recommended("latency", tuple(rows))


def _read(connection: Connection) -> Sequence[Mapping[str, Any]]:
    newest = select(*(_calls.c[name] for name in _READ)).where(_calls.c.replayed.is_(None))
    ordered = newest.order_by(_calls.c.created_at.desc()).limit(_CALLS_READ)
    return [dict(row) for row in connection.execute(ordered).mappings()]


def _prompt(call: Mapping[str, Any]) -> int | None:
    """All tokens of the prompt; None: not counted."""
    if call["input_tokens"] is None:
        return None
    return int(call["input_tokens"] + (call["cached_input_tokens"] or 0) + (call["cache_write_tokens"] or 0))


def _seen(past: Past | None) -> str:
    return past.said() if past is not None and past.asked else "you have not asked it yet"


def _too_few(aim: Aim, known: str, wanted: str = f"{MIN_CALLS} are needed") -> str:
    return f"{aim}: too little is known: {known}, and {wanted}"
