"""Where a comparison comes from: who can go on with it, and what else is known of its run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from nbllm.compare.ballots import Vote
    from nbllm.compare.comparison import Comparison
    from nbllm.compare.judging import Judged
    from nbllm.compare.options import EngineName
    from nbllm.compare.scorers import Scorer


class Origin(Protocol):
    """Where a comparison comes from, and who can go on with it."""

    def judge(self, comparison: Comparison, ref: str | None, rubric: str | None) -> Judged:
        """Ask a judge about answers that are there."""
        ...

    def again(self, comparison: Comparison, *, retry_errors: bool) -> Comparison:
        """Ask what is missing."""
        ...

    def votes(self, name: str) -> list[Vote]:
        """What was voted, oldest first."""
        ...

    def keep_vote(self, name: str, vote: Vote) -> None:
        """Keep a vote."""
        ...

    def view(self, comparison: Comparison, *, blind: bool, voter: str | None) -> Any:
        """The widget."""
        ...


@dataclass(frozen=True, slots=True)
class Facts:
    """What else is known of a run, for the manifest."""

    engine: EngineName = "local"
    hosts: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    scorers: tuple[Scorer, ...] = field(default=())
