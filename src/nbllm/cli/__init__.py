"""`nbllm` on the command line: a function a command, over the same workspace as the magics.

Exit status: 0 done, 1 some of it failed, 2 wrong usage. Errors go to stderr as `error:` and `hint:` lines.
"""

from __future__ import annotations

import os
import sys
import traceback

from nbllm.cli import app as _app
from nbllm.errors import CredentialError, NbllmError, PromptError, RegistryError, SettingsError, StoreError, UsageError

USAGE_ERRORS = (UsageError, PromptError, RegistryError, SettingsError, CredentialError, StoreError)
"""What the user can put right by calling again with other words or settings: exit status 2."""
_FREE = ("-s", "--system", "-c", "--conversation", "-a", "--attach", "-p", "--param", "--name", "--gguf")
"""Options whose value may be anything, also a UUID: only known shapes of keys are refused there."""


def main(argv: list[str] | None = None) -> None:
    """Run one command and exit."""
    words = sys.argv[1:] if argv is None else argv
    sys.exit(_run(words))


def _run(words: list[str]) -> int:
    try:
        _refuse_keys(words)
        result = _app.app(args=words, prog_name="nbllm", standalone_mode=False)
        return int(result) if isinstance(result, int) else 0
    except NbllmError as exc:
        return _say(exc)
    except (KeyboardInterrupt, EOFError):
        print("interrupted", file=sys.stderr)  # noqa: T201
        return 130
    except BrokenPipeError:  # the reader of our output has gone, as in `nbllm ... | head`
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
        return 0
    except Exception as exc:
        # Typer's own usage errors; the class lives in different packages from version to version.
        if not hasattr(exc, "format_message"):
            raise
        context = getattr(exc, "ctx", None)
        if not words or type(exc).__name__ == "NoArgsIsHelpError":
            print(context.get_help() if context else exc.format_message(), file=sys.stderr)  # noqa: T201
            return 2
        message = exc.format_message()
        path = getattr(context, "command_path", "nbllm")
        return _say(UsageError(message.rstrip("."), hint=f"`{path} --help` lists what it takes"))
    finally:
        _app.close()


def _refuse_keys(words: list[str]) -> None:
    from nbllm.credentials.typed import is_key_word  # noqa: PLC0415  (only once there are words)

    before = ("", *words)
    if any(is_key_word(word, free=name in _FREE) for name, word in zip(before, words, strict=False)):
        raise CredentialError(
            "a key was typed on the command line; it was not used",
            hint="make a new key at the provider, since the shell's history keeps what is typed; "
            "then set the provider's environment variable, or run `%llm_providers key ID` in a notebook",
        )


def _say(error: NbllmError) -> int:
    if os.environ.get("NBLLM_DEBUG") == "1":
        traceback.print_exception(error)
    else:
        print(f"error: {error.message}", file=sys.stderr)  # noqa: T201
        if error.hint:
            print(f"hint: {error.hint}", file=sys.stderr)  # noqa: T201
    return 2 if isinstance(error, USAGE_ERRORS) else 1


__all__ = ["main"]
