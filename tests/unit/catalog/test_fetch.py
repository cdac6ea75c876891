"""Lists of many providers at once."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from key_shapes import SHAPES, traces
from model_server import Asked, ModelServer, Said, listing, page, refusal
from nbllm.catalog.fetch import FetchOptions, FetchResult
from nbllm.catalog.fetch_table import FetchTable
from nbllm.errors import UnknownProviderError, UsageError
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
    """Holds every request until so many are there at once, and counts how many ever were."""

    def __init__(self, size: int) -> None:
        self.size, self.most, self._here = size, 0, 0
        self._changed = threading.Condition()

    def __call__(self, asked: Asked) -> Said:
        with self._changed:
            self._here += 1
            self.most = max(self.most, self._here)
            self._changed.notify_all()
            self._changed.wait_for(lambda: self.most >= self.size, timeout=10)
            self._here -= 1
        return listing("m")


@pytest.mark.parametrize(("cap", "most"), [(4, 4), (128, 12)])
def test_as_many_are_asked_at_once_as_the_cap_allows(workspace: Workspace, cap: int, most: int) -> None:
    crowd = Crowd(most)
    with ModelServer({"/v1/models": crowd}) as server:
        ids = [f"p{i}" for i in range(12)]
        for id in ids:
            add(workspace, id, server.url)
        found = fetched(workspace, *ids, options=FetchOptions(concurrency=cap))

    assert {r.outcome for r in found.values()} == {"ok"}
    assert crowd.most == most


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
        for row in [r for r in workspace.registry.all() if r.kind != "demo"]:
            workspace.registry.set_enabled([row.id], False)
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
    for row in workspace.registry.all():
        if row.id not in local[:2]:
            workspace.registry.set_enabled([row.id], False)
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
