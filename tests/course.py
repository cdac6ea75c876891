"""The notebooks of the course, run against real servers: to see that they hold, and to make their recordings anew.

    python tests/course.py notebooks/05-compare-models.ipynb
    python tests/course.py --outputs notebooks/05-compare-models.ipynb

The first starts three llama.cpp servers with tiny models, runs the notebook while it records, and then once more from
the recording, so that the outputs that are saved are those of a replay. The second only does that last step, after a
change of words. A notebook without a recording is run as it stands.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
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
NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"
_REPLAY = re.compile(r"%llm_replay replay$", re.M)
"""The recording beside the notebook. One that the notebook makes for itself has a name there, and is left alone."""
_AUTO = re.compile(r"%llm_replay auto(?= \S)")
"""While the course is recorded the servers are there, and a notebook that shows how they are missed would ask them."""


def replayed() -> list[Path]:
    """The notebooks of the course that are answered from a recording."""
    books = sorted(NOTEBOOKS.glob("*.ipynb"))
    return [b for b in books if any(_REPLAY.search(cell.source) for cell in nbformat.read(b, as_version=4).cells)]


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
    notebook: Path,
    *,
    home: Path,
    recording: Path | None = None,
    instead: Mapping[str, str] | None = None,
    environ: Mapping[str, str] | None = None,
) -> nbformat.NotebookNode:
    """Run a notebook of the course in a kernel of its own.

    Args:
        notebook: Is not changed.
        home: NBLLM_HOME.
        recording: Stands in the place of the one beside the notebook.
        instead: Addresses in its cells, and what is asked in their place. With it the recording is made, without it
            the recording answers. The cells that come back are as they were.
        environ: More variables of the kernel.
    """
    node = nbformat.read(notebook, as_version=4)
    sources, metadata = [cell.source for cell in node.cells], deepcopy(node.metadata)
    for cell in node.cells:
        cell.source = _as_run(cell.source, recording, instead or {})
    variables = {**os.environ, **(environ or {}), "NBLLM_HOME": str(home)}
    client = NotebookClient(
        node, timeout=300, coalesce_streams=True, resources={"metadata": {"path": str(notebook.parent)}}
    )
    client.execute(env=variables)
    node.metadata = metadata  # neither the version of Python nor the state of widgets is to be committed
    for cell, source in zip(node.cells, sources, strict=True):
        cell.source = source
        cell.metadata.pop("execution", None)
    return node


def _as_run(source: str, recording: Path | None, instead: Mapping[str, str]) -> str:
    for address, other in instead.items():
        source = source.replace(address, other)
    if recording is not None:
        verb = "record" if instead else "replay"
        source = _REPLAY.sub(lambda _: f"%llm_replay {verb} {recording}", source)
    return _AUTO.sub("%llm_replay replay", source) if instead else source


def record(notebook: Path) -> None:
    """Make the recording of a notebook anew, if it has one."""
    if notebook not in replayed():
        return
    recording = _recording_of(notebook)
    with tempfile.TemporaryDirectory() as place, three_servers(Path(place)) as (instead, keys):
        recording.unlink(missing_ok=True)
        run(notebook, home=Path(place) / "a", recording=recording, instead=instead, environ=keys)
    recording.chmod(0o644)  # it is to be published


def save_outputs(notebook: Path) -> None:
    """Run a notebook from its recording, and keep what comes in it."""
    with tempfile.TemporaryDirectory() as place:
        node = run(notebook, home=Path(place), recording=_recording_of(notebook))
    nbformat.write(node, notebook)


def _recording_of(notebook: Path) -> Path:
    return notebook.with_name(f"{notebook.stem}.replay.jsonl")


if __name__ == "__main__":
    for name in sys.argv[1:]:
        if name != "--outputs":
            if "--outputs" not in sys.argv:
                record(Path(name).resolve())
            save_outputs(Path(name).resolve())
