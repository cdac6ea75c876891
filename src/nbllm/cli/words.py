"""Words of a command line: read, refused, and said as a shell knows them."""

from __future__ import annotations

import json
import re
import sys
import uuid
from collections.abc import Collection, Sequence
from typing import Any

import typer

from nbllm.errors import CredentialError, UsageError

INTERRUPTED = 130
"""The status of a command that was interrupted: 128 and the number of the signal, as shells have it."""

_MAGICS = (
    (re.compile(r"%llm_(providers|models|config|replay)"), r"nbllm \1"),
    (re.compile(r"%%?chat (\S+/\S+)"), r"nbllm chat -m \1 TEXT"),
    (re.compile(r"%%?chat\b"), "nbllm chat"),
)
_FREE_TEXT = ("-s", "--system")
_NAMES = ("-c", "--conversation")


def in_shell(text: str) -> str:
    """The commands of a shell in the place of the magics that the core's sentences name."""
    for magic, command in _MAGICS:
        text = magic.sub(command, text)
    return text


def show(text: str) -> None:
    """Print what a command found: one place, so that no magic is named to someone in a terminal."""
    typer.echo(in_shell(text))


def warn(text: str) -> None:
    """A line for the person, on stderr: stdout belongs to the result."""
    typer.echo(in_shell(text), err=True)


def assignments(items: Sequence[str] | None) -> dict[str, Any]:
    """`KEY=VALUE` words as a dict; a value is JSON where it can be read as such, else a string.

    Raises:
        UsageError: A word has no `=`. The value is not repeated.
    """
    found: dict[str, Any] = {}
    for item in items or ():
        name, equals, value = item.partition("=")
        if not equals or not name:
            raise UsageError("a parameter takes KEY=VALUE", hint="for example -p top_p=0.9")
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found


def read_text(text: str) -> str:
    """The question: the word itself, or with `-` all of standard input.

    Bytes that are not UTF-8 are shown to the model as replacement characters, since no request can carry them.
    """
    if text == "-":
        return sys.stdin.buffer.read().decode("utf-8", "replace")
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def refuse_keys(words: Sequence[str], takes_value: Collection[str]) -> None:
    """A key in an argument is in the shell's history and in the list of processes.

    The question of `chat` is not looked at: what is asked may look like anything.

    Args:
        words: The command line.
        takes_value: The options of the command that have a value.

    Raises:
        CredentialError: A word looks like a key. It is not repeated.
    """
    option = ""
    for word in words:
        if option or word.startswith("-") or words[0] != "chat":
            _refuse_key(option or word.partition("=")[0], word)
        option = word if not option and word in takes_value else ""


def _refuse_key(option: str, word: str) -> None:
    from nbllm.credentials.redaction import looks_like_key  # noqa: PLC0415  (only once there are words)

    value = word.partition("=")[2] if word.startswith("--") else word[2:] if word.startswith("-") else word
    if option in _NAMES and _is_uuid(value):
        return
    parts = [word, value, value.partition("=")[2], value.rpartition("=")[2]]
    if option not in _FREE_TEXT:
        parts += [piece for part in parts for piece in part.split()]  # `Authorization=Bearer KEY`
    if any(looks_like_key(part) for part in parts):
        raise CredentialError(
            "a key was typed on the command line; it was not used",
            hint="make a new key at the provider, since the shell's history keeps what is typed; then run "
            "`%llm_providers key ID`, which asks for it out of sight, or set the provider's environment variable",
        )


def _is_uuid(text: str) -> bool:
    """Programs name conversations so. Random hexadecimal has version and variant in their places once in 64 times."""
    try:
        return uuid.UUID(text).version is not None
    except ValueError:
        return False
