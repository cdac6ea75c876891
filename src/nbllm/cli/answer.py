"""An answer in a terminal: the text on stdout as it comes, everything else on stderr."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from decimal import Decimal
from pathlib import Path
from typing import Any

import typer

from nbllm.chat.dry import DryRun
from nbllm.chat.run import ChatRun
from nbllm.cli.words import warn
from nbllm.errors import NbllmError, PromptError
from nbllm.foreign import visible
from nbllm.messages import Reply

_CLEAR_LINE = "\r\x1b[2K"


class Terminal:
    """Shows one answer.

    Args:
        run: The question.
        stream: Show the text as it comes; else once, complete.
        as_json: Print JSON instead, once.
    """

    def __init__(self, run: ChatRun, *, stream: bool, as_json: bool) -> None:
        self._run = run
        self._stream = stream and not as_json
        self._as_json = as_json
        self._last = "\n"
        """The last character on stdout."""
        self._counting = False

    def complete(self) -> None:
        """Read the answer to its end and print it.

        Raises:
            NbllmError: It could not be had; what arrived was printed.
            KeyboardInterrupt: The user stopped it; what arrived was printed, and is in the store.
        """
        try:
            self._read()
        except KeyboardInterrupt:
            self._end()
            warn("interrupted; what arrived is kept" if self._arrived else "interrupted")
            raise
        except NbllmError:
            self._end()
            raise
        self._end()

    @property
    def _arrived(self) -> bool:
        return self._run.reply is not None and bool(self._run.reply.text)

    def _read(self) -> None:
        with self._run:
            for delta in self._run.deltas(on_tick=self._count_down):
                if delta.text:
                    self._clear()
                if self._stream:
                    self._write(delta.text)

    def _write(self, text: str) -> None:
        if text:
            self._last = text[-1]
            sys.stdout.write(_safe(text))
            sys.stdout.flush()

    def _end(self) -> None:
        self._clear()
        reply = self._run.reply
        if reply is None:
            self._end_line()
            return
        if self._as_json:
            facts = {"text": reply.text, "reasoning": reply.reasoning, "parsed": reply.parsed, **reply.provenance()}
            typer.echo(json.dumps(facts, ensure_ascii=False, indent=1, default=_as_json))
        else:
            self._write("" if self._stream else reply.text)
            self._end_line()
        for warning in reply.warnings:
            warn(f"warning: {visible(warning)}")
        if sys.stderr.isatty():
            warn(_facts(reply))

    def _end_line(self) -> None:
        if self._last != "\n":
            self._write("\n")

    def _count_down(self) -> None:
        notice = self._run.notice()
        if notice and sys.stderr.isatty():
            self._counting = True
            sys.stderr.write(f"{_CLEAR_LINE}{visible(notice)}")
            sys.stderr.flush()

    def _clear(self) -> None:
        if self._counting:
            self._counting = False
            sys.stderr.write(_CLEAR_LINE)
            sys.stderr.flush()


def _as_json(value: Any) -> Any:
    """`parsed` may be an instance of a pydantic class."""
    dump = getattr(value, "model_dump", None)
    return dump(mode="json") if dump is not None else str(value)


def _safe(text: str) -> str:
    """A model must not steer the terminal; a file or pipe gets the text as it is."""
    return visible(text) if sys.stdout.isatty() else text


def _facts(reply: Reply) -> str:
    usage, mark = reply.usage, "~" if reply.usage.source == "estimate" else ""
    tokens = f"{_count(usage.prompt_tokens, mark)} in, {_count(usage.output_tokens, mark)} out"
    cost = "cost unknown" if reply.cost_usd is None else f"{reply.cost_usd:.6f} USD"
    return visible(f"[{reply.ref}: {tokens}; {cost}]")


def _count(number: int | None, mark: str) -> str:
    return "?" if number is None else f"{mark}{number}"


def read_schema(path: Path) -> Any:
    """A JSON Schema from a file.

    Raises:
        PromptError: It is missing or not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise PromptError(
            f"cannot read the schema {path}: {exc.strerror or exc}", hint="--schema takes a file with a JSON Schema"
        ) from exc
    except ValueError as exc:
        raise PromptError(
            f"the schema {path} is not JSON: {exc}", hint="--schema takes a file with a JSON Schema"
        ) from exc


def find_attachments(names: list[str]) -> list[Path]:
    """The files that are named.

    Raises:
        PromptError: One is not there.
    """
    found = [Path(name).expanduser() for name in names]
    for path in found:
        if not path.is_file():
            raise PromptError(f"there is no file {path} to attach", hint="-a takes the path of a file")
    return found


def show_dry_run(dry: DryRun, *, as_json: bool) -> None:
    """What would be sent, for a person or for a program."""
    if as_json:
        facts = {
            **asdict(dry),
            "prompt_cost_usd": _money(dry.prompt_cost_usd),
            "max_cost_usd": _money(dry.max_cost_usd),
        }
        typer.echo(json.dumps(facts, ensure_ascii=False, indent=1, default=str))
    else:
        typer.echo(_safe(dry.to_text()))


def _money(amount: Decimal | None) -> float | None:
    return None if amount is None else float(amount)
