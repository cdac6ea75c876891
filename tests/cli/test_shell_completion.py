"""TAB in a real bash: names of providers, models, tools and formats, from files alone."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cli.shell import environment, nbllm
from nbllm.catalog.recommend import AIMS
from nbllm.catalog.wanted import SORTS
from nbllm.cli import complete

# pydantic is not among them: typer itself brings it.
HEAVY = ("openai", "httpx2", "sqlalchemy", "keyring", "asyncio", "rich", "ruamel", "tomlkit", "IPython")

needs_bash = pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash here")


@pytest.fixture
def known(home: Path) -> None:
    """A row of the user's own, and two listings."""
    listings = home / "cache" / "listings"
    listings.mkdir(parents=True)
    (home / "config.toml").write_text('[providers.grove]\nbase_url = "https://grove.example/v1"\nmodels = ["oak"]\n')
    groq = [{"id": i} for i in ("llama-3", "llama-4", "org/gemma:free", "two words", "$(id)", "a\x1b[2Jb")]
    (listings / "groq.json").write_text(json.dumps({"version": 1, "models": groq}))
    (listings / "broken.json").write_text("{")


@pytest.fixture
def bash(tmp_path: Path) -> Path:
    """A folder with `nbllm` in it, as an installation has it."""
    folder = tmp_path / "bin"
    folder.mkdir()
    script = folder / "nbllm"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m nbllm "$@"\n')
    script.chmod(0o755)
    return folder


def tab(bash: Path, line: str, **env: str) -> list[str]:
    """What bash offers at the end of a line, through the function that `--show-completion` prints."""
    program = """
eval "$(nbllm --show-completion)"
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
_nbllm_completion nbllm
printf '%s\\n' "${COMPREPLY[@]}"
"""
    done = subprocess.run(
        ["bash", "--norc", "-c", program, "bash", *line.split(" ")],
        env=environment(PATH=f"{bash}{os.pathsep}{os.environ['PATH']}", **env),
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return [word for word in done.stdout.split("\n") if word]


@needs_bash
@pytest.mark.usefixtures("known")
@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("nbllm gen", ["generate-configs"]),
        ("nbllm providers show gro", ["groq", "grove"]),
        ("nbllm providers remove groq grov", ["grove"]),
        ("nbllm fetch groq grov", ["grove"]),
        ("nbllm chat -m groq/lla", ["groq/llama-3", "groq/llama-4"]),
        ("nbllm chat --model gro", ["groq/", "grove/"]),
        ("nbllm chat -m grove/", ["grove/oak"]),
        ("nbllm chat -m demo/gu", ["demo/guide"]),
        ("nbllm chat -m mistral/x", []),
        ("nbllm providers use groq/org/", ["groq/org/gemma:free"]),
        ("nbllm fetch --format to", ["toml"]),
        ("nbllm fetch --format json,t", ["json,txt", "json,toml"]),
        ("nbllm fetch --layout d", ["dump-models"]),
        ("nbllm generate-configs --tool ai", ["aichat", "aider"]),
        ("nbllm update-configs --tool cod", ["codex"]),
        ("nbllm update-configs --strategy re", ["replace"]),
        ("nbllm models info groq/llama-3", ["groq/llama-3"]),
        ("nbllm models al", ["alias"]),
        ("nbllm models --favou", ["--favourites"]),
        ("nbllm models llama --favou", ["--favourites"]),
        ("nbllm models --sort in", ["input_price"]),
        ("nbllm models recommend --for p", ["price"]),
        ("nbllm config listing", ["listing_ttl_s"]),
    ],
)
def test_bash_offers(bash: Path, line: str, offered: list[str]) -> None:
    assert tab(bash, line) == offered


@needs_bash
def test_installed_for_bash_it_is_there_in_the_next_shell(bash: Path, tmp_path: Path) -> None:
    path = f"{bash}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "--norc", "-c", "nbllm --install-completion; exit $?"],
        env=environment(PATH=path), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rc = tmp_path / "user-home" / ".bashrc"
    assert "nbllm" in rc.read_text()
    asked = subprocess.run(
        ["bash", "--rcfile", str(rc), "-ic", "complete -p nbllm"],
        env=environment(PATH=path), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert "-F _nbllm_completion nbllm" in asked.stdout


def test_what_is_offered_is_what_is_taken() -> None:
    assert (complete.SORTS, complete.AIMS) == (SORTS, AIMS)


def completed(line: str, **env: str) -> subprocess.CompletedProcess[str]:
    """The protocol itself, as the shell's function speaks it; then what was imported, on stderr."""
    code = (
        "import sys\nfrom nbllm.cli import main\ntry:\n    main([])\nfinally:\n"
        f"    print(*[m for m in {HEAVY!r} if m in sys.modules], file=sys.stderr)"
    )
    words = {"COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1), "_NBLLM_COMPLETE": "complete_bash"}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment(**words, **env), capture_output=True, text=True, check=False
    )


@pytest.mark.usefixtures("known")
@pytest.mark.parametrize("line", ["nbllm providers show gro", "nbllm chat -m groq/lla", "nbllm fetch --format j"])
def test_a_tab_imports_nothing_of_the_core(line: str) -> None:
    done = completed(line)
    assert done.stdout.split()
    assert done.stderr.split() == []


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("config.toml", b"[providers"),
        ("config.toml", b"\xff\xfe"),
        ("config.toml", b"providers = 3"),
        ("cache/listings/groq.json", b"{"),
        ("cache/listings/groq.json", b'{"models": [3, {"id": 4}]}'),
        ("cache/listings/groq.json", b"[" * 100_000),
        ("cache/listings", b"a file where a folder should be"),
    ],
)
def test_a_broken_file_offers_nothing_and_says_nothing(home: Path, file: str, content: bytes) -> None:
    (home / file).parent.mkdir(parents=True, exist_ok=True)
    (home / file).write_bytes(content)
    assert complete.provider_ids("groq") == ["groq"]
    assert complete.model_refs("groq/") == []
    assert complete.model_refs("demo/gu") == ["demo/guide"]
    done = completed("nbllm chat -m groq/")
    assert (done.stdout.strip(), done.stderr.strip()) == ("", "")


@pytest.mark.usefixtures("known")
def test_names_that_a_shell_would_act_on_are_left_out() -> None:
    assert complete.model_refs("groq/") == ["groq/llama-3", "groq/llama-4", "groq/org/gemma:free"]


def test_a_listing_outside_the_folder_is_not_read(home: Path) -> None:
    (home / "cache" / "listings").mkdir(parents=True)
    (home / "cache" / "x.json").write_text(json.dumps({"models": [{"id": "m"}]}))
    assert complete.model_refs("../x/") == []


def test_the_formats_and_layouts_are_those_of_fetch() -> None:
    from nbllm.catalog import outputs

    assert (complete.FORMATS, complete.LAYOUTS) == (outputs.FORMATS, outputs.LAYOUTS)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_there_is_a_script_for_each_shell(shell: str) -> None:
    done = nbllm(env={"_NBLLM_COMPLETE": f"source_{shell}"})
    assert done.returncode == 0
    assert f"_NBLLM_COMPLETE=complete_{shell}" in done.stdout
