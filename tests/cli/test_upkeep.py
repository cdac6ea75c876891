"""`nbllm stats` counts what is there; `nbllm clean` removes what it says, and never the store, vault or config."""

from __future__ import annotations

import errno
import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.shell import nbllm
from nbllm.catalog.fetch import FetchOptions
from nbllm.chat.options import ChatOptions
from nbllm.cli import main
from nbllm.cli.clean import KEPT, removable
from nbllm.cli.doctor import examine
from nbllm.cli.stats import gather, in_bytes
from nbllm.errors import SettingsError
from nbllm.workspace import Workspace

HOUR = 3600
ROW = '[providers.grove]\nbase_url = "https://grove.example/v1"\n'


@pytest.fixture
def workspace() -> Iterator[Workspace]:
    made = Workspace()
    yield made
    made.close()


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    said = capsys.readouterr()
    assert isinstance(ended.value.code, int)
    return ended.value.code, said.out, said.err


def put(path: Path, content: str = "x", *, age_s: float = 0.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.write_text(content)
    os.utime(path, (time.time() - age_s,) * 2)
    return path


def fetched(home: Path, id: str = "demo", *, age_s: float = 0.0) -> Path:
    """A list of the demo provider, kept as `fetch` keeps it, under this id and of this age."""
    workspace = Workspace()
    assert [r.outcome for r in workspace.fetch(["demo"], options=FetchOptions(force=True))] == ["ok"]
    workspace.close()
    kept = home / "cache" / "listings" / "demo.json"
    content = json.loads(kept.read_text()) | {"fetched_at": time.time() - age_s}
    return put(kept.with_name(f"{id}.json"), json.dumps(content))


def files(home: Path) -> set[str]:
    return {str(p.relative_to(home)) for p in home.rglob("*") if p.is_file()}


# ---------------------------------------------------------------- stats


def test_a_fresh_home_counts_nothing_and_no_store_is_made(workspace: Workspace, home: Path) -> None:
    found = gather(workspace)
    assert found["providers"]["total"] == len(workspace.registry.all())
    assert sum(found["providers"]["by_status"].values()) == found["providers"]["total"]
    assert found["listings"] == {"count": 0, "models": 0, "stale": 0, "oldest_s": None, "newest_s": None, "each": []}
    assert set(found["store"].values()) | set(found["marks"].values()) == {0}
    assert found["disk"] == {"store": 0, "cache": 0, "backups": 0}
    assert not home.exists()


def test_what_was_done_is_counted(workspace: Workspace, home: Path) -> None:
    fetched(home, age_s=2 * HOUR)
    workspace.chat("one", ChatOptions(model="demo/guide"))
    workspace.chat("two", ChatOptions(model="demo/guide", conversation="named"))
    with pytest.raises(Exception, match="refused"):
        workspace.chat("three", ChatOptions(model="demo/error-401"))
    workspace.marks.set_favourites(["demo/guide", "demo/echo"])
    workspace.marks.set_group("g", ["demo/guide"])
    workspace.marks.set_alias("fast", "demo/guide")
    put(home / "backups" / "config-20260101T000000000000001-x.toml", "12345")
    found = gather(workspace)
    (row,) = found["listings"]["each"]
    assert (row["provider"], row["models"], row["stale"]) == ("demo", 7, False)
    assert 2 * HOUR <= row["age_s"] < 3 * HOUR
    assert (found["listings"]["count"], found["listings"]["models"]) == (1, 7)
    assert found["marks"] == {"favourites": 2, "groups": 1, "aliases": 1, "by_hand": 0}
    assert (found["store"]["conversations"], found["store"]["messages"]) == (2, 4)
    assert (found["store"]["calls"], found["store"]["failed_calls"]) == (3, 1)
    assert found["disk"]["backups"] == 5
    assert found["disk"]["store"] > 0
    assert found["providers"]["usable"] >= 1


def test_as_json_it_is_the_whole_of_stdout() -> None:
    done = nbllm("stats", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert list(json.loads(done.stdout)) == ["providers", "listings", "failed", "marks", "store", "disk"]


def test_for_people_it_is_a_line_a_topic(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "stats")
    assert code == 0
    topics = [line.split()[0] for line in out.splitlines()]
    assert topics == ["providers", "status", "kinds", "keys", "listings", "failed", "marks", "store", "disk"]
    assert "nbllm fetch --all" in out


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (999_499, "999 kB"), (2_340_000, "2.3 MB")]
)
def test_bytes_as_people_read_them(count: int, text: str) -> None:
    assert in_bytes(count) == text


# ---------------------------------------------------------------- clean


@pytest.fixture
def full(home: Path) -> Path:
    """A home in which every kind of thing can go, beside what must stay."""
    put(home / "config.toml", ROW)
    fetched(home)
    fetched(home, "gone")
    put(home / "cache" / "checks" / "demo.json")
    put(home / "cache" / "checks" / "gone.json")
    put(home / "cache" / "models_dev.jsonl.gz")
    put(home / "cache" / "listings" / ".nbllm-tmp-old", age_s=2 * HOUR)
    put(home / "cache" / "listings" / ".nbllm-tmp-new")
    put(home / "cache" / "notes-of-mine.json")
    put(home / "vault.json")
    put(home / "nbllm.db")
    put(home / "journal-1.jsonl")
    for n in range(7):
        stamp = f"2026010{n}T000000"
        put(home / "backups" / f"config-{stamp}000000001-x.toml", age_s=(9 - n) * HOUR)
        put(home / "backups" / f"nbllm-0001-2026-01-0{n}T000000.000001Z.db", age_s=(9 - n) * HOUR)
        put(home / "backups" / "configs" / f"{stamp}000000001Z-aichat-0000000{n}" / "manifest.json", "{}")
        put(home / "backups" / "configs" / f"{stamp}000000001Z-llm-0000000{n}" / "0", "abc")
    half = home / "backups" / "configs" / ".20260101T000000000000001Z-llm-00000009"
    put(half / "0")
    os.utime(half, (time.time() - 2 * HOUR,) * 2)
    put(home / "backups" / "configs" / "locks" / "abc.lock")
    put(home / "backups" / "mine.txt")
    return home


STAYS = {
    "config.toml", "vault.json", "nbllm.db", "journal-1.jsonl", "cache/notes-of-mine.json", "backups/mine.txt",
    "backups/configs/locks/abc.lock", "cache/listings/.nbllm-tmp-new",
}  # fmt: skip


def test_without_an_option_it_shows_and_deletes_nothing(full: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = files(full)
    code, out, err = run(capsys, "clean")
    assert (code, err) == (0, "")
    assert "nothing was deleted" in out
    assert out.count("--cache") + out.count("--backups") + out.count("--stale") > 6
    assert files(full) == before


@pytest.mark.parametrize("option", ["--cache", "--backups", "--stale"])
def test_a_dry_run_names_each_file_and_deletes_nothing(
    full: Path, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    before = files(full)
    code, out, _ = run(capsys, "clean", option, "--dry-run")
    named = {line.rpartition("  ")[0] for line in out.splitlines() if line.startswith(str(full))}
    assert (code, files(full)) == (0, before)
    code, _, _ = run(capsys, "clean", option)
    gone = {str(full / name) for name in before - files(full)}
    assert code == 0
    assert gone
    assert {n for n in gone if not any(n.startswith(d) for d in named)} == set()
    assert all(not Path(n).exists() for n in named)


def test_cache_takes_what_can_be_asked_for_again(full: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = files(full)
    assert run(capsys, "clean", "--cache")[0] == 0
    assert before - files(full) == {
        "cache/listings/demo.json", "cache/listings/gone.json", "cache/checks/demo.json", "cache/checks/gone.json",
        "cache/models_dev.jsonl.gz", "cache/failed.json",
    }  # fmt: skip


def test_of_each_kind_of_backup_the_newest_stay(full: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = files(full)
    assert run(capsys, "clean", "--backups")[0] == 0
    gone = before - files(full)
    days = sorted({name.replace("2026-", "2026").partition("2026")[2].replace("-", "")[:4] for name in gone})
    assert days == ["0100", "0101"]
    assert len(gone) == 4 * (7 - KEPT)


def test_stale_takes_what_is_old_or_belongs_to_nobody(full: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = files(full)
    assert run(capsys, "clean", "--stale")[0] == 0
    assert before - files(full) == {
        "cache/listings/gone.json", "cache/checks/gone.json", "cache/listings/.nbllm-tmp-old",
        "backups/configs/.20260101T000000000000001Z-llm-00000009/0",
    }  # fmt: skip


def test_all_options_leave_what_must_stay(full: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "clean", "--cache", "--backups", "--stale")[0] == 0
    assert files(full) >= STAYS
    assert run(capsys, "clean")[1].strip() == "nothing can go"


def test_a_list_past_its_time_and_one_of_another_address_are_stale(home: Path, workspace: Workspace) -> None:
    old = fetched(home, age_s=25 * HOUR)
    put(home / "config.toml", ROW)
    elsewhere = put(home / "cache" / "listings" / "grove.json", old.read_text())
    assert [item.path for item in removable(workspace, ["stale"])] == [old, elsewhere]


def test_while_the_config_is_broken_no_provider_counts_as_gone(home: Path, workspace: Workspace) -> None:
    put(home / "cache" / "checks" / "grove.json")
    put(home / "config.toml", "[providers.grove\n")
    with pytest.raises(SettingsError, match=r"config\.toml"):
        removable(workspace, ["stale"])


def test_a_row_with_a_mistake_is_there_all_the_same(home: Path, workspace: Workspace) -> None:
    put(home / "config.toml", '[providers.grove]\nbase_url = "ftp://x"\n')
    put(home / "cache" / "checks" / "grove.json")
    put(home / "cache" / "listings" / "grove.json", "{}")
    assert removable(workspace, ["stale"]) == []


def test_links_are_not_followed(home: Path, tmp_path: Path, workspace: Workspace) -> None:
    theirs = put(tmp_path / "theirs" / "a.json")
    (home / "cache" / "listings").mkdir(parents=True)
    (home / "cache" / "listings" / "a.json").symlink_to(theirs)
    (home / "backups" / "configs").mkdir(parents=True)
    for n in range(KEPT + 2):
        link = home / "backups" / "configs" / f"2026010{n}T000000000000001Z-llm-00000000"
        link.symlink_to(theirs.parent, target_is_directory=True)
    assert removable(workspace) == []


def test_what_cannot_be_removed_is_one_line_a_file_and_the_rest_goes(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck = put(home / "cache" / "checks" / "gone.json")
    loose = put(home / "cache" / "checks" / "lost.json")
    unlink = Path.unlink

    def guarded(self: Path, missing_ok: bool = False) -> None:
        if self.name == stuck.name:
            raise OSError(errno.EROFS, "Read-only file system", str(self))
        unlink(self, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", guarded)
    code, _, err = run(capsys, "clean", "--stale")
    assert (code, stuck.exists(), loose.exists()) == (1, True, False)
    assert err == f"error: {stuck} stays: Read-only file system\n"


def test_what_another_process_removed_meanwhile_is_gone_as_well(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    put(home / "cache" / "checks" / "gone.json")

    def missing(*_: Any, **__: Any) -> None:
        raise FileNotFoundError(errno.ENOENT, "gone")

    monkeypatch.setattr(Path, "unlink", missing)
    monkeypatch.setattr(shutil, "rmtree", missing)
    assert run(capsys, "clean", "--stale")[0] == 0


# ---------------------------------------------------------------- doctor


def of(workspace: Workspace, topic: str) -> tuple[str, str, str | None]:
    (found,) = [f for f in examine(workspace) if f.topic == topic]
    return found.level, found.says, found.advice


def test_doctor_says_where_the_lists_stand(home: Path, workspace: Workspace) -> None:
    assert of(workspace, "listings") == (
        "ok", "no model list was fetched yet", "`nbllm fetch --all` asks for them"
    )  # fmt: skip
    fetched(home, age_s=2 * HOUR)
    assert of(workspace, "listings") == ("ok", "1 model list, the oldest is 2 h old", None)
    fetched(home, age_s=25 * HOUR)
    assert of(workspace, "listings") == ("warning", "1 model list, 1 past their time: demo", "`nbllm fetch demo`")


def test_doctor_names_who_failed_and_what_to_do(home: Path, workspace: Workspace) -> None:
    entries = {f"p{n}": {"failed": True, "kind": "ServerError"} for n in range(10)} | {"well": {"failed": False}}
    put(home / "cache" / "failed.json", json.dumps(entries))
    level, says, advice = of(workspace, "fetch")
    assert level == "warning"
    assert says.startswith("failed when last asked: p0 (ServerError), p1 (ServerError)")
    assert says.endswith("and 2 more")
    assert advice is not None
    assert "nbllm fetch --failed" in advice


def test_doctor_says_of_which_day_prices_and_limits_are(workspace: Workspace) -> None:
    level, says, advice = of(workspace, "models.dev")
    assert workspace.knowledge.date in says
    assert (level == "warning") is (advice is not None)
    assert "comes with nbllm" in says
