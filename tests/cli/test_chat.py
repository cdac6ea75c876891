"""`nbllm chat` in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from chatting import chunk, event, says, sent
from cli.shell import environment, in_terminal, nbllm, start
from wire_server import Pause, Send, Stall, WireServer, head

ESC = "\x1b"


def _peer(server: WireServer) -> dict[str, str]:
    return {"OPENAI_COMPATIBLE_BASE_URL": server.url, "OPENAI_COMPATIBLE_API_KEY": "sk-" + "local"}


def _slow(*pieces: str, gap_s: float = 0.6) -> list[Any]:
    """Pieces of an answer with a pause before each but the first; never an end."""
    steps: list[Any] = [Send(head(200, content_type="text/event-stream", connection="close"))]
    for i, piece in enumerate(pieces):
        steps += [Pause(gap_s)] if i else []
        steps.append(Send(chunk({"content": piece})))
    return [*steps, Stall()]


def test_text_reaches_a_pipe_while_the_rest_is_still_to_come() -> None:
    with WireServer([_slow("first ", "second ")]) as server:
        process = start("chat", "-m", "openai-compatible/x", "go", env=_peer(server))
        assert process.stdout is not None
        arrived = os.read(process.stdout.fileno(), 100)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
    assert arrived == b"first "


def test_an_interrupt_keeps_and_stores_what_arrived() -> None:
    with WireServer([_slow("it began"), says("on")]) as server:
        process = start("chat", "-c", "talk", "-m", "openai-compatible/x", "go", env=_peer(server))
        assert process.stdout is not None
        arrived = os.read(process.stdout.fileno(), 100)
        process.send_signal(signal.SIGINT)
        rest, said = process.communicate(timeout=30)
        again = nbllm("chat", "-c", "talk", "-m", "openai-compatible/x", "more", env=_peer(server))
        messages = sent(server)["messages"]
    assert (process.returncode, arrived + rest) == (130, b"it began\n")
    assert said.decode().strip() == "interrupted; what arrived is kept"
    assert again.returncode == 0
    assert [m["content"] for m in messages][:2] == ["go", "it began"]


def test_a_reader_that_goes_away_is_no_error() -> None:
    shell = f"{sys.executable} -m nbllm chat hello | head -1"
    done = subprocess.run(["sh", "-c", shell], env=environment(), capture_output=True, text=True, timeout=60)
    assert done.stdout.count("\n") == 1
    assert done.stderr == ""


def test_the_question_comes_from_standard_input() -> None:
    done = nbllm("chat", "-", "-m", "demo/echo", input="from the pipe\n")
    assert done.returncode == 0
    assert "from the pipe" in done.stdout


def test_json_is_the_whole_of_stdout() -> None:
    done = nbllm("chat", "hello", "--json")
    shape = json.loads(done.stdout)
    assert (shape["provider"], shape["model"], shape["finish_reason"]) == ("demo", "guide", "stop")
    assert shape["text"].startswith("*demo")
    assert done.stderr == ""


def test_json_is_whole_also_when_the_stream_breaks() -> None:
    done = nbllm("chat", "hello", "-m", "demo/cut", "--json")
    assert json.loads(done.stdout)["finish_reason"] == "broken"
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")


def test_an_answer_that_fits_a_schema_is_parsed(tmp_path: Path) -> None:
    schema = tmp_path / "city.json"
    schema.write_text('{"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}')
    with WireServer([says('{"city": "Ulm"}')]) as server:
        done = nbllm("chat", "where", "-m", "openai-compatible/x", "--schema", str(schema), "--json", env=_peer(server))
    assert json.loads(done.stdout)["parsed"] == {"city": "Ulm"}


def test_an_attachment_and_parameters_travel(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("the notes")
    with WireServer([says("ok")]) as server:
        done = nbllm(
            "chat", "read", "-m", "openai-compatible/x", "-a", "notes.txt", "-p", "top_p=0.5", "-t", "0.25",
            "--max-tokens", "9", "-s", "be brief", env=_peer(server), cwd=tmp_path,
        )  # fmt: skip
        body = sent(server)
    assert done.stdout == "ok\n"
    assert (body["top_p"], body["temperature"]) == (0.5, 0.25)
    assert "the notes" in json.dumps(body)
    assert body["messages"][0] == {"role": "system", "content": "be brief"}


def test_a_named_conversation_goes_on_in_another_process_and_main_does_not() -> None:
    with WireServer([says("one")]) as server:
        for name in ("talk", "talk", "main", "main"):
            nbllm("chat", "q", "-c", name, "-m", "openai-compatible/x", env=_peer(server))
        lengths = [len(sent(server, i)["messages"]) for i in range(4)]
    assert lengths == [1, 3, 1, 1]


def test_a_preset_is_made_and_used() -> None:
    assert nbllm("config", "preset", "dry", "-p", "top_p=0.125").returncode == 0
    done = nbllm("chat", "q", "--preset", "dry", "--dry-run", "--json")
    assert json.loads(done.stdout)["body"]["top_p"] == 0.125


def test_a_dry_run_sends_and_stores_nothing(home: Path) -> None:
    with WireServer([says("one")]) as server:
        done = nbllm("chat", "q", "-m", "openai-compatible/x", "--dry-run", env=_peer(server))
        assert server.requests == []
    assert "nothing was sent" in done.stdout
    assert "local" not in done.stdout.replace("localhost", "")  # the key


@pytest.mark.parametrize(
    "words", [("chat", "hello"), ("providers", "test", "demo", "ollama"), ("doctor",), ("--help",)]
)
def test_no_escape_sequence_reaches_a_pipe(words: tuple[str, ...]) -> None:
    done = nbllm(*words)
    assert ESC not in done.stdout + done.stderr


def test_a_model_cannot_steer_the_terminal() -> None:
    hostile = "\x1b]0;title\x07 \x1b[2J a\u202eb"
    with WireServer([says(hostile)]) as server:
        shown = in_terminal("chat", "q", "-m", "openai-compatible/x", env={**_peer(server), "NO_COLOR": "1"})
        piped = nbllm("chat", "q", "-m", "openai-compatible/x", env=_peer(server)).stdout
    assert "<U+001B>]0;title<U+0007>" in shown
    assert "<U+202E>" in shown
    assert ESC not in shown
    assert piped == hostile + "\n"  # a file gets the answer as it is


def test_a_lost_store_is_one_warning_and_the_answer_comes(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    done = nbllm("chat", "hello", env={"NBLLM_DATABASE_URL": f"sqlite:///{blocked}/x.db"})
    assert done.returncode == 0
    assert done.stdout.startswith("*demo")
    assert [line.partition(":")[0] for line in done.stderr.splitlines()] == ["warning"]


def test_a_stalled_server_is_left_at_once_on_interrupt() -> None:
    with WireServer([[Stall()]]) as server:
        process = start("chat", "-m", "openai-compatible/x", "go", env=_peer(server))
        while not server.requests:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (130, b"", b"interrupted\n")


def test_an_error_event_keeps_the_text_before_it() -> None:
    with WireServer([[Send(head(200, content_type="text/event-stream")), Send(chunk({"content": "half"})),
                      Send(event({"error": {"message": "boom"}}))]]) as server:  # fmt: skip
        done = nbllm("chat", "go", "-m", "openai-compatible/x", env=_peer(server))
    assert done.stdout == "half\n"
    assert done.returncode == 1
    assert "boom" in done.stderr
