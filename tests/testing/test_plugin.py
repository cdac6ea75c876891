"""The fixture `nbllm_replay`, in real runs of pytest in somebody's project."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from chatting import says
from user_project import KEY, PLUGIN, REPO, Project
from wire_server import WireServer

STORY = """
    import nbllm

    def ask(text):
        return nbllm.chat(text, model="peer/m").text
"""
ONE_TEST = """
    import story

    def test_end(nbllm_replay):
        assert story.ask("how does it end?") == "well"
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project with a module that asks a model."""
    project = Project(tmp_path / "project")
    project.write("story.py", STORY)
    return project


def record(project: Project, *answers: str, words: tuple[str, ...] = ()) -> str:
    """Run the tests with a provider that gives these answers; what was said."""
    with WireServer([says(text) for text in answers]) as server:
        project.peer = server.url
        done = project.pytest("--nbllm-replay=record", *words, key=True)
        project.peer = None
    assert done.code == 0, done.text
    return done.text


def lines(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_package_says_that_it_has_a_plugin() -> None:
    said = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]["entry-points"]["pytest11"]
    assert said == {"nbllm": PLUGIN}


def test_loading_the_plugin_loads_nothing_but_pytest_and_the_standard_library() -> None:
    script = (
        "import sys, pytest; before = set(sys.modules)\n"
        f"import {PLUGIN}\n"
        "new = {name.partition('.')[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names)\n"
        "print(*sorted(new)); print(*sorted(n for n in sys.modules if n.startswith('nbllm.')))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=REPO / "src")
    packages, modules = done.stdout.splitlines()
    assert packages == "nbllm"
    ours = "ledger", "notebooks", "plugin", "replaying"
    expected = {"nbllm.testing", *(f"nbllm.testing.{name}" for name in ours), "nbllm.transport"}
    assert set(modules.split()) == expected | {"nbllm.transport.under_test"}


def test_a_run_that_has_nothing_to_do_with_models_is_left_alone(project: Project) -> None:
    project.write("test_x.py", "import os\ndef test_x():\n    assert not [n for n in os.environ if 'REPLAY' in n]")
    done = project.pytest()
    assert done.code == 0, done.text
    assert not [line for line in done.text.splitlines() if line.startswith("nbllm:")]


def test_a_test_is_recorded_with_a_key_and_runs_without_one(project: Project) -> None:
    project.write("test_story.py", ONE_TEST)
    assert "nbllm: 1 exchange written into 1 recording, 0 misses" in record(project, "well")
    file = project.folder / "test_story.replay.jsonl"
    assert KEY not in file.read_text()
    done = project.pytest()
    assert done.code == 0, done.text
    assert done.counts() == "nbllm: 1 answer from 1 recording, 0 misses"
    assert sorted(p.name for p in project.folder.iterdir() if "replay" in p.name) == [file.name]


def test_a_missing_recording_fails_the_test_and_says_how_to_make_it(project: Project) -> None:
    project.write("tests/test_story.py", ONE_TEST)
    done = project.pytest("tests", PYTHONPATH=os.pathsep.join((str(project.folder), str(REPO / "src"))))
    assert done.code == 1
    [error] = [line for line in done.text.splitlines() if line.startswith("E ")]
    assert "ReplayMissError: tests/test_story.py::test_end has no recording" in error
    assert "`pytest --nbllm-replay=record tests/test_story.py::test_end`" in error
    assert done.counts() == "nbllm: 0 answers from 0 recordings, 1 miss"
    how = "nbllm: tests/test_story.py has no recording; make it: pytest --nbllm-replay=record tests/test_story.py"
    assert how in done.text.splitlines()


def test_a_command_is_named_from_where_the_user_stands(project: Project) -> None:
    project.write("pytest.ini", "[pytest]")
    project.write(
        "tests/test_story.py", "import nbllm\ndef test_end(nbllm_replay):\n    nbllm.chat('x', model='peer/m')"
    )
    done = project.pytest(folder=project.folder / "tests")
    assert "`pytest --nbllm-replay=record test_story.py::test_end`" in done.text


def test_a_changed_question_is_shown_beside_the_recorded_one(project: Project) -> None:
    project.write("test_story.py", ONE_TEST)
    record(project, "well")
    project.write("test_story.py", ONE_TEST.replace("end?", "begin?"))
    done = project.pytest()
    assert done.code == 1
    assert "test_story.replay.jsonl has no answer to this request; the nearest, line 1, differs in" in done.text
    assert "has no recording" not in done.text


def test_a_test_that_goes_on_after_a_miss_fails_unless_it_says_that_it_may(project: Project) -> None:
    project.write(
        "test_story.py",
        """
        import story

        def test_swallows(nbllm_replay):
            try:
                story.ask("?")
            except Exception:
                pass

        def test_looks_at_it(nbllm_replay):
            nbllm_replay.allow_misses = True
            try:
                story.ask("?")
            except Exception as exc:
                assert type(exc).__name__ == "ReplayMissError"
            assert len(nbllm_replay.misses) == 1
            assert nbllm_replay.answered == nbllm_replay.written == 0
        """,
    )
    done = project.pytest()
    assert "1 failed, 1 passed" in done.text
    assert "ReplayMissError, which the test did not let out: test_story.py::test_swallows has no recording" in done.text


@pytest.mark.parametrize(
    "head",
    [
        "@pytest.mark.nbllm_replay('answers/other.replay.jsonl')\ndef test_end():",
        "@pytest.mark.parametrize('nbllm_replay', ['answers/other.replay.jsonl'], indirect=True)\n"
        "def test_end(nbllm_replay):",
        "@pytest.mark.nbllm_replay('answers/other.replay.jsonl')\nclass TestIt:\n  def test_end(self):",
        "@pytest.mark.nbllm_replay('answers/other.replay.jsonl')\nclass TestIt(unittest.TestCase):\n"
        "  def test_end(self):",
    ],
    ids=["marker", "parameter", "class", "unittest"],
)
def test_another_recording_is_named_beside_the_test(project: Project, head: str) -> None:
    (project.folder / "answers").mkdir()
    body = "\n      assert nbllm.chat('?', model='peer/m').text == 'well'\n"
    (project.folder / "test_story.py").write_text(f"import nbllm, pytest, unittest\n{head}{body}")
    record(project, "well", words=("--strict-markers",))
    assert len(lines(project.folder / "answers" / "other.replay.jsonl")) == 1
    assert project.pytest("--strict-markers").counts() == "nbllm: 1 answer from 1 recording, 0 misses"


def test_each_test_has_its_own_answers_and_its_own_conversation(project: Project) -> None:
    """Two tests begin alike, get other answers, and go on from them; in any order, alone or together."""
    project.write(
        "test_story.py",
        """
        import pytest, story

        @pytest.mark.parametrize("first,second", [("a", "b"), ("c", "d")])
        def test_talk(nbllm_replay, first, second):
            assert story.ask("hello") == first
            assert story.ask("and then?") == second
        """,
    )
    record(project, "a", "b", "c", "d")
    assert len(lines(project.folder / "test_story.replay.jsonl")) == 4
    for words in ((), ("-k", "a-b"), ("-k", "c-d"), ("test_story.py::test_talk[c-d]", "test_story.py::test_talk[a-b]")):
        done = project.pytest(*words)
        assert done.code == 0, done.text


def test_what_a_recording_run_replaced_is_not_given_and_can_be_pruned(project: Project) -> None:
    project.write("test_story.py", ONE_TEST)
    record(project, "well")
    project.write("test_story.py", ONE_TEST.replace('"well"', '"badly"') + ONE_TEST.replace("test_end", "test_two"))
    record(project, "badly", "well")
    file = project.folder / "test_story.replay.jsonl"
    assert len(lines(file)) == 3
    assert project.pytest().code == 0
    pruned = project.run([sys.executable, "-m", "nbllm", "replay", "prune", str(file)], project.environ())
    assert "1 lines removed, 2 kept" in pruned.text
    assert project.pytest().code == 0


def test_a_replay_asks_nobody_and_leaves_keyring_and_home_of_the_user_alone(project: Project) -> None:
    project.write("test_story.py", ONE_TEST)
    project.write("trap.py", "from pathlib import Path\nPath('sprung').touch()\nclass Keyring: priority = 9")
    record(project, "well")
    home = project.folder.parent / "fresh"
    home.mkdir()
    with WireServer([says("well")]) as server:
        project.peer = server.url
        environ = {"HOME": str(home), "PYTHON_KEYRING_BACKEND": "trap.Keyring"}
        done = project.pytest(key=True, **environ)
        assert done.code == 0, done.text
        assert server.requests == []
    assert not (project.folder / "sprung").exists()
    assert not [path for path in home.rglob("*") if "nbllm" in path.name]


def test_questions_outside_of_tests_are_not_paid_while_replaying(project: Project) -> None:
    project.write("test_x.py", "import nbllm\nnbllm.chat('hi', model='far/m')\ndef test_x(): pass")
    far = {"FAR_BASE_URL": "https://far.invalid/v1", "FAR_API_KEY": KEY}
    done = project.pytest("--nbllm-replay=replay", **far)
    assert "OfflineError" in done.text


@pytest.mark.parametrize(
    ("words", "environ", "ini", "mode"),
    [
        ((), {}, "", "replay"),
        ((), {}, "auto", "auto"),
        ((), {"NBLLM_REPLAY": "off"}, "auto", "off"),
        ((), {"NBLLM_REPLAY": "auto:elsewhere.replay.jsonl"}, "", "auto"),
        (("--nbllm-replay=record",), {"NBLLM_REPLAY": "off"}, "auto", "record"),
    ],
)
def test_the_mode_comes_from_the_command_line_then_the_environment_then_the_ini_file(
    project: Project, words: tuple[str, ...], environ: dict[str, str], ini: str, mode: str
) -> None:
    project.write("pytest.ini", f"[pytest]\nnbllm_replay = {ini}")
    project.write("test_x.py", f"def test_x(nbllm_replay):\n    assert nbllm_replay.mode == {mode!r}")
    done = project.pytest(*words, **environ)
    assert done.code == 0, done.text
    assert (f"nbllm: {mode}" in done.text.splitlines()) is bool(words or environ or ini)


def test_a_mode_that_there_is_not_is_wrong_usage(project: Project) -> None:
    project.write("test_x.py", "def test_x(): pass")
    assert project.pytest("--nbllm-replay=rewind").code == 4
    done = project.pytest("-o", "nbllm_replay=rewind")
    assert done.code == 4
    assert "nbllm_replay is 'rewind', and takes one of replay, auto, record, off" in done.text


def test_off_asks_the_provider_and_writes_nothing(project: Project) -> None:
    project.write("test_story.py", ONE_TEST)
    with WireServer([says("well")]) as server:
        project.peer = server.url
        assert project.pytest("--nbllm-replay=off", key=True).code == 0
        assert len(server.requests) == 1
    assert not list(project.folder.glob("*.jsonl"))


def test_workers_count_together(project: Project) -> None:
    for number in range(3):
        project.write(f"test_{number}.py", ONE_TEST)
    record(project, "well", "well", "well", words=("-n", "2"))
    done = project.pytest("-n", "2")
    assert done.code == 0, done.text
    assert done.counts() == "nbllm: 3 answers from 3 recordings, 0 misses"


def test_an_exchange_with_a_key_is_not_recorded_and_the_run_says_so(project: Project) -> None:
    project.write("test_story.py", ONE_TEST.replace("how does it end?", f"is {KEY} a key?"))
    text = record(project, "well")
    assert "nbllm: 0 answers from 0 recordings, 0 misses, 1 not recorded" in text
    assert "nbllm: an exchange with peer was not recorded: something in it looks like a key" in text
    assert not list(project.folder.glob("*.jsonl"))


def test_a_broken_line_is_named_at_the_end_and_the_rest_works(project: Project) -> None:
    project.write("test_story.py", ONE_TEST)
    record(project, "well")
    with (project.folder / "test_story.replay.jsonl").open("a") as file:
        file.write("<<<<<<< ours\nnonsense\n")
    done = project.pytest()
    assert done.code == 0, done.text
    assert "nbllm: test_story.replay.jsonl, line 3 is broken" in done.text.splitlines()
    assert done.counts() == "nbllm: 1 answer from 1 recording, 0 misses"


def test_a_workspace_that_was_there_before_is_there_again_afterwards(project: Project) -> None:
    project.write(
        "test_story.py",
        """
        import nbllm

        BEFORE = nbllm.workspace()

        def test_other(nbllm_replay):
            assert nbllm.workspace() is not BEFORE

        def test_same():
            assert nbllm.workspace() is BEFORE
        """,
    )
    done = project.pytest()
    assert done.code == 0, done.text


def test_a_process_that_a_test_starts_answers_from_its_recording(project: Project) -> None:
    project.write(
        "test_story.py",
        """
        import subprocess, sys

        def test_command(nbllm_replay):
            words = [sys.executable, "-m", "nbllm", "chat", "-m", "peer/m", "hello"]
            done = subprocess.run(words, capture_output=True, text=True)
            assert done.stdout.strip() == "well", done.stderr
        """,
    )
    record(project, "well")
    done = project.pytest()
    assert done.code == 0, done.text
    assert done.counts() == "nbllm: 1 answer from 1 recording, 0 misses"


def test_nothing_stays_in_the_folder_for_temporary_files(project: Project) -> None:
    project.write("test_story.py", ONE_TEST)
    place = project.folder.parent / "tmp"
    place.mkdir()
    project.pytest(TMPDIR=str(place))
    assert not list(place.glob("nbllm-*"))
