"""What is looked for in the catalogue: words, bounds, an order. An unknown value never satisfies a bound."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from nbllm.catalog.marks import Marked, nearest, unknown_group
from nbllm.errors import UsageError
from nbllm.foreign import one_line
from nbllm.providers.spec import ModelInfo

COLUMNS = (
    "ref", "provider", "id", "name", "type", "context", "max_input", "max_output", "input_price", "output_price",
    "cached_input_price", "input_modalities", "output_modalities", "tools", "reasoning", "structured_output",
    "created", "status", "favourite", "groups", "sources",
)  # fmt: skip
"""The fixed columns, in order. Prices are USD per million tokens; None is unknown."""

SORTS = tuple(
    c for c in COLUMNS if c not in ("favourite", "groups", "sources", "input_modalities", "output_modalities")
)
LIMIT = 50

Test = Callable[[ModelInfo], bool]


@dataclass(frozen=True, slots=True)
class Wanted:
    """A search. What is not given does not count."""

    query: str = ""
    """Words that all must stand in the reference or the name, in any order and any case."""
    providers: tuple[str, ...] = ()
    vision: bool = False
    """Takes pictures."""
    tools: bool = False
    reasoning: bool = False
    json: bool = False
    """Answers that fit a JSON Schema."""
    min_context: int | None = None
    """Tokens."""
    max_price: float | None = None
    """USD per million input tokens."""
    free: bool = False
    """Prices in and out that are said to be 0."""
    local: bool = False
    """Served on this machine."""
    favourites: bool = False
    group: str | None = None
    sort: str | None = None
    """One of `SORTS`; with `-` in front the other way round. Unknown values come last. None: best match first."""
    limit: int | None = LIMIT
    """Rows shown; None: all."""

    @property
    def is_bounded(self) -> bool:
        """Whether anything but the query narrows the search."""
        return self != Wanted(self.query, sort=self.sort, limit=self.limit)


def check(wanted: Wanted, marked: Marked) -> None:
    """Refuse what cannot be looked for.

    Raises:
        UsageError: A column or group that is not there (it names the nearest), or a number that is no bound.
    """
    if wanted.sort is not None and wanted.sort.removeprefix("-") not in SORTS:
        column = wanted.sort.removeprefix("-")
        raise UsageError(
            f"there is no column {one_line(column, 80)!r} to sort by", hint=nearest(column, SORTS, "columns")
        )
    if wanted.group is not None and wanted.group not in marked.groups:
        raise unknown_group(wanted.group, marked.groups)
    if wanted.max_price is not None and not (math.isfinite(wanted.max_price) and wanted.max_price >= 0):
        raise UsageError("a price is 0 or more, in USD per million tokens", hint="for example --max-price 0.5")
    if wanted.min_context is not None and wanted.min_context < 0:
        raise UsageError("a context is 0 or more, in tokens", hint="for example --min-context 32000")
    if wanted.limit is not None and wanted.limit < 0:
        raise UsageError("a limit is 0 or more rows", hint="for example --limit 200")


def read_tokens(text: str) -> int:
    """A number of tokens: `128000`, `128k`, `1m`.

    Raises:
        UsageError: It is none.
    """
    factor = {"k": 1_000, "m": 1_000_000}.get(text[-1:].lower(), 1)
    try:
        return int(float(text[:-1] if factor > 1 else text) * factor)
    except (ValueError, OverflowError):
        raise UsageError("that is not a number of tokens", hint="for example 128000, 128k or 1m") from None


def tests(wanted: Wanted) -> Iterator[Test]:
    """What each model must be, by its own facts alone."""
    if wanted.vision:
        yield lambda m: m.input_modalities is not None and "image" in m.input_modalities
    if wanted.tools:
        yield lambda m: m.tools is True
    if wanted.reasoning:
        yield lambda m: m.reasoning is True
    if wanted.json:
        yield lambda m: m.structured_output is True
    if (least := wanted.min_context) is not None:
        yield lambda m: (m.context or m.max_input or -1) >= least  # the input alone is a part of the context
    if (most := wanted.max_price) is not None:
        yield lambda m: m.input_price is not None and m.input_price <= most
    if wanted.free:
        yield lambda m: m.input_price == 0 and m.output_price == 0
