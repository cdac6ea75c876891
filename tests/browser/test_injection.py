"""Hostile answers in a real JupyterLab and a real browser: nothing runs, nothing is fetched.

Every payload is shown live (cut into pieces, each piece a picture), then as the finished answer, then saved and
reopened as a trusted notebook. A server on loopback counts who asks it for anything. The control shows a few of the
same payloads with `IPython.display.Markdown`: they must get through, or the test sees nothing.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from browser.lab import Lab, chromium, need_browser, write_notebook
from payloads import NAIVE, PAYLOADS, with_canary

pytestmark = [pytest.mark.browser, pytest.mark.timeout(150)]

LIVE = """
import json
from nbllm.messages import Delta, FinishReason, Reply
from nbllm.notebook.display import LiveAnswer
def show(first, last):
    for text in json.load(open("payloads.json"))[first:last]:
        answer = LiveAnswer("demo/hostile", live=True)
        step = max(1, len(text) // 4)
        for at in range(0, len(text), step):
            answer._screen._due_at = 0  # every piece is shown, without the wait that spares the browser
            answer.add(Delta(text=text[at:at + step], reasoning=text[at:at + step]))
        answer.finish(Reply(text, "demo", "hostile", FinishReason.STOP, reasoning=text))
"""
PROBE = 'display({"text/html": r"<p id=probe>$\\sum \\alpha$</p>", "text/plain": ""}, raw=True)'
"""A formula of the user's own: no answer may have changed what its commands mean."""
A_CELL = 40
"""JupyterLab folds away what comes after the 50th output of a cell."""
NAIVELY = """
import json
from IPython.display import Markdown, display
for text in json.load(open("naive.json")):
    display(Markdown(text))
"""
INSPECT = """() => {
  const foreign = new Set(('script iframe object embed img image picture video audio source link meta base form input' +
    ' button template').split(' '));
  const found = [], outputs = [...document.querySelectorAll('.jp-OutputArea-output')];
  for (const element of outputs.flatMap(o => [...o.querySelectorAll('*')])) {
    const tag = element.tagName.toLowerCase();
    if (foreign.has(tag)) found.push(tag);
    for (const { name, value } of element.attributes) {
      if (name.startsWith('on')) found.push(`${tag} ${name}`);
      const link = /^(href|xlink:href|src|action|formaction|background|poster|srcset)$/.test(name);
      if (link && !/^(https?:|mailto:|#)/i.test(value.trim())) found.push(`${tag} ${name}=${value}`);
    }
  }
  return { found, outputs: outputs.length, formulas: document.querySelectorAll('mjx-container').length,
           answers: document.querySelectorAll('.jp-OutputArea-output .nbllm').length, pwned: window.pwned ?? null,
           probe: document.querySelector('#probe math')?.textContent ?? null };
}"""


class Canary:
    """A server that nobody should ask for anything."""

    def __init__(self) -> None:
        self.hits: list[str] = []
        canary = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                canary.hits.append(self.path)
                self.send_response(204)
                self.end_headers()

            do_POST = do_HEAD = do_OPTIONS = do_GET

            def log_message(self, *_: object) -> None:
                """Not on the test's output."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Witness:
    """What a page asked for, and what it popped up."""

    def __init__(self, lab: Lab) -> None:
        self._own = lab.url
        self.strange: list[str] = []
        self.dialogs: list[str] = []

    def watch(self, page: Any) -> None:
        page.on("request", self._request)
        page.on("dialog", self._dialog)

    def _request(self, request: Any) -> None:
        url = request.url
        if not url.startswith((self._own, "data:", "blob:")) or "pwned" in url:
            self.strange.append(url)

    def _dialog(self, dialog: Any) -> None:
        self.dialogs.append(dialog.message)
        dialog.dismiss()


@pytest.fixture
def canary() -> Iterator[Canary]:
    need_browser()
    server = Canary()
    yield server
    server.close()


def test_hostile_answers_do_nothing_live_finished_saved_and_reopened(canary: Canary, tmp_path: Path) -> None:
    folder = tmp_path / "notebooks"
    folder.mkdir()
    (folder / "payloads.json").write_text(json.dumps(with_canary(PAYLOADS, canary.url)))
    (folder / "naive.json").write_text(json.dumps(with_canary(NAIVE, canary.url)))
    cells = [f"show({first}, {first + A_CELL})" for first in range(0, len(PAYLOADS), A_CELL)]
    write_notebook(folder / "hostile.ipynb", [LIVE, *cells, PROBE])
    write_notebook(folder / "control.ipynb", [NAIVELY])
    with Lab(folder) as lab, chromium() as browser:
        witness = Witness(lab)
        page = lab.open(browser, "hostile.ipynb", watch=witness.watch)
        lab.run_all(page)
        page.wait_for_timeout(1000)  # for MathJax, and for whatever would like to be late
        _check(page, witness, canary, "live")
        lab.save(page)
        lab.load(page, "hostile.ipynb")
        page.wait_for_timeout(1000)
        assert lab.is_trusted(page)
        _check(page, witness, canary, "reopened")

        control = Witness(lab)
        page = lab.open(browser, "control.ipynb", watch=control.watch)
        lab.run_all(page)
        page.wait_for_timeout(1000)
        naive = page.evaluate(INSPECT)
    assert canary.hits, "the control must be caught, or this test sees nothing"
    assert naive["pwned"] == 1
    assert any("javascript:" in what for what in naive["found"])


def _check(page: Any, witness: Witness, canary: Canary, when: str) -> None:
    seen = page.evaluate(INSPECT)
    assert seen["answers"] == len(PAYLOADS), when
    assert seen["outputs"] >= len(PAYLOADS), when
    assert seen["found"] == [], when
    assert seen["pwned"] is None, when
    assert seen["probe"] == "∑α", when
    assert witness.dialogs == [], when
    assert witness.strange == [], when
    assert canary.hits == [], when
