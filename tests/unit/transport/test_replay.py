"""Recordings through the workspace: written beside a scripted server, answered without it."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from chatting import calls, chunk, refuses, says
from key_shapes import SHAPES
from nbllm.chat.options import ChatOptions
from nbllm.credentials import Secret
from nbllm.errors import (
    MissingKeyError,
    OfflineError,
    RateLimitError,
    ReplayMissError,
    SettingsError,
    StreamBrokenError,
)
from nbllm.messages import Reply
from nbllm.transport.guard import Guard
from nbllm.workspace import Workspace
from peers import Llmock, Peers, add_row
from wire_server import Plan, WireServer, chunked, closed_port

KEY = "canary-7hQ2vX9pL4mT8wZ1kR6n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "book.replay.jsonl"


@contextmanager
def at(url: str, mode: str, file: Path, *, key: str | None = KEY, **row: Any) -> Iterator[Workspace]:
    """A fresh workspace in a mode, with the provider `peer` at an address."""
    workspace = Workspace()
    workspace.settings.set("replay", f"{mode}:{file}", keep=False)
    workspace.registry.set_session("peer", base_url=url, kind="openai", auth="bearer", **row)
    if key:
        workspace.save_key("peer", Secret(key), store="session")
    try:
        yield workspace
    finally:
        workspace.close()


def nowhere() -> str:
    return f"http://127.0.0.1:{closed_port()}/v1"


def ask(workspace: Workspace, text: str, **options: Any) -> Reply:
    return workspace.chat(text, ChatOptions(model="peer/m", history=False, **options))


def record(file: Path, *plans: Plan, questions: tuple[str, ...] = ("hi",)) -> list[Reply]:
    with WireServer(list(plans)) as server, at(server.url, "record", file) as workspace:
        return [ask(workspace, q) for q in questions]


def rows(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_an_answer_is_recorded_once_and_comes_again_without_a_key_or_a_server(file: Path) -> None:
    [live] = record(file, says("hel", "lo"))
    [row] = rows(file)
    assert (row["provider"], row["status"], row["ends"]) == ("peer", 200, "complete")
    assert row["request"]["path"] == "/v1/chat/completions"
    assert row["usage"]["completion_tokens"] == 5
    assert set(row["headers"]) <= {"content-type"}
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert live.replayed is None
    assert live.recorded == row["when"][:10]
    with at(nowhere(), "replay", file, key=None) as workspace:
        again = ask(workspace, "hi")
    assert (again.text, again.usage, again.recorded) == (live.text, live.usage, live.recorded)
    assert again.replayed == live.recorded
    assert rows(file) == [row]


def test_nothing_is_written_when_it_is_off(tmp_path: Path) -> None:
    with WireServer([says("hello")]) as server, at(server.url, "record", tmp_path / "x.replay.jsonl") as workspace:
        workspace.settings.set("replay", "off", keep=False)
        reply = ask(workspace, "hi")
    assert (reply.replayed, reply.recorded) == (None, None)
    assert not list(tmp_path.glob("*.jsonl"))


def test_a_missing_answer_names_the_nearest_and_the_difference(file: Path) -> None:
    record(file, says("a"), says("b"), questions=("the capital of France", "something else"))
    before = file.read_bytes()
    with at(nowhere(), "replay", file) as workspace, pytest.raises(ReplayMissError) as caught:
        ask(workspace, "the capital of Spain")
    assert "line 1" in caught.value.message
    assert 'messages[0].content: recorded "… capital of France", asked "… capital of Spain"' in caught.value.message
    assert "%llm_replay record" in str(caught.value.hint)
    assert "\n" not in caught.value.message
    assert file.read_bytes() == before


def test_a_provider_is_not_asked_while_replaying_even_with_a_key(file: Path) -> None:
    record(file, says("a"))
    with WireServer([says("live")]) as server, at(server.url, "replay", file) as workspace:
        with pytest.raises(ReplayMissError):
            ask(workspace, "other")
        with pytest.raises(OfflineError):
            workspace.http.refuse_when_offline(server.url)
        check = workspace.check("peer")
        assert not check.ok
        assert server.requests == []


def test_the_same_request_several_times_comes_in_order_and_then_from_the_start(file: Path) -> None:
    live = record(file, says("one"), says("two"), questions=("hi", "hi"))
    assert [r.text for r in live] == ["one", "two"]
    with at(nowhere(), "replay", file, key=None) as workspace:
        assert [ask(workspace, "hi").text for _ in range(5)] == ["one", "two", "one", "two", "one"]
        workspace.recordings.begin()
        assert ask(workspace, "hi").text == "one"


def test_of_two_runs_the_later_one_counts(file: Path) -> None:
    record(file, says("old"))
    record(file, says("new"))
    with at(nowhere(), "replay", file, key=None) as workspace:
        assert [ask(workspace, "hi").text for _ in range(2)] == ["new", "new"]


def test_an_error_and_its_retry_are_played_again_without_waiting(file: Path) -> None:
    record(file, refuses(429, "slow down", retry_after="1"), says("then"))
    assert [r["status"] for r in rows(file)] == [429, 200]
    assert rows(file)[0]["headers"]["retry-after"] == "1"
    slept: list[float] = []
    with at(nowhere(), "replay", file, key=None) as workspace:
        inner = workspace.recordings.sleep

        async def sleep(seconds: float) -> None:
            slept.append(seconds * workspace.recordings.pace)
            await inner(seconds)

        workspace.recordings.sleep = sleep  # type: ignore[method-assign]
        assert ask(workspace, "hi").text == "then"
    assert slept
    assert set(slept) == {0.0}


def test_a_refusal_that_was_the_last_word_is_the_same_error(file: Path) -> None:
    with pytest.raises(RateLimitError) as live:
        record(file, refuses(429, "come back tomorrow", retry_after="86400"))
    with at(nowhere(), "replay", file, key=None) as workspace, pytest.raises(RateLimitError) as again:
        ask(workspace, "hi")
    assert str(again.value) == str(live.value)


def test_a_refused_key_is_the_same_error_without_a_key(file: Path) -> None:
    with pytest.raises(Exception, match="401") as live:
        record(file, refuses(401, "bad key"))
    with at(nowhere(), "replay", file, key=None) as workspace, pytest.raises(type(live.value)) as again:
        ask(workspace, "hi")
    assert str(again.value) == str(live.value)


def test_a_broken_stream_breaks_off_again_with_the_same_text(file: Path) -> None:
    with pytest.raises(StreamBrokenError) as live:
        record(file, chunked([chunk({"content": "half "}), chunk({"content": "of"})], end=False))
    assert rows(file)[0]["ends"] == "broken"
    with at(nowhere(), "replay", file, key=None) as workspace, pytest.raises(StreamBrokenError) as again:
        ask(workspace, "hi")
    assert again.value.partial == live.value.partial == "half of"
    assert str(again.value) == str(live.value)


def test_what_a_person_stopped_is_not_recorded(file: Path) -> None:
    plan = chunked([chunk({"content": "a"}), *[chunk({"content": "b"})] * 200_000])
    with WireServer([plan]) as server, at(server.url, "record", file) as workspace:
        with workspace.ask("hi", ChatOptions(model="peer/m")) as run:
            next(iter(run.deltas()))
        assert run.reply is not None
        assert (run.reply.finish_reason.value, run.reply.recorded) == ("interrupted", None)
    assert not file.exists()


def test_rounds_of_tools_and_a_schema_are_replayed(file: Path) -> None:
    def double(n: int) -> int:
        """Twice n."""
        return 2 * n

    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    plans = [calls(("double", '{"n": 4}')), says("it is 8"), says('{"n": 3}')]
    with WireServer(plans) as server, at(server.url, "record", file) as workspace:
        live = [ask(workspace, "4?", tools=[double]), ask(workspace, "3?", schema=schema)]
    assert len(rows(file)) == 3
    with at(nowhere(), "replay", file, key=None) as workspace:
        again = [ask(workspace, "4?", tools=[double]), ask(workspace, "3?", schema=schema)]
    assert [r.text for r in again] == [r.text for r in live]
    assert again[0].tool_rounds == live[0].tool_rounds
    assert again[1].parsed == live[1].parsed == {"n": 3}


def test_an_answer_in_bytes_that_end_inside_a_character_is_not_changed(file: Path) -> None:
    body = chunk({"content": "größe 😀"}).replace(b"\\u00f6", "ö".encode()).replace(b"\\u00df", "ß".encode())
    cut = body.index("ö".encode()) + 1
    parts = [body[:cut], body[cut:], chunk({}, finish="stop"), b"data: [DONE]\n\n"]
    [live] = record(file, chunked(parts))
    taken = b"".join(bytes.fromhex(p["hex"]) if isinstance(p, dict) else p.encode() for _, p in rows(file)[0]["chunks"])
    assert taken == b"".join(parts)
    with at(nowhere(), "replay", file, key=None) as workspace:
        assert ask(workspace, "hi").text == live.text == "größe 😀"


def _nobody_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(self: Guard, request: object) -> None:
        raise AssertionError("a provider was asked")

    monkeypatch.setattr(Guard, "handle_async_request", fail)


def test_a_replay_needs_no_key_and_asks_nobody(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record(file, says("recorded"))
    _nobody_is_asked(monkeypatch)
    for mode in ("replay", "auto"):
        with at("https://api.peer.invalid/v1", mode, file, key=None) as workspace:
            assert ask(workspace, "hi").text == "recorded"
            with pytest.raises(ReplayMissError):
                ask(workspace, "other")


def test_auto_asks_with_a_key_and_answers_without_one(file: Path) -> None:
    record(file, says("recorded"))
    with WireServer([says("live")]) as server, at(server.url, "auto", file) as workspace:
        assert ask(workspace, "hi").text == "live"
    with at("https://api.peer.invalid/v1", "auto", file, key=None) as workspace:
        reply = ask(workspace, "hi")
        assert (reply.text, reply.replayed) == ("recorded", rows(file)[0]["when"][:10])
    assert len(rows(file)) == 1


def test_auto_without_key_and_without_recording_wants_the_key(file: Path) -> None:
    with at("https://api.peer.invalid/v1", "auto", file, key=None) as workspace, pytest.raises(MissingKeyError):
        ask(workspace, "hi")


def test_auto_answers_when_no_request_may_leave_the_machine(file: Path) -> None:
    record(file, says("recorded"))
    with at("https://api.peer.invalid/v1", "auto", file) as workspace:
        workspace.settings.set("offline", "1", keep=False)
        assert ask(workspace, "hi").text == "recorded"
        with pytest.raises(OfflineError):
            ask(workspace, "other")


def test_auto_answers_for_a_server_without_keys_that_is_not_there(file: Path) -> None:
    record(file, says("recorded"))
    with at(nowhere(), "auto", file, key=None) as workspace:
        workspace.registry.set_session("peer", base_url=nowhere(), kind="openai", auth="none")
        assert ask(workspace, "hi").replayed


@pytest.mark.parametrize("where", ["prompt", "answer", "pieces", "system", "shape"])
def test_a_key_is_in_no_recording_and_the_answer_comes_all_the_same(file: Path, where: str) -> None:
    prompt = {"prompt": f"is {KEY} a key?", "shape": SHAPES[0].key()}.get(where, "hi")
    pieces = {"answer": (f"you sent {KEY}",), "pieces": (KEY[:9], KEY[9:18], KEY[18:])}.get(where, ("fine",))
    with WireServer([says(*pieces), says("second")]) as server, at(server.url, "record", file) as workspace:
        reply = ask(workspace, prompt, system=KEY if where == "system" else None)
        assert reply.text == "".join(pieces)
        assert reply.recorded is None
        assert any("looks like a key" in line for line in workspace.news())
        assert ask(workspace, "clean").recorded
    assert [r["request"]["body"]["messages"][0]["content"] for r in rows(file)] == ["clean"]
    assert KEY not in file.read_text()


def test_a_long_attachment_is_written_as_its_digest(file: Path) -> None:
    picture = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40
    with WireServer([says("a picture")]) as server, at(server.url, "record", file) as workspace:
        ask(workspace, "what?", attachments=(("p.png", picture),))
    assert "sha256:" in file.read_text()
    assert file.stat().st_size < 4000
    with at(nowhere(), "replay", file, key=None) as workspace:
        assert ask(workspace, "what?", attachments=(("p.png", picture),)).text == "a picture"
        with pytest.raises(ReplayMissError):
            ask(workspace, "what?", attachments=(("p.png", picture + b"x"),))


def test_broken_lines_are_told_of_and_the_rest_works(file: Path) -> None:
    record(file, says("one"), says("two"), questions=("a", "b"))
    first, second = file.read_text().splitlines()
    newer = first.replace('"nbllm_replay":1', '"nbllm_replay":9')
    file.write_text("\n".join(["<<<<<<< ours", first, "=======", second, ">>>>>>> theirs", first[:80], newer]) + "\n")
    with at(nowhere(), "replay", file, key=None) as workspace:
        assert [ask(workspace, q).text for q in "ab"] == ["one", "two"]
        news = "\n".join(workspace.news())
    for words in ("line 1 is a mark of a merge", "line 6 is broken", "line 7 is of format 9"):
        assert words in news


def test_a_line_that_was_cut_stays_alone(file: Path) -> None:
    file.write_text('{"nbllm_replay":1,"ha')
    record(file, says("one"))
    with at(nowhere(), "replay", file, key=None) as workspace:
        assert ask(workspace, "hi").text == "one"
    assert len(file.read_text().splitlines()) == 2


def test_a_place_that_cannot_be_written_loses_no_answer(tmp_path: Path) -> None:
    missing = tmp_path / "gone" / "x.replay.jsonl"
    with WireServer([says("one")]) as server, at(server.url, "record", missing) as workspace:
        reply = ask(workspace, "hi")
        assert (reply.text, reply.recorded) == ("one", None)
        assert any("was not recorded" in line for line in workspace.news())
        with pytest.raises(SettingsError, match="cannot be written"):
            workspace.recordings.begin()


def test_two_workspaces_record_into_one_file(file: Path) -> None:
    with (
        WireServer([says("x")] * 8) as server,
        at(server.url, "record", file) as one,
        at(server.url, "record", file) as two,
    ):
        for n in range(4):
            ask(one, f"one {n}")
            ask(two, f"two {n}")
    assert len({r["hash"] for r in rows(file)}) == 8
    assert len({r["run"] for r in rows(file)}) == 2


def test_without_a_notebook_the_place_must_be_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    monkeypatch.setenv("PYTEST_CURRENT_TEST", "tests/test_x.py::test_y (call)")
    monkeypatch.chdir(tmp_path)
    workspace = Workspace()
    workspace.settings.set("replay", "replay", keep=False)
    with pytest.raises(SettingsError, match="cannot be known"):
        workspace.recordings.path()
    book = tmp_path / "book.ipynb"
    book.write_text("{}")
    monkeypatch.setenv("PYTEST_CURRENT_TEST", "notebooks/book.ipynb::Cell 0 (setup)")  # as nbval's kernels see it
    assert workspace.recordings.path() == tmp_path / "book.replay.jsonl"
    other = tmp_path / "other.ipynb"
    other.write_text("{}")
    monkeypatch.setenv("JPY_SESSION_NAME", str(other))
    assert workspace.recordings.path() == tmp_path / "other.replay.jsonl"
    workspace.recordings.notebook = lambda: str(book)
    assert workspace.recordings.path() == tmp_path / "book.replay.jsonl"
    workspace.close()


REAL = [(name, kind) for name in ("llamacpp", "llamacpp-tools", "llamacpp-think", "llmock")
        for kind in ("openai", "anthropic")] + [("llmock", "gemini")]  # fmt: skip


@pytest.mark.parametrize(("name", "kind"), REAL)
def test_real_servers_are_recorded_and_replayed(peers: Peers, llmock: Llmock, file: Path, name: str, kind: str) -> None:
    peer = peers[name]
    llmock.reset()
    options = ChatOptions(model=f"x/{peer['model']}", max_tokens=12)
    live = Workspace()
    live.settings.set("replay", f"record:{file}", keep=False)
    add_row(live, peer, kind, id="x")
    first = [live.chat("Say hello", options), live.chat("And again", options)]
    live.close()
    assert len(rows(file)) == 2
    assert peer["key"] not in file.read_text()
    again = Workspace()
    again.settings.set("replay", f"replay:{file}", keep=False)
    auth = {"anthropic": "x-api-key", "gemini": "x-goog-api-key"}.get(kind, "bearer")
    again.registry.set_session("x", base_url=nowhere().removesuffix("/v1") + _path(peer[kind]), kind=kind, auth=auth)
    second = [again.chat("Say hello", options), again.chat("And again", options)]
    again.close()
    for one, other in zip(first, second, strict=True):
        assert (one.text, one.usage, one.finish_reason) == (other.text, other.usage, other.finish_reason)
        assert other.replayed == one.recorded is not None


def test_ollamas_lines_are_recorded_and_replayed(file: Path) -> None:
    said = [{"model": "m", "message": {"role": "assistant", "content": c}, "done": False} for c in ("hel", "lo")]
    end = {"model": "m", "message": {"role": "assistant", "content": ""}, "done": True, "done_reason": "stop",
           "prompt_eval_count": 3, "eval_count": 5}  # fmt: skip
    lines = [json.dumps(row).encode() + b"\n" for row in (*said, end)]
    texts = []
    with WireServer([chunked(lines, kind="application/x-ndjson")]) as server:
        for mode, url in (("record", server.origin), ("replay", nowhere().removesuffix("/v1"))):
            workspace = Workspace()
            workspace.settings.set("replay", f"{mode}:{file}", keep=False)
            workspace.registry.set_session("o", base_url=url, kind="ollama", auth="none")
            reply = workspace.chat("hi", ChatOptions(model="o/m"))
            texts.append((reply.text, reply.usage.output_tokens))
            workspace.close()
    assert texts == [("hello", 5)] * 2
    assert rows(file)[0]["usage"] == {"prompt_eval_count": 3, "eval_count": 5}


def _path(url: str) -> str:
    return "/" + url.split("/", 3)[3] if url.count("/") > 2 else ""
