"""A comparison as plain text: what a terminal, a diff of notebooks and a screen reader get.

The width is fixed, not that of the terminal, so that the same cells give the same text everywhere.
"""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from nbllm.compare.cells import Arm, Case, Row
from nbllm.compare.facts import facts_line, score_of, score_words
from nbllm.compare.layout import Answer, Line, answers, lay_out
from nbllm.compare.page import counts, stray_notes, summary_table
from nbllm.foreign import one_line
from nbllm.tables import Table

WIDTH = 100
LIMIT = 10
"""Prompts that the text shows."""
REST = "all of them: .view(), .to_pandas(), or .to_csv(path)"
_PROMPT, _ANSWER = 240, 320
"""Characters of a prompt and of an answer that are shown."""


def comparison_text(
    rows: Sequence[Row],
    arms: Sequence[Arm],
    cases: Sequence[Case] = (),
    *,
    scorers: Sequence[str] = (),
    summary: Sequence[Mapping[str, Any]] = (),
    notes: Sequence[str] = (),
    title: str = "Comparison",
    width: int = WIDTH,
    limit: int | None = LIMIT,
    rest: str = REST,
) -> str:
    """The comparison as text: its size, the results, notes, then the beginnings of some answers.

    Arguments are those of `page.comparison_html`; `width` is in columns of a terminal, where letters of Chinese,
    Japanese and Korean take two.
    """
    layout = lay_out(rows, arms, cases)
    blocks = [_wrapped(f"{one_line(title)}: {counts(layout)}", width)]
    if summary:
        blocks.append(_summary_text(summary, arms, width))
    said = [*notes, *stray_notes(layout)]
    if said:
        blocks.append("\n".join(_wrapped(one_line(note, 1000), width, "- ", "  ") for note in said))
    shown = layout.lines[:limit]
    blocks += ["\n".join(_line_text(line, layout.arms, scorers, width)) for line in shown]
    if len(shown) < len(layout.lines):
        blocks.append(_wrapped(f"Showing {len(shown):,} of {len(layout.lines):,} prompts; {rest}", width))
    return "\n\n".join(blocks)


def _summary_text(summary: Sequence[Mapping[str, Any]], arms: Sequence[Arm], width: int) -> str:
    columns = summary_table(summary, arms)
    rows = [{title: texts[i] for _, title, texts in columns} for i in range(len(summary))]
    table = Table(rows)
    table.numbers = frozenset(title for name, title, _ in columns if name not in ("model", "scorer"))  # type: ignore[misc]
    return table.to_text(width)


def _line_text(line: Line, arms: Sequence[Arm], scorers: Sequence[str], width: int) -> Iterator[str]:
    name = one_line(line.case.prompt_id, 40)
    yield _wrapped(f"[{name}] {one_line(line.case.prompt, _PROMPT)}", width)
    for arm, cells in zip(arms, line.places, strict=True):
        if not cells:
            yield _wrapped(f"{one_line(arm.label)}: not asked", width, "  ", "    ")
        for answer in answers(cells):
            yield _wrapped(_answer_text(arm, answer, len(cells), scorers), width, "  ", "    ")


def _answer_text(arm: Arm, answer: Answer, of: int, scorers: Sequence[str]) -> str:
    if answer.is_error:
        kind = one_line(answer.row.get("error_type") or "error")
        text = f"{kind}: {one_line(answer.row.get('error') or 'no reason was given')}"
    else:
        text = one_line(answer.text, _ANSWER) or "(the answer is empty)"
    scores = [f"{one_line(s, 40)} {score_words(score_of(answer.rows, s))}" for s in scorers]
    facts = "" if answer.is_error else facts_line(answer.rows)
    times = f" ({len(answer.rows)} identical)" if len(answer.rows) > 1 else ""
    if of > 1 and not times:
        times = f" (repeat {(answer.row.get('repeat') or 0) + 1})"
    figures = " · ".join(filter(None, (*([] if answer.is_error else scores), facts)))
    return f"{one_line(arm.label)}{times}: {text}" + (f"  [{figures}]" if figures else "")


def _wrapped(text: str, width: int, first: str = "", others: str = "") -> str:
    """Lines of at most `width` columns. A wide letter is two columns, for which `textwrap` has no word."""
    padded = "".join(c + _FILL if unicodedata.east_asian_width(c) in "WF" else c for c in text)
    lines = textwrap.wrap(
        padded, width, initial_indent=first, subsequent_indent=others, break_on_hyphens=False, drop_whitespace=True
    )
    return "\n".join(lines).replace(_FILL, "")


_FILL = "\ue000"
"""Stands for the second column of a wide letter while lines are broken; `one_line` lets no such character through."""
