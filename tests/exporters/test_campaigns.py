"""Killed at any moment, or many at once: no file is ever half, and no update is lost."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from exporters.test_update import as_before
from exporters.user_files import FILES
from nbllm.exporters import TOOLS, exporter
from nbllm.exporters.backup import Backups
from nbllm.exporters.base import Exporter
from nbllm.exporters.update import files_of

_WRITER = """
import sys
from pathlib import Path
from exporters.catalogue import row
from nbllm.exporters import exporter
from nbllm.exporters.backup import Backups
from nbllm.exporters.update import update
from nbllm.providers.spec import ModelInfo

tool, path, home, name, count = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4], int(sys.argv[5])
quirks = {"responses": {"value": True, "source": "a test", "date": "2026-11-21"}}
update(exporter(tool), [], path=path, backups=Backups(home / "backups"))  # all is imported
print("ready", flush=True)
for number in range(count):
    id = f"{name}-{number}"
    provider = row(id, ModelInfo(id, "m"), key_env="A_KEY", quirks=quirks)
    update(exporter(tool), [provider], path=path, backups=Backups(home / "backups"))
    print(id, flush=True)
"""


def writer(tool: str, path: Path, home: Path, name: str, count: int) -> subprocess.Popen[str]:
    tests = Path(__file__).resolve().parents[1]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tests.parent / "src"), str(tests)])}
    return subprocess.Popen(
        [sys.executable, "-c", _WRITER, tool, str(path), str(home), name, str(count)],
        env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def readable(tool: Exporter, path: Path) -> str:
    """The text of the tool's files; fails when one cannot be read."""
    texts = []
    for part, file in files_of(tool, path):
        if file.exists():
            text = file.read_bytes().decode()
            assert part.merge(text, []).text == text
            texts.append(text)
    return "\n".join(texts)


@pytest.mark.campaign
@pytest.mark.timeout(3600)
def test_a_writer_killed_at_any_point_leaves_a_file_that_can_be_read(
    tmp_path: Path, home: Path, campaign: bool
) -> None:
    """What was said to be done is there, what is the user's too, and every backup is whole."""
    rng = random.Random(20261121)
    acknowledged = 0
    for point in range(200 if campaign else 9):
        tool = TOOLS[point % len(TOOLS)]
        path = tmp_path / str(point) / "file"
        path.parent.mkdir()
        old = FILES[tool].text.encode()
        path.write_bytes(old)
        process = writer(tool, path, home, f"p{point}", 10_000)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(rng.random() * 0.25)
        process.send_signal(signal.SIGKILL)
        done = process.communicate()[0].split()
        text = readable(exporter(tool), path)
        lost = [id for id in done if id not in text]
        assert not lost, f"{tool}: {lost}"
        assert as_before(old, path.read_bytes())
        acknowledged += len(done)
    backups = Backups(home / "backups")
    assert backups.broken() == []
    for backup in backups.all():
        for copy in backup.copies:
            backup.read(copy)
    print(f"{acknowledged} updates acknowledged, {len(backups.all())} backups")


@pytest.mark.campaign
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("tool", ["codex", "opencode", "crush", "aichat"])
def test_many_processes_at_once_lose_no_update(tool: str, tmp_path: Path, home: Path, campaign: bool) -> None:
    processes, updates = (8, 50) if campaign else (4, 6)
    path = tmp_path / "file"
    path.write_text(FILES[tool].text)
    writers = [writer(tool, path, home, f"w{i}", updates) for i in range(processes)]
    for process in writers:
        out, errors = process.communicate()
        assert process.returncode == 0, errors
        assert len(out.split()) == updates + 1
    text = readable(exporter(tool), path)
    lost = [f"w{i}-{n}" for i in range(processes) for n in range(updates) if f"w{i}-{n}" not in text]
    assert lost == []
    assert as_before(FILES[tool].text.encode(), path.read_bytes())
    assert len(Backups(home / "backups").all()) == processes * updates
