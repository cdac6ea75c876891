"""models.dev is asked when the user says so and no oftener; what was known goes on counting when it fails."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from nbllm import aio
from nbllm.catalog.knowledge import TTL_S, Knowledge, Refreshed, their_id
from nbllm.catalog.models_dev import FILE, bundled_copy
from nbllm.errors import OfflineError, ProviderError, SettingsError, StoreError, UnreachableError
from nbllm.providers.spec import ProviderConfig
from nbllm.transport.http import Http
from nbllm.workspace import Workspace
from wire_server import Stall, WireServer, answer

OPENAI = ProviderConfig(id="openai", base_url="https://api.openai.com/v1")
DAY_0 = 1_795_000_000.0  # 2026-11-18


class Clock:
    now = DAY_0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def body(**models: Any) -> bytes:
    return json.dumps({"openai": {"models": models}}).encode()


def refresh(knowledge: Knowledge, *, force: bool = False) -> Refreshed:
    async def main() -> Refreshed:
        return await knowledge.refresh(force=force)

    return aio.run(main())


def knowing(server: WireServer, tmp_path: Path, clock: Clock, **options: Any) -> Knowledge:
    http = Http(environ={}, **options)
    return Knowledge(tmp_path / "cache" / FILE, http, url=lambda: f"{server.origin}/api.json", clock=clock)


def context(knowledge: Knowledge, model: str) -> Any:
    book = knowledge.book(OPENAI)
    found = None if book is None else book.find(model)
    return None if found is None else found.facts.get("context")


def test_nothing_is_asked_before_one_says_so(tmp_path: Path, clock: Clock) -> None:
    with WireServer(answer(body(m={"limit": {"context": 1}}), kind="application/json")) as server:
        knowledge = knowing(server, tmp_path, clock)
        assert context(knowledge, "gpt-5") == 400000
        assert (knowledge.date, knowledge.age_s) == (bundled_copy().date, None)

    assert server.requests == []
    assert not (tmp_path / "cache").exists()


def test_a_new_list_counts_at_once_and_for_24_hours(tmp_path: Path, clock: Clock) -> None:
    with WireServer(answer(body(m={"limit": {"context": 7}}), kind="application/json", ETag='"one"')) as server:
        knowledge = knowing(server, tmp_path, clock)
        first = refresh(knowledge)
        clock.now += TTL_S - 1
        second = refresh(knowledge)
        clock.now += 2
        third = refresh(knowledge)

    assert (first.outcome, second.outcome, third.outcome) == ("ok", "young", "ok")
    assert (first.date, second.age_s) == ("2026-11-18", TTL_S - 1)
    assert len(server.requests) == 2
    assert context(knowledge, "m") == 7
    assert knowing(server, tmp_path, clock).date == third.date, "another workspace reads the same copy"


def test_what_has_not_changed_is_not_sent_again(tmp_path: Path, clock: Clock) -> None:
    plans = [
        answer(body(m={"limit": {"context": 7}}), kind="application/json", ETag='"one"', Last_Modified="Wed, 18 Nov"),
        answer(status=304),
    ]
    with WireServer(plans) as server:
        knowledge = knowing(server, tmp_path, clock)
        refresh(knowledge)
        clock.now += 3 * 86_400
        again = refresh(knowledge)
        young = refresh(knowledge)

    assert (again.outcome, again.date, young.outcome) == ("unchanged", "2026-11-21", "young")
    assert b'if-none-match: "one"' in server.requests[1].lower()
    assert b"if-modified-since: wed, 18 nov" in server.requests[1].lower()
    assert context(knowledge, "m") == 7


def test_force_asks_a_young_copy_and_another_address_is_asked_whole(tmp_path: Path, clock: Clock) -> None:
    with (
        WireServer(answer(body(m={}), kind="application/json", ETag='"one"')) as server,
        WireServer(answer(body(m={"limit": {"context": 9}}), kind="application/json")) as mirror,
    ):
        refresh(knowing(server, tmp_path, clock))
        refresh(knowing(server, tmp_path, clock), force=True)
        other = knowing(mirror, tmp_path, clock)
        assert refresh(other).outcome == "ok"

    assert len(server.requests) == 2
    assert b"if-none-match" not in mirror.requests[0].lower()
    assert context(other, "m") == 9


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        (answer(b"<html>", kind="text/html"), "not its list of models"),
        (answer(b'{"error": {"message": "no"}}', kind="application/json"), "not its list of models"),
        (answer(b"[" * 100_000, kind="application/json"), "not its list of models"),
        (answer(b"\xff\xfe", kind="application/json"), "not its list of models"),
        (answer(b"gone", status=404), "404"),
    ],
    ids=["a page", "an error body", "deep nesting", "not UTF-8", "404"],
)
def test_a_bad_answer_leaves_what_was_known(tmp_path: Path, clock: Clock, plan: Any, said: str) -> None:
    with WireServer([answer(body(m={"limit": {"context": 7}}), kind="application/json"), plan]) as server:
        knowledge = knowing(server, tmp_path, clock)
        refresh(knowledge)
        before = (tmp_path / "cache" / FILE).read_bytes()
        failed = refresh(knowledge, force=True)

    assert failed.outcome == "failed"
    assert isinstance(failed.error, ProviderError)
    assert said in str(failed.error)
    assert (tmp_path / "cache" / FILE).read_bytes() == before
    assert context(knowledge, "m") == 7


def test_more_than_the_cap_is_refused(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nbllm.catalog.knowledge.CAP_BYTES", 1000)
    with WireServer(answer(body(m={"name": "x" * 2000}), kind="application/json")) as server:
        failed = refresh(knowing(server, tmp_path, clock))

    assert failed.outcome == "failed"
    assert "more than 0.001 MB" in str(failed.error)


def test_a_server_that_fails_once_is_asked_again_by_the_one_owner_of_retries(tmp_path: Path, clock: Clock) -> None:
    plans = [answer(b"busy", status=503, Retry_After="0"), answer(body(m={}), kind="application/json")]
    with WireServer(plans) as server:
        assert refresh(knowing(server, tmp_path, clock)).outcome == "ok"

    assert len(server.requests) == 2


def test_offline_the_copy_that_is_there_counts(tmp_path: Path, clock: Clock) -> None:
    knowledge = Knowledge(tmp_path / FILE, Http(environ={}, offline=lambda: True), clock=clock)

    failed = refresh(knowledge)

    assert failed.outcome == "failed"
    assert isinstance(failed.error, OfflineError)
    assert failed.date == bundled_copy().date
    assert context(knowledge, "gpt-5") == 400000


def test_two_that_ask_at_once_make_one_request(tmp_path: Path, clock: Clock) -> None:
    with WireServer(answer(body(m={}), kind="application/json")) as server:
        knowledge = knowing(server, tmp_path, clock)

        async def main() -> list[Refreshed]:
            return await asyncio.gather(knowledge.refresh(), knowledge.refresh(force=True), knowledge.refresh())

        outcomes = {r.outcome for r in aio.run(main())}

    assert outcomes == {"ok"}
    assert len(server.requests) == 1


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    with WireServer(answer(body(m={}), kind="application/json")) as server:
        failed = refresh(knowing(server, tmp_path, clock))

    assert failed.outcome == "failed"
    assert isinstance(failed.error, StoreError)
    assert "could not be kept" in str(failed.error)


def test_a_broken_file_in_the_cache_counts_as_none(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / FILE).write_bytes(b"half")

    assert context(Knowledge(tmp_path / FILE, clock=clock), "gpt-5") == 400000


def test_a_copy_older_than_the_packages_does_not_count(tmp_path: Path) -> None:
    clock = Clock()
    clock.now = 1_700_000_000.0  # 2023: a computer whose clock is wrong
    with WireServer(answer(body(m={"limit": {"context": 7}}), kind="application/json")) as server:
        knowledge = knowing(server, tmp_path, clock)
        refresh(knowledge)

    assert context(knowledge, "m") is None


def test_what_the_package_knew_is_kept_when_models_dev_has_removed_it(tmp_path: Path, clock: Clock) -> None:
    with WireServer(answer(body(m={}), kind="application/json")) as server:
        knowledge = knowing(server, tmp_path, clock)
        refresh(knowledge)

    book = knowledge.book(OPENAI)
    assert book is not None
    found = book.find("gpt-5")
    assert found is not None
    assert (found.date, found.facts["context"]) == (bundled_copy().date, 400000)


def test_the_setting_leads_to_a_mirror(monkeypatch: pytest.MonkeyPatch) -> None:
    with WireServer(answer(body(m={"limit": {"context": 7}}), kind="application/json")) as server:
        workspace = Workspace()
        workspace.settings.set("models_dev_url", f"{server.origin}/mirror.json", keep=False)
        assert refresh(workspace.knowledge).outcome == "ok"

    assert server.requests[0].startswith(b"GET /mirror.json ")
    assert b"authorization" not in server.bytes_seen.lower()
    assert context(workspace.knowledge, "m") == 7


def everybody(workspace: Workspace) -> list[str]:
    """`fetch --all` of a workspace that has nobody to ask but the demo: what is said about it."""
    workspace.registry.set_enabled([r.id for r in workspace.registry.all() if r.kind != "demo"], False)
    fetching = workspace.fetch(every=True)
    assert [r.provider for r in fetching if r.outcome == "ok"] == ["demo"]
    assert fetching.ok
    return fetching.remarks


def test_who_asks_all_providers_asks_models_dev_too(monkeypatch: pytest.MonkeyPatch) -> None:
    with WireServer(answer(body(m={"limit": {"context": 7}}), kind="application/json")) as server:
        monkeypatch.setenv("NBLLM_MODELS_DEV_URL", f"{server.origin}/api.json")
        workspace = Workspace()
        assert everybody(workspace) == []
        assert list(workspace.fetch(["demo"]))

    assert len(server.requests) == 1
    assert context(workspace.knowledge, "m") == 7


def test_when_that_fails_the_reason_is_told_and_the_day_of_what_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    with WireServer(answer(b"<html>", kind="text/html")) as server:
        monkeypatch.setenv("NBLLM_MODELS_DEV_URL", f"{server.origin}/api.json")
        (told,) = everybody(Workspace())

    assert "not its list of models" in told
    assert told.endswith(f"what is known of models.dev is of {bundled_copy().date}")


def test_one_may_never_want_to_ask_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NBLLM_MODELS_DEV_URL", "off")

    assert refresh(Workspace().knowledge, force=True).outcome == "off"
    assert everybody(Workspace()) == []


@pytest.mark.parametrize(
    "value", ["http://models.dev/api.json", "http://127.0.0.1.evil.example/", "ftp://x", "models.dev"]
)
def test_an_address_that_others_could_change_on_the_way_is_refused(value: str) -> None:
    with pytest.raises(SettingsError, match="takes an https:// address"):
        Workspace().settings.set("models_dev_url", value, keep=False)


def test_a_server_that_says_nothing_is_given_up(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nbllm.catalog.knowledge.TIMEOUT_S", 0.2)
    with WireServer([Stall()]) as server:
        failed = refresh(knowing(server, tmp_path, clock))

    assert failed.outcome == "failed"
    assert isinstance(failed.error, UnreachableError)


# ---------------------------------------------------------------- whose models


def at(id: str, url: str, **fields: Any) -> ProviderConfig:
    return ProviderConfig(id=id, base_url=url, **fields)


@pytest.mark.parametrize(
    ("provider", "theirs"),
    [
        (OPENAI, "openai"),
        (at("openai", "https://proxy.example/v1"), None),
        (at("openai", "https://api.openai.com/v2"), "openai"),
        (at("mine", "https://api.openai.com/v1"), "openai"),
        (at("mine", "https://api.openai.com/v2"), None),
        (at("gemini", "https://generativelanguage.googleapis.com/v1beta/openai"), "google"),
        (at("deepseek", "https://api.openai.com/v1"), "openai"),
        (at("lmstudio", "http://127.0.0.1:1234/v1", local=True), None),
        (at("demo", "http://demo.invalid/v1", kind="demo"), None),
        (at("nobody", "https://nobody.example/v1"), None),
    ],
    ids=lambda p: f"{p.id} at {p.base_url}" if isinstance(p, ProviderConfig) else str(p),
)
def test_the_address_says_whose_models_they_are(provider: ProviderConfig, theirs: str | None) -> None:
    assert their_id(provider) == theirs


def test_every_bundled_row_finds_itself_in_models_dev(shared: Path) -> None:
    """By the recorded list of who is who; servers on this machine are nobody's."""
    registry, theirs = Workspace().registry, bundled_copy().providers
    wrong = {}
    for said in json.loads((shared / "data" / "providers.json").read_text(encoding="utf-8")):
        names = [s.removeprefix("models.dev:") for s in said["source"] if s.startswith("models.dev:")]
        row = registry.get(said["id"])
        found = their_id(row)
        if (found if found in theirs else None) != (names[0] if names and not row.local else None):
            wrong[row.id] = found

    assert wrong == {}


def test_one_address_of_two_plans_names_neither_for_a_row_of_ones_own() -> None:
    url = "https://api.minimax.io/anthropic"

    assert their_id(at("minimax", url, kind="anthropic")) == "minimax"
    assert their_id(at("mine", url, kind="anthropic")) is None
