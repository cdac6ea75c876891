"""Wrong words: exit status 2, one line of error, one of hint, nothing on stdout, nothing changed, no key echoed."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from cli.shell import environment, nbllm
from key_shapes import SHAPES, KeyShape, traces


@dataclass(frozen=True)
class Bad:
    id: str
    words: tuple[str, ...]
    says: str
    stdin: str = ""


CASES = (
    Bad("unknown command", ("frobnicate",), "frobnicate"),
    Bad("unknown flag", ("chat", "q", "--frob"), "--frob"),
    Bad("option without value", ("chat", "q", "-m"), "-m"),
    Bad("value of the wrong kind", ("chat", "q", "-t", "warm"), "--temperature"),
    Bad("no question", ("chat",), "text"),
    Bad("empty question", ("chat", ""), "the prompt is empty"),
    Bad("blank question", ("chat", " \n"), "the prompt is empty"),
    Bad("empty standard input", ("chat", "-"), "the prompt is empty"),
    Bad("question without quotes", ("chat", "why", "is", "the", "sky", "blue"), "quotes"),
    Bad("unknown provider", ("chat", "q", "-m", "grok/x"), "did you mean groq"),
    Bad("unknown model", ("chat", "q", "-m", "demo/nothing"), "nbllm providers models demo"),
    Bad("bare unknown model", ("chat", "q", "-m", "nothing-at-all"), "nothing-at-all"),
    Bad("unknown preset", ("chat", "q", "--preset", "nope"), "no preset 'nope'"),
    Bad("nameless conversation", ("chat", "q", "-c", ""), "name"),
    Bad("parameter without value", ("chat", "q", "-p", "top_p"), "KEY=VALUE"),
    Bad("missing attachment", ("chat", "q", "-a", "nowhere.png"), "nowhere.png"),
    Bad("attachment that is a folder", ("chat", "q", "-a", "."), "no file"),
    Bad("missing schema", ("chat", "q", "--schema", "nowhere.json"), "nowhere.json"),
    Bad("schema that is not JSON", ("chat", "q", "--schema", __file__), "not JSON"),
    Bad("missing key", ("chat", "q", "-m", "groq/x"), "nbllm providers key groq"),
    Bad("provider without an address", ("providers", "add", "mine"), "--base-url"),
    Bad("address that is none", ("providers", "add", "mine", "--base-url", "ftp://x"), "http"),
    Bad("provider that is there", ("providers", "add", "groq", "--base-url", "https://x.example/v1"), "groq"),
    Bad("nothing to change", ("providers", "edit", "groq"), "nothing to change"),
    Bad("test of nobody", ("providers", "test"), "--all"),
    Bad("test of an unknown", ("providers", "test", "nobody"), "nobody"),
    Bad("one model for several", ("providers", "test", "--all", "--model", "x"), "--model"),
    Bad("key for an unknown", ("providers", "key", "nobody"), "nobody"),
    Bad("no key", ("providers", "key", "groq"), "key is empty"),
    Bad("import of nothing", ("providers", "import", "nowhere.toml"), "nowhere.toml"),
    Bad("port that is none", ("demo-server", "--port", "99999"), "--port"),
    Bad("unknown setting", ("config", "modell"), "did you mean model"),
    Bad("setting out of range", ("config", "max_rounds", "0"), "1 to 100"),
    Bad("price below nothing", ("models", "add", "openai/mine", "--input-price", "-1"), "models add openai/mine"),
    Bad("list of one backup", ("restore-configs", "--list", "--id", "x"), "restore-configs --list"),
    Bad("nothing to undo", ("config", "undo"), "no earlier version"),
)


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.id)
def test_bad_input_is_one_line_and_a_hint(case: Bad, home: Path, tmp_path: Path) -> None:
    done = nbllm(*case.words, input=case.stdin, cwd=tmp_path)
    lines = done.stderr.splitlines()
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert [line.partition(":")[0] for line in lines] in (["error", "hint"], ["error"])
    assert case.says in done.stderr
    assert "%" not in done.stderr  # no magic is named to someone in a terminal
    assert not (home / "config.toml").exists()


@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: s.id)
def test_a_key_in_an_option_is_refused_and_not_echoed(shape: KeyShape, home: Path) -> None:
    key = shape.key()
    for words in (
        ("chat", "q", "-m", key),
        ("chat", "q", f"--model={key}"),
        ("chat", "q", "-p", f"api_key={key}"),
        ("providers", "key", "groq", key),
        ("providers", "add", "mine", "--base-url", "https://x.example/v1", "--header", f"Authorization=Bearer {key}"),
        (key,),
    ):
        done = nbllm(*words)
        assert done.returncode == 2
        assert "a key was typed on the command line" in done.stderr
        assert "make a new key" in done.stderr
        assert not traces(key, done.stdout + done.stderr)
    assert not (home / "config.toml").exists()


@pytest.mark.parametrize(
    "words",
    [
        ("explain 0123456789abcdef0123",),
        ("0123456789abcdef0123",),
        ("q", "-c", "550e8400-e29b-41d4-a716-446655440000"),
        ("q", "-c", "550e8400e29b41d4a716446655440000"),
        ("q", "-s", "the hash 0123456789abcdef0123 is known"),
    ],
)
def test_what_only_resembles_a_key_is_let_through(words: tuple[str, ...]) -> None:
    assert nbllm("chat", *words, "--dry-run").returncode == 0


def test_a_broken_config_names_file_and_line(home: Path) -> None:
    home.mkdir()
    (home / "config.toml").write_text('[settings]\nmodel = "demo/guide"\nlive =\n')
    done = nbllm("chat", "q")
    assert done.returncode == 2
    assert f"{home}/config.toml, line 3" in done.stderr
    assert (home / "config.toml").read_text().endswith("live =\n")


def test_a_store_of_a_newer_version_is_named(home: Path) -> None:
    nbllm("chat", "q")
    with sqlite3.connect(home / "nbllm.db") as database:
        database.execute("update alembic_version set version_num = '9999'")
    database.close()
    done = nbllm("chat", "q")
    assert done.returncode == 2
    assert "newer" in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
@pytest.mark.parametrize("words", [("providers", "list", "--all"), ("models", "--json"), ("stats",)], ids=" ".join)
def test_a_full_disk_under_the_output_is_said_as_that(words: tuple[str, ...], home: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([sys.executable, "-m", "nbllm", *words], stdout=full, stderr=subprocess.PIPE, text=True,
                              timeout=90, check=False, env=environment())  # fmt: skip

    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "error: cannot write: No space left on device",
        "hint: free some space where the output goes",
    ]


def test_help_and_version_are_no_errors() -> None:
    assert nbllm("--version").stdout.startswith("nbllm 0.")
    assert nbllm("chat", "--help").returncode == 0


def test_no_command_shows_the_help_and_is_status_2() -> None:
    done = nbllm()
    assert done.returncode == 2
    assert "providers" in done.stderr
    assert nbllm("providers").returncode == 2


def test_debug_shows_the_traceback() -> None:
    done = nbllm("chat", "q", "-m", "nobody/x", env={"NBLLM_DEBUG": "1"})
    assert done.returncode == 2
    assert "Traceback (most recent call last)" in done.stderr
