"""One test that runs from a recording: its environment, its workspace, and what came of it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

import pytest

from nbllm.testing.ledger import Ledger
from nbllm.transport.under_test import VARIABLE, UnderTest, scope_of


@dataclass
class Replaying:
    """What the fixture `nbllm_replay` gives.

    Attributes:
        path: The recording; None with mode `off`.
        mode: `replay`, `record`, `auto` or `off`.
        how: What to do about a miss, in a sentence.
        allow_misses: Whether the test may end well although it asked what was not recorded. Set it in a test that
            looks at just this.
    """

    path: Path | None
    mode: str
    how: str
    _name: str
    _ledger: Ledger
    allow_misses: bool = False

    @property
    def answered(self) -> int:
        """How many answers this test had from the recording."""
        return len(self._told("answered"))

    @property
    def written(self) -> int:
        """How many exchanges it has recorded."""
        return len(self._told("written"))

    @property
    def misses(self) -> list[str]:
        """What it asked and was not recorded: a sentence each, with the first difference."""
        return self._told("missed")

    def _told(self, what: str) -> list[str]:
        return [e.words for e in self._ledger.entries() if e.test == self._name and e.what == what]


@contextmanager
def replaying(request: pytest.FixtureRequest, mode: str, ledger: Ledger) -> Iterator[Replaying]:
    """Around one test."""
    name = str(request.node.nodeid)
    if mode == "off":
        yield Replaying(None, mode, "", name, ledger)
        return
    test = UnderTest(name, mode, _again(request.config, name), str(ledger.tally), _scope(request.node))
    path = _recording(request)
    if not path.is_file():
        file = name.partition("::")[0]
        ledger.missing[file] = _again(request.config, file)
    with environment(variables(test, path, ledger)), _own_workspace():
        yield Replaying(path, mode, f"record it with `{test.again}`", name, ledger)


def _again(config: pytest.Config, name: str) -> str:
    return f"pytest --nbllm-replay=record {quote(from_here(config, name))}"


def from_here(config: pytest.Config, name: str) -> str:
    """A test or its file as pytest takes it where the user stands; its name begins at the root of the project."""
    file, colons, rest = name.partition("::")
    return os.path.relpath(config.rootpath / file, config.invocation_params.dir) + colons + rest


def _scope(item: pytest.Item) -> str:
    return scope_of(item.nodeid.partition("::")[2].replace("::", "."))


def _recording(request: pytest.FixtureRequest) -> Path:
    marker = request.node.get_closest_marker("nbllm_replay")
    named = getattr(request, "param", None) or (marker.args[0] if marker and marker.args else None)
    file = Path(request.node.path)
    return file.parent / named if named else file.with_name(f"{file.stem}.replay.jsonl")


def variables(test: UnderTest, path: Path | str, ledger: Ledger) -> dict[str, str]:
    """What a test's processes are told. A replay also gets a home of its own, as on a machine that has none."""
    found = {VARIABLE: test.to_text(), "NBLLM_REPLAY": f"{test.mode}:{path}"}
    if test.mode == "replay":
        found |= {"NBLLM_OFFLINE": os.environ.get("NBLLM_OFFLINE") or "1"}
        found |= {"NBLLM_HOME": os.environ.get("NBLLM_HOME") or str(ledger.home(test.name))}
    return found


@contextmanager
def environment(values: Mapping[str, str]) -> Iterator[None]:
    """Variables of this process, as they were before when it is left."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _own_workspace() -> Iterator[None]:
    """`nbllm.chat` and the others begin anew: what another test said in `main` would go along with each question."""
    module = sys.modules.get("nbllm.workspace")
    before = module.exchange_current(None) if module is not None else None
    try:
        yield
    finally:
        if (module := sys.modules.get("nbllm.workspace")) is not None:
            module.forget_current()
            module.exchange_current(before)
