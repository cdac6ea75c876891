"""How soon the provider panel is there, and how it keeps up with typing and scrolling.

    python benchmarks/panel.py [--providers 300] [--models 10000] [--kernels 3] [--runs 5]

In a real JupyterLab and a headless Chromium, started as the browser tests start them, with so many providers of the
user's own beside the bundled ones, and a server on loopback whose list has so many models. Times are taken in the
page: from the command that runs the cell, or from the key stroke's own time stamp, to the moment after the frame with
the rows was painted. Writes `benchmarks/results/panel.json`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
RESULT = HERE / "results" / "panel.json"
sys.path[:0] = [str(HERE.parent / "src"), str(HERE.parent / "tests")]

from browser.lab import Lab, chromium, write_notebook  # noqa: E402
from wire_server import WireServer, answer  # noqa: E402

VISIBLE_MS, TYPING_MS = 500, 100
OPENS = 2
"""The cell that opens the panel."""

SETUP = """
import os; os.environ["NBLLM_HOME"] = {home!r}
import nbllm
from nbllm import aio
workspace = nbllm.workspace()
for n in range({providers}):
    workspace.registry.set_session(f"p{{n:03}}", base_url={url!r}, auth="none")
_ = aio.run(workspace.overview.models("p000", refresh=True))
"""

IN_PAGE = """
window.painted = (from) => new Promise((done) => requestAnimationFrame(() => {
  const after = new MessageChannel();  // a task after the frame: what the frame drew has been painted
  after.port1.onmessage = () => done(performance.now() - from);
  after.port2.postMessage(0);
}));
window.measureOpen = (cell) => new Promise((done) => {
  for (const old of document.querySelectorAll(".nbllm-panel")) old.dataset.old = "1";
  const notebook = [...window.jupyterapp.shell.widgets("main")].find((w) => w.context && w.content);
  notebook.content.activeCellIndex = cell;
  notebook.content.deselectAll();
  const began = performance.now();
  const look = () => {
    const row = document.querySelector(".nbllm-panel:not([data-old]) .nbllm-left .nbllm-row");
    if (row) window.painted(began).then(done); else requestAnimationFrame(look);
  };
  window.jupyterapp.commands.execute("notebook:run-cell").catch(() => 0);
  requestAnimationFrame(look);
});
window.watchTyping = (label) => {
  window.typed = [];
  const field = [...document.querySelectorAll(".nbllm-panel input")].find((e) => e.ariaLabel === label);
  const list = label === "Search models" ? ".nbllm-model-list" : ".nbllm-left .nbllm-list";
  const drawn = () => [...document.querySelector(list).querySelectorAll(".nbllm-row")];
  document.addEventListener("input", (event) => {  // on its way down: before the panel hears of it
    if (event.target !== field) return;
    for (const row of drawn()) row.dataset.before = "1";
    window.painted(event.timeStamp).then((ms) => {
      window.typed.push({ ms, anew: drawn().every((row) => !row.dataset.before) });
    });
  }, true);
  field.focus();
};
window.measureScroll = async (selector, step) => {
  const list = document.querySelector(selector);
  let frames = 0, blank = 0, mostDrawn = 0, longest = 0, last = performance.now();
  for (let top = 0; top < list.scrollHeight - list.clientHeight && frames < 400; top += step) {
    list.scrollTop = top;
    await new Promise(requestAnimationFrame);
    const box = list.getBoundingClientRect();
    const rows = [...list.querySelectorAll(".nbllm-row")].map((r) => r.getBoundingClientRect());
    rows.sort((a, b) => a.top - b.top);
    const whole = rows.length && rows[0].top <= box.top + 2 && rows.at(-1).bottom >= box.bottom - 2
      && rows.every((r, n) => n === 0 || r.top <= rows[n - 1].bottom + 1);
    frames += 1; if (!whole) blank += 1;
    mostDrawn = Math.max(mostDrawn, rows.length);
    const now = performance.now(); longest = Math.max(longest, now - last); last = now;
  }
  return { frames, "frames with blank rows": blank, "most rows drawn": mostDrawn,
    "longest frame_ms": Math.round(longest) };
};
"""


def listing(count: int) -> Any:
    rows = [{"id": f"vendor/model-{n:05}", "context_length": 8192} for n in range(count)]
    return answer(json.dumps({"data": rows}).encode(), kind="application/json")


def summary(times: list[float]) -> dict[str, Any]:
    return {"median_ms": round(statistics.median(times)), "max_ms": round(max(times)), "of": len(times)}


class Bench:
    """One notebook in one browser."""

    def __init__(self, lab: Lab, browser: Any, setup: str) -> None:
        self.lab = lab
        name = write_notebook(lab.folder / "panel.ipynb", [setup, "%load_ext nbllm", "%llm_providers"]).name
        self.page = lab.open(browser, name, size=(1250, 950))
        self.page.evaluate(f"() => {{ {IN_PAGE} return 1 }}")

    def run(self, cell: int) -> None:
        self.page.evaluate(
            "n => { const w = [...window.jupyterapp.shell.widgets('main')].find(w => w.context && w.content);"
            " w.content.activeCellIndex = n; w.content.deselectAll();"
            " window.jupyterapp.commands.execute('notebook:run-cell').catch(() => 0); return 1 }",
            cell,
        )
        self.page.wait_for_timeout(300)
        self.lab.wait_until_idle(self.page, limit_s=120)

    def opening_ms(self) -> float:
        took = float(self.page.evaluate("n => window.measureOpen(n)", OPENS))
        self.lab.wait_until_idle(self.page)
        return took

    def fresh_kernel(self) -> None:
        self.page.evaluate(
            "async () => { const w = [...window.jupyterapp.shell.widgets('main')]"
            ".find(w => w.context && w.sessionContext); await w.sessionContext.session.kernel.restart(); return 1 }"
        )
        self.lab.wait_until_idle(self.page)
        self.run(0)
        self.run(1)

    def typing(self, label: str, words: tuple[str, ...]) -> dict[str, Any]:
        self.page.evaluate("label => { window.watchTyping(label); return 1 }", label)
        for word in words:
            self.page.keyboard.type(word, delay=150)
            for _ in word:
                self.page.keyboard.press("Backspace", delay=20)
                self.page.wait_for_timeout(130)
        self.page.wait_for_timeout(500)
        typed = self.page.evaluate("() => window.typed")
        assert all(each["anew"] for each in typed), "rows of the search before were still there"
        assert len(typed) == 2 * sum(map(len, words))
        return summary([each["ms"] for each in typed])

    def scroll(self, selector: str, step: int) -> dict[str, Any]:
        return dict(self.page.evaluate("([s, n]) => window.measureScroll(s, n)", [selector, step]))

    def open_big(self) -> float:
        """From the click on the provider to its models on the page."""
        self.page.get_by_label("Search providers").fill("p000")
        self.page.locator(".nbllm-left .nbllm-row", has_text="p000").first.wait_for()
        return float(
            self.page.evaluate(
                "() => new Promise((done) => { const began = performance.now();"
                " document.querySelector('.nbllm-left .nbllm-row').click();"
                " const look = () => document.querySelector('.nbllm-model-list .nbllm-row')"
                "  ? window.painted(began).then(done) : requestAnimationFrame(look); requestAnimationFrame(look); })"
            )
        )


def measure(asked: argparse.Namespace, folder: Path) -> dict[str, Any]:
    with WireServer([listing(asked.models)]) as server, Lab(folder) as lab, chromium() as browser:
        setup = SETUP.format(home=str(folder / "home"), providers=asked.providers, url=server.url)
        bench = Bench(lab, browser, setup)
        first = []
        for _ in range(asked.kernels):
            bench.fresh_kernel()
            first.append(bench.opening_ms())
        again = [bench.opening_ms() for _ in range(asked.runs)]
        bench.page.locator("[data-filter=all]").click()
        rows = int(bench.page.locator(".nbllm-counts").inner_text().split(" of ")[1].split()[0])
        result = {
            "panel visible, first in its kernel": summary(first) | {"limit_ms": VISIBLE_MS},
            "panel visible, later ones": summary(again) | {"limit_ms": VISIBLE_MS},
            "typing in the search of providers": bench.typing("Search providers", ("p29", "127.0", "anthropic"))
            | {"limit_ms": TYPING_MS},
            "scrolling the providers": bench.scroll(".nbllm-left .nbllm-list", 97),
            "from click to models": {"ms": round(bench.open_big())},
            "typing in the search of models": bench.typing("Search models", ("77", "vendor", "model-0123"))
            | {"limit_ms": TYPING_MS},
            "scrolling the models": bench.scroll(".nbllm-model-list", 751),
        }
        bench.page.context.close()
    return {"conditions": conditions(asked, rows, browser_version=browser.version), **result}


def conditions(asked: argparse.Namespace, rows: int, *, browser_version: str) -> dict[str, Any]:
    import jupyterlab

    return {
        "python": platform.python_version(), "system": f"{platform.system()} {platform.machine()}",
        "processors": os.cpu_count(), "load": [round(x, 1) for x in os.getloadavg()], "date": time.strftime("%Y-%m-%d"),
        "jupyterlab": jupyterlab.__version__, "chromium": browser_version, "providers": rows, "models": asked.models,
    }  # fmt: skip


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--providers", type=int, default=300)
    parser.add_argument("--models", type=int, default=10_000)
    parser.add_argument("--kernels", type=int, default=3)
    parser.add_argument("--runs", type=int, default=5)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = measure(asked, Path(folder))
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
