"""Reads the documentation: links, anchors, code blocks, and the commands that stand in the text."""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

REPO = Path(__file__).resolve().parent.parent
DOCS = REPO / "docs"

_COMMENT = re.compile(r"<!--\s*(no-run|raises|interrupt)(?::\s*(.*?))?\s*-->")
_REAL_MODEL = re.compile(r"%%?chat\b.*?\s(?!demo/)[a-z0-9-]+/[^\s/]")
_ASKS_OTHERS = re.compile(r"^%llm_providers (key|import|models (?!demo)|test (?!demo))", re.MULTILINE)
_CELL = re.compile(r"\s*%")
_FORM = re.compile(r"%%?\w+ .*\[options\]")

LANGUAGES = {
    "": "a cell of a notebook: run",
    "python": "run as a cell",
    "console": "run in a shell",
    "bash": "for a terminal of the reader: its syntax and its `nbllm` commands are read",
    "toml": "parsed; rows of providers and settings are taken by nbllm",
    "json": "parsed",
    "yaml": "parsed",
    "ini": "for cron or systemd: the `nbllm` commands in it are read",
    "text": "no code",
}
"""What tests do with a block, by its language."""


@dataclass(frozen=True)
class Block:
    """One fenced block.

    A comment above it says what the test cannot know: `<!-- no-run: REASON -->`, `<!-- raises: ERROR -->`.
    """

    page: Path
    line: int
    language: str
    text: str
    skip: str | None
    raises: str | None

    @property
    def id(self) -> str:
        """For people."""
        return f"{self.page.relative_to(REPO)}:{self.line}"

    @property
    def is_cell(self) -> bool:
        """Whether this belongs in a notebook."""
        return self.language == "python" or (not self.language and bool(_CELL.match(self.text)))

    @property
    def needs_more(self) -> str | None:
        """Why a test cannot run this cell: it asks a real provider, or a person, or is no call."""
        if self.skip is not None:
            return self.skip
        if _FORM.match(self.text):
            return "shows the form of a call"
        if _REAL_MODEL.match(self.text):
            return "asks a real provider"
        return "asks a person or a real provider" if _ASKS_OTHERS.search(self.text) else None


@dataclass(frozen=True)
class Page:
    """One Markdown file."""

    path: Path
    blocks: tuple[Block, ...]
    links: tuple[tuple[int, str], ...]
    anchors: frozenset[str]
    codes: tuple[tuple[int, str], ...]
    """Inline code, with its line."""
    text: str

    @property
    def id(self) -> str:
        """For people."""
        return str(self.path.relative_to(REPO))


def pages() -> list[Page]:
    """Every page of the documentation, and those that stand beside it."""
    beside = (REPO / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md"))
    return [page(p) for p in (*beside, *sorted(DOCS.rglob("*.md")))]


@cache
def page(path: Path) -> Page:
    """Read one."""
    text = path.read_text(encoding="utf-8")
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    return Page(
        path=path,
        blocks=tuple(_blocks(path, tokens)),
        links=tuple(_links(tokens)),
        anchors=frozenset(_anchors(tokens)),
        codes=tuple((_line(t), c.content) for t in tokens for c in t.children or () if c.type == "code_inline"),
        text=text,
    )


def _line(token: Token) -> int:
    return token.map[0] + 1 if token.map else 0


def _blocks(path: Path, tokens: list[Token]) -> Iterator[Block]:
    said: dict[str, str] = {}
    for token in tokens:
        if token.type == "html_block" and (found := _COMMENT.search(token.content)):
            said[found[1]] = found[2] or ""
        elif token.type == "fence":
            language = token.info.split()[0] if token.info.strip() else ""
            yield Block(path, _line(token), language, token.content, said.get("no-run"), said.get("raises"))
            said = {}
        elif token.nesting >= 0 and token.type != "list_item_open":
            said = {}


def _links(tokens: list[Token]) -> Iterator[tuple[int, str]]:
    for token in tokens:
        for child in token.children or ():
            target = child.attrGet("href") if child.type == "link_open" else child.attrGet("src")
            if target is not None:
                yield _line(token), str(target)


def _anchors(tokens: list[Token]) -> Iterator[str]:
    seen: set[str] = set()
    for before, token in itertools.pairwise(tokens):
        if before.type != "heading_open":
            continue
        words = "".join(c.content for c in token.children or () if c.type in ("text", "code_inline"))
        slug = base = _slug(words)
        number = 0
        while slug in seen:
            number += 1
            slug = f"{base}_{number}"
        seen.add(slug)
        yield slug


def _slug(words: str) -> str:
    """As Python-Markdown makes them, which builds the site."""
    plain = unicodedata.normalize("NFKD", words).encode("ascii", "ignore").decode()
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", plain).strip().lower())


def shell_lines(block: Block) -> Iterator[str]:
    """The commands of a block for a terminal, without their prompt; of a crontab or a unit those that are `nbllm`."""
    if block.language == "ini":
        yield from re.findall(r"(?<=/bin/)nbllm .*", block.text)
    if block.language not in ("", "bash", "console"):
        return
    for line in block.text.splitlines():
        if block.language == "console" and not line.startswith("$ "):
            continue
        yield line.removeprefix("$ ").strip()


def unrun() -> Iterator[tuple[str, str]]:
    """Every block that no test runs, and why: `python tests/pages.py` lists them."""
    for block in (b for p in pages() for b in p.blocks):
        if block.is_cell or block.language == "console":
            reason = block.needs_more if block.is_cell else block.skip
        else:
            reason = block.skip or LANGUAGES.get(block.language, "?")
        if reason is not None:
            yield block.id, reason


if __name__ == "__main__":
    for where, reason in unrun():
        print(f"{where}: {reason}")
