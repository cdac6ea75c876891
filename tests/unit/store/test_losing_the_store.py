"""Whatever happens to the disk, a chat goes on, with what was said so far, and the user is told once."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from nbllm.conversations import Conversations
from nbllm.errors import StoreError
from nbllm.messages import Image, Message
from nbllm.settings import Paths
from nbllm.store import Store, engine
from unit.conversations.notebook import ask, reply_of, request_for, texts
from unit.store.conftest import OpenStore
from unit.store.talk import said, say


@dataclass(frozen=True)
class Broken:
    """A home that cannot hold a store."""

    id: str
    prepare: Callable[[Path], None]
    url: str | None = None
    says: str = ""


def _file_instead_of_folder(home: Path) -> None:
    home.write_text("not a folder")


def _no_database(home: Path) -> None:
    home.mkdir()
    (home / "nbllm.db").write_bytes(b"SQLite format 2\x00" + b"x" * 5000)


def _damaged_pages(home: Path) -> None:
    home.mkdir()
    path = home / "nbllm.db"
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("CREATE TABLE t (x)")
    connection.close()
    path.write_bytes(path.read_bytes()[:100] + b"\xff" * 8092)


def _folder_instead_of_file(home: Path) -> None:
    (home / "nbllm.db").mkdir(parents=True)


def _nothing(home: Path) -> None:
    pass


BROKEN = [
    Broken("the home is a file", _file_instead_of_folder, says="File exists"),
    Broken("the database is a folder", _folder_instead_of_file, says="Is a directory"),
    Broken("the database is another kind of file", _no_database, says="is not a SQLite database"),
    Broken("the database is damaged", _damaged_pages),
    Broken("the URL is no URL", _nothing, url="nonsense"),
    Broken("the URL's dialect does not exist", _nothing, url="nosuchdb://host/name"),
    Broken("the URL's driver is not installed", _nothing, url="oracle+oracledb://host/name"),
]


@pytest.mark.parametrize("case", BROKEN, ids=lambda c: c.id)
def test_a_store_that_cannot_be_opened_is_memory_and_one_warning(
    home: Path, open_store: OpenStore, case: Broken
) -> None:
    case.prepare(home)
    before = {p: p.read_bytes() for p in home.rglob("*") if p.is_file()}

    store = open_store(case.url)
    say(store, "a")
    say(store, "b")

    assert said(store) == ["a", "b"]
    assert not store.durable
    warning = store.take_warning()
    assert warning is not None
    assert case.says in warning
    assert "NBLLM_DATABASE_URL" in warning
    assert "\n" not in warning
    assert store.take_warning() is None
    assert {p: p.read_bytes() for p in before} == before, "what was there must stay untouched"


def test_a_password_in_the_url_is_not_shown(open_store: OpenStore) -> None:
    store = open_store("nosuchdb://user:hunter2@host/name")

    assert "hunter2" not in f"{store.warning}{store.location}"


def test_a_full_disk_in_the_middle_keeps_all_that_was_said(
    open_store: OpenStore, monkeypatch: pytest.MonkeyPatch, paths: Paths
) -> None:
    store = open_store()
    say(store, "on disk", cell="1")
    full = sqlite3.OperationalError("database or disk is full")
    _break_writes(monkeypatch, store, full)

    say(store, "in memory", cell="2")
    say(store, "also", cell="3")
    say(store, "again", cell="2")

    assert said(store) == ["on disk", "again"], "cells find their places as before"
    assert "database or disk is full" in str(store.take_warning())
    assert store.take_warning() is None
    monkeypatch.undo()
    assert said(open_store()) == ["on disk"], "the file keeps what it had"


def _break_writes(monkeypatch: pytest.MonkeyPatch, store: Store, error: Exception) -> None:
    broken = store._database

    @engine.contextlib.contextmanager
    def transaction(self: engine.Database, *, write: bool):  # type: ignore[no-untyped-def]
        with real(self, write=write) as connection:
            yield connection
            if write and self is broken:
                raise error

    real = engine.Database.transaction
    monkeypatch.setattr(engine.Database, "transaction", transaction)


def test_a_real_full_disk_breaks_no_chat(tmp_path: Path) -> None:
    """The kernel refuses to let any file grow, as on a full disk."""
    code = """
import resource, signal
from nbllm.settings import Paths
from nbllm.store import Store
from unit.store.talk import said, say
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store = Store.open(Paths.from_environment(), None)
say(store, "on disk")
resource.setrlimit(resource.RLIMIT_FSIZE, (120_000, 120_000))
for i in range(60):
    say(store, str(i) + "x" * 3000)
assert len(said(store)) == 61, len(said(store))
print(store.take_warning())
"""
    home = tmp_path / "home"
    out = _python(code, NBLLM_HOME=str(home))

    assert "memory only" in out
    assert sqlite3.connect(home / "nbllm.db").execute("PRAGMA integrity_check").fetchone() == ("ok",)


def _python(code: str, **environ: str) -> str:
    tests = Path(__file__).resolve().parents[2]
    path = os.pathsep.join([str(tests.parent / "src"), str(tests)])
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | environ | {"PYTHONPATH": path}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_store_deleted_under_us_is_noticed_before_anything_is_lost(open_store: OpenStore, paths: Paths) -> None:
    store = open_store()
    say(store, "a")
    paths.database.unlink()

    say(store, "b")

    assert said(store) == ["a", "b"]
    assert "deleted or replaced" in str(store.take_warning())
    assert not paths.database.exists()


def test_a_store_replaced_under_us_is_not_written_to(open_store: OpenStore, paths: Paths) -> None:
    store = open_store()
    say(store, "a")
    other = paths.data_dir / "other"
    other.write_bytes(b"somebody else's")
    other.replace(paths.database)

    say(store, "b")

    assert said(store) == ["a", "b"]
    assert paths.database.read_bytes() == b"somebody else's"


def test_attachments_survive_the_loss(open_store: OpenStore, paths: Paths) -> None:
    store = open_store()
    first = Conversations(store, kernel="k")
    turn = first.begin("notes")
    picture = Message.user("look", Image(b"\x89PNG" * 1000, "image/png", "a.png"))
    first.commit(turn, request_for(turn, picture), [picture, Message.assistant("I see")], reply_of("I see"))
    store.close()
    again = open_store()
    second = Conversations(again, kernel="k2")
    second.begin("notes")
    paths.database.unlink()

    assert second.begin("notes").messages == (picture, Message.assistant("I see"))
    assert not again.durable
    assert Conversations(again, kernel="k3").begin("notes").messages[0] == picture


def test_a_named_conversation_of_another_kernel_stays_when_the_store_is_lost(
    open_store: OpenStore, paths: Paths
) -> None:
    say(open_store(), "earlier", kernel="other")
    store = open_store()
    conversations = Conversations(store, kernel="k")
    turn = conversations.begin("notes")
    paths.database.unlink()

    assert texts(turn.messages) == ["earlier", "re: earlier"]
    assert ask(conversations, "now", name="notes")[:2] == ["earlier", "re: earlier"]


def test_even_memory_can_fail_and_then_the_error_is_ours(
    open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store("sqlite://")

    def broken(*_: object, **__: object) -> None:
        raise sqlite3.OperationalError("no such table: messages")

    with pytest.raises(StoreError, match="no such table"):
        store.read(broken)


def test_memory_by_url_is_no_reason_to_warn(open_store: OpenStore) -> None:
    store = open_store("sqlite://")
    say(store, "a")

    assert store.warning is None
    assert store.location == "memory"


def test_a_lock_that_is_never_released_does_not_stop_the_chat(
    open_store: OpenStore, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "BUSY_TIMEOUT_S", 0.05)
    store = open_store()
    say(store, "a")
    with engine.contextlib.closing(sqlite3.connect(paths.database, isolation_level=None)) as rude:
        rude.execute("BEGIN IMMEDIATE")
        say(store, "b")

    assert said(store) == ["a", "b"]
    assert "locked" in str(store.take_warning())


def test_files_are_for_their_owner_only(open_store: OpenStore, paths: Paths) -> None:
    old = os.umask(0)
    try:
        say(open_store(), "secret thoughts")
    finally:
        os.umask(old)

    modes = {p.name: p.stat().st_mode & 0o777 for p in paths.data_dir.iterdir() if p.is_file()}
    assert set(modes.values()) == {0o600}, modes
    assert "nbllm.db-wal" in modes
    assert paths.data_dir.stat().st_mode & 0o777 == 0o700


def test_a_forked_child_has_the_history_and_disturbs_nobody(open_store: OpenStore) -> None:
    store = open_store()
    say(store, "before")
    child = os.fork()
    if child == 0:
        try:
            say(store, "child")
            # A new generation: the connection of the parent is not used, whose locks the child does not hold.
            os._exit(0 if said(store)[-2:] == ["before", "child"] and store.generation == 1 else 1)
        except BaseException:
            os._exit(2)

    assert os.waitpid(child, 0)[1] == 0
    say(store, "parent")
    assert said(store) == ["before", "child", "parent"]
    assert store.warning is None


def test_a_forked_child_of_a_store_in_memory_has_the_history_too(open_store: OpenStore) -> None:
    store = open_store("sqlite://")
    say(store, "before")
    child = os.fork()
    if child == 0:
        try:
            say(store, "child")
            os._exit(0 if said(store) == ["before", "child"] else 1)
        except BaseException:
            os._exit(2)

    assert os.waitpid(child, 0)[1] == 0
    assert said(store) == ["before"]


def test_a_closed_store_opens_again(open_store: OpenStore) -> None:
    store = open_store()
    say(store, "a")
    store.close()

    say(store, "b")

    assert said(store) == ["a", "b"]


def test_closing_leaves_no_thread_and_no_open_file(open_store: OpenStore, paths: Paths) -> None:
    others = set(threading.enumerate())
    store = open_store()
    say(store, "a")
    store.close()

    assert not [t for t in set(threading.enumerate()) - others if t.name == "nbllm-store"]
    open_files = [os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if _is_open(fd)]
    assert not [f for f in open_files if f.startswith(str(paths.data_dir))]


def _is_open(fd: str) -> bool:
    return os.path.lexists(f"/proc/self/fd/{fd}")
