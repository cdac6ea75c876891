"""Takes the pictures of the documentation in a real JupyterLab and a real browser.

    PYTHONPATH=src:tests python docs/images/make.py [FOLDER]

Without FOLDER `first-chat.png` and `comparison.png` are written beside this file. FOLDER gets them also in the dark
theme, and the first at the width of a telephone, to be looked at. The comparison is the one of the course's fifth
notebook, from its recording of real llama.cpp servers.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from browser.lab import Lab, chromium, write_notebook

CELLS = (
    '%load_ext nbllm\ncomments = ["Too slow!", "I like the colours.", "It lost my file."]',
    "%%chat\nHow do I send a table or a figure along?",
    "%llm_providers",
    "%%chat demo/error-401\nWhich of these comments are complaints? {{comments}}",
)
_RECORDING = Path(__file__).resolve().parents[2] / "notebooks" / "05-compare-models.replay.jsonl"
COMPARISON = (
    f"""%load_ext nbllm
state = %llm_replay replay {_RECORDING}
for place, name in enumerate(("alder", "birch", "cedar"), 18191):
    get_ipython().run_line_magic("llm_providers", f"add {{name}} --base-url http://127.0.0.1:{{place}}/v1")
things = "a lamp,a river,a letter,a market,a winter,a mirror,a signal,a meadow,an engine,a candle".split(",")
places = ["in a harbour", "in a valley", "on paper", "at night"]
table = [{{"thing": thing, "place": place}} for thing in things for place in places]
def words(reply, case): return min(len(reply.text.split()), 20)""",
    "%%compare -m alder/babble,birch/babble,cedar/babble --data table -p max_tokens=20 --score words -o result\n"
    "Tell me about {{thing}} {{place}}.",
    'result.plot("differences")',
    'result.stats()[0]["sentence"]',
)
PICTURES = (
    ("first-chat.png", "light", "lab", (1280, 900), CELLS, 0),
    ("comparison.png", "light", "lab", (1280, 1080), COMPARISON, 1),
    ("first-chat-dark.png", "dark", "lab", (1280, 900), CELLS, 0),
    ("comparison-dark.png", "dark", "lab", (1280, 1080), COMPARISON, 1),
    ("first-chat-narrow.png", "light", "notebook", (390, 844), CELLS, 0),
)
"""File, theme, application, size, cells, and the cell that stands on top."""


def main(folder_named: str | None) -> None:
    """Take the pictures."""
    target = Path(folder_named or Path(__file__).parent)
    for name, theme, app, size, cells, top in PICTURES if folder_named else PICTURES[:2]:
        with tempfile.TemporaryDirectory() as folder, chromium() as browser, Lab(Path(folder), theme=theme) as lab:
            notebook = write_notebook(Path(folder) / "picture.ipynb", cells)
            page = lab.open(browser, notebook.name, size=size, app=app)
            if app == "lab":
                page.evaluate("() => { const s = window.jupyterapp.shell; s.collapseLeft(); s.collapseRight() }")
            lab.run_all(page)
            lab.save(page)
            page.evaluate(f"() => document.querySelectorAll('.jp-Notebook .jp-Cell')[{top}].scrollIntoView()")
            page.wait_for_timeout(800)
            page.screenshot(path=str(target / name), full_page=app == "notebook")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else None)
