"""The course against real servers and without any: what its recordings show is what happens, and it runs anywhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import nbformat
import psutil
import pytest

import course

BOOKS = sorted(course.NOTEBOOKS.glob("*.ipynb"))
REPLAYED = course.replayed()
REPO = course.NOTEBOOKS.parent
MOST_BYTES = 1_000_000_000
"""What a kernel of the course may take at its peak, with the processes that it starts: small machines are common."""
LARGEST_RECORDING = {"05-compare-models": 3_000_000}
"""Bytes; 1 MB elsewhere. In the fifth are 240 verdicts."""


def _depends_on_home(cell: Any) -> bool:
    """Strict runs do not look at its output: what it shows depends on what was done in that home before."""
    return "nbval-ignore-output" in cell.metadata.get("tags", ())


HOMELY = [b for b in BOOKS if any(map(_depends_on_home, nbformat.read(b, as_version=4).cells))]


def _names(books: list[Path]) -> list[str]:
    return [book.stem for book in books]


def _outputs(node: Any) -> list[tuple[str, str]]:
    """What strict nbval compares: every text and every page, cell by cell.

    A cell's printed text is one: in how many messages a kernel sends it depends on its pace.
    """
    found = []
    for cell in node.cells:
        outputs = cell.get("outputs", [])
        printed = "".join(o.text for o in outputs if o.output_type == "stream" and o.name == "stdout")
        found += [("stdout", printed)] if printed else []
        for output in outputs:
            if output.output_type == "error":
                found.append((output.ename, output.evalue))
            found += [(kind, text) for kind, text in sorted(output.get("data", {}).items()) if kind.startswith("text/")]
    return found


# ---------------------------------------------------------------- recordings


def test_the_course_has_notebooks_that_are_replayed() -> None:
    """Else the tests below would hold by testing nothing."""
    assert {"05-compare-models", "06-notebooks-that-rerun", "07-from-notebook-to-paper"} <= set(_names(REPLAYED))
    assert len(BOOKS) >= 7


@pytest.mark.timeout(400)
@pytest.mark.parametrize("notebook", REPLAYED, ids=_names(REPLAYED))
def test_a_notebook_holds_live_and_replays_to_the_same_outputs(notebook: Path, tmp_path: Path) -> None:
    """Against three real llama.cpp servers, then from the recording that this made, in a home that knows nothing."""
    recording = tmp_path / "fresh.replay.jsonl"
    with course.three_servers(tmp_path) as (instead, keys):
        live = course.run(notebook, home=tmp_path / "live", recording=recording, instead=instead, environ=keys)
    replayed = course.run(notebook, home=tmp_path / "replayed", recording=recording)
    # The addresses of the servers are named where providers are added; all else is the same, times included.
    changed = [
        (a, b) for a, b in zip(_outputs(live), _outputs(replayed), strict=True) if a != b and "127.0.0.1" not in a[1]
    ]
    assert changed == []
    assert _asked(recording) == _asked(notebook.with_name(f"{notebook.stem}.replay.jsonl"))
    assert not any(key in recording.read_text() for key in keys.values())


def _asked(recording: Path) -> Counter[str]:
    """How often each server was asked. The demo is left out: as a judge it is not asked about equal answers."""
    lines = recording.read_text(encoding="utf-8").splitlines()
    found = Counter(json.loads(line)["provider"] for line in lines)
    del found["demo"]
    return found


@pytest.mark.parametrize("notebook", REPLAYED, ids=_names(REPLAYED))
def test_a_recording_of_the_course_is_small_and_whole(notebook: Path) -> None:
    """It travels with the package."""
    recording = notebook.with_name(f"{notebook.stem}.replay.jsonl")
    assert recording.stat().st_size < LARGEST_RECORDING.get(notebook.stem, 1_000_000)
    done = subprocess.run(
        [sys.executable, "-m", "nbllm", "replay", "verify", str(recording)],
        env=os.environ | {"PYTHONPATH": str(REPO / "src")}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stdout.endswith("good, 0 with a problem\n")) == (0, True), done.stdout + done.stderr


# ---------------------------------------------------------------- strict runs


@pytest.mark.campaign
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("notebook", BOOKS, ids=_names(BOOKS))
def test_a_notebook_is_green_in_strict_runs_and_stays_small(
    notebook: Path, campaign: bool, tmp_path: Path, record_property: Any
) -> None:
    """No key, no network, no keyring; every output as it is saved, in a fresh home and then once more in the same."""
    peaks, seconds = [], []
    for number in range(20 if campaign else 2):
        began = time.monotonic()
        status, said, peak = _strict_run(notebook, tmp_path / str(number // 2))
        assert status == 0, f"run {number + 1}:\n{said}"
        peaks.append(peak)
        seconds.append(time.monotonic() - began)
    record_property("peak_mb", max(peaks) / 1e6)
    print(f"\n{notebook.stem}: {len(peaks)} green, peak {max(peaks) / 1e6:.0f} MB, slowest {max(seconds):.0f} s")
    assert 0 < max(peaks) < MOST_BYTES


@pytest.mark.parametrize("notebook", HOMELY, ids=_names(HOMELY))
def test_an_output_that_depends_on_the_home_is_saved_as_a_fresh_home_gives_it(notebook: Path, tmp_path: Path) -> None:
    """So that the tag hides no rot."""
    recording = notebook.with_name(f"{notebook.stem}.replay.jsonl") if notebook in REPLAYED else None
    fresh = course.run(notebook, home=tmp_path / "fresh", recording=recording)
    assert _outputs(fresh) == _outputs(nbformat.read(notebook, as_version=4))


def _strict_run(notebook: Path, home: Path) -> tuple[int, str, int]:
    """Exit status, what was said, and the most bytes that the kernel took."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("NBLLM_", "PYTEST_", "COLUMNS"))}
    environ = kept | {
        "NBLLM_HOME": str(home),
        "NBLLM_OFFLINE": "1",
        "PYTHONPATH": str(REPO / "src"),
        "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring",
    }
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--nbval",
        "-q",
        "-p",
        "no:randomly",
        "-p",
        "no:cacheprovider",
        str(notebook),
    ]
    # Into a file: nobody reads a pipe meanwhile, and a run that fails says more than one holds.
    with home.with_name(f"{home.name}.txt").open("w+") as said:
        with subprocess.Popen(command, cwd=REPO, env=environ, stdout=said, stderr=subprocess.STDOUT) as running:
            peak = 0
            while running.poll() is None:
                peak = max(peak, sum(_bytes_of_kernels(running.pid)))
                time.sleep(0.1)
        said.seek(0)
        return running.returncode, said.read(), peak


def _bytes_of_kernels(pid: int) -> Iterator[int]:
    """Resident bytes of each process below `pid`: kernels, and what they started. Shared pages count in each."""
    try:
        below = psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return
    for process in below:
        try:
            yield process.memory_info().rss
        except psutil.NoSuchProcess:
            continue


@pytest.mark.parametrize("notebook", BOOKS, ids=_names(BOOKS))
def test_a_saved_output_names_no_place_of_its_authors(notebook: Path) -> None:
    """Its folders are nobody else's."""
    text = "\n".join(part for _, part in _outputs(nbformat.read(notebook, as_version=4)))
    for folder in (str(REPO), "/tmp/", "/home/", "/root/"):
        assert folder not in text


@pytest.mark.parametrize(("notebook", "following"), list(pairwise(BOOKS)), ids=_names(BOOKS[:-1]))
def test_a_notebook_names_the_next_one(notebook: Path, following: Path) -> None:
    """Whoever reads to the end finds the way on, and an aim stands at the beginning of each."""
    cells = nbformat.read(notebook, as_version=4).cells
    assert "\nAim: " in cells[0].source
    assert f"Next: *{following.stem}*" in cells[-1].source
