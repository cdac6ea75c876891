"""`nbllm lab`: a newcomer's first command."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import nbllm
from nbllm.cli.words import warn
from nbllm.errors import SettingsError
from nbllm.files import make_private_folder
from nbllm.foreign import one_line
from nbllm.settings import Paths

QUICKSTART = "01-first-chat.ipynb"


def start(*, port: int | None, browser: bool) -> int:
    """Start JupyterLab on a copy of the quickstart notebook; returns its exit status when it ends.

    Raises:
        SettingsError: JupyterLab is not installed, it failed, or the copy cannot be written.
    """
    if importlib.util.find_spec("jupyterlab") is None:
        raise SettingsError("JupyterLab is not installed", hint='pip install "nbllm[lab]"')
    status = _run(_command(_copy(), port=port, browser=browser))
    if status < 0:
        return 128 - status  # it was ended by a signal; shells count so
    if status:
        raise SettingsError(f"JupyterLab ended with status {status}", hint="its own messages above say why")
    return 0


def _command(folder: Path, *, port: int | None, browser: bool) -> list[str]:
    command = [sys.executable, "-m", "jupyterlab", f"--ServerApp.root_dir={folder}"]
    # Also the address that is printed for `--no-browser` opens the notebook; with a file's name it would not.
    command.append(f"--LabApp.default_url=/lab/tree/{QUICKSTART}")
    command += [f"--port={port}"] if port is not None else []
    command += [] if browser else ["--no-browser"]
    if getattr(os, "geteuid", lambda: 1)() == 0:
        # JupyterLab refuses to run as root, which is what containers do; the notebook is our own.
        warn("nbllm lab: you are root, so JupyterLab is told --allow-root")
        command.append("--allow-root")
    return command


def _run(command: list[str]) -> int:
    """Run the server to its end.

    It hears Ctrl-C too, asks whether it is meant, and ends at the second one. Here nothing is interrupted: a wait that
    is, in the very moment in which the server ends, has lost the status and says 0.
    """
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        return subprocess.Popen(command).wait()  # noqa: S603  (our own words)
    finally:
        signal.signal(signal.SIGINT, before)


def _copy() -> Path:
    """The user's folder of notebooks: the quickstart, the rest of the course, recordings. What is there is kept."""
    source = notebooks()
    folder = Paths.from_environment().data_dir / "notebooks"
    try:
        make_private_folder(folder)
        for path in sorted((*source.glob("*.ipynb"), *source.glob("*.replay.jsonl"))):
            if not (folder / path.name).exists():
                shutil.copyfile(path, folder / path.name)
                if path.suffix == ".ipynb":
                    _trust(folder / path.name)
    except OSError as exc:
        raise SettingsError(
            f"cannot write to {folder}: {exc.strerror or exc}", hint="set NBLLM_HOME to a folder that can be written"
        ) from exc
    return folder


def _trust(path: Path) -> None:
    """Sign a fresh copy: in a notebook that is not trusted JupyterLab leaves the style out of the kept outputs."""
    import nbformat  # noqa: PLC0415  (comes with JupyterLab, and only here)
    from nbformat.sign import NotebookNotary  # noqa: PLC0415

    try:
        NotebookNotary().sign(nbformat.read(path, as_version=4))
    except (OSError, sqlite3.Error) as exc:  # no place for signatures: the outputs are plainer until the cells are run
        warn(f"nbllm lab: {path.name} could not be signed ({one_line(exc)})")


def notebooks() -> Path:
    """Where the notebooks are: in the package, or in the checkout of an editable installation.

    Raises:
        SettingsError: They are in neither.
    """
    package = Path(nbllm.__file__).parent
    for folder in (package / "quickstart", package.parents[1] / "notebooks"):
        if (folder / QUICKSTART).exists():
            return folder
    raise SettingsError("the quickstart notebook is missing", hint="install nbllm again")
