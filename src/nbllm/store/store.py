"""The store of conversations and calls, which is there whatever happens to the disk.

A chat must not fail because its history cannot be kept. So when the database cannot be opened, or is lost later,
the store goes on in memory with all that this process has read and written so far, and says so once.
"""

from __future__ import annotations

import atexit
import sqlite3
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError

from nbllm.errors import StoreError
from nbllm.foreign import one_line
from nbllm.settings import Paths
from nbllm.store import engine, journal
from nbllm.store.changes import Changes, Row
from nbllm.store.writer import Writer

T = TypeVar("T")

_LOST = (OSError, SQLAlchemyError, sqlite3.Error, ImportError, engine.UnsafePlaceError)
_inherited: list[engine.Database | None] = []
"""Databases that a forked child got from its parent: neither used nor closed, both would disturb the parent."""


class Store:
    """Reads and writes, one after another, on one thread of its own. Made by `Store.open`."""

    def __init__(self, paths: Paths, url: str | None) -> None:
        self._paths, self._url = paths, url
        self._database: engine.Database | None = None
        self._journal: journal.Journal | None = None
        self._in_memory = False
        self._kept: dict[str, dict[str, Row]] = {}
        self._heads: dict[str, str] = {}
        self._untold = False
        self.warning: str | None = None
        """One line on why nothing is kept, or kept elsewhere; None when all is well. See `take_warning`."""
        self.generation = 0
        """Grows whenever another database took the place of the one before: caches of its rows are void."""
        self._writer = Writer(self._forked)

    @classmethod
    def open(cls, paths: Paths, url: str | None = None) -> Store:
        """Open the store, creating or upgrading it.

        Args:
            paths: Where the SQLite file, journals and backups are.
            url: A SQLAlchemy URL of another database; None: SQLite at `paths.database`.

        Raises:
            StoreError: The store was written by a newer nbllm; nothing was changed. Any other trouble is told by
                `warning`, and the store is in memory.
        """
        store = cls(paths, url)
        try:
            store._writer.run(store._current)
        except StoreError:
            store.close()
            raise
        atexit.register(_close, weakref.ref(store))
        return store

    @property
    def durable(self) -> bool:
        """Whether what is written survives this process."""
        return not self._in_memory or self._journal is not None

    @property
    def location(self) -> str:
        """Where things are kept, for people; no password."""
        if self._journal is not None:
            return str(self._journal.path)
        return "memory" if self._in_memory or self._database is None else self._database.label

    def take_warning(self) -> str | None:
        """The warning, the first time it is asked for after it arose; None afterwards."""
        told, self._untold = self._untold, False
        return self.warning if told else None

    def read(self, look: Callable[[Connection], T]) -> T:
        """Call `look` with a connection in a reading transaction, and return its result.

        It runs on the store's thread, and a second time, on an empty or half-empty database, when the store was
        lost on the way.
        """
        return self._writer.run(lambda: self._surviving(lambda: self._read(look)))

    def write(self, build: Callable[[Connection], Changes]) -> Changes:
        """Call `build` inside a writing transaction, write the changes it returns, and commit.

        They are on the disk when this returns, or in memory when `warning` says so. `build` may be called again,
        as in `read`; what it reads does not change before its changes are written.
        """
        return self._writer.run(lambda: self._surviving(lambda: self._write(build)))

    def keep(self, table: str, rows: list[dict[str, Any]]) -> None:
        """Remember rows that were read, in case that the store is lost. For functions called by `read`."""
        self._kept.setdefault(table, {}).update((row["id"], row) for row in rows)

    def close(self) -> None:
        """Close the database and end the thread. A later use opens it again."""
        if self._database is not None:
            self._writer.run(self._drop)
        self._writer.stop()

    # ---------------------------------------------------------------- on the writer's thread

    def _current(self) -> engine.Database:
        if self._database is None:
            self._database = self._open_memory() if self._in_memory and self._journal is None else self._open()
        return self._database

    def _open(self) -> engine.Database:
        try:
            return self._open_durable()
        except engine.UnsafePlaceError as exc:
            return self._open_journal(exc)
        except _LOST as exc:
            return self._open_memory(exc)

    def _open_durable(self) -> engine.Database:
        paths = self._paths
        opened = (
            engine.open_url(self._url, paths.backups) if self._url else engine.open_file(paths.database, paths.backups)
        )
        self._in_memory = opened.in_memory
        if not self._in_memory and (found := journal.read_all(paths.data_dir)):
            with opened.transaction(write=True) as connection:
                journal.merge(connection, found)
            journal.retire(paths.data_dir, paths.backups)
        return opened

    def _open_journal(self, reason: engine.UnsafePlaceError) -> engine.Database:
        """In memory, filled from the journals of all kernels; each exchange goes to the journal of this one."""
        opened = self._open_memory()
        with opened.transaction(write=True) as connection:
            journal.merge(connection, journal.read_all(self._paths.data_dir))
        self._journal = journal.Journal(self._paths.data_dir)
        self._warn(
            f"{reason}, where kernels cannot share a database: exchanges go to {self._journal.path}, and other "
            "kernels see them when they start; set NBLLM_DATABASE_URL to a database on a local disk or a server"
        )
        return opened

    def _open_memory(self, reason: BaseException | None = None) -> engine.Database:
        opened = engine.open_memory()
        self._in_memory = True
        with opened.transaction(write=True) as connection:
            rows = {table: list(part.values()) for table, part in self._kept.items()}
            Changes(rows, dict(self._heads)).apply(connection)
        if reason is not None:
            self._warn(
                f"conversations are kept in memory only from here on: {_in_words(reason)}; "
                "set NBLLM_HOME or NBLLM_DATABASE_URL to a place that can be written"
            )
        return opened

    def _warn(self, text: str) -> None:
        if text != self.warning:
            self.warning, self._untold = one_line(text, 1000), True

    def _surviving(self, attempt: Callable[[], T]) -> T:
        try:
            return self._again_after_collision(attempt)
        except _LOST as exc:
            self._lose(exc)
        try:
            return attempt()
        except _LOST as exc:
            problem = _in_words(exc)
        raise StoreError(f"the store in memory failed: {problem}", hint="restart the kernel")

    @staticmethod
    def _again_after_collision(attempt: Callable[[], T]) -> T:
        """Two processes may add the same row in a database that lets both begin; the second sees it next time."""
        try:
            return attempt()
        except IntegrityError:
            return attempt()

    def _lose(self, reason: BaseException) -> None:
        """Go on in memory. The file is left as it is."""
        self._drop()
        self._journal = None
        self._database = self._open_memory(reason)

    def _drop(self) -> None:
        database, self._database = self._database, None
        self.generation += 1
        if database is not None:
            database.close()

    def _read(self, look: Callable[[Connection], T]) -> T:
        with self._current().transaction(write=False) as connection:
            return look(connection)

    def _write(self, build: Callable[[Connection], Changes]) -> Changes:
        with self._current().transaction(write=True) as connection:
            changes = build(connection)
            changes.apply(connection, fresh=True)
            if self._journal is not None:
                self._journal.append(changes)
        for table, rows in changes.rows.items() if changes.remembered else ():
            self.keep(table, [dict(row) for row in rows])
        self._heads.update(changes.heads)
        return changes

    def _forked(self) -> None:
        _inherited.append(self._database)
        self._database = None
        self.generation += 1


def _close(store: weakref.ref[Store]) -> None:
    if (found := store()) is not None:
        found.close()


def _in_words(exc: BaseException) -> str:
    """What went wrong, without the statement and its values, which are what people wrote."""
    if isinstance(exc, DBAPIError):
        exc = exc.orig or exc
    if isinstance(exc, OSError) and exc.strerror:
        return one_line(f"{exc.strerror}: {exc.filename}" if exc.filename else exc.strerror)
    return one_line(exc) or type(exc).__name__
