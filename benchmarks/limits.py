"""How exactly the limits of a minute are held: a thousand requests and more, several lanes at once, on a fake clock.

    PYTHONPATH=src:tests python benchmarks/limits.py

Each line is one gate, or several side by side. *most* is the largest count that began within any 60 s, *least* the
smallest of a full minute while requests waited; both beside the limit. *us* is the CPU of one request with its waits.
Writes benchmarks/results/limits.json; exit status 1 when a limit is missed by more than 2 %.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import random
import sys
import time
from bisect import bisect_left
from pathlib import Path
from typing import Any

from fake_time import FakeTimeLoop, run
from nbllm.providers.spec import RateLimit
from nbllm.transport.limits import Gate

RESULT = Path(__file__).parent / "results" / "limits.json"
REQUESTS, WITHIN, MINUTE = 1000, 0.02, 60.0

Starts = list[tuple[float, int]]
CASES: list[tuple[str, dict[str, int], int, float]] = [
    # what, limits, lanes, seconds that a request takes at most
    ("1 lane", {"requests_per_minute": 60}, 1, 0.5),
    ("8 lanes", {"requests_per_minute": 60}, 8, 0.5),
    ("100 lanes", {"requests_per_minute": 100}, 100, 3.0),
    ("1000 lanes", {"requests_per_minute": 50}, 1000, 3.0),
    ("tokens", {"tokens_per_minute": 100_000}, 8, 0.5),
    ("all three", {"requests_per_minute": 120, "tokens_per_minute": 60_000, "concurrency": 5}, 20, 2.0),
]


async def lane(gate: Gate, starts: Starts, loop: FakeTimeLoop, work: list[tuple[int, float]]) -> None:
    for tokens, seconds in work:
        async with gate.pass_(tokens=tokens):
            starts.append((loop.time(), tokens))
            await asyncio.sleep(seconds)


def passed(gates: list[tuple[dict[str, int], int, float]]) -> tuple[list[Starts], float]:
    """What passed each gate, all side by side, and the CPU seconds."""
    found: list[Starts] = [[] for _ in gates]
    chance = random.Random(7)

    async def main(loop: FakeTimeLoop) -> None:
        lanes = []
        for (limits, count, longest), starts in zip(gates, found, strict=True):
            gate = Gate(RateLimit(**limits), clock=loop.time)
            for _ in range(count):
                work = [(chance.randint(50, 1100), chance.uniform(0, longest)) for _ in range(REQUESTS // count)]
                lanes.append(lane(gate, starts, loop, work))
        await asyncio.gather(*lanes)

    began = time.process_time()
    run(main)
    return found, time.process_time() - began


def figures(starts: Starts, limits: dict[str, int]) -> dict[str, Any]:
    found: dict[str, Any] = {"requests": len(starts), "minutes": round(starts[-1][0] / MINUTE, 1)}
    times = [at for at, _ in starts]
    for name, tokens in (("requests_per_minute", False), ("tokens_per_minute", True)):
        if (limit := limits.get(name)) is None:
            continue
        amounts = [n if tokens else 1 for _, n in starts]
        windows = [sum(amounts[i : bisect_left(times, at + MINUTE - 1e-6)]) for i, at in enumerate(times)]
        minutes = [0] * (int(times[-1] // MINUTE) + 1)
        for at, amount in zip(times, amounts, strict=True):
            minutes[int(at / MINUTE + 1e-6)] += amount
        least = min(minutes[:-1], default=None)
        found[name] = {"limit": limit, "most": max(windows), "least": least}
    return found


def is_held(figure: dict[str, Any], *, alone: bool) -> bool:
    """`most` always; `least` where no other limit holds the requests back."""
    named = [f for f in figure.values() if isinstance(f, dict)]
    over = any(f["most"] > f["limit"] * (1 + WITHIN) for f in named)
    under = alone and any(f["least"] is not None and f["least"] < f["limit"] * (1 - WITHIN) for f in named)
    return not over and not under


def main() -> int:
    rows = {}
    for what, limits, lanes, longest in CASES:
        (starts,), cpu = passed([(limits, lanes, longest)])
        figure = figures(starts, limits)
        rows[what] = {**figure, "held": is_held(figure, alone=len(limits) == 1), "us": round(cpu / len(starts) * 1e6)}
    many = [({"requests_per_minute": limit}, 4, 0.1) for limit in (10, 30, 60, 97, 250, 500)]
    found, cpu = passed(many)
    for (limits, _, _), starts in zip(many, found, strict=True):
        figure = figures(starts, limits)
        rows[f"6 providers at once, {limits['requests_per_minute']} a minute"] = {
            **figure, "held": is_held(figure, alone=True), "us": round(cpu / (REQUESTS * len(many)) * 1e6),
        }  # fmt: skip
    result = {
        "conditions": {
            "clock": "fake",
            "python": platform.python_version(),
            "system": platform.system(),
            "cpus": os.cpu_count(),
            "load": round(os.getloadavg()[0], 1),
            "date": time.strftime("%Y-%m-%d"),
        },
        "within": WITHIN,
        "cases": rows,
    }
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))
    return 0 if all(row["held"] for row in rows.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
