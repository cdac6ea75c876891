"""Numbers are read as people and models write them, and what is no number is not."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbllm.compare.numerals import last_number, number_of

READ = {
    "The answer is 1,234.5.": "1234.5",
    "−3": "-3",
    "x=-7": "-7",
    "(-7)": "-7",
    "-$5": "-5",
    "10-5": "5",
    "2026-11-20": "20",
    "1.5e-3": "0.0015",
    "1.5E+3 units": "1500",
    "1.5 × 10³": "1500",
    "2 * 10^-2": "0.02",
    r"3.2 \times 10^{-5}": "0.000032",
    "10^6": "1000000",
    "3/4": "0.75",
    "-3/4": "-0.75",
    "1 1/2": "1.5",
    "1½": "1.5",
    "½": "0.5",
    r"\frac{3}{4}": "0.75",
    r"$\boxed{12}$": "12",
    "1{,}234": "1234",
    "1.234.567,8": "1234567.8",
    "1.234,5": "1234.5",
    "3,14": "3.14",
    "0,125": "0.125",
    "1.234": "1.234",
    "1,234": "1234",
    "12,34,567": "1234567",
    "1\u202f234\u202f567": "1234567",
    "1'000'000": "1000000",
    "1_000": "1000",
    "1, 2, 3": "3",
    "1,2,3": "3",
    "١٢٫٥": "12.5",
    "１２": "12",
    "...5": "5",
    ".5": "0.5",
    "50 %": "50",
    "5kg": "5",
    "1/2/2024": "2024",
    "first 1, then 2": "2",
}


@pytest.mark.parametrize("text", READ)
def test_the_last_number_of_a_text_is_read(text: str) -> None:
    assert last_number(text) == Decimal(READ[text])


@pytest.mark.parametrize("text", ["", "no number", "GPT-4", "v1.2", "a1", "x_2", "3/0", "²"])
def test_what_is_a_part_of_a_name_or_no_number_is_not_read(text: str) -> None:
    assert last_number(text) is None


@given(st.integers(-(10**30), 10**30))
def test_every_whole_number_is_read_back_with_and_without_thousands_separators(number: int) -> None:
    assert last_number(f"It is {number}.") == last_number(f"It is {number:,}.") == number


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_float_is_read_back_in_pythons_own_notation(number: float) -> None:
    assert last_number(f"so {number!r}") == Decimal(repr(number))


@given(st.text(alphabet="0123456789.,-+eE/ ×^{}\\frac½10'", max_size=60))
def test_no_text_breaks_the_reading(text: str) -> None:
    found = last_number(text)
    assert found is None or not found.is_nan()


def test_a_long_text_of_half_numbers_is_read_to_its_end() -> None:
    for piece in ("1,11", "1.111", "1 1 ", "1/", "-", "½", "1,"):
        last_number(piece * 200_000)
    assert last_number("1,11" * 200_000 + " is 7") == 7


def test_a_huge_exponent_stays_a_number_that_can_be_compared() -> None:
    found = last_number("1e999999")
    assert found is not None
    assert found > 10**100


def test_values_of_a_table_are_numbers_also_as_text_and_as_numpy_has_them() -> None:
    import numpy as np

    assert number_of(0.1) == number_of(np.float32(0.1)) == number_of("0.1") == Decimal("0.1")
    assert number_of(np.int64(3)) == number_of(Decimal(3)) == 3
    assert number_of(Fraction(3, 4)) == Decimal("0.75")
    assert number_of(True) is None
    assert number_of(float("inf")) is None
    assert number_of("none") is None
