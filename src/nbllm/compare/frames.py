"""Cells as columns with fixed types, for pandas, polars and whoever reads Arrow.

The type of a column never depends on what happens to stand in it: a comparison without one error has the same frame as
one with many, so that two can be put below each other.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Literal

from nbllm.compare.cells import COLUMNS, Row
from nbllm.compare.facts import is_number
from nbllm.errors import UnsupportedError
from nbllm.foreign import visible

ColumnType = Literal["text", "json", "whole", "number", "truth"]

TYPES: dict[str, ColumnType] = {
    **dict.fromkeys(COLUMNS, "text"),
    **dict.fromkeys(("vars", "params"), "json"),
    **dict.fromkeys(("repeat", "input_tokens", "cached_input_tokens", "output_tokens", "reasoning_tokens"), "whole"),
    **dict.fromkeys(("ttft_ms", "latency_ms", "cost_usd"), "number"),
    "from_store": "truth",
}
"""What each of `cells.COLUMNS` holds. A scorer's column holds numbers, or text when one of its values is no number."""

_HALF = re.compile("[\ud800-\udfff]+")


def columns_of(rows: Sequence[Row], scorers: Sequence[str] = ()) -> list[str]:
    """All columns in order: those every cell has, the scorers', then what else the rows have."""
    found = dict.fromkeys((*COLUMNS, *scorers))
    for row in rows:
        if len(row) != len(found) or row.keys() != found.keys():
            found |= dict.fromkeys(row)
    return list(found)


def to_frame_rows(rows: Sequence[Row], scorers: Sequence[str] = ()) -> list[dict[str, Any]]:
    """The cells as rows of plain values that any frame can hold.

    `vars` and `params` are JSON text, also for pandas: the keys differ from row to row, which a column of structs
    cannot hold. `cost_usd` is a float. What is unknown, and a score that is not finite, is None. A half surrogate,
    which is no text in UTF-8, is spelt out as `<U+D83D>`.
    """
    columns = to_columns(rows, scorers)
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def to_columns(rows: Sequence[Row], scorers: Sequence[str] = ()) -> dict[str, list[Any]]:
    """The values of `to_frame_rows`, column by column."""
    found = {}
    for name in columns_of(rows, scorers):
        values = [row.get(name) for row in rows]
        make = _MADE[_type_of(name, values)]
        found[name] = [None if value is None else make(value) for value in values]
    return found


def _type_of(name: str, values: Sequence[Any]) -> ColumnType:
    known = TYPES.get(name)
    if known is not None:
        return known
    return "number" if all(value is None or _is_numeric(value) for value in values) else "text"


def _is_numeric(value: Any) -> bool:
    return is_number(value) or isinstance(value, (float, Decimal))  # NaN and infinity are no scores, and no texts


def _text(value: Any) -> str:
    return without_halves(value if isinstance(value, str) else _json(value))


def _json(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return without_halves(text)


def _number(value: Any) -> float | None:
    number = float(value)
    return number if math.isfinite(number) else None


_MADE: dict[ColumnType, Any] = {"text": _text, "json": _json, "whole": int, "number": _number, "truth": bool}


def without_halves(text: str) -> str:
    """The text with each half surrogate spelt out, so that it can be written as UTF-8."""
    return text if text.isascii() else _HALF.sub(lambda m: visible(m[0]), text)


def to_pandas(rows: Sequence[Row], scorers: Sequence[str] = ()) -> Any:
    """A pandas DataFrame: `string`, `Int64`, `float64` and `boolean`, whatever is missing. Needs pandas."""
    import pandas as pd  # noqa: PLC0415  (optional, and heavy)

    dtypes = {"text": "string", "json": "string", "whole": "Int64", "number": "float64", "truth": "boolean"}
    columns = to_columns(rows, scorers)
    return pd.DataFrame(
        {name: pd.Series(values, dtype=dtypes[_type_of(name, values)]) for name, values in columns.items()}
    )


def to_polars(rows: Sequence[Row], scorers: Sequence[str] = ()) -> Any:
    """A polars DataFrame: `String`, `Int64`, `Float64` and `Boolean`, whatever is missing. Needs polars."""
    import polars as pl  # noqa: PLC0415  (optional, and heavy)

    types = {"text": pl.String, "json": pl.String, "whole": pl.Int64, "number": pl.Float64, "truth": pl.Boolean}
    columns = to_columns(rows, scorers)
    return pl.DataFrame(columns, schema={name: types[_type_of(name, values)] for name, values in columns.items()})


def to_arrow(rows: Sequence[Row], scorers: Sequence[str] = ()) -> Any:
    """A pyarrow Table with the same types. Needs pyarrow."""
    import pyarrow as pa  # noqa: PLC0415  (optional, and heavy)

    types = {"text": pa.string(), "json": pa.string(), "whole": pa.int64(), "number": pa.float64(), "truth": pa.bool_()}
    columns = to_columns(rows, scorers)
    schema = pa.schema([(name, types[_type_of(name, values)]) for name, values in columns.items()])
    return pa.table(columns, schema=schema)


def arrow_frame(rows: Sequence[Row], scorers: Sequence[str] = ()) -> Any:
    """A frame of pyarrow, or else of polars, which speaks the Arrow C stream interface.

    Raises:
        UnsupportedError: Neither is installed.
    """
    for make in (to_arrow, to_polars):
        try:
            return make(rows, scorers)
        except ImportError:
            continue
    raise UnsupportedError("this needs pyarrow or polars, and neither is installed", hint="pip install pyarrow")


def arrow_stream(rows: Sequence[Row], scorers: Sequence[str] = (), requested_schema: Any = None) -> Any:
    """The capsule for `__arrow_c_stream__`, by which pandas, polars, duckdb and others read without a copy of ours.

    https://arrow.apache.org/docs/format/CDataInterface/PyCapsuleInterface.html

    Raises:
        UnsupportedError: Neither pyarrow nor polars is installed.
    """
    return arrow_frame(rows, scorers).__arrow_c_stream__(requested_schema)


def json_value(value: Any) -> Any:
    """A value as it stands in JSON: mappings stay, decimals are numbers, what is not finite is null."""
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, Mapping):
        return {str(name): json_value(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_value(inner) for inner in value]
    return _number(value) if _is_numeric(value) else str(value)
