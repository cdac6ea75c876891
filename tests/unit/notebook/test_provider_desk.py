"""What the provider panel does, without a browser: actions go in, messages come out."""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from chatting import says, talking
from key_shapes import SHAPES, traces
from nbllm import aio
from nbllm.cli import main
from nbllm.connection import discover as looking
from nbllm.notebook.panels.provider_desk import Message, ProviderDesk
from nbllm.workspace import Workspace
from wire_server import Stall, WireServer, answer


class Browser:
    """The other end: sends actions as the page does, and waits for what answers them."""

    def __init__(self, workspace: Workspace) -> None:
        self.heard: list[Message] = []
        self._news: queue.Queue[Message] = queue.Queue()
        self._count = 0
        self.desk = ProviderDesk(workspace, self._take)

    def _take(self, message: Message) -> None:
        json.dumps(message)  # only what JSON can say crosses to the browser
        self.heard.append(message)
        self._news.put(message)

    def do(self, what: str, **more: Any) -> list[object]:
        """Send an action; its number."""
        self._count += 1
        seq: list[object] = ["view", self._count]
        self.desk.receive({"do": what, "seq": seq, **more})
        return seq

    def ask(self, what: str, **more: Any) -> Message:
        """Send an action, and wait for its answer."""
        seq = self.do(what, **more)
        return self.until(lambda message: message.get("seq") == seq)

    def until(self, fits: Callable[[Message], bool], limit_s: float = 10) -> Message:
        """The next message that fits."""
        end = time.monotonic() + limit_s
        while True:
            message = self._news.get(timeout=max(0.01, end - time.monotonic()))
            if fits(message):
                return message

    @property
    def text(self) -> str:
        """All that ever reached the browser."""
        return json.dumps(self.heard, ensure_ascii=False)


@pytest.fixture
def workspace() -> Iterator[Workspace]:
    made = Workspace()
    yield made
    made.close()


@pytest.fixture
def browser(workspace: Workspace) -> Browser:
    return Browser(workspace)


def _ids(state: Message) -> set[str]:
    return {row["id"] for row in state["rows"]}


LISTING = answer(json.dumps({"data": [{"id": "m1"}, {"id": "m2"}]}).encode(), kind="application/json")


def test_the_list_has_every_provider_and_what_is_known_of_it(browser: Browser) -> None:
    state = browser.ask("hello")

    assert state["type"] == "state"
    rows = {row["id"]: row for row in state["rows"]}
    assert {"demo", "openai", "ollama"} <= set(rows)
    assert rows["demo"]["usable"]
    assert rows["ollama"]["local"]
    assert not rows["openai"]["usable"]
    assert state["public"] is False


def test_a_public_machine_is_said(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BINDER_SERVICE_HOST", "10.0.0.1")
    assert browser.ask("hello")["public"] is True


def test_an_action_returns_at_once_and_answers_later(browser: Browser, workspace: Workspace) -> None:
    lock = threading.Lock()
    with lock:
        workspace.overview.table = lambda **_: lock.acquire() and None  # type: ignore[method-assign,assignment,return-value]
        browser.do("hello")  # would wait for ever if it were done here
        assert browser.heard == []


class _Untouchable:
    """A workspace that an action may not touch on the thread that it came on."""

    def __getattr__(self, name: str) -> Any:
        raise ZeroDivisionError(f"{name} was touched")


def _every_action(desk: ProviderDesk) -> list[str]:
    return sorted({*desk._actions, "key", "keep", "header"})


def test_every_action_only_schedules_and_what_it_raises_is_a_message(workspace: Workspace) -> None:
    browser = Browser(workspace)
    browser.desk._workspace = _Untouchable()  # type: ignore[assignment]
    names = _every_action(browser.desk)
    assert {"hello", "sync", "save", "test", "test_many", "import", "key", "header"} <= set(names)
    held, go = threading.Event(), threading.Event()

    async def hold() -> None:
        held.set()
        go.wait(10)  # the loop stands still: whatever happens now happens on this thread

    aio.submit(hold())
    assert held.wait(10)
    try:
        more = {"id": "x", "ids": ["x"], "model": "m", "name": "X-Team", "value": "v", "key": "abcdefghijkl1234"}
        asked = {name: browser.do(name, **more) for name in names if name not in ("cancel", "judge")}
        assert browser.heard == []
    finally:
        go.set()
    waiting = list(asked.values())
    while waiting:
        said = browser.until(lambda m: m["type"] == "problem" and m["seq"] is not None)
        assert "ZeroDivisionError" in said["message"]
        waiting.remove(said["seq"])
    assert "touched" not in browser.text


def test_actions_from_many_threads_are_each_answered_once(browser: Browser) -> None:
    def ask(thread: int) -> None:
        for n in range(10):
            browser.desk.receive({"do": "judge", "seq": [f"t{thread}", n], "new": True, "id": "x", "fields": {}})

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    while len(browser.heard) < 80:
        browser.until(lambda m: True)
    assert sorted(m["seq"] for m in browser.heard) == sorted([f"t{t}", n] for t in range(8) for n in range(10))
    assert {m["type"] for m in browser.heard} == {"verdict"}


@pytest.mark.parametrize(
    "action", [None, "text", 7, [], {}, {"do": "launch"}, {"do": "open", "id": "nobody"}, {"do": "open"}]
)
def test_nonsense_from_the_browser_is_a_message_and_nothing_else(browser: Browser, action: object) -> None:
    browser.desk.receive(action)
    if isinstance(action, dict):
        assert browser.until(lambda m: True)["type"] == "problem"
    assert browser.ask("hello")["type"] == "state"


def test_an_unexpected_failure_is_shown_without_its_text(browser: Browser, workspace: Workspace) -> None:
    def broken(**_: object) -> None:
        raise ZeroDivisionError("the secret is 42")

    workspace.overview.table = broken  # type: ignore[method-assign,assignment]
    said = browser.ask("hello")

    assert said["type"] == "problem"
    assert "ZeroDivisionError" in said["message"]
    assert "42" not in browser.text


# ---------------------------------------------------------------- fields


def test_typed_fields_are_judged_and_repairs_offered(browser: Browser) -> None:
    verdict = browser.ask(
        "judge", id="My Server", new=True, fields={"base_url": "http://127.0.0.1:9/v1/chat/completions"}
    )
    assert "a-z" in verdict["problems"]["id"]
    assert verdict["repairs"]["base_url"]["value"] == "http://127.0.0.1:9/v1"
    assert "base_url" not in verdict["problems"]

    verdict = browser.ask("judge", id="groq", new=True, fields={"base_url": "https://user:pw@host/v1"})
    assert "there is a provider" in verdict["problems"]["id"]
    assert verdict["problems"]["base_url"]
    assert "pw" not in json.dumps(verdict)

    verdict = browser.ask(
        "judge",
        id="x",
        new=False,
        fields={"base_url": "http://example.org/v1", "rate_limit": {"requests_per_minute": "many"}},
    )
    assert "confirmed_http" in verdict["problems"]
    assert "whole number" in verdict["problems"]["requests_per_minute"]


def test_a_key_in_the_wrong_field_is_refused_and_not_repeated(browser: Browser) -> None:
    for shape in SHAPES[:5]:
        verdict = browser.ask(
            "judge", id="x", new=False, fields={"base_url": "https://h.example/v1", "name": shape.key()}
        )
        assert "looks like a key" in verdict["problems"]["name"]
        assert traces(shape.key(), browser.text) == []


def test_a_provider_is_added_changed_duplicated_switched_and_removed(browser: Browser, workspace: Workspace) -> None:
    saved = browser.ask("save", id="mine", new=True, fields={"base_url": "http://127.0.0.1:9/v1", "auth": "none"})
    assert saved["type"] == "saved"
    assert "mine" in _ids(saved)

    assert (
        browser.ask("save", id="mine", fields={"name": "My server", "params": {"temperature": 0.5}})["type"] == "saved"
    )
    found = browser.ask("open", id="mine")
    assert found["fields"]["name"] == "My server"
    assert found["fields"]["params"] == {"temperature": 0.5}

    assert "twin" in _ids(browser.ask("save", id="twin", new=True, like="mine", fields={}))
    assert workspace.registry.get("twin").base_url == "http://127.0.0.1:9/v1"

    browser.ask("disable", ids=["mine", "twin"])
    assert not workspace.registry.get("twin").enabled
    browser.ask("enable", ids=["mine", "twin"])
    assert workspace.registry.get("twin").enabled
    assert not {"mine", "twin"} & _ids(browser.ask("remove", ids=["mine", "twin"]))


def test_what_cannot_be_saved_says_why_and_changes_nothing(browser: Browser, workspace: Workspace) -> None:
    before = workspace.config.stamp()
    for fields in ({"base_url": "ftp://x"}, {"kind": "telepathy"}, {"no_such_field": 1}):
        assert browser.ask("save", id="mine", new=True, fields=fields)["type"] == "problem"
    assert workspace.config.stamp() == before


def test_headers_are_named_and_their_values_stay(browser: Browser, workspace: Workspace) -> None:
    workspace.registry.add("mine", base_url="https://h.example/v1", headers={"X-Team": "tulip-harvest"})
    found = browser.ask("open", id="mine")
    browser.ask("save", id="twin", new=True, like="mine", fields={})
    browser.ask("export", ids=["mine"])

    assert found["headers"] == ["X-Team"]
    assert "tulip-harvest" not in browser.text
    assert dict(workspace.registry.get("twin").headers) == {}


def test_a_header_is_set_and_removed_by_name_and_its_value_stays(browser: Browser, workspace: Workspace) -> None:
    browser.ask("save", id="mine", new=True, fields={"base_url": "https://h.example/v1", "auth": "none"})
    action = {"do": "header", "seq": ["view", 77], "id": "mine", "name": "X-Team", "value": "tulip-harvest"}
    browser.desk.receive(action)
    assert "value" not in action
    said = browser.until(lambda m: m.get("seq") == ["view", 77])

    assert said["said"] == ["mine: the header X-Team is set"]
    assert dict(workspace.registry.get("mine").headers) == {"X-Team": "tulip-harvest"}
    assert browser.ask("open", id="mine")["headers"] == ["X-Team"]
    assert browser.ask("header", id="mine", name="X-Team")["said"] == ["mine: the header X-Team is removed"]
    assert dict(workspace.registry.get("mine").headers) == {}
    assert "tulip" not in browser.text


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("", "v"),
        ("X Team", "v"),
        ("X:Team", "v"),
        ("X-Team", "one\r\nX-Other: tulip"),
        ("Authorization", "Bearer tulip"),
    ],
)
def test_a_header_that_cannot_be_sent_is_refused(browser: Browser, workspace: Workspace, name: str, value: str) -> None:
    browser.ask("save", id="mine", new=True, fields={"base_url": "https://h.example/v1", "auth": "none"})
    assert browser.ask("header", id="mine", name=name, value=value)["type"] == "problem"
    assert dict(workspace.registry.get("mine").headers) == {}
    assert "tulip" not in browser.text


def test_entries_of_tables_are_taken_away_again(browser: Browser, workspace: Workspace) -> None:
    limits = {"requests_per_minute": 60, "tokens_per_minute": 9000, "concurrency": 2}
    fields = {"base_url": "http://127.0.0.1:9/v1", "params": {"top_p": 1, "seed": 4}, "rate_limit": limits}
    browser.ask("save", id="mine", new=True, fields=fields)
    assert browser.ask("open", id="mine")["fields"]["rate_limit"] == limits

    changes = {"params": {"seed": None}, "rate_limit": {"concurrency": 3, "tokens_per_minute": None}}
    browser.ask("save", id="mine", fields=changes)
    row = workspace.registry.get("mine")
    assert dict(row.params) == {"top_p": 1}
    assert row.rate_limit.model_dump() == {"requests_per_minute": 60, "tokens_per_minute": None, "concurrency": 3}

    bad = {"requests_per_minute": 0, "tokens_per_minute": "many", "concurrency": 2}
    verdict = browser.ask("judge", id="mine", new=False, fields={"rate_limit": bad, "auth": "telepathy"})
    assert set(verdict["problems"]) == {"requests_per_minute", "tokens_per_minute", "auth"}


def test_what_is_still_to_be_set_is_said(browser: Browser) -> None:
    rows = {row["id"]: row for row in browser.ask("hello")["rows"]}
    found = browser.ask("open", id="azure")

    assert rows["azure"]["lacking"] == found["lacking"] != []
    assert found["lacking"][0] in found["hindrance"]["message"]
    assert "--base-url" in found["hindrance"]["hint"]
    assert "${" in found["template"]
    assert browser.ask("open", id="demo")["hindrance"] is None


# ---------------------------------------------------------------- keys


def test_how_keys_begin_is_known_for_a_providers_own_address_only(browser: Browser) -> None:
    assert browser.ask("open", id="groq")["key_prefix"] == ["gsk_"]
    assert browser.ask("open", id="google")["key_prefix"] == ["AIza", "AQ."]
    assert browser.ask("open", id="mistral")["key_prefix"] == []
    browser.ask("save", id="groq", fields={"base_url": "https://proxy.example/v1"})
    assert browser.ask("open", id="groq")["key_prefix"] == []


def test_a_key_of_a_hub_is_said_to_be_the_hubs(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROQ_API_KEY", "abcdefghijkl1234")
    assert browser.ask("open", id="groq")["key"] == {
        "source": "environment", "name": "GROQ_API_KEY", "note": None, "hub": False}  # fmt: skip
    monkeypatch.setenv("JUPYTERHUB_SERVICE_PREFIX", "/user/somebody/")
    assert browser.ask("open", id="groq")["key"]["hub"]


def test_the_key_of_this_session_moves_into_the_vault_without_being_typed_again(
    browser: Browser, workspace: Workspace
) -> None:
    assert browser.ask("keep", id="groq", passphrase="three little words")["type"] == "problem"
    browser.ask("key", id="groq", key="abcdefghijkl1234", store="session")
    assert browser.ask("keep", id="groq")["type"] == "problem"  # the vault is not open
    assert browser.ask("open", id="groq")["key"]["source"] == "session"

    saved = browser.ask("keep", id="groq", passphrase="three little words")
    assert "vault" in saved["said"][0]
    assert browser.ask("open", id="groq")["key"]["source"] == "vault"
    found = workspace.credentials.find(workspace.registry.get("groq"), ())
    assert found is not None
    assert found.reveal() == "abcdefghijkl1234"
    assert browser.ask("forget", id="groq")["said"] == ["groq: the key is forgotten (vault)"]
    assert "little" not in browser.text
    assert "abcdefgh" not in browser.text


@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: s.id)
def test_a_key_reaches_the_provider_and_no_message(shape: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    key = shape.key()
    with WireServer([LISTING]) as server:
        workspace = Workspace()
        browser = Browser(workspace)
        browser.ask("save", id="mine", new=True, fields={"base_url": server.url})
        action = {"do": "key", "seq": ["view", 99], "id": "mine", "key": key, "store": "session"}
        browser.desk.receive(action)
        assert "key" not in action  # taken out before anything else
        saved = browser.until(lambda m: m.get("seq") == ["view", 99])
        assert "this session" in saved["said"][0]
        assert browser.ask("open", id="mine")["key"]["source"] == "session"
        browser.do("test", id="mine")
        assert browser.until(lambda m: m["type"] == "tested")["ok"]
        workspace.close()

        assert any(key.encode() in request for request in server.requests)
        assert traces(key, browser.text) == []


def test_an_empty_or_broken_key_is_said_and_forgotten(browser: Browser) -> None:
    assert browser.ask("key", id="groq", key="")["type"] == "problem"
    said = browser.ask("key", id="groq", key="two words\nand a line")
    assert said["type"] == "problem"
    assert "two words" not in browser.text
    assert browser.ask("key", id="groq", key="abcdefghijkl1234", store="cloud")["type"] == "problem"
    assert "abcdefghijkl" not in browser.text


def test_the_vault_takes_its_passphrase_with_the_key(browser: Browser, workspace: Workspace) -> None:
    assert browser.ask("hello")["vault"] == "new"
    saved = browser.ask("key", id="groq", key="abcdefghijkl1234", store="vault", passphrase="three little words")
    assert "vault" in saved["said"][0]
    assert saved["vault"] is None
    assert "little" not in browser.text
    assert browser.ask("open", id="groq")["key"]["source"] == "vault"
    assert browser.ask("forget", id="groq")["type"] == "saved"
    assert browser.ask("open", id="groq")["key"]["source"] == "none"


# ---------------------------------------------------------------- tests of the connection


def test_stages_come_one_by_one_and_the_list_follows(browser: Browser) -> None:
    with WireServer([LISTING]) as server:
        browser.ask("save", id="mine", new=True, fields={"base_url": server.url, "auth": "none"})
        seq = browser.do("test", id="mine")
        done = browser.until(lambda m: m["type"] == "tested")

    stages = [m["stage"] for m in browser.heard if m["type"] == "stage" and m["seq"] == seq]
    assert stages == ["url", "connect", "auth", "models", "done"]
    assert done["ok"]
    rows = {row["id"]: row for row in browser.until(lambda m: m["type"] == "state")["rows"]}
    assert rows["mine"]["last_check"]["ok"]


def test_a_failure_says_what_a_person_can_do(browser: Browser) -> None:
    refused = answer(b'{"error": {"message": "no"}}', status=401, kind="application/json")
    limited = answer(b'{"error": {"message": "slow"}}', status=429, kind="application/json", retry_after="120")
    for plan, fix, after in ((refused, "key", None), (limited, "wait", 120)):
        with WireServer([plan]) as server:
            browser.ask("save", id="mine", new=True, fields={"base_url": server.url})
            browser.ask("key", id="mine", key="abcdefghijkl1234", store="session")
            browser.do("test", id="mine")
            assert not browser.until(lambda m: m["type"] == "tested")["ok"]
        last = [m for m in browser.heard if m["type"] == "stage"][-1]
        assert (last["ok"], last["fix"], last["retry_after_s"]) == (False, fix, after)
        browser.ask("remove", ids=["mine"])
    browser.ask("save", id="mine", new=True, fields={"base_url": "http://127.0.0.1:9/v1", "auth": "none"})
    browser.do("test", id="mine")
    browser.until(lambda m: m["type"] == "tested")
    assert [m for m in browser.heard if m["type"] == "stage"][-1]["fix"] == "url"


def test_a_newer_test_ends_an_older_one(browser: Browser) -> None:
    with WireServer([(Stall(),), LISTING]) as server:
        browser.ask("save", id="mine", new=True, fields={"base_url": server.url, "auth": "none"})
        first = browser.do("test", id="mine")
        while not server.requests:  # only then is the first test waiting for its answer
            time.sleep(0.01)
        second = browser.do("test", id="mine")
        done = browser.until(lambda m: m["type"] == "tested")

    assert done["seq"] == second
    assert not [m for m in browser.heard if m["type"] == "tested" and m["seq"] == first]
    assert next(m for m in browser.heard if m["type"] == "cancelled")["seq"] == first


def test_many_are_tested_while_one_hangs_and_the_rest_can_be_cancelled(browser: Browser) -> None:
    with WireServer([LISTING]) as good, WireServer([(Stall(),)]) as silent:
        ids = [f"p{n}" for n in range(6)]
        for id_ in ids:
            url = silent.url if id_ == "p3" else good.url
            browser.ask("save", id=id_, new=True, fields={"base_url": url, "auth": "none"})
        browser.do("test_many", ids=ids)
        seen = browser.until(lambda m: m["type"] == "progress" and m["done"] == 5)
        assert seen["total"] == 6
        assert {m["id"] for m in browser.heard if m["type"] == "progress" and m["done"]} == set(ids) - {"p3"}
        browser.do("cancel")
        assert browser.until(lambda m: m["type"] == "cancelled")


@pytest.mark.parametrize("what", ["test", "test_many"])
def test_a_test_that_breaks_is_a_message_too(browser: Browser, workspace: Workspace, what: str) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("the secret is 42")

    workspace.overview.stages = workspace.overview.check_many = broken  # type: ignore[method-assign,assignment]
    said = browser.ask(what, id="demo", ids=["demo"])
    while said["type"] == "progress":
        said = browser.until(lambda m: m.get("seq") is not None)

    assert said["type"] == "problem"
    assert "ZeroDivisionError" in said["message"]
    assert browser.until(lambda m: m["type"] == "state")
    assert "42" not in said["message"]


# ---------------------------------------------------------------- models, files, shared state


def test_models_come_with_their_age_and_the_default_is_set(browser: Browser, workspace: Workspace) -> None:
    with WireServer([LISTING]) as server:
        browser.ask("save", id="mine", new=True, fields={"base_url": server.url, "auth": "none"})
        found = browser.ask("models", id="mine", refresh=True)
    assert [m["id"] for m in found["models"]] == ["m1", "m2"]
    assert found["count"] == 2
    assert found["models"][0]["context"] is None

    browser.ask("use", ref="mine/m2")
    assert workspace.settings["model"] == "mine/m2"
    browser.ask("add_model", id="mine", model="m9")
    assert "m9" in [m["id"] for m in browser.ask("models", id="mine")["models"]]
    assert browser.ask("add_model", id="mine", model=" ")["type"] == "problem"
    assert browser.ask("use", ref="nobody/x")["type"] == "problem"


def test_a_favourite_is_marked_and_counted(browser: Browser, workspace: Workspace) -> None:
    state = browser.ask("favourite", ref="demo/guide", on=True)
    assert {row["id"]: row["favourites"] for row in state["rows"]}["demo"] == 1
    assert workspace.marks.read().favourites == ("demo/guide",)
    assert [m["id"] for m in browser.ask("models", id="demo")["models"] if m["favourite"]] == ["guide"]
    browser.ask("favourite", ref="demo/guide", on=False)
    assert workspace.marks.read().favourites == ()


def test_a_group_is_made_filled_and_emptied(browser: Browser, workspace: Workspace) -> None:
    before = browser.ask("hello")
    state = browser.ask("group", ref="demo/guide", name="daily", on=True)
    assert state["groups"] == ["daily"]
    assert state["marks"] != before["marks"]
    assert {m["id"]: m["groups"] for m in browser.ask("models", id="demo")["models"]}["guide"] == ["daily"]
    assert browser.ask("group", ref="demo/guide", name="daily", on=False)["groups"] == []
    assert browser.ask("group", ref="demo/guide", name="two words", on=True)["type"] == "problem"
    assert browser.ask("group", ref="demo/guide", name="weekly", on=False)["type"] == "problem"


def test_models_added_by_hand_anywhere_are_listed_and_go_again(browser: Browser, workspace: Workspace) -> None:
    browser.ask("save", id="mine", new=True, fields={"base_url": "http://127.0.0.1:9/v1", "auth": "none"})
    browser.ask("add_model", id="mine", model="in-the-row")
    workspace.marking.add("mine/in-the-store", {"context": 4096})
    with WireServer([LISTING]) as server:
        browser.ask("save", id="mine", fields={"base_url": server.url})
        found = browser.ask("models", id="mine", refresh=True)

    by_hand = {m["id"]: m["by_hand"] for m in found["models"]}
    assert by_hand == {"m1": False, "m2": False, "in-the-row": True, "in-the-store": True}
    assert found["count"] == 4
    assert {m["id"]: m["context"] for m in found["models"]}["in-the-store"] == 4096
    browser.ask("drop_model", id="mine", model="in-the-row")
    browser.ask("drop_model", id="mine", model="in-the-store")
    assert [m["id"] for m in browser.ask("models", id="mine")["models"]] == ["m1", "m2"]


def test_a_server_of_this_machine_is_found_and_added(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    body = json.dumps({"object": "list", "data": [{"id": "tiny", "object": "model"}]}).encode()
    with WireServer([answer(body, kind="application/json")]) as server, WireServer([LISTING]) as silent:
        probes = (looking._Probe(server.url, "openai", ()), looking._Probe(silent.url, "openai", ()))
        monkeypatch.setattr(looking, "_USUAL", probes)
        found = next(s for s in browser.ask("discover")["servers"] if s["base_url"] == server.url)
        assert (found["known"], found["model_count"], found["wants_key"]) == (False, 1, False)
        fields = {"base_url": found["base_url"], "kind": found["kind"]}
        state = browser.ask("save", id=found["id"], new=True, fields=fields)
        assert {row["id"]: row["usable"] for row in state["rows"]}[found["id"]]
        again = [s for s in browser.ask("discover")["servers"] if s["base_url"] == server.url]
        assert [(s["id"], s["known"]) for s in again] == [(found["id"], True)]
        browser.do("test", id=found["id"])
        assert browser.until(lambda m: m["type"] == "tested")["ok"]


def test_a_file_is_shown_before_it_is_taken(browser: Browser, workspace: Workspace) -> None:
    browser.ask("save", id="mine", new=True, fields={"base_url": "http://127.0.0.1:9/v1", "auth": "none"})
    file = browser.ask("export", ids=["mine"])
    browser.ask("remove", ids=["mine"])
    before = workspace.config.stamp()

    assert "mine" in browser.ask("preview", text=file["text"])["said"][0]
    assert workspace.config.stamp() == before
    assert "mine" in _ids(browser.ask("import", text=file["text"]))
    assert browser.ask("preview", text="no = [toml")["type"] == "problem"


def test_a_change_elsewhere_is_seen_and_sameness_costs_no_list(browser: Browser, workspace: Workspace) -> None:
    browser.ask("hello")
    assert browser.ask("sync")["type"] == "same"
    with pytest.raises(SystemExit):
        main(["providers", "add", "from-terminal", "--base-url", "http://127.0.0.1:9/v1"])
    assert "from-terminal" in _ids(browser.ask("sync"))
    assert browser.ask("sync")["type"] == "same"


def test_a_change_in_the_panel_holds_in_the_next_question(monkeypatch: pytest.MonkeyPatch) -> None:
    with talking(says("hello")) as (workspace, server):
        browser = Browser(workspace)
        browser.ask("save", id="panel", new=True, fields={"base_url": server.url, "auth": "none"})
        browser.ask("use", ref="panel/m")
        assert workspace.chat("hi").provider == "panel"


def test_two_panels_see_each_other(workspace: Workspace) -> None:
    one, other = Browser(workspace), Browser(workspace)
    one.ask("hello")
    other.ask("hello")
    one.ask("save", id="mine", new=True, fields={"base_url": "http://127.0.0.1:9/v1", "auth": "none"})
    assert "mine" in _ids(other.ask("sync"))
