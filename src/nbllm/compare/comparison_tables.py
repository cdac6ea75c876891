"""The tables that a comparison gives: which columns they show, and what stands below them."""

from __future__ import annotations

import difflib
import html
from collections.abc import Mapping, Sequence
from typing import Any

from nbllm.compare.cells import COLUMNS, Arm, Duel, Row
from nbllm.compare.differences import difference_html, difference_text
from nbllm.errors import UsageError
from nbllm.foreign import escape, one_line, visible
from nbllm.tables import Table, cell_text

SUMMARY = ("model", "params", "scorer", "n_prompts", "n_cells", "n_errors", "mean", "ci_low", "ci_high", "cost_usd",
           "cost_per_correct_usd", "latency_p50_ms", "latency_p95_ms")  # fmt: skip
STATS = ("a", "b", "scorer", "n_prompts", "mean_a", "mean_b", "difference", "ci_low", "ci_high", "bootstrap_low",
         "bootstrap_high", "test", "p_value", "p_adjusted", "mde", "sentence")  # fmt: skip
RANKING = ("model", "rank", "rank_low", "rank_high", "strength", "ci_low", "ci_high", "win_rate", "n")


_FIRST = ("prompt_id", "model", "params", "repeat", "status", "text", "error", "latency_ms", "cost_usd", "from_store")
"""The columns of cells that a person looks for first; those of scores follow."""
SHOWN_ROWS = 200
"""More rows than these are not shown: a table of 20,000 would be the largest thing in the notebook."""


class WideTable(Table):
    """A table that people look at in part: columns in which something is known, the first rows, in a box that scrolls.

    All of it is in `rows`, in a DataFrame and in files. Numbers are rounded for people, and stand to the right.
    """

    numbers = frozenset({
        *SUMMARY[3:], *STATS[3:11], *STATS[12:15], *RANKING[1:], "repeat", "latency_ms", "n", "k", "pass_at_k",
        "pass_hat_k", "p50_low_ms", "p50_high_ms", "p95_low_ms", "p95_high_ms",
    })  # fmt: skip

    def __init__(self, rows: Sequence[Mapping[str, Any]], *, columns: Sequence[str] = (), note: str = "") -> None:
        names = list(columns) or (list(rows[0]) if rows else [])
        known = [name for name in names if any(row.get(name) not in (None, {}) for row in rows)]
        cut = f"showing {SHOWN_ROWS} of {len(rows):,} rows" if len(rows) > SHOWN_ROWS else ""
        super().__init__(rows, columns=known or names, note="\n".join(filter(None, (note, cut))) or None)

    def shown_rows(self) -> list[dict[str, Any]]:
        """Numbers with at most four digits; a setting of parameters as it is written."""
        return [{name: _shown(row.get(name)) for name in self.shown} for row in self.rows[:SHOWN_ROWS]]

    def _repr_html_(self) -> str:
        return scrolling(super()._repr_html_())


def scrolling(table: str) -> str:
    """A table in a box of its own, so that a wide one does not widen the page."""
    return f"<div role='region' tabindex='0' aria-label='table' style='overflow-x:auto'>{table}</div>"


def cells_table(rows: Sequence[Row]) -> Table:
    """`Comparison.cells`: every column is there; those that a person looks for first are shown, with the scores."""
    scores = [name for name in rows[0] if name not in COLUMNS] if rows else []
    shown = (*_FIRST, *scores)
    left = len(rows[0]) - len(shown) if rows else 0
    return WideTable(rows, columns=shown if rows else COLUMNS, note=f"{left} more columns" if left else "")


def _shown(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, (float, Mapping)):
        return value
    if isinstance(value, Mapping):
        return " ".join(f"{name}={cell_text(v)}" for name, v in value.items())
    if 0 < abs(value) < 1e-4:
        return f"{value:.8f}".rstrip("0") if abs(value) >= 1e-8 else f"{value:.2g}"
    return f"{value:.4g}" if abs(value) < 10_000 else f"{value:,.0f}"


def summary_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """`Comparison.summary()`: the fixed columns are shown; the others are there."""
    return WideTable(rows, columns=SUMMARY)


def stats_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """`Comparison.stats()`: the figures, and below them the sentences."""
    shown = [c for c in STATS if c not in ("sentence", "bootstrap_low", "bootstrap_high")]
    return WideTable(rows, columns=shown, note="\n".join(str(row["sentence"]) for row in rows))


def ranking_table(rows: Sequence[Mapping[str, Any]], duels: Sequence[Duel]) -> Table:
    """`Comparison.ranking()`."""
    source = {"judge": "the judge's verdicts", "vote": "blind votes", "score": "scores"}
    by = source[duels[0].source] if duels else "nothing"
    ties = sum(duel.winner == "tie" for duel in duels)
    note = f"Bradley-Terry over {len(duels):,} pairs by {by}, {ties:,} of them ties (half a win each)"
    return WideTable(rows, columns=RANKING, note=note)


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


_TOP_LEFT = "text-align:left;vertical-align:top"


class DifferenceTable(Table):
    """Answers of two arms beside each other, as what changed from the first to the second."""

    def __init__(self, rows: Sequence[Row], a: Arm, b: Arm) -> None:
        pairs = _pairs(rows, a, b)
        made = [
            {"prompt_id": prompt, "repeat": repeat, "difference": difference_text(before, after)}
            for prompt, repeat, before, after in pairs
        ]
        same = sum(before == after for *_, before, after in pairs)
        note = f"{len(pairs):,} answers of both; {same:,} are the same"
        cut = f"\nshowing {SHOWN_ROWS} of {len(pairs):,}" if len(pairs) > SHOWN_ROWS else ""
        super().__init__(
            made, columns=("prompt_id", "repeat", "difference"), title=f"from {a.label} to {b.label}",
            note=note + cut,
        )  # fmt: skip
        self._pairs = pairs

    def _repr_html_(self) -> str:
        lines = "".join(
            f"<tr><th scope='row' style='{_TOP_LEFT}'>{escape(prompt)}</th><td style='{_TOP_LEFT}'>{repeat}</td>"
            f"<td style='{_TOP_LEFT};white-space:pre-wrap'>{difference_html(before, after)}</td></tr>"
            for prompt, repeat, before, after in self._pairs[:SHOWN_ROWS]
        )
        head = "".join(
            f"<th scope='col' style='{_TOP_LEFT}'>{name}</th>" for name in ("prompt", "repeat", "difference")
        )
        caption = f"<caption style='text-align:left'>{html.escape(visible(self.title or ''))}</caption>"
        table = f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table>"
        return scrolling(table) + "".join(f"<p>{escape(line)}</p>" for line in (self.note or "").splitlines())

    def shown_rows(self) -> Sequence[Mapping[str, Any]]:
        """The first ones; all of them are in `rows`."""
        return self.rows[:SHOWN_ROWS]


def _pairs(rows: Sequence[Row], a: Arm, b: Arm) -> list[tuple[str, int, str, str]]:
    texts: dict[tuple[str, int], dict[str, str]] = {}
    for row in rows:
        for side, arm in (("a", a), ("b", b)):
            if row["status"] == "ok" and row["model"] == arm.model and row["params"] == dict(arm.params):
                texts.setdefault((row["prompt_id"], row["repeat"]), {})[side] = row["text"] or ""
    return [(prompt, repeat, t["a"], t["b"]) for (prompt, repeat), t in texts.items() if len(t) == 2]
