"""The one way in which model text becomes HTML.

Markdown without raw HTML (markdown-it-py), then an allow-list of tags, attributes and link schemes (nh3). Pictures,
scripts, styles and relative links cannot come out, whatever goes in. In JupyterLab anything less runs as the user.
The libraries are imported on first use.
"""

from __future__ import annotations

import html
import logging
import re
import unicodedata
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from nbllm.foreign import escape, one_line, visible
from nbllm.notebook import maths

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.rules_core import StateCore
    from markdown_it.token import Token

logger = logging.getLogger(__name__)

FORMAT_CAP = 1_000_000
"""Characters beyond which an answer is shown as plain text: formatting takes about a second for each 900,000."""
HIGHLIGHT_CAP = 100_000
"""Characters of a code block that is still coloured."""

_TAGS = "a blockquote br code div em h1 h2 h3 h4 h5 h6 hr li ol p pre s span strong table tbody td th thead tr ul"
_SCHEMES = ("http", "https", "mailto")
_MATHS_CLASSES = "mathjax_process tex2jax_process"
"""MathJax 3 and 4 (JupyterLab, Notebook) and MathJax 2 (nbconvert): process this although the answer is ignored."""

_LANGUAGES = """
python py python3 pycon ipython bash sh shell zsh console fish powershell bat c cpp c++ csharp cs java
javascript js jsx typescript ts tsx json jsonc yaml yml toml ini cfg html xml css scss sql sqlite
postgresql r julia go rust ruby rb php perl lua scala kotlin swift haskell ocaml elixir erlang clojure
lisp scheme matlab octave fortran cuda diff make makefile cmake docker dockerfile nginx http graphql
protobuf tex latex markdown md rst
"""
"""What is coloured. A fixed list: model text must not decide which lexer (a plugin's, a slow one) runs."""


def render_markdown(text: str, *, highlight: bool = False, partial: bool = False) -> str:
    """Model text as sanitised HTML.

    Args:
        text: Markdown, as it came.
        highlight: Colour code blocks (CSS classes of Pygments; the colours are in `answer.css`).
        partial: The text is still arriving: a formula that is not closed yet is shown as such.
    """
    source = _normalised(text)
    env = {"highlight": highlight, "partial": partial}
    return _guarded(source, lambda: _clean(_markdown().render(source, env)))


class GrowingText:
    """Renders a text again and again while it grows, at the cost of its unfinished end.

    Blocks before the last one cannot change any more (but for links whose target is defined later), so their HTML
    is kept. The final picture comes from `render_markdown` over the whole text, not from here.
    """

    def __init__(self) -> None:
        self._finished_chars = 0
        self._finished: list[str] = []
        self._env: dict[str, Any] = {"highlight": False, "partial": True}

    def render(self, text: str) -> str:
        """The HTML of `text`, which begins with what was given before."""
        source = _normalised(text)
        return _guarded(source, lambda: self._render(source))

    def _render(self, source: str) -> str:
        md, tail = _markdown(), source[self._finished_chars :]
        tokens = md.parse(tail, self._env)
        at, line = _last_block(tokens)
        if line:
            self._finished.append(_clean(md.renderer.render(tokens[:at], md.options, self._env)))
            self._finished_chars += _offset_of_line(tail, line)
        return "".join(self._finished) + _clean(md.renderer.render(tokens[at:], md.options, self._env))


def _last_block(tokens: Sequence[Token]) -> tuple[int, int]:
    """Where the last top-level block begins: its token and its line."""
    for at in range(len(tokens) - 1, -1, -1):
        token = tokens[at]
        if token.level == 0 and token.nesting >= 0 and token.map:
            return at, token.map[0]
    return 0, 0


def _offset_of_line(text: str, line: int) -> int:
    at = 0
    for _ in range(line):
        at = text.index("\n", at) + 1
    return at


def _guarded(source: str, render: Callable[[], str]) -> str:
    """An answer is never lost to a fault in formatting it: then it is shown as plain text."""
    if len(source) > FORMAT_CAP:
        return plain_html(source)
    try:
        return render()
    except Exception:  # recorded; the text itself must reach the reader
        logger.warning("an answer could not be formatted and is shown as plain text", exc_info=True)
        return plain_html(source)


def plain_html(text: str) -> str:
    """Text as it is, in HTML: nothing is interpreted."""
    return f'<pre class="nbllm-plain">{html.escape(show_hidden(text), quote=False)}</pre>'


# ---------------------------------------------------------------- characters that mislead


def show_hidden(text: str) -> str:
    """Control, bidirectional and zero-width characters as `<U+202E>`.

    Joiners stay where writing needs them: inside an emoji and between letters of Arabic and Indic scripts.
    """
    hidden = "".join(c for c in set(text) if visible(c) != c)
    if not hidden:
        return text
    return re.sub(f"{_FLAG}|[{re.escape(hidden)}]", _shown, text)


_FLAG = "\U0001f3f4[\U000e0061-\U000e007a]{2,6}\U000e007f"
"""A regional flag (Scotland) spells its name in invisible tag characters; anywhere else those smuggle text."""


def _shown(match: re.Match[str]) -> str:
    char, at, text = match[0], match.start(), match.string
    if len(char) > 1:
        return char
    if char in "\u200c\u200d" and 0 < at < len(text) - 1 and _joins(char, text[at - 1], text[at + 1]):
        return char
    return visible(char)


def _joins(joiner: str, before: str, after: str) -> bool:
    if joiner == "\u200d" and _is_emoji(before) and _is_emoji(after):
        return True
    return all(0x0600 <= ord(c) <= 0x109F or 0x1780 <= ord(c) <= 0x18AF for c in (before, after))


def _is_emoji(char: str) -> bool:
    return unicodedata.category(char) == "So" or char == "\ufe0f" or 0x1F3FB <= ord(char) <= 0x1F3FF


def _normalised(text: str) -> str:
    return show_hidden(text.replace("\r\n", "\n").replace("\r", "\n"))


# ---------------------------------------------------------------- Markdown


@cache
def _markdown() -> MarkdownIt:
    from markdown_it import MarkdownIt  # noqa: PLC0415  (70 ms, and only an answer needs it)

    md = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
    maths.add_rules(md)
    md.core.ruler.push("nbllm_links", _mark_links)
    rules: dict[str, Callable[..., str]] = {
        "image": _image,
        "fence": _code,
        "code_block": _code,
        "nbllm_target": _target,
        maths.INLINE: _formula,
        maths.BLOCK: _formula_block,
        maths.PENDING: _formula_pending,
        "th_open": _cell,
        "td_open": _cell,
    }
    for name, rule in rules.items():
        md.renderer.rules[name] = rule  # type: ignore[attr-defined]
    return md


def _clean(raw: str) -> str:
    import nh3  # noqa: PLC0415  (only an answer needs it)

    return nh3.clean(
        raw,
        tags=set(_TAGS.split()),
        attributes={"a": {"href", "title"}, "ol": {"start"}},
        allowed_classes=_classes(),
        url_schemes=set(_SCHEMES),
        url_relative="deny",
        link_rel="noopener noreferrer nofollow",
    )


@cache
def _classes() -> dict[str, set[str]]:
    from pygments.token import STANDARD_TYPES  # noqa: PLC0415  (23 ms, and only an answer needs it)

    ours = {"nbllm-target", "nbllm-image", *_MATHS_CLASSES.split()}
    cells = {"nbllm-left", "nbllm-center", "nbllm-right"}
    return {
        "span": {name for name in STANDARD_TYPES.values() if name} | ours,
        "div": {"nbllm-code", "nbllm-maths", *_MATHS_CLASSES.split()},
        "pre": {"nbllm-pending", "nbllm-plain"},
        "th": cells,
        "td": cells,
    }


def _image(tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
    """A picture would be fetched, and with it goes whatever the address says."""
    token = tokens[at]
    words = ("image blocked:", token.content, str(token.attrs.get("src", "")))
    return f'<span class="nbllm-image">[{html.escape(" ".join(w for w in words if w), quote=False)}]</span>'


def _code(tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
    token = tokens[at]
    language = (token.info or "").strip().split(maxsplit=1)
    inner = _coloured(token.content, language[0].lower()) if env.get("highlight") and language else None
    if inner is None:
        inner = html.escape(token.content, quote=False)
    return f'<div class="nbllm-code"><pre><code>{inner}</code></pre></div>\n'


def _coloured(code: str, language: str) -> str | None:
    if language not in _LANGUAGES.split() or len(code) > HIGHLIGHT_CAP:
        return None
    from pygments import highlight  # noqa: PLC0415  (23 ms, and only the final picture needs it)
    from pygments.formatters import HtmlFormatter  # noqa: PLC0415
    from pygments.lexers import get_lexer_by_name  # noqa: PLC0415
    from pygments.util import ClassNotFound  # noqa: PLC0415

    try:
        lexer = get_lexer_by_name(language, stripnl=False, ensurenl=False)
    except ClassNotFound:
        return None
    return str(highlight(code, lexer, HtmlFormatter(nowrap=True)))


def _formula(tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
    formula = tokens[at].content
    shown = html.escape(formula, quote=False)
    if not maths.is_safe(formula):
        return f"<code>{shown}</code>"
    return f'<span class="{_MATHS_CLASSES}">{shown}</span>'


def _formula_block(tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
    formula = tokens[at].content
    shown = html.escape(formula, quote=False)
    if not maths.is_safe(formula):
        return f'<div class="nbllm-code"><pre><code>{shown}</code></pre></div>\n'
    return f'<div class="nbllm-maths {_MATHS_CLASSES}">{shown}</div>\n'


def _formula_pending(tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
    return f'<pre class="nbllm-pending">{html.escape(tokens[at].content, quote=False)}</pre>\n'


def _cell(tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
    """Alignment as a class of ours, since no `style` attribute passes."""
    token = tokens[at]
    side = str(token.attrs.get("style", "")).removeprefix("text-align:")
    return f'<{token.tag} class="nbllm-{side}">' if side else f"<{token.tag}>"


# ---------------------------------------------------------------- links


def _mark_links(state: StateCore) -> None:
    """Put the real target behind every link whose text does not say it; undo links that lead nowhere outside."""
    for block in state.tokens:
        if block.type == "inline" and block.children:
            block.children = _with_targets(block.children)


def _with_targets(tokens: list[Token]) -> list[Token]:
    shown: list[Token] = []
    opening: Token | None = None
    words: list[str] = []
    for token in tokens:
        shown.append(token)
        if token.type == "link_open":
            opening, words = token, []
        elif token.type == "link_close" and opening is not None:
            _finish_link(shown, opening, "".join(words))
            opening = None
        elif opening is not None:
            words.append(token.content)
    return shown


def _finish_link(shown: list[Token], opening: Token, words: str) -> None:
    href = str(opening.attrs.get("href", ""))
    scheme, target = _target_of(href)
    if scheme not in _SCHEMES:
        _neutralise(opening)
        _neutralise(shown[-1])
    if target and _target_of(words.strip())[1] != target and words.strip() != target:
        shown.append(_text_token("nbllm_target", target))


def _target_of(href: str) -> tuple[str, str]:
    """Scheme, and what tells a reader where a link goes: host and port, a mail address, or the whole relative path."""
    try:
        parts = urlsplit(href)
        host = parts.hostname or ""
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "", href
    if parts.scheme in ("http", "https"):
        return parts.scheme if host else "", host + port or href
    return parts.scheme, parts.path if parts.scheme == "mailto" else href


def _neutralise(token: Token) -> None:
    token.type, token.tag, token.nesting, token.content, token.attrs = "text", "", 0, "", {}


def _text_token(kind: str, content: str) -> Token:
    from markdown_it.token import Token  # noqa: PLC0415  (loaded with markdown_it, on first use)

    return Token(kind, "", 0, content=content)


def _target(tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
    return f' <span class="nbllm-target">({escape(one_line(tokens[at].content, 80))})</span>'
