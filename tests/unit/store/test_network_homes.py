"""On a network file system no SQLite file is shared; exchanges go to journals, and from there to a database later."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from nbllm.conversations import Conversations
from nbllm.messages import Image, Message
from nbllm.settings import Paths
from nbllm.store import engine, filesystems
from nbllm.store.changes import Changes
from unit.conversations.notebook import ask, reply_of, request_for
from unit.store.conftest import OpenStore
from unit.store.talk import said, say

MOUNTS = """\
22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard
30 27 0:40 / /home rw,relatime shared:1 - nfs4 server:/export/home rw,vers=4.2
31 30 0:41 / /home/local rw,relatime - xfs /dev/sdb rw
32 27 0:42 / /mnt/with\\040space rw - cifs //server/share rw
33 27 0:43 / /mnt/sshfs rw - fuse.sshfs user@host:/ rw
34 27 0:44 / /mnt/ntfs rw - fuseblk /dev/sdc rw
35 27 0:45 / /over rw - nfs server:/a rw
36 35 0:46 / /over rw - tmpfs tmpfs rw
37 27 0:47 / /srv rw - 9p host rw
38 27 0:48 / /container rw - fuse.fuse-overlayfs overlay rw
39 27 0:49 / /lustre rw - lustre 10.0.0.1@tcp:/fs rw
this line is not one of mountinfo's
"""


@dataclass(frozen=True)
class Place:
    id: str
    folder: str
    type: str | None


PLACES = [
    Place("the root", "/tmp/x", None),
    Place("an NFS home", "/home/ada/.local/share/nbllm", "nfs4"),
    Place("the mount point itself", "/home", "nfs4"),
    Place("a local disk below it", "/home/local/nbllm", None),
    Place("a name that only begins alike", "/homes/ada", None),
    Place("a mount point with a space", "/mnt/with space/nbllm", "cifs"),
    Place("sshfs", "/mnt/sshfs/home", "fuse.sshfs"),
    Place("NTFS on a disk of this machine", "/mnt/ntfs/home", None),
    Place("covered by a local one", "/over/x", None),
    Place("a folder of the host of a virtual machine", "/srv/x", "9p"),
    Place("the layers of a container", "/container/home", None),
    Place("lustre", "/lustre/ada", "lustre"),
]


@pytest.mark.parametrize("place", PLACES, ids=lambda p: p.id)
def test_network_file_systems_are_told_apart(place: Place) -> None:
    assert filesystems.network_type(Path(place.folder), MOUNTS) == place.type


def test_without_mountinfo_nothing_is_known(tmp_path: Path) -> None:
    assert filesystems.network_type(tmp_path, "") is None


@pytest.fixture
def network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: Path) -> Iterator[pytest.MonkeyPatch]:
    """The home lies on NFS until `undo`."""
    mountinfo = tmp_path / "mountinfo"
    mountinfo.write_text(f"27 1 254:0 / / rw - ext4 /dev/vda rw\n28 27 0:9 / {home} rw - nfs4 server:/export rw\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(filesystems, "MOUNTINFO", mountinfo)
        yield patch


def test_on_a_network_home_exchanges_survive_without_a_database(
    open_store: OpenStore, paths: Paths, network: pytest.MonkeyPatch
) -> None:
    first = open_store()
    say(first, "a")
    say(first, "b")
    first.close()

    assert not paths.database.exists()
    assert first.durable
    warning = first.take_warning()
    assert warning is not None
    assert "nfs4" in warning
    assert "NBLLM_DATABASE_URL" in warning
    assert said(open_store()) == ["a", "b"]
    assert {p.stat().st_mode & 0o777 for p in paths.data_dir.glob("journal-*.jsonl")} == {0o600}


def test_a_file_system_that_cannot_do_wal_counts_as_a_network_home(
    open_store: OpenStore, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cannot(_: Path, **__: bool) -> bool:
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(engine, "_switch_to_wal", cannot)

    say(open_store(), "a")

    assert not paths.database.exists()
    assert said(open_store()) == ["a"]


def test_two_kernels_on_a_network_home_write_apart_and_are_joined_later(
    open_store: OpenStore, paths: Paths, network: pytest.MonkeyPatch
) -> None:
    one, two = open_store(), open_store()
    say(one, "a", cell="1")
    say(two, "b", cell="2", kernel="k2")
    say(one, "c", cell="3")

    third = open_store()

    conversation = Conversations(third, kernel="k3").get("notes")
    paths_through_it = [[e.prompt for e in b] for b in (conversation.exchanges, *conversation.branches)]
    assert sorted(paths_through_it) == [["a", "c"], ["b"]]


def test_back_on_a_local_disk_the_journals_go_into_the_database(
    open_store: OpenStore, paths: Paths, network: pytest.MonkeyPatch
) -> None:
    on_network = open_store()
    conversations = Conversations(on_network, kernel="k")
    turn = conversations.begin("notes")
    picture = Message.user("look", Image(b"\x89PNG\xff\x00", "image/png"))
    conversations.commit(turn, request_for(turn, picture), [picture, Message.assistant("yes")], reply_of("yes"))
    say(on_network, "b")
    network.undo()

    for _ in range(2):
        local = open_store()
        assert said(local) == ["look", "b"]
        assert local.warning is None
        local.close()

    assert paths.database.exists()
    assert Conversations(open_store(), kernel="k9").begin("notes").messages[0] == picture


def test_a_conversation_known_to_both_is_joined(
    open_store: OpenStore, paths: Paths, network: pytest.MonkeyPatch
) -> None:
    say(open_store(), "on the network")
    network.undo()
    for journal in paths.data_dir.glob("journal-*.jsonl"):
        journal.rename(paths.data_dir / "aside")
    say(open_store(), "on the disk")
    (paths.data_dir / "aside").rename(paths.data_dir / "journal-1.jsonl")

    store = open_store()

    conversation = Conversations(store, kernel="k").get("notes")
    assert {e.prompt for b in (conversation.exchanges, *conversation.branches) for e in b} == {
        "on the network",
        "on the disk",
    }
    assert Conversations(store, kernel="k").names() == ["notes"]


def test_old_journals_are_put_with_the_backups_once_they_are_in_the_database(
    open_store: OpenStore, paths: Paths, network: pytest.MonkeyPatch
) -> None:
    say(open_store(), "a")
    network.undo()
    [journal] = paths.data_dir.glob("journal-*.jsonl")
    os.utime(journal, (time.time() - 90_000,) * 2)

    assert said(open_store()) == ["a"]
    assert not journal.exists()
    assert (paths.backups / journal.name).exists()


def test_a_journal_that_was_cut_loses_only_its_last_line(
    open_store: OpenStore, paths: Paths, network: pytest.MonkeyPatch
) -> None:
    store = open_store()
    say(store, "a")
    say(store, "b")
    store.close()
    [journal] = paths.data_dir.glob("journal-*.jsonl")
    journal.write_bytes(journal.read_bytes()[:-200])

    assert said(open_store()) == ["a"]


def test_exchanges_whose_parent_is_lost_do_not_stop_the_others(
    open_store: OpenStore, paths: Paths, network: pytest.MonkeyPatch
) -> None:
    store = open_store()
    say(store, "a")
    say(store, "b")
    say(store, "x", name="other")
    store.close()
    [journal] = paths.data_dir.glob("journal-*.jsonl")
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[1:]))

    assert said(open_store(), name="other") == ["x"]


def test_a_journal_that_cannot_be_written_is_a_lost_store(
    open_store: OpenStore, paths: Paths, network: pytest.MonkeyPatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store()
    say(store, "a")

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        say(store, "b")

    assert said(store) == ["a", "b"]
    assert not store.durable
    assert "No space left" in str(store.warning)
    assert said(open_store()) == ["a"]


def test_a_database_named_by_url_is_used_on_a_network_home(
    open_store: OpenStore, paths: Paths, network: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'local.db'}"
    kernel = Conversations(open_store(url), kernel="k")
    ask(kernel, "a", name="notes")

    assert said(open_store(url)) == ["a"]
    assert not list(paths.data_dir.glob("journal-*.jsonl"))


def test_changes_read_back_as_they_were_written() -> None:
    changes = Changes({"attachments": [{"id": "1", "data": bytes(range(256))}]}, {"c": "m"})

    assert Changes.from_json(changes.to_json()) == changes
    for bad in ("", "{", "[]", "{}", '{"rows": 1, "heads": {}}', '{"rows": {"messages": 7}, "heads": {}}'):
        with pytest.raises(ValueError, match=r"journal|Expecting|property name"):
            Changes.from_json(bad)
