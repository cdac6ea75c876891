"""Lists of many providers at once."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from key_shapes import SHAPES, traces
from model_server import Asked, ModelServer, Said, listing, page, refusal
from nbllm import aio
from nbllm.adapters.base import Endpoint
from nbllm.catalog import fetch
from nbllm.catalog.fetch import FetchOptions, FetchResult
from nbllm.catalog.fetch_table import FetchTable
from nbllm.catalog.listings import Answer, Listings
from nbllm.credentials import Secret
from nbllm.errors import LockedStoreError, UnknownProviderError, UsageError
from nbllm.providers.spec import ModelInfo, ProviderConfig
from nbllm.workspace import Workspace
from wire_server import closed_port


@pytest.fixture
def workspace(home: Path) -> Iterator[Workspace]:
    made = Workspace()
    yield made
    made.close()


def add(workspace: Workspace, id: str, url: str, **fields: Any) -> None:
    workspace.registry.add(id, base_url=url, **fields)


def fetched(workspace: Workspace, *ids: str, **wanted: Any) -> dict[str, FetchResult]:
    return {r.provider: r for r in workspace.fetch(ids, **wanted)}


FORCE = FetchOptions(force=True)


def test_one_that_fails_stops_nobody_and_says_why(workspace: Workspace) -> None:
    answers = {"/good/models": listing("b", "a"), "/bad/models": refusal(503, "closed for today"),
               "/page/models": page("Welcome")}  # fmt: skip
    with ModelServer(answers) as server:
        for id in ("good", "bad", "page"):
            add(workspace, id, f"{server.origin}/{id}")
        add(workspace, "gone", f"http://127.0.0.1:{closed_port()}/v1")
        found = fetched(workspace, "good", "bad", "page", "gone")

    assert {i: r.outcome for i, r in found.items()} == {
        "good": "ok", "bad": "failed", "page": "failed", "gone": "failed",
    }  # fmt: skip
    assert [m.id for m in found["good"].models] == ["b", "a"]
    assert found["good"].model_count == 2
    assert "closed for today" in (found["bad"].reason or "")
    assert [m.id for m in workspace.models("good").models] == ["b", "a"]


class Crowd:
    """Holds requests until so many are there at once, or for as long as it has patience; counts how many ever were."""

    def __init__(self, size: int, patience_s: float) -> None:
        self.size, self.patience_s = size, patience_s
        self.most = self._here = 0
        self._changed = threading.Condition()

    def __call__(self, asked: Asked) -> Said:
        with self._changed:
            self._here += 1
            self.most = max(self.most, self._here)
            self._changed.notify_all()
            self._changed.wait_for(lambda: self.most >= self.size, timeout=self.patience_s)
            self._here -= 1
        return listing("m")


def _most_at_once(workspace: Workspace, crowd: Crowd, cap: int) -> int:
    with ModelServer({"/v1/models": crowd}) as server:
        ids = [f"p{i}" for i in range(12)]
        for id in ids:
            add(workspace, id, server.url)
        found = fetched(workspace, *ids, options=FetchOptions(concurrency=cap))
    assert {r.outcome for r in found.values()} == {"ok"}
    return crowd.most


def test_all_are_asked_at_once(workspace: Workspace) -> None:
    assert _most_at_once(workspace, Crowd(12, patience_s=20), cap=128) == 12


def test_no_more_are_asked_at_once_than_the_cap_allows(workspace: Workspace) -> None:
    assert _most_at_once(workspace, Crowd(5, patience_s=0.4), cap=4) == 4


def test_a_young_list_is_given_without_a_request(workspace: Workspace) -> None:
    with ModelServer({"/v1/models": listing("m")}) as server:
        add(workspace, "mine", server.url)
        fetched(workspace, "mine")
        again = fetched(workspace, "mine")["mine"]

        assert len(server.asked) == 1
    assert (again.outcome, again.model_count, again.seconds) == ("cached", 1, None)
    assert "just now" in (again.reason or "")


def test_an_unknown_name_asks_nobody(workspace: Workspace) -> None:
    with ModelServer({"/v1/models": listing("m")}) as server:
        add(workspace, "mine", server.url)
        with pytest.raises(UnknownProviderError) as caught:
            workspace.fetch(["mine", "opnai"])
        assert server.asked == []
    assert "openai" in caught.value.suggestions
    with pytest.raises(UsageError):
        workspace.fetch()


def test_all_are_those_with_a_key_or_without_need_and_the_rest_has_its_reason(workspace: Workspace) -> None:
    with ModelServer({"/v1/models": listing("m")}) as server:
        workspace.registry.set_enabled([r.id for r in workspace.registry.all() if r.kind != "demo"], False)
        add(workspace, "open", server.url)
        add(workspace, "keyed", server.url, auth="bearer", key_optional=False, env=["KEYED_API_KEY"])
        add(workspace, "old", server.url, status="retired")
        add(workspace, "odd", server.url, status="unsupported")
        found = fetched(workspace, every=True)
        named = fetched(workspace, "old", "odd", options=FORCE)

    assert found["open"].outcome == found["demo"].outcome == "ok"
    assert (found["keyed"].outcome, found["keyed"].reason) == ("skipped", "no key: KEYED_API_KEY is not set")
    assert found["groq"].outcome == "skipped"
    assert "disabled" in (found["groq"].reason or "")
    assert not {"old", "odd"} & found.keys()
    assert named["old"].outcome == "ok"
    assert named["odd"].outcome == "skipped"


def test_servers_of_this_machine_that_are_silent_are_left_out_unless_named(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    local = [r.id for r in workspace.registry.all() if r.local and r.kind != "demo"]
    workspace.registry.set_enabled([r.id for r in workspace.registry.all() if r.id not in local[:2]], False)
    fetching = workspace.fetch(every=True)
    found = {r.provider: r.outcome for r in fetching}
    named = fetched(workspace, local[0])

    assert set(fetching.silent) == set(local[:2])
    assert "failed" not in found.values()
    assert fetching.ok
    assert local[0] in FetchTable(fetching).to_text()
    assert named[local[0]].outcome == "failed"


def test_failures_and_successes_are_remembered_and_only_failures_asked_again(workspace: Workspace, home: Path) -> None:
    said = {"/one/models": refusal(404, "nothing here")}
    answers: Any = {"/one/models": lambda asked: said["/one/models"], "/two/models": listing("m")}
    with ModelServer(answers) as server:
        add(workspace, "one", f"{server.origin}/one")
        add(workspace, "two", f"{server.origin}/two")
        fetched(workspace, "one", "two")
        memory = json.loads((home / "cache" / "failed.json").read_text())
        server.asked.clear()
        said["/one/models"] = listing("a")
        again = fetched(workspace, failed=True)
        paths = server.paths
        after = json.loads((home / "cache" / "failed.json").read_text())
        nothing = fetched(workspace, failed=True)

    assert memory["one"]["failed"] is True
    assert (memory["one"]["kind"], memory["one"]["status"]) == ("ModelNotFoundError", 404)
    assert memory["one"]["last_success"] is None
    assert memory["one"]["last_attempt"].endswith("+00:00")
    assert memory["two"] == {
        "failed": False, "kind": None, "status": None, "error": None, "hint": None, "age_s": None,
        "last_attempt": memory["two"]["last_success"], "last_success": memory["two"]["last_success"],
    }  # fmt: skip
    assert set(again) == {"one"}
    assert paths == ["/one/models"]
    assert after["one"]["failed"] is False
    assert after["one"]["last_success"] is not None
    assert nothing == {}


def test_an_unknown_key_is_no_failure_and_not_remembered(workspace: Workspace, home: Path) -> None:
    fetching = workspace.fetch(["groq"])
    [result] = list(fetching)

    assert result.outcome == "skipped"
    assert not fetching.ok  # it was named
    assert not (home / "cache" / "failed.json").exists()


def test_no_word_of_a_key_anywhere(workspace: Workspace, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = SHAPES[0].key()
    monkeypatch.setenv("MINE_API_KEY", key)

    def echo(asked: Asked) -> Said:
        return refusal(400, f"bad request with {asked.headers['authorization']}")

    with ModelServer({"/v1/models": echo}) as server:
        monkeypatch.setenv("MINE_BASE_URL", server.url)
        fetching = workspace.fetch(["mine"])
        [result] = list(fetching)

        assert len(server.asked) == 1
        assert key in server.asked[0].headers["authorization"]
    assert not traces(key, f"{result!r} {FetchTable(fetching).to_text()} {FetchTable(fetching)._repr_html_()}")
    for path in filter(Path.is_file, home.rglob("*")):
        assert not traces(key, path.read_bytes().decode("latin-1"))


def test_a_listing_that_needs_no_key_is_asked_without_one(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MINE_API_KEY", "abcdefghijkl1234")
    said: list[Said] = [listing("m")]

    def answer(asked: Asked) -> Said:
        return said[0] if "authorization" not in asked.headers else listing("m", "for-you")

    with ModelServer({"/v1/models": answer}) as server:
        add(workspace, "mine", server.url, models_need_key=False, auth="bearer", env=["MINE_API_KEY"])
        free = fetched(workspace, "mine")["mine"]
        said[0] = refusal(401)
        refused = fetched(workspace, "mine", options=FetchOptions(whole=True))["mine"]
        sent = ["authorization" in asked.headers for asked in server.asked]

    assert free.model_count == 1
    assert refused.model_count == 2
    assert sent == [False, False, True]


def test_a_key_that_cannot_be_had_counts_for_its_provider_only(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "key").write_text("abcdefghijkl1234")
    monkeypatch.setenv("KEYED_API_KEY_FILE", str(tmp_path / "key"))
    require = workspace.credentials.require
    freed = threading.Event()

    def slow(provider: ProviderConfig, variables: Sequence[str]) -> Secret | None:
        if provider.id == "locked":
            raise LockedStoreError("the keyring is locked")
        if provider.id.startswith("stuck"):
            freed.wait(20)
        return require(provider, variables)

    monkeypatch.setattr(workspace.credentials, "require", slow)
    with ModelServer({"/v1/models": listing("m")}) as server:
        ids = ["good", "locked", *(f"stuck{i}" for i in range(40))]
        for id in ids:
            add(workspace, id, server.url, env=["KEYED_API_KEY"])
        found = fetched(workspace, *ids, options=FetchOptions(timeout_s=4))
        freed.set()

    assert found["good"].outcome == "ok"
    assert (found["locked"].outcome, found["locked"].reason) == ("failed", "the keyring is locked")
    assert {found[f"stuck{i}"].outcome for i in range(40)} == {"failed"}


def test_what_a_foreign_adapter_raises_is_that_providers_failure(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = fetch.Listings.ask

    async def broken(self: Listings, endpoint: Endpoint, **options: Any) -> Answer:
        if endpoint.provider.id == "odd":
            raise ZeroDivisionError("in somebody's adapter")
        return await ask(self, endpoint, **options)

    monkeypatch.setattr(fetch.Listings, "ask", broken)
    with ModelServer({"/v1/models": listing("m")}) as server:
        add(workspace, "odd", server.url)
        add(workspace, "good", server.url)
        found = fetched(workspace, "odd", "good")

    assert found["good"].outcome == "ok"
    assert "ZeroDivisionError: in somebody's adapter" in (found["odd"].reason or "")


def test_offline_gives_the_list_with_its_age_and_asks_nobody(
    workspace: Workspace, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = workspace.registry.add("far", base_url="https://api.example.com/v1", auth="none")
    workspace.registry.add("never", base_url="https://api.example.com/v2", auth="none")

    class Answering:
        async def list_models(self, endpoint: Endpoint) -> list[ModelInfo]:
            return [ModelInfo("far", "m")]

    now = time.time() - 3 * 86400
    old = Listings(workspace.listings.folder, clock=lambda: now)
    aio.run(old.get(Endpoint(provider, None, workspace.http), adapter=Answering()))  # type: ignore[arg-type]
    monkeypatch.setenv("NBLLM_OFFLINE", "1")
    found = fetched(workspace, "far", "never", options=FORCE)

    assert (found["far"].outcome, found["far"].model_count) == ("cached", 1)
    assert found["far"].reason == "offline; the list is 3 d old"
    assert found["never"].outcome == "skipped"
    assert "offline" in (found["never"].reason or "")
    assert not (home / "cache" / "failed.json").exists()


def test_a_failure_says_how_old_the_list_is_that_stays(workspace: Workspace, home: Path) -> None:
    said = [listing("m")]
    with ModelServer({"/v1/models": lambda asked: said[0]}) as server:
        add(workspace, "mine", server.url)
        fetched(workspace, "mine")
        said[0] = refusal(500, "down")
        result = fetched(workspace, "mine", options=FetchOptions(whole=True))["mine"]
        kept = workspace.listings.kept(workspace.registry.get("mine"))

    assert result.outcome == "failed"
    assert result.model_count is None
    assert "down" in (result.reason or "")
    assert (result.reason or "").endswith("the earlier list stays (just now)")
    assert kept is not None
    assert kept.count == 1
    assert json.loads((home / "cache" / "failed.json").read_text())["mine"]["age_s"] == 0


def test_a_folder_that_cannot_be_written_costs_the_cache_and_is_said(workspace: Workspace, home: Path) -> None:
    home.mkdir(exist_ok=True)
    with ModelServer({"/v1/models": listing("m")}) as server:
        for id in ("one", "two"):
            add(workspace, id, server.url)
        (home / "cache").write_text("a file where the folder should be")
        fetching = workspace.fetch(["one", "two"])
        found = {r.provider: r for r in fetching}

    assert {r.outcome for r in found.values()} == {"ok"}
    assert fetching.ok
    text = FetchTable(fetching).to_text(1000)
    assert "not kept in the cache: the lists of " in text
    assert f"{home / 'cache' / 'failed.json'} stays as it was" in text


def test_what_has_come_is_known_when_the_rest_is_given_up(workspace: Workspace, home: Path) -> None:
    slow = Said(200, b"{}", {}, after_s=20)
    with ModelServer({"/fast/models": listing("m"), "/slow/models": slow}) as server:
        add(workspace, "fast", f"{server.origin}/fast")
        add(workspace, "slow", f"{server.origin}/slow")
        fetching = workspace.fetch(["fast", "slow"])
        first = next(fetching)
        fetching.close()

    assert first.provider == "fast"
    assert list(fetching.waiting) == ["slow"]
    assert not fetching.ok
    rows = {row["provider"]: row for row in FetchTable(fetching).as_json()}
    assert (rows["fast"]["outcome"], rows["slow"]["outcome"]) == ("ok", "skipped")
    assert "interrupted" in rows["slow"]["reason"]
    assert [m.id for m in workspace.listings.cached(workspace.registry.get("fast")).models] == ["m"]
    assert set(json.loads((home / "cache" / "failed.json").read_text())) == {"fast"}


def test_foreign_words_in_the_table_are_harmless(workspace: Workspace) -> None:
    with ModelServer({"/v1/models": refusal(500, "<script>alert(1)</script>\x1b[31m")}) as server:
        add(workspace, "mine", server.url)
        fetching = workspace.fetch(["mine"])
        list(fetching)

    table = FetchTable(fetching)
    assert "<script>" not in table._repr_html_()
    assert "\x1b" not in table.to_text(1000)
