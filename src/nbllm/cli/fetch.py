"""`nbllm fetch`: model lists from many providers at once."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from nbllm.cli import complete
from nbllm.cli.words import INTERRUPTED, show, warn
from nbllm.errors import UsageError

_WIDE = 1000
_Ids = Annotated[list[str] | None, typer.Argument(metavar="[ID...]", autocompletion=complete.provider_ids)]


def fetch(
    ids: _Ids = None,
    every: Annotated[bool, typer.Option("--all", help="Every provider that has a key or needs none.")] = False,
    failed: Annotated[bool, typer.Option("--failed", help="Only those that failed last time.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Ask also when the list that is kept is young.")] = False,
    formats: Annotated[
        str | None,
        typer.Option(
            "--format", metavar="F,F", help="Write files: json, txt, toml, yaml.", autocompletion=complete.formats
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Folder of the files.")] = None,
    layout: Annotated[
        str | None,
        typer.Option(
            "--layout", metavar="NAME", help="plain or dump-models; default: plain.", autocompletion=complete.layouts
        ),
    ] = None,
    concurrency: Annotated[int, typer.Option("--concurrency", metavar="N", min=1, help="Asked at once.")] = 128,
    timeout: Annotated[float, typer.Option("--timeout", metavar="S", min=0.1, help="Seconds for each.")] = 30.0,
    as_json: Annotated[bool, typer.Option("--json", help="The table as JSON.")] = False,
) -> int:
    """Ask providers for their models, all at once; exit status 1 when one fails."""
    from nbllm.catalog.fetch import FetchOptions  # noqa: PLC0415  (the core: only when a command runs)
    from nbllm.catalog.fetch_table import FetchTable, problems  # noqa: PLC0415
    from nbllm.workspace import current  # noqa: PLC0415

    if not 0 < timeout < float("inf"):
        raise UsageError("fetch: --timeout takes seconds", hint="for example --timeout 60")
    out = out.expanduser() if out else None
    workspace = current()
    writer = _writer(workspace, out, layout, formats)
    fetching = workspace.fetch(
        ids or (),
        every=every,
        failed=failed,
        options=FetchOptions(force=force, concurrency=concurrency, timeout_s=timeout),
        out=out,
        writer=writer,
    )
    for provider in fetching.selection.asked if writer is not None and writer.whole else ():
        warn(writer.by_hand(provider))
    interrupted = take(fetching)
    table = FetchTable(fetching)
    if as_json:
        typer.echo(json.dumps(table.as_json(), indent=1))
        for line in problems(fetching):
            warn(f"warning: {line}")
    else:
        # A pipe is for grep, which has no use for a reason that is cut.
        show(table.to_text(None if sys.stdout.isatty() else _WIDE))
    return INTERRUPTED if interrupted else 0 if fetching.ok else 1


def _writer(workspace: Any, out: Path | None, layout: str | None, formats: str | None) -> Any:
    """What writes the files; None when none are wanted."""
    from nbllm.catalog.outputs import Writer, rows_of_catalogue  # noqa: PLC0415  (the core: only when a command runs)

    if out is None and layout is None and formats is None:
        return None
    words = [word.strip() for word in (formats or "").split(",") if word.strip()]
    if formats is not None and not words:
        raise UsageError("fetch: --format takes json, txt, toml, yaml", hint="for example --format json,txt")
    row = workspace.registry.get
    rows = rows_of_catalogue(row, workspace.marks.read(), workspace.knowledge)
    return Writer(out or Path(), layout or "plain", words, provider=row, rows=rows)


def take(fetching: Any) -> bool:
    """Take what comes, with a bar on stderr where a person is looking; whether the person interrupted it."""
    from rich.console import Console  # noqa: PLC0415  (only for this command)
    from rich.progress import Progress  # noqa: PLC0415

    try:
        with Progress(console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True) as progress:
            task = progress.add_task(_waiting(fetching), total=fetching.total)
            for _ in fetching:
                come = fetching.total - len(fetching.waiting)
                progress.update(task, completed=come, description=_waiting(fetching))
    except KeyboardInterrupt:
        fetching.close()
        warn("interrupted: what has arrived is kept")
        return True
    return False


def _waiting(fetching: Any) -> str:
    names = list(fetching.waiting)
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"asking {', '.join(names[:3])}{more}" if names else "done"
