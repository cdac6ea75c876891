"""`binder/`: accepted by repo2docker, pinned, and its scripts do what an image and a session need.

With --campaign the whole: a fresh environment from the very files, `postBuild` and `start` in it, every notebook in it.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import tiny_gguf
from permissions import as_somebody

REPO = Path(__file__).resolve().parents[2]
BINDER = REPO / "binder"
NOTEBOOKS = sorted(path.name for path in (REPO / "notebooks").glob("*.ipynb"))
FIRST = "/lab/tree/notebooks/01-first-chat.ipynb"
PEAK_MB = 1000
HOMES = ("writable", "read-only", "missing")


def pins() -> dict[str, str]:
    lines = [line for line in (BINDER / "requirements.txt").read_text().splitlines() if not line.startswith("#")]
    return {canonicalize_name(name): version for name, _, version in (line.partition("==") for line in lines)}


# ---------------------------------------------------------------- the files


def test_repo2docker_accepts_it() -> None:
    """It plans the whole image, and needs no Docker for that."""
    command = [sys.executable, "-m", "repo2docker", "--no-build", "--debug", "."]
    done = subprocess.run(command, cwd=REPO, capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stderr
    version = (BINDER / "runtime.txt").read_text().strip().removeprefix("python-")
    assert f"Building conda environment for python={version}" in done.stderr
    for step in ('pip install --no-cache-dir -r "binder/requirements.txt"', "RUN ./binder/postBuild", "binder/start"):
        assert step in done.stdout


def test_every_package_is_pinned_and_no_index_is_named() -> None:
    for line in (BINDER / "requirements.txt").read_text().splitlines():
        if not line.startswith("#"):
            [specifier] = Requirement(line).specifier
            assert specifier.operator == "=="
            assert "://" not in line
            assert not line.startswith("-")


def test_the_pins_are_what_the_project_asks_for() -> None:
    project = tomllib.loads((REPO / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    wanted = [
        *project["project"]["dependencies"],
        *extras["lab"],
        *extras["local"],
        *project["build-system"]["requires"],
    ]
    found = pins()
    for requirement in map(Requirement, wanted):
        version = found.get(canonicalize_name(requirement.name))
        assert version is not None, f"{requirement.name} is not pinned"
        assert requirement.specifier.contains(version, prereleases=True), f"{requirement} is pinned to {version}"


@pytest.mark.parametrize("name", ["postBuild", "start"])
def test_a_script_can_be_executed_and_has_no_slip(name: str) -> None:
    assert os.access(BINDER / name, os.X_OK)
    assert subprocess.run(["bash", "-n", str(BINDER / name)], capture_output=True).returncode == 0


# ---------------------------------------------------------------- start


def home_of(kind: str, tmp_path: Path) -> dict[str, str]:
    """`HOME` as the environment of a session may have it."""
    if kind == "missing":
        return {}
    home = tmp_path / f"{kind}-home"
    home.mkdir(exist_ok=True)
    home.chmod(0o555 if kind == "read-only" else 0o755)
    return {"HOME": str(home)}


def session(tmp_path: Path, home: str, **more: str) -> dict[str, str]:
    """The environment in which an image starts: bare."""
    (tmp_path / "tmp").mkdir(exist_ok=True)
    return (
        {"PATH": os.environ["PATH"], "TMPDIR": str(tmp_path / "tmp"), "LANG": "C.UTF-8"}
        | home_of(home, tmp_path)
        | more
    )


def start(folder: Path, environ: dict[str, str], *command: str) -> subprocess.CompletedProcess[str]:
    words = [*as_somebody(), str(folder / "binder" / "start"), *command]
    return subprocess.run(words, cwd=folder, env=environ, capture_output=True, text=True, timeout=170)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A folder with `binder/` and a model in it."""
    folder = tmp_path / "image"
    shutil.copytree(BINDER, folder / "binder")
    (folder / "binder" / "model").mkdir(exist_ok=True)
    (folder / "binder" / "model" / "small.gguf").write_bytes(b"GGUF")
    return folder


SHOW = "import json, os; print(json.dumps(dict(os.environ)))"


@pytest.mark.parametrize("home", HOMES)
def test_a_session_gets_places_that_it_can_write_and_none_that_outlives_it(
    image: Path, tmp_path: Path, home: str
) -> None:
    environ = session(tmp_path, home, NBLLM_VAULT_PASSPHRASE="of the hub")
    done = start(image, environ, sys.executable, "-c", SHOW)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert Path(seen["NBLLM_HOME"]).is_relative_to(tmp_path / "tmp")
    assert os.access(seen["HOME"], os.W_OK)
    assert (seen["HOME"] == environ.get("HOME")) is (home == "writable")
    assert "NBLLM_VAULT_PASSPHRASE" not in seen
    assert seen["BINDER_SERVICE_HOST"]
    config = tomllib.loads(Path(seen["NBLLM_HOME"], "config.toml").read_text())
    assert config == {"providers": {"local-gguf": {"gguf": str(image / "binder" / "model" / "small.gguf")}}}


def test_the_command_takes_the_place_of_start_with_its_words_and_its_status(image: Path, tmp_path: Path) -> None:
    code = "import sys; print(sys.argv[1:]); sys.exit(7)"
    done = start(image, session(tmp_path, "writable"), sys.executable, "-c", code, "a b", "*")
    assert (done.returncode, done.stdout) == (7, "['a b', '*']\n")


def test_keys_stay_in_memory_and_the_warning_is_given(image: Path, tmp_path: Path) -> None:
    key = "canary-7hQ2vX9pL4mT8wZ1kR6n"
    code = (
        "import nbllm, os; from nbllm.credentials import Secret\n"
        f"print(nbllm.workspace().save_key('groq', Secret({key!r})).sentence)"
    )
    environ = session(tmp_path, "writable", PYTHONPATH=str(REPO / "src"))
    done = start(image, environ, sys.executable, "-c", code)
    assert done.returncode == 0, done.stderr
    assert "kept in this session only: on Binder whoever has the address of this page can read it" in done.stdout
    assert "keys live in the memory of a kernel only" in done.stderr
    for path in (*(tmp_path / "tmp").rglob("*"), *image.rglob("*"), *(tmp_path / "writable-home").rglob("*")):
        assert not path.is_file() or key.encode() not in path.read_bytes()


def test_the_model_of_the_image_answers_in_a_session(image: Path, tmp_path: Path) -> None:
    tiny_gguf.write(image / "binder" / "model" / "small.gguf", words_before_stop=1e9)
    code = (
        "import nbllm\n"
        "reply = nbllm.chat('hello', model='local-gguf/small', params={'max_tokens': 5})\n"
        "print(reply.model, bool(reply.text))"
    )
    environ = session(tmp_path, "missing", PYTHONPATH=str(REPO / "src"), NBLLM_OFFLINE="1")
    done = start(image, environ, sys.executable, "-c", code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["small", "True"]


def test_without_a_model_a_session_starts_all_the_same(image: Path, tmp_path: Path) -> None:
    shutil.rmtree(image / "binder" / "model")
    done = start(image, session(tmp_path, "missing"), sys.executable, "-c", SHOW)
    assert done.returncode == 0, done.stderr
    assert not Path(json.loads(done.stdout)["NBLLM_HOME"], "config.toml").exists()


@contextmanager
def serving(folder: Path, environ: dict[str, str], python: str, app: str) -> Iterator[str]:
    """A Jupyter server as the image starts it; its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [str(folder / "binder" / "start"), python, "-m", app, "--ip=127.0.0.1", f"--port={port}", "--no-browser",
             "--allow-root", "--IdentityProvider.token=known"]  # fmt: skip
    process = subprocess.Popen(words, cwd=folder, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=30)


def where_it_leads(url: str) -> str:
    """To which page the address of the server leads, as soon as it is there."""
    deadline = time.monotonic() + 120
    while True:
        try:
            with urllib.request.urlopen(f"{url}/?token=known", timeout=60) as answer:
                return str(answer.url).removeprefix(url).partition("?")[0]
        except (urllib.error.URLError, ConnectionError):
            assert time.monotonic() < deadline, "the server does not start"
            time.sleep(0.2)


def test_the_server_opens_the_first_notebook(image: Path, tmp_path: Path) -> None:
    shutil.copytree(REPO / "notebooks", image / "notebooks")
    with serving(image, session(tmp_path, "writable"), sys.executable, "jupyterlab") as url:
        assert where_it_leads(url) == FIRST
        with urllib.request.urlopen(
            f"{url}/api/contents{FIRST.removeprefix('/lab/tree')}?token=known&content=0"
        ) as found:
            assert json.load(found)["type"] == "notebook"


# ---------------------------------------------------------------- notebooks


@dataclass
class Peak:
    """The most memory that a process and all its children had at once."""

    mb: float = 0.0
    ended: bool = False

    def watch(self, pid: int) -> None:
        while not self.ended:
            try:
                family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
            except psutil.Error:
                return
            used = 0
            for member in family:
                try:
                    used += member.memory_info().rss
                except psutil.Error:
                    continue
            self.mb = max(self.mb, used / 1e6)
            time.sleep(0.05)


def run_notebook(folder: Path, name: str, environ: dict[str, str], python: str) -> tuple[int, str, float]:
    """Run one as the kernel of a session; status, what was said, and peak memory in MB, kernel and runner together."""
    recording = folder / "notebooks" / f"{Path(name).stem}.replay.jsonl"
    # JupyterLab says which notebook it is; whoever runs one without it does not.
    session_name = {"JPY_SESSION_NAME": str(recording.with_name(name))} if recording.exists() else {}
    environ |= {"NBLLM_DEMO_PACE_S": "0"} | session_name
    words = [*as_somebody(), str(folder / "binder" / "start"), python, "-m", "jupyter", "execute", f"notebooks/{name}"]
    process = subprocess.Popen(
        words, cwd=folder, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    peak = Peak()
    watcher = threading.Thread(target=peak.watch, args=(process.pid,))
    watcher.start()
    try:
        said, _ = process.communicate(timeout=280)
    finally:
        peak.ended = True
        watcher.join()
    return process.returncode, said, peak.mb


@pytest.mark.timeout(300)
@pytest.mark.parametrize("home", ["read-only", "missing"])
def test_the_first_notebook_runs_in_a_session_without_a_home(image: Path, tmp_path: Path, home: str) -> None:
    (image / "binder" / "model" / "small.gguf").unlink()
    shutil.copytree(REPO / "notebooks", image / "notebooks")
    environ = session(tmp_path, home, PYTHONPATH=str(REPO / "src"), NBLLM_OFFLINE="1")
    status, said, peak_mb = run_notebook(image, NOTEBOOKS[0], environ, sys.executable)
    assert status == 0, said
    assert 0 < peak_mb < PEAK_MB


# ---------------------------------------------------------------- the whole


@dataclass(frozen=True)
class Built:
    """What stands for the image: the checkout with an environment from its files."""

    folder: Path
    python: str
    said: str
    """By `postBuild`."""


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """As repo2docker's steps do it: requirements, then the checkout, then `postBuild`. Downloads some 150 MB."""
    root = tmp_path_factory.mktemp("binder")
    folder = root / "repo"
    ignored = shutil.ignore_patterns(
        ".git", "*.gguf", "__pycache__", ".hypothesis", ".mypy_cache", ".ruff_cache", "model"
    )
    shutil.copytree(REPO, folder, ignore=ignored)
    subprocess.run([sys.executable, "-m", "venv", str(root / "env")], check=True)
    bin_folder = root / "env" / "bin"
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("NBLLM_", "PYTEST_", "PYTHON"))}
    environ |= {
        "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(root),
        "HF_ENDPOINT": "http://127.0.0.1:9",
    }
    install = [str(bin_folder / "pip"), "install", "--no-cache-dir", "-q", "-r", "binder/requirements.txt"]
    subprocess.run(install, cwd=folder, env=environ, check=True, timeout=1500)
    done = subprocess.run(["./binder/postBuild"], cwd=folder, env=environ, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return Built(folder, str(bin_folder / "python"), done.stdout)


@pytest.mark.whole
@pytest.mark.campaign
@pytest.mark.timeout(2400)
def test_the_environment_is_complete_and_goes_on_without_a_model(built: Built) -> None:
    assert "going on without a model" in built.said
    check = subprocess.run([built.python, "-m", "pip", "check"], capture_output=True, text=True)
    assert check.returncode == 0, check.stdout
    listed = subprocess.run(
        [built.python, "-m", "pip", "list", "--format=json"], capture_output=True, text=True, check=True
    )
    installed = {canonicalize_name(row["name"]): row["version"] for row in json.loads(listed.stdout)}
    assert {name: installed.get(name) for name in pins()} == pins()
    assert set(installed) - set(pins()) <= {"nbllm", "pip", "setuptools"}


@pytest.mark.whole
@pytest.mark.campaign
@pytest.mark.timeout(2400)
@pytest.mark.parametrize("home", HOMES)
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_every_notebook_runs_there_within_the_memory_of_a_session(
    built: Built, tmp_path: Path, name: str, home: str
) -> None:
    bin_folder = str(Path(built.python).parent)
    environ = session(tmp_path, home, NBLLM_OFFLINE="1")
    environ["PATH"] = f"{bin_folder}{os.pathsep}{environ['PATH']}"
    status, said, peak_mb = run_notebook(built.folder, name, environ, built.python)
    print(f"{name}, home {home}: {peak_mb:.0f} MB")
    assert status == 0, said
    assert peak_mb < PEAK_MB


@pytest.mark.whole
@pytest.mark.campaign
@pytest.mark.timeout(2400)
@pytest.mark.parametrize("app", ["jupyterlab", "notebook"])
def test_both_front_ends_open_the_first_notebook_there(built: Built, tmp_path: Path, app: str) -> None:
    with serving(built.folder, session(tmp_path, "writable"), built.python, app) as url:
        assert where_it_leads(url) == FIRST
