"""A comparison as it is kept in a notebook: a table of results, then the answers side by side.

Prompts are rows, arms are columns. The HTML is durable: no script, nothing loaded, the same bytes for the same cells,
readable where a viewer drops styles. It is capped, and says what it left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from nbllm.compare.cells import Arm, Case, Row
from nbllm.compare.facts import dollars, milliseconds, total_cost
from nbllm.compare.layout import ArmFinder, Layout, Line, lay_out
from nbllm.compare.page_cells import TEXT_CAP, cell_html, text_html
from nbllm.foreign import escape, one_line

LIMIT = 200
"""Prompts that a page in a notebook shows."""
MAX_BYTES = 1_000_000
"""Bytes of a page in a notebook: what makes saving and opening it slow is a few of these."""
REST = 'all of them: `.view()`, `.to_pandas()`, or `.to_html("answers.html")`'
"""How to see what a capped page leaves out."""

_LONG_PROMPT = 320
_SMALLEST_TEXT = 100
_CODE_WORD = re.compile(r"`([^`]+)`")


def comparison_html(
    rows: Sequence[Row],
    arms: Sequence[Arm],
    cases: Sequence[Case] = (),
    *,
    scorers: Sequence[str] = (),
    summary: Sequence[Mapping[str, Any]] = (),
    notes: Sequence[str] = (),
    title: str = "Comparison",
    differences: bool = False,
    limit: int | None = LIMIT,
    max_bytes: int | None = MAX_BYTES,
    rest: str = REST,
) -> str:
    """The comparison as HTML, under one root element.

    Args:
        rows: The cells; see `cells.COLUMNS`.
        arms: The columns of the page, in order.
        cases: The prompts, in order; those only known from `rows` follow.
        scorers: Columns of `rows` that hold scores.
        summary: The rows of `Comparison.summary()`.
        notes: Sentences to show above the answers.
        title: What the comparison is called.
        differences: Show the answers of the second arm, and those after it, as what differs from the first.
        limit: Prompts that are shown at most; None: no limit.
        max_bytes: Bytes of the answers, as UTF-8, at most; None: no limit. At least one prompt is shown.
        rest: How to see what was left out.
    """
    layout = lay_out(rows, arms, cases)
    parts = (
        f'<div class="nbllm-compare">{style()}',
        f'<p class="nbc-title"><strong>{escape(title)}</strong> <span>{escape(counts(layout), 400)}</span></p>',
        summary_html(summary, arms),
        notes_html([*notes, *stray_notes(layout)]),
        answers_html(layout, scorers, differences=differences, limit=limit, max_bytes=max_bytes, rest=rest),
        "</div>",
    )
    return "\n".join(filter(None, parts))


def counts(layout: Layout) -> str:
    """How large the comparison is, and what went wrong or is missing in it."""
    cells = [row for line in layout.lines for place in line.places for row in place]
    failed = _number(layout.n_errors, "error") if layout.n_errors else ""
    unasked = f"{layout.n_unasked:,} not asked" if layout.n_unasked else ""
    repeats = _number(layout.n_repeats, "repeat") if layout.n_repeats > 1 else ""
    parts = (
        _number(len(layout.arms), "model" if len({a.model for a in layout.arms}) == len(layout.arms) else "arm"),
        _number(len(layout.lines), "prompt"),
        repeats,
        _number(layout.n_cells, "cell"),
        failed,
        unasked,
        dollars(total_cost(cells)) if cells else "",
    )
    return " · ".join(filter(None, parts))


def stray_notes(layout: Layout) -> list[str]:
    """A sentence on cells that stand in no column."""
    if not layout.n_strays:
        return []
    return [f"{_number(layout.n_strays, 'cell')} of models or parameters that are not among the columns"]


def _number(count: int, word: str) -> str:
    return f"{count:,} {word}" + ("" if count == 1 else "s")


def notes_html(notes: Sequence[str]) -> str:
    """Sentences as a list."""
    items = "".join(f"<li>{escape(note, 1000)}</li>" for note in notes)
    return f'<ul class="nbc-notes">{items}</ul>' if items else ""


# ---------------------------------------------------------------- the table of results

_LEFT = frozenset({"scorer"})


def summary_html(summary: Sequence[Mapping[str, Any]], arms: Sequence[Arm]) -> str:
    """The rows of `Comparison.summary()` as a table; columns in which nothing is known are left out."""
    if not summary:
        return ""
    shown = summary_table(summary, arms)
    head = "".join(f'<th scope="col"{_side(name)}>{escape(title)}</th>' for name, title, _ in shown[1:])
    lines = [
        f'<tr><th scope="row">{escape(label)}</th>'
        + "".join(f"<td{_side(name)}>{escape(texts[i])}</td>" for name, _, texts in shown[1:])
        + "</tr>"
        for i, label in enumerate(shown[0][2])
    ]
    table = f'<thead><tr><th scope="col">model</th>{head}</tr></thead><tbody>{"".join(lines)}</tbody>'
    caption = '<caption class="nbc-unseen">Results of each model</caption>'
    return (
        '<div class="nbc-scroll" role="region" aria-label="Results" tabindex="0">'
        f'<table class="nbc-summary">{caption}{table}</table></div>'
    )


def _side(column: str) -> str:
    return "" if column in _LEFT else ' class="nbc-number"'


def summary_table(summary: Sequence[Mapping[str, Any]], arms: Sequence[Arm]) -> list[tuple[str, str, list[str]]]:
    """Columns as name, title and texts. The first is the model; those without anything known are not there."""
    find = ArmFinder(arms)
    labels = [arms[at].label if (at := find(row)) is not None else one_line(row["model"]) for row in summary]
    columns = [
        ("scorer", "scorer", [one_line(row.get("scorer") or "", 40) for row in summary]),
        ("mean", "mean [95 % interval]", [_mean(row) for row in summary]),
        ("n_prompts", "prompts", [_whole(row.get("n_prompts")) for row in summary]),
        ("n_cells", "cells", [_whole(row.get("n_cells")) for row in summary]),
        ("n_errors", "errors", [_whole(row.get("n_errors")) for row in summary]),
        ("cost_usd", "cost", [_cost(row.get("cost_usd")) for row in summary]),
        ("cost_per_correct_usd", "cost per correct", [_cost(row.get("cost_per_correct_usd")) for row in summary]),
        ("latency_p50_ms", "time p50", [_time(row.get("latency_p50_ms")) for row in summary]),
        ("latency_p95_ms", "time p95", [_time(row.get("latency_p95_ms")) for row in summary]),
    ]
    known = [(name, title, [t or "–" for t in texts]) for name, title, texts in columns if any(texts)]
    return [("model", "model", labels), *known]


def _mean(row: Mapping[str, Any]) -> str:
    mean, low, high = row.get("mean"), row.get("ci_low"), row.get("ci_high")
    if mean is None:
        return ""
    return f"{mean:.3f}" if low is None or high is None else f"{mean:.3f} [{low:.3f}, {high:.3f}]"


def _whole(value: Any) -> str:
    return "" if value is None else f"{value:,}"


def _cost(value: Any) -> str:
    return "" if value is None else dollars(value)


def _time(value: Any) -> str:
    return "" if value is None else milliseconds(value)


# ---------------------------------------------------------------- the answers


def answers_html(
    layout: Layout,
    scorers: Sequence[str],
    *,
    differences: bool = False,
    limit: int | None = None,
    max_bytes: int | None = None,
    rest: str = REST,
    text_cap: int | None = TEXT_CAP,
) -> str:
    """The answers side by side, and what was left out of them. Arguments are those of `comparison_html`."""
    if not layout.lines:
        return '<p class="nbc-none">There are no prompts.</p>'
    body, shown = _lines(layout, scorers, differences, limit, max_bytes, text_cap)
    caption = '<caption class="nbc-unseen">Answers: a row for each prompt, a column for each model</caption>'
    first = layout.arms[0].label if differences and layout.arms else ""
    head = "".join(_column_html(arm, first if at else "") for at, arm in enumerate(layout.arms))
    left_out = shown < len(layout.lines)
    # The number of columns decides the width, so that each stays readable and the box scrolls.
    return (
        '<div class="nbc-box" role="region" aria-label="Answers" tabindex="0">'
        f'<table class="nbc-grid" style="--nbc-arms:{len(layout.arms)}">{caption}'
        f'<thead><tr><th scope="col">prompt</th>{head}</tr></thead><tbody>\n{body}</tbody></table></div>'
    ) + (f'\n<p class="nbc-rest">{_rest_html(shown, len(layout.lines), rest)}</p>' if left_out else "")


def _rest_html(shown: int, of: int, rest: str) -> str:
    words = escape(rest, 500)
    return f"Showing {shown:,} of {of:,} prompts; {_CODE_WORD.sub(lambda m: f'<code>{m[1]}</code>', words)}"


def _lines(
    layout: Layout,
    scorers: Sequence[str],
    differences: bool,
    limit: int | None,
    max_bytes: int | None,
    text_cap: int | None,
) -> tuple[str, int]:
    """As many lines as fit, and how many these are."""
    found: list[str] = []
    room = max_bytes
    for line in layout.lines[:limit]:
        text = _line_html(line, scorers, differences, text_cap)
        if room is not None:
            # One line alone can be too large: many repeats of long answers.
            cap = TEXT_CAP if text_cap is None else text_cap
            while not found and _size(text) > room and cap > _SMALLEST_TEXT:
                cap //= 2
                text = _line_html(line, scorers, differences, cap)
            room -= _size(text)
            if room < 0 and found:
                break
        found.append(text)
    return "".join(found), len(found)


def _size(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


def _line_html(line: Line, scorers: Sequence[str], differences: bool, text_cap: int | None) -> str:
    first = line.places[0] if differences and line.places else None
    cells = [
        f"<td>{cell_html(place, scorers, against=first if at else None, text_cap=text_cap)}</td>"
        for at, place in enumerate(line.places)
    ]
    return f"<tr>{_prompt_html(line.case, text_cap)}{''.join(cells)}</tr>\n"


def _column_html(arm: Arm, first: str) -> str:
    """The arm's label, the parameters that it does not name, and what its answers are compared with."""
    params = ", ".join(f"{name}={value}" for name, value in arm.params.items() if name not in arm.label)
    small = [escape(params, 120)] if params else []
    small += [f"what differs from {escape(first)}"] if first else []
    return f'<th scope="col">{escape(arm.label)}{"".join(f" <small>{words}</small>" for words in small)}</th>'


def _prompt_html(case: Case, text_cap: int | None) -> str:
    name = f'<span class="nbc-id">{escape(case.prompt_id, 60)}</span> '
    return f'<th scope="row">{name}{text_html(case.prompt, text_cap=text_cap, long=_LONG_PROMPT)}</th>'


@cache
def style() -> str:
    """A `<style>` of our own making, the same for every page, and bound to our root class."""
    css = files("nbllm.compare").joinpath("page.css").read_text(encoding="utf-8")
    css = re.sub(r"/\*.*?\*/", "", css, flags=re.DOTALL)
    css = re.sub(r"\s*([{};,>])\s*|\s+", lambda m: m[1] or " ", css)
    return f"<style>{css.strip()}</style>"
