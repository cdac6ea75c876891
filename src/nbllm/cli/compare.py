"""`nbllm compare FILE.toml`: long runs outside a notebook, by the same engine as `%%compare`."""

from __future__ import annotations

import difflib
import json
import sys
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from nbllm.cli import complete
from nbllm.cli.words import INTERRUPTED, show, warn
from nbllm.errors import NbllmError, UsageError
from nbllm.foreign import one_line

_OUTPUTS = ("csv", "jsonl", "parquet", "html")


def compare(
    file: Annotated[Path | None, typer.Argument(metavar="[FILE.toml]", help="What to compare; see the docs.")] = None,
    resume: Annotated[str | None, typer.Option("--resume", metavar="NAME", help="Go on with a comparison.")] = None,
    engine: Annotated[
        str | None,
        typer.Option("--engine", metavar="local|dask|batch", help="Who asks.", autocompletion=complete.engines),
    ] = None,
    cluster: Annotated[str | None, typer.Option("--cluster", metavar="ADDRESS", help="For dask: a scheduler.")] = None,
    budget: Annotated[float | None, typer.Option("--budget", metavar="USD", help="Stop before more is spent.")] = None,
    retry_errors: Annotated[bool, typer.Option("--retry-errors", help="Ask those again that failed.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Cells, tokens, cost and time; send nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Also more than 10,000 cells without a budget.")] = False,
    allow_unknown_price: Annotated[bool, typer.Option("--allow-unknown-price", help="With a budget.")] = False,
    out: Annotated[
        list[Path] | None,
        typer.Option("--out", metavar="PATH", help="Write the cells: .csv, .jsonl, .parquet, .html; repeatable."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The summary and the manifest as JSON.")] = False,
) -> int:
    """Ask several models the same; exit status 1 when some of it failed."""
    from nbllm.workspace import current  # noqa: PLC0415  (the core: only when a command runs)

    paths = [_checked(path) for path in out or ()]
    options = _options(file, resume)
    given = {
        "engine": engine, "cluster": cluster, "budget_usd": budget, "retry_errors": retry_errors or None,
        "yes": yes or None, "allow_unknown_price": allow_unknown_price or None,
    }  # fmt: skip
    options = replace(options, **{name: value for name, value in given.items() if value is not None})
    comparisons = current().comparisons
    if dry_run:
        found = comparisons.dry_run(options)
        typer.echo(json.dumps(asdict(found), indent=1, default=float)) if as_json else show(found.to_text())
        return 0
    making = comparisons.open(options)
    status = _complete(making)
    comparison = making.comparison()
    for path in paths:
        getattr(comparison, f"to_{path.suffix[1:]}")(path)
        warn(f"written: {path}")
    _show(comparison, as_json=as_json)
    return status or int(any(row["status"] == "error" for row in comparison.cells) or bool(comparison.n_unasked))


def _complete(making: Any) -> int:
    """Run with a bar on stderr where a person is looking; what is done is kept and shown whatever happens."""
    with _bar() as tell:
        try:
            making.complete(tell)
        except KeyboardInterrupt:
            warn(f"interrupted: what was answered is kept; go on with --resume {making.plan.name}")
            return INTERRUPTED
        except NbllmError as exc:
            if not making.session.fresh:
                raise
            warn(f"error: {exc.message}")
            if exc.hint:
                warn(f"hint: {exc.hint}")
            return 1
    return 0


@contextmanager
def _bar() -> Iterator[Any]:
    from rich.console import Console  # noqa: PLC0415  (only for this command)
    from rich.progress import BarColumn, Progress, TextColumn  # noqa: PLC0415

    bar = Progress(
        BarColumn(), TextColumn("{task.description}", markup=False),
        console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True,
    )  # fmt: skip
    with bar:
        task = bar.add_task("", total=None)

        def tell(numbers: Any) -> None:
            bar.update(
                task, total=max(numbers.total, 1), completed=numbers.done + numbers.stored,
                description=numbers.sentence(),
            )  # fmt: skip

        yield tell


def _show(comparison: Any, *, as_json: bool) -> None:
    if as_json:
        found = {"name": comparison.name, "summary": list(comparison.summary()), "manifest": comparison.manifest}
        typer.echo(json.dumps(found | {"notes": comparison.notes}, indent=1, default=str))
        return
    show(comparison.summary().to_text(None if sys.stdout.isatty() else 1000))
    for note in comparison.notes:
        warn(f"note: {note}")
    warn(f"kept as {comparison.name}")


def _checked(path: Path) -> Path:
    """A path whose ending says what to write; said before anything is paid for."""
    if path.suffix[1:] not in _OUTPUTS:
        raise UsageError(f"compare: {path.name}: of which kind is it to be?", hint=f"name it .{', .'.join(_OUTPUTS)}")
    path = path.expanduser()
    if not path.absolute().parent.is_dir():
        raise UsageError(f"compare: there is no folder {path.parent}", hint="make it, or name another")
    return path


# ---------------------------------------------------------------- the file


def _options(file: Path | None, resume: str | None) -> Any:
    from nbllm.compare.options import CompareOptions  # noqa: PLC0415  (the core: only when a command runs)

    if file is None and resume is None:
        raise UsageError("compare: what is to be compared?", hint="give a FILE.toml, or --resume NAME")
    options = CompareOptions() if file is None else read_options(file)
    return options if resume is None else replace(options, name=resume, resume=True)


def read_options(file: Path) -> Any:
    """What a file says; its keys are the argument names of `nbllm.compare`.

    `data` and the file of a `json:FILE` scorer are looked for beside the file.

    Raises:
        UsageError: It cannot be read, or has a key that is none.
    """
    from nbllm.compare.data import read_file  # noqa: PLC0415  (the core: only when a command runs)
    from nbllm.compare.options import CompareOptions  # noqa: PLC0415

    found = _read(file)
    known = [n for n in CompareOptions.__dataclass_fields__ if n not in ("namespace", "folder", "cluster")]
    for name in found:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=2)
            hint = f"did you mean {' or '.join(close)}?" if close else f"there are {', '.join(known)}"
            raise UsageError(f"{file.name}: there is no key {one_line(name, 40)}", hint=hint)
        if not _fits(name, found[name]):
            raise UsageError(f"{file.name}: the key {name} takes {_KINDS[name][1]}", hint="see `nbllm compare --help`")
    if isinstance(found.get("data"), str):
        found["data"] = read_file((file.parent / found["data"]).resolve())
    if isinstance(found.get("scorers"), str):
        found["scorers"] = [found["scorers"]]
    return CompareOptions(**found, folder=file.parent.resolve())


_TEXT, _YES_OR_NO, _WHOLE = ((str,), "a text"), ((bool,), "true or false"), ((int,), "a whole number")
_KINDS: Mapping[str, tuple[tuple[type, ...], str]] = {
    "prompts": ((str, list, dict), "a text, a list of texts, or a table of names and texts"),
    "models": ((str, list), "a list of texts"),
    "data": ((str, list), "the name of a file, or a list of tables"),
    "scorers": ((str, list, dict), "a list of words, or a table of names and words"),
    "params": ((dict,), "a table"),
    "budget_usd": ((int, float), "a number of USD"),
    **dict.fromkeys(("judge", "rubric", "system", "name", "engine"), _TEXT),
    **dict.fromkeys(("allow_unknown_price", "resume", "retry_errors", "yes"), _YES_OR_NO),
    **dict.fromkeys(("repeats", "seed"), _WHOLE),
}
"""What each key of the file may be, and how that is called."""


def _fits(name: str, value: Any) -> bool:
    kinds, _ = _KINDS[name]
    return isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool))


def _read(file: Path) -> dict[str, Any]:
    try:
        found: Mapping[str, Any] = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as exc:
        raise UsageError(f"cannot read {file}: {exc.strerror}", hint="check the path") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise UsageError(f"{file} is not a TOML file: {exc}", hint="see `nbllm compare --help`") from exc
    return dict(found)
