"""How far a run is, for whoever shows it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal

Phase = Literal["checking", "asking", "judging", "done"]


@dataclass(slots=True)
class Progress:
    """Numbers of a run, changed while it runs."""

    total: int
    """Cells of this phase."""
    stored: int = 0
    """Of these were in the store before."""
    phase: Phase = "asking"
    done: int = 0
    """Answered in this run, errors among them."""
    errors: int = 0
    cost_usd: Decimal = Decimal(0)
    """Of the answers of this run whose cost is known."""
    unknown_costs: int = 0
    """Answers whose cost is not known."""
    news: str = ""
    """What is being waited for, in words."""
    began: float = field(default_factory=time.monotonic)

    @property
    def left(self) -> int:
        """Cells that are still to come."""
        return max(0, self.total - self.stored - self.done)

    @property
    def left_s(self) -> float | None:
        """Seconds until the end at the present pace; None before anything came."""
        return self.left * (time.monotonic() - self.began) / self.done if self.done else None

    @property
    def projected_usd(self) -> Decimal | None:
        """What this phase will have cost in the end; None while a cost is unknown or nothing came."""
        if not self.done or self.unknown_costs:
            return None
        return self.cost_usd / self.done * (self.done + self.left)

    def sentence(self) -> str:
        """On one line, for example `asked 120 of 2,000 (3 errors), $0.02 so far, $0.40 in all, 12 s left`."""
        word = {"checking": "checked", "judging": "judged"}.get(self.phase, "asked")
        errors = f" ({self.errors:,} error{'s' if self.errors != 1 else ''})" if self.errors else ""
        stored = f", {self.stored:,} from the store" if self.stored else ""
        parts = [f"{word} {self.done:,} of {self.total - self.stored:,}{errors}{stored}", *self._cost()]
        if self.phase != "done" and self.left and self.left_s is not None:
            parts.append(f"{self.left_s:,.0f} s left")
        if self.news:
            parts.append(self.news)
        return ", ".join(parts)

    def _cost(self) -> list[str]:
        if self.unknown_costs == self.done:
            return ["cost unknown"] if self.done else []
        about = "more than " if self.unknown_costs else ""
        projected = self.projected_usd
        in_all = [f"${projected:.4f} in all"] if projected is not None and self.left else []
        return [f"{about}${self.cost_usd:.4f} so far", *in_all]
