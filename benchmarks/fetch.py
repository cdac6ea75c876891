"""How long a fetch of many providers takes beside the slowest of them, and how much memory all recorded listings take.

    python benchmarks/fetch.py [--providers 100] [--after 0.3] [--models 5 50] [--runs 5] [--listings DIR]

The providers are servers on ports of their own in another process of this machine; each run is a fresh process with a
temporary home. DIR holds recorded listings `models_ID.json`; without it that part is left out. Writes
`benchmarks/results/fetch.json`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

RESULT = Path(__file__).parent / "results" / "fetch.json"

ONE = """
import json, resource, sys, time
from nbllm.catalog.fetch import FetchOptions
from nbllm.workspace import Workspace

ids = sys.argv[1].split(",")
workspace = Workspace()
def fetch(**options):
    started = time.perf_counter()
    results = [(r.outcome, r.model_count, r.seconds) for r in workspace.fetch(ids, options=FetchOptions(**options))]
    return time.perf_counter() - started, results
before = resource.getrusage(resource.RUSAGE_SELF)
first_s, first = fetch()
after = resource.getrusage(resource.RUSAGE_SELF)
warm_s, warm = fetch(whole=True)
cached_s, cached = fetch()
print(json.dumps({
    "first_s": first_s, "first_slowest_s": max(r[2] for r in first), "warm_s": warm_s,
    "warm_slowest_s": max(r[2] for r in warm), "cached_s": cached_s, "outcomes": sorted({r[0] for r in first + warm}),
    "models": sum(r[1] for r in first), "cpu_s": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
    "before_mb": before.ru_maxrss / 1024, "peak_mb": after.ru_maxrss / 1024,
}))
workspace.close()
"""


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: bytes, after_s: float) -> None:
    try:
        while await reader.readuntil(b"\r\n\r\n"):
            await asyncio.sleep(after_s)
            head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
            writer.write(head.encode() + body)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


def serve(bodies: list[bytes], after_s: float, ports: Connection) -> None:
    async def main() -> None:
        servers = []
        for body in bodies:
            handler = lambda r, w, body=body: answer(r, w, body, after_s)  # noqa: E731
            servers.append(await asyncio.start_server(handler, "127.0.0.1", 0, backlog=256))
        ports.send([server.sockets[0].getsockname()[1] for server in servers])
        await asyncio.Event().wait()

    asyncio.run(main())


class Served:
    """Bodies on ports of their own, in a process of their own."""

    def __init__(self, bodies: list[bytes], after_s: float) -> None:
        here, there = multiprocessing.Pipe()
        self._process = multiprocessing.Process(target=serve, args=(bodies, after_s, there), daemon=True)
        self._process.start()
        self.ports: list[int] = here.recv()

    def __enter__(self) -> Served:
        return self

    def __exit__(self, *exc: object) -> None:
        self._process.kill()
        self._process.join()


def fetch(rows: dict[str, str]) -> dict[str, Any]:
    """One fetch in a fresh process; `rows` are tables of config.toml by id."""
    with tempfile.TemporaryDirectory(dir=".") as home:
        config = "".join(f"[providers.{id}]\n{row}\n" for id, row in rows.items())
        (Path(home) / "config.toml").write_text(config)
        environ = {k: v for k, v in os.environ.items() if not k.endswith(("_BASE_URL", "_API_KEY"))}
        done = subprocess.run(
            [sys.executable, "-c", ONE, ",".join(rows)],
            env=environ | {"NBLLM_HOME": home}, stdout=subprocess.PIPE, check=True,
        )  # fmt: skip
    return dict(json.loads(done.stdout))


def at_once(providers: int, after_s: float, models: int, runs: int) -> dict[str, Any]:
    body = json.dumps({"data": [{"id": f"model-{i}", "context_length": 8192} for i in range(models)]}).encode()
    with Served([body] * providers, after_s) as served:
        rows = {f"p{port}": f'base_url = "http://127.0.0.1:{port}/v1"\nauth = "none"' for port in served.ports}
        found = [fetch(rows) for _ in range(runs)]
    assert all(f["outcomes"] == ["ok"] and f["models"] == providers * models for f in found), found
    return {
        "providers": providers, "answer_after_s": after_s, "models_each": models, "runs": runs,
        **{name: figures([f[name] for f in found]) for name in ("first_s", "warm_s", "cached_s", "cpu_s")},
        "warm_by_slowest": figures([f["warm_s"] / f["warm_slowest_s"] for f in found]),
        "first_by_answer_time": figures([f["first_s"] / after_s for f in found]),
        "warm_by_answer_time": figures([f["warm_s"] / after_s for f in found]),
    }  # fmt: skip


def memory(folder: Path) -> dict[str, Any]:
    files = sorted(folder.glob("models_*.json"))
    bodies = [path.read_bytes() for path in files]
    with Served(bodies, 0.0) as served:
        rows = {}
        for path, port in zip(files, served.ports, strict=True):
            id = path.stem.removeprefix("models_")
            kind = {"anthropic": "anthropic", "litellm": "url"}.get(id, "openai")
            tail = {"anthropic": "", "url": "/list.json"}.get(kind, "/v1")
            rows[id] = f'base_url = "http://127.0.0.1:{port}{tail}"\nauth = "none"'
        found = fetch(rows)
    return {
        "listings": len(files), "bytes": sum(map(len, bodies)), "models": found["models"],
        "before_mb": round(found["before_mb"], 1), "peak_mb": round(found["peak_mb"], 1),
    }  # fmt: skip


def figures(values: list[float]) -> dict[str, float]:
    return {"min": round(min(values), 3), "median": round(statistics.median(values), 3), "max": round(max(values), 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--providers", type=int, default=100)
    parser.add_argument("--after", type=float, default=0.3)
    parser.add_argument("--models", type=int, nargs="+", default=[5, 50])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--listings", type=Path)
    asked = parser.parse_args()
    found = {
        "conditions": {
            "python": platform.python_version(), "system": platform.platform(), "cpus": os.cpu_count(),
            "load_before": os.getloadavg()[0],
            "said": "servers in another process of the same machine; each run a fresh process; times around the "
                    "iteration, so without the start of Python; `first` includes what is imported and opened late",
        },
        "at_once": [at_once(asked.providers, asked.after, models, asked.runs) for models in asked.models],
        "memory": memory(asked.listings) if asked.listings else None,
    }  # fmt: skip
    RESULT.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
