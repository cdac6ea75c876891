"""Puts figures of `benchmarks/results` into pages when the site is built, so that no page repeats one by hand.

`<!-- measured: load_ext -->` becomes a table with its conditions; `<!-- measured: streaming.md -->` becomes the file.
A figure that a results file does not have any more fails the build.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError

RESULTS = Path(__file__).resolve().parent.parent / "benchmarks" / "results"

_MARK = re.compile(r"<!-- measured: ([\w.]+)(?:, from \"(.*?)\")? -->")

TABLES: dict[str, dict[str, tuple[str, str]]] = {
    "load_ext": {
        "`%load_ext nbllm` adds to a bare IPython":
            ("load_ext_cpu.added_ms", "ms of CPU"),
        "a bare IPython alone, for comparison":
            ("load_ext_cpu.bare_ms", "ms of CPU"),
        "from the first `%%chat` of a fresh kernel to text, median":
            ("first_chat_to_text.median_s", "s"),
        "the same, fastest and slowest":
            ("first_chat_to_text.min_max_s", "s"),
    },
    "cache": {
        "listing of 6,500 models, asked for":
            ("listings.1.miss_ms", "ms"),
        "the same, the provider says that nothing is new":
            ("listings.1.unchanged_ms", "ms"),
        "the same, from the cache":
            ("listings.1.hit_ms", "ms"),
        "requests of a hit":
            ("listings.1.requests_of_hits", ""),
        "facts of one provider from the bundled models.dev":
            ("models.dev.first_provider_ms", "ms"),
        "the price of an answer, first and next of a model":
            ("cost of an answer.first_ms|next_ms", "ms"),
    },
    "fetch": {
        "100 providers that answer after 0.3 s, all at once, median":
            ("at_once.0.warm_s.median", "s"),
        "the same beside the slowest of them alone":
            ("at_once.0.warm_by_slowest.median", "times"),
        "the same in a fresh process":
            ("at_once.0.first_s.median", "s"),
        "the same from the cache":
            ("at_once.0.cached_s.median", "s"),
        "memory before, and at the peak of 20 recorded listings":
            ("memory.before_mb|peak_mb", "MB"),
    },
    "search": {
        "models searched":
            ("conditions.models", ""),
        "first search, with the making of the index":
            ("first search, with the making of the index", "ms"),
        "`llama 70b`, median":
            ("searches.llama 70b.median_ms", "ms"),
        "`mistrall 70b`, misspelled, median":
            ("searches.mistrall 70b.median_ms", "ms"),
        "the slowest kind of search, median":
            ("slowest median_ms", "ms"),
    },
    "panel": {
        "from running the cell to painted rows, first in its kernel, median":
            ("panel visible, first in its kernel.median_ms", "ms"),
        "the same, later ones":
            ("panel visible, later ones.median_ms", "ms"),
        "key stroke to painted rows among providers, median and slowest":
            ("typing in the search of providers.median_ms|max_ms", "ms"),
        "key stroke to painted rows among 10,000 models, median and slowest":
            ("typing in the search of models.median_ms|max_ms", "ms"),
        "frames with blank rows while scrolling the models":
            ("scrolling the models.frames with blank rows|frames", "of"),
    },
    "rendering": {
        "an answer of 11 KiB to HTML, as a whole":
            ("rows.1.whole_ms", "ms"),
        "the same with its code coloured, once at the end":
            ("rows.1.whole_coloured_ms", "ms"),
        "the next piece of it while it is streamed":
            ("rows.1.next_while_streaming_ms", "ms"),
        "the next piece of an answer of 200 KiB":
            ("rows.3.next_while_streaming_ms", "ms"),
    },
    "store": {
        "opening a new store, and one that is there":
            ("alone.open_new_ms|open_existing_ms", "ms"),
        "committing an exchange, alone: median, slowest of a hundred":
            ("alone.commit.p50_ms|p99_ms", "ms"),
        "the same with eight processes at once":
            ("together.commit.p50_ms|p99_ms", "ms"),
        "exchanges stored by the eight, and warnings":
            ("together.stored|warnings", ""),
    },
    "compare": {
        "2,000 cells, 100 under way, each answered after 0.2 s: from the first request to the last answer":
            ("ways.nbllm.asking_s", "s"),
        "the same by a loop over httpx2 that keeps nothing":
            ("ways.httpx2 by hand.asking_s", "s"),
        "the same on a Dask cluster of two processes, on the same two cores":
            ("ways.nbllm, dask.asking_s", "s"),
        "20,000 cells, answered at once: asked, committed and scored":
            ("large.steps.asked", "s"),
        "the summary of these, and their page in the notebook":
            ("large.steps.summary|page", "s"),
        "memory that these took":
            ("large.growth_mb", "MB"),
    },
    "limits": {
        "requests let through in the fullest minute of 100 lanes, and the limit":
            ("cases.100 lanes.requests_per_minute.most|limit", ""),
        "tokens in the fullest minute, and the limit":
            ("cases.tokens.tokens_per_minute.most|limit", ""),
        "cost of a request that waits for its turn":
            ("cases.100 lanes.us", "µs"),
    },
}  # fmt: skip
"""Results file to its rows: what was measured, where the figure stands (several: the last name with `|`), its unit."""


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace the marks of a page."""
    return _MARK.sub(lambda found: shown(found[1], found[2]), markdown)


def shown(name: str, start: str | None = None) -> str:
    """The table of a results file, or a file of Markdown without its title, from a heading on if one is given."""
    if name.endswith(".md"):
        text = (RESULTS / name).read_text(encoding="utf-8").partition("\n")[2].strip()
        if start:
            text = text[text.index(f"## {start}") :].partition("\n")[2].strip()
        return re.sub(r"^(#+ )", r"#\1", text, flags=re.MULTILINE)
    found = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    rows = [f"| {what} | {_figures(found, where, name)} {unit} |" for what, (where, unit) in TABLES[name].items()]
    conditions = found.get("conditions") or {k: found[k] for k in ("date", "python", "machine")}
    return "\n".join(["| what | figure |", "| --- | --- |", *rows, "", f"Conditions: {_conditions(conditions)}."])


def _figures(found: Any, where: str, name: str) -> str:
    """Names of a results file may have dots and blanks of their own; the longest that fits counts."""
    first, *others = where.split("|")
    *path, last = _path(found, first, name)
    for step in path:
        found = found[step]
    return ", ".join(_figure(found[step]) for step in (last, *others))


def _path(found: Any, where: str, name: str) -> list[Any]:
    if isinstance(found, list):
        head, _, rest = where.partition(".")
        return [int(head), *(_path(found[int(head)], rest, name) if rest else [])]
    for key in sorted(found, key=len, reverse=True):
        if where == key:
            return [key]
        if where.startswith(f"{key}."):
            return [key, *_path(found[key], where[len(key) + 1 :], name)]
    raise PluginError(f"benchmarks/results/{name}.json has no {where!r}; correct docs/measured.py")


def _figure(value: Any) -> str:
    if isinstance(value, list):
        return " and ".join(_figure(v) for v in value) or "none"
    return f"{value:,}" if isinstance(value, int | float) else str(value)


def _conditions(found: dict[str, Any]) -> str:
    return "; ".join(f"{key} {_figure(value)}" for key, value in found.items())
