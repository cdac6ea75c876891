"""Takes the pictures of the documentation in a real JupyterLab and a real browser.

    PYTHONPATH=src:tests python docs/images/make.py [FOLDER]

Without FOLDER `first-chat.png` is written beside this file. FOLDER gets the same also in the dark theme and at the
width of a telephone, to be looked at.
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
PICTURES = (
    ("first-chat.png", "light", "lab", (1280, 900)),
    ("first-chat-dark.png", "dark", "lab", (1280, 900)),
    ("first-chat-narrow.png", "light", "notebook", (390, 844)),
)


def main(folder_named: str | None) -> None:
    """Take the pictures."""
    target = Path(folder_named or Path(__file__).parent)
    for name, theme, app, size in PICTURES if folder_named else PICTURES[:1]:
        with tempfile.TemporaryDirectory() as folder, chromium() as browser, Lab(Path(folder), theme=theme) as lab:
            notebook = write_notebook(Path(folder) / "first-chat.ipynb", CELLS)
            page = lab.open(browser, notebook.name, size=size, app=app)
            if app == "lab":
                page.evaluate("() => { const s = window.jupyterapp.shell; s.collapseLeft(); s.collapseRight() }")
            lab.run_all(page)
            lab.save(page)
            page.evaluate("() => document.querySelector('.jp-Notebook .jp-Cell').scrollIntoView()")
            page.wait_for_timeout(800)
            page.screenshot(path=str(target / name), full_page=app == "notebook")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else None)
