"""The notebooks of the course, run against real servers: to see that they hold, and to make their recordings anew.

    python tests/course.py notebooks/05-compare-models.ipynb

starts three llama.cpp servers with tiny models, runs the notebook while it records, and then once more from the
recording, so that the outputs that are saved are those of a replay.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import nbformat
from nbclient import NotebookClient

import tiny_gguf
from nbllm import aio
from nbllm.local.servers import LocalServers
from nbllm.providers.spec import ProviderConfig

MODELS: Mapping[str, tuple[str, int, float]] = {
    "alder": ("http://127.0.0.1:18191/v1", 7, 60.0),
    "birch": ("http://127.0.0.1:18192/v1", 7, 60.0),
    "cedar": ("http://127.0.0.1:18193/v1", 9, 8.0),
}
"""Provider to the address that the notebooks name, its model's seed, and the words that it writes before it stops."""
REPLAY = "%llm_replay replay"


@contextmanager
def three_servers(folder: Path) -> Iterator[tuple[dict[str, str], dict[str, str]]]:
    """llama.cpp with a tiny model each, on free ports: what to say in the place of which address, and their keys."""
    servers = LocalServers()
    instead: dict[str, str] = {}
    keys: dict[str, str] = {}
    try:
        for name, (address, seed, stop) in MODELS.items():
            path = tiny_gguf.write(folder / f"{name}.gguf", seed=seed, name=name, words_before_stop=stop, context=1024)
            url, key = aio.run(servers.endpoint_url(ProviderConfig(id=name, gguf=str(path))))
            instead[address] = url
            keys[f"{name.upper()}_API_KEY"] = key.reveal()
        yield instead, keys
    finally:
        servers.close()


def run(
    notebook: Path, *, home: Path, instead: Mapping[str, str], environ: Mapping[str, str] | None = None
) -> nbformat.NotebookNode:
    """Run a notebook of the course in a kernel of its own.

    Args:
        notebook: Is not changed.
        home: NBLLM_HOME.
        instead: Texts of its cells, and what is run in their place; the cells that come back are as they were.
        environ: More variables of the kernel.
    """
    node = nbformat.read(notebook, as_version=4)
    sources = [cell.source for cell in node.cells]
    for cell in node.cells:
        for text, other in instead.items():
            cell.source = cell.source.replace(text, other)
    variables = {**os.environ, **(environ or {}), "NBLLM_HOME": str(home)}
    client = NotebookClient(node, timeout=300, resources={"metadata": {"path": str(notebook.parent)}})
    client.execute(env=variables)
    for cell, source in zip(node.cells, sources, strict=True):
        cell.source = source
        cell.metadata.pop("execution", None)
    return node


def record(notebook: Path) -> None:
    """Make the recording of a notebook anew, and its outputs."""
    recording = notebook.with_name(f"{notebook.stem}.replay.jsonl").absolute()
    with tempfile.TemporaryDirectory() as place, three_servers(Path(place)) as (instead, keys):
        recording.unlink(missing_ok=True)
        run(
            notebook,
            home=Path(place) / "a",
            instead=instead | {REPLAY: f"%llm_replay record {recording}"},
            environ=keys,
        )
    with tempfile.TemporaryDirectory() as place:
        node = run(notebook, home=Path(place), instead={REPLAY: f"{REPLAY} {recording}"})
    nbformat.write(node, notebook)


if __name__ == "__main__":
    record(Path(sys.argv[1]))
