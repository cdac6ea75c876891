"""Byte copies of configs: whole, private, found again, and put back only where they may."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from nbllm.errors import ExportError
from nbllm.exporters.backup import Backup, Backups, Restored
from nbllm.exporters.textfile import TextFile


@pytest.fixture
def backups(home: Path) -> Backups:
    return Backups(home / "backups")


def kept(backups: Backups, path: Path, data: bytes = b"a: 1\r\n\xff", tool: str = "codex") -> Backup:
    path.write_bytes(data)
    backup = backups.keep(tool, [TextFile.read(path)])
    assert backup is not None
    return backup


def put_back(backups: Backups, backup: Backup, path: Path) -> Restored:
    (done,) = backups.restore(backup, [backup.read(backup.copies[0])], [path])
    return done


def test_a_backup_is_a_byte_copy_with_a_manifest_and_private(tmp_path: Path, backups: Backups) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(b"x")
    path.chmod(0o644)
    backup = kept(backups, path)
    manifest = json.loads((backup.folder / "manifest.json").read_text())
    assert (backup.folder / "0").read_bytes() == b"a: 1\r\n\xff"
    assert manifest["files"] == [
        {"path": str(path), "sha256": hashlib.sha256(b"a: 1\r\n\xff").hexdigest(), "size": 7, "mode": "0644"}
    ]
    assert (manifest["id"], manifest["tool"]) == (backup.id, "codex")
    assert stat.S_IMODE(backup.folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(p.stat().st_mode) for p in backup.folder.iterdir()} == {0o600}


def test_ids_sort_by_time_and_the_newest_comes_first(tmp_path: Path, backups: Backups) -> None:
    made = [kept(backups, tmp_path / "c", str(i).encode()).id for i in range(5)]
    assert made == sorted(made)
    assert [b.id for b in backups.all()] == made[::-1]
    assert [b.id for b in backups.all("codex")] == made[::-1]
    assert backups.all("aider") == []


def test_nothing_is_kept_of_a_file_that_is_not_there(tmp_path: Path, backups: Backups) -> None:
    assert backups.keep("codex", [TextFile.read(tmp_path / "no")]) is None
    assert backups.all() == []


_KEEPER = """
import sys
from pathlib import Path
from nbllm.exporters.backup import Backups
from nbllm.exporters.textfile import TextFile
for _ in range(20):
    print(Backups(Path(sys.argv[1])).keep("codex", [TextFile.read(Path(sys.argv[2]))]).id)
"""


def test_many_processes_never_share_an_id(tmp_path: Path, home: Path, backups: Backups) -> None:
    (tmp_path / "c").write_text("x")
    src = Path(__file__).resolve().parents[2] / "src"
    keepers = [
        subprocess.Popen(
            [sys.executable, "-c", _KEEPER, str(home / "backups"), str(tmp_path / "c")],
            env={**os.environ, "PYTHONPATH": str(src)}, stdout=subprocess.PIPE, text=True,
        )
        for _ in range(4)
    ]  # fmt: skip
    ids = [line for k in keepers for line in k.communicate()[0].split()]
    assert len(ids) == len(set(ids)) == 80
    assert {b.id for b in backups.all()} == set(ids)


def test_a_backup_that_was_not_finished_is_never_seen(tmp_path: Path, backups: Backups) -> None:
    backup = kept(backups, tmp_path / "c")
    (backups.folder / f".{backup.id[:-1]}0").mkdir()
    assert [b.id for b in backups.all()] == [backup.id]


@pytest.mark.parametrize("harm", ["bytes", "size", "gone"])
def test_a_damaged_copy_is_not_restored(harm: str, tmp_path: Path, backups: Backups) -> None:
    backup = kept(backups, tmp_path / "c")
    copy = backup.folder / "0"
    if harm == "gone":
        copy.unlink()
    else:
        copy.write_bytes(copy.read_bytes()[:-1] + (b"" if harm == "size" else b"\xfe"))
    with pytest.raises(ExportError, match=backup.id):
        backup.read(backup.copies[0])


@pytest.mark.parametrize("text", ["", "{", "[]", '{"id": 1}', '{"files": [{"path": 3}]}', "[" * 100_000])
def test_a_manifest_that_cannot_be_read_is_said_and_hides_no_other(text: str, tmp_path: Path, backups: Backups) -> None:
    good, bad = kept(backups, tmp_path / "c"), kept(backups, tmp_path / "c")
    (bad.folder / "manifest.json").write_text(text)
    assert [b.id for b in backups.all()] == [good.id]
    assert backups.broken() == [bad.id]
    with pytest.raises(ExportError, match="manifest"):
        backups.find(bad.id)


@pytest.mark.parametrize("id", ["../../etc", "", ".", "locks", "20260101T000000000000000Z-codex-00000000/../x"])
def test_an_id_that_is_none_finds_nothing(id: str, backups: Backups) -> None:
    with pytest.raises(ExportError, match="no backup"):
        backups.find(id)


def test_an_id_with_a_way_in_it_finds_nothing(tmp_path: Path, backups: Backups) -> None:
    id = kept(backups, tmp_path / "c").id
    for detour in (f"../configs/{id}", f"./{id}", f"{id}/"):
        with pytest.raises(ExportError, match="no backup"):
            backups.find(detour)


def test_what_is_restored_has_its_bytes_and_mode_and_what_was_there_is_kept(tmp_path: Path, backups: Backups) -> None:
    path = tmp_path / "c"
    path.write_text("")
    path.chmod(0o640)
    backup = kept(backups, path, b"first\r\n")
    path.write_bytes(b"second")
    path.chmod(0o600)
    done = put_back(backups, backup, path)
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (b"first\r\n", 0o640)
    assert done.before is not None
    assert done.before.read(done.before.copies[0]) == b"second"
    again = put_back(backups, backup, path)
    assert (again.changed, again.before) == (False, None)
    assert len(backups.all()) == 2


def test_a_link_is_restored_through_and_a_missing_folder_made(tmp_path: Path, backups: Backups) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    link.symlink_to("real")
    backup = kept(backups, link, b"old")
    assert backup.copies[0].path == link
    real.write_bytes(b"new")
    put_back(backups, backup, link)
    assert link.is_symlink()
    assert real.read_bytes() == b"old"
    put_back(backups, backup, tmp_path / "gone" / "c")
    assert (tmp_path / "gone" / "c").read_bytes() == b"old"


def test_copies_are_not_the_settings_history(tmp_path: Path, home: Path, backups: Backups) -> None:
    from nbllm.settings import ConfigFile, Paths

    kept(backups, tmp_path / "c")
    assert ConfigFile(Paths.from_environment()).history() == []


def test_no_content_is_in_a_repr(tmp_path: Path, backups: Backups) -> None:
    backup = kept(backups, tmp_path / "c", b"hidden words")
    assert "hidden" not in repr(backup) + repr(TextFile.read(tmp_path / "c"))
