"""How much of the rate that a provider allows a comparison reaches, and what it costs in CPU and memory.

2,000 cells against a server in another process that allows 100 at once and answers after 0.2 s, so 500 a second is the
ideal. The rate is that of asking, as the server sees it: from the first cell's request to the last cell's answer. The
whole run is told beside it. In the same run, what one would write by hand: an asyncio loop over httpx2, and the openai
SDK, each with a semaphore of 100 and nothing kept. Then 20,000 cells in one comparison, and 2,000 on a Dask cluster of
two.

    PYTHONPATH=src:tests python benchmarks/compare.py [--cells 2000] [--large 20000] [--only NAME]

Each way runs in a process of its own. Writes benchmarks/results/compare.json and compare.md; exit status 1 when a
figure is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

RESULTS = Path(__file__).resolve().parent / "results"
AT_ONCE, AFTER_S = 100, 0.2
WORDS = 20
"""Events of an answer, a word each."""
TRIES = 5
SHARE, GROWTH_MB, SUMMARY_S = 0.85, 150, 2.0


# ---------------------------------------------------------------- the server


def _answer() -> bytes:
    chunks: list[dict[str, Any]] = [
        {"choices": [{"index": 0, "delta": {"content": f"word{n} "}, "finish_reason": None}]} for n in range(WORDS)
    ]
    chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    chunks.append({"choices": [], "usage": {"prompt_tokens": 20, "completion_tokens": WORDS, "total_tokens": 40}})
    common = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    body = "".join(f"data: {json.dumps({**common, **c})}\n\n" for c in chunks) + "data: [DONE]\n\n"
    return (
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: %d\r\n\r\n" % len(body.encode())
    ) + body.encode()


_BUSY = (
    b"HTTP/1.1 429 Too Many Requests\r\ncontent-type: application/json\r\nretry-after-ms: 500\r\ncontent-length: 34"
    b'\r\n\r\n{"error": {"message": "too many"}}'
)


class _Server:
    """Answers after a while, and refuses what is more than is allowed at once."""

    def __init__(self, after_s: float) -> None:
        self.after_s, self.running, self.most, self.refused = after_s, 0, 0, 0
        self.said = _answer()
        self.first = self.last = 0.0
        """When the first cell was asked for, and the last one answered."""

    def told(self) -> bytes:
        """The seconds between the two, and begin anew."""
        body = b"%.6f" % (self.last - self.first)
        self.first = self.last = 0.0
        return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(
                    (int(line[15:]) for line in head.lower().split(b"\r\n") if line[:15] == b"content-length:"), 0
                )
                asked = await reader.readexactly(length)
                if head.startswith(b"GET /asking"):
                    writer.write(self.told())
                    continue
                if self.running >= AT_ONCE:
                    self.refused += 1
                    writer.write(_BUSY)
                    continue
                of_a_cell = b"country number" in asked
                self.first = self.first or (time.monotonic() if of_a_cell else 0.0)
                self.running += 1
                self.most = max(self.most, self.running)
                await asyncio.sleep(self.after_s)
                self.running -= 1
                writer.write(self.said)
                self.last = time.monotonic() if of_a_cell else self.last
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


def serve(ports: Any, after_s: float) -> None:
    """For a process of its own: tell the port, and serve until it is killed."""

    async def main() -> None:
        server = await asyncio.start_server(_Server(after_s).serve, "127.0.0.1", 0, backlog=512)
        ports.put(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(main())


# ---------------------------------------------------------------- the ways


def body_of(number: int) -> dict[str, Any]:
    """What is asked."""
    return {
        "model": "m",
        "messages": [{"role": "user", "content": f"What is the capital of country number {number}? One word."}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }


async def _at_most(limit: int, count: int, one: Callable[[int], Any]) -> int:
    """How many of `count` came, with `limit` at once."""
    gate = asyncio.Semaphore(limit)

    async def guarded(number: int) -> int:
        async with gate:
            return int(await one(number))

    return sum(await asyncio.gather(*(guarded(n) for n in range(count))))


def by_httpx2(url: str, count: int) -> int:
    """What one writes by hand."""
    import httpx2

    async def main() -> int:
        limits = httpx2.Limits(max_connections=AT_ONCE, max_keepalive_connections=AT_ONCE)
        async with httpx2.AsyncClient(trust_env=False, limits=limits, timeout=60) as client:

            async def one(number: int) -> bool:
                text = ""
                async with client.stream("POST", url + "/chat/completions", json=body_of(number)) as response:
                    async for line in response.aiter_lines():
                        if line.startswith("data: {"):
                            for choice in json.loads(line[6:])["choices"]:
                                text += choice["delta"].get("content") or ""
                return text.count("word") == WORDS

            return await _at_most(AT_ONCE, count, one)

    return asyncio.run(main())


def by_openai(url: str, count: int) -> int:
    """The same with the SDK."""
    import openai

    async def main() -> int:
        async with openai.AsyncOpenAI(api_key="none", base_url=url, max_retries=0) as client:

            async def one(number: int) -> bool:
                text = ""
                async for chunk in await client.chat.completions.create(**body_of(number)):
                    for choice in chunk.choices:
                        text += choice.delta.content or ""
                return text.count("word") == WORDS

            return await _at_most(AT_ONCE, count, one)

    return asyncio.run(main())


def _workspace(url: str, **row: Any) -> Any:
    from nbllm.workspace import Workspace

    workspace = Workspace()
    workspace.registry.set_session("bench", base_url=url, kind="openai", auth="none", **row)
    return workspace


KNOWN = {"rate_limit": {"concurrency": AT_ONCE}}
"""A row that says what the server allows."""


def _options(count: int, **more: Any) -> Any:
    from nbllm.compare.options import CompareOptions

    prompts = [body_of(n)["messages"][0]["content"] for n in range(count // 2)]
    return CompareOptions(prompts=prompts, models=["bench/a", "bench/b"], yes=True, name="bench", **more)


def by_nbllm(url: str, count: int, row: Mapping[str, Any] = KNOWN) -> int:
    """A comparison of two models; every cell is committed."""
    workspace = _workspace(url, **row)
    found = workspace.comparisons.run(_options(count))
    workspace.close()
    return sum(row["status"] == "ok" and row["text"].count("word") == WORDS for row in found.cells)


def by_nbllm_carefully(url: str, count: int) -> int:
    """The same where nobody said what the server allows."""
    return by_nbllm(url, count, {})


def by_dask(url: str, count: int) -> int:
    """The same on a cluster of two processes that is there already."""
    import distributed

    workspace = _workspace(url)
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0") as cluster,
        distributed.Client(cluster) as client,
    ):
        workspace.comparisons.run(_options(200, engine="dask", cluster=client))  # the workers have imported all
        asking_s(url)
        measured = Measured()
        found = workspace.comparisons.run(_options(count + 200, engine="dask", cluster=client))
        measured.tell(sum(row["status"] == "ok" for row in found.cells) - 200)
    workspace.close()
    return -1


def third_word(reply: Any, case: Any) -> bool:
    """A scorer."""
    return "word3" in reply.text


def large(url: str, count: int) -> int:
    """One comparison of `count` cells: made, summed up, shown, saved and loaded again."""
    workspace = _workspace(url)
    start, cpu = time.perf_counter(), time.process_time()
    found = workspace.comparisons.run(_options(count, scorers=[third_word]))
    steps = {"asked": time.perf_counter() - start, "asked_cpu": time.process_time() - cpu}

    def timed(name: str, work: Callable[[], Any]) -> Any:
        begun = time.perf_counter()
        result = work()
        steps[name] = time.perf_counter() - begun
        return result

    timed("summary", lambda: len(found.summary()))
    steps["page_mb"] = len(timed("page", found._repr_html_)) / 1e6
    folder = Path(tempfile.mkdtemp())
    timed("to_jsonl", lambda: found.to_jsonl(folder / "cells.jsonl"))
    loaded = timed("load", lambda: workspace.comparisons.load("bench"))
    timed("summary_loaded", lambda: len(loaded.summary()))
    timed("nothing_left_to_ask", lambda: workspace.comparisons.run(_options(count)))
    steps["database_mb"] = workspace.paths.database.stat().st_size / 1e6
    print(json.dumps({"steps": {k: round(v, 2) for k, v in steps.items()}}), file=sys.stderr)
    workspace.close()
    return sum(row["status"] == "ok" for row in found.cells)


WAYS: dict[str, Callable[[str, int], int]] = {
    "nbllm": by_nbllm, "nbllm, from 20": by_nbllm_carefully, "httpx2 by hand": by_httpx2, "openai SDK": by_openai,
    "nbllm, dask": by_dask, "large": large,
}  # fmt: skip


# ---------------------------------------------------------------- measuring


class Measured:
    """Wall time, CPU and the growth of memory of this process from here on."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._before = self._most = self._process.memory_info().rss
        self._cpu, self._start, self._over = time.process_time(), time.perf_counter(), threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while not self._over.wait(0.05):
            self._most = max(self._most, self._process.memory_info().rss)

    def tell(self, came: int) -> None:
        """Print what it was, for the process that waits for it."""
        found = {
            "cells": came,
            "seconds": round(time.perf_counter() - self._start, 2),
            "cpu_s": round(time.process_time() - self._cpu, 2),
            "growth_mb": round((max(self._most, self._process.memory_info().rss) - self._before) / 1e6, 1),
        }
        self._over.set()
        print(json.dumps(found), flush=True)


def _imports() -> None:
    """So that they count for nobody."""
    import httpx2  # noqa: F401
    import openai  # noqa: F401

    import nbllm.workspace
    from nbllm.adapters import load_adapter

    load_adapter("openai")
    assert nbllm.workspace


def run_way(name: str, url: str, count: int) -> None:
    """For a process of its own."""
    _imports()
    measured = Measured()
    came = WAYS[name](url, count)
    if came >= 0:
        measured.tell(came)


def asking_s(url: str) -> float:
    """Seconds from the first cell's request to the last one's answer, since this was asked before."""
    with urllib.request.urlopen(url.removesuffix("/v1") + "/asking") as answer:
        return round(float(answer.read()), 2)


def in_process(name: str, url: str, count: int) -> dict[str, Any]:
    """Run one way and read what it tells."""
    with tempfile.TemporaryDirectory() as home:
        environ = {**os.environ, "NBLLM_HOME": home, "NBLLM_MODELS_DEV_URL": "off"}
        ended = subprocess.run(
            [sys.executable, __file__, "--way", name, "--url", url, "--cells", str(count)],
            env=environ, capture_output=True, text=True, check=True,
        )  # fmt: skip
    found: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    found["asking_s"] = asking_s(url)
    assert found["cells"] == count, (name, found, ended.stderr[-2000:])
    for line in ended.stderr.splitlines():
        if line.startswith('{"steps"'):
            found |= json.loads(line)
    return found


def serving(after_s: float) -> tuple[Any, str]:
    """A server, and its URL."""
    ports: Any = multiprocessing.Queue()
    process = multiprocessing.Process(target=serve, args=(ports, after_s), daemon=True)
    process.start()
    return process, f"http://127.0.0.1:{ports.get()}/v1"


def _load() -> float:
    return round(os.getloadavg()[0], 1)


def conditions() -> dict[str, Any]:
    """What the figures depend on."""
    return {
        "date": time.strftime("%Y-%m-%d"),
        "python": platform.python_version(),
        "system": platform.system(),
        "cores": os.cpu_count(),
        "load_average": _load(),
        **{name: version(name) for name in ("httpx2", "openai", "distributed")},
        "server": f"loopback, another process, {AT_ONCE} at once, an answer after {AFTER_S} s in {WORDS} events",
    }


def measure(cells: int, big: int, only: str | None) -> dict[str, Any]:
    """Every way, the median of five where it is short."""
    found: dict[str, Any] = {"conditions": conditions(), "ways": {}}
    server, url = serving(AFTER_S)
    at_once, fast = serving(0.0)
    for name in WAYS:
        if only is not None and name != only:
            continue
        if name == "large":
            found["large"] = {"cells": big, **in_process(name, fast, big)}
            continue
        tries = sorted((in_process(name, url, cells) for _ in range(TRIES)), key=lambda t: t["asking_s"])
        found["ways"][name] = tries[TRIES // 2] | {"all_asking_s": [t["asking_s"] for t in tries]}
    for process in (server, at_once):
        process.terminate()
    found["conditions"]["load_average"] = f"{found['conditions']['load_average']} before, {_load()} after"
    return found


def write(found: dict[str, Any]) -> None:
    """As JSON and as a table."""
    (RESULTS / "compare.json").write_text(json.dumps(found, indent=2) + "\n")
    ideal = AT_ONCE / AFTER_S

    def share(way: dict[str, Any], seconds: float) -> str:
        return f"{way['cells'] / seconds / ideal:.2f}"

    rows = [
        f"| {name} | {way['cells'] / way['asking_s']:.0f} | {share(way, way['asking_s'])} "
        f"| {share(way, way['all_asking_s'][-1])} to {share(way, way['all_asking_s'][0])} "
        f"| {share(way, way['seconds'])} | {way['cpu_s'] / way['cells'] * 1000:.2f} | {way['growth_mb']:.0f} |"
        for name, way in found["ways"].items()
    ]
    big, steps = found["large"], found["large"]["steps"]
    told = "; ".join(f"{key} {value}" for key, value in found["conditions"].items())
    text = f"""# Comparisons

{found["ways"]["nbllm"]["cells"]:,} cells, at most {AT_ONCE} at once; each answer takes {AFTER_S} s, so {ideal:.0f} a
second is the ideal. *Asking*: as the server sees it, from the first cell's request to the last one's answer. *Whole*:
with what comes before and after it; for nbllm laying out the cells and one question to each model, which takes 0.2 s
too. nbllm commits every cell, and its provider's row says that {AT_ONCE} at once are allowed. *From 20*: the row does
not say it, so that it begins with 20 and doubles, which alone costs 0.3 s here. The others begin with {AT_ONCE} and
keep nothing. Each way in a process of its own, the median of {TRIES} runs by their rate while asking; *growth* is what
the process's memory grew by while it ran. On the cluster, which is there already, CPU and memory are the driver's.

| way | cells/s, asking | of the ideal, asking | all runs | of the ideal, whole | CPU ms a cell | growth MB |
| --- | --- | --- | --- | --- | --- | --- |
{chr(10).join(rows)}

## {big["cells"]:,} cells in one comparison

Two models, one scorer, a server that answers at once; seconds.

| step | took |
| --- | --- |
| asked, committed, scored | {steps["asked"]} ({steps["asked_cpu"] / big["cells"] * 1000:.2f} ms of CPU a cell) |
| `summary()` | {steps["summary"]} |
| the page in the notebook | {steps["page"]} ({steps["page_mb"]} MB) |
| `to_jsonl` | {steps["to_jsonl"]} |
| loaded again under its name | {steps["load"]} |
| run again, nothing left to ask | {steps["nothing_left_to_ask"]} |

Memory grew by {big["growth_mb"]:.0f} MB; the database has {steps["database_mb"]:.0f} MB.

Conditions: {told}.

Again: `PYTHONPATH=src:tests python benchmarks/compare.py`
"""
    (RESULTS / "compare.md").write_text(text)


def missed(found: dict[str, Any]) -> list[str]:
    """Figures that were not reached."""
    way = found["ways"]["nbllm"]
    checks = {
        f"share of the ideal rate while asking under {SHARE}": way["cells"] / way["asking_s"] * AFTER_S / AT_ONCE
        >= SHARE,
        f"memory grew by more than {GROWTH_MB} MB": way["growth_mb"] < GROWTH_MB,
        f"summary() took more than {SUMMARY_S} s": found["large"]["steps"]["summary"] < SUMMARY_S,
    }
    return [name for name, reached in checks.items() if not reached]


def main() -> int:
    """Run as a script."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=2_000)
    parser.add_argument("--large", type=int, default=20_000)
    parser.add_argument("--only", choices=list(WAYS))
    parser.add_argument("--way", choices=list(WAYS))
    parser.add_argument("--url")
    args = parser.parse_args()
    if args.way:
        run_way(args.way, args.url, args.cells)
        return 0
    found = measure(args.cells, args.large, args.only)
    print(json.dumps(found, indent=2))
    if args.only:
        return 0
    write(found)
    for line in missed(found):
        print(f"missed: {line}", file=sys.stderr)
    return 1 if missed(found) else 0


if __name__ == "__main__":
    raise SystemExit(main())
