"""What stands around an answer: header, folds, warnings, footer, and the style of all of it.

Everything here is nbllm's own HTML. Foreign text comes in escaped, model text comes in rendered by `rendering`.
Markup is plain enough to read where a viewer drops the style, as an untrusted JupyterLab does.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from importlib.resources import files

from nbllm.foreign import escape
from nbllm.messages import FinishReason, Reply, ToolCall, ToolResult, Usage
from nbllm.notebook.rendering import show_hidden

TOOL_TEXT_CAP = 10_000
"""Characters of a tool's arguments or result that are shown."""

_WARNINGS = {
    FinishReason.LENGTH: "Cut: the answer reached its limit of tokens.",
    FinishReason.CONTENT_FILTER: "Stopped by the provider's content filter.",
    FinishReason.INTERRUPTED: "Interrupted: this is what had arrived.",
    FinishReason.BROKEN: "Broken off: this is what had arrived.",
}


@dataclass(frozen=True, slots=True)
class Frame:
    """The parts of one answer as it is shown. `body` and `reasoning` are sanitised HTML, the rest is text."""

    ref: str
    body: str = ""
    reasoning: str = ""
    reasoning_open: bool = False
    tool_rounds: tuple[tuple[ToolCall, ToolResult | None], ...] = ()
    notice: str = ""
    warnings: tuple[str, ...] = ()
    footer: str = ""
    busy: bool = False
    recorded: str | None = None
    """The day of the recording that the answer stands in: the same while it is recorded and when it is replayed."""

    def html(self) -> str:
        """The whole, under one root element."""
        busy = ' aria-busy="true"' if self.busy else ""
        parts = (
            f'<div class="nbllm"{busy}>{style()}',
            _header(self.ref, self.busy, self.recorded),
            _reasoning(self.reasoning, self.reasoning_open),
            *(_tool(call, result) for call, result in self.tool_rounds),
            f'<div class="nbllm-body mathjax_ignore tex2jax_ignore">{self.body}</div>' if self.body else "",
            f'<div class="nbllm-notice">{_text(self.notice)}</div>' if self.notice else "",
            *(f'<div class="nbllm-warning"><span class="nbllm-sign">⚠</span> {_text(w)}</div>' for w in self.warnings),
            f'<div class="nbllm-foot"><small>{_text(self.footer)}</small></div>' if self.footer else "",
            "</div>",
        )
        return "\n".join(p for p in parts if p)


def _text(words: str) -> str:
    return escape(words, 500)


def _header(ref: str, busy: bool, recorded: str | None) -> str:
    tag = ' <span class="nbllm-tag">demo</span>' if ref.startswith("demo/") else ""
    writing = ' <span class="nbllm-tag">answering …</span>' if busy else ""
    day = f' <span class="nbllm-tag">recorded {escape(recorded)}</span>' if recorded else ""
    return f'<div class="nbllm-head"><strong>{escape(ref)}</strong>{tag}{day}{writing}</div>'


def _reasoning(body: str, is_open: bool) -> str:
    if not body:
        return ""
    inner = f'<div class="nbllm-body mathjax_ignore tex2jax_ignore">{body}</div>'
    return _fold("Reasoning", inner, is_open=is_open)


def _tool(call: ToolCall, result: ToolResult | None) -> str:
    outcome = "not run" if result is None else "failed" if result.is_error else "ran"
    shown = _excerpt(call.arguments or "{}") + ("" if result is None else _excerpt(result.content))
    return _fold(f"Tool <code>{escape(call.name)}</code> {outcome}", shown)


def _fold(summary: str, inner: str, *, is_open: bool = False) -> str:
    state = " open" if is_open else ""
    return f'<details class="nbllm-fold"{state}><summary>{summary}</summary>{inner}</details>'


def _excerpt(text: str) -> str:
    cut = "" if len(text) <= TOOL_TEXT_CAP else f"\n… {len(text) - TOOL_TEXT_CAP:,} more characters"
    shown = html.escape(show_hidden(text[:TOOL_TEXT_CAP]), quote=False)
    return f'<div class="nbllm-code"><pre><code>{shown}{cut}</code></pre></div>'


def warnings_of(reply: Reply) -> tuple[str, ...]:
    """What a reader must know about this answer, beside its text.

    Who made the reply may have said why it ended; that it is not whole is said here in any case.
    """
    own = _WARNINGS.get(reply.finish_reason)
    if reply.finish_reason in (FinishReason.INTERRUPTED, FinishReason.BROKEN):
        return (str(own), *reply.warnings)
    if reply.warnings:
        return reply.warnings
    if own:
        return (own,)
    return () if reply.text.strip() or reply.tool_calls else ("The answer is empty.",)


def tools_of(reply: Reply) -> tuple[tuple[ToolCall, ToolResult | None], ...]:
    """Calls with their results, then the calls that were asked for and not run."""
    ran = {call.id for call, _ in reply.tool_rounds}
    return (*reply.tool_rounds, *((call, None) for call in reply.tool_calls if call.id not in ran))


def footer_of(reply: Reply) -> str:
    """Tokens and cost on one line. No times: the same answer gives the same line."""
    return f"{tokens_line(reply.usage)} · {cost_line(reply.cost_usd)}"


def tokens_line(usage: Usage) -> str:
    """For example `12 in (8 cached) · ~34 out (20 reasoning)`; `~` marks an estimate."""
    about = "~" if usage.source == "estimate" else ""
    into = _count(about, usage.prompt_tokens, "in", ((usage.cached_input_tokens, "cached"),))
    out = _count(about, usage.output_tokens, "out", ((usage.reasoning_tokens, "reasoning"),))
    return " · ".join(filter(None, (into, out))) or "tokens unknown"


def _count(about: str, number: int | None, word: str, parts: Sequence[tuple[int | None, str]]) -> str:
    if number is None:
        return ""
    inner = ", ".join(f"{about}{n:,} {name}" for n, name in parts if n)
    return f"{about}{number:,} {word}" + (f" ({inner})" if inner else "")


def cost_line(cost_usd: Decimal | None) -> str:
    """For example `$0.0012`. An unknown cost is not free, and says so."""
    if cost_usd is None:
        return "cost unknown"
    if cost_usd == 0:
        return "$0"
    digits = max(2, 1 - cost_usd.adjusted())  # two significant digits below a cent, cents above
    return f"${cost_usd:,.{digits}f}"


@cache
def style() -> str:
    """A `<style>` of our own making, the same for every answer, and bound to our root class."""
    css = files("nbllm.notebook").joinpath("answer.css").read_text(encoding="utf-8")
    css = re.sub(r"/\*.*?\*/", "", css, flags=re.DOTALL)
    css = re.sub(r"\s*([{};,>])\s*|\s+", lambda m: m[1] or " ", css)
    return f"<style>{css.strip()}</style>"
