"""Whatever was run before: runs from top to bottom send the same each time, and nothing that was stored is lost."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from nbllm.conversations import Conversations
from nbllm.settings import Paths
from nbllm.store import Store
from unit.conversations.notebook import ask

CELLS = [f"cell-{i}" for i in range(5)]
NOWHERE = Paths.from_environment({"NBLLM_HOME": "/nonexistent/nbllm"})


class Notebook(RuleBasedStateMachine):
    """Cells of one notebook, run in any order, in one kernel or the next; the model answers by what it is sent."""

    def __init__(self) -> None:
        super().__init__()
        self.store = Store.open(NOWHERE, "sqlite://")
        self.kernels = 0
        self.flagged = False
        self.stored: list[tuple[str, ...]] = []
        self.restart()

    def teardown(self) -> None:
        self.store.close()

    @initialize(in_order=st.booleans())
    def first_run(self, in_order: bool) -> None:
        """A cell keeps the predecessor of its first run, so only a notebook first run in order stands in order."""
        self.in_order = in_order
        for cell in CELLS if in_order else ():
            self.run(cell, cell)

    @rule()
    def restart(self) -> None:
        self.kernels += 1
        self.conversations = Conversations(self.store, kernel=str(self.kernels))

    def run(self, cell: str, prompt: str, **options: Any) -> list[str]:
        sent = ask(self.conversations, prompt, name="notes", cell=cell, **options)
        self.stored.append(tuple(sent))
        return sent

    @rule(cell=st.sampled_from(CELLS), edited=st.booleans())
    def run_a_cell(self, cell: str, edited: bool) -> None:
        sent = self.run(cell, f"{cell} edited" if edited else cell)

        if not self.flagged:
            assert sum(text.startswith(f"{cell} ") or text == cell for text in sent) == 1, "a cell sees itself"

    @rule(cell=st.sampled_from(CELLS))
    def append(self, cell: str) -> None:
        before = [m.text for m in self.conversations.begin("notes").messages]

        assert self.run(cell, cell, append=True)[:-1] == before
        self.flagged = True

    @rule(cell=st.sampled_from(CELLS))
    def without_history(self, cell: str) -> None:
        head = self.conversations.begin("notes").parent_id

        assert self.run(cell, cell, history=False) == [cell]
        assert self.conversations.begin("notes").parent_id == head

    @rule(cell=st.sampled_from(CELLS))
    def afresh(self, cell: str) -> None:
        assert self.run(cell, cell, new=True) == [cell]

    @rule()
    def two_runs_from_top_to_bottom_send_the_same(self) -> None:
        first, second, third = ([self.run(cell, cell) for cell in CELLS] for _ in range(3))

        if self.in_order:
            assert first == second
        if self.in_order or not self.flagged:
            assert second == third

    @precondition(lambda self: self.stored)
    @invariant()
    def all_that_was_stored_is_there(self) -> None:
        conversation = self.conversations.get("notes")
        paths = [p for p in (conversation.exchanges, *conversation.branches) if p]
        known = {
            tuple(m.text for e in path[:n] for m in e.messages)[:-1] for path in paths for n in range(1, len(path) + 1)
        }
        assert set(self.stored) <= known


Notebook.TestCase.settings = settings(max_examples=20, stateful_step_count=12, suppress_health_check=list(HealthCheck))
TestNotebook = Notebook.TestCase
