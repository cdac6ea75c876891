"""`nbllm providers ...`: as the magic."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from nbllm.cli import complete
from nbllm.cli.words import assignments, show
from nbllm.errors import ExportError, UsageError

app = typer.Typer(
    help="Who can be asked, with which key, and whether they answer.", no_args_is_help=True, rich_markup_mode=None
)

_Id = Annotated[str, typer.Argument(metavar="ID", autocompletion=complete.provider_ids)]
_NewId = Annotated[str, typer.Argument(metavar="ID")]
_Ids = Annotated[list[str], typer.Argument(metavar="ID...", autocompletion=complete.provider_ids)]
_BaseUrl = Annotated[
    str | None, typer.Option("--base-url", metavar="URL", help="Address; openai and gemini with the version path.")
]
_Kind = Annotated[
    str | None,
    typer.Option("--kind", metavar="KIND", help="Wire format; default: openai.", autocompletion=complete.kinds),
]
_Name = Annotated[str | None, typer.Option("--name", metavar="NAME", help="Name for people.")]
_Env = Annotated[
    list[str] | None, typer.Option("--env", metavar="VAR", help="Variable that may hold the key; repeatable.")
]
_Header = Annotated[
    list[str] | None, typer.Option("--header", metavar="K=V", help="Header of every request; repeatable; never a key.")
]
_Param = Annotated[
    list[str] | None, typer.Option("--param", metavar="K=V", help="Parameter of every chat; repeatable.")
]
_Model = Annotated[
    list[str] | None, typer.Option("--model", metavar="M", help="A model that the listing lacks; repeatable.")
]
_Gguf = Annotated[Path | None, typer.Option("--gguf", metavar="PATH", help="A model file to serve on this machine.")]
_Auth = Annotated[str | None, typer.Option("--auth", metavar="SCHEME", help="How the key is sent.")]
_Confirm = Annotated[bool, typer.Option("--confirm-http", help="Agree to plain http beyond this machine.")]


def _workspace() -> Any:
    from nbllm.workspace import current  # noqa: PLC0415  (only when a command runs)

    return current()


@app.command("list")
def list_(
    every: Annotated[bool, typer.Option("--all", help="Also those that cannot be used now.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """The providers that can be used now."""
    table = _workspace().providers(every=every)
    if as_json:
        typer.echo(json.dumps(table.as_json(), indent=1))
    else:
        show(table.to_text())


@app.command("show")
def show_(id: _Id) -> None:
    """Everything that is known of one provider, and where each value comes from."""
    show(_workspace().overview.describe(id).to_text())


@app.command()
def add(
    id: _NewId, base_url: _BaseUrl = None, kind: _Kind = None, name: _Name = None, env: _Env = None,
    header: _Header = None, param: _Param = None, model: _Model = None, gguf: _Gguf = None,
    auth: _Auth = None, confirm_http: _Confirm = False,
) -> None:  # fmt: skip
    """Add a provider: --base-url URL, or --gguf PATH."""
    fields = _fields(base_url, kind, name, env, header, param, model, gguf, auth, confirm_http)
    if not base_url and not gguf:
        raise UsageError("providers add: where is it?", hint="give --base-url URL or --gguf PATH")
    _say(_workspace().overview.add(id, fields))


@app.command()
def edit(
    id: _Id, base_url: _BaseUrl = None, kind: _Kind = None, name: _Name = None, env: _Env = None,
    header: _Header = None, param: _Param = None, model: _Model = None, gguf: _Gguf = None,
    auth: _Auth = None, confirm_http: _Confirm = False,
) -> None:  # fmt: skip
    """Change a provider."""
    fields = _fields(base_url, kind, name, env, header, param, model, gguf, auth, confirm_http)
    if not fields:
        raise UsageError("providers edit: nothing to change was given", hint="for example --base-url URL")
    _say(_workspace().overview.edit(id, fields))


def _fields(
    base_url: str | None, kind: str | None, name: str | None, env: list[str] | None, header: list[str] | None,
    param: list[str] | None, model: list[str] | None, gguf: Path | None, auth: str | None,
    confirm_http: bool,
) -> dict[str, Any]:  # fmt: skip
    fields = {
        "base_url": base_url,
        "kind": kind,
        "name": name,
        "env": env,
        "headers": {k: str(v) for k, v in assignments(header).items()} or None,
        "params": assignments(param) or None,
        "models": model,
        "auth": auth,
        "gguf": str(gguf.expanduser().resolve()) if gguf else None,
        "confirmed_http": confirm_http or None,
    }
    return {k: v for k, v in fields.items() if v is not None and v != []}


@app.command()
def remove(ids: _Ids) -> None:
    """Remove providers of your own, or your changes to one that came with nbllm."""
    _say(_workspace().registry.remove(ids) or [f"{i}: removed" for i in ids])


@app.command()
def enable(ids: _Ids) -> None:
    """Offer these providers again."""
    _workspace().registry.set_enabled(ids, True)
    _say([f"{i}: enabled" for i in ids])


@app.command()
def disable(ids: _Ids) -> None:
    """Do not offer these providers."""
    _workspace().registry.set_enabled(ids, False)
    _say([f"{i}: disabled" for i in ids])


@app.command("test")
def check(
    ids: Annotated[list[str] | None, typer.Argument(metavar="[ID...]", autocompletion=complete.provider_ids)] = None,
    model: Annotated[str | None, typer.Option("--model", metavar="M", help="With a one-token chat.")] = None,
    every: Annotated[bool, typer.Option("--all", help="All that can be used now.")] = False,
) -> int:
    """Test connections; exit status 1 when one fails."""
    if not ids and not every:
        raise UsageError("providers test: name a provider, or --all", hint="for example `nbllm providers test demo`")
    if model and (every or len(ids or ()) != 1):
        raise UsageError("providers test: --model goes with one provider", hint="`nbllm providers test ID --model M`")
    workspace = _workspace()
    if ids and len(ids) == 1 and not every:
        check = workspace.check(ids[0], model=model)
        show(str(check))
        return 0 if check.ok else 1
    checks = _with_progress(workspace, None if every else ids)
    show(workspace.overview.check_table(checks).to_text())
    return 0 if all(c.ok for _, c in checks) else 1


def _with_progress(workspace: Any, ids: list[str] | None) -> list[Any]:
    """Test, with a bar on stderr where a person is looking."""
    from rich.console import Console  # noqa: PLC0415  (only for this command)
    from rich.progress import Progress  # noqa: PLC0415

    console = Console(stderr=True)
    done = []
    total = len(ids or workspace.overview.usable_ids())
    with Progress(console=console, disable=not sys.stderr.isatty(), transient=True) as progress:
        task = progress.add_task("testing", total=total)
        for item in workspace.check_many(ids):
            done.append(item)
            progress.update(task, advance=1, description=f"testing ({item[0]})")
    return done


@app.command()
def models(id: _Id, refresh: Annotated[bool, typer.Option("--refresh", help="Ask the provider now.")] = False) -> None:
    """The provider's own listing."""
    workspace = _workspace()
    show(workspace.overview.model_table(workspace.models(id, refresh=refresh)).to_text())


@app.command()
def discover() -> None:
    """Look for model servers on this machine."""
    workspace = _workspace()
    show(workspace.overview.found_table(workspace.discover()).to_text())


@app.command()
def use(ref: Annotated[str, typer.Argument(metavar="PROVIDER/MODEL", autocompletion=complete.model_refs)]) -> None:
    """Make a model the default."""
    show(f"the default model is {_workspace().use(ref).ref}")


@app.command()
def key(
    id: _Id,
    store: Annotated[str | None, typer.Option("--store", metavar="keyring|vault", help="Default: keyring.")] = None,
) -> None:
    """Ask for a key out of sight (or read it from a pipe), and keep it."""
    from nbllm.cli.keys import keep  # noqa: PLC0415  (only for this command)

    show(keep(_workspace(), id, store))


@app.command()
def forget(ids: _Ids) -> None:
    """Remove saved keys."""
    for provider_id in ids:
        stores = _workspace().credentials.forget(provider_id)
        show(f"{provider_id}: " + (f"removed from {', '.join(stores)}" if stores else "no key was saved"))


@app.command("export")
def export(file: Annotated[Path, typer.Argument(metavar="FILE", help="- writes to standard output.")]) -> None:
    """Write your own providers to a file, without keys."""
    text = _workspace().registry.export()
    if str(file) == "-":
        typer.echo(text, nl=False)
        return
    try:
        file.expanduser().write_text(text, encoding="utf-8")
    except OSError as exc:
        raise ExportError(
            f"cannot write {file}: {exc.strerror or exc}", hint="name a file that can be written"
        ) from exc
    show(f"written to {file}, without keys")


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would change.")] = False,
) -> None:
    """Read providers from a file that `export` wrote."""
    try:
        text = file.expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        said = exc.strerror if isinstance(exc, OSError) else "it is not UTF-8"
        raise UsageError(f"cannot read {file}: {said}", hint="`nbllm providers export FILE` writes one") from exc
    _say(_workspace().registry.import_(text, dry_run=dry_run) or ["nothing changes"])


def _say(lines: list[str]) -> None:
    for line in lines:
        show(line)
