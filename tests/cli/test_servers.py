"""`nbllm demo-server` and `nbllm lab`: commands that stay until they are ended."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import nbformat
import pytest
from nbformat.sign import NotebookNotary

import course
from cli.shell import environment, nbllm, start
from nbllm.cli import lab
from nbllm.errors import SettingsError


def _started(process: subprocess.Popen[bytes]) -> str:
    assert process.stdout is not None
    said = process.stdout.readline().decode()
    found = re.search(r"http://127\.0\.0\.1:\d+/v1", said)
    assert found, said
    return found[0]


def test_the_demo_server_answers_and_ctrl_c_is_its_proper_end() -> None:
    process = start("demo-server", "--port", "0")
    url = _started(process)
    with urllib.request.urlopen(f"{url}/models") as answer:
        assert "guide" in {m["id"] for m in json.load(answer)["data"]}
    done = nbllm("chat", "hello", "-m", "mine/guide", env={"MINE_BASE_URL": url, "MINE_API_KEY": "none"})
    assert done.stdout.startswith("*demo"), done.stderr
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=20)
    assert (process.returncode, said.strip()) == (0, b"")


def test_the_demo_server_listens_on_loopback_only() -> None:
    process = start("demo-server", "--port", "0")
    port = int(_started(process).split(":")[2].split("/")[0])
    mine = (
        [line.split()[1] for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        if sys.platform == "linux"
        else []
    )
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert [a for a in mine if a.endswith(f":{port:04X}") and not a.startswith("0100007F")] == []


def test_a_port_that_is_taken_is_one_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = nbllm("demo-server", "--port", str(taken.getsockname()[1]))
    assert done.returncode == 2
    assert "choose another with --port" in done.stderr


# ---------------------------------------------------------------- lab


def test_a_fresh_copy_is_trusted_and_shown_with_its_style() -> None:
    path = lab._copy() / lab.QUICKSTART
    assert NotebookNotary().check_signature(nbformat.read(path, as_version=4))

    path.write_text(path.read_text().replace("First chat", "Mine"))
    lab._copy()
    assert not NotebookNotary().check_signature(nbformat.read(path, as_version=4)), "what is not ours is not signed"


def test_without_jupyterlab_the_way_to_get_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SettingsError, match="not installed") as caught:
        lab.start(port=None, browser=False)
    assert caught.value.hint == 'pip install "nbllm[lab]"'


def test_the_course_is_copied_once_and_what_the_user_wrote_stays() -> None:
    folder = lab._copy()
    assert {p.name for p in folder.glob("*.ipynb")} >= {lab.QUICKSTART}
    (folder / lab.QUICKSTART).write_text("mine")
    assert lab._copy() == folder
    assert (folder / lab.QUICKSTART).read_text() == "mine"


def test_recordings_are_copied_beside_the_notebooks_that_need_them() -> None:
    """Where a notebook replays, its recording is there, byte by byte; one that the user made anew stays."""
    folder, source = lab._copy(), lab.notebooks()
    recordings = sorted(path.name for path in source.glob("*.replay.jsonl"))
    assert recordings == sorted(f"{book.stem}.replay.jsonl" for book in course.replayed())
    for name in recordings:
        assert (folder / name).read_bytes() == (source / name).read_bytes()
        assert (folder / name.replace(".replay.jsonl", ".ipynb")).exists()

    (folder / recordings[0]).write_text("mine")
    lab._copy()
    assert (folder / recordings[0]).read_text() == "mine"


def test_a_home_that_cannot_be_written_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NBLLM_HOME", str(tmp_path / "file" / "home"))
    with pytest.raises(SettingsError, match="cannot write"):
        lab._copy()


@pytest.mark.parametrize(("user", "told"), [(0, True), (1000, False)])
def test_root_is_told_what_jupyterlab_is_told(
    user: int, told: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: user)
    command = lab._command(Path("/folder"), port=8899, browser=False)
    assert ("--allow-root" in command) is told
    assert len(capsys.readouterr().err.splitlines()) == told
    assert {"--port=8899", "--no-browser"} <= set(command)


_STANDS_IN = """
import signal, sys, time
count = 0
def hear(*_):
    global count
    count += 1
    print("asked", flush=True)
    if count == 2:
        sys.exit(int(sys.argv[1]))
signal.signal(signal.SIGINT, hear)
print("up", flush=True)
while True:
    time.sleep(0.05)
"""


@pytest.mark.parametrize(("ends", "status"), [(0, 0), (3, 2)])
def test_ctrl_c_twice_ends_the_lab_and_its_status_is_told(ends: int, status: int) -> None:
    """JupyterLab asks at the first one; a server that stands in for it behaves so."""
    code = (
        f"import sys\nfrom nbllm.cli import lab, main\n"
        f"lab._command = lambda *a, **k: [sys.executable, '-c', {_STANDS_IN!r}, '{ends}']\nmain(['lab'])"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    for _ in range(2):
        os.killpg(process.pid, signal.SIGINT)
        assert process.stdout.readline() == b"asked\n"
        time.sleep(0.4)
    _, said = process.communicate(timeout=20)
    assert process.returncode == status, said
    assert (b"JupyterLab ended with status 3" in said) is (ends == 3)


@pytest.mark.parametrize("port", ["0", "70000", "x"])
def test_a_port_that_is_none_is_refused(port: str) -> None:
    assert nbllm("lab", "--port", port).returncode == 2


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def _status_of(url: str) -> int | None:
    try:
        with urllib.request.urlopen(url) as answer:
            status: int = answer.status
            return status
    except OSError:
        return None


def test_the_real_lab_starts_serves_and_ends(request: pytest.FixtureRequest) -> None:
    pytest.importorskip("jupyterlab")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    leader, follower = pty.openpty()  # without a terminal JupyterLab does not ask, and the first Ctrl-C ends it
    process = start("lab", "--no-browser", "--port", str(port), start_new_session=True, stdin=follower)
    request.addfinalizer(lambda: _end(process))
    assert process.stderr is not None
    said = b""
    while b"token=" not in said and (line := process.stderr.readline()):
        said += line
    url = re.search(rf"http://(?:localhost|127\.0\.0\.1):{port}/lab\S*token=\S+", said.decode())
    assert url, said
    assert lab.QUICKSTART in url[0]
    deadline = time.monotonic() + 30
    while (status := _status_of(url[0])) is None and time.monotonic() < deadline:
        time.sleep(0.1)
    assert status == 200
    for _ in range(2):
        os.killpg(process.pid, signal.SIGINT)
        time.sleep(0.5)
    process.communicate(timeout=60)
    os.close(leader)
    os.close(follower)
    assert process.returncode == 0
