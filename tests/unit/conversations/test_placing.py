"""A notebook's requests depend on its cells, not on how often or in which order they were run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from nbllm.conversations import Conversations
from unit.conversations.notebook import ask


@dataclass(frozen=True)
class Run:
    """One run of a cell: its id (None: none sent), a prompt, flags, and the prompts that must have gone along."""

    cell: str | None
    before: list[str]
    prompt: str = ""
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def text(self) -> str:
        return self.prompt or str(self.cell)


@dataclass(frozen=True)
class Case:
    id: str
    runs: list[Run]


APPEND = {"append": True}
NO_HISTORY = {"history": False}
NEW = {"new": True}

CASES = [
    Case("cells follow each other", [Run("1", []), Run("2", ["1"]), Run("3", ["1", "2"])]),
    Case(
        "calls without a cell go on behind the head", [Run(None, [], "a"), Run(None, ["a"], "b"), Run("1", ["a", "b"])]
    ),
    Case(
        "a second run from top to bottom sends the same",
        [Run("1", []), Run("2", ["1"]), Run("3", ["1", "2"]), Run("1", []), Run("2", ["1"]), Run("3", ["1", "2"])],
    ),
    Case("a cell run again does not see itself", [Run("1", []), Run("1", []), Run("1", []), Run("2", ["1"])]),
    Case(
        "the cell after one that was changed follows the new answer",
        [Run("1", []), Run("2", ["1"]), Run("1", [], "1 changed"), Run("2", ["1 changed"])],
    ),
    Case(
        "a cell whose predecessor was not asked again stays with the old answers",
        [Run("1", []), Run("2", ["1"]), Run("3", ["1", "2"]), Run("1", [], "new 1"), Run("3", ["1", "2"])],
    ),
    Case(
        "it catches up when the predecessor is asked again at last",
        [
            Run("1", []),
            Run("2", ["1"]),
            Run("3", ["1", "2"]),
            Run("1", [], "new 1"),
            Run("3", ["1", "2"]),
            Run("2", ["new 1"]),
            Run("3", ["new 1", "2"]),
        ],
    ),
    Case(
        "a new cell follows the newest exchange",
        [Run("1", []), Run("2", ["1"]), Run("1", [], "new 1"), Run("4", ["new 1"])],
    ),
    Case(
        "cells run out of order keep the order in which they were first run",
        [Run("2", []), Run("1", ["2"]), Run("1", ["2"]), Run("2", [], "new 2"), Run("1", ["new 2"])],
    ),
    Case(
        "append goes on behind the last message, also when the cell ran before",
        [Run("1", []), Run("2", ["1"]), Run("1", ["1", "2"], "1 again", APPEND), Run("4", ["1", "2", "1 again"])],
    ),
    Case(
        "after an append a plain run stands where the cell stood",
        [Run("1", []), Run("2", ["1"]), Run("1", ["1", "2"], "1 again", APPEND), Run("1", [], "plain 1")],
    ),
    Case(
        "a cell does not follow an append that stands behind itself",
        [
            Run("1", []),
            Run("2", ["1"]),
            Run("3", ["1", "2"]),
            Run("2", ["1", "2", "3"], "2 more", APPEND),
            Run("3", ["1", "2"]),
            Run("3", ["1", "2"]),
        ],
    ),
    Case(
        "a first run with append has its place there",
        [Run("1", []), Run("2", ["1"], "2", APPEND), Run("2", ["1"], "2 plain")],
    ),
    Case("without history nothing goes along", [Run("1", []), Run("2", [], "2", NO_HISTORY)]),
    Case(
        "nothing follows an exchange without history",
        [Run("1", []), Run("2", [], "2 alone", NO_HISTORY), Run("3", ["1"]), Run(None, ["1", "3"], "x")],
    ),
    Case(
        "a cell that drops --no-history goes on behind the head",
        [Run("1", []), Run("2", [], "2 alone", NO_HISTORY), Run("2", ["1"]), Run("3", ["1", "2"])],
    ),
    Case(
        "a cell that takes --no-history keeps its place for later",
        [Run("1", []), Run("2", ["1"]), Run("2", [], "2 alone", NO_HISTORY), Run("3", ["1", "2"]), Run("2", ["1"])],
    ),
    Case(
        "cells behind one that became --no-history keep its last answer with history",
        [Run("1", []), Run("2", ["1"]), Run("3", ["1", "2"]), Run("2", [], "alone", NO_HISTORY), Run("3", ["1", "2"])],
    ),
    Case(
        "without history in a conversation that is new", [Run("1", [], "1", NO_HISTORY), Run("2", []), Run("3", ["2"])]
    ),
    Case("new starts afresh", [Run("1", []), Run("2", [], "2", NEW), Run("3", ["2"])]),
    Case(
        "a notebook with --new in the middle sends the same on every run",
        [
            Run("1", []),
            Run("2", ["1"]),
            Run("3", [], "3", NEW),
            Run("4", ["3"]),
            Run("1", []),
            Run("2", ["1"]),
            Run("3", [], "3", NEW),
            Run("4", ["3"]),
            Run("2", ["1"]),
            Run("4", ["3"]),
        ],
    ),
    Case(
        "questions of one cell that are numbered follow each other",
        [
            Run("1:0", []),
            Run("1:1", ["1:0"]),
            Run("2:0", ["1:0", "1:1"]),
            Run("1:0", []),
            Run("1:1", ["1:0"]),
            Run("1:2", ["1:0", "1:1"]),
            Run("2:0", ["1:0", "1:1"]),
        ],
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.id)
def test_what_goes_along_with_a_question(conversations: Conversations, case: Case) -> None:
    for number, run in enumerate(case.runs):
        sent = ask(conversations, run.text, cell=run.cell, respond=lambda _: "answer", **run.options)

        assert [t for t in sent if t != "answer"] == [*run.before, run.text], f"run {number}: {run}"
        assert sent.count("answer") == len(run.before)


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.id)
def test_each_run_finds_its_place_also_in_another_kernel(store: Any, case: Case) -> None:
    """What a named conversation knows of its cells is in the store, not in the kernel."""
    for number, run in enumerate(case.runs):
        kernel = Conversations(store, kernel=f"kernel-{number}")
        sent = ask(kernel, run.text, name="notes", cell=run.cell, respond=lambda _: "answer", **run.options)

        assert [t for t in sent if t != "answer"] == [*run.before, run.text], f"run {number}: {run}"
