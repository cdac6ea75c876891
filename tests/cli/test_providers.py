"""`nbllm providers` and `nbllm config` in processes of their own."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from chatting import says
from cli.shell import in_terminal, nbllm
from key_shapes import SHAPES, traces
from wire_server import WireServer

COLUMNS = ["id", "name", "kind", "base_url", "status", "enabled", "env", "key", "key_name", "model_count",
           "models_age_s", "last_check"]  # fmt: skip


def test_the_list_as_json_has_exactly_the_promised_columns() -> None:
    done = nbllm("providers", "list", "--all", "--json", env={"GROQ_API_KEY": "abcdefghijkl1234"})
    rows = json.loads(done.stdout)
    assert all(list(row) == COLUMNS for row in rows)
    groq = next(row for row in rows if row["id"] == "groq")
    assert (groq["key"], groq["key_name"], groq["env"]) == ("environment", "GROQ_API_KEY", ["GROQ_API_KEY"])
    assert groq["model_count"] is None
    assert groq["last_check"] is None
    assert done.stderr == ""


def test_a_newcomer_sees_what_answers_and_how_to_get_more() -> None:
    done = nbllm("providers", "list", env={"GROQ_API_KEY": "abcdefghijkl1234", "COLUMNS": "160"})
    names = [line.split()[0] for line in done.stdout.splitlines()[2:4]]
    assert names == ["demo", "groq"]
    assert "environment (GROQ_API_KEY)" in done.stdout
    assert "nbllm providers discover" in done.stdout
    assert "%llm" not in done.stdout
    ids = {row["id"] for row in json.loads(nbllm("providers", "list", "--json").stdout)}
    assert {"demo", "ollama", "llamacpp"} <= ids  # programs are told of all that could be used


def test_a_provider_is_added_changed_switched_off_and_removed() -> None:
    assert nbllm("providers", "add", "mine", "--base-url", "http://127.0.0.1:9/v1", "--env", "MINE_KEY").returncode == 0
    assert "MINE_KEY" in nbllm("providers", "show", "mine").stdout
    assert nbllm("providers", "edit", "mine", "--name", "My server").returncode == 0
    assert "My server" in nbllm("providers", "list").stdout
    assert "disabled" in nbllm("providers", "disable", "mine").stdout
    assert "disabled" in nbllm("providers", "list").stdout
    refused = nbllm("chat", "hello", "-m", "mine/x")
    assert (refused.returncode, "nbllm providers enable mine" in refused.stderr) == (2, True)
    assert nbllm("providers", "enable", "mine").returncode == 0
    assert nbllm("providers", "remove", "mine").returncode == 0
    assert nbllm("providers", "show", "mine").returncode == 2


def test_providers_travel_in_a_file(tmp_path: Path) -> None:
    nbllm("providers", "add", "mine", "--base-url", "http://127.0.0.1:9/v1")
    assert nbllm("providers", "export", "mine.toml", cwd=tmp_path).returncode == 0
    other = {"NBLLM_HOME": str(tmp_path / "other")}
    told = nbllm("providers", "import", "mine.toml", "--dry-run", cwd=tmp_path, env=other)
    assert "mine" in told.stdout
    assert nbllm("providers", "show", "mine", env=other).returncode == 2
    assert nbllm("providers", "import", "mine.toml", cwd=tmp_path, env=other).returncode == 0
    assert nbllm("providers", "show", "mine", env=other).returncode == 0
    assert "[providers.mine]" in nbllm("providers", "export", "-").stdout


def test_one_failure_among_several_tests_is_exit_status_1() -> None:
    nbllm("providers", "add", "gone", "--base-url", "http://127.0.0.1:9/v1")
    alone = nbllm("providers", "test", "demo")
    assert (alone.returncode, alone.stdout.startswith("demo: ok")) == (0, True)
    both = nbllm("providers", "test", "demo", "gone")
    assert both.returncode == 1
    assert "connect" in both.stdout
    assert nbllm("providers", "test", "--all").returncode == 1


def test_a_key_comes_from_a_pipe_and_stays_in_the_vault(home: Path) -> None:
    key = SHAPES[0].key()
    vault = {"NBLLM_VAULT_PASSPHRASE": "open sesame"}
    saved = nbllm("providers", "key", "groq", "--store", "vault", input=f"{key}\n", env=vault)
    assert saved.returncode == 0, saved.stderr
    assert '"vault"' in nbllm("providers", "list", "--json").stdout
    for path in filter(Path.is_file, home.rglob("*")):
        assert not traces(key, path.read_bytes().decode("latin-1"))
    assert not traces(key, saved.stdout + saved.stderr)
    assert "vault" in nbllm("providers", "forget", "groq", env=vault).stdout
    assert '"vault"' not in nbllm("providers", "list", "--json").stdout


def test_a_key_is_not_kept_where_it_would_be_lost_at_once() -> None:
    key = SHAPES[0].key()
    for words in (("--store", "vault"), ("--store", "session"), ("--store", "cellar")):
        done = nbllm("providers", "key", "groq", *words, input=f"{key}\n")
        assert done.returncode == 2
        assert not traces(key, done.stdout + done.stderr)


def test_a_default_model_is_chosen() -> None:
    assert nbllm("providers", "use", "demo/echo").returncode == 0
    assert json.loads(nbllm("chat", "hi", "--json").stdout)["model"] == "echo"


def test_the_listing_of_a_provider_is_shown() -> None:
    done = nbllm("providers", "models", "demo")
    assert "demo/guide" in done.stdout


def test_settings_are_read_changed_and_taken_back() -> None:
    assert nbllm("config", "max_rounds", "3").returncode == 0
    assert "config.toml" in nbllm("config", "max_rounds").stdout
    assert "set max_rounds" in nbllm("config", "history").stdout
    assert nbllm("config", "undo").returncode == 0
    assert "default" in nbllm("config", "max_rounds").stdout
    wrong = nbllm("config", "max_round")
    assert (wrong.returncode, "max_rounds" in wrong.stderr) == (2, True)


def test_an_attachment_limit_is_a_setting_of_the_command_line_too(tmp_path: Path) -> None:
    (tmp_path / "big.txt").write_bytes(b"x" * 3000)
    nbllm("config", "attachment_mb", "0.001")
    done = nbllm("chat", "q", "-a", str(tmp_path / "big.txt"))
    assert done.returncode == 2
    assert "nbllm config attachment_mb" in done.stderr


def test_a_model_of_the_listing_answers_with_a_key_of_the_environment() -> None:
    with WireServer([says("ok")]) as server:
        done = nbllm("chat", "q", "-m", "mine/x", env={"MINE_BASE_URL": server.url, "MINE_API_KEY": "local-key-123"})
    assert done.stdout == "ok\n", done.stderr


def test_the_reference_names_every_command() -> None:
    import typer.main

    from nbllm.cli.app import app

    page = (Path(__file__).resolve().parents[2] / "docs/reference/cli.md").read_text()
    commands: Any = typer.main.get_command(app)
    assert [c for c in commands.commands if f"`nbllm {c}" not in page] == []
    assert [v for v in commands.commands["providers"].commands if f"`nbllm providers {v}" not in page] == []


def test_several_tests_show_their_progress_in_a_terminal() -> None:
    shown = in_terminal("providers", "test", "demo", "ollama", env={"TERM": "xterm-256color"})
    assert "testing" in shown
    assert "\x1b[" in shown
    plain = in_terminal("providers", "test", "demo", "ollama", env={"TERM": "xterm-256color", "NO_COLOR": "1"})
    assert not re.findall(r"\x1b\[[0-9;]*[34][0-7]m", plain)  # bars move the cursor, and have no colours
