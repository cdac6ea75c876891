"""What an engine is: it asks cells, and hands what comes to the desk of the driver, which alone keeps and counts.

An engine never writes to the store and never decides what may be spent. It asks `desk.admit` before it sends, and
tells `desk.settle` of everything that came. The same cells come out of every engine.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from nbllm.compare.cells import CellSpec, Outcome


class Desk(Protocol):
    """The driver, as an engine sees it. Its coroutines run on the background loop."""

    async def admit(self, specs: Sequence[CellSpec]) -> Sequence[CellSpec]:
        """Those of `specs` that are to be sent now, and no others.

        They are claimed for this process, so that no other one pays for them, and their worst cost is reserved. What
        is left out is answered by somebody else, or belongs to a lane that was stopped. An empty answer means that none
        of these is to be sent.

        Raises:
            BudgetError: The next one does not fit into what is left of the budget. Send nothing more; what is under
                way is still settled.
            StoreError: Nothing can be kept any more. Likewise.
        """
        ...

    async def settle(self, outcome: Outcome) -> None:
        """Keep what came of a cell; it is on the disk when this returns.

        Raises:
            StoreError: It is in memory only. Send nothing more.
        """
        ...

    async def release(self, specs: Sequence[CellSpec]) -> None:
        """Give back cells that were admitted and never sent."""
        ...

    async def remember(self, name: str, value: str | None) -> None:
        """Keep a word of the engine's own with the comparison, for example a batch's id; None forgets it."""
        ...

    async def recall(self) -> dict[str, str]:
        """The engine's own words, from an earlier process too."""
        ...


class Engine(Protocol):
    """Asks cells, in this order as far as it can."""

    async def run(self, specs: Sequence[CellSpec], desk: Desk) -> None:
        """Ask until each of `specs` is settled, or left out by the desk.

        When it is cancelled, requests under way are given up, and what is admitted and not settled is released.
        """
        ...
