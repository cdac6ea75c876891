"""`%%compare` in a real kernel: outputs, progress, interrupts, the Python functions, Tab, runners, imports."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from compare_server import Models, echo
from kernels import SRC, TESTS, Kernel, Message, Run
from key_shapes import SHAPES, traces
from model_server import ModelServer, listing


@pytest.fixture
def kernel(tmp_path: Path) -> Iterator[Kernel]:
    with Kernel(folder=tmp_path) as started:
        yield started


@pytest.fixture
def models() -> Models:
    return Models(echo)


@pytest.fixture
def server(models: Models) -> Iterator[ModelServer]:
    with ModelServer({"/v1/chat/completions": models, "/v1/models": listing("a", "b")}) as running:
        yield running


def lab(server: ModelServer, auth: str = "none") -> str:
    return (
        "%load_ext nbllm\nimport nbllm\n"
        f"row = nbllm.workspace().registry.set_session('lab', base_url={server.url!r}, kind='openai', auth={auth!r})\n"
        "rows = [{'n': f'row {n}'} for n in range(6)]"
    )


def left(run: Run) -> list[Message]:
    """The outputs that a front end keeps, which takes away what `clear_output` clears when the next one comes."""
    kept: list[Message] = []
    clear = False
    for message in run.messages:
        if message["msg_type"] == "clear_output":
            clear = True
        elif message["msg_type"] in ("display_data", "execute_result", "stream", "error"):
            kept, clear = ([] if clear else kept), False
            kept.append(message)
    return kept


def slow(models: Models, seconds: float = 0.25) -> None:
    def answer(model: str, prompt: str) -> str:
        time.sleep(seconds)
        return echo(model, prompt)

    models.answer = answer


def test_the_output_is_one_pair_and_progress_is_gone(kernel: Kernel, server: ModelServer, models: Models) -> None:
    slow(models)
    kernel.run(lab(server))
    began = time.monotonic()
    run = kernel.run("%%compare -m lab/a,lab/b --data rows\n{{n}}")
    seconds = time.monotonic() - began

    assert run.ok
    [output] = left(run)
    assert output["msg_type"] == "execute_result"
    assert set(output["content"]["data"]) == {"text/html", "text/plain"}
    displays = [m for m in run.messages if m["msg_type"] == "display_data"]
    updates = [m for m in run.messages if m["msg_type"] == "update_display_data"]
    assert len(displays) == 1
    assert "<progress" in displays[0]["content"]["data"]["text/html"]
    assert len(updates) <= 10 * seconds + 1
    assert kernel.value("(len(_), len(Out[2]), _ is Out[2])") == (12, 12, True)


def test_the_page_is_the_same_when_it_is_loaded_again(kernel: Kernel, server: ModelServer) -> None:
    kernel.run(lab(server))
    made = kernel.run("%%compare -m lab/a,lab/b --data rows -n 2 --name study\n{{n}}")
    loaded = kernel.run("nbllm.comparison('study')")
    again = kernel.run("%%compare -m lab/a,lab/b --data rows -n 2 --name study\n{{n}}")

    pages = [left(run)[-1]["content"]["data"] for run in (made, loaded, again)]
    assert pages[0] == pages[1] == pages[2]


def test_an_error_output_has_a_name_and_one_line(kernel: Kernel, server: ModelServer, models: Models) -> None:
    kernel.run(lab(server))
    run = kernel.run("%%compare -m lab/a,lab/b --budget 1\nhi")

    assert run.ename == "BudgetError"
    assert "no price is known for lab/a" in run.evalue
    assert "\n" not in run.evalue
    assert models.asked == []


def test_an_interrupt_ends_the_cell_in_one_line_and_keeps_what_finished(
    kernel: Kernel, server: ModelServer, models: Models
) -> None:
    def answer(model: str, prompt: str) -> str:
        time.sleep(8 if prompt == "row 5" else 0)
        return echo(model, prompt)

    models.answer = answer
    kernel.run(lab(server))
    cell = kernel.start("%%compare -m lab/a,lab/b --data rows --name study -o result\n{{n}}")
    while len(models.asked) < 12:
        time.sleep(0.05)
    time.sleep(1.5)  # ten answers are on the way to the disk
    kernel.interrupt()
    run = kernel.finish(cell)

    assert run.ename == "KeyboardInterrupt"
    assert run.error is not None
    assert len(run.error["traceback"]) == 1
    assert "10 of 12 cells are kept: --name study goes on" in run.error["traceback"][0]
    assert kernel.value("sorted({row['prompt'] for row in result.cells})") == [f"row {n}" for n in range(5)]
    models.answer = echo
    assert kernel.run("%%compare --name study --resume").ok
    assert kernel.value("len(_)") == 12
    assert len(models.asked) == 14


def test_the_awaited_function_runs_in_a_cell_and_can_be_interrupted(
    kernel: Kernel, server: ModelServer, models: Models
) -> None:
    kernel.run(lab(server))
    run = kernel.run("result = await nbllm.acompare('{{n}}', ['lab/a', 'lab/b'], data=rows)\nlen(result)")
    assert run.text == "12"
    slow(models, 8)
    cell = kernel.start("await nbllm.acompare('hi', ['lab/a', 'lab/b'], name='later')")
    while len(models.asked) < 14:
        time.sleep(0.05)
    kernel.interrupt()
    assert kernel.finish(cell).ename in ("KeyboardInterrupt", "CancelledError")
    assert kernel.value("1 + 1") == 2


def test_a_thread_may_compare_too(kernel: Kernel, server: ModelServer) -> None:
    kernel.run(lab(server))
    code = (
        "from concurrent.futures import ThreadPoolExecutor\n"
        "with ThreadPoolExecutor(2) as pool:\n"
        "    found = list(pool.map(lambda p: nbllm.compare(p, ['lab/a', 'lab/b']), ['hi', 'ho']))\n"
    )
    assert kernel.run(code).ok
    assert kernel.value("[row['text'] for c in found for row in c.cells]") == [
        "a says hi", "b says hi", "a says ho", "b says ho",
    ]  # fmt: skip


def test_no_part_of_a_key_is_in_any_output(tmp_path: Path, server: ModelServer, models: Models) -> None:
    key = SHAPES[0].key()
    with Kernel({"LAB_API_KEY": key}, folder=tmp_path) as kernel:
        kernel.run(lab(server, auth="bearer"))
        kernel.run("nbllm.workspace().registry.set_session('lab', env=['LAB_API_KEY'])")
        kernel.run("%%compare -m lab/a,lab/b --data rows --name study -o result\n{{n}}")
        kernel.run("result.manifest, list(result.cells), result.to_html('page.html'), result.to_jsonl('rows.jsonl')")
        assert traces(json.dumps(kernel.log, default=str), [key]) == []
        for file in tmp_path.glob("*.*"):
            assert traces(file.read_bytes().decode("utf-8", "replace"), [key]) == []


def test_tab_completes_options_models_scorers_names_and_engines(kernel: Kernel, server: ModelServer) -> None:
    kernel.run(lab(server))
    kernel.run("%%compare -m lab/a,lab/b --name study --quiet\nhi")

    assert "%%compare --retry-errors" in kernel.complete("%%compare --re")
    assert "%%compare -m demo/guide,demo/echo" in kernel.complete("%%compare -m demo/guide,demo/e")
    assert "%%compare demo/guide,demo/echo" in kernel.complete("%%compare demo/guide,demo/e")
    assert "%%compare -m demo/guide,demo/guide" not in kernel.complete("%%compare -m demo/guide,demo/g")
    assert "%%compare --score contains:" in kernel.complete("%%compare --score con")
    assert "%%compare --data rows" in kernel.complete("%%compare --data ro")
    assert "%%compare --name study" in kernel.complete("%%compare --name st")
    assert "%%compare --engine batch" in kernel.complete("%%compare --engine b")
    assert "%%compare --judge demo/guide" in kernel.complete("%%compare --judge demo/g")


def test_a_runner_without_a_front_end_gets_one_output(tmp_path: Path) -> None:
    notebook = nbformat.v4.new_notebook()
    for source in ("%load_ext nbllm", "%%compare -m demo/guide,demo/echo -p max_tokens=9 -n 3\nWhat is a key?"):
        notebook.cells.append(nbformat.v4.new_code_cell(source))
    env: dict[str, Any] = {"NBLLM_DEMO_PACE_S": "0.05"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", f"{SRC}:{TESTS}")
        patch.setenv("NBLLM_DEMO_PACE_S", env["NBLLM_DEMO_PACE_S"])
        NotebookClient(notebook, resources={"metadata": {"path": str(tmp_path)}}).execute()

    [output] = notebook.cells[1].outputs
    assert output.output_type == "execute_result"
    assert set(output.data) == {"text/html", "text/plain"}


def test_neither_loading_nor_a_dry_run_imports_what_is_heavy(kernel: Kernel) -> None:
    heavy = ("numpy", "scipy", "distributed", "dask", "pandas", "polars", "pyarrow", "anywidget")
    kernel.run("import sys\nbefore = set(sys.modules)\n%load_ext nbllm")
    assert kernel.value(f"[n for n in {heavy} if n in set(sys.modules) - before]") == []
    assert kernel.value("'nbllm.compare.comparison' in sys.modules") is False
    kernel.run("rows = [{'n': 1}]")
    assert kernel.run("%%compare -m demo/guide,demo/echo --data rows -n 3 --dry-run\n{{n}}").ok
    assert kernel.value(f"[n for n in {heavy} if n in set(sys.modules) - before]") == []
