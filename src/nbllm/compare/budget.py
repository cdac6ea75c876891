"""What may be spent: the worst case of a cell is reserved before it is sent, and settled when its answer is there."""

from __future__ import annotations

from decimal import Decimal

from nbllm.errors import BudgetError, UsageError


class Budget:
    """USD of one run, and what is left of them.

    Args:
        usd: None: there is no limit, and only the sum is kept.
    """

    def __init__(self, usd: Decimal | None) -> None:
        self.usd = usd
        self.spent = Decimal(0)
        """By answers whose cost is known, and the worst case of those that were sent and whose cost is not."""
        self.unknown = 0
        """Answers whose cost is not known."""
        self._reserved: dict[str, Decimal] = {}

    @property
    def reserved(self) -> Decimal:
        """For cells under way."""
        return sum(self._reserved.values(), Decimal(0))

    def fits(self, worst: Decimal | None) -> bool:
        """Whether a cell may be sent that costs at most `worst`; None, an unknown cost, fits where it was allowed."""
        return self.usd is None or worst is None or self.spent + self.reserved + worst <= self.usd

    def reserve(self, key: str, worst: Decimal | None) -> None:
        """Set the worst case of a cell aside."""
        self._reserved[key] = worst or Decimal(0)

    def release(self, key: str) -> None:
        """The cell was not sent."""
        self._reserved.pop(key, None)

    def settle(self, key: str, cost: Decimal | None, *, answered: bool) -> None:
        """The cell was sent, and cost this. An answer of unknown cost counts as its worst case; an error as nothing."""
        worst = self._reserved.pop(key, Decimal(0))
        if answered and cost is None:
            self.unknown += 1
        self.spent += cost if cost is not None else worst if answered else Decimal(0)


def read_usd(value: object) -> Decimal | None:
    """A budget as it was given; None: there is none.

    Raises:
        UsageError: It is no amount above 0.
    """
    if value is None:
        return None
    try:
        usd = Decimal(str(value))
    except ArithmeticError:
        usd = Decimal("nan")
    if isinstance(value, bool) or not usd.is_finite() or usd <= 0:
        raise UsageError(f"a budget is an amount in USD above 0, not {value!r}", hint="for example 2.50")
    return usd


def used_up(budget: Budget, *, done: int, left: int, name: str) -> BudgetError:
    """The error for a run that stops at its budget."""
    return BudgetError(
        f"the budget of {budget.usd} USD does not hold the next cell: {done:,} done for {budget.spent:.4f} USD, "
        f"{left:,} left",
        hint=f"raise the budget, and go on with name={name!r}: what is done is not paid for again",
    )
