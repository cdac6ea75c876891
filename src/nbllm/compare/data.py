"""The table that prompts are made of: a DataFrame of pandas or polars, an Arrow table, or a list of dicts."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nbllm.errors import PromptError
from nbllm.foreign import one_line

_SUFFIXES = (".csv", ".jsonl", ".parquet")


@dataclass(frozen=True, slots=True)
class Data:
    """Rows of plain values, and what each row is called."""

    columns: tuple[str, ...]
    rows: tuple[Mapping[str, Any], ...]
    ids: tuple[str, ...]
    """The index of a pandas table where it tells its rows apart, else numbers from 1."""


def read_data(data: Any) -> Data:
    """Take a table in.

    Raises:
        PromptError: It is none, it is empty, or two columns have the same name.
    """
    columns, rows, ids = _taken(data)
    twice = [name for name, count in Counter(columns).items() if count > 1]
    if twice:
        raise PromptError(f"the data has two columns of the name {one_line(twice[0], 60)!r}", hint="rename one of them")
    if not rows:
        raise PromptError("the data has no rows", hint="give a table with a row for each prompt")
    plain = tuple({name: plain_value(row.get(name)) for name in columns} for row in rows)
    return Data(tuple(columns), plain, tuple(ids or map(str, range(1, len(rows) + 1))))


def _taken(data: Any) -> tuple[list[str], list[Mapping[str, Any]], list[str] | None]:
    if hasattr(data, "iloc") and hasattr(data, "columns"):  # pandas
        columns = [str(c) for c in data.columns]
        rows: list[Mapping[str, Any]] = [
            dict(zip(columns, values, strict=True)) for values in data.itertuples(index=False, name=None)
        ]
        return columns, rows, [str(i) for i in data.index] if data.index.is_unique and data.index.name else None
    if hasattr(data, "to_dicts") and hasattr(data, "columns"):  # polars
        return [str(c) for c in data.columns], list(data.to_dicts()), None
    if hasattr(data, "to_pylist") and hasattr(data, "column_names"):  # pyarrow
        return [str(c) for c in data.column_names], list(data.to_pylist()), None
    if isinstance(data, Sequence) and not isinstance(data, (str, bytes)) and all(isinstance(r, Mapping) for r in data):
        columns = list(dict.fromkeys(str(name) for row in data for name in row))
        return columns, [{str(k): v for k, v in row.items()} for row in data], None
    raise PromptError(
        f"the data is of type {type(data).__name__}, not a table",
        hint="give a DataFrame (pandas or polars), an Arrow table, or a list of dicts",
    )


def plain_value(value: Any) -> Any:
    """A value as JSON has it. What stands for a missing value (NaN, NaT, NA) becomes None."""
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return None if math.isnan(value) else value
    if isinstance(value, Mapping):
        return {str(k): plain_value(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain_value(v) for v in value]
    if hasattr(value, "tolist"):  # numpy, scalars and arrays
        return plain_value(value.tolist())
    if type(value).__name__ in ("NAType", "NaTType"):
        return None
    return str(value)


def read_file(path: Path) -> Any:
    """The table in a file, by its ending: csv, jsonl or parquet.

    Raises:
        PromptError: It is none of these, cannot be read, or its reader is not installed.
    """
    try:
        if path.suffix == ".csv":
            return _read_csv(path)
        if path.suffix == ".jsonl":
            return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        if path.suffix == ".parquet":
            return _read_parquet(path)
    except (OSError, ValueError) as exc:
        why = getattr(exc, "strerror", None) or one_line(exc)
        raise PromptError(f"cannot read the data {path}: {why}", hint="check the path and the file") from exc
    raise PromptError(f"cannot read the data {path}: of which kind is it?", hint=f"name it {', '.join(_SUFFIXES)}")


def _read_csv(path: Path) -> list[dict[str, Any]]:
    import csv  # noqa: PLC0415  (only for such files)

    with path.open(encoding="utf-8-sig", newline="") as file:
        lines = csv.reader(file)
        head = next(lines, [])
        twice = [name for name, count in Counter(head).items() if count > 1]
        if twice:
            raise ValueError(f"two columns have the name {twice[0]!r}")
        return [dict(zip(head, line, strict=False)) for line in lines if line]


def _read_parquet(path: Path) -> Any:
    try:
        import polars  # noqa: PLC0415  (optional, and heavy)
    except ImportError:
        try:
            from pyarrow import parquet  # noqa: PLC0415  (the same)
        except ImportError:
            raise ValueError("neither polars nor pyarrow is installed") from None
        return parquet.read_table(path)
    return polars.read_parquet(path)
