"""The workspace behind the magics, and what the shell knows of the cell that runs."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from nbllm.foreign import one_line
from nbllm.loading import quick_imports

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from nbllm.workspace import Workspace


def workspace() -> Workspace:
    """The workspace of this process. The first call imports what it needs, which `%load_ext` does not."""
    if "nbllm.workspace" not in sys.modules:
        _starting.enter_context(quick_imports())  # until `started`: more is loaded on the way to the first word
    from nbllm.workspace import current  # noqa: PLC0415  (pydantic, httpx2: not before the first use)

    found = current()
    found.recordings.notebook = _vscode_notebook
    return found


def _vscode_notebook() -> str | None:
    """The notebook's file, which VS Code puts into the namespace."""
    from IPython.core.getipython import get_ipython  # noqa: PLC0415

    shell = get_ipython()
    said = shell.user_ns.get("__vsc_ipynb_file__") if shell is not None else None
    return said if isinstance(said, str) else None


_starting = ExitStack()


def started() -> None:
    """The first use of the workspace has all that it needs."""
    _starting.close()


@contextmanager
def running() -> Iterator[None]:
    """Around the work of a magic: an interrupt reads as one line, and what the user should know is told once."""
    try:
        yield
    except KeyboardInterrupt as stop:
        if not hasattr(stop, "_render_traceback_"):
            stop._render_traceback_ = lambda: ["KeyboardInterrupt: stopped"]  # type: ignore[attr-defined]
        raise
    finally:
        started()
        _tell()


_told: set[str] = set()


def _tell() -> None:
    """News of keys and of the store, each once, a line each on standard error."""
    module = sys.modules.get("nbllm.workspace")
    for line in module.news() if module is not None else ():
        if line not in _told:
            _told.add(line)
            sys.stderr.write(f"nbllm: {one_line(line, 1000)}\n")


class Cells:
    """Tells the cells of a notebook apart, so that running one again can branch from where it stood."""

    def __init__(self) -> None:
        self._execution: tuple[int, str | None] | None = None
        self._count = 0

    def current(self, shell: InteractiveShell) -> str | None:
        """An id of the question that is being asked: of its cell, and which one in that cell; None: not known."""
        cell = _front_end_id(shell) or _headless_id(shell)
        if cell is None:
            return None
        execution = (shell.execution_count, cell)
        self._count = self._count + 1 if execution == self._execution else 1
        self._execution = execution
        return f"{cell}#{self._count}"


def _front_end_id(shell: InteractiveShell) -> str | None:
    """JupyterLab, Notebook 7 and VS Code send the cell's id with each request."""
    cell = _metadata(shell).get("cellId")
    return str(cell) if cell else None


def _metadata(shell: InteractiveShell) -> dict[str, Any]:
    kernel = getattr(shell, "kernel", None)
    ask = getattr(kernel, "get_parent", None)
    parent = ask() if ask is not None else {}
    metadata = (parent or {}).get("metadata")
    return metadata if isinstance(metadata, dict) else {}


def _headless_id(shell: InteractiveShell) -> str | None:
    """nbclient and nbval send no id, but run each cell once, from top to bottom: place and source name it."""
    kernel = getattr(shell, "kernel", None)
    if kernel is None or getattr(kernel, "_allow_stdin", True):
        return None
    source = shell.user_ns.get("_ih", [""])[-1]
    notebook = os.environ.get("JPY_SESSION_NAME") or os.getcwd()
    text = f"{notebook}\0{shell.execution_count}\0{source}"
    return "headless-" + hashlib.sha256(text.encode()).hexdigest()[:16]


def close() -> None:
    """Close the workspace of this process if there is one, and leave the log records alone again."""
    _told.clear()
    module = sys.modules.get("nbllm.workspace")
    if module is not None:
        module.forget_current()
        sys.modules["nbllm.credentials"].uninstall_log_filter()
