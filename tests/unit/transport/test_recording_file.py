"""The file of a recording: what can be wrong with it, who else writes it, and that the rest works."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatting import says
from nbllm.chat.options import ChatOptions
from nbllm.credentials import Secret
from nbllm.errors import ReplayMissError, SettingsError
from nbllm.transport.recording import Exchange, asked
from nbllm.transport.recording_file import Recording, newest_run
from nbllm.workspace import Workspace
from permissions import as_somebody
from wire_server import WireServer

SOURCES = Path(__file__).resolve().parents[3] / "src"


def exchange(question: str, answer: str = "yes", run: str = "run", *, pad: int = 0) -> Exchange:
    content = json.dumps({"model": "m", "q": question, "pad": "p " * pad}).encode()
    found = asked("peer", "POST", "/v1/x", content)
    assert found is not None
    return Exchange(found, run, "2026-11-20T00:00:00Z", "http://h", 200, {}, [(1.0, answer.encode())])


def answer_of(recording: Recording, question: str, scope: str = "") -> list[str]:
    return [e.chunks[0][1].decode() for e in recording.answers(exchange(question).asked, scope)]


@pytest.fixture
def recording(tmp_path: Path) -> Recording:
    """A recording that is not there yet."""
    return Recording(tmp_path / "x.replay.jsonl", lock=tmp_path / "lock")


# ---------------------------------------------------------------- lines that cannot be used


GOOD = exchange("good").to_line().encode()
NEWER = exchange("newer").to_line().replace('"nbllm_replay":1', '"nbllm_replay":7').encode()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"nonsense", "is broken"),
        (b"\xff\xfe\x00bytes", "is broken"),
        (GOOD[:200], "is broken"),
        (b"[" * 100_000, "is broken"),
        (b'{"nbllm_replay":1}', "is broken"),
        (b"null", "is broken"),
        (b'"text"', "is broken"),
        (NEWER, "is of format 7, and this version of nbllm reads 1: update nbllm"),
        (b'{ "nbllm_replay": 7 }', "is of format 7, and this version of nbllm reads 1: update nbllm"),
        (b"<<<<<<< HEAD", "is a mark of a merge conflict; both sides are used"),
        (b"||||||| 1a2b3c", "is a mark of a merge conflict; both sides are used"),
        (b"=======\r", "is a mark of a merge conflict; both sides are used"),
        (b">>>>>>> other branch", "is a mark of a merge conflict; both sides are used"),
    ],
)
def test_a_line_that_cannot_be_used_is_named_once_with_its_number_and_the_rest_answers(
    tmp_path: Path, line: bytes, words: str
) -> None:
    file = tmp_path / "x.replay.jsonl"
    with WireServer([says("yes")] * 2) as server:
        _ask(server.url, f"record:{file}", "a", "b")
    first, second = file.read_bytes().splitlines()
    file.write_bytes(b"\n".join([first, b"", line, second]))
    workspace = Workspace()
    workspace.settings.set("replay", f"replay:{file}", keep=False)
    workspace.registry.set_session("peer", base_url="http://127.0.0.1:9/v1", kind="openai", auth="none")
    options = ChatOptions(model="peer/m", history=False)
    assert [workspace.chat(q, options).text for q in ("a", "b", "a")] == ["yes"] * 3
    assert workspace.news() == [f"x.replay.jsonl, line 3 {words}"] * bool(words)
    workspace.close()


def test_a_line_with_a_good_beginning_and_a_broken_middle_is_named_when_it_is_needed(recording: Recording) -> None:
    bad = exchange("bad").to_line().replace('"chunks":[[', '"chunks":[[[')
    recording.path.write_text(f"{bad}\n{exchange('good').to_line()}\n")
    assert answer_of(recording, "good") == ["yes"]
    assert recording.problems() == []
    assert answer_of(recording, "bad") == []
    assert recording.problems() == ["x.replay.jsonl, line 1 is broken"]


def test_a_file_that_another_program_has_written_anew_is_read_all_the_same(recording: Recording) -> None:
    rows = [json.loads(exchange(q).to_line()) for q in "ab"]
    text = "\r\n".join(json.dumps(dict(sorted(row.items())), indent=None) for row in rows)
    recording.path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert [answer_of(recording, q) for q in "ab"] == [["yes"], ["yes"]]
    assert recording.problems() == []


@given(
    st.lists(st.one_of(st.binary(max_size=60), st.integers(0, 9).map(lambda n: exchange(f"q{n}").to_line().encode())))
)
def test_whatever_is_in_the_file_its_good_lines_are_found(lines: list[bytes]) -> None:
    lines = [line.replace(b"\n", b" ") for line in lines]
    wanted = {n for n in range(10) if exchange(f"q{n}").to_line().encode() in lines}
    with tempfile.TemporaryDirectory() as folder:
        recording = Recording(Path(folder) / "x", lock=Path(folder) / "lock")
        recording.path.write_bytes(b"\n".join(lines))
        assert {n for n in range(10) if answer_of(recording, f"q{n}")} == wanted
        assert {place.number for place in recording.places()} == {
            number for number, line in enumerate(lines, 1) if line.startswith(b'{"nbllm_replay"')
        }


@pytest.mark.parametrize("pad", [0, 200, 300_000, 600_000])
def test_lines_longer_than_what_is_read_at_once_are_found(recording: Recording, pad: int) -> None:
    for number in range(4):
        recording.append(exchange(f"q{number}", f"answer {number}", pad=pad))
    found = {place.number: found.chunks[0][1] for place, found in recording.exchanges()}
    assert found == {n + 1: f"answer {n}".encode() for n in range(4)}
    assert b"".join(recording.line(place) + b"\n" for place in recording.places()) == recording.path.read_bytes()


def test_a_change_of_the_file_is_seen(recording: Recording) -> None:
    assert answer_of(recording, "a") == []
    recording.append(exchange("a", "old", "one"))
    assert answer_of(recording, "a") == ["old"]
    recording.append(exchange("a", "new", "two"))
    assert answer_of(recording, "a") == ["new"]
    recording.path.unlink()
    assert answer_of(recording, "a") == []


# ---------------------------------------------------------------- whose answers


def test_of_several_owners_each_gets_the_answers_of_its_own_newest_run(recording: Recording) -> None:
    runs = [("one:r1", "1 old"), ("two:r1", "2"), ("one:r2", "1 new"), ("three:r1", "3")]
    for run, answer in runs:
        recording.append(exchange("a", answer, run))
    given = {scope: answer_of(recording, "a", scope) for scope in ("one", "two", "three", "four", "")}
    assert given == {"one": ["1 new"], "two": ["2"], "three": ["3"], "four": ["3"], "": ["3"]}
    recording.append(exchange("a", "for all", "r9"))
    assert answer_of(recording, "a", "one") == ["for all"]
    assert newest_run(recording.places(), "one") == "r9"


# ---------------------------------------------------------------- two writers at once

WRITER = """
import sys
from nbllm.chat.options import ChatOptions
from nbllm.workspace import Workspace

workspace = Workspace()
workspace.registry.set_session("peer", base_url=sys.argv[1], kind="openai", auth="none")
for number in range(int(sys.argv[2])):
    print(workspace.chat(f"question {number}", ChatOptions(model="peer/m")).text)
workspace.close()
"""


def _writer(folder: Path, name: str, url: str, mode: str, count: int) -> subprocess.Popen[str]:
    book = folder / f"{name}.ipynb"
    book.write_text("{}")
    environ = os.environ | {
        "JPY_SESSION_NAME": str(book), "NBLLM_REPLAY": f"{mode}:{folder / 'shared.replay.jsonl'}",
        "PYTHONPATH": str(SOURCES), "NBLLM_HOME": str(folder / f"home-{mode}-{name}"),
    }  # fmt: skip
    command = [sys.executable, "-c", WRITER, url, str(count)]
    return subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _both(folder: Path, urls: dict[str, str], mode: str, count: int) -> dict[str, list[str]]:
    running = {name: _writer(folder, name, url, mode, count) for name, url in urls.items()}
    ended = {name: process.communicate(timeout=150) for name, process in running.items()}
    assert [process.returncode for process in running.values()] == [0, 0], ended
    return {name: out.split() for name, (out, _) in ended.items()}


def test_two_notebooks_record_into_one_file_at_once_and_both_are_whole(tmp_path: Path) -> None:
    """They ask the same to begin with, get other answers, and go on from those."""
    count = 20
    plans = {name: [says(f"{name}-{n}") for n in range(count)] for name in ("one", "two")}
    with WireServer(plans["one"]) as one, WireServer(plans["two"]) as two:
        live = _both(tmp_path, {"one": one.url, "two": two.url}, "record", count)
    assert live == {name: [f"{name}-{n}" for n in range(count)] for name in ("one", "two")}
    assert len((tmp_path / "shared.replay.jsonl").read_text().splitlines()) == 2 * count
    nowhere = "http://127.0.0.1:9/v1"
    assert _both(tmp_path, {"one": nowhere, "two": nowhere}, "replay", count) == live


# ---------------------------------------------------------------- places that cannot be written or read


def _ask(url: str, mode: str, *questions: str, key: str | None = None) -> list[str]:
    workspace = Workspace()
    workspace.settings.set("replay", mode, keep=False)
    auth = "bearer" if key else "none"
    workspace.registry.set_session("peer", base_url=url, kind="openai", auth=auth)
    if key:
        workspace.save_key("peer", Secret(key), store="session")
    try:
        for question in questions:
            workspace.chat(question, ChatOptions(model="peer/m", history=False))
        return workspace.news()
    finally:
        workspace.close()


ONE_QUESTION = """
import sys
from nbllm.chat.options import ChatOptions
from nbllm.errors import NbllmError
from nbllm.workspace import Workspace

workspace = Workspace()
workspace.registry.set_session("peer", base_url=sys.argv[1], kind="openai", auth="none")
for step in (workspace.recordings.begin, lambda: workspace.chat("hello", ChatOptions(model="peer/m")).text):
    try:
        print(step())
    except NbllmError as exc:
        print(exc.describe())
print(*workspace.news(), sep="\\n")
workspace.close()
"""


def _as_somebody(mode: str, file: Path, home: Path, url: str = "http://127.0.0.1:9/v1") -> list[str]:
    """What is said by a process for which permissions count, as they do not for root."""
    command = [*as_somebody(), sys.executable, "-c", ONE_QUESTION, url]
    environ = os.environ | {"NBLLM_HOME": str(home), "NBLLM_REPLAY": f"{mode}:{file}", "PYTHONPATH": str(SOURCES)}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder, whose mode the test may change."""
    path = tmp_path / "book"
    path.mkdir()
    yield path
    path.chmod(0o755)


def test_in_a_folder_that_cannot_be_written_the_answer_comes_and_one_line_says_why(
    folder: Path, tmp_path: Path
) -> None:
    folder.chmod(0o555)
    file = folder / "x.replay.jsonl"
    with WireServer([says("fine")]) as server:
        said = _as_somebody("record", file, tmp_path / "home", server.url)
    assert said == [
        f"SettingsError: {file} cannot be written",
        "  hint: name another place: `%llm_replay record PATH`",
        "fine",
        f"an exchange with peer was not recorded: {file}: Permission denied",
    ]


def test_from_a_folder_that_cannot_be_written_a_replay_answers(folder: Path, tmp_path: Path) -> None:
    file = folder / "x.replay.jsonl"
    with WireServer([says("fine")]) as server:
        _ask(server.url, f"record:{file}", "hello")
    file.chmod(0o444)
    folder.chmod(0o555)
    assert _as_somebody("replay", file, tmp_path / "home")[1] == "fine"


def test_with_a_home_that_cannot_be_written_it_records_all_the_same(folder: Path, tmp_path: Path) -> None:
    home = tmp_path / "read-only-home"
    home.mkdir(mode=0o555)
    file = folder / "x.replay.jsonl"
    with WireServer([says("fine")]) as server:
        said = _as_somebody("record", file, home, server.url)
    home.chmod(0o755)
    assert said[1] == "fine"
    assert not [line for line in said if "not recorded" in line]
    assert len(file.read_text().splitlines()) == 1


def test_a_recording_that_may_not_be_read_is_said_to_be_so(folder: Path, tmp_path: Path) -> None:
    file = folder / "x.replay.jsonl"
    file.touch(mode=0o000)
    assert f"SettingsError: {file} cannot be read: Permission denied" in _as_somebody("replay", file, tmp_path / "home")


def test_a_folder_in_the_place_of_the_file_is_one_clear_line(tmp_path: Path) -> None:
    place = tmp_path / "x.replay.jsonl"
    place.mkdir()
    with WireServer([says("fine")]) as server:
        assert _ask(server.url, f"record:{place}", "hi") == [
            f"an exchange with peer was not recorded: {place}: Is a directory"
        ]
        with pytest.raises(SettingsError, match="cannot be read: Is a directory"):
            _ask(server.url, f"replay:{place}", "hi")


# ---------------------------------------------------------------- short keys


@pytest.mark.parametrize(
    ("key", "prompt", "kept"),
    [
        ("lm-studio", "what is lm-studio?", True),
        ("pass-4711", "is pass-4711 a good password?", True),  # a limit, and the pages say so
        ("pass-4711", "curl -H 'Authorization: Bearer pass-4711'", False),
        ("pass-4711", "https://h.test/?api_key=pass-4711", False),
        ("pass-47110815", "is pass-47110815 a good password?", False),
    ],
)
def test_a_short_key_in_a_prompt_counts_only_where_it_looks_like_one(
    tmp_path: Path, key: str, prompt: str, kept: bool
) -> None:
    file = tmp_path / "x.replay.jsonl"
    with WireServer([says("fine")]) as server:
        news = _ask(server.url, f"record:{file}", prompt, key=key)
    assert file.exists() is kept
    assert any("looks like a key" in line for line in news) is not kept


def test_a_short_key_that_was_only_sent_is_in_no_recording(tmp_path: Path) -> None:
    file = tmp_path / "x.replay.jsonl"
    with WireServer([says("fine")]) as server:
        _ask(server.url, f"record:{file}", "hello", key="pass-4711")
        assert b"pass-4711" in server.bytes_seen
    assert "pass-4711" not in file.read_text()


def test_the_error_of_a_miss_stays_one_line_whatever_stands_in_the_recording(recording: Recording) -> None:
    recording.append(exchange("a\nb \x1b[31m c", run="run"))
    workspace = Workspace()
    workspace.settings.set("replay", f"replay:{recording.path}", keep=False)
    workspace.registry.set_session("peer", base_url="http://127.0.0.1:9/v1", kind="openai", auth="none")
    with pytest.raises(ReplayMissError) as caught:
        workspace.chat("hi", ChatOptions(model="peer/m"))
    assert "\n" not in caught.value.message
    assert "\x1b" not in caught.value.message
    workspace.close()
