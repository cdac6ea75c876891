"""Where a comparison is made: offline, without a key, from a recording, in a home that is shared or read-only."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from compare_server import compare, comparing, echo, said
from model_server import Said
from nbllm.compare.options import CompareOptions
from nbllm.errors import LockedStoreError, MissingKeyError, NbllmError
from nbllm.store import filesystems
from nbllm.workspace import Workspace

PROMPTS = ["one", "two", "three"]


def again(url: str, **fields: Any) -> Workspace:
    """Another process, as far as a comparison can tell."""
    workspace = Workspace()
    workspace.registry.set_session("lab", base_url=url, kind="openai", auth="none", **fields)
    return workspace


# ---------------------------------------------------------------- keys and the network


def test_a_key_that_is_missing_is_told_before_anything_is_asked() -> None:
    with comparing() as (workspace, models):
        workspace.registry.set_session("own", base_url=workspace.registry.get("lab").base_url, key_optional=False)
        with pytest.raises(MissingKeyError, match="no key for own"):
            compare(workspace, PROMPTS, ["lab/a", "own/a"])
        assert (models.asked, models.probes) == ([], 0)
        estimate = workspace.comparisons.dry_run(CompareOptions(prompts=PROMPTS, models=["lab/a", "own/a"]))
        assert estimate.asked == 6  # a dry run needs none


def test_a_keyring_that_is_locked_is_told_before_anything_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    with comparing() as (workspace, models):

        def locked(*_: object) -> None:
            raise LockedStoreError("the keyring is locked", hint="unlock it")

        workspace.registry.set_session("own", base_url=workspace.registry.get("lab").base_url, key_optional=False)
        monkeypatch.setattr(workspace.credentials, "require", locked)
        with pytest.raises(LockedStoreError, match="the keyring is locked"):
            compare(workspace, PROMPTS, ["lab/a", "own/a"])
        assert (models.asked, models.probes) == ([], 0)


def test_a_keyring_that_is_locked_on_the_way_stops_its_provider_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    with comparing() as (workspace, models):
        row = workspace.registry.get("lab")
        workspace.registry.set_session("own", base_url=row.base_url, kind="openai", auth="none")
        making = workspace.comparisons.open(CompareOptions(prompts=PROMPTS, models=["lab/a", "own/b"]))
        real = workspace.credentials.require
        asked_for: list[str] = []

        def locked(provider: Any, *rest: Any) -> Any:
            asked_for.append(provider.id)
            if (
                provider.id == "own" and asked_for.count("own") > 2
            ):  # the look at the keys, and the test before the grid
                raise LockedStoreError("the keyring is locked", hint="unlock it")
            return real(provider, *rest)

        monkeypatch.setattr(workspace.credentials, "require", locked)
        making.complete()
        found = making.comparison()
        assert [r["text"] for r in found.cells if r["model"] == "lab/a"] == [echo("a", p) for p in PROMPTS]
        assert {r["error_type"] for r in found.cells if r["model"] == "own/b"} == {"LockedStoreError"}
        assert {model for model, _ in models.asked} == {"a"}


def test_offline_servers_of_this_machine_still_answer_and_others_are_refused_before_the_grid(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NBLLM_OFFLINE", "1")
    with comparing() as (workspace, models):
        assert [row["status"] for row in compare(workspace, PROMPTS).cells] == ["ok"] * 6
        models.asked.clear()
        workspace.registry.set_session("away", base_url="https://models.example/v1", kind="openai", auth="none")
        with pytest.raises(NbllmError, match=r"(?i)offline"):
            compare(workspace, PROMPTS, ["lab/a", "away/b"])
        assert models.asked == []


# ---------------------------------------------------------------- recordings


def test_a_comparison_from_its_recording_has_the_same_cells_page_and_figures_also_with_repeats(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = tmp_path / "recording.jsonl"
    options: dict[str, Any] = {"name": "study", "repeats": 3, "scorers": ["contains:word"]}
    rows = [{"word": word} for word in PROMPTS]

    def made(workspace: Workspace) -> Any:
        return compare(workspace, "Say {{word}}", data=rows, **options)

    monkeypatch.setenv("NBLLM_REPLAY", f"record:{recording}")
    number = itertools.count(1)

    def never_the_same(model: str, prompt: str) -> Said:
        at = next(number)
        time.sleep(0.03 / at)  # the first to be asked is the last to be answered
        return said(f"{model} says {prompt} {at}", tokens=(len(prompt), at))

    with comparing(never_the_same) as (workspace, _):
        url = workspace.registry.get("lab").base_url
        first = made(workspace)
    monkeypatch.setenv("NBLLM_REPLAY", f"replay:{recording}")
    monkeypatch.setenv("NBLLM_HOME", str(tmp_path / "elsewhere"))
    replayed = again(url)  # the server is gone
    second = made(replayed)

    moving = ("started_at", "from_store", "request_id")
    assert [{k: v for k, v in r.items() if k not in moving} for r in second.cells] == [
        {k: v for k, v in r.items() if k not in moving} for r in first.cells
    ]
    assert [dict(r) for r in second.summary()] == [dict(r) for r in first.summary()]
    assert second._repr_html_() == first._repr_html_()
    missing = compare(replayed, ["never recorded"])
    assert {row["error_type"] for row in missing.cells} == {"ReplayMissError"}
    replayed.close()


# ---------------------------------------------------------------- homes


def test_in_a_home_that_cannot_be_written_it_is_made_and_the_user_is_told_once(
    home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("NBLLM_HOME", "/proc/nbllm")
    with comparing() as (workspace, models):
        found = compare(workspace, PROMPTS, name="study")
        assert [row["status"] for row in found.cells] == ["ok"] * 6
        assert [news for news in workspace.news() if "memory only" in news]
        assert workspace.news() == []
        more = compare(workspace, [*PROMPTS, "four"], name="study")  # as long as the process lives
        assert sum(row["from_store"] for row in more.cells) == 6
        assert set(models.times().values()) == {1}
        assert found.to_jsonl(tmp_path / "saved.jsonl").read_text().count("\n") == 6


@pytest.fixture
def network(tmp_path: Path, home: Path) -> Iterator[pytest.MonkeyPatch]:
    """The home lies on NFS until `undo`."""
    mountinfo = tmp_path / "mountinfo"
    mountinfo.write_text(f"27 1 254:0 / / rw - ext4 /dev/vda rw\n28 27 0:9 / {home} rw - nfs4 server:/export rw\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(filesystems, "MOUNTINFO", mountinfo)
        yield patch


def texts(found: Any) -> list[Any]:
    return [row["text"] for row in found.cells]


def test_on_a_network_home_a_comparison_is_kept_in_the_journal_and_goes_on_in_another_process(
    home: Path, network: pytest.MonkeyPatch
) -> None:
    with comparing() as (workspace, models):
        first = compare(workspace, PROMPTS, name="study")
        assert not (home / "nbllm.db").exists()
        assert list(home.glob("journal-*.jsonl"))
        other = again(workspace.registry.get("lab").base_url)
        assert texts(other.comparisons.load("study")) == texts(first)
        more = compare(other, [*PROMPTS, "four"], name="study")
        assert len(more) == 8
        assert set(models.times().values()) == {1}
        other.close()


def test_back_on_a_local_disk_the_journals_comparison_is_merged_and_nothing_is_asked_again(
    home: Path, network: pytest.MonkeyPatch
) -> None:
    with comparing() as (workspace, models):
        first = compare(workspace, PROMPTS, name="study")
        url = workspace.registry.get("lab").base_url
        network.undo()
        local = again(url)
        for _ in range(2):
            found = compare(local, PROMPTS, name="study")
            assert texts(found) == texts(first)
        assert (home / "nbllm.db").exists()
        assert local.comparisons.names() == ["study"]
        assert set(models.times().values()) == {1}
        local.close()


def test_a_journal_whose_last_line_was_cut_loses_that_alone(home: Path, network: pytest.MonkeyPatch) -> None:
    with comparing(rate_limit={"concurrency": 1}) as (workspace, models):
        compare(workspace, PROMPTS, name="study")
        [journal] = home.glob("journal-*.jsonl")
        journal.write_bytes(journal.read_bytes()[:-200])
        other = again(workspace.registry.get("lab").base_url)
        assert len(other.comparisons.load("study")) == 5
        assert len(compare(other, PROMPTS, name="study")) == 6
        assert sorted(models.times().values()) == [1, 1, 1, 1, 1, 2]
        other.close()
