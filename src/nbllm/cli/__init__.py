"""`nbllm` on the command line: a function a command, over the same workspace as the magics.

Exit status: 0 done, 1 some of it failed, 2 wrong usage, 130 interrupted. Errors go to stderr as `error:` and `hint:`
lines. Without a command the help is shown, and the status is 2.
"""

from __future__ import annotations

import errno
import os
import sys
import traceback

from nbllm.cli import app as _app
from nbllm.cli.words import INTERRUPTED, in_shell, refuse_keys
from nbllm.errors import (
    CredentialError,
    ModelNotFoundError,
    NbllmError,
    PromptError,
    RegistryError,
    SettingsError,
    StoreError,
    UnsupportedError,
    UsageError,
    tracebacks_wanted,
)
from nbllm.foreign import visible

USAGE_ERRORS = (
    UsageError, PromptError, RegistryError, SettingsError, CredentialError, StoreError,
    ModelNotFoundError, UnsupportedError,
)  # fmt: skip
"""What the user can put right by calling again with other words or settings: exit status 2."""
_FULL = (errno.ENOSPC, errno.EDQUOT)
"""A disk with no room, or none for this user."""


def main(argv: list[str] | None = None) -> None:
    """Run one command and exit."""
    words = sys.argv[1:] if argv is None else argv
    status = _run(words)
    sys.exit(_flush() or status)


def _run(words: list[str]) -> int:
    try:
        refuse_keys(words, _app.options_of(words))
        result = _app.app(args=words, prog_name="nbllm", standalone_mode=False)
        return int(result) if isinstance(result, int) else 0
    except NbllmError as exc:
        return _say(exc)
    except (KeyboardInterrupt, EOFError):
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output has gone, as in `nbllm ... | head`
        return 1
    except Exception as exc:  # noqa: BLE001  (a person is shown a line, whatever happened)
        return _say_other(exc, words)
    finally:
        _app.close()


def _say_other(exc: Exception, words: list[str]) -> int:
    """Typer's own errors, which live in different packages from version to version, and our mistakes."""
    if type(exc).__name__ == "Abort":
        return INTERRUPTED
    context = getattr(exc, "ctx", None)
    if not hasattr(exc, "format_message"):
        return _say_unexpected(exc)
    if not words or type(exc).__name__ == "NoArgsIsHelpError":
        print(context.get_help() if context else exc.format_message(), file=sys.stderr)  # noqa: T201
        return 2
    path = getattr(context, "command_path", "nbllm")
    message = exc.format_message().rstrip(".")
    hint = f"`{path} --help` lists what it takes"
    if path == "nbllm chat" and "unexpected extra argument" in message:
        message, hint = "the question is more than one word of the command line", 'put it in quotes: nbllm chat "..."'
    return _say(UsageError(message, hint=hint))


def _say_unexpected(exc: Exception) -> int:
    from nbllm.credentials.redaction import redact  # noqa: PLC0415  (only here)

    if tracebacks_wanted():
        print(redact("".join(traceback.format_exception(exc))), file=sys.stderr, end="")  # noqa: T201
        return 1
    if isinstance(exc, OSError) and exc.errno in _FULL:
        return _say(NbllmError(f"cannot write: {redact(str(exc.strerror))}", hint=f"free some space{_where(exc)}"))
    said = redact(f"{type(exc).__name__}: {exc}")
    return _say(NbllmError(said, hint="this is a mistake in nbllm; NBLLM_DEBUG=1 shows where. Please report it"))


def _say(error: NbllmError) -> int:
    if tracebacks_wanted():
        traceback.print_exception(error)
    else:
        print(f"error: {visible(in_shell(error.message))}", file=sys.stderr)  # noqa: T201
        if error.hint:
            print(f"hint: {visible(in_shell(error.hint))}", file=sys.stderr)  # noqa: T201
    return 2 if isinstance(error, USAGE_ERRORS) else 1


def _where(exc: OSError) -> str:
    """What could not be written; the standard output has no name."""
    return f" for {exc.filename}" if exc.filename else " where the output goes"


def _flush() -> int:
    """Write what is left; a reader that has gone is no reason for a traceback at the very end.

    Returns:
        0, or 1 when the output could not be written: who reads it later must not take it for whole.
    """
    try:
        sys.stdout.flush()
    except (BrokenPipeError, ValueError):
        status = 0
    except OSError as exc:
        status = _say_unexpected(exc)
    else:
        return 0
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return status


__all__ = ["INTERRUPTED", "USAGE_ERRORS", "main"]
