"""How a magic's line is read.

The line is split by our own rules, since a shell's fit neither prompts (`what's that?`) nor Windows paths: words are
separated by spaces; a quote opens a group only at the start of a word or after `=`; a backslash escapes only the
group's own quote. Whatever does not fit is one `UsageError` that never repeats a value, which might be a key.
"""

from __future__ import annotations

import argparse
import difflib
import json
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

from nbllm.errors import CredentialError, UsageError

_FREE = ("--system", "--conversation", "--attach", "--param", "--name", "--gguf")
"""Options whose value may be anything, also a UUID: only known shapes of keys are refused there."""
_USAGE_SHOWN = 250
"""Characters of usage that still read as a hint."""


class Arguments(argparse.ArgumentParser):
    """An argument parser for one magic or one verb of it."""

    def __init__(self, prog: str, description: str = "") -> None:
        super().__init__(prog=prog, description=description, add_help=False, allow_abbrev=False, exit_on_error=False)

    def error(self, message: str) -> NoReturn:
        """Turn argparse's exit into an error of ours."""
        raise UsageError(f"{self.prog}: {message}", hint=self._usage_hint())

    def _usage_hint(self) -> str:
        usage = self.usage_line()
        return f"usage: {usage}" if len(usage) <= _USAGE_SHOWN else f"`{self.prog} --help` lists what it takes"

    def usage_line(self) -> str:
        """The usage on one line, without its label."""
        return " ".join(self.format_usage().split()).removeprefix("usage: ")

    def option_names(self) -> list[str]:
        """The options, short and long."""
        return [o for a in self._actions for o in a.option_strings]

    def sections(self) -> Iterator[tuple[str, list[argparse.Action]]]:
        """The titles of the argument groups, each with what is to be shown of it."""
        for group in self._action_groups:
            shown = [a for a in group._group_actions if a.help != argparse.SUPPRESS]
            yield group.title or "", shown

    def read(self, words: Sequence[str]) -> argparse.Namespace:
        """Parse words.

        Raises:
            UsageError: They do not fit.
            CredentialError: One of them looks like a key.
        """
        glued = self._glued(words)
        refuse_keys(glued)
        try:
            found, rest = self.parse_known_args(glued)
        except argparse.ArgumentError as exc:
            self.error(_without_value(exc))
        if rest:
            self._refuse(rest)
        return found

    def _glued(self, words: Sequence[str]) -> list[str]:
        """`-s -x` becomes `--system=-x`, so that a value may start with a dash."""
        takes_value = {o: a for a in self._actions for o in a.option_strings if a.nargs is None}
        glued: list[str] = []
        waiting = iter(words)
        for word in waiting:
            if word in takes_value:
                name = max(takes_value[word].option_strings, key=len)
                value = next(waiting, None)
                if value is None:
                    self.error(f"the option {word} needs a value")
                glued.append(f"{name}={value}")
            else:
                glued.append(word)
        return glued

    def _refuse(self, rest: Sequence[str]) -> NoReturn:
        flags = [w.partition("=")[0] for w in rest if w.startswith("-")]
        if not flags:
            self.error(f"{len(rest)} word{'s' if len(rest) > 1 else ''} too many; values with spaces are quoted")
        close = difflib.get_close_matches(flags[0], self.option_names(), n=2, cutoff=0.7)
        meant = f"did you mean {' or '.join(close)}? " if close else ""
        raise UsageError(f"{self.prog}: there is no option {flags[0]}", hint=meant + self._usage_hint())


def _without_value(error: argparse.ArgumentError) -> str:
    """argparse repeats a refused value in its message."""
    name = error.argument_name or "an argument"
    said = error.message or "does not fit"
    return f"{name}: {said.partition(':')[0]}" if "invalid" in said and "choice" not in said else f"{name}: {said}"


def refuse_keys(words: Sequence[str]) -> None:
    """A key in a cell is in the notebook, its checkpoints and the history.

    Args:
        words: Single words, or `--option=value` with the option's long name.

    Raises:
        CredentialError: A word is a key or has one in it. It is not repeated.
    """
    from nbllm.credentials.typed import is_key_word  # noqa: PLC0415  (not needed before a magic runs)

    if any(is_key_word(word, free=word.partition("=")[0] in _FREE) for word in words):
        raise key_was_typed()


def key_was_typed() -> CredentialError:
    """The error for a key in a cell."""
    return CredentialError(
        "a key was typed into the cell; it was not used",
        hint="make a new key at the provider, since the notebook keeps what is typed; "
        "then run `%llm_providers key ID`, which asks for it out of sight",
    )


def split(line: str) -> list[str]:
    """The words of a line, up to a comment: IPython hands comments over to a magic.

    Raises:
        UsageError: A quote is not closed.
    """
    words = []
    rest = line.strip()
    while rest and not rest.startswith("#"):
        word, rest = _next_word(rest)
        words.append(word)
    return words


def split_options(line: str, parser: Arguments) -> tuple[list[str], str]:
    """The options at the start of a line, and what follows them, untouched."""
    takes_value = {o for a in parser._actions for o in a.option_strings if a.nargs is None}
    words: list[str] = []
    rest = line.strip()
    while rest.startswith("-") and rest[1:2] not in ("", " "):
        word, rest = _next_word(rest)
        if word == "--":
            break
        words.append(word)
        if word in takes_value and rest:
            value, rest = _next_word(rest)
            words.append(value)
    return words, rest


def _next_word(text: str) -> tuple[str, str]:
    word: list[str] = []
    at = 0
    while at < len(text) and not text[at].isspace():
        if text[at] in "'\"" and (not word or word[-1] == "="):
            group, at = _group(text, at)
            word.append(group)
        else:
            word.append(text[at])
            at += 1
    return "".join(word), text[at:].lstrip()


def _group(text: str, start: int) -> tuple[str, int]:
    quote, at = text[start], start + 1
    group: list[str] = []
    while at < len(text):
        if text[at] == "\\" and text[at + 1 : at + 2] == quote:
            group.append(quote)
            at += 2
        elif text[at] == quote:
            return "".join(group), at + 1
        else:
            group.append(text[at])
            at += 1
    raise UsageError(f"a quotation mark ({quote}) is not closed", hint="quote values that contain spaces")


def assignment(text: str) -> tuple[str, Any]:
    """`key=value`: the value is JSON where it can be read as such, else a string."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise argparse.ArgumentTypeError("takes KEY=VALUE")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def pairs(items: Sequence[tuple[str, Any]] | None) -> dict[str, Any]:
    """Repeated assignments as a dict; the last one of a key counts."""
    return dict(items or ())
