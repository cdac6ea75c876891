r"""Formulas in model text: found before Markdown can touch them, handed to MathJax unchanged.

Markdown would eat `\(`, turn `_` into emphasis and `=` lines into headings. Two markdown-it rules take formulas out
first: `$x$`, `$$x$$`, `\(x\)`, `\[x\]` and the display environments of AMS LaTeX. What they find is the only part of an
answer that MathJax may look at, so "between $5 and $10" stays a sentence.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.rules_block import StateBlock
    from markdown_it.rules_inline import StateInline
    from markdown_it.token import Token

INLINE = "nbllm_maths"
BLOCK = "nbllm_maths_block"
PENDING = "nbllm_maths_pending"
"""The type of the token of a block that is still arriving."""

_CLOSERS = {
    "$$": re.compile(r"(?<!\\)\$\$"),
    "$": re.compile(r"(?<!\\)\$"),
    "\\(": re.compile(r"(?<!\\)\\\)"),
    "\\[": re.compile(r"(?<!\\)\\\]"),
}
_CLOSING_DOLLAR = re.compile(r"(?<!\s)\$(?![\w$])")
"""As in pandoc, the next dollar must close: no blank before it, no digit after it; here no letter either ("$A/$B")."""
_ENVIRONMENT = re.compile(
    r"\\begin\{((?:equation|align|alignat|flalign|gather|multline|eqnarray|displaymath|math)\*?)\}"
)
_AFTER_BLOCK = re.compile(r"\s*[.,;:!?]?\s*\Z")

_REFUSED = re.compile(
    r"\\(?:href|url|require|cssId|class|style|data|unicode|mmlToken|texttip|toggle|mathtip|includegraphics|html\w*"
    r"|csname|def|gdef|edef|xdef|let|futurelet|newcommand|renewcommand|providecommand|newenvironment"
    r"|renewenvironment|DeclareMathOperator|DeclarePairedDelimiters?\w*|begingroup|endgroup|endcsname)(?![A-Za-z])"
)


def is_safe(formula: str) -> bool:
    r"""Whether MathJax may have it: no links, styles or ids, nothing loaded, nothing (re)defined for the whole page.

    A `\def` or `\renewcommand` in one output changes the formulas of all others, and `\href` hides where it leads
    (measured in JupyterLab 4.6, whose MathJax refuses `javascript:` by itself; not every viewer's does).
    """
    return _REFUSED.search(formula) is None


def add_rules(md: MarkdownIt) -> None:
    """Have `md` recognise formulas."""
    md.inline.ruler.before("escape", INLINE, _inline)
    alternatives = {"alt": ["paragraph", "reference", "blockquote", "list"]}
    md.block.ruler.before("fence", BLOCK, _block, alternatives)  # type: ignore[arg-type]


# ---------------------------------------------------------------- inside a paragraph


def _inline(state: StateInline, silent: bool) -> bool:
    opener = _opener_at(state.src, state.pos)
    if opener is None:
        return False
    start = state.pos + len(opener)
    if opener == "$" and state.src[start : start + 1].strip() == "":
        return False
    end = _find_closer(state, opener, start)
    if end is None or not state.src[start : end - len(opener)].strip():
        return False
    if not silent:
        token = state.push(INLINE, "", 0)
        token.content = state.src[state.pos : end]
    state.pos = end
    return True


def _opener_at(text: str, position: int) -> str | None:
    if text[position] not in "$\\":
        return None
    pair = text[position : position + 2]
    if pair in _CLOSERS:
        return pair
    return "$" if pair[0] == "$" else None


def _find_closer(state: StateInline, opener: str, start: int) -> int | None:
    """Where the formula ends. Once nothing closes it, nothing closes a later one either: that keeps this linear."""
    hopeless: dict[str, tuple[str, int]] = state.env.setdefault("nbllm_unclosed", {})
    text, since = hopeless.get(opener, ("", 0))
    if text is state.src and start >= since:
        return None
    found = _CLOSERS[opener].search(state.src, start, state.posMax)
    if found is None:
        hopeless[opener] = (state.src, start)
        return None
    if opener == "$" and not _CLOSING_DOLLAR.match(state.src, found.start()):
        return None
    return found.end()


# ---------------------------------------------------------------- lines of their own


def _block(state: StateBlock, start_line: int, end_line: int, silent: bool) -> bool:
    if state.is_code_block(start_line):
        return False
    first = state.src[state.bMarks[start_line] + state.tShift[start_line] : state.eMarks[start_line]]
    opened = _block_opener(first)
    if opened is None:
        return False
    opener, closer = opened
    last, closed = _last_line(state, start_line, end_line, len(opener), closer)
    if not closed and not (state.env.get("partial") and last == end_line):
        return False
    if not silent:
        _push_block(state, start_line, last, closed)
    return True


def _block_opener(line: str) -> tuple[str, re.Pattern[str]] | None:
    for opener in ("$$", "\\["):
        if line.startswith(opener):
            return opener, _CLOSERS[opener]
    environment = _ENVIRONMENT.match(line)
    if environment is None:
        return None
    return environment[0], re.compile(r"\\end\{" + re.escape(environment[1]) + r"\}")


def _last_line(
    state: StateBlock, start_line: int, end_line: int, skip: int, closer: re.Pattern[str]
) -> tuple[int, bool]:
    """The line after the formula, and whether it is closed there, with at most a punctuation mark behind."""
    # Every line of a paragraph is tried: where a search came to nothing, a later start comes to nothing too.
    hopeless: dict[str, tuple[str, int, int]] = state.env.setdefault("nbllm_unclosed_block", {})
    text, since, until = hopeless.get(closer.pattern, ("", 0, 0))
    if text is state.src and since <= start_line < until:
        return until, False
    for number in range(start_line, end_line):
        begin = state.bMarks[number] + state.tShift[number]
        line = state.src[begin : state.eMarks[number]]
        if not line.strip() or (number > start_line and state.sCount[number] < state.blkIndent):
            hopeless[closer.pattern] = (state.src, start_line, number)
            return number, False
        found = closer.search(line, skip if number == start_line else 0)
        if found is not None:
            return number + 1, _AFTER_BLOCK.match(line, found.end()) is not None
    hopeless[closer.pattern] = (state.src, start_line, end_line)
    return end_line, False


def _push_block(state: StateBlock, start_line: int, last: int, closed: bool) -> None:
    token: Token = state.push(BLOCK if closed else PENDING, "", 0)
    token.block = True
    token.map = [start_line, last]
    token.content = state.getLines(start_line, last, state.sCount[start_line], False).strip()
    state.line = last
