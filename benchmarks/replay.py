"""What a replay costs: an exchange at pace 0, and opening a recording of 10,000 exchanges.

    python benchmarks/replay.py [--exchanges 10000] [--runs 9]

*Added*: the same pieces from a transport in memory and from a recording, in turns; what comes above the transport is
the same for both. *Opened*: from the path to all places, the file in the system's cache. Writes
`benchmarks/results/replay.md`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2

from nbllm.transport.recording import Asked, Exchange, asked
from nbllm.transport.replay import ReplayTransport
from nbllm.workspace import Workspace

RESULT = Path(__file__).parent / "results" / "replay.md"
OPEN_MS = 200
ADDED_MS = 5


def question(number: int) -> Asked:
    found = asked("h.test", "POST", "/v1/chat/completions", body(number))
    assert found is not None
    return found


def body(number: int) -> bytes:
    words = f"Question {number}. " + "What is the capital of a country whose name I forgot? " * 5
    return (
        '{"model":"m","stream":true,"stream_options":{"include_usage":true},"messages":[{"role":"user","content":"'
        + words + '"}]}'
    ).encode()  # fmt: skip


def pieces(count: int) -> list[tuple[float, bytes]]:
    event = (
        'data: {"id":"chatcmpl-9f3c2d1e","object":"chat.completion.chunk","created":1763600000,"model":"m","choices":'
        '[{"index":0,"delta":{"content":" word%d"},"finish_reason":null}]}\n\n'
    )
    return [(20.0 * n, (event % n).encode()) for n in range(count)]


def exchange(number: int, tokens: int) -> Exchange:
    head = {"content-type": "text/event-stream"}
    return Exchange(
        question(number), "0a1b2c3d4e5f", "2026-11-20T00:00:00Z", "https://h.test", 200, head, pieces(tokens)
    )


def write(path: Path, exchanges: int, tokens: int) -> None:
    with path.open("wb") as file:
        for number in range(exchanges):
            file.write(exchange(number, tokens).to_line().encode() + b"\n")


# ---------------------------------------------------------------- opening

OPENING = """
import json, sys, time
from pathlib import Path
from nbllm.transport.recording_file import Recording
memory = lambda: int(open("/proc/self/statm").read().split()[1]) * 4096 / 1e6
before = memory()
recording = Recording(Path(sys.argv[1]), lock=Path(sys.argv[1] + ".lock"))
wall, cpu = time.perf_counter(), time.process_time()
places = recording.places()
print(json.dumps({"wall_ms": (time.perf_counter() - wall) * 1000, "cpu_ms": (time.process_time() - cpu) * 1000,
    "places": len(places), "memory_mb": memory() - before}))
"""


def opening(path: Path, runs: int) -> list[dict[str, float]]:
    """Each in a process of its own, as a kernel has it."""
    found = []
    for _ in range(runs):
        done = subprocess.run([sys.executable, "-c", OPENING, str(path)], capture_output=True, text=True, check=True)
        found.append(json.loads(done.stdout))
    return found


# ---------------------------------------------------------------- one exchange


class Memory(httpx2.AsyncBaseTransport):
    """Answers at once with the same pieces."""

    def __init__(self, parts: list[tuple[float, bytes]]) -> None:
        self._parts = parts

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        await request.aread()

        async def stream() -> AsyncIterator[bytes]:
            for _, part in self._parts:
                yield part

        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=stream())


async def ask(transport: httpx2.AsyncBaseTransport, number: int) -> float:
    """Milliseconds from the request to the last piece."""
    request = httpx2.Request("POST", "https://h.test/v1/chat/completions", content=body(number))
    began = time.perf_counter()
    response = await transport.handle_async_request(request)
    async for _ in response.stream:  # type: ignore[union-attr]
        pass
    return (time.perf_counter() - began) * 1000


def added(path: Path, tokens: int, *, exchanges: int, rounds: int) -> dict[str, list[float]]:
    """The same pieces from memory, and from the recording, in turns."""
    workspace = Workspace()
    workspace.settings.set("replay", f"replay:{path}", keep=False)
    memory = Memory(pieces(tokens))
    replay = ReplayTransport(memory, workspace.recordings)
    found: dict[str, list[float]] = {"memory": [], "replay": []}

    async def main() -> None:
        await ask(replay, 0)  # opens the file
        for number in range(rounds):
            found["memory"].append(await ask(memory, number))
            found["replay"].append(await ask(replay, number * 7919 % exchanges))

    asyncio.run(main())
    workspace.close()
    return found


# ---------------------------------------------------------------- report


def median(rows: list[dict[str, float]], name: str) -> float:
    return statistics.median(row[name] for row in rows)


def measure(asked_for: argparse.Namespace, folder: Path) -> tuple[list[str], list[str]]:
    opened, exchanged = [], []
    for tokens in (20, 60, 200):
        path = folder / f"{tokens}.replay.jsonl"
        write(path, asked_for.exchanges, tokens)
        rows = opening(path, asked_for.runs)
        size = path.stat().st_size / 1e6
        assert rows[0]["places"] == asked_for.exchanges
        wall = [row["wall_ms"] for row in rows]
        opened.append(
            f"| {tokens} | {size:.0f} | {statistics.median(wall):.0f} | {min(wall):.0f} | "
            f"{median(rows, 'cpu_ms'):.0f} | {median(rows, 'memory_mb'):.0f} |"
        )
        times = added(path, tokens, exchanges=asked_for.exchanges, rounds=asked_for.rounds)
        cuts = {name: statistics.quantiles(values, n=100) for name, values in times.items()}
        exchanged.append(
            f"| {tokens} | {cuts['memory'][49]:.2f} | {cuts['replay'][49]:.2f} | "
            f"{cuts['replay'][49] - cuts['memory'][49]:.2f} | {cuts['replay'][98] - cuts['memory'][49]:.2f} |"
        )
        path.unlink()
    return opened, exchanged


def report(asked_for: argparse.Namespace, opened: list[str], exchanged: list[str], load: float) -> str:
    conditions = "; ".join(
        (
            f"date {time.strftime('%Y-%m-%d')}", f"python {platform.python_version()}", f"system {platform.system()}",
            f"cores {os.cpu_count()}", f"load_average {load:.1f} before, {os.getloadavg()[0]:.1f} after",
            f"{asked_for.exchanges} exchanges", f"{asked_for.runs} processes that open",
            f"{asked_for.rounds} questions each", "the file in the system's cache",
        )
    )  # fmt: skip
    return f"""# Replaying

To reach: a recording of 10,000 exchanges opens in {OPEN_MS} ms; a replay adds {ADDED_MS} ms to an exchange at pace 0.

## Opening a recording of {asked_for.exchanges:,} exchanges

| tokens an answer | MB | wall, median ms | wall, least ms | CPU, median ms | memory it takes, MB |
| --- | --- | --- | --- | --- | --- |
{chr(10).join(opened)}

Other work on the machine makes the wall's time longer, and leaves that of the CPU.

## One exchange, from request to last piece

| tokens an answer | from memory, median ms | replayed, median ms | added, median ms | added, 99 of 100 below ms |
| --- | --- | --- | --- | --- |
{chr(10).join(exchanged)}

Conditions: {conditions}.

Again: `PYTHONPATH=src python benchmarks/replay.py`
"""


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--exchanges", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--rounds", type=int, default=300)
    asked_for = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        os.environ["NBLLM_HOME"] = str(Path(folder) / "home")
        opened, exchanged = measure(asked_for, Path(folder))
    text = report(asked_for, opened, exchanged, load)
    RESULT.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
