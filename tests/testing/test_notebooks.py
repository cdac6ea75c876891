"""`pytest --nbval` on somebody's notebooks: real nbval, real kernels, each with its own recording."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest

from chatting import says
from user_project import KEY, Project
from wire_server import WireServer

pytestmark = pytest.mark.timeout(600)  # processes of nbval, with kernels of their own
LOAD = "%load_ext nbllm"
NBVAL = ("--nbval", "notebooks")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project with two notebooks, which begin alike and go on otherwise."""
    project = Project(tmp_path / "project")
    ask = "%%chat peer/m -t 0\nhello"
    project.notebook("notebooks/one.ipynb", LOAD, ask, "import os\nos.chdir('/')", "%%chat peer/m\nand then?")
    project.notebook("notebooks/two.ipynb", LOAD, ask)
    return project


def record(project: Project, *answers: str, words: tuple[str, ...] = ("--nbval-lax", "notebooks")) -> str:
    """Run the notebooks with a provider that gives these answers; what pytest said."""
    with WireServer([says(text) for text in answers]) as server:
        project.peer = server.url
        done = project.pytest("--nbllm-replay=record", *words, key=True)
        project.peer = None
    assert done.code == 0, done.text
    return done.text


@pytest.fixture
def saved(project: Project) -> Project:
    """The notebook `two` is recorded, and saved with its output."""
    with WireServer([says("c")]) as server:
        project.peer = server.url
        project.save("notebooks/two.ipynb", "notebooks/two.replay.jsonl", mode="record", key=True)
        project.peer = None
    return project


def test_notebooks_run_from_their_recordings_strictly_without_key_and_network(project: Project) -> None:
    said = record(project, "a", "b", "c")
    assert "nbllm: 3 exchanges written into 2 recordings, 0 misses" in said
    assert "jupyter execute --inplace notebooks/one.ipynb" in said  # the saved outputs are those of other answers
    assert KEY not in "".join(p.read_text() for p in project.folder.rglob("*.replay.jsonl"))
    for name in ("one", "two"):
        project.save(f"notebooks/{name}.ipynb", f"notebooks/{name}.replay.jsonl")
    assert "a" in nbformat.read(project.folder / "notebooks/one.ipynb", 4).cells[1].outputs[0].data["text/plain"]
    done = project.pytest_with_all(*NBVAL, "--nbllm-replay=replay", NBLLM_OFFLINE="1")
    assert done.code == 0, done.text
    assert done.counts() == "nbllm: 3 answers from 2 recordings, 0 misses"


def test_workers_share_the_notebooks_and_no_notebook_is_torn_apart(project: Project) -> None:
    said = record(project, "a", "b", "c", words=("--nbval-lax", "notebooks", "-n", "2"))
    assert "(--dist loadfile)" in said
    assert "nbllm: 3 exchanges written into 2 recordings, 0 misses" in said


def test_shuffled_tests_do_not_shuffle_the_cells_of_a_notebook(tmp_path: Path) -> None:
    project = Project(tmp_path / "project")
    for name in ("one", "two"):
        project.notebook(f"notebooks/{name}.ipynb", "n = 0", *[f"assert n == {i}; n += 1" for i in range(12)])
    project.write("tests/test_it.py", "def test_it(): pass")
    for seed in ("1", "2"):
        done = project.pytest("-p", "pytest_randomly", f"--randomly-seed={seed}", *NBVAL, "tests")
        assert done.code == 0, done.text
        assert "27 passed" in done.text


def test_another_answer_than_the_saved_one_fails_its_cell(saved: Project) -> None:
    file = saved.folder / "notebooks/two.replay.jsonl"
    text = file.read_text()
    assert '\\"content\\": \\"c\\"' in text
    file.write_text(text.replace('\\"content\\": \\"c\\"', '\\"content\\": \\"other\\"'))
    done = saved.pytest("--nbval", "notebooks/two.ipynb", "--nbllm-replay=replay")
    assert done.code == 1
    assert "FAILED notebooks/two.ipynb::Cell 1" in done.text
    assert "1 failed, 1 passed" in done.text


def test_a_missing_recording_is_one_line_with_the_notebook_and_the_command(project: Project) -> None:
    done = project.pytest("--nbval", "notebooks/two.ipynb", "--nbllm-replay=replay")
    assert done.code == 1
    # A CI server's pytest says the error again, whole, in its summary.
    [error] = {line for line in done.text.splitlines() if line.startswith("ReplayMissError")}
    assert error.startswith("ReplayMissError: notebooks/two.ipynb has no recording")
    assert done.counts() == "nbllm: 0 answers from 0 recordings, 1 miss"
    command = "pytest --nbval-lax --nbllm-replay=record notebooks/two.ipynb"
    assert f"nbllm: notebooks/two.ipynb has no recording; make it: {command}" in done.text.splitlines()


def test_a_notebook_that_records_by_itself_is_replayed_all_the_same(tmp_path: Path) -> None:
    """As it was left after recording: its own magic names the mode, and may name the file."""
    project = Project(tmp_path / "project")
    ask = "%%chat peer/m\nhello"
    cells = [LOAD, "# NBVAL_IGNORE_OUTPUT\n%llm_replay record shared.replay.jsonl", ask]
    project.notebook("notebooks/one.ipynb", *cells)
    project.notebook("notebooks/two.ipynb", *cells[:2], ask, "%%chat peer/m\nand then?")
    record(project, "a", "b", "c")
    shared = project.folder / "notebooks/shared.replay.jsonl"
    before = shared.read_bytes()
    assert len(before.splitlines()) == 3
    check = "import nbllm\nassert [m.text for m in nbllm.conversation('main').messages][1::2] == "
    for name, wanted in (("one", ["a"]), ("two", ["b", "c"])):
        book = nbformat.read(project.folder / f"notebooks/{name}.ipynb", 4)
        book.cells.append(nbformat.v4.new_code_cell(f"{check}{wanted}"))
        nbformat.write(book, project.folder / f"notebooks/{name}.ipynb")
    done = project.pytest(*NBVAL, "--nbllm-replay=replay")
    assert done.code == 0, done.text
    assert done.counts() == "nbllm: 3 answers from 1 recording, 0 misses"
    assert shared.read_bytes() == before


def test_recording_does_not_compare_with_what_is_saved(saved: Project) -> None:
    said = record(saved, "d", words=("--nbval", "notebooks/two.ipynb"))
    assert "1 exchange written into 1 recording" in said
    done = saved.pytest("--nbval", "notebooks/two.ipynb", "--nbllm-replay=replay")
    assert "Cell outputs differ" in done.text  # until it is saved again, as the line above said


def test_without_a_mode_nbval_runs_as_without_the_plugin(tmp_path: Path) -> None:
    project = Project(tmp_path / "project")
    names = "[n for n in os.environ if n.startswith('NBLLM_REPLAY') or n in ('NBLLM_OFFLINE', 'NBLLM_HOME')]"
    project.notebook("notebooks/one.ipynb", f"import os\nassert {names} == ['NBLLM_HOME'], {names}")
    done = project.pytest(*NBVAL, NBLLM_HOME=str(tmp_path / "home"))
    assert done.code == 0, done.text
    assert "nbllm: " not in done.text
