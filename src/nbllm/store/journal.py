"""Where SQLite is not safe: one file of JSON lines for each kernel, only ever appended to.

No file is written by two processes, so no lock is needed, and a killed process can spoil at most its own last line.
A kernel reads all journals when it starts; on a good file system they are taken over into the database.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, select

from nbllm import files
from nbllm.store import schema
from nbllm.store.changes import Changes, Row

_PATTERN = "journal-*.jsonl"
_RETIRE_AFTER_S = 24 * 3600
"""A journal this old is taken to be finished: no kernel has added to it for a day."""

_log = logging.getLogger("nbllm")


class Journal:
    """The journal of this process; its file is made by the first line."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / f"journal-{uuid.uuid4().hex[:12]}.jsonl"

    def append(self, changes: Changes) -> None:
        """Add one line, on the disk when this returns.

        Raises:
            OSError: It is not there, or only in part.
        """
        files.make_private_folder(self.path.parent)
        handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, files.FILE_MODE)
        try:
            data = memoryview(changes.to_json().encode("utf-8", "surrogatepass") + b"\n")
            while data:
                data = data[os.write(handle, data) :]
            os.fsync(handle)
        finally:
            os.close(handle)


def read_all(folder: Path) -> list[Changes]:
    """What all journals in `folder` hold, oldest first. A line that was cut is left out, and logged."""
    lines = [changes for path in sorted(folder.glob(_PATTERN)) for changes in _read(path)]
    return sorted(lines, key=_moment)


def _read(path: Path) -> Iterator[Changes]:
    try:
        content = path.read_bytes()
    except OSError as exc:
        _log.warning("cannot read %s: %s", path, exc.strerror)
        return
    for number, line in enumerate(content.splitlines(), start=1):
        try:
            yield Changes.from_json(line.decode("utf-8", "surrogatepass"))
        except ValueError:
            _log.warning("%s, line %d: cut short, left out", path, number)


def _moment(changes: Changes) -> str:
    return min((row["created_at"] for rows in changes.rows.values() for row in rows if "created_at" in row), default="")


def merge(connection: Connection, journals: Sequence[Changes]) -> int:
    """Take journals into the database; how many rows were new. Doing it again adds nothing."""
    names: dict[str, str] = {}
    return sum(_merge_one(connection, changes, names) for changes in _parents_first(connection, journals))


def _merge_one(connection: Connection, changes: Changes, names: dict[str, str]) -> int:
    """Two kernels may have begun a conversation of the same name: here it becomes one, with a branch for each."""
    for row in changes.rows.get("conversations", ()):
        names[row["id"]] = _known_as(connection, row) or row["id"]
    rows = {name: [_renamed(row, names) for row in part] for name, part in changes.rows.items()}
    rows["conversations"] = [r for r in rows.get("conversations", []) if names.get(r["id"], r["id"]) == r["id"]]
    new = Changes(rows).apply(connection)
    if new:
        replace(changes, rows={}, heads={names.get(c, c): m for c, m in changes.heads.items()}).apply(connection)
    return new


def _known_as(connection: Connection, row: Row) -> str | None:
    table = schema.conversations
    return connection.scalar(select(table.c.id).where(table.c.name == row["name"], table.c.kernel == row["kernel"]))


def _renamed(row: Row, names: dict[str, str]) -> dict[str, Any]:
    here = row.get("conversation_id")
    return {**row, "conversation_id": names.get(here, here)} if here is not None else dict(row)


def _parents_first(connection: Connection, journals: Sequence[Changes]) -> Iterator[Changes]:
    """Each line after the one that holds its messages' parent; a line whose parent is lost is left out.

    The clocks of two machines differ, so the order of time is not enough.
    """
    there = set(connection.scalars(select(schema.messages.c.id)))
    waiting: list[Changes] = list(journals)
    while waiting:
        later: list[Changes] = []
        for changes in waiting:
            if _needs(changes) <= there:
                there.update(_ids(changes))
                yield changes
            else:
                later.append(changes)
        if len(later) == len(waiting):
            _log.warning("%d exchanges in journals follow messages that are lost; left out", len(later))
            return
        waiting = later


def _ids(changes: Changes) -> Iterable[str]:
    return (row["id"] for row in changes.rows.get("messages", ()))


def _needs(changes: Changes) -> set[str]:
    own = set(_ids(changes))
    return {row["parent_id"] for row in changes.rows.get("messages", ())} - own - {None}


def retire(folder: Path, backups: Path) -> None:
    """Move journals that nobody has added to for a day out of the way, once they are in the database."""
    for path in folder.glob(_PATTERN):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > _RETIRE_AFTER_S:
                files.make_private_folder(backups)
                os.replace(path, backups / path.name)
