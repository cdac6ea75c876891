"""Killed at any moment, or several at once on one name: nothing that was committed is asked again, and nothing is lost.

Counted at the server. `--campaign` runs it in full.
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from compare_server import Models, comparing, echo

_PROMPTS, _AT_ONCE = 75, 8
_CELLS = 2 * _PROMPTS
_PATIENCE_S = 90.0
"""No run takes this long, unless the claims of a dead one hold it up, which do so for 120 s."""

_RUNNER = """
import json, os, sys
import sqlalchemy, httpx2, openai
from nbllm.adapters import load_adapter
from nbllm.compare.options import CompareOptions
from nbllm.workspace import Workspace

load_adapter("openai")
url, prompts, at_once = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])

def work(name):
    workspace = Workspace()
    workspace.registry.set_session("lab", base_url=url, kind="openai", auth="none", rate_limit={"concurrency": at_once})
    asked = [f"{name} {number}" for number in range(prompts)]
    found = workspace.comparisons.run(CompareOptions(prompts=asked, models=["lab/a", "lab/b"], name=name))
    texts = sorted(str(row["text"]) for row in found.cells)
    print(json.dumps({"notes": list(found.notes), "texts": texts}), flush=True)
    workspace.close()

print("ready", flush=True)
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        try:
            work(line.strip())
        except BaseException as exc:
            print(json.dumps({"failed": repr(exc)}), flush=True)
        os._exit(0)
    print(json.dumps({"child": child}), flush=True)
    os.waitpid(child, 0)
    print(json.dumps({"ended": child}), flush=True)
"""


def slow(model: str, prompt: str) -> str:
    """A model that takes its time, so that cells are under way at every moment."""
    time.sleep(0.02)
    return echo(model, prompt)


class Runner:
    """A process without threads that forks one for each run, so that a hundred of them start at once.

    Args:
        url: Of the server.
    """

    def __init__(self, url: str) -> None:
        tests = Path(__file__).resolve().parents[2]
        env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tests.parent / "src"), str(tests)])}
        self._process = subprocess.Popen(
            [sys.executable, "-c", _RUNNER, url, str(_PROMPTS), str(_AT_ONCE)],
            env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip
        assert self._line() == "ready"

    def _line(self) -> str:
        assert self._process.stdout is not None
        watchdog = threading.Timer(_PATIENCE_S, os.killpg, (self._process.pid, signal.SIGKILL))
        watchdog.start()
        line = self._process.stdout.readline()
        watchdog.cancel()
        assert line, "the runner ended, or a run was held up"
        return line.strip()

    def start(self, name: str) -> int:
        """Begin to ask the comparison; the process's id."""
        assert self._process.stdin is not None
        self._process.stdin.write(name + "\n")
        self._process.stdin.flush()
        return int(json.loads(self._line())["child"])

    def end(self) -> dict[str, Any] | None:
        """What the run told at its end; None: it was killed before."""
        said: dict[str, Any] = json.loads(self._line())
        if "ended" in said:
            return None
        assert "failed" not in said, said
        json.loads(self._line())
        return said

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(60)
        self._process.stdout.close()


@contextmanager
def runners(number: int = 1) -> Iterator[tuple[list[Runner], Models]]:
    """Processes that compare, and the server that they ask."""
    with comparing(slow) as (workspace, models):
        url = workspace.registry.get("lab").base_url
        made = [Runner(url) for _ in range(number)]
        try:
            yield made, models
        finally:
            for runner in made:
                runner.close()


class Kept:
    """What the database holds of a comparison."""

    def __init__(self, home: Path, name: str) -> None:
        self.claimed: set[str] = set()
        """Keys that are claimed."""
        self.cells: Counter[str] = Counter()
        """Keys of answers."""
        self.texts: set[str] = set()
        with closing(sqlite3.connect(home / "nbllm.db")) as connection:
            tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if "comparisons" not in tables:
                return
            found = connection.execute("SELECT id FROM comparisons WHERE name = ?", (name,)).fetchone()
            if found is None:
                return
            where = "WHERE comparison_id = ?"
            self.claimed = {row[0] for row in connection.execute(f"SELECT cell_key FROM cell_claims {where}", found)}
            for key, status, outcome in connection.execute(
                f"SELECT cell_key, status, outcome FROM cells {where}", found
            ):
                assert status == "ok", outcome
                self.cells[key] += 1
                self.texts.add(json.loads(outcome)["text"])


def said_to_be_lost(notes: list[str]) -> int:
    """The number in the note on cells that may have been paid for twice."""
    found = [re.match(r"(\d+) cells? w", note) for note in notes if "paid for twice" in note]
    return int(found[0][1]) if found and found[0] else 0


def text_of(asked: tuple[str, str]) -> str:
    return echo(*asked)


def _wait_for_a_moment(models: Models, child: int, chance: random.Random, *, whole: int) -> bool:
    """Wait until some more cells were asked: none, a few, or the last. Whether there is something to kill."""
    before, wanted = len(models.asked), chance.randrange(-1, _CELLS // 4)
    while len(models.asked) - before < wanted:
        if len(set(models.asked)) == whole:
            break
        time.sleep(0.001)
    else:
        time.sleep(chance.uniform(0, 0.03))
        return Path(f"/proc/{child}").exists()
    time.sleep(chance.uniform(0, 0.03))
    return len(set(models.asked[before:])) > 0 and Path(f"/proc/{child}").exists()


@pytest.mark.campaign
@pytest.mark.timeout(3600)
def test_kill_9_at_any_point_pays_for_no_committed_cell_again_and_loses_none(
    home: Path, campaign: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    points = 100 if campaign else 5
    chance = random.Random(20261128)
    killed = comparisons = again = most = 0
    with runners() as ([runner], models):
        while killed < points:
            name = f"c{comparisons}"
            comparisons += 1
            doubtful: Counter[str] = Counter()  # keys that were under way at a kill
            last: set[str] = set()
            settled: dict[str, int] = {}  # answers on the disk, and how often they had been asked for by then
            told = None
            while told is None:
                child = runner.start(name)
                if killed < points and _wait_for_a_moment(models, child, chance, whole=comparisons * _CELLS):
                    os.kill(child, signal.SIGKILL)
                told = runner.end()
                if told is None:
                    killed += 1
                    kept = Kept(home, name)
                    last, most = kept.claimed, max(most, len(kept.claimed))
                    doubtful.update(kept.claimed)
                    times = Counter(map(text_of, models.asked))
                    for text in kept.texts:
                        settled.setdefault(text, times[text])
                    assert set(kept.cells.values()) <= {1}
                    assert not kept.claimed & set(kept.cells)

            kept = Kept(home, name)
            times = Counter(text_of(a) for a in models.asked if a[1].startswith(f"{name} "))
            assert len(told["texts"]) == len(kept.cells) == len(times) == _CELLS, "one is lost"
            assert set(kept.cells.values()) == {1}
            assert kept.claimed == set()
            assert {text: times[text] for text in settled} == settled, "a committed cell was asked again"
            twice = sum(n - 1 for n in times.values())
            assert twice <= sum(doubtful.values()), "more were asked again than were under way"
            assert said_to_be_lost(told["notes"]) == len(last)
            again += twice
    with capsys.disabled():
        print(
            f"\n  kill -9 at {killed} points in {comparisons} comparisons of {_CELLS} cells: 0 lost, 0 committed asked "
            f"again, {again} asked twice, at most {most} under way at a kill"
        )
    assert most <= 2 * _AT_ONCE  # those that wait for an answer, and those whose answer is being written down


@pytest.mark.parametrize("number", [2, 4])
def test_processes_on_one_name_ask_each_cell_once_and_all_have_the_whole(home: Path, number: int) -> None:
    with runners(number) as (made, models):
        for runner in made:
            runner.start("shared")
        told = [runner.end() for runner in made]
    assert set(models.times().values()) == {1}
    assert len(models.asked) == _CELLS
    whole = sorted(map(text_of, models.asked))
    assert all(t is not None and t["texts"] == whole for t in told)
    kept = Kept(home, "shared")
    assert (len(kept.cells), kept.claimed) == (_CELLS, set())


def test_of_several_processes_on_one_name_the_others_finish_what_a_killed_one_began(home: Path) -> None:
    with runners(3) as (made, models):
        doomed, *others = [(runner, runner.start("shared")) for runner in made]
        while len(models.asked) < _CELLS // 4:
            time.sleep(0.001)
        os.kill(doomed[1], signal.SIGKILL)
        assert doomed[0].end() is None
        told = [runner.end() for runner, _ in others]
    whole = sorted(set(map(text_of, models.asked)))
    assert len(whole) == _CELLS
    assert all(t is not None and t["texts"] == whole for t in told)
    assert len(models.asked) - _CELLS <= 2 * _AT_ONCE
    assert set(Kept(home, "shared").cells.values()) == {1}
