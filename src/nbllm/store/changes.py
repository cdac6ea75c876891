"""What one transaction writes, as data: so that a database, a journal and a memory can all take it in."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Table, insert, select, update

from nbllm.store import schema

Row = Mapping[str, Any]

_BYTES = ("data", "asked")
"""Columns that hold bytes."""
_CHUNK = 400  # SQLite allows 999 parameters in a statement, other databases more


@dataclass(frozen=True, slots=True)
class Changes:
    """Rows to add, and columns to set afterwards.

    Rows are keyed by their `id`; one that is there already stays as it is, so taking in the same changes twice is
    the same as once.
    """

    rows: Mapping[str, Sequence[Row]] = field(default_factory=dict)
    """Table name to rows."""
    heads: Mapping[str, str] = field(default_factory=dict)
    """Conversation id to the message that is now its head."""
    remembered: bool = True
    """False: whoever wrote it has it in memory as well, so that the store need not, in case that the disk is lost."""

    def apply(self, connection: Connection, *, fresh: bool = False) -> int:
        """Write all of it; how many rows were new. `fresh`: messages and calls are known not to be there yet."""
        unseen = (schema.messages, schema.calls, schema.cells) if fresh else ()
        new = sum(
            _insert(connection, table, self.rows.get(table.name, ()), look=table not in unseen) for table in _in_order()
        )
        for conversation_id, message_id in self.heads.items():
            where = schema.conversations.c.id == conversation_id
            values = {"head_id": message_id, "updated_at": schema.now()}
            connection.execute(update(schema.conversations).where(where).values(values))
        return new

    def to_json(self) -> str:
        """One line of JSON."""
        rows = {name: [_encode(row) for row in part] for name, part in self.rows.items() if part}
        return json.dumps({"rows": rows, "heads": dict(self.heads)}, ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, line: str) -> Changes:
        """The reverse of `to_json`.

        Raises:
            ValueError: The line was not written by `to_json`, or only in part.
        """
        try:
            shape = json.loads(line)
            rows = {name: [_decode(row) for row in part] for name, part in shape["rows"].items()}
            return cls(rows, dict(shape["heads"]))
        except (KeyError, TypeError, AttributeError) as exc:
            raise ValueError(f"not a line of a journal: {exc!r}") from exc


def _in_order() -> Iterator[Table]:
    """Tables, each after those that it points to."""
    yield from (schema.conversations, schema.attachments, schema.messages, schema.calls, schema.marks)
    yield from (schema.comparisons, schema.comparison_runs, schema.cells, schema.comparison_words, schema.votes)


def _insert(connection: Connection, table: Table, rows: Sequence[Row], *, look: bool) -> int:
    """Add those rows whose id is not there yet (`look`: see which are); how many."""
    there = set(_existing(connection, table, [row["id"] for row in rows])) if look else ()
    missing = [dict(row) for row in rows if row["id"] not in there]
    if missing:
        connection.execute(insert(table), missing)
    return len(missing)


def _existing(connection: Connection, table: Table, ids: Sequence[str]) -> Iterator[str]:
    for start in range(0, len(ids), _CHUNK):
        chunk = ids[start : start + _CHUNK]
        yield from connection.scalars(select(table.c.id).where(table.c.id.in_(chunk)))


def _encode(row: Row) -> Row:
    return {k: {"base64": base64.b64encode(v).decode("ascii")} if isinstance(v, bytes) else v for k, v in row.items()}


def _decode(row: Row) -> Row:
    return {k: base64.b64decode(v["base64"]) if k in _BYTES and isinstance(v, dict) else v for k, v in row.items()}
