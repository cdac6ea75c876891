"""How long a search of the catalogue takes: 100,000 models of all providers, the whole way to the table.

    python benchmarks/search.py [--models 100000] [--runs 20]

The models are made up, with far more different words than real ones have. Registry, keys, marks and store are real, in
a temporary home; the listings stand in memory. Writes `benchmarks/results/search.json`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

RESULT = Path(__file__).parent / "results" / "search.json"
LIMIT_MS = 50
FAMILIES = (
    "llama",
    "qwen",
    "mistral",
    "gemma",
    "deepseek",
    "phi",
    "command",
    "gpt",
    "claude",
    "grok",
    "nemotron",
    "mixtral",
    "yi",
    "falcon",
    "kimi",
    "glm",
    "jamba",
)
KINDS = (
    "instruct",
    "chat",
    "base",
    "coder",
    "vision",
    "thinking",
    "turbo",
    "mini",
    "nano",
    "preview",
    "distill",
    "awq",
    "gguf",
    "lora",
)
SYLLABLES = (
    "ba",
    "ke",
    "lo",
    "mi",
    "ra",
    "su",
    "ta",
    "vo",
    "ne",
    "pu",
    "zi",
    "qa",
    "xo",
    "dri",
    "ken",
    "mar",
    "tel",
    "vin",
)
QUERIES = ("", "a", "llama", "llama 70b", "deepseek coder", "gpt4", "lamma", "mistrall 70b", "zzzzzz")


def made_up(count: int, providers: list[str]) -> dict[str, list[Any]]:
    """Provider to its models."""
    from nbllm.providers.spec import ModelInfo

    rng = random.Random(1)
    found: dict[str, list[Any]] = {id: [] for id in providers}
    for n in range(count):
        owner = "".join(rng.choice(SYLLABLES) for _ in range(rng.randint(4, 8)))
        family, kind = rng.choice(FAMILIES), rng.choice(KINDS)
        size = rng.choice((1, 3, 7, 13, 32, 70, 405))
        provider = providers[n % len(providers)]
        found[provider].append(
            ModelInfo(
                provider, f"{owner}/{family}-{rng.randint(1, 4)}.{rng.randint(0, 9)}-{size}b-{kind}-{n}",
                name=f"{family.title()} {kind.title()}", context=rng.choice((None, 8192, 131072)),
                input_price=rng.choice((None, 0.0, 0.5, 3.0)), output_price=rng.choice((None, 0.0, 1.5)),
                tools=rng.choice((None, True, False)),
            )
        )  # fmt: skip
    return found


def took(call: Callable[[], Any], runs: int) -> dict[str, float]:
    """Milliseconds: the first, the median and the longest of the others; and of CPU, which others disturb less."""
    times, cpu = [], []
    for _ in range(runs + 1):
        start, worked = time.perf_counter(), time.thread_time()
        call()
        times.append((time.perf_counter() - start) * 1000)
        cpu.append((time.thread_time() - worked) * 1000)
    first, *others = times
    return {
        "first_ms": round(first, 1),
        "median_ms": round(statistics.median(others), 1),
        "max_ms": round(max(others), 1),
        "cpu_median_ms": round(statistics.median(cpu[1:]), 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--models", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=20)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        os.environ["NBLLM_HOME"] = home
        result = measure(asked.models, asked.runs)
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


def measure(count: int, runs: int) -> dict[str, Any]:
    from nbllm.catalog.catalogue import Catalogue
    from nbllm.catalog.listings import CachedListing
    from nbllm.catalog.wanted import Wanted
    from nbllm.workspace import Workspace

    workspace = Workspace()
    listed = made_up(count, [row.id for row in workspace.registry.all() if row.kind != "url"])
    sources = replace(
        workspace._sources(),
        listing=lambda row: CachedListing(tuple(listed[row.id]), 0.0, 60.0, stale=False),
        enriched=lambda row, models: models,
    )
    catalogue = Catalogue(workspace.registry, workspace.marks, sources)
    workspace.marks.set_favourites([m.ref for m in listed["openai"][:20]])
    start = time.perf_counter()
    catalogue.search(Wanted("groq/none"))
    build_ms = round((time.perf_counter() - start) * 1000)
    searches: dict[str, Any] = {}
    for query in QUERIES:
        searches[query or "(no words)"] = took(lambda q=query: catalogue.search(Wanted(q)), runs)
    filters = Wanted("llama", tools=True, min_context=100_000, max_price=1.0)
    searches["llama --tools --min-context 100k --max-price 1"] = took(lambda: catalogue.search(filters), runs)
    searches["--sort -context"] = took(lambda: catalogue.search(Wanted(sort="-context")), runs)
    workspace.close()
    return {
        "conditions": {
            "python": platform.python_version(), "system": f"{platform.system()} {platform.machine()}",
            "processors": os.cpu_count(), "load": [round(x, 1) for x in os.getloadavg()], "models": count,
            "providers": len(listed), "runs": runs,
        },
        "first search, with the making of the index": build_ms,
        "indexes made": catalogue.builds,
        "searches": searches,
        "slowest median_ms": max(s["median_ms"] for s in searches.values()),
        "slowest cpu_median_ms": max(s["cpu_median_ms"] for s in searches.values()),
        "limit_ms": LIMIT_MS,
    }  # fmt: skip


if __name__ == "__main__":
    main()
