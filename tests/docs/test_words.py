"""Names are spelled as the glossary has them, and what docstrings and comments point to is there."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from pages import DOCS, REPO, pages

_CODE = re.compile(
    r"```.*?```|`[^`\n]+`|^\s*(?:>>>|\$) .*$|^ {4,}[%$\w].*[=(%].*$|\]\([^)]*\)|<[^>\n]*>|\w+://\S+|[\w./-]*/[\w./-]+"
    r"|(?:github|gitlab)\.com\S*",
    re.DOTALL | re.MULTILINE,
)
_PATH = re.compile(r"(?<![\w/.$-])(?:docs|tests|benchmarks|notebooks|src/nbllm)/[\w./-]*\w")
_ELSEWHERE = {
    "docs/config/README.md",  # of crush
    "notebooks/story.ipynb", "tests/test_story.py", "tests/test_comments.py",  # of a project that a page tells of
    "notebooks/NN-name.ipynb",  # one to come
}  # fmt: skip
"""Paths that are not in a checkout."""


# ---------------------------------------------------------------- what is read


def prose(text: str) -> str:
    """The text without code, addresses and links' targets, with as many lines."""
    return _CODE.sub(lambda found: " " + "\n" * found[0].count("\n"), text)


def _pages() -> Iterator[tuple[str, str]]:
    for page in pages():
        text = page.text
        if page.path == DOCS / "glossary.md":  # its table has the wrong spellings
            text = text.partition("## Spelling")[0]
        yield page.id, re.sub(r"\A---\n.*?\n---\n", "", text, flags=re.DOTALL)


def _notebooks() -> Iterator[tuple[str, str]]:
    for path in sorted((REPO / "notebooks").rglob("*.ipynb")):
        for number, cell in enumerate(json.loads(path.read_text(encoding="utf-8"))["cells"], 1):
            if cell["cell_type"] == "markdown":
                yield f"{path.relative_to(REPO)}, cell {number}", "".join(cell["source"])


def _docstrings() -> Iterator[tuple[str, str]]:
    """Docstrings, and the strings below fields that document them."""
    for path in sorted((REPO / "src").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            value = node.value if isinstance(node, ast.Expr) else None
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                yield f"{path.relative_to(REPO)}:{node.lineno}", value.value


@cache
def texts() -> tuple[tuple[str, str], ...]:
    """Everything that people read, with its place."""
    return tuple((where, prose(text)) for where, text in (*_pages(), *_notebooks(), *_docstrings()))


# ---------------------------------------------------------------- spelling


def spellings() -> list[tuple[str, str]]:
    """Wrong and right, from the glossary's table."""
    table = (DOCS / "glossary.md").read_text(encoding="utf-8").partition("## Spelling")[2]
    rows = re.findall(r"^\| ([^|]+?) \| ([^|]+?) \|$", table, re.MULTILINE)[1:]
    return [(wrong, right) for right, many in rows if right != "---" for wrong in many.split(", ")]


@pytest.mark.parametrize(("wrong", "right"), spellings())
def test_a_name_is_spelled_as_the_glossary_has_it(wrong: str, right: str) -> None:
    word = re.compile(rf"(?<![\w.-]){re.escape(wrong)}(?![\w-])(?!\.\w)")
    found = [where for where, text in texts() if word.search(text)]
    assert found == [], f"write {right!r}"


def test_a_wrong_spelling_would_be_seen_in_each_kind_of_text() -> None:
    """Code is left out, prose is not."""
    kinds = {where.partition("/")[0] for where, _ in texts()}
    assert {"docs", "notebooks", "src", "README.md", "CHANGELOG.md"} <= kinds
    assert "Github" in prose("on Github, see `Github` and https://x/Github")
    assert prose("on Github, see `Github` and https://x/Github").count("Github") == 1


# ---------------------------------------------------------------- where texts point to


def _sources() -> Iterator[Path]:
    for folder in ("src", "benchmarks"):
        yield from sorted((REPO / folder).rglob("*.py"))


@pytest.mark.parametrize("path", list(_sources()), ids=lambda p: str(p.relative_to(REPO)))
def test_files_that_a_docstring_or_comment_names_are_there(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    named = {found[0] for found in _PATH.finditer(text)} - _ELSEWHERE
    assert sorted(n for n in named if not (REPO / n).exists() and not list(REPO.glob(f"{n}*"))) == []


def test_files_that_a_page_names_are_there() -> None:
    lost = []
    for page in pages():
        named = {found[0] for found in _PATH.finditer(re.sub(r"\]\([^)]*\)", "]", page.text))} - _ELSEWHERE
        lost += [f"{page.id}: {n}" for n in sorted(named) if not (REPO / n).exists()]
    assert lost == []


def test_links_in_docstrings_lead_somewhere() -> None:
    """mkdocstrings puts them into pages; relative ones would depend on the page."""
    found = [(where, link) for where, text in _docstrings() for link in re.findall(r"\[[^\]\n]+\]\(([^)\s]+)\)", text)]
    assert [f"{where}: {link}" for where, link in found if not link.startswith("https://")] == []


def test_the_changelog_on_the_site_is_the_file_with_its_links_in_place() -> None:
    text = (REPO / "CHANGELOG.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?:)([^)]+)\)", text)
    assert links
    assert [
        link for link in links if not (REPO / link.partition("#")[0]).is_file() or not link.startswith("docs/")
    ] == []
