"""Old stores are led to the present shape after a backup; newer ones are left alone."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import URL, Connection, inspect

from nbllm.errors import StoreError
from nbllm.settings import Paths
from nbllm.store import engine, schema, versions
from nbllm.store.migrations import REVISIONS
from unit.store.conftest import OpenStore
from unit.store.talk import said, say

NEXT_STEP = '''
"""A folder for each conversation."""
import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade():
    op.add_column("conversations", sa.Column("folder", sa.Text))
    {more}
'''


@pytest.fixture
def next_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The migrations of an nbllm that is one step further; the file of its step."""
    scripts = tmp_path / "scripts"
    shutil.copytree(versions.SCRIPTS, scripts)
    step = scripts / "versions" / "0004_folders.py"
    step.write_text(NEXT_STEP.format(more=""))
    monkeypatch.setattr(versions.prepare, "__kwdefaults__", {"scripts": scripts, "known": (*REVISIONS, "0004")})
    monkeypatch.setattr(versions.upgrade, "__kwdefaults__", {"scripts": scripts, "target": "0004"})
    monkeypatch.setattr(schema, "VERSION", "0004")
    return step


def _shape(connection: Connection) -> object:
    """All that a database knows of its tables."""
    look = inspect(connection)
    return {
        table: (
            [(c["name"], str(c["type"]), c["nullable"], c["default"]) for c in look.get_columns(table)],
            look.get_pk_constraint(table),
            sorted(look.get_foreign_keys(table), key=str),
            sorted(look.get_indexes(table), key=str),
            sorted(look.get_unique_constraints(table), key=str),
        )
        for table in sorted(look.get_table_names())
        if table != "alembic_version"
    }


def test_migrations_make_exactly_the_tables_of_the_schema() -> None:
    shapes = []
    for make in (versions.upgrade, schema.metadata.create_all):
        database = engine.Database(URL.create("sqlite+pysqlite", database=":memory:"))
        with database.transaction(write=True) as connection:
            make(connection)
            shapes.append(_shape(connection))
        database.close()

    assert shapes[0] == shapes[1]
    assert len(shapes[0]) == len(schema.metadata.tables)


def test_every_migration_is_listed_and_the_last_is_the_schemas() -> None:
    files = sorted(p.stem.split("_")[0] for p in (versions.SCRIPTS / "versions").glob("[0-9]*.py"))

    assert tuple(files) == REVISIONS
    assert REVISIONS[-1] == schema.VERSION


def test_alembic_reads_the_version_that_we_write(open_store: OpenStore, paths: Paths) -> None:
    from alembic.migration import MigrationContext

    open_store()
    database = engine.open_file(paths.database, paths.backups)
    with database.transaction(write=False) as connection:
        assert MigrationContext.configure(connection).get_current_revision() == schema.VERSION
    database.close()


def test_a_new_or_current_store_needs_no_alembic(home: Path) -> None:
    code = (
        "import sys; from nbllm.settings import Paths; from nbllm.store import Store\n"
        "Store.open(Paths.from_environment(), None).close()\n"
        "assert 'alembic' not in sys.modules"
    )

    for _ in range(2):
        subprocess.run([sys.executable, "-c", code], check=True)


def test_an_older_store_is_upgraded_after_a_backup(
    open_store: OpenStore, paths: Paths, next_version: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as old:
        old.setattr(versions.prepare, "__kwdefaults__", {"scripts": versions.SCRIPTS, "known": REVISIONS})
        old.setattr(schema, "VERSION", REVISIONS[-1])
        first = open_store()
        say(first, "kept")
        first.close()

    store = open_store()

    assert store.warning is None
    assert said(store) == ["kept"]
    assert _columns(paths.database) >= {"folder"}
    [backup] = paths.backups.glob(f"nbllm-{REVISIONS[-1]}-*.db")
    assert "folder" not in _columns(backup)
    assert _prompts(backup) == 2
    assert backup.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("version", REVISIONS[:-1])
def test_a_store_of_every_earlier_version_is_led_to_the_present_shape(
    open_store: OpenStore, paths: Paths, version: str
) -> None:
    """Made by the migrations up to that version, since the code that wrote it is gone."""
    paths.data_dir.mkdir()
    database = engine.Database(URL.create("sqlite+pysqlite", database=str(paths.database)))
    with database.transaction(write=True) as connection:
        versions.upgrade(connection, target=version)
        connection.exec_driver_sql(
            "INSERT INTO conversations (id, name, kernel, created_at, updated_at) VALUES ('c', 'old', '', 't', 't')"
        )
    database.close()

    store = open_store()

    assert store.warning is None
    assert store.read(lambda c: c.exec_driver_sql("SELECT name FROM conversations").scalars().all()) == ["old"]
    again = engine.open_file(paths.database, paths.backups)
    with again.transaction(write=False) as connection:
        assert versions.read_version(connection) == REVISIONS[-1]
        assert _shape(connection) == _present_shape()
    again.close()
    assert len(list(paths.backups.glob(f"nbllm-{version}-*.db"))) == 1


def _present_shape() -> object:
    database = engine.open_memory()
    with database.transaction(write=False) as connection:
        shape = _shape(connection)
    database.close()
    return shape


def _columns(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as connection:
        return {row[1] for row in connection.execute("PRAGMA table_info(conversations)")}


def _prompts(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("SELECT count(*) FROM messages").fetchone()[0])


def test_a_migration_that_fails_half_way_leaves_the_store_as_it_was(
    open_store: OpenStore, paths: Paths, next_version: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as old:
        old.setattr(versions.prepare, "__kwdefaults__", {"scripts": versions.SCRIPTS, "known": REVISIONS})
        old.setattr(schema, "VERSION", REVISIONS[-1])
        first = open_store()
        say(first, "kept")
        first.close()
    next_version.write_text(NEXT_STEP.format(more='op.execute("SELECT * FROM nowhere")'))

    store = open_store()

    assert "nowhere" in str(store.warning)
    assert "folder" not in _columns(paths.database)
    assert _prompts(paths.database) == 2


def test_a_store_without_a_version_is_led_from_the_start(open_store: OpenStore, paths: Paths) -> None:
    """Tables at no known step, with the first step's shape, would be a broken upgrade: it fails and is told."""
    open_store().close()
    with closing(sqlite3.connect(paths.database)) as connection:
        connection.execute("DROP TABLE alembic_version")
        connection.commit()

    store = open_store()

    assert "already exists" in str(store.warning)
    assert len(list(paths.backups.glob("nbllm-0000-*.db"))) == 1


def test_a_store_from_a_newer_nbllm_is_refused_and_not_touched(open_store: OpenStore, paths: Paths) -> None:
    open_store().close()
    with closing(sqlite3.connect(paths.database)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    before = paths.database.read_bytes()

    with pytest.raises(StoreError, match="written by a newer nbllm") as caught:
        open_store()

    assert caught.value.hint is not None
    assert "upgrade nbllm" in caught.value.hint
    assert paths.database.read_bytes() == before
    assert not list(paths.backups.glob("*")) if paths.backups.exists() else True


def test_another_program_in_the_same_database_is_left_alone(open_store: OpenStore, paths: Paths) -> None:
    paths.data_dir.mkdir()
    with closing(sqlite3.connect(paths.database)) as connection:
        connection.execute("CREATE TABLE theirs (x)")
        connection.execute("INSERT INTO theirs VALUES (42)")
        connection.commit()

    say(open_store(), "ours")

    with closing(sqlite3.connect(paths.database)) as connection:
        assert connection.execute("SELECT x FROM theirs").fetchone() == (42,)
