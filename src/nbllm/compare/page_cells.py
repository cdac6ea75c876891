"""One place of a comparison as HTML: the answers of one arm to one prompt, with their figures, or the error.

Model text is shown as it is: escaped, wrapped, never formatted. No script, nothing loaded, no `id` that could be there
twice.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence

from nbllm.compare.cells import Row
from nbllm.compare.differences import difference_html
from nbllm.compare.facts import ending_words, facts_line, score_of, score_words
from nbllm.compare.layout import Answer, answers
from nbllm.foreign import escape, one_line, visible

TEXT_CAP = 20_000
"""Characters of one text that a page in a notebook shows."""
LONG = 560
"""Characters from which a text is folded."""
LONG_LINES = 12
_EXCERPT = 220
_CODE = re.compile(r"```|^[ \t]*[{\[<|]|^(?: {4}|\t)\S", re.MULTILINE)
"""What reads better when all letters are equally wide: code, JSON, XML, tables."""


def cell_html(
    cells: Sequence[Row],
    scorers: Sequence[str] = (),
    *,
    against: Sequence[Row] | None = None,
    text_cap: int | None = TEXT_CAP,
) -> str:
    """What stands in one place: each different answer once, with the number of repeats that gave it.

    Args:
        cells: Repeats of one arm and prompt.
        scorers: Columns that hold scores.
        against: The cells of another arm: answers are shown as what differs from these.
        text_cap: Characters of each text that are shown; None shows all.
    """
    if not cells:
        return '<p class="nbc-none">not asked</p>'
    groups = answers(cells)
    return "".join(_answer_html(group, len(cells), scorers, against, text_cap) for group in groups)


def _answer_html(
    answer: Answer, of: int, scorers: Sequence[str], against: Sequence[Row] | None, text_cap: int | None
) -> str:
    body = _error_html(answer.row) if answer.is_error else _body_html(answer, against, text_cap)
    parts = (_head_html(answer, of, scorers), body, _foot_html(answer))
    return f'<div class="nbc-answer">{"".join(parts)}</div>'


def _head_html(answer: Answer, of: int, scorers: Sequence[str]) -> str:
    """How often it came, and its scores."""
    badges = [f'<span class="nbc-badge">{_times(answer, of)}</span>'] if of > 1 else []
    badges += [_score_html(answer.rows, scorer) for scorer in scorers if not answer.is_error or _has(answer, scorer)]
    return f'<p class="nbc-badges">{" ".join(badges)}</p>' if badges else ""


def _times(answer: Answer, of: int) -> str:
    if len(answer.rows) > 1:
        return f"{len(answer.rows)} identical"
    return f"repeat {(answer.row.get('repeat') or 0) + 1} of {of}"


def _has(answer: Answer, scorer: str) -> bool:
    return any(row.get(scorer) is not None for row in answer.rows)


def _score_html(rows: Sequence[Row], scorer: str) -> str:
    """A badge. Right and wrong carry a sign, so that nobody has to see the colour; a number is neither."""
    score = score_of(rows, scorer)
    marks = {1.0: (" nbc-right", "✓ "), 0.0: (" nbc-wrong", "✗ ")} if _says_yes_or_no(rows, scorer) else {}
    kind, sign = marks.get(score, ("", ""))  # type: ignore[arg-type]
    said = '<span class="nbc-unseen">not scored</span>' if score is None else ""
    return f'<span class="nbc-badge{kind}">{sign}{escape(scorer, 40)} <b>{escape(score_words(score))}</b>{said}</span>'


def _says_yes_or_no(rows: Sequence[Row], scorer: str) -> bool:
    return all(isinstance(row[scorer], bool) for row in rows if row.get(scorer) is not None)


def _error_html(row: Row) -> str:
    kind, line = escape(row.get("error_type") or "error"), escape(row.get("error") or "no reason was given", 500)
    return f'<p class="nbc-error"><span aria-hidden="true">⚠</span> <strong>{kind}</strong>: {line}</p>'


def _foot_html(answer: Answer) -> str:
    ending = "" if answer.is_error else ending_words(answer.row)
    warning = f'<p class="nbc-warning"><span aria-hidden="true">⚠</span> {escape(ending)}</p>' if ending else ""
    # Most providers ask nothing for a request that failed; they say so nowhere, so the cost is left out there.
    facts = "" if answer.is_error else facts_line(answer.rows)
    return warning + (f'<p class="nbc-facts"><small>{escape(facts)}</small></p>' if facts else "")


def _body_html(answer: Answer, against: Sequence[Row] | None, text_cap: int | None) -> str:
    other = None if against is None else _partner(answer.row, against)
    if not answer.text.strip() and other is None:
        return '<p class="nbc-none">the answer is empty</p>'
    if other is None:
        return text_html(answer.text, text_cap=text_cap)
    if other == answer.text:
        return text_html(answer.text, text_cap=text_cap, said="no difference")
    changed = difference_html(_cut(other, text_cap)[0], _cut(answer.text, text_cap)[0])
    return text_html(answer.text, text_cap=text_cap, inner=changed)


def _partner(row: Row, against: Sequence[Row]) -> str | None:
    """The answer of the same repeat; without one, the first answer there is."""
    answered = [other for other in against if other.get("status") != "error"]
    same = [other for other in answered if other.get("repeat") == row.get("repeat")]
    chosen = (same or answered)[:1]
    return str(chosen[0].get("text") or "") if chosen else None


def text_html(
    text: str, *, text_cap: int | None = TEXT_CAP, inner: str | None = None, said: str = "", long: int = LONG
) -> str:
    """A text of any length, folded when it is long.

    Args:
        text: What was written, by anybody.
        text_cap: Characters that are shown; None shows all.
        inner: HTML to show in place of the text; the fold still goes by the text.
        said: A remark of ours above it.
        long: Characters from which it is folded.
    """
    shown, left_out = _cut(text, text_cap)
    kind = " nbc-code" if _CODE.search(text[:5000]) else ""
    cut = f"<em>… {left_out:,} more characters</em>" if left_out else ""
    content = html.escape(visible(shown), quote=True) if inner is None else inner
    first = "\n" if content.startswith("\n") else ""  # HTML drops the first line break after <pre>
    words = f'<pre class="nbc-words{kind}">{first}{content}{cut}</pre>'
    remark = f'<p class="nbc-none">{escape(said)}</p>' if said else ""
    if len(text) <= long and text.count("\n") < LONG_LINES:
        return remark + words
    excerpt = escape(one_line(text[: 4 * _EXCERPT], _EXCERPT), _EXCERPT)
    more = f'<span class="nbc-more">all {len(text):,} characters</span>'
    return f'{remark}<details><summary><span class="nbc-excerpt">{excerpt} </span>{more}</summary>{words}</details>'


def _cut(text: str, cap: int | None) -> tuple[str, int]:
    return (text, 0) if cap is None or len(text) <= cap else (text[:cap], len(text) - cap)
