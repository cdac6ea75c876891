"""Notebooks that are run as tests: nbval makes a test of each cell, and starts a kernel for each notebook."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from shlex import quote
from typing import Any

import pytest

from nbllm.testing import replaying
from nbllm.testing.ledger import Entry, Ledger
from nbllm.transport.under_test import UnderTest

_SPREADING = ("load", "worksteal")
"""Ways of pytest-xdist to give the cells of one notebook to several workers, where each would start its kernel."""
TOGETHER = pytest.StashKey[bool]()


def is_cell(item: pytest.Item) -> bool:
    """Whether a test is a cell, or a whole notebook."""
    return item.path.suffix == ".ipynb"


def environment(item: pytest.Item, mode: str, ledger: Ledger) -> AbstractContextManager[None]:
    """Around each cell: the kernel is started in the first one, and keeps what it finds then."""
    name = item.nodeid.partition("::")[0]
    path = _recording(item.path)
    shown = replaying.from_here(item.config, name)
    test = UnderTest(name, mode, f"pytest --nbval-lax --nbllm-replay=record {quote(shown)}", str(ledger.tally))
    if not Path(path).is_file():
        ledger.missing[name] = test.again
    options = getattr(item, "options", None)
    if mode == "record" and isinstance(options, dict):
        options["check"] = False  # nbval's: the answers are made now, and need not be those that are saved
    return replaying.environment(replaying.variables(test, path, ledger))


def _recording(notebook: Path) -> str:
    """What `NBLLM_REPLAY` names, else the one beside the notebook. Told to the kernel, whose folder may change."""
    named = os.environ.get("NBLLM_REPLAY", "").partition(":")[2]
    return named or str(notebook.with_name(f"{notebook.stem}.replay.jsonl"))


def keep_cells_together(config: pytest.Config) -> None:
    """Have pytest-xdist give each file to one worker."""
    option: Any = config.option
    if _with_nbval(config) and getattr(option, "dist", "no") in _SPREADING:
        option.dist = "loadfile"
        config.stash[TOGETHER] = True


def in_order(items: list[pytest.Item]) -> None:
    """Have the cells of each notebook run one after the other: pytest-randomly shuffles them like tests."""
    cells = [item for item in items if is_cell(item)]
    first = {item.path: at for at, item in reversed(list(enumerate(cells)))}
    ordered = iter(sorted(cells, key=lambda cell: (first[cell.path], getattr(cell, "cell_num", 0))))
    items[:] = [next(ordered) if is_cell(item) else item for item in items]


def header(config: pytest.Config) -> str:
    """What was changed for the notebooks."""
    together = config.stash.get(TOGETHER, False)
    return "; the cells of a notebook stay in one worker (--dist loadfile)" if together else ""


def _with_nbval(config: pytest.Config) -> bool:
    return bool(getattr(config.option, "nbval", False) or getattr(config.option, "nbval_lax", False))


def advice(config: pytest.Config, entries: Sequence[Entry]) -> Iterator[str]:
    """After recording, the outputs that a notebook was saved with are those of other answers."""
    written = [e.test for e in entries if e.what == "written" and e.test.endswith(".ipynb")]
    for name in dict.fromkeys(written):
        shown = replaying.from_here(config, name)
        file = quote(shown.removesuffix(".ipynb") + ".replay.jsonl")
        yield (
            f"nbllm: save {shown} with these answers: "
            f'NBLLM_REPLAY=replay:"$PWD"/{file} jupyter execute --inplace {quote(shown)}'
        )
