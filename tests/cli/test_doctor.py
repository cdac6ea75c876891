"""`nbllm doctor`: every look, one line each, no secret."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from cli.shell import nbllm
from key_shapes import SHAPES, traces
from nbllm.cli.doctor import examine
from nbllm.workspace import Workspace

TOPICS = {"python", "nbllm", "packages", "home", "cache", "disk", "settings", "store", "keyring", "proxy",
          "providers"}  # fmt: skip


@pytest.fixture
def workspace() -> Iterator[Workspace]:
    made = Workspace()
    yield made
    made.close()


def test_every_look_reports_and_a_fresh_home_has_no_error(workspace: Workspace) -> None:
    findings = examine(workspace)
    assert {f.topic for f in findings} >= TOPICS
    assert not [f for f in findings if f.level == "error"]
    assert all(f.advice for f in findings if f.level != "ok")


def test_as_json_it_is_the_whole_of_stdout() -> None:
    done = nbllm("doctor", "--json")
    findings = json.loads(done.stdout)
    assert (done.returncode, done.stderr) == (0, "")
    assert all(list(f) == ["level", "topic", "says", "advice"] for f in findings)


def _broken_config(home: Path) -> None:
    (home / "config.toml").write_text("[settings]\nmodel = \n")


def _newer_store(home: Path) -> None:
    assert nbllm("chat", "q").returncode == 0
    database = sqlite3.connect(home / "nbllm.db")
    database.execute("update alembic_version set version_num = '9999'")
    database.commit()
    database.close()


def _bad_row(home: Path) -> None:
    (home / "config.toml").write_text('[providers.odd]\nbase_url = "ftp://x"\n')


def _nothing(home: Path) -> None: ...


@dataclass(frozen=True)
class Trouble:
    id: str
    level: str
    topic: str
    says: str
    make: Callable[[Path], None] = _nothing
    env: tuple[tuple[str, str], ...] = ()


TROUBLES = (
    Trouble("broken config", "error", "settings", "config.toml, line 2", _broken_config),
    Trouble("newer store", "error", "store", "newer", _newer_store),
    Trouble("bad row", "warning", "providers", "odd", _bad_row),
    Trouble("missing CA file", "error", "tls", "SSL_CERT_FILE names /no.pem", env=(("SSL_CERT_FILE", "/no.pem"),)),
    Trouble("bad setting", "error", "settings", "NBLLM_LIVE takes", env=(("NBLLM_LIVE", "perhaps"),)),
    Trouble("offline", "warning", "network", "no request leaves", env=(("NBLLM_OFFLINE", "1"),)),
    Trouble("binder", "warning", "binder", "public", env=(("BINDER_SERVICE_HOST", "hub"),)),
    Trouble("lost store", "warning", "store", "memory", env=(("NBLLM_DATABASE_URL", "sqlite:////dev/null/x.db"),)),
    Trouble("open folder", "warning", "home", "read by others", lambda home: home.chmod(0o755)),
)  # fmt: skip


@pytest.mark.parametrize("trouble", TROUBLES, ids=lambda t: t.id)
def test_each_trouble_is_said_once_with_what_to_do(
    trouble: Trouble, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.mkdir(mode=0o700)
    trouble.make(home)
    for name, value in trouble.env:
        monkeypatch.setenv(name, value)
    workspace = Workspace()
    found = [f for f in examine(workspace) if trouble.says in f.says]
    workspace.close()
    assert [(f.level, f.topic) for f in found] == [(trouble.level, trouble.topic)]
    assert found[0].advice
    assert found[0].to_text().count("\n") == 1


def test_many_troubles_at_once_are_all_said_and_no_secret_is(home: Path) -> None:
    home.mkdir(mode=0o755)
    _broken_config(home)
    key, password = SHAPES[0].key(), "correct-horse-battery"
    env = {
        "GROQ_API_KEY": key, "NBLLM_VAULT_PASSPHRASE": password, "HTTPS_PROXY": f"http://me:{password}@127.0.0.1:9",
        "NBLLM_DATABASE_URL": f"postgresql://me:{password}@127.0.0.1:9/db?password={password}",
        "SSL_CERT_FILE": "/nowhere.pem", "NBLLM_LIVE": "perhaps", "NBLLM_OFFLINE": "1",
    }  # fmt: skip
    done = nbllm("doctor", env=env)
    lines = done.stdout.splitlines()
    assert done.returncode == 1
    assert done.stderr == ""
    assert all(line.startswith(("ok", "warning", "error", " " * 21 + "-> ")) for line in lines)
    assert len([line for line in lines if "not valid TOML" in line]) == 1
    assert not traces(key, done.stdout)
    assert not traces(password, done.stdout)


def test_a_look_that_fails_hides_no_other(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: Path) -> None:
        raise RuntimeError("odd disk")

    monkeypatch.setattr("nbllm.cli.doctor.shutil.disk_usage", broken)
    findings = examine(workspace)
    assert [f.says for f in findings if f.level == "error"] == ["RuntimeError: odd disk"]
    assert {f.topic for f in findings} >= TOPICS - {"disk"}
