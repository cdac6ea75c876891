"""The plugin of pytest: an option, a marker, the fixture `nbllm_replay`, notebooks with nbval, a line at the end.

docs/how-to/test-your-notebooks.md says what it is for. It is loaded in every run of pytest. In one that neither names
a mode nor uses the fixture it only sees to it that the cells of a notebook run in their order.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from nbllm.testing import notebooks
from nbllm.testing.ledger import Ledger, is_bad, summary
from nbllm.testing.replaying import Replaying, environment, replaying

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter

MODES = ("replay", "auto", "record", "off")
MARKER = "nbllm_replay"
LEDGER = pytest.StashKey[Ledger]()
MODE = pytest.StashKey[str]()
"""What was asked for; empty when nobody said anything."""
USED = pytest.StashKey[Replaying]()
"""At the item: what the fixture gave it."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """The option and the setting of the ini file."""
    group = parser.getgroup("nbllm", "nbllm: language models answer from recordings")
    group.addoption(
        "--nbllm-replay",
        choices=MODES,
        default=None,
        help="replay: tests and notebooks answer from their recordings, without key and network. record: make the "
        "recordings. auto: ask where there is a key, else answer from the recording. off: ask.",
    )
    parser.addini("nbllm_replay", "mode of --nbllm-replay where neither it nor NBLLM_REPLAY is given", default="")


def pytest_configure(config: pytest.Config) -> None:
    """Who counts, and what was asked for."""
    config.addinivalue_line(
        "markers", f"{MARKER}(path): run this test from the recording `path`, which is relative to the test's file"
    )
    config.stash[LEDGER] = Ledger()
    config.stash[MODE] = _chosen(config)
    if config.stash[MODE]:
        notebooks.keep_cells_together(config)
    if (
        config.stash[MODE] == "replay"
    ):  # from here on: what a module asks while it is collected is not to be paid either
        offline = ExitStack()
        offline.enter_context(environment({"NBLLM_OFFLINE": os.environ.get("NBLLM_OFFLINE") or "1"}))
        config.add_cleanup(offline.close)


def _chosen(config: pytest.Config) -> str:
    """Later wins: the ini file, the environment, the command line."""
    if option := config.getoption("nbllm_replay"):
        return str(option)
    said = os.environ.get("NBLLM_REPLAY", "").strip().partition(":")[0] or str(config.getini("nbllm_replay")).strip()
    if said and said not in MODES:
        raise pytest.UsageError(f"nbllm_replay is {said!r}, and takes one of {', '.join(MODES)}")
    return said


def pytest_report_header(config: pytest.Config) -> str | None:
    """Whether the answers in this run are real."""
    mode = config.stash[MODE]
    return f"nbllm: {mode}{notebooks.header(config)}" if mode else None


# ---------------------------------------------------------------- tests


@pytest.fixture
def nbllm_replay(request: pytest.FixtureRequest) -> Iterator[Replaying]:
    """Language models answer from the recording beside the test's file, `<file>.replay.jsonl`.

    `pytest --nbllm-replay=record` makes it. Another one is named by the marker `nbllm_replay("other.replay.jsonl")`,
    or as the parameter of the fixture. What was not recorded raises `ReplayMissError`.
    """
    config = request.config
    with replaying(request, config.stash[MODE] or "replay", config.stash[LEDGER]) as found:
        request.node.stash[USED] = found
        yield found


def pytest_itemcollected(item: pytest.Item) -> None:
    """The marker alone is enough: a test that has it must not ask a provider for want of an argument."""
    names = getattr(item, "fixturenames", None)
    if isinstance(names, list) and MARKER not in names and item.get_closest_marker(MARKER):
        names.append(MARKER)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """A test that went on after a miss has not tested what it says."""
    result = yield
    used = item.stash.get(USED, None)
    if used is not None and not used.allow_misses and (misses := used.misses):
        pytest.fail(f"ReplayMissError, which the test did not let out: {misses[0]}\n  {used.how}", pytrace=False)
    return result


# ---------------------------------------------------------------- notebooks


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What was shuffled is put in order again."""
    notebooks.in_order(items)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, Any, Any]:
    """A cell runs in the environment of its notebook, which the kernel inherits when it starts."""
    mode = item.config.stash[MODE]
    if not notebooks.is_cell(item) or mode in ("", "off"):
        return (yield)
    with notebooks.environment(item, mode, item.config.stash[LEDGER]):
        return (yield)


# ---------------------------------------------------------------- the end


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker of pytest-xdist hands in what it counted."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["nbllm"] = session.config.stash[LEDGER].report()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take what a worker counted; one that crashed has nothing to give."""
    if report := getattr(node, "workeroutput", {}).get("nbllm"):
        node.config.stash[LEDGER].take(report)


def pytest_terminal_summary(terminalreporter: TerminalReporter, config: pytest.Config) -> None:
    """How many answers from how many recordings, and what to see to."""
    ledger = config.stash[LEDGER]
    entries = ledger.entries()
    bad = is_bad(entries)
    for line in summary(entries, ledger.missing):
        terminalreporter.write_line(line, yellow=bad, green=not bad)
    for line in notebooks.advice(config, entries):
        terminalreporter.write_line(line)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Nothing stays behind."""
    if (ledger := config.stash.get(LEDGER, None)) is not None:
        ledger.close()
