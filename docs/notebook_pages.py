"""The notebooks of the course as pages of the site, with the outputs that are saved in them.

Nothing is run here and nothing is loaded: the tests run the notebooks, and each page shows what stands in its file. The
file itself lies beside the page, with its recording. docs/adr/0028-notebooks-as-pages.md says why this is our own.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"
FOLDER = "tutorials"

_OUTPUT = re.compile(r"<!-- output (\d+)\.(\d+) -->")
_NEXT = re.compile(r"\*(\d\d-[a-z0-9-]+)\*")
_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_HTML = ("text/html", "image/svg+xml")
"""What goes into the page as it is, the best first: nbllm made it, escaped what is foreign, and it needs no script."""


def on_files(files: Files, *, config: Any, **_: Any) -> Files:
    """Add a page for each notebook, and the notebooks and recordings themselves."""
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        files.append(File.generated(config, page_of(path), content=page_markdown(path)))
        files.append(File.generated(config, f"{FOLDER}/{path.name}", abs_src_path=str(path)))
    for path in sorted(NOTEBOOKS.glob("*.replay.jsonl")):
        files.append(File.generated(config, f"{FOLDER}/{path.name}", abs_src_path=str(path)))
    return files


def on_page_content(content: str, *, page: Any, **_: Any) -> str:
    """Put the outputs in, which Markdown is not to read."""
    path = NOTEBOOKS / f"{Path(page.file.src_uri).stem}.ipynb"
    if page.file.src_uri != page_of(path) or not path.exists():
        return content
    cells = _cells(path)
    return _OUTPUT.sub(lambda at: output_html(cells[int(at[1])]["outputs"][int(at[2])]), content)


def page_of(notebook: Path) -> str:
    """Where the page of a notebook is, from the root of the documentation."""
    return f"{FOLDER}/{notebook.stem}.md"


def page_markdown(notebook: Path) -> str:
    """The cells of a notebook as Markdown; where an output belongs there is a comment."""
    title, *rest = (_cell_markdown(number, cell) for number, cell in enumerate(_cells(notebook)))
    heading, _, first = title.partition("\n")
    return "\n\n".join([heading, _about(notebook), first.strip(), *rest]) + "\n"


def _about(notebook: Path) -> str:
    recording = notebook.with_name(f"{notebook.stem}.replay.jsonl")
    beside = f" and its [recording]({recording.name})" if recording.exists() else ""
    return (
        f"This page is a notebook, with the outputs of a real run. Get [{notebook.name}]({notebook.name}){beside}, "
        "or run `nbllm lab`, which opens a copy of all of them."
    )


def _cells(notebook: Path) -> list[dict[str, Any]]:
    return list(json.loads(notebook.read_text(encoding="utf-8"))["cells"])


def _cell_markdown(number: int, cell: Mapping[str, Any]) -> str:
    source = _text(cell["source"])
    if cell["cell_type"] == "markdown":
        return _NEXT.sub(_link, source)
    marks = "\n\n".join(f"<!-- output {number}.{place} -->" for place in range(len(cell["outputs"])))
    return f"{_fenced(source)}\n\n{marks}".rstrip()


def _link(found: re.Match[str]) -> str:
    path = NOTEBOOKS / f"{found[1]}.ipynb"
    return f"[{_title(path)}]({path.stem}.md)" if path.exists() else found[0]


def _title(notebook: Path) -> str:
    return _text(_cells(notebook)[0]["source"]).partition("\n")[0].removeprefix("#").strip()


def _fenced(source: str) -> str:
    fence = max(("```", *(run + "`" for run in re.findall(r"`{3,}", source))), key=len)
    # A cell of `%%chat` is a prompt in words, and no Python.
    return f"{fence}{'text' if source.startswith('%%') else 'python'}\n{source}\n{fence}"


def output_html(output: Mapping[str, Any]) -> str:
    """One output, as a notebook shows it."""
    kind = output["output_type"]
    if kind == "stream":
        return _framed(_plain(output["text"]), output["name"])
    if kind == "error":
        return _framed(_plain("\n".join(output["traceback"])), "error")
    data = output["data"]
    for name in _HTML:
        if name in data:
            return _framed(_text(data[name]), "rich")
    return _framed(_plain(data["text/plain"]), "plain")


def _framed(inner: str, kind: str) -> str:
    # Outputs are left out of the search: their words are those of models, and would come before ours.
    about = 'data-search-exclude tabindex="0" role="region" aria-label="Output"'
    return f'<div class="nb-output nb-{kind}" {about}>{inner}</div>'


def _plain(text: str | list[str]) -> str:
    return f"<pre>{html.escape(_ANSI.sub('', _text(text)).rstrip())}</pre>"


def _text(value: str | list[str]) -> str:
    """Notebooks keep texts whole or as lines."""
    return value if isinstance(value, str) else "".join(value)


def on_serve(server: Any, **_: Any) -> Any:
    """Build again when a notebook changes."""
    server.watch(str(NOTEBOOKS))
    return server
