"""Two arms as the JSON file that PAIR's LLM Comparator opens.

The format is described under "JSON Data Format" in https://github.com/PAIR-code/llm-comparator/blob/main/README.md, and
in `client/lib/types.ts` there (read 2026-11-28). A score is above 0 where A is better, within 1.5 and -1.5; 1 is its
"A is better". It may be null, for what nobody judged.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nbllm.compare.cells import Arm, Case, Duel, Row
from nbllm.compare.facts import is_number
from nbllm.compare.frames import json_value, without_halves
from nbllm.compare.layout import Layout, Line, lay_out
from nbllm.compare.reports import write_report
from nbllm.errors import ExportError

BOUND = 1.5
"""The largest score that the tool has room for."""
_WON = {"a": 1.0, "b": -1.0, "tie": 0.0}
_FIGURES = ("latency_ms", "output_tokens", "cost_usd")
_CATEGORIES = 30
"""A column of data with no more different short texts than this is shown as a bar chart."""
_SHORT = 60

Field = tuple[str, str]
"""Name and type of a custom field."""


def llm_comparator(
    rows: Sequence[Row],
    arms: Sequence[Arm],
    cases: Sequence[Case] = (),
    *,
    duels: Sequence[Duel] = (),
    scorers: Sequence[str] = (),
    score: str | None = None,
    tags: Sequence[str] = (),
    source: str = "nbllm",
) -> dict[str, Any]:
    """The file's content: an example for each prompt and repeat that both arms answered.

    The score is the mean of the duels over these two answers: 1 where A won, -1 where B did. Without a duel it is the
    difference of the column `score`, cut to the tool's range; without that it is null. Columns of the data, time,
    tokens, cost and scores go along as custom fields.

    Args:
        rows: The cells.
        arms: Exactly two: A and B.
        cases: The prompts, in order.
        duels: Who won; labels of arms. Those of other arms are left out.
        scorers: Columns of `rows` that hold scores.
        score: The scorer whose difference is the score where there is no duel.
        tags: Columns of the data whose values are the tags of a prompt.
        source: What the file says of where it comes from.

    Raises:
        ExportError: There are not two arms, or there is no prompt that both answered.
    """
    if len(arms) != 2:
        raise ExportError(
            f"LLM Comparator shows two models, and these are {len(arms)}",
            hint="name two: `to_llm_comparator(path, a, b)`",
        )
    layout = lay_out(rows, arms, cases)
    judged = _judged(duels, arms)
    schema = [*_data_fields(layout, scorers, tags), *_cell_fields(scorers)]
    examples = [
        _example(line, pair, schema, tags, judged[line.case.prompt_id, pair[0].get("repeat") or 0], score)
        for line in layout.lines
        for pair in _pairs(line)
    ]
    if not examples:
        raise ExportError(f"no prompt was answered by both {arms[0].label} and {arms[1].label}")
    fields = [{"name": name, "type": kind} for name, kind in schema]
    content: dict[str, Any] = json_value(
        {
            "metadata": {"source_path": source, "custom_fields_schema": fields},
            "models": [{"name": arm.label} for arm in arms],
            "examples": examples,
        }
    )
    return content


def to_llm_comparator(path: str | Path, rows: Sequence[Row], arms: Sequence[Arm], *args: Any, **parts: Any) -> Path:
    """Write what `llm_comparator` gives; open the file at https://pair-code.github.io/llm-comparator/.

    Raises:
        ExportError: As `llm_comparator`; or the file cannot be written.
    """
    content = llm_comparator(rows, arms, *args, **parts)
    return write_report(path, without_halves(json.dumps(content, ensure_ascii=False, indent=1)))


def _pairs(line: Line) -> list[tuple[Row, Row]]:
    """For each repeat the two cells, where both were answered."""
    ours, theirs = ({r.get("repeat"): r for r in cells if r.get("status") != "error"} for cells in line.places)
    return [(ours[repeat], theirs[repeat]) for repeat in ours if repeat in theirs]


def _example(
    line: Line,
    pair: tuple[Row, Row],
    schema: Sequence[Field],
    tags: Sequence[str],
    duels: Sequence[tuple[Duel, float]],
    score: str | None,
) -> dict[str, Any]:
    return {
        "input_text": line.case.prompt,
        "tags": [str(line.case.vars[name]) for name in tags if line.case.vars.get(name) is not None],
        "output_text_a": str(pair[0].get("text") or ""),
        "output_text_b": str(pair[1].get("text") or ""),
        "score": _score(pair, duels, score),
        "individual_rater_scores": [rating for duel, points in duels for rating in _ratings(duel, points)],
        "custom_fields": {name: _value(name, kind, line.case, pair) for name, kind in schema},
    }


def _judged(duels: Sequence[Duel], arms: Sequence[Arm]) -> defaultdict[tuple[str, int], list[tuple[Duel, float]]]:
    """By prompt and repeat the duels of these two arms, with their points as A sees them."""
    found: defaultdict[tuple[str, int], list[tuple[Duel, float]]] = defaultdict(list)
    sides = {(arms[0].label, arms[1].label): 1.0, (arms[1].label, arms[0].label): -1.0}
    for duel in duels:
        if (side := sides.get((duel.a, duel.b))) is not None:
            found[duel.prompt_id, duel.repeat].append((duel, side * _WON[duel.winner] + 0.0))  # no -0.0
    return found


def _score(pair: tuple[Row, Row], duels: Sequence[tuple[Duel, float]], score: str | None) -> float | None:
    if duels:
        return sum(points for _, points in duels) / len(duels)
    a, b = (row.get(score) if score else None for row in pair)
    if not (is_number(a) and is_number(b)):
        return None
    return max(-BOUND, min(BOUND, float(a) - float(b)))  # type: ignore[arg-type]


def _ratings(duel: Duel, points: float) -> list[dict[str, Any]]:
    """One for each order in which it was asked. Where the two disagree, what each said is not known here: null."""
    reasons = duel.reasons or ("",)
    known = None if duel.consistent is False else points
    return [
        {
            "is_flipped": bool(place) if duel.consistent is not None else False,
            "score": known,
            "rating_label": duel.source,
            "rationale": reason,
        }
        for place, reason in enumerate(reasons)
    ]


# ---------------------------------------------------------------- custom fields


def _cell_fields(scorers: Sequence[str]) -> list[Field]:
    own = [("prompt_id", "string"), ("repeat", "number")]
    return own + [(name, "per_model_number") for name in (*_FIGURES, *scorers)]


def _data_fields(layout: Layout, scorers: Sequence[str], tags: Sequence[str]) -> list[Field]:
    """The columns of the data, but those that are tags and those whose names are taken."""
    taken = {"prompt_id", "repeat", *_FIGURES, *scorers, *tags}
    names = dict.fromkeys(name for line in layout.lines for name in line.case.vars if name not in taken)
    return [(name, _kind([line.case.vars.get(name) for line in layout.lines])) for name in names]


def _kind(values: Sequence[Any]) -> str:
    known = [value for value in values if value is not None]
    if all(is_number(value) and not isinstance(value, bool) for value in known):
        return "number"
    texts = {_as_text(value) for value in known}
    if any(len(text) > _SHORT for text in texts):
        return "text"
    return "category" if len(texts) <= min(_CATEGORIES, max(2, len(known) // 2)) else "string"


def _value(name: str, kind: str, case: Case, pair: tuple[Row, Row]) -> Any:
    if kind == "per_model_number":
        values = [row.get(name) for row in pair]
        return [float(value) if is_number(value) else None for value in values]  # type: ignore[arg-type]
    if name == "prompt_id":
        return case.prompt_id
    if name == "repeat":
        return pair[0].get("repeat") or 0
    value = case.vars.get(name)
    return value if value is None or kind == "number" else _as_text(value)


def _as_text(value: Any) -> str:
    if isinstance(value, (Mapping, list, tuple)):
        return json.dumps(json_value(value), ensure_ascii=False)
    return str(value)
