"""Where a value stands on an axis, and which values an axis names.

A `Domain` says what an axis is about before anybody knows how long it will be; a `Scale` is that domain on pixels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise

from nbllm.compare.pictures.numbers import digits
from nbllm.compare.pictures.text import SMALL, text_width

LOG_FROM = 20.0
"""A logarithmic axis, once the largest value is so many times the smallest."""
ZERO_SLOT = 30.0
"""Pixels at the low end of a logarithmic axis that belong to the value 0."""
_GAP = 7.0


@dataclass(frozen=True, slots=True)
class Domain:
    """What an axis covers."""

    low: float
    high: float
    log: bool = False
    has_zero: bool = False
    """Whether a logarithmic axis also needs a place for 0."""
    tick_text: Callable[[float], str] | None = field(default=None, compare=False)
    """How ticks are said; None: with the decimals that their step needs."""


def linear(
    values: Iterable[float], *, include: Iterable[float] = (), tick_text: Callable[[float], str] | None = None
) -> Domain:
    """A domain around `values`, with a little air; never air beyond 0 or 1 that no value reaches."""
    numbers = [*values, *include]
    low, high = (min(numbers), max(numbers)) if numbers else (0.0, 1.0)
    span = high - low
    size = max(abs(low), abs(high))
    if span <= size * 1e-9:  # all alike, or as good as
        span = size or 1.0
    air = span * (0.06 if high - low > size * 1e-9 else 0.5)
    wide_low, wide_high = low - air, high + air
    if low >= 0:
        wide_low = max(0.0, wide_low) if low > 0.15 * high else 0.0
    if low >= 0 and high <= 1:
        wide_high = min(1.0, wide_high)
    if wide_high <= wide_low:
        wide_high = wide_low + 1.0
    return Domain(wide_low, wide_high, tick_text=tick_text)


def positive(values: Iterable[float], *, tick_text: Callable[[float], str] | None = None) -> Domain:
    """A domain of amounts: from 0, or logarithmic when the range asks for it."""
    numbers = list(values)
    above = [v for v in numbers if v > 0]
    if not above or min(numbers) < 0 or max(above) / min(above) < LOG_FROM:
        return linear(numbers, include=() if min(numbers, default=0) < 0 else (0.0,), tick_text=tick_text)
    air = 0.04 * (math.log10(max(above)) - math.log10(min(above)))
    low, high = math.log10(min(above)) - air, math.log10(max(above)) + air
    return Domain(10**low, 10**high, log=True, has_zero=0 in numbers, tick_text=tick_text)


@dataclass(frozen=True, slots=True)
class Scale:
    """A domain between two pixels. `start` may be larger than `end`, as on a vertical axis."""

    domain: Domain
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """The pixel of `value`; the nearer end for what lies outside."""
        share = self._share(value)
        return self.start + (self.end - self.start) * min(1.0, max(0.0, share))

    def _share(self, value: float) -> float:
        low, high = self.domain.low, self.domain.high
        if not self.domain.log:
            return (value - low) / (high - low)
        slot = ZERO_SLOT / abs(self.end - self.start) if self.domain.has_zero else 0.0
        if value <= 0:
            return slot * 0.3
        along = (math.log10(value) - math.log10(low)) / (math.log10(high) - math.log10(low))
        return slot + (1 - slot) * min(1.0, max(0.0, along))

    def ticks(
        self, *, upright: bool = False, within: tuple[float, float] = (-math.inf, math.inf)
    ) -> list[tuple[float, str, float]]:
        """Values with their texts and the pixel on which the text is centred.

        As many as stand beside each other (`upright`: under each other) without touching and within these pixels.
        """
        chosen: list[tuple[float, str, float]] = []
        for values in self._candidates():
            said = [self._tick(v, self._text(v, values), within) for v in values]
            if self._has_room(said, upright=upright):
                return said
            chosen = chosen or said
        return chosen[:1]

    def _tick(self, value: float, text: str, within: tuple[float, float]) -> tuple[float, str, float]:
        half = text_width(text, SMALL) / 2
        return value, text, max(within[0] + half, min(self(value), within[1] - half))

    def _candidates(self) -> Iterator[list[float]]:
        domain = self.domain
        wanted = max(2, min(7, round(abs(self.end - self.start) / 32)))
        if not domain.log:
            for target in range(wanted, 0, -1):
                yield steps(domain.low, domain.high, target)
            return
        zero = [0.0] if domain.has_zero else []
        for values in decades(domain.low, domain.high):
            if len(values) <= wanted + 2:
                yield zero + values

    def _text(self, value: float, values: list[float]) -> str:
        if self.domain.tick_text is not None:
            return self.domain.tick_text(value)
        if self.domain.log:
            return digits(value, 1)
        step = values[1] - values[0] if len(values) > 1 else abs(value)
        return step_text(value, step)

    def _has_room(self, said: list[tuple[float, str, float]], *, upright: bool) -> bool:
        if len({text for _, text, _ in said}) < len(said):
            return False
        spans = sorted((at, 14.0 if upright else text_width(t, SMALL)) for _, t, at in said)
        free = 4.0 if upright else _GAP
        return all(b - a >= (wa + wb) / 2 + free for (a, wa), (b, wb) in pairwise(spans))


def steps(low: float, high: float, target: int) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten, about `target` of them between `low` and `high`."""
    raw = (high - low) / target
    base = 10.0 ** math.floor(math.log10(raw))
    step = next((base * m for m in (1, 2, 5) if base * m >= raw * (1 - 1e-9)), base * 10)
    first, last = math.ceil(low / step - 1e-6), math.floor(high / step + 1e-6)
    return [k * step for k in range(first, min(last, first + 50) + 1)]


def decades(low: float, high: float) -> Iterator[list[float]]:
    """Values for a logarithmic axis, from many to few."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))

    def between(powers: Iterable[int], factors: Iterable[int]) -> list[float]:
        values = (m * 10.0**k for k in powers for m in factors)
        return [v for v in values if low * (1 - 1e-9) <= v <= high * (1 + 1e-9)]

    powers = range(first, last + 1)
    for factors in ((1, 2, 5), (1, 3), (1,)):
        yield between(powers, factors)
    for stride in (2, 3, 5, 10, 20, 50, 100):
        yield between([k for k in powers if k % stride == 0], (1,))


def step_text(value: float, step: float) -> str:
    """A tick with the decimals that its step needs."""
    if value == 0 or abs(value) < abs(step) * 1e-6:
        return "0"
    if abs(step) >= 1e-5 and abs(value) < 1e7:
        places = max(0, -math.floor(math.log10(abs(step)) + 1e-9))
        return f"{value:,.{places}f}".replace("-", "−")
    precise = max(0, math.floor(math.log10(abs(value)) + 1e-9) - math.floor(math.log10(abs(step)) + 1e-9))
    mantissa, _, power = f"{value:.{min(precise, 15)}e}".partition("e")
    mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
    return f"{mantissa}e{int(power)}".replace("-", "−")
