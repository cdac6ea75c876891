"""The workflow for GitHub Actions that the pages offer: its very commands, in somebody's project."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from chatting import says
from key_shapes import SHAPES
from pages import page
from user_project import REPO, Done, Project, plugin_words
from wire_server import WireServer

pytestmark = pytest.mark.timeout(600)  # processes of nbval, with kernels of their own
FILE = REPO / "docs/how-to/files/test-notebooks.yml"
TEST = "import nbllm\ndef test_it(nbllm_replay):\n    assert nbllm.chat('hi', model='peer/m').text == 'yes'\n"


def workflow() -> dict[Any, Any]:
    found: dict[Any, Any] = yaml.safe_load(FILE.read_text())
    return found


def job() -> dict[str, Any]:
    found: dict[str, Any] = workflow()["jobs"]["replay"]
    return found


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a notebook and a test, both recorded."""
    project = Project(tmp_path_factory.mktemp("template") / "project")
    project.write("tests/test_it.py", TEST)
    project.notebook("notebooks/one.ipynb", "%load_ext nbllm", "%%chat peer/m\nhello")
    with WireServer([says("yes")] * 2) as server:
        project.peer = server.url
        project.save("notebooks/one.ipynb", "notebooks/one.replay.jsonl", mode="record", key=True)
        assert project.pytest("--nbllm-replay=record", "tests", key=True).code == 0
    return project.folder


def run_steps(project: Project) -> list[tuple[str, Done]]:
    """Each step up to one that fails, in `bash -e` with the job's environment as a runner has it; without installs."""
    commands = project.folder.parent / "bin"
    commands.mkdir(exist_ok=True)
    by_hand = " ".join(plugin_words())
    for name, words in (("python", ""), ("nbllm", "-m nbllm"), ("pytest", f"-m pytest -p no:randomly {by_hand}")):
        (commands / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {words} "$@"\n')
        (commands / name).chmod(0o755)
    environ = {k: str(v) for k, v in job()["env"].items()}
    environ["PATH"] = f"{commands}{os.pathsep}{os.environ['PATH']}"
    done: list[tuple[str, Done]] = []
    for step in job()["steps"]:
        if "run" in step and not (done and done[-1][1].code):
            script = "\n".join(line.replace("python -m pip install", "true") for line in step["run"].splitlines())
            done.append((step["name"], project.run(["bash", "-e", "-c", script], project.environ(**environ))))
    return done


def copy(recorded: Path, tmp_path: Path) -> Project:
    done = Project(tmp_path / "project")
    for path in recorded.rglob("*"):
        if path.is_file() and path.suffix in (".py", ".ipynb", ".jsonl"):
            place = done.folder / path.relative_to(recorded)
            place.parent.mkdir(exist_ok=True)
            place.write_bytes(path.read_bytes())
    return done


def test_the_workflow_is_what_the_page_shows_and_asks_for_nothing_but_the_code() -> None:
    [shown] = [b.text for b in page(REPO / "docs/how-to/test-your-notebooks.md").blocks if b.language == "yaml"]
    assert yaml.safe_load(shown)["steps"] == job()["steps"]
    assert workflow()["permissions"] == {"contents": "read"}
    assert "secrets" not in FILE.read_text()
    assert {step["uses"].partition("/")[0] for step in job()["steps"] if "uses" in step} == {"actions"}
    packages = "nbllm ipykernel pytest nbval"
    assert f"python -m pip install {packages}\n" in job()["steps"][2]["run"]


def test_its_commands_pass_in_a_project_with_recordings(recorded: Path, tmp_path: Path) -> None:
    done = run_steps(copy(recorded, tmp_path))
    assert [(name, step.code) for name, step in done if step.code] == [], done[-1][1].text
    assert len(done) == 4
    assert done[1][1].text.count("1 good, 0 with a problem") == 2
    assert [step.counts() for _, step in done[2:]] == ["nbllm: 1 answer from 1 recording, 0 misses"] * 2


@pytest.mark.parametrize(
    ("break_it", "step"),
    [
        (lambda f: (f / "tests/test_it.replay.jsonl").unlink(), "Tests"),
        (lambda f: (f / "notebooks/one.replay.jsonl").unlink(), "Notebooks"),
        (
            lambda f: (f / "notebooks/one.replay.jsonl").write_text(
                (f / "notebooks/one.replay.jsonl").read_text().replace("yes", SHAPES[0].key())
            ),
            "No recording was edited, and none holds a key",
        ),
    ],
    ids=["no recording of the test", "no recording of the notebook", "a key"],
)
def test_its_commands_fail_where_they_should(recorded: Path, tmp_path: Path, break_it: Any, step: str) -> None:
    project = copy(recorded, tmp_path)
    break_it(project.folder)
    name, done = run_steps(project)[-1]
    assert (name, done.code != 0) == (step, True), done.text
