"""`nbllm compare FILE.toml`, as a user starts it."""

from __future__ import annotations

import csv
import json
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from cli.shell import nbllm, start
from compare_server import Models, echo
from model_server import ModelServer, listing

QUICK = {"NBLLM_DEMO_PACE_S": "0"}
GOOD = """
name = "study"
prompts = "What is {{word}}?"
models = ["demo/guide", "demo/echo"]
data = "words.csv"
scorers = ["contains:word"]
repeats = 2

[params]
max_tokens = [20, 50]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the file is; commands run elsewhere."""
    found = tmp_path / "studies"
    found.mkdir()
    (found / "words.csv").write_text("word,n\nprovider,1\nkey,2\n")
    (found / "good.toml").write_text(GOOD)
    return found


def compare(*words: str | Path, **options: Any) -> Any:
    return nbllm("compare", *map(str, words), env=QUICK, **options)


def write(folder: Path, text: str) -> Path:
    path = folder / "study.toml"
    path.write_text(text)
    return path


def test_a_file_is_compared_and_its_figures_go_to_standard_output(folder: Path) -> None:
    done = compare(folder / "good.toml")

    assert done.returncode == 0
    assert "demo/guide" in done.stdout
    assert "contains" in done.stdout
    assert "kept as study" in done.stderr
    assert "Traceback" not in done.stderr


def test_json_is_the_whole_of_standard_output(folder: Path) -> None:
    found = json.loads(compare(folder / "good.toml", "--json").stdout)

    assert found["name"] == "study"
    assert found["manifest"]["cells"] == {"ok": 16, "error": 0, "unasked": 0}
    assert [row["model"] for row in found["summary"]] == ["demo/guide"] * 2 + ["demo/echo"] * 2
    assert json.loads(compare(folder / "good.toml", "--dry-run", "--json").stdout)["stored"] == 16


def test_files_are_written_and_named_on_standard_error(folder: Path, tmp_path: Path) -> None:
    outs = [tmp_path / f"cells.{kind}" for kind in ("csv", "jsonl", "parquet", "html")]
    done = compare(folder / "good.toml", *(w for out in outs for w in ("--out", out)))

    assert done.returncode == 0
    assert len(list(csv.DictReader(outs[0].open()))) == 16
    assert [json.loads(line)["contains"] for line in outs[1].read_text().splitlines()].count(None) == 0
    assert outs[2].read_bytes()[:4] == b"PAR1"
    assert "How it was made" in outs[3].read_text()
    assert all(f"written: {out}" in done.stderr for out in outs)


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_data_is_looked_for_beside_the_file(folder: Path, kind: str) -> None:
    rows = [{"word": "provider"}, {"word": "key"}]
    if kind == "jsonl":
        (folder / "words.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif kind == "parquet":
        pytest.importorskip("polars").DataFrame(rows).write_parquet(folder / "words.parquet")
    path = write(folder, GOOD.replace("words.csv", f"words.{kind}"))

    assert json.loads(compare(path, "--dry-run", "--json").stdout)["cells"] == 16


def test_every_key_of_the_file_is_taken(folder: Path) -> None:
    path = write(
        folder,
        'name = "all"\nprompts = {short = "Say {{n}}.", long = "Please say {{n}}."}\n'
        'models = ["demo/guide", "demo/echo"]\ndata = [{n = 1}, {n = 2}]\nrepeats = 2\n'
        'scorers = {has = "contains:n"}\njudge = "demo/guide"\nrubric = "Short."\n'
        'system = "Be brief."\nbudget_usd = 1.5\nallow_unknown_price = true\nresume = false\nretry_errors = false\n'
        'seed = 3\nengine = "local"\nyes = true\nparams = {max_tokens = 9}\n',
    )
    found = json.loads(compare(path, "--json").stdout)

    assert found["manifest"]["cells"]["ok"] == 2 * 2 * 2 * 2
    assert found["manifest"]["grid"]["seed"] == 3
    assert set(found["manifest"]["scorers"]) == {"has"}
    assert found["manifest"]["judge"]["rubric_sha256"]
    assert found["manifest"]["system_sha256"]


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("nmae = 'x'\nprompts = 'hi'", "there is no key nmae", "did you mean name?"),
        ("zzz = 1", "there is no key zzz", "there are prompts"),
        ("prompts = ", "is not a TOML file", "--help"),
        ("prompts = 'hi'\nmodels = 5", "models takes a list of texts", ""),
        ("prompts = 'hi'\nmodels = ['demo/echo']\nrepeats = '3'", "repeats takes a whole number", ""),
        ("prompts = 'hi'\nmodels = ['demo/echo']\nrepeats = true", "repeats takes a whole number", ""),
        ("prompts = 'hi'\nmodels = [5]", "a model", ""),
        ("prompts = 'hi'\nmodels = ['demo/echo', 'demo/guide']\nengine = 'ray'", "ray", "local, dask, batch"),
        ("prompts = '{{x}}'\nmodels = ['demo/echo', 'demo/guide']\ndata = 'no.csv'", "no.csv", "check the path"),
        ("prompts = '{{x}}'\nmodels = ['demo/echo', 'demo/guide']\ndata = 'words.csv'", "'x'", "it has word"),
        ("prompts = '{{n}}'\nmodels = ['demo/echo', 'demo/guide']\ndata = 'study.toml'", "of which kind", ".csv"),
        ("prompts = 'hi'\nmodels = ['demo/echo', 'demo/guide']\nscorers = ['polite']", "polite", ""),
        ("models = ['demo/echo', 'demo/guide']", "no prompt", ""),
    ],
)
def test_a_file_that_cannot_be_used_is_one_line_and_status_2(folder: Path, text: str, message: str, hint: str) -> None:
    done = compare(write(folder, text))

    assert (done.returncode, done.stdout) == (2, "")
    error, told = done.stderr.splitlines()
    assert error.startswith("error: ")
    assert message in error
    assert hint in told


@pytest.mark.parametrize("words", [[], ["nosuch.toml"], ["--resume", "nosuch"], ["good.toml", "--out", "cells.xlsx"]])
def test_a_command_that_cannot_be_used_asks_nothing(folder: Path, words: list[str]) -> None:
    done = compare(*words, cwd=folder)

    assert done.returncode in (1, 2)
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr


def test_resuming_asks_what_is_missing_and_tells_what_it_does_not_ask(folder: Path) -> None:
    compare(folder / "good.toml")
    done = compare("--resume", "study", "--json")
    assert json.loads(done.stdout)["manifest"]["cells"]["ok"] == 16

    other = compare(write(folder, GOOD.replace("What is", "Who is")), "--resume", "study", "--json")
    assert json.loads(other.stdout)["manifest"]["cells"]["ok"] == 16
    assert "what was given as prompt is another" in json.loads(other.stdout)["notes"][0]


def test_cells_that_failed_are_status_1_and_asked_again_when_wanted(folder: Path) -> None:
    path = write(folder, "name = 'e'\nprompts = 'What is a provider?'\nmodels = ['demo/guide', 'demo/cut']")
    done = compare(path)

    assert done.returncode == 1
    assert "demo/cut" in done.stdout
    assert compare(path, "--retry-errors").returncode == 1
    refused = compare(write(folder, "prompts = 'hi'\nmodels = ['demo/guide', 'demo/error-401']"))
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "nothing was asked" in refused.stderr


def test_a_budget_without_prices_is_refused(folder: Path) -> None:
    done = compare(folder / "good.toml", "--budget", "1")

    assert done.returncode == 1
    assert "no price is known" in done.stderr
    assert compare(folder / "good.toml", "--budget", "1", "--allow-unknown-price").returncode == 0


def test_an_interrupt_keeps_what_is_done_and_says_how_to_go_on(folder: Path) -> None:
    models = Models(lambda model, prompt: time.sleep(20 if prompt == "slow" else 0) or echo(model, prompt))
    ref = "openai-compatible"
    path = write(folder, f"name = 'long'\nprompts = ['quick', 'slow']\nmodels = ['{ref}/a', '{ref}/b']\n")
    with ModelServer({"/v1/chat/completions": models, "/v1/models": listing("a", "b")}) as server:
        env = {"OPENAI_COMPATIBLE_BASE_URL": server.url, "OPENAI_COMPATIBLE_API_KEY": "none"}
        running = start("compare", str(path), env=env)
        while len(models.asked) < 4 and running.poll() is None:
            time.sleep(0.05)
        time.sleep(1.5)  # two answers are on the way to the disk
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=60)
        models.answer = echo
        again = nbllm("compare", "--resume", "long", "--json", env=env)

    assert running.returncode == 130, err
    assert "--resume long" in err.decode()
    assert "Traceback" not in err.decode()
    assert f"{ref}/a" in out.decode()
    assert json.loads(again.stdout)["manifest"]["cells"] == {"ok": 4, "error": 0, "unasked": 0}
    assert sum(count for (_, prompt), count in models.times().items() if prompt == "quick") == 2


def test_a_table_in_a_pipe_is_whole_and_without_colour(folder: Path) -> None:
    out = compare(folder / "good.toml").stdout

    assert "\x1b" not in out
    assert "cost_per" not in out  # nothing is known of it
    assert "n_prompts" in out
    assert "…" not in out
