"""Files that survive a crash and that only their owner can read."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nbllm import files
from nbllm.files import is_private, locked, sweep_temporaries, write_atomic

SRC = Path(__file__).resolve().parents[2] / "src"


def test_a_file_is_written_whole_and_private(tmp_path: Path) -> None:
    target = tmp_path / "new" / "folder" / "file"
    write_atomic(target, "text")
    write_atomic(target, b"\x00bytes")
    assert target.read_bytes() == b"\x00bytes"
    assert is_private(target)
    assert stat.S_IMODE(target.parent.stat().st_mode) == 0o700
    assert os.listdir(target.parent) == ["file"]


def test_every_folder_on_the_way_is_private(tmp_path: Path) -> None:
    """Also with a umask that lets others read, and when a folder of the home is the first thing that is made."""
    before = os.umask(0o022)
    try:
        write_atomic(tmp_path / "home" / "cache" / "checks" / "file", "x")
    finally:
        os.umask(before)
    for folder in ("home", "home/cache", "home/cache/checks"):
        assert stat.S_IMODE((tmp_path / folder).stat().st_mode) == 0o700, folder


def test_a_folder_that_was_there_keeps_its_mode(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir(mode=0o755)
    folder.chmod(0o755)
    write_atomic(folder / "file", "")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    real = tmp_path / "dotfiles" / "config.toml"
    write_atomic(real, "old")
    link = tmp_path / "config.toml"
    link.symlink_to(real)
    write_atomic(link, "new")
    assert link.is_symlink()
    assert real.read_text() == "new"


def test_a_failed_write_leaves_the_old_content_and_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_atomic(tmp_path / "file", "old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_atomic(tmp_path / "file", "new")
    assert (tmp_path / "file").read_text() == "old"
    assert os.listdir(tmp_path) == ["file"] or set(os.listdir(tmp_path)) == {"file", "user-home"}


_WRITER = """
import sys
from nbllm.files import write_atomic
from pathlib import Path
number = 0
print("ready", flush=True)
while True:
    number += 1
    write_atomic(Path(sys.argv[1]), f"{number}\\n" * 20000)
"""


@pytest.mark.campaign
def test_a_killed_writer_leaves_the_old_or_the_new_content(tmp_path: Path, campaign: bool) -> None:
    target = tmp_path / "folder" / "file"
    for turn in range(200 if campaign else 6):
        writer = subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(target)], env={**os.environ, "PYTHONPATH": str(SRC)},
            stdout=subprocess.PIPE,
        )  # fmt: skip
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep(0.01 + turn % 20 / 400)
        writer.send_signal(signal.SIGKILL)
        writer.communicate()
        if target.exists():
            lines = target.read_text().splitlines()
            assert (len(lines), len(set(lines))) == (20000, 1)


def _leftover(folder: Path, name: str, *, age_s: float) -> Path:
    path = folder / f".nbllm-tmp-{name}"
    path.write_text("half")
    os.utime(path, (time.time() - age_s,) * 2)
    return path


def test_what_killed_processes_left_is_swept_by_the_next_write(tmp_path: Path) -> None:
    folder = tmp_path / "home"
    folder.mkdir()
    old, young = _leftover(folder, "a", age_s=7200), _leftover(folder, "b", age_s=5)
    write_atomic(folder / "file", "")
    assert (old.exists(), young.exists()) == (False, True)  # the young one may be another process's, at work
    assert sweep_temporaries(folder) == 0


def test_a_lock_keeps_others_out_and_says_so(tmp_path: Path) -> None:
    script = (
        "import sys\nfrom pathlib import Path\nfrom nbllm.files import locked\n"
        "with locked(Path(sys.argv[1])):\n    print('held', flush=True)\n    sys.stdin.read()\n"
    )
    target = tmp_path / "file"
    holder = subprocess.Popen(
        [sys.executable, "-c", script, str(target)], env={**os.environ, "PYTHONPATH": str(SRC)},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert holder.stdout is not None
    holder.stdout.readline()
    with pytest.raises(TimeoutError, match="locked by another process"), locked(target, timeout_s=0.1):
        pass
    holder.kill()
    holder.communicate()
    with locked(target, timeout_s=10):  # a process that died holds nothing
        pass
