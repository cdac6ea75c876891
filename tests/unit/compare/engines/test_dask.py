"""The engine of a cluster: the same cells as in one process, also when workers, the driver or keys are lost."""

from __future__ import annotations

import json
import logging
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import distributed
import pytest

from compare_server import Models, compare, comparing, echo
from kernels import SRC, TESTS, Kernel, peer
from nbllm.compare.options import CompareOptions
from nbllm.errors import StoreError, UnreachableError, UnsupportedError
from nbllm.store import Changes
from nbllm.store.store import Store
from nbllm.workspace import Workspace

PROMPTS = [f"p{number}" for number in range(60)]
CELLS = 2 * len(PROMPTS)
_FACTS = ("cell_key", "prompt_id", "prompt", "model", "params", "repeat", "status", "text", "input_tokens",
          "output_tokens", "finish_reason")  # fmt: skip


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Two processes of one thread each, with a home of their own and no key."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NBLLM_HOME", str(tmp_path_factory.mktemp("workers")))
        patch.setenv("NBLLM_MODELS_DEV_URL", "off")
        with distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0", silence_logs=logging.CRITICAL
        ) as made:
            yield made


@pytest.fixture
def client(cluster: Any) -> Iterator[Any]:
    """A client of it, which its user has as the default."""
    with distributed.Client(cluster) as made:
        made.wait_for_workers(2)
        yield made


def slow(model: str, prompt: str) -> str:
    """A model that takes its time."""
    time.sleep(0.05)
    return echo(model, prompt)


def facts(rows: Any) -> list[dict[str, Any]]:
    """What must not depend on who asked."""
    return [{name: row[name] for name in _FACTS} for row in rows]


def wait_until_quiet(models: Models) -> None:
    """Until the server has heard nothing new for a second, which is longer than workers take to notice."""
    seen = -1
    while seen != len(models.asked):
        seen = len(models.asked)
        time.sleep(1.2)


def test_two_processes_give_what_one_gives_cell_for_cell(client: Any) -> None:
    with comparing() as (workspace, models):
        local = compare(workspace, PROMPTS, repeats=2, params={"temperature": [0, 1]})
        asked = models.times()
        models.asked.clear()
        found = compare(workspace, PROMPTS, repeats=2, params={"temperature": [0, 1]}, engine="dask", cluster=client)
        assert facts(found.cells) == facts(local.cells)
        assert len(found) == 4 * CELLS
        assert models.times() == asked
        assert distributed.default_client() is client  # the user's own stays the default


def test_a_cluster_is_given_by_its_address_or_by_its_client_and_resumes_what_another_engine_began(client: Any) -> None:
    address = client.scheduler.address
    with comparing() as (workspace, models):
        compare(workspace, PROMPTS[:5], name="n")
        compare(workspace, PROMPTS[:10], name="n", engine="dask", cluster=address)
        found = compare(workspace, PROMPTS[:20], name="n", engine="dask", cluster=client)
        assert set(models.times().values()) == {1}
        assert [row["status"] for row in found.cells] == ["ok"] * 40


def test_a_cluster_of_threads_in_this_process_leaves_the_rows_of_the_session_as_they_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("distributed.comm.inproc.get_ip", lambda: "127.0.0.1")  # else it asks the system for a route
    with (
        comparing(rate_limit={"concurrency": 6}) as (workspace, models),
        distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=False,
            dashboard_address="127.0.0.1:0",
            silence_logs=logging.CRITICAL,
        ) as threads,
        distributed.Client(threads) as client,
    ):
        monkeypatch.setattr("nbllm.workspace._current", workspace)
        before = workspace.registry.get("lab")
        found = compare(workspace, PROMPTS, engine="dask", cluster=client)
        monkeypatch.setattr("nbllm.workspace._current", None)
        assert workspace.registry.get("lab") == before
        assert client.status == "running"  # a shard has not closed it
    assert facts(found.cells)[0]["text"] == "a says p0"
    assert set(models.times().values()) == {1}
    assert len(models.asked) == CELLS


def test_a_worker_that_is_killed_takes_no_answer_along(client: Any) -> None:
    with comparing(slow, rate_limit={"concurrency": 8}) as (workspace, models):
        making = workspace.comparisons.open(
            CompareOptions(prompts=PROMPTS, models=["lab/a", "lab/b"], engine="dask", cluster=client, name="n")
        )
        kept_before: list[set[str]] = []

        def kill(progress: Any) -> None:
            if progress.done >= 30 and not kept_before:
                kept_before.append(set())
                pid = next(iter(client.run(os.getpid).values()))
                os.kill(pid, signal.SIGKILL)
                answered = workspace.comparisons.load("n").cells
                kept_before[0] |= {row["text"] for row in answered}

        making.complete(kill)
        found = making.comparison()
    assert kept_before
    assert [row["status"] for row in found.cells] == ["ok"] * CELLS
    times = {echo(*asked): count for asked, count in models.times().items()}
    assert {times[text] for text in kept_before[0]} == {1}, "a cell that was kept was asked again"
    # Four were under way on that worker, and what it had heard in its last moment it had not told yet.
    assert CELLS <= len(models.asked) <= CELLS + 8
    assert any("a worker was lost" in note for note in found.notes)


def test_a_scheduler_that_is_not_there_is_told_before_anything_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nbllm.compare.engines.dask._CONNECT_S", 0.5)
    with comparing() as (workspace, models):
        for address in ("tcp://127.0.0.1:9", "nowhere:at:all"):
            with pytest.raises(UnreachableError, match="there is no Dask scheduler"):
                compare(workspace, engine="dask", cluster=address)
        with pytest.raises(UnsupportedError, match="no Dask client"):
            compare(workspace, engine="dask", cluster=7)
        assert models.asked == []


def test_what_workers_could_not_do_is_refused(tmp_path: Path, client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with comparing() as (workspace, models):
        monkeypatch.setenv("NBLLM_REPLAY", f"replay:{tmp_path / 'recording.jsonl'}")
        with pytest.raises(UnsupportedError, match="no recording"):
            compare(workspace, engine="dask", cluster=client)
        assert models.asked == []


# ---------------------------------------------------------------- keys

_KEY, _HEADER, _PROMPT = "sk-canary-0123456789abcdef", "header-canary-42", "prompt-canary"


def _with_a_key(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """`own`, the same server with a key from the environment and a header."""
    monkeypatch.setenv("OWN_API_KEY", _KEY)
    url = workspace.registry.get("lab").base_url
    workspace.registry.add("own", base_url=url, kind="openai", key_optional=False, headers={"X-Team": _HEADER})


def test_a_key_that_the_workers_do_not_have_stops_the_lane_and_says_where_to_set_it(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with comparing() as (workspace, models):
        _with_a_key(workspace, monkeypatch)
        found = compare(workspace, PROMPTS, ["own/a", "lab/b"], engine="dask", cluster=client)
    assert {row["error_type"] for row in found.cells if row["model"] == "own/a"} <= {"MissingKeyError"}
    assert [row["text"] for row in found.cells if row["model"] == "lab/b"] == [echo("b", p) for p in PROMPTS]
    note = next(note for note in found.notes if "own was stopped" in note)
    assert "on the workers" in note
    assert "set OWN_API_KEY" in note
    assert {model for model, _ in models.asked} == {"b"}


def test_neither_key_nor_header_is_in_what_is_sent_to_the_workers(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    shipped: list[bytes] = []
    real = distributed.Client.submit

    def submit(self: Any, function: Any, *args: Any, **options: Any) -> Any:
        shipped.append(pickle.dumps((function, args, options)))
        return real(self, function, *args, **options)

    monkeypatch.setattr(distributed.Client, "submit", submit)
    with comparing(rate_limit={"concurrency": 8, "requests_per_minute": 50_000}) as (workspace, _):
        _with_a_key(workspace, monkeypatch)
        compare(workspace, [_PROMPT], ["own/a", "lab/b"], engine="dask", cluster=client)
    whole = b"".join(shipped)
    assert _PROMPT.encode() in whole  # the search finds what is there
    assert b"OWN_API_KEY" in whole
    assert _KEY.encode() not in whole
    assert _HEADER.encode() not in whole
    assert b"X-Team" not in whole
    payloads = [json.loads(args[0]) for _, args, _ in map(pickle.loads, shipped)]
    [lab] = [payload for payload in payloads if "lab" in payload["rows"]]
    assert lab["rows"]["lab"]["rate_limit"] == {"concurrency": 4, "requests_per_minute": 25_000}  # a half for each
    assert lab["at_once"] == 4


# ---------------------------------------------------------------- stopped on the way


def _stopped_before_the_end(models: Models) -> None:
    wait_until_quiet(models)
    assert len(models.asked) < CELLS, "the workers went on for nobody"


def test_an_interrupt_ends_the_shards_and_keeps_what_was_answered(client: Any) -> None:
    with comparing(slow, rate_limit={"concurrency": 4}) as (workspace, models):
        options = CompareOptions(prompts=PROMPTS, models=["lab/a", "lab/b"], engine="dask", cluster=client, name="n")
        making = workspace.comparisons.open(options)

        def interrupt(progress: Any) -> None:
            if progress.done >= 5:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            making.complete(interrupt)
        _stopped_before_the_end(models)
        done = {row["text"] for row in workspace.comparisons.load("n").cells}
        assert len(done) >= 5
        asked = len(models.asked)
        found = compare(workspace, PROMPTS, name="n")
        assert not {echo(*a) for a in models.asked[asked:]} & done
        assert [row["status"] for row in found.cells] == ["ok"] * CELLS


def test_a_store_that_fails_ends_the_shards(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Store._write
    written: list[int] = []

    def write(self: Store, build: Any) -> Changes:
        if sum(written) > 10 and not self._in_memory:
            raise OSError(28, "No space left on device")
        changes = real(self, build)
        written.append(len(changes.rows.get("cells", ())))
        return changes

    with comparing(slow, rate_limit={"concurrency": 4}) as (workspace, models):
        making = workspace.comparisons.open(
            CompareOptions(prompts=PROMPTS, models=["lab/a", "lab/b"], engine="dask", cluster=client)
        )
        monkeypatch.setattr(Store, "_write", write)
        with pytest.raises(StoreError, match="No space left"):
            making.complete()
        _stopped_before_the_end(models)
        assert len(making.comparison()) > 10


_DRIVER = """
import sys
from compare_server import compare
from nbllm.workspace import Workspace
workspace = Workspace()
workspace.registry.set_session("lab", base_url=sys.argv[1], kind="openai", auth="none", rate_limit={"concurrency": 4})
compare(workspace, [f"p{number}" for number in range(60)], name="n", engine="dask", cluster=sys.argv[2])
"""


def test_a_driver_that_is_killed_is_not_asked_for_any_longer(client: Any) -> None:
    with comparing(slow) as (workspace, models):
        environ = {**os.environ, "PYTHONPATH": os.pathsep.join((SRC, TESTS))}
        url = workspace.registry.get("lab").base_url
        driver = subprocess.Popen([sys.executable, "-c", _DRIVER, url, client.scheduler.address], env=environ)
        while len(models.asked) < 10 and driver.poll() is None:
            time.sleep(0.01)
        driver.kill()
        driver.wait(30)
        _stopped_before_the_end(models)
        found = compare(workspace, PROMPTS, name="n")
        assert [row["status"] for row in found.cells] == ["ok"] * CELLS
        assert sum(row["from_store"] for row in found.cells) > 0
        assert any("paid for twice" in note for note in found.notes)


# ---------------------------------------------------------------- in a notebook


@pytest.mark.timeout(180)
def test_in_a_kernel_it_makes_a_cluster_of_its_own_quietly_and_without_a_dashboard() -> None:
    spy = """
import distributed
made = []
class Spied(distributed.LocalCluster):
    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        made.append(self)
distributed.LocalCluster = Spied
"""
    with comparing() as (workspace, models), Kernel() as kernel:
        assert kernel.run(peer(workspace.registry.get("lab").base_url)).ok
        kernel.run(spy)
        run = kernel.run("%%compare -m peer/a,peer/b --engine dask -n 5 -o found\nhello", timeout_s=120)
        assert run.ok, run.error
        assert run.stream("stderr") == ""
        assert kernel.value("[row['text'] for row in found.cells]") == ["a says hello"] * 5 + ["b says hello"] * 5
        assert kernel.value("__import__('sys').modules.get('distributed.dashboard.scheduler')") is None
        assert kernel.value("made[0].scheduler.http_server.address") == "127.0.0.1"
        assert kernel.value("str(made[0].status)") == "Status.closed"
        assert len(models.asked) == 10
