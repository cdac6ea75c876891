"""What `%%chat?` and its kin show: a page of the manual.

Synopsis, notes and examples are written by hand. The options come from the parsers themselves, so the page cannot
promise one that is not there or leave one out. It is put together when somebody asks, since `%load_ext` must not wait
for it: IPython looks for a `getdoc` before it looks at the docstring (`IPython.core.oinspect.getdoc`).
"""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from nbllm.notebook.magics.arguments import Arguments

WIDTH = 88
"""Columns of a page; the help of JupyterLab shows about 90 beside a notebook."""
_INDENT = "    "
_HELP_AT = 30

_Function = TypeVar("_Function", bound=Callable[..., Any])


def shown_by_question_mark(page: Callable[[], str]) -> Callable[[_Function], _Function]:
    """Let `?` behind the magic show this page instead of the short docstring."""

    def mark(function: _Function) -> _Function:
        setattr(function, "getdoc", page)  # noqa: B010  (a function has no such attribute that mypy knows)
        return function

    return mark


def manual(
    what: str,
    *,
    synopsis: str,
    notes: str,
    options: str,
    examples: Sequence[tuple[str, str]],
) -> str:
    """A page.

    Args:
        what: One sentence.
        synopsis: How it is called, a form a paragraph.
        notes: What a reader must know to use it; paragraphs are filled to `WIDTH`.
        options: From `described` or `described_verbs`.
        examples: What each does, and the cell.
    """
    notes = "\n\n".join(textwrap.fill(part.strip(), WIDTH) for part in notes.strip().split("\n\n"))
    shown = "\n\n".join(f"{textwrap.fill(said, WIDTH)}:\n\n{_indented(cell)}" for said, cell in examples)
    return "\n\n".join((what, _indented(synopsis), notes, options, f"Examples\n{'-' * 8}\n\n{shown}")) + "\n"


def wants_manual(words: Sequence[str]) -> bool:
    """Whether `--help` stands among the words of a line."""
    return "--help" in words


def described(parser: Arguments, title: str | None = None) -> str:
    """The options of a parser, a section for each of its groups; with a title, all in one."""
    sections = [(name, actions) for name, actions in parser.sections() if actions]
    if title is not None:
        sections = [(title, [action for _, actions in sections for action in actions])]
    return "\n\n".join(f"{name}\n{'-' * len(name)}\n{_rows(actions)}" for name, actions in sections)


def described_verbs(verbs: Iterable[tuple[str, str, Arguments]], above: Arguments | None = None) -> str:
    """What the verbs of a magic do, each with its options; an option is explained once.

    Args:
        verbs: The verb, what it does, and its parser.
        above: A parser that the page describes already.
    """
    known = {_said(action) for _, actions in above.sections() for action in actions} if above else set()
    lines = ["Verbs", "-----"]
    for verb, does, parser in verbs:
        actions = [action for _, found in parser.sections() for action in found]
        words = " ".join((verb, *(_placeholder(a) for a in actions if not a.option_strings)))
        lines.append(_row(words, does))
        options = [a for a in actions if a.option_strings]
        lines += [_row(f"  {_named(a)}", a.help or "") for a in options if _said(a) not in known]
        if again := [max(a.option_strings, key=len) for a in options if _said(a) in known]:
            lines.append(_row("  as above", ", ".join(again)))
        known |= {_said(a) for a in options}
    return "\n".join(lines)


def _said(action: argparse.Action) -> tuple[Any, ...]:
    return (*action.option_strings, action.help)


def _rows(actions: Iterable[argparse.Action]) -> str:
    return "\n".join(_row(_named(action), action.help or "") for action in actions)


def _row(name: str, text: str) -> str:
    lines = textwrap.wrap(text, WIDTH - _HELP_AT, break_on_hyphens=False) or [""]
    first = f"  {name}"
    rest = [" " * _HELP_AT + line for line in lines]
    if len(first) + 2 > _HELP_AT:
        return "\n".join((first, *rest))
    return "\n".join((f"{first:<{_HELP_AT}}{lines[0]}".rstrip(), *rest[1:]))


def _named(action: argparse.Action) -> str:
    names = ", ".join(action.option_strings)
    if action.option_strings and action.nargs == 0:
        return names
    return f"{names} {action.metavar or action.dest.upper()}" if names else _placeholder(action)


def _placeholder(action: argparse.Action) -> str:
    """A positional argument as the synopsis writes it."""
    word = str(action.metavar or action.dest.upper())
    return {"?": f"[{word}]", "*": f"[{word}...]", "+": f"{word}..."}.get(str(action.nargs), word)


def _indented(text: str) -> str:
    return textwrap.indent(textwrap.dedent(text).strip("\n"), _INDENT)
