"""What is made when the site is built: the rest of the menu, the table of providers.

A page that would load anything from elsewhere fails the build.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError

CHANGELOG = Path(__file__).resolve().parent.parent / "CHANGELOG.md"
ROWS = Path(__file__).resolve().parent.parent / "src" / "nbllm" / "providers" / "providers.toml"

_MARK = re.compile(r"<!-- providers: (\w+) -->")
_LOADED = re.compile(r"<(?:script|img|iframe|source|video|audio|embed)\b[^>]*\ssrc=[\"']?(?:https?:)?//[^>]*>", re.I)
_LINKED = re.compile(r"<link\b[^>]*\shref=[\"']?(?:https?:)?//[^>]*>", re.I)


_SECTIONS = {
    "how-to/": "How to",
    "how-to/providers/": "Providers",
    "reference/": "Reference",
    "explanation/": "Explanation",
}
"""Where a page goes that mkdocs.yml does not name, the longest match first."""


def on_config(config: Any, **_: Any) -> Any:
    """Put pages that the menu does not name at the end of their section."""
    docs = Path(config["docs_dir"])
    sections = {name: pages for item in config["nav"] for name, pages in item.items()}
    named = str(config["nav"])
    for path in sorted(str(p.relative_to(docs)) for p in docs.rglob("*.md")):
        folders = [f for f in _SECTIONS if path.startswith(f)]
        if folders and f"'{path}'" not in named:
            sections[_SECTIONS[max(folders, key=len)]].append(path)
    return config


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace `<!-- providers: hosted -->` and its kin by tables of `providers.toml`, `<!-- changelog -->` by it."""
    if markdown.strip() == "<!-- changelog -->":
        return CHANGELOG.read_text(encoding="utf-8").replace("](docs/", "](")
    return _MARK.sub(lambda found: table(found[1]), markdown)


def on_post_page(output: str, *, page: Any, **_: Any) -> str:
    """Fail on a page that would ask another server for anything when it is opened."""
    found = [*_LOADED.findall(output), *(x for x in _LINKED.findall(output) if "canonical" not in x)]
    if found:
        raise PluginError(f"{page.file.src_uri} loads from elsewhere: {found[0][:200]}")
    return output


def table(which: str) -> str:
    """The rows of one group as a Markdown table; `count` is the number of all rows."""
    rows = tomllib.loads(ROWS.read_text(encoding="utf-8"))
    if which == "count":
        return str(len(rows))
    lines = [_line(id, row) for id, row in sorted(rows.items()) if _group(row) == which]
    return "\n".join(["| id | kind | address, variables for the key | |", "| --- | --- | --- | --- |", *lines])


def _group(row: Mapping[str, Any]) -> str:
    """`local`, `hosted`, `own` (an address that each customer has), `unsupported` or `retired`."""
    if row.get("status") in ("unsupported", "retired"):
        return str(row["status"])
    if row.get("local"):
        return "local"
    return "own" if row.get("base_url_template") else "hosted"


def _line(id: str, row: Mapping[str, Any]) -> str:
    name = f"[{row['name']}]({row['doc']})" if row.get("doc") else row["name"]
    found = "<br>".join(f"`{text}`" for text in (_address(row), *row.get("env", ())) if text)
    return f"| **{id}**<br>{name} | {row.get('kind', 'openai')} | {found} | {_said(row)} |"


def _address(row: Mapping[str, Any]) -> str:
    return str(row.get("base_url") or row.get("base_url_template", ""))


def _said(row: Mapping[str, Any]) -> str:
    return "; ".join(_remarks(row)).replace("|", "\\|")


def _remarks(row: Mapping[str, Any]) -> Iterator[str]:
    if row.get("status", "live") != "live":
        yield f"**{row['status']}**"
    if row.get("key_optional"):
        yield "key optional"
    for name, quirk in row.get("quirks", {}).items():
        yield f"quirk `{name} = {quirk['value']}` ({quirk['date']})"
    if row.get("note"):
        yield row["note"]
