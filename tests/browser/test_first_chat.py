"""A newcomer's first notebook, in a real JupyterLab, a real Notebook 7 and a real browser.

Three ways to have answers: the demo, and a llama.cpp server in both of its dialects. As a user would, each is chosen by
variables only: the notebook is the same.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from browser.lab import SRC, Lab, chromium, need_browser, write_notebook
from peers import Peers

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

NOTEBOOKS = SRC.parent / "notebooks"
FIRST = "01-first-chat.ipynb"
ASKING = ("cell-03", "cell-08")
"""The cells that show an answer."""
KEY = "sk-local"
WATCH = """() => {
  window.seen = [];   // one list an answer: how long its text was, each time that it had changed
  setInterval(() => document.querySelectorAll('.jp-OutputArea-output .nbllm').forEach((answer, i) => {
    const sizes = window.seen[i] ??= [], size = answer.textContent.length;
    if (sizes.at(-1) !== size) sizes.push(size);
  }), 20);
}"""
ANSWERS = """() => [...document.querySelectorAll('.jp-OutputArea-output .nbllm')].map(answer => ({
  head: answer.querySelector('.nbllm-head strong')?.innerText,
  tag: answer.querySelector('.nbllm-tag')?.innerText ?? null,
  body: answer.querySelector('.nbllm-body')?.innerText ?? '',
  warning: answer.querySelector('.nbllm-warning')?.innerText ?? null,
  foot: answer.querySelector('.nbllm-foot')?.innerText ?? null,
  seen: answer.checkVisibility() && answer.getBoundingClientRect().height > 40,
}))"""
ERRORS = """() => [...document.querySelectorAll(
  '[data-mime-type="application/vnd.jupyter.error"], [data-mime-type="application/vnd.jupyter.stderr"]'
)].map(e => e.innerText)"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    need_browser()
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, browser: Any) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("notebooks")
    with Lab(folder) as server:
        server.add_kernel("demo", {})
        yield server


@pytest.fixture(scope="module")
def with_llama(lab: Lab, peers: Peers) -> Lab:
    """The same, with a kernel for each dialect of the llama.cpp server."""
    peer = peers["llamacpp"]
    assert peer["key"] == KEY
    for name, kind in (("llamacpp", "openai"), ("anthropic", "anthropic")):
        ways = {"BASE_URL": peer[kind], "API_KEY": KEY}
        environ = {f"{name.upper()}_{k}": v for k, v in ways.items()} | {"NBLLM_MODEL": f"{name}/tiny-random"}
        lab.add_kernel(name, environ)
        # The random model may talk without an end, and its context is small.
        home = lab.own / "homes" / name
        home.mkdir(parents=True)
        (home / "config.toml").write_text(f"[providers.{name}.params]\nmax_tokens = 40\n")
    return lab


def copy(lab: Lab, kernel: str, app: str) -> str:
    """The notebook without its outputs, for this kernel."""
    notebook = json.loads((NOTEBOOKS / FIRST).read_text())
    notebook["metadata"]["kernelspec"] = {"name": kernel, "display_name": kernel, "language": "python"}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            cell |= {"outputs": [], "execution_count": None}
    name = f"{kernel}-{app}.ipynb"
    (lab.folder / name).write_text(json.dumps(notebook))
    return name


def cells_of(lab: Lab, name: str) -> dict[str, dict[str, Any]]:
    return {cell["id"]: cell for cell in json.loads((lab.folder / name).read_text())["cells"]}


def text(source: str | list[str]) -> str:
    return source if isinstance(source, str) else "".join(source)


def run_through(lab: Lab, browser: Any, kernel: str, app: str, ref: str) -> list[list[int]]:
    """Run the notebook from top to bottom and look at everything. How each answer grew."""
    name = copy(lab, kernel, app)
    page = lab.open(browser, name, app=app)
    page.evaluate(WATCH)
    lab.run_all(page)

    assert page.evaluate(ERRORS) == []
    answers = page.evaluate(ANSWERS)
    assert len(answers) == len(ASKING)
    for answer in answers:
        assert answer["head"] == ref
        assert answer["tag"] == ("demo" if kernel == "demo" else None)
        assert answer["seen"], answer
        assert answer["body"].strip() or "empty" in answer["warning"], answer
        assert re.search(r"\d+ in .*\d+ out.* · ", answer["foot"]), answer

    lab.save(page)
    saved = cells_of(lab, name)
    for cell in saved.values():
        assert cell["cell_type"] == "markdown" or cell["execution_count"]
    for cell_id in ASKING:
        (output,) = saved[cell_id]["outputs"]
        assert set(output["data"]) == {"text/html", "text/plain"}
        facts = output["metadata"]["nbllm"]
        assert f"{facts['provider']}/{facts['model']}" == ref
        assert facts["finish_reason"] in ("stop", "length")
        assert facts["usage"]["output_tokens"] > 0
        assert ref in text(output["data"]["text/html"])
    assert "demo/guide" in text(saved["cell-12"]["outputs"][0]["data"]["text/plain"]) or kernel != "demo"
    assert KEY not in (lab.folder / name).read_text()
    grown: list[list[int]] = page.evaluate("() => window.seen")
    page.context.close()
    return grown


@pytest.mark.parametrize("app", ["lab", "notebook"])
def test_the_first_notebook_runs_with_the_demo(lab: Lab, browser: Any, app: str) -> None:
    grown = run_through(lab, browser, "demo", app, "demo/guide")

    assert max(map(len, grown)) > 2, "the answers did not stream in"


@pytest.mark.peers
@pytest.mark.parametrize("app", ["lab", "notebook"])
@pytest.mark.parametrize("kernel", ["llamacpp", "anthropic"])
def test_the_first_notebook_runs_with_a_real_server(with_llama: Lab, browser: Any, kernel: str, app: str) -> None:
    run_through(with_llama, browser, kernel, app, f"{kernel}/tiny-random")


@pytest.mark.parametrize("app", ["lab", "notebook"])
def test_the_stop_button_keeps_what_had_arrived_and_the_next_cell_works(lab: Lab, browser: Any, app: str) -> None:
    sources = [
        "%load_ext nbllm",
        "%%chat demo/slow -o part\nTell me something long.",
        "part.finish_reason.value, len(part.text) > 0",
        "%%chat demo/echo\nstill there",
    ]
    name = f"stop-{app}.ipynb"
    write_notebook(lab.folder / name, sources)
    page = lab.open(browser, name, app=app)
    page.evaluate(WATCH)
    page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-cells').catch(() => 0); return 1 }")
    page.wait_for_function("() => window.seen[0]?.length > 4", timeout=30_000)
    page.locator(".jp-NotebookPanel-toolbar [data-command='notebook:interrupt-kernel']").first.click()
    lab.wait_until_idle(page)

    (answer,) = page.evaluate(ANSWERS)
    assert answer["head"] == "demo/slow"
    assert "Interrupted" in answer["warning"]
    assert len(answer["body"]) > 20
    (error,) = page.evaluate(ERRORS)
    assert error.splitlines()[0].startswith("KeyboardInterrupt")
    assert len(error.splitlines()) == 1

    page.evaluate(
        "() => { const n = window.jupyterapp.commands;"
        " document.querySelectorAll('.jp-Notebook .jp-CodeCell')[2].querySelector('.cm-content').focus(); return 1 }"
    )
    for _ in sources[2:]:
        page.keyboard.press("Shift+Enter")
        lab.wait_until_idle(page)
    lab.save(page)
    saved = list(cells_of(lab, name).values())
    partial = text(saved[1]["outputs"][0]["data"]["text/plain"])
    assert len(partial) > 20
    assert saved[1]["outputs"][0]["metadata"]["nbllm"]["finish_reason"] == "interrupted"
    assert text(saved[2]["outputs"][0]["data"]["text/plain"]) == "('interrupted', True)"
    assert "still there" in text(saved[3]["outputs"][0]["data"]["text/plain"])
    page.context.close()


def test_the_newcomers_command_serves_a_notebook_that_answers(browser: Any, tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    env = {**os.environ, "PYTHONPATH": str(SRC), "NBLLM_HOME": str(tmp_path / "newcomer")}
    env = {k: v for k, v in env.items() if not k.startswith("PYTEST")}
    log = tmp_path / "lab.log"
    with log.open("wb") as out:
        served = subprocess.Popen(
            [sys.executable, "-m", "nbllm", "lab", "--no-browser", "--port", str(port)],
            env=env, stdout=out, stderr=out, start_new_session=True,
        )  # fmt: skip
    try:
        url = _address(log, served)
        assert f":{port}/" in url
        page = browser.new_context(viewport={"width": 1200, "height": 900}).new_page()
        page.goto(url, wait_until="domcontentloaded")
        page.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=60_000)
        page.locator(".jp-Notebook .jp-CodeCell .cm-content").first.click()
        page.keyboard.press("Shift+Enter")  # %load_ext nbllm
        page.keyboard.press("Shift+Enter")  # the words between
        page.keyboard.press("Shift+Enter")  # %%chat
        page.wait_for_function(
            "() => [...document.querySelectorAll('.jp-InputPrompt')].filter(p => /\\[\\d+\\]/.test(p.innerText))"
            ".length >= 2",
            timeout=60_000,
        )
        (answer, *_) = page.evaluate(ANSWERS)
        assert (answer["head"], answer["tag"]) == ("demo/guide", "demo")
        assert "no model" in answer["body"]
        assert (tmp_path / "newcomer/notebooks" / FIRST).exists() or list((tmp_path / "newcomer").rglob(FIRST))
        page.context.close()
    finally:
        os.killpg(served.pid, signal.SIGINT)
        try:
            served.wait(3)
        except subprocess.TimeoutExpired:
            os.killpg(served.pid, signal.SIGTERM)
            served.wait(10)
        with contextlib.suppress(ProcessLookupError):  # JupyterLab itself was seen to hang while it ended
            os.killpg(served.pid, signal.SIGKILL)
        shutil.rmtree(tmp_path / "newcomer", ignore_errors=True)


def _address(log: Path, served: subprocess.Popen[bytes]) -> str:
    """The address with its token, as the command prints it, once something answers there."""
    end = time.monotonic() + 60
    while time.monotonic() < end and served.poll() is None:
        found = re.search(r"http://(?:localhost|127\.0\.0\.1):\S+token=\w+", log.read_text())
        if found:
            try:
                urllib.request.build_opener(urllib.request.ProxyHandler({})).open(found[0], timeout=5).close()
                return found[0]
            except OSError:
                pass
        time.sleep(0.2)
    raise AssertionError("`nbllm lab` did not come up:\n" + log.read_text()[-2000:])
