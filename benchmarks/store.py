"""How long a chat waits for its store: opening, beginning a turn, committing it; alone and with eight processes.

    python benchmarks/store.py [--turns 400] [--processes 8] [--chats 200]

Uses a temporary home on the disk of the current folder, and writes `benchmarks/results/store.json`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

RESULT = Path(__file__).parent / "results" / "store.json"

ONE = """
import json, os, sys, time
from nbllm.conversations import Conversations
from nbllm.messages import ChatRequest, FinishReason, Message, Reply
from nbllm.settings import Paths
from nbllm.store import Store

turns, name = int(sys.argv[1]), sys.argv[2]
started = time.perf_counter()
store = Store.open(Paths.from_environment(), None)
opened = time.perf_counter() - started
conversations = Conversations(store, kernel=str(os.getpid()))
begins, commits = [], []
for i in range(turns):
    t0 = time.perf_counter()
    turn = conversations.begin(name)
    t1 = time.perf_counter()
    question, answer = Message.user("question " * 20), Message.assistant("answer " * 100)
    request = ChatRequest("demo", "guide", (*turn.messages, question))
    t2 = time.perf_counter()
    conversations.commit(turn, request, [question, answer], Reply(answer.text, "demo", "guide", FinishReason.STOP))
    t3 = time.perf_counter()
    begins.append((t1 - t0) * 1000)
    commits.append((t3 - t2) * 1000)
print(json.dumps({"open_ms": opened * 1000, "begin": begins, "commit": commits, "warning": store.warning}))
store.close()
"""


def start(home: str, turns: int, name: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", ONE, str(turns), name]
    return subprocess.Popen(command, env=os.environ | {"NBLLM_HOME": home}, stdout=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str]) -> dict[str, Any]:
    out, _ = process.communicate()
    return json.loads(out)


def figures(times: list[float]) -> dict[str, float]:
    cuts = statistics.quantiles(times, n=100)
    return {"p50_ms": round(cuts[49], 2), "p99_ms": round(cuts[98], 2), "max_ms": round(max(times), 2)}


def alone(turns: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(dir=".") as home:
        first = finish(start(home, turns, "notes"))
        again = finish(start(home, 2, "other"))
    return {
        "turns_in_one_conversation": turns,
        "open_new_ms": round(first["open_ms"], 1),
        "open_existing_ms": round(again["open_ms"], 1),
        "begin": figures(first["begin"]),
        "commit": figures(first["commit"]),
    }


def together(processes: int, chats: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(dir=".") as home:
        started = time.perf_counter()
        running = [start(home, chats, "main") for _ in range(processes)]
        done = [finish(p) for p in running]
        took_s = time.perf_counter() - started
        connection = sqlite3.connect(Path(home) / "nbllm.db")
        stored = connection.execute("SELECT count(*) FROM calls").fetchone()[0]
        connection.close()
    return {
        "processes": processes,
        "chats_each": chats,
        "stored": stored,
        "warnings": [d["warning"] for d in done if d["warning"]],
        "seconds": round(took_s, 1),
        "commit": figures([t for d in done for t in d["commit"]]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=400)
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--chats", type=int, default=200)
    options = parser.parse_args()
    result = {
        "conditions": {
            "python": platform.python_version(),
            "sqlite": sqlite3.sqlite_version,
            "system": platform.system(),
            "cpus": os.cpu_count(),
            "load": round(os.getloadavg()[0], 1),
            "date": time.strftime("%Y-%m-%d"),
        },
        "alone": alone(options.turns),
        "together": together(options.processes, options.chats),
    }
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
