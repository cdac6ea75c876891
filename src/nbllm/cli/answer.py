"""An answer in a terminal: the text on stdout as it comes, everything else on stderr."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import typer

from nbllm.chat.run import ChatRun
from nbllm.errors import PromptError
from nbllm.foreign import visible
from nbllm.messages import Reply


def print_answer(run: ChatRun, *, stream: bool, as_json: bool) -> None:
    """Read the answer to its end and print it.

    Raises:
        NbllmError: It could not be had; what arrived was printed.
    """
    shown: list[str] = []
    with run:
        for delta in run.deltas(on_tick=lambda: _countdown(run)):
            if stream and delta.text:
                shown.append(delta.text)
                sys.stdout.write(_safe(delta.text))
                sys.stdout.flush()
    reply = run.reply
    assert reply is not None
    if as_json:
        typer.echo(json.dumps({"text": reply.text, **reply.provenance()}, ensure_ascii=False, indent=1))
        return
    if not stream:
        sys.stdout.write(_safe(reply.text))
    if not reply.text.endswith("\n"):
        sys.stdout.write("\n")
    for warning in reply.warnings:
        typer.echo(f"warning: {warning}", err=True)
    if sys.stderr.isatty():
        typer.echo(_facts(reply), err=True)


def _safe(text: str) -> str:
    """A model must not steer the terminal; a file or pipe gets the text as it is."""
    return visible(text) if sys.stdout.isatty() else text


def _countdown(run: ChatRun) -> None:
    notice = run.notice()
    if notice and sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[2K{visible(notice)}")
        sys.stderr.flush()


def _facts(reply: Reply) -> str:
    usage, mark = reply.usage, "~" if reply.usage.source == "estimate" else ""
    tokens = f"{mark}{usage.prompt_tokens} in, {mark}{usage.output_tokens} out"
    cost = "cost unknown" if reply.cost_usd is None else f"{reply.cost_usd:.6f} USD"
    return f"[{reply.ref}: {tokens}; {cost}]"


def read_schema(path: Path) -> Any:
    """A JSON Schema from a file.

    Raises:
        PromptError: It is missing or not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise PromptError(f"cannot read the schema {path}: {exc.strerror or exc}") from exc
    except ValueError as exc:
        raise PromptError(f"the schema {path} is not JSON: {exc}") from exc
