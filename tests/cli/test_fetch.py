"""`nbllm fetch` as a process of its own, against many providers on loopback."""

from __future__ import annotations

import json
import re
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from cli.shell import in_terminal, nbllm, start
from model_server import ModelServer, Said, listing, refusal
from replaying import FAULTS, KEY, KEY_VARIABLE, Listed, made_by_hand, recorded, replaying

WITH_KEY = {KEY_VARIABLE: KEY}


def _by_provider(stdout: str) -> dict[str, dict[str, Any]]:
    return {row["provider"]: row for row in json.loads(stdout)}


def _all(home: Path, listings: dict[str, Listed]) -> None:
    """What `fetch --all` says of every listing and of every fault."""
    with replaying(home, listings, FAULTS) as given:
        done = nbllm("fetch", "--all", "--json", "--timeout", "12", env=WITH_KEY)
        found = _by_provider(done.stdout)
        memory = json.loads((home / "cache" / "failed.json").read_text())

    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert {i: found[i]["models"] for i in listings} == {i: listed.count for i, listed in listings.items()}
    assert {found[i]["outcome"] for i in listings} == {"ok"}
    # Of the second listing of Chutes one page of many is recorded, and that is said.
    assert {i for i in listings if found[i]["reason"]} <= {"chutes"}
    said = {name: found[id] for name, id in given.items()}
    assert {name: row["outcome"] for name, row in said.items()} == dict.fromkeys(FAULTS, "failed")
    assert {name: row["kind"] for name, row in said.items()} == {n: f.kind for n, f in FAULTS.items()}
    assert [n for n, f in FAULTS.items() if f.reason not in said[n]["reason"]] == []
    assert [n for n, f in FAULTS.items() if f.status is not None and said[n]["status"] != f.status] == []
    others = found.keys() - listings.keys() - set(given.values()) - {"demo"}
    assert {found[i]["outcome"] for i in others} <= {"skipped"}
    assert all(found[i]["reason"] for i in others)
    assert {i for i, entry in memory.items() if entry["failed"]} == set(given.values())
    assert KEY not in done.stdout + done.stderr + json.dumps(memory)


def test_all_recorded_listings_and_every_fault_are_told_truthfully(shared: Path, home: Path) -> None:
    _all(home, recorded(shared / "data" / "listings"))


def test_listings_made_by_hand_and_every_fault_are_told_truthfully(home: Path) -> None:
    _all(home, made_by_hand())


def _add(id: str, url: str) -> None:
    assert nbllm("providers", "add", id, "--base-url", url, "--auth", "none").returncode == 0


def test_an_interrupt_keeps_what_has_arrived(home: Path) -> None:
    slow = Said(200, b"{}", {}, after_s=30)
    with ModelServer({"/fast/models": listing("a", "b"), "/slow/models": slow}) as server:
        _add("fast", f"{server.origin}/fast")
        _add("slow", f"{server.origin}/slow")
        process = start("fetch", "fast", "slow")
        kept = home / "cache" / "listings" / "fast.json"
        for _ in range(600):
            if kept.exists() and "/slow/models" in server.paths:
                break
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        out, err = (part.decode() for part in process.communicate(timeout=30))

    assert process.returncode == 130
    assert err == "interrupted: what has arrived is kept\n"
    assert "no answer yet when it was interrupted" in out
    assert [line.split()[:3] for line in out.splitlines() if line.startswith("fast")] == [["fast", "ok", "2"]]
    assert len(json.loads(kept.read_text())["models"]) == 2
    assert json.loads((home / "cache" / "failed.json").read_text())["fast"]["failed"] is False


def test_only_those_that_failed_are_asked_again() -> None:
    said = {"x": refusal(404)}
    with ModelServer({"/x/models": lambda asked: said["x"], "/y/models": listing("m")}) as server:
        _add("x", f"{server.origin}/x")
        _add("y", f"{server.origin}/y")
        first = nbllm("fetch", "x", "y")
        said["x"] = listing("n")
        server.asked.clear()
        second = nbllm("fetch", "--failed", "--json")
        third = nbllm("fetch", "--failed")
        named = nbllm("fetch", "--failed", "y")

    assert (first.returncode, second.returncode, third.returncode, named.returncode) == (1, 0, 0, 0)
    assert [row["outcome"] for row in json.loads(second.stdout)] == ["ok"]
    assert server.paths == ["/x/models"]
    assert "nothing failed" in third.stdout
    assert "did not fail last time" in named.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["opnai"], "openai"),
        ([], "--all"),
        (["--all", "--concurrency", "0"], "--concurrency"),
        (["--all", "--timeout", "-1"], "--timeout"),
        (["--all", "--timeout", "nan"], "--timeout"),
        (["--all", "--forse"], "--forse"),
    ],
    ids=str,
)
def test_wrong_words_are_wrong_usage_and_ask_nobody(words: list[str], said: str) -> None:
    done = nbllm("fetch", *words)

    assert done.returncode == 2
    assert said in done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


def test_a_named_provider_without_a_key_is_not_done() -> None:
    done = nbllm("fetch", "groq")

    assert done.returncode == 1
    assert "GROQ_API_KEY" in done.stdout
    assert nbllm("fetch", "demo").returncode == 0


def test_a_terminal_sees_who_is_waited_for_and_a_pipe_only_the_table() -> None:
    with ModelServer({"/v1/models": Said(200, listing("m").body, {}, after_s=0.5)}) as server:
        _add("mine", server.url)
        shown = in_terminal("fetch", "mine", env={"TERM": "xterm-256color"})
        plain = in_terminal("fetch", "mine", "--force", env={"TERM": "xterm-256color", "NO_COLOR": "1"})
        piped = nbllm("fetch", "mine", "--force")

    assert "asking mine" in shown
    assert "\x1b[" in shown
    assert not re.findall(r"\x1b\[[0-9;]*[34][0-7]m", plain)
    assert piped.stderr == ""
    assert "\x1b" not in piped.stdout


def test_the_recorded_files_of_the_older_script_are_written_again(shared: Path, home: Path, tmp_path: Path) -> None:
    folder = shared / "data" / "listings"
    listings = recorded(folder)
    out = tmp_path / "out"
    with replaying(home, listings, {}):
        done = nbllm("fetch", "--all", "--layout", "dump-models", "--out", str(out), env=WITH_KEY)
        again = nbllm("fetch", "--all", "--layout", "dump-models", "--out", str(out), "--json", env=WITH_KEY)

    assert done.returncode == 0, done.stdout
    names = [f"models_{id}.{kind}" for id in listings for kind in ("json", "txt")]
    assert [n for n in names if (out / n).read_bytes() != (folder / n).read_bytes()] == []
    assert {i: row["outcome"] for i, row in _by_provider(again.stdout).items() if i in listings} == dict.fromkeys(
        listings, "skipped"
    )
    assert not (out / "failed.json").exists()


def test_files_are_written_and_failures_remembered_beside_them(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with ModelServer({"/x/models": refusal(500, "down"), "/y/models": listing("m", "n")}) as server:
        _add("x", f"{server.origin}/x")
        _add("y", f"{server.origin}/y")
        first = nbllm("fetch", "x", "y", "--format", "json,txt", "--out", str(out))
        server.asked.clear()
        cached = nbllm("fetch", "y", "--format", "yaml", cwd=out)
        failed = nbllm("fetch", "--failed", "--out", str(out))

    assert first.returncode == 1
    assert {p.name for p in out.iterdir()} >= {"models_y.json", "models_y.txt", "models_y.yaml", "failed.json"}
    assert (out / "models_y.txt").read_text() == "m\nn\n"
    assert [row["ref"] for row in json.loads((out / "models_y.json").read_text())] == ["y/m", "y/n"]
    assert not (out / "models_x.json").exists()
    assert json.loads((out / "failed.json").read_text())["x"]["failed"] is True
    assert cached.returncode == 0
    assert failed.returncode == 1
    assert set(server.paths) == {"/x/models"}


def test_a_folder_that_cannot_be_written_is_said_and_the_others_go_on(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with ModelServer({"/v1/models": listing("m")}) as server:
        _add("x", server.url)
        done = nbllm("fetch", "x", "demo", "--out", str(tmp_path / "out"))

    assert done.returncode == 1
    assert f"cannot write {tmp_path / 'out'}" in done.stdout
    assert "2 ok" in done.stdout
    assert "Traceback" not in done.stderr
    assert (tmp_path / "out").read_text() == "a file"


@pytest.mark.parametrize(
    ("words", "said"),
    [(["--format", "jsno"], "json"), (["--layout", "dump-model"], "dump-models"), (["--format", ","], "json")],
)
def test_an_unknown_format_or_layout_names_the_nearest(words: list[str], said: str) -> None:
    done = nbllm("fetch", "--all", *words)

    assert done.returncode == 2
    assert said in done.stderr
    assert done.stdout == ""
