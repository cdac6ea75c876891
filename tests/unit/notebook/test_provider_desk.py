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
from nbllm.cli import main
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
    assert "requests_per_minute" in verdict["problems"]["rate_limit"]


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


# ---------------------------------------------------------------- keys


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
