"""`nbllm replay`: what a recording says of itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from chatting import says
from key_shapes import SHAPES
from nbllm.chat.options import ChatOptions
from nbllm.cli import main
from nbllm.workspace import Workspace
from wire_server import WireServer


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    said = capsys.readouterr()
    return int(ended.value.code or 0), said.out, said.err


def record(file: Path, *questions: str) -> None:
    with WireServer([says("answer")] * len(questions)) as server:
        workspace = Workspace()
        workspace.settings.set("replay", f"record:{file}", keep=False)
        workspace.registry.set_session("peer", base_url=server.url, kind="openai", auth="none")
        for question in questions:
            workspace.chat(question, ChatOptions(model="peer/m", history=False))
        workspace.close()


def test_verify_finds_what_was_changed_or_is_a_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "x.replay.jsonl"
    record(file, "a", "b")
    assert run(capsys, "replay", "verify", str(file)) == (0, "2 good, 0 with a problem\n", "")
    one, two = file.read_text().splitlines()
    edited = one.replace('"content":"a"', '"content":"z"')
    leaking = two.replace("answer", SHAPES[0].key())
    file.write_text("\n".join([one, edited, leaking, "nonsense"]) + "\n")
    status, out, err = run(capsys, "replay", "verify", str(file))
    assert (status, out) == (1, "1 good, 3 with a problem\n")
    assert "line 2 was changed" in err
    assert "line 3 holds something that looks like a key" in err
    assert "line 4 is broken" in err
    assert "sk-proj" not in err


def test_prune_keeps_what_a_replay_gives(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "x.replay.jsonl"
    record(file, "a", "b")
    record(file, "b", "b", "c")
    before = file.read_bytes()
    assert run(capsys, "replay", "prune", str(file), "--dry-run") == (0, "1 lines would go, 4 kept\n", "")
    assert file.read_bytes() == before
    assert run(capsys, "replay", "prune", str(file))[1] == "1 lines removed, 4 kept\n"
    assert run(capsys, "replay", "prune", str(file), "--last-run")[1] == "1 lines removed, 3 kept\n"
    assert run(capsys, "replay", "verify", str(file))[1] == "3 good, 0 with a problem\n"


def test_stats_count(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "x.replay.jsonl"
    record(file, "a", "a")
    status, out, _ = run(capsys, "replay", "stats", str(file))
    assert status == 0
    assert "2 exchanges, 1 requests" in out
    assert "2 × peer/m" in out
    assert "2 × status 200" in out


def test_a_recording_that_is_not_there_is_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = run(capsys, "replay", "stats", str(tmp_path / "none"))
    assert status == 2
    assert "there is no recording" in err
