"""The tables that a comparison gives: which columns they show, and what stands below them."""

from __future__ import annotations

import difflib
import html
from collections.abc import Mapping, Sequence
from typing import Any

from nbllm.compare.cells import Arm, Duel, Row
from nbllm.compare.differences import difference_html, difference_text
from nbllm.errors import UsageError
from nbllm.foreign import escape, one_line, visible
from nbllm.tables import Table, cell_text

SUMMARY = ("model", "params", "scorer", "n_prompts", "n_cells", "n_errors", "mean", "ci_low", "ci_high", "cost_usd",
           "cost_per_correct_usd", "latency_p50_ms", "latency_p95_ms")  # fmt: skip
STATS = ("a", "b", "scorer", "n_prompts", "mean_a", "mean_b", "difference", "ci_low", "ci_high", "bootstrap_low",
         "bootstrap_high", "test", "p_value", "p_adjusted", "mde", "sentence")  # fmt: skip
RANKING = ("model", "rank", "rank_low", "rank_high", "strength", "ci_low", "ci_high", "win_rate", "n")


class FigureTable(Table):
    """Figures: rounded for people, exact in `rows` and in a DataFrame."""

    def shown_rows(self) -> list[dict[str, Any]]:
        """Numbers with at most four digits; a setting of parameters as it is written."""
        return [{name: _shown(value) for name, value in row.items()} for row in self.rows]


def _shown(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, (float, Mapping)):
        return value
    if isinstance(value, Mapping):
        return " ".join(f"{name}={cell_text(v)}" for name, v in value.items())
    return f"{value:.4g}" if abs(value) < 10_000 else f"{value:,.0f}"


def summary_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """`Comparison.summary()`: the fixed columns are shown; the others are there."""
    return FigureTable(rows, columns=SUMMARY)


def stats_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """`Comparison.stats()`: the figures, and below them the sentences."""
    shown = [c for c in STATS if c not in ("sentence", "bootstrap_low", "bootstrap_high")]
    return FigureTable(rows, columns=shown, note="\n".join(str(row["sentence"]) for row in rows))


def ranking_table(rows: Sequence[Mapping[str, Any]], duels: Sequence[Duel]) -> Table:
    """`Comparison.ranking()`."""
    source = {"judge": "the judge's verdicts", "vote": "blind votes", "score": "scores"}
    by = source[duels[0].source] if duels else "nothing"
    ties = sum(duel.winner == "tie" for duel in duels)
    note = f"Bradley-Terry over {len(duels):,} pairs by {by}, {ties:,} of them ties (half a win each)"
    return FigureTable(rows, columns=RANKING, note=note)


def win_rate_rows(duels: Sequence[Duel], arms: Sequence[Arm]) -> list[dict[str, Any]]:
    """How often each arm beat each other one: `a, b, win_rate, n`, a tie as half. None where they never met."""
    points = {"a": 1.0, "b": 0.0, "tie": 0.5}
    won: dict[tuple[str, str], list[float]] = {}
    for duel in duels:
        won.setdefault((duel.a, duel.b), []).append(points[duel.winner])
        won.setdefault((duel.b, duel.a), []).append(1 - points[duel.winner])
    labels = [arm.label for arm in arms]
    pairs = [(a, b) for a in labels for b in labels if a != b]
    return [
        {"a": a, "b": b, "win_rate": sum(w) / len(w) if (w := won.get((a, b))) else None, "n": len(won.get((a, b), ()))}
        for a, b in pairs
    ]


def find_arm(arms: Sequence[Arm], name: str) -> Arm:
    """The arm of this label, or of this model where it has only one.

    Raises:
        UsageError: There is none, or the model has several.
    """
    found = [a for a in arms if a.label == name] or [a for a in arms if a.model == name]
    if len(found) == 1:
        return found[0]
    labels = [a.label for a in arms]
    if found:
        raise UsageError(
            f"{one_line(name, 60)} was asked with several settings", hint=f"name one: {'; '.join(labels[:6])}"
        )
    close = difflib.get_close_matches(name, labels, n=3)
    hint = f"did you mean {'; '.join(close)}?" if close else f"there are {'; '.join(labels[:6])}"
    raise UsageError(f"{one_line(name, 60)} is not in this comparison", hint=hint)


class DifferenceTable(Table):
    """Answers of two arms beside each other, as what changed from the first to the second."""

    def __init__(self, rows: Sequence[Row], a: Arm, b: Arm) -> None:
        pairs = _pairs(rows, a, b)
        made = [
            {"prompt_id": prompt, "repeat": repeat, "difference": difference_text(before, after)}
            for prompt, repeat, before, after in pairs
        ]
        same = sum(before == after for *_, before, after in pairs)
        super().__init__(
            made, columns=("prompt_id", "repeat", "difference"), title=f"from {a.label} to {b.label}",
            note=f"{len(pairs):,} answers of both; {same:,} are the same",
        )  # fmt: skip
        self._pairs = pairs

    def _repr_html_(self) -> str:
        lines = "".join(
            f"<tr><th scope='row' style='text-align:left;vertical-align:top'>{escape(prompt)}</th>"
            f"<td style='text-align:left;white-space:pre-wrap'>{difference_html(before, after)}</td></tr>"
            for prompt, _, before, after in self._pairs[:200]
        )
        head = "<thead><tr><th scope='col'>prompt</th><th scope='col'>difference</th></tr></thead>"
        caption = f"<caption style='text-align:left'>{html.escape(visible(self.title or ''))}</caption>"
        cut = f"<p>showing 200 of {len(self._pairs):,}</p>" if len(self._pairs) > 200 else ""
        return f"<table>{caption}{head}<tbody>{lines}</tbody></table>{cut}<p>{escape(self.note or '')}</p>"


def _pairs(rows: Sequence[Row], a: Arm, b: Arm) -> list[tuple[str, int, str, str]]:
    texts: dict[tuple[str, int], dict[str, str]] = {}
    for row in rows:
        for side, arm in (("a", a), ("b", b)):
            if row["status"] == "ok" and row["model"] == arm.model and row["params"] == dict(arm.params):
                texts.setdefault((row["prompt_id"], row["repeat"]), {})[side] = row["text"] or ""
    return [(prompt, repeat, t["a"], t["b"]) for (prompt, repeat), t in texts.items() if len(t) == 2]
