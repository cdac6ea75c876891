"""A project of somebody who uses nbllm, and real runs of pytest in it: another process, another home, no keys.

project = Project(tmp_path)
project.write("test_story.py", "...")
done = project.pytest("--nbllm-replay=record")
done.code, done.text
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from textwrap import dedent

import nbformat

REPO = Path(__file__).resolve().parent.parent
KEY = "canary-7hQ2vX9pL4mT8wZ1kR6n"
PLUGIN = "nbllm.testing.plugin"


@dataclass(frozen=True)
class Done:
    """How a run of pytest ended."""

    code: int
    text: str
    """All it said, without colours."""

    def counts(self) -> str:
        """The line of nbllm."""
        return next((line for line in self.text.splitlines() if line.startswith("nbllm: ") and "miss" in line), "")


class Project:
    """A folder, and the environment of its user.

    Args:
        folder: An empty one.
        peer: The address of the provider `peer`; None: nobody is there.
    """

    def __init__(self, folder: Path, peer: str | None = None) -> None:
        self.folder = folder
        self.peer = peer
        folder.mkdir(parents=True, exist_ok=True)

    def write(self, name: str, text: str) -> Path:
        """A file of the project."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text), encoding="utf-8")
        return path

    def notebook(self, name: str, *cells: str) -> Path:
        """A notebook that has not been run."""
        made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
        made.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(made, path)
        return path

    def environ(self, *, key: bool = False, **more: str) -> dict[str, str]:
        """The user's variables: the provider `peer`, with a key or without one."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "NBLLM_"))}
        kept |= {"NBLLM_MODELS_DEV_URL": "off", "PEER_BASE_URL": self.peer or "http://127.0.0.1:9/v1", "NO_COLOR": "1"}
        kept |= {"PEER_API_KEY": KEY} if key else {"PEER_MODELS": "m"}
        user = self.folder.parent / "user"
        user.mkdir(exist_ok=True)
        kept |= {"HOME": str(user), "IPYTHONDIR": str(user / "ipython"),
                 "JUPYTER_CONFIG_DIR": str(user / "jupyter"), "JUPYTER_RUNTIME_DIR": str(user / "runtime")}  # fmt: skip
        path = os.pathsep.join([str(REPO / "src"), str(REPO / "tests"), os.environ.get("PYTHONPATH", "")])
        return kept | {"PYTHONPATH": path.rstrip(os.pathsep)} | more

    def pytest(self, *words: str, key: bool = False, folder: Path | None = None, **more: str) -> Done:
        """Run it with this plugin and those that the words ask for: loading all takes seconds."""
        plugins = ["-p", PLUGIN]
        for word, plugin in (("-n", "xdist"), ("--nbval", "nbval.plugin"), ("--nbval-lax", "nbval.plugin")):
            plugins += ["-p", plugin] if word in words else []
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *plugins, *words]
        return self.run(command, self.environ(key=key, PYTEST_DISABLE_PLUGIN_AUTOLOAD="1", **more), folder)

    def pytest_with_all(self, *words: str, key: bool = False, **more: str) -> Done:
        """Run it as the user has it: every plugin that is installed, this one through its entry point."""
        unwanted = ["-p", "no:randomly", "-p", "no:cacheprovider"]
        command = [sys.executable, "-m", "pytest", *unwanted, *plugin_words(), *words]
        return self.run(command, self.environ(key=key, **more))

    def save(self, name: str, recording: str, *, mode: str = "replay", key: bool = False) -> None:
        """Run a notebook and save it with its outputs, as people do."""
        command = [sys.executable, "-m", "jupyter", "execute", "--inplace", name]
        path = self.folder / recording
        done = self.run(command, self.environ(key=key, NBLLM_REPLAY=f"{mode}:{path}"))
        assert done.code == 0, done.text

    def run(self, command: list[str], environ: Mapping[str, str], folder: Path | None = None) -> Done:
        """A command in the project's folder."""
        done = subprocess.run(
            command, cwd=folder or self.folder, env=environ, capture_output=True, text=True, timeout=300, check=False
        )
        return Done(done.returncode, done.stdout + done.stderr)


def plugin_words() -> list[str]:
    """For a run that loads all plugins; a checkout that was installed before it had one names it by hand."""
    installed = any(point.value == PLUGIN for point in entry_points(group="pytest11"))
    return [] if installed else ["-p", PLUGIN]
