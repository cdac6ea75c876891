"""Where an exchange stands in its conversation, and where the next one goes.

A conversation is a tree of exchanges (a prompt, rounds of tools, the answer). A cell that is run again asks again
from the point where it stood; if the exchange before it was asked again since, it follows the newest of that. So
each cell keeps its predecessor, and a notebook's requests depend on its cells, not on how often they were run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Placed = Literal["cell", "append", "alone"]
"""How an exchange got its place: `cell` by the rule above, or behind the head; `append` behind the head because that
was asked for, although the cell had a place; `alone` without history, as a branch that nothing follows."""


@dataclass(frozen=True, slots=True)
class Node:
    """One exchange, without its text. Ids are of messages unless they say otherwise."""

    id: str
    """Of the exchange."""
    parent_id: str | None
    """The message that its first one follows; None at the root."""
    message_ids: tuple[str, ...]
    cell: str | None
    placed: Placed

    @property
    def last_id(self) -> str:
        """The message that a next exchange follows."""
        return self.message_ids[-1]


class Tree:
    """The exchanges of one conversation, in the order in which they were stored."""

    def __init__(self) -> None:
        self.seq = 0
        """Of the newest message in here."""
        self._nodes: dict[str, Node] = {}
        self._of_message: dict[str, str] = {}
        self._of_cell: dict[str, list[str]] = {}

    def __len__(self) -> int:
        return len(self._nodes)

    def __iter__(self) -> Iterator[Node]:
        return iter(self._nodes.values())

    def add(self, rows: Sequence[Any]) -> None:
        """Take in messages: rows with `id, parent_id, exchange_id, seq, cell, placed`, by rising `seq`."""
        for row in rows:
            if row.id not in self._of_message:
                self._add(row)
            self.seq = max(self.seq, row.seq)

    def _add(self, row: Any) -> None:
        self._of_message[row.id] = row.exchange_id
        known = self._nodes.get(row.exchange_id)
        if known is None:
            self._nodes[row.exchange_id] = Node(row.exchange_id, row.parent_id, (row.id,), row.cell, row.placed)
            if row.cell is not None:
                self._of_cell.setdefault(row.cell, []).append(row.exchange_id)
        else:
            ids = (*known.message_ids, row.id)
            self._nodes[row.exchange_id] = Node(known.id, known.parent_id, ids, known.cell, known.placed)

    def of_message(self, message_id: str | None) -> Node | None:
        """The exchange that a message belongs to."""
        found = self._of_message.get(message_id) if message_id is not None else None
        return self._nodes[found] if found is not None else None

    def of_cell(self, cell: str) -> list[Node]:
        """The exchanges that a cell made, oldest first."""
        return [self._nodes[i] for i in self._of_cell.get(cell, ())]

    def path(self, message_id: str | None) -> list[Node]:
        """The exchanges from the root to the one with this message."""
        found: list[Node] = []
        node = self.of_message(message_id)
        while node is not None:
            found.append(node)
            node = self.of_message(node.parent_id)
        return found[::-1]

    def place(self, cell: str | None, head_id: str | None, *, append: bool) -> tuple[str | None, Placed]:
        """The message that the next exchange of `cell` follows, and how that was found."""
        settled = [n for n in self.of_cell(cell) if n.placed == "cell"] if cell is not None else []
        if cell is None or not settled:
            return head_id, "cell"
        if append:
            return head_id, "append"
        return self._newest_before(cell, settled[-1]), "cell"

    def _newest_before(self, cell: str, stood: Node) -> str | None:
        """What `cell`, which stood at `stood`, is to follow now."""
        before = self.of_message(stood.parent_id)
        if before is None or before.cell is None:
            return stood.parent_id
        for again in reversed(self.of_cell(before.cell)):
            # An appended one may stand behind this very cell; following that would add to the prompt on every run.
            if again.placed != "alone" and all(n.cell != cell for n in self.path(again.last_id)):
                return again.last_id
        return stood.parent_id

    def leaves(self) -> list[Node]:
        """The exchanges that nothing follows, oldest first."""
        followed = {n.parent_id for n in self}
        return [n for n in self if not followed.intersection(n.message_ids)]
