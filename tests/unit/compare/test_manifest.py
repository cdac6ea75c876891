"""How a comparison was made."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nbllm.compare.cells import Arm
from nbllm.compare.manifest import git_state, manifest, sha256_of_data, software
from unit.compare.comparing import ARMS, failed, row


def whole(folder: Path, **changes: Any) -> dict[str, Any]:
    given: dict[str, Any] = {
        "rows": [row(), row(repeat=1, started_at="2026-11-28T09:00:00Z", price_version="prices 2"), failed(ARMS[1])],
        "arms": ARMS, "name": "mine", "repeats": 2, "seed": 7, "engine": "dask", "data": [{"n": 1}],
        "template": "What is {{n}}?", "system": "Be brief.",
        "scorers": {"shouts": (None, "source abc"), "exact": ("exact:answer", "1")},
        "base_urls": ["https://user:secret@api.example.com:8443/v1?key=secret", "http://127.0.0.1:1/v1", "https://me@a.test/v1"],
        "judge": "demo/guide", "rubric": "Which is shorter?", "finished": "2026-11-28T11:00:00Z", "n_planned": 9,
        "folder": folder,
    }  # fmt: skip
    return manifest(**given | changes)


def test_it_says_how_it_was_made(tmp_path: Path) -> None:
    found = whole(tmp_path)
    assert found["cells"] == {"ok": 2, "error": 1, "unasked": 6}
    assert found["price_versions"] == ["prices 1", "prices 2"]
    assert found["hosts"] == ["127.0.0.1:1", "a.test", "api.example.com:8443"]
    assert (found["started"], found["finished"]) == ("2026-11-28T09:00:00Z", "2026-11-28T11:00:00Z")
    assert (found["grid"]["repeats"], found["grid"]["seed"], found["engine"]) == (2, 7, "dask")
    assert found["grid"]["arms"][1] == {"model": "demo/echo", "params": {"temperature": 0}, "label": "demo/echo t=0"}
    assert found["judge"]["model"] == "demo/guide"
    assert found["git"] is None
    assert found["scorers"] == {
        "exact": {"word": "exact:answer", "version": "1"}, "shouts": {"word": None, "version": "source abc"},
    }  # fmt: skip


def test_it_is_json_in_a_fixed_order_and_comes_out_the_same_again(tmp_path: Path) -> None:
    one = json.dumps(whole(tmp_path, arms=[Arm("demo/echo", {"a": 1, "b": 2})]))
    again = whole(tmp_path, arms=[Arm("demo/echo", {"b": 2, "a": 1})])
    assert json.dumps(again) == one
    assert json.loads(one) == again


def test_no_secret_no_prompt_and_no_folder_is_in_it(tmp_path: Path) -> None:
    text = json.dumps(whole(tmp_path))
    for word in ("secret", "What is", "Be brief", "shorter", str(tmp_path), str(Path.home()), "/v1"):
        assert word not in text


def test_an_empty_one_knows_nothing_and_says_so(tmp_path: Path) -> None:
    found = manifest(folder=tmp_path)
    assert found["cells"] == {"ok": 0, "error": 0, "unasked": 0}
    assert all(found[name] is None for name in ("name", "data_sha256", "template_sha256", "judge", "started", "git"))


def test_the_same_data_has_the_same_hash_whatever_the_order_of_columns() -> None:
    one = sha256_of_data([{"a": 1, "b": "é \ud83d"}, {"a": 2}])
    assert one == sha256_of_data([{"b": "é \ud83d", "a": 1}, {"a": 2}])
    assert one != sha256_of_data([{"a": 2}, {"a": 1, "b": "é \ud83d"}])
    assert one != sha256_of_data([{"a": 1, "b": "é"}, {"a": 2}])


def test_packages_are_told_with_the_version_that_is_installed() -> None:
    found = software()
    assert found["packages"]["pydantic"]
    assert list(found["packages"]) == sorted(found["packages"])
    assert set(found) == {"nbllm", "python", "implementation", "platform", "packages"}


# ---------------------------------------------------------------- git


@pytest.fixture
def git(tmp_path: Path) -> Callable[..., None]:
    def run(*words: str) -> None:
        who = ("-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false")
        subprocess.run(["git", *who, *words], cwd=tmp_path, check=True, capture_output=True)

    try:
        run("init", "-q")
    except FileNotFoundError:
        pytest.skip("git is not installed")
    return run


def test_git_says_revision_and_changes(tmp_path: Path, git: Callable[..., None]) -> None:
    assert git_state(tmp_path) is None  # nothing committed yet
    (tmp_path / "a").write_text("1")
    git("add", "a")
    git("commit", "-qm", "first")
    clean = git_state(tmp_path)
    assert clean is not None
    assert len(clean["revision"]) == 40
    assert clean["dirty"] is False
    (tmp_path / "b").write_text("2")
    assert git_state(tmp_path) == clean | {"dirty": True}


def test_looking_runs_nothing_that_the_folder_brings(tmp_path: Path, git: Callable[..., None]) -> None:
    (tmp_path / "a").write_text("1")
    git("add", "a")
    git("commit", "-qm", "first")
    trap = tmp_path / "trap.sh"
    trap.write_text(f"#!/bin/sh\ntouch {tmp_path}/sprung\n")
    trap.chmod(0o755)
    git("config", "core.fsmonitor", str(trap))
    assert git_state(tmp_path) is not None
    assert not (tmp_path / "sprung").exists()


def test_without_git_or_when_it_is_slow_there_is_no_revision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = tmp_path / "git"
    slow.write_text("#!/bin/sh\nexec sleep 30\n")
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert git_state(tmp_path, timeout_s=0.2) is None
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    assert git_state(tmp_path) is None
