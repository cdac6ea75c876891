"""Brings a database to the shape that this nbllm writes, or leaves it alone.

A new database gets the present tables at once. An older one is backed up and led through `migrations/` in one
transaction. A newer one is refused and not touched.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from sqlalchemy import Column, Connection, MetaData, String, Table, insert, inspect, select

from nbllm.errors import StoreError
from nbllm.store import schema
from nbllm.store.migrations import REVISIONS

SCRIPTS = Path(__file__).parent / "migrations"

# Alembic's own table and column, so that Alembic finds it when it is needed at last.
version_table = Table("alembic_version", MetaData(), Column("version_num", String(32), primary_key=True))


def read_version(connection: Connection) -> str | None:
    """The step that the database is at; None for one without our tables, `""` for tables at no known step."""
    names = inspect(connection).get_table_names()
    if version_table.name not in names:
        return "" if schema.messages.name in names else None
    return connection.scalar(select(version_table.c.version_num)) or ""


def prepare(
    connection: Connection, *, backup: Callable[[str], None], scripts: Path = SCRIPTS, known: Sequence[str] = REVISIONS
) -> None:
    """Create or upgrade the tables, inside the transaction of `connection`.

    Args:
        connection: In a transaction that holds the write lock, so that only one process does this.
        backup: Called with the old version before anything is changed.
        scripts: The folder with the migrations.
        known: The steps in it, oldest first; the last is the one to reach.

    Raises:
        StoreError: The database was written by a newer nbllm. Nothing was changed.
    """
    version = read_version(connection)
    if version == known[-1]:
        return
    if version is None:
        schema.metadata.create_all(connection)
        version_table.create(connection)
        connection.execute(insert(version_table), {"version_num": known[-1]})
        return
    if version and version not in known:
        raise StoreError(
            f"the store was written by a newer nbllm (its tables are at step {version}, this one knows {known[-1]})",
            hint="upgrade nbllm, or set NBLLM_DATABASE_URL or NBLLM_HOME to another place",
        )
    backup(version or "0000")
    upgrade(connection, scripts=scripts, target=known[-1])


def upgrade(connection: Connection, *, scripts: Path = SCRIPTS, target: str = REVISIONS[-1]) -> None:
    """Run the migrations up to `target` on this connection, without ending its transaction."""
    from alembic import command  # noqa: PLC0415  (110 ms, and needed once after an update of nbllm)
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(scripts).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, target)
