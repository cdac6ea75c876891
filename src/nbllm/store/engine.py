"""Opens databases. All that only SQLite needs stands here.

SQLite rules (docs/explanation/store.md has the measurements): WAL, so that readers and the writer do not wait for
each other; `BEGIN IMMEDIATE`, since a transaction that reads first and writes later fails at once when another wrote
in between; 30 s of patience; `synchronous=FULL`, so that what was acknowledged survives a power cut.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from nbllm import files
from nbllm.store import filesystems, schema, versions

BUSY_TIMEOUT_S = 30
_MAGIC = b"SQLite format 3\x00"
_WAL_VERSION = b"\x02\x02"  # bytes 18 and 19 of a database in WAL mode; https://www.sqlite.org/fileformat.html


class UnsafePlaceError(Exception):
    """The folder cannot hold a SQLite file that several kernels share. The text says why."""


class Database:
    """One open database and its only connection. Belongs to the writer's thread."""

    def __init__(self, url: URL, path: Path | None = None) -> None:
        self.path = path
        self.url = url
        self._write = False
        self.engine = _sqlite_engine(url, self) if url.get_backend_name() == "sqlite" else create_engine(url)
        self.connection = self.engine.connect()
        self._identity = _identity(path) if path is not None else None

    @property
    def in_memory(self) -> bool:
        """Whether it ends with this process."""
        return self.url.get_backend_name() == "sqlite" and self.path is None

    @property
    def label(self) -> str:
        """Where it is, for people; no password."""
        return str(self.path) if self.path is not None else self.url.render_as_string(hide_password=True)

    @contextlib.contextmanager
    def transaction(self, *, write: bool) -> Iterator[Connection]:
        """Commit at the end, undo on an error. A writing one holds the write lock from its first moment."""
        if self.path is not None and _identity(self.path) != self._identity:
            raise FileNotFoundError(f"{self.path} was deleted or replaced")
        self._write = write
        with self.connection.begin():
            yield self.connection

    @property
    def begin_statement(self) -> str:
        """How SQLite is to begin the transaction that comes now."""
        return "BEGIN IMMEDIATE" if self._write else "BEGIN"

    def close(self) -> None:
        """Give it up; never fails."""
        with contextlib.suppress(Exception):
            self.connection.close()
        with contextlib.suppress(Exception):
            self.engine.dispose()


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file it is. A deleted one can still be written through an open connection, and all of it is lost."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _sqlite_engine(url: URL, database: Database) -> Engine:
    engine = create_engine(
        url, poolclass=NullPool, connect_args={"timeout": BUSY_TIMEOUT_S, "check_same_thread": False}
    )

    @event.listens_for(engine, "connect")
    def prepare_connection(connection: sqlite3.Connection, _: object) -> None:
        connection.isolation_level = None  # sqlite3 would begin transactions of its own, deferred ones
        for pragma in (f"busy_timeout={BUSY_TIMEOUT_S * 1000}", "foreign_keys=ON", "synchronous=FULL"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql(database.begin_statement)

    return engine


def open_memory() -> Database:
    """An empty store that lives as long as this process."""
    database = Database(URL.create("sqlite+pysqlite", database=":memory:"))
    with database.transaction(write=True) as connection:
        versions.prepare(connection, backup=lambda _: None)
    return database


def open_url(text: str, backups: Path) -> Database:
    """The database of a SQLAlchemy URL.

    Raises:
        StoreError: It was written by a newer nbllm.
        UnsafePlaceError: A SQLite file on a network file system.
        OSError, SQLAlchemyError, ImportError: It cannot be opened.
    """
    url = make_url(text)
    if url.get_backend_name() == "sqlite":
        if url.database in (None, "", ":memory:"):
            return open_memory()
        return open_file(Path(str(url.database)), backups)
    try:
        return _open_server(url)
    except DBAPIError:  # two kernels made the tables at once, and the other was first
        return _open_server(url)


def _open_server(url: URL) -> Database:
    database = Database(url)
    try:
        with database.transaction(write=True) as connection:
            versions.prepare(connection, backup=lambda _: None)  # a server's operator keeps its backups
    except BaseException:
        database.close()
        raise
    return database


def open_file(path: Path, backups: Path) -> Database:
    """The SQLite file at `path`, created when it is not there, upgraded when it is older.

    Raises: as `open_url`. A file that is no database is left as it is.
    """
    path = Path(os.path.realpath(path))
    if found := filesystems.network_type(path.parent):
        raise UnsafePlaceError(f"{path.parent} is on a network file system ({found})")
    files.make_private_folder(path.parent)
    header = _header(path)
    if header and not header.startswith(_MAGIC):
        raise OSError(f"{path} is not a SQLite database")
    if header[18:20] != _WAL_VERSION:
        with files.locked(path, timeout_s=BUSY_TIMEOUT_S):  # two that switch to WAL at once fail with "locked"
            _create(path)
    return _open_existing(path, backups)


def _header(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(100)
    except FileNotFoundError:
        return b""


def _create(path: Path) -> None:
    """Make sure that a file in WAL mode is there, readable by its owner only. It stays empty of tables."""
    if not _header(path):
        files.sweep_temporaries(path.parent)
        _try_wal(path.parent)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, files.FILE_MODE))
    if not _switch_to_wal(path):
        raise UnsafePlaceError(f"{path.parent} is on a file system that cannot hold a write-ahead log")


def _try_wal(folder: Path) -> None:
    """Write through a WAL once, in a file that is thrown away: some file systems only fail when it is used."""
    # The prefix is that of files.py, whose sweep removes what a killed process leaves.
    handle, name = tempfile.mkstemp(prefix=".nbllm-tmp-", suffix=".db", dir=folder)
    os.close(handle)
    try:
        reason = "" if _switch_to_wal(Path(name), then="CREATE TABLE tried (x)") else "SQLite does not switch to WAL"
    except sqlite3.OperationalError as exc:
        reason = str(exc)
    finally:
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(OSError):
                os.unlink(name + suffix)
    if reason:
        raise UnsafePlaceError(f"{folder} is on a file system that cannot hold a write-ahead log ({reason})")


def _switch_to_wal(path: Path, *, then: str = "") -> bool:
    with contextlib.closing(sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None)) as connection:
        mode = connection.execute("PRAGMA journal_mode=WAL").fetchone()[0]
        connection.execute(then)
        return bool(mode == "wal")


def _open_existing(path: Path, backups: Path) -> Database:
    database = Database(URL.create("sqlite+pysqlite", database=str(path)), path)
    try:
        with database.transaction(write=False) as connection:
            current = versions.read_version(connection) == schema.VERSION
        if not current:
            with database.transaction(write=True) as connection:
                versions.prepare(connection, backup=lambda at: _back_up(path, backups, at))
    except BaseException:
        database.close()
        raise
    return database


def _back_up(path: Path, backups: Path, version: str) -> None:
    """A copy of the database as it was last committed, made by SQLite itself.

    Copying the file would miss what still stands in the write-ahead log.
    """
    files.make_private_folder(backups)
    target = backups / f"{path.stem}-{version}-{schema.now().replace(':', '')}.db"
    os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_RDWR, files.FILE_MODE))
    with (
        contextlib.closing(sqlite3.connect(path, timeout=BUSY_TIMEOUT_S)) as source,
        contextlib.closing(sqlite3.connect(target)) as copy,
    ):
        source.backup(copy)
