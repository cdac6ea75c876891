"""Numbers as they come in rows, and as pictures say them.

Everything is rounded to fixed decimals, so that the same rows give the same bytes on each machine.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

HUGE = 1e200
"""From here on two numbers cannot be subtracted safely; such values count as unknown."""
TINY = 1e-200
"""Below this a value is drawn and said as 0, which it is for every eye."""

MOST_DECIMALS = 6


def finite(value: Any) -> float | None:
    """`value` as a float; None for what is missing, not a number, not finite or absurdly large."""
    if value is None or isinstance(value, (str, bytes)):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):  # pandas.NA, Decimal("sNaN"), 10**400
        return None
    if not math.isfinite(number) or abs(number) >= HUGE:
        return None
    return 0.0 if abs(number) < TINY else number


def count(row: Mapping[str, Any], column: str) -> int | None:
    """A whole number of that column, or None."""
    number = finite(row.get(column))
    return None if number is None else round(number)


def known(values: Iterable[float | None]) -> list[float]:
    """Those that are not None."""
    return [v for v in values if v is not None]


def decimals_for(values: Iterable[float | None]) -> int:
    """So many that the values can be told apart: two digits of their range, at least 2 below ten."""
    numbers = known(values)
    if not numbers:
        return 2
    span = max(numbers) - min(numbers)
    wanted = math.ceil(-math.log10(span) - 1e-9) + 1 if span > 0 else 0
    return min(MOST_DECIMALS, max(wanted, 2 if max(map(abs, numbers)) < 10 else 0))


def fixed(value: float, decimals: int) -> str:
    """With so many decimals and a real minus; in powers of ten where digits would not end or would not begin."""
    size = abs(value)
    if size >= 1e7 or (decimals >= MOST_DECIMALS and 0 < size < 1e-4):
        return _minus(_power(value, 2))
    return _minus(f"{value + 0.0:,.{decimals}f}")


def signed(value: float, decimals: int) -> str:
    """As `fixed`, with a plus before what is above zero."""
    text = fixed(value, decimals)
    return f"+{text}" if value > 0 else text


def digits(value: float, wanted: int = 3) -> str:
    """With so many significant digits: 1,240 · 12.4 · 0.00124."""
    if value == 0:
        return "0"
    size = math.floor(math.log10(abs(value)) + 1e-12)
    if size >= 7 or size < -6:
        return _minus(_power(value, wanted - 1))
    text = f"{round(value, wanted - 1 - size):,.{max(0, wanted - 1 - size)}f}"
    return _minus(text)


def _power(value: float, decimals: int) -> str:
    mantissa, _, exponent = f"{value:.{decimals}e}".partition("e")
    mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
    return f"{mantissa}e{int(exponent)}"


def _minus(text: str) -> str:
    return text.replace("-", "−")
