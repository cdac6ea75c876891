"""The commands."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from nbllm.cli import compare as compare_command
from nbllm.cli import complete, upkeep
from nbllm.cli import config as config_commands
from nbllm.cli import configs as config_files
from nbllm.cli import fetch as fetch_command
from nbllm.cli import import_ as import_commands
from nbllm.cli import models as model_commands
from nbllm.cli import providers as provider_commands
from nbllm.cli import replay as replay_commands
from nbllm.cli.tool_configs import generate_configs
from nbllm.cli.words import assignments, read_text, show, warn

app = typer.Typer(
    name="nbllm",
    help="Language models in notebooks: the same core on the command line.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(provider_commands.app, name="providers")
app.add_typer(import_commands.app, name="import")
app.add_typer(model_commands.app, name="models")
app.add_typer(replay_commands.app, name="replay")
app.command("compare")(compare_command.compare)
app.command("config")(config_commands.config)
app.command("stats")(upkeep.stats)
app.command("clean")(upkeep.clean)
app.command("fetch")(fetch_command.fetch)
app.command("update-configs")(config_files.update_configs)
app.command("backup-configs")(config_files.backup_configs)
app.command("restore-configs")(config_files.restore_configs)
app.command("generate-configs")(generate_configs)


def options_of(words: Sequence[str]) -> set[str]:
    """The options with a value of the command that these words call."""
    command: Any = typer.main.get_command(app)
    for word in words:
        inner = getattr(command, "commands", {}).get(word)
        if inner is None:
            break
        command = inner
    return {o for p in command.params for o in p.opts if not getattr(p, "is_flag", False)}


def close() -> None:
    """Close what a command opened."""
    module = sys.modules.get("nbllm.workspace")
    if module is not None:
        module.forget_current()


@app.callback(invoke_without_command=True)
def _common(
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.", is_eager=True)] = False,
) -> None:
    if version:
        from nbllm import __version__  # noqa: PLC0415

        typer.echo(f"nbllm {__version__}")
        raise typer.Exit


@app.command()
def chat(
    text: Annotated[str, typer.Argument(help="The question; - reads it from standard input.")],
    model: Annotated[
        str | None,
        typer.Option("-m", "--model", metavar="REF", help="provider/model", autocompletion=complete.model_refs),
    ] = None,
    system: Annotated[
        str | None, typer.Option("-s", "--system", metavar="TEXT", help="Instructions above the conversation.")
    ] = None,
    temperature: Annotated[
        float | None, typer.Option("-t", "--temperature", metavar="X", help="Randomness, a number from 0.")
    ] = None,
    max_tokens: Annotated[
        int | None, typer.Option("--max-tokens", metavar="N", help="Longest answer, in tokens.")
    ] = None,
    param: Annotated[
        list[str] | None,
        typer.Option("-p", "--param", metavar="KEY=VALUE", help="Any other; VALUE is JSON, else a string; repeatable."),
    ] = None,
    preset: Annotated[
        str | None, typer.Option("--preset", metavar="NAME", help="Parameters kept under a name.")
    ] = None,
    conversation: Annotated[
        str, typer.Option("-c", "--conversation", metavar="NAME", help="Whose history goes along.")
    ] = "main",
    new: Annotated[bool, typer.Option("--new", help="Start that conversation afresh.")] = False,
    no_history: Annotated[bool, typer.Option("--no-history", help="Send nothing earlier.")] = False,
    attach: Annotated[
        list[str] | None, typer.Option("-a", "--attach", metavar="PATH", help="Picture, PDF or text file; repeatable.")
    ] = None,
    schema: Annotated[Path | None, typer.Option("--schema", metavar="FILE", help="JSON Schema file.")] = None,
    no_stream: Annotated[bool, typer.Option("--no-stream", help="Print the answer once, complete.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be sent; send nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the answer and its facts as JSON.")] = False,
) -> None:
    """One answer, streamed to the terminal."""
    from nbllm.chat.options import ChatOptions  # noqa: PLC0415  (the core: only for this command)
    from nbllm.cli.answer import Terminal, find_attachments, read_schema, show_dry_run  # noqa: PLC0415
    from nbllm.workspace import current  # noqa: PLC0415

    options = ChatOptions(
        model=model,
        system=system,
        temperature=temperature,
        max_tokens=max_tokens,
        params=assignments(param),
        preset=preset,
        attachments=find_attachments(attach or []),
        schema=read_schema(schema) if schema else None,
        schema_name=schema.stem if schema else None,
        conversation=conversation,
        new=new,
        history=not no_history,
    )
    question = read_text(text)
    if dry_run:
        show_dry_run(current().dry_run(question, options), as_json=as_json)
        return
    try:
        Terminal(current().ask(question, options), stream=not no_stream, as_json=as_json).complete()
    finally:
        if warning := current().store_warning():
            warn(f"warning: {warning}")


@app.command()
def lab(
    port: Annotated[int | None, typer.Option(min=1, max=65535, metavar="N", help="Port of the server.")] = None,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Do not open a browser.")] = False,
) -> int:
    """JupyterLab on a copy of the quickstart notebook."""
    from nbllm.cli.lab import start  # noqa: PLC0415

    return start(port=port, browser=not no_browser)


@app.command()
def doctor(as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> int:
    """Versions, paths, keyring, network, providers: what is well, and what to do where it is not."""
    from nbllm.cli.doctor import examine  # noqa: PLC0415

    findings = examine()
    if as_json:
        typer.echo(json.dumps([f.as_json() for f in findings], indent=1))
    else:
        for finding in findings:
            show(finding.to_text())
    return 1 if any(f.level == "error" for f in findings) else 0


@app.command("demo-server")
def demo_server(
    port: Annotated[int, typer.Option(min=0, max=65535, metavar="N", help="0 takes a free one.")] = 8321,
) -> None:
    """The demo provider on a loopback port, until interrupted."""
    from nbllm.cli.demo_server import serve  # noqa: PLC0415

    serve(port)
