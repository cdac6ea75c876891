"""What the caches of the catalogue spare: a hit beside a miss, for listings and for models.dev.

    PYTHONPATH=src python benchmarks/cache.py

The server is on loopback, so a miss costs here what a network never spares: asking, reading, checking, writing. Its
listing has the shape of OpenRouter's and is made here. Numbers are the middle of several runs, in ms.
Writes benchmarks/results/cache.json.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from nbllm.adapters.base import Endpoint
from nbllm.catalog.knowledge import Knowledge
from nbllm.catalog.listings import Listings
from nbllm.catalog.metadata import enriched
from nbllm.catalog.models_dev import FILE, bundled_copy
from nbllm.providers.spec import Listing, ModelInfo, ProviderConfig
from nbllm.transport.http import Http

RESULT = Path(__file__).parent / "results" / "cache.json"
ROUNDS = 15

SHAPE = Listing(
    name="name",
    context="context_length",
    max_output="top_provider.max_completion_tokens",
    input_price="pricing.prompt",
    output_price="pricing.completion",
    price_unit="usd_per_token",
    input_modalities="architecture.input_modalities",
    features="supported_parameters[]",
)
OPENROUTER = ProviderConfig(id="openrouter", base_url="https://openrouter.ai/api/v1")


def listing(count: int) -> bytes:
    rows = [
        {
            "id": f"maker-{n % 40}/model-{n}",
            "name": f"Maker {n % 40}: Model {n}",
            "created": 1_700_000_000 + n * 86_400 % 50_000_000,
            "description": "A model that is described at some length. " * 12,
            "context_length": 131072,
            "architecture": {"input_modalities": ["text", "image"], "output_modalities": ["text"]},
            "pricing": {"prompt": "0.00000025", "completion": "0.000001"},
            "top_provider": {"max_completion_tokens": 8192},
            "supported_parameters": ["tools", "temperature", "max_tokens", "structured_outputs"],
        }
        for n in range(count)
    ]
    return json.dumps({"data": rows}).encode()


def api_json() -> bytes:
    """As large as models.dev's own, made from our copy of it."""
    copy = bundled_copy()
    rows = {}
    for provider in copy.providers:
        models = {}
        for id, facts in copy.models(provider).items():
            models[id] = {
                "id": id,
                "name": facts.get("name"),
                "attachment": True,
                "reasoning_options": [{"type": "effort", "values": ["low", "medium", "high"]}],
                "limit": {"context": facts.get("context"), "output": facts.get("max_output")},
                "modalities": {"input": facts.get("input_modalities"), "output": facts.get("output_modalities")},
                "cost": {"input": facts.get("input_price"), "output": facts.get("output_price")},
            }
        rows[provider] = {"id": provider, "env": [], "models": models}
    return json.dumps(rows).encode()


class Server:
    """Gives one body everywhere, or 304 to who names its ETag."""

    def __init__(self, body: bytes) -> None:
        outer = self
        self.asked = 0

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                outer.asked += 1
                known = self.headers.get("if-none-match") == '"1"'
                self.send_response(304 if known else 200)
                self.send_header("etag", '"1"')
                self.send_header("content-length", "0" if known else str(len(body)))
                self.end_headers()
                if not known:
                    self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Clock:
    """Each look is a day later, so that nothing is young."""

    now = time.time()

    def __call__(self) -> float:
        return self.now


def timed(work: Callable[[], Any], clock: Callable[[], float] = time.perf_counter) -> float:
    times = []
    for _ in range(ROUNDS):
        began = clock()
        work()
        times.append((clock() - began) * 1000)
    return round(statistics.median(times), 2)


async def timed_async(work: Callable[[], Awaitable[Any]]) -> float:
    times = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        await work()
        times.append((time.perf_counter() - began) * 1000)
    return round(statistics.median(times), 2)


async def listings(count: int, folder: Path) -> dict[str, Any]:
    body = listing(count)
    server, clock = Server(body), Clock()
    row = ProviderConfig(id="there", base_url=server.url, auth="none", listing=SHAPE)
    kept = Listings(folder / "listings", clock=clock)
    http = Http(environ={})
    endpoint = Endpoint(row, None, http)

    async def ask(*, whole: bool) -> None:
        clock.now += 100
        await kept.ask(endpoint, whole=whole)

    found = {"models": count, "bytes": len(body)}
    found["miss_ms"] = await timed_async(lambda: ask(whole=True))
    found["unchanged_ms"] = await timed_async(lambda: ask(whole=False))
    before = server.asked
    found["hit_ms"] = await timed_async(lambda: kept.get(endpoint))
    found["requests_of_hits"] = server.asked - before
    await http.aclose()
    server.close()
    return found


async def models_dev(folder: Path) -> dict[str, Any]:
    body = api_json()
    server, clock = Server(body), Clock()
    http = Http(environ={})
    file = folder / FILE
    plain = Knowledge(file, http, url=lambda: f"{server.url}/api.json", clock=clock)
    found: dict[str, Any] = {"bytes": len(body), "bundled_bytes": len(bundled_copy().to_bytes())}
    found["first_provider_ms"] = timed(lambda: Knowledge(file).book(OPENROUTER))
    found["next_look_ms"] = timed(lambda: plain.book(OPENROUTER))
    copy = bundled_copy()
    found["all_providers_ms"] = timed(lambda: [copy.models(p) for p in copy.providers])

    async def miss() -> None:
        file.unlink(missing_ok=True)
        assert (await plain.refresh(force=True)).outcome == "ok"

    async def unchanged() -> None:
        assert (await plain.refresh(force=True)).outcome == "unchanged"

    async def young() -> None:
        assert (await plain.refresh()).outcome == "young"

    found["miss_ms"] = await timed_async(miss)
    found["unchanged_ms"] = await timed_async(unchanged)
    before = server.asked
    found["young_ms"] = await timed_async(young)
    found["requests_while_young"] = server.asked - before
    await http.aclose()
    server.close()
    return found


def enriching(folder: Path) -> dict[str, Any]:
    knowledge = Knowledge(folder / "none")
    book = knowledge.book(OPENROUTER)
    assert book is not None
    ids = list(book.models)
    known = [
        ModelInfo("openrouter", ids[n % len(ids)], context=1, sources={"context": "listing"}) for n in range(10_000)
    ]
    unknown = [ModelInfo("openrouter", f"maker/model-{n}") for n in range(10_000)]
    return {
        "models": 10_000,
        "known_there_cpu_ms": timed(lambda: enriched(OPENROUTER, known, knowledge), time.process_time),
        "known_nowhere_cpu_ms": timed(lambda: enriched(OPENROUTER, unknown, knowledge), time.process_time),
    }


_COST = """
import sys, time
from nbllm.messages import Usage
from nbllm.usage import cost
from nbllm.workspace import Workspace
workspace = Workspace()
row = workspace.registry.get("openai")
times = []
for model, usage in {asked!r}:
    began = time.perf_counter()
    cost(row, model, Usage(**usage), known=workspace.prices(row, model))
    times.append((time.perf_counter() - began) * 1000)
print(*times, "genai_prices" in sys.modules)
"""


def costs(folder: Path) -> dict[str, Any]:
    """The cost of an answer in a fresh process: the first, the next, and where models.dev does not know the model."""
    plain = {"input_tokens": 1000, "output_tokens": 100}
    found: dict[str, Any] = {}
    for name, asked in (
        ("first_ms, next_ms", [("gpt-5", plain), ("gpt-5", plain)]),
        ("asking_genai_prices_ms", [("gpt-3.5-turbo-instruct-0914", plain)]),
    ):
        runs = []
        for _ in range(5):
            script = _COST.replace("{asked!r}", repr(asked))
            home = os.environ | {"NBLLM_HOME": str(folder)}
            done = subprocess.run([sys.executable, "-c", script], check=True, text=True, capture_output=True, env=home)
            runs.append([float(t) for t in done.stdout.split()[:-1]])
        for place, part in enumerate(name.split(", ")):
            found[part] = round(statistics.median(times[place] for times in runs), 2)
    return found


def main() -> None:
    with tempfile.TemporaryDirectory(dir=".") as name:
        folder = Path(name).resolve()
        result = {
            "conditions": {
                "python": platform.python_version(),
                "system": platform.system(),
                "cpus": os.cpu_count(),
                "load": round(os.getloadavg()[0], 1),
                "rounds": ROUNDS,
                "date": time.strftime("%Y-%m-%d"),
            },
            "listings": [asyncio.run(listings(count, folder)) for count in (300, 6500)],
            "models.dev": asyncio.run(models_dev(folder)),
            "enriching": enriching(folder),
            "cost of an answer": costs(folder),
        }
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
