"""The notebooks as pages of the site: each is there, and what a notebook shows is shown without harm."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import course
from pages import REPO

pytest.importorskip("mkdocs")

BOOKS = sorted(course.NOTEBOOKS.glob("*.ipynb"))


@pytest.fixture(scope="module")
def hook() -> ModuleType:
    """As MkDocs loads it: a file, not a module of a package."""
    spec = importlib.util.spec_from_file_location("notebook_pages", REPO / "docs" / "notebook_pages.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _written(path: Path, *cells: dict[str, Any]) -> Path:
    path.write_text(json.dumps({"cells": list(cells), "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    return path


def _words(text: str) -> dict[str, Any]:
    return {"cell_type": "markdown", "source": text}


def _code(text: str, *outputs: dict[str, Any]) -> dict[str, Any]:
    return {"cell_type": "code", "source": text, "outputs": list(outputs)}


@pytest.mark.parametrize("notebook", BOOKS, ids=[b.stem for b in BOOKS])
def test_every_cell_and_every_output_of_the_course_is_on_its_page(notebook: Path, hook: ModuleType) -> None:
    """In order, the outputs by their marks."""
    cells = json.loads(notebook.read_text())["cells"]
    page = hook.page_markdown(notebook)
    at = 0
    for number, cell in enumerate(cells):
        source = "".join(cell["source"])
        if cell["cell_type"] == "code":
            at = page.index(source, at)
            for place in range(len(cell["outputs"])):
                at = page.index(f"<!-- output {number}.{place} -->", at)
    assert page.count("<!-- output") == sum(len(c.get("outputs", ())) for c in cells)
    assert page.startswith("# ")


@pytest.mark.parametrize("notebook", BOOKS, ids=[b.stem for b in BOOKS])
def test_every_notebook_is_in_the_menu(notebook: Path, hook: ModuleType) -> None:
    """In mkdocs.yml, by the name of its page."""
    assert f"- {hook.page_of(notebook)}\n" in (REPO / "mkdocs.yml").read_text()


def test_text_of_an_output_is_never_markup(hook: ModuleType) -> None:
    """Whatever a model or a program printed, and the colours of a terminal are gone."""
    text = "\x1b[31m<script>alert(1)</script>\x1b[0m & </div>"
    for output in (
        {"output_type": "stream", "name": "stdout", "text": [text]},
        {"output_type": "error", "ename": "E", "evalue": "", "traceback": [text]},
        {"output_type": "execute_result", "data": {"text/plain": text}},
    ):
        found = hook.output_html(output)
        assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; &lt;/div&gt;" in found
        assert "<script" not in found
        assert "\x1b" not in found


def test_html_and_pictures_come_before_text(hook: ModuleType) -> None:
    """A notebook shows the richest of what an output has."""
    data = {"text/plain": "plain", "image/svg+xml": ["<svg>", "</svg>"], "text/html": "<b>rich</b>"}
    output = {"output_type": "display_data", "data": data}
    assert "<b>rich</b>" in hook.output_html(output)
    del data["text/html"]
    assert "<svg></svg>" in hook.output_html(output)


def test_a_cell_with_a_fence_in_it_stays_one_block(tmp_path: Path, hook: ModuleType) -> None:
    """A prompt may hold Markdown."""
    prompt = "%%chat\nWhat is this?\n```python\n1\n```"
    page = hook.page_markdown(_written(tmp_path / "09-x.ipynb", _words("# X\n\nAim: y."), _code(prompt)))
    assert f"````text\n{prompt}\n````" in page


def test_the_name_of_a_notebook_becomes_a_link_to_its_page(tmp_path: Path, hook: ModuleType) -> None:
    """One that is not there stays as it is written."""
    words = _words("Next: *05-compare-models*, not *99-nothing*.")
    page = hook.page_markdown(_written(tmp_path / "09-x.ipynb", _words("# X\n\nAim: y."), words))
    assert "Next: [Compare models](05-compare-models.md), not *99-nothing*." in page
