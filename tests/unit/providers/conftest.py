"""A registry over a home of its own and an environment that is a plain dict."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from nbllm.providers.registry import Registry
from nbllm.settings import ConfigFile, Paths, Settings


@dataclass
class Bench:
    """A registry and what it reads."""

    file: Path
    environ: dict[str, str] = field(default_factory=dict)

    def registry(self) -> Registry:
        """A registry as a fresh kernel would have it."""
        config = ConfigFile(Paths(self.file.parent, self.file.parent, self.file.parent / "cache"))
        return Registry(config, Settings(config, self.environ))

    def write(self, text: str) -> None:
        """Make `text` the user's file."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.file.write_text(text, encoding="utf-8")


@pytest.fixture
def bench(home: Path) -> Bench:
    """A fresh bench."""
    return Bench(home / "config.toml")


@pytest.fixture
def registry(bench: Bench) -> Registry:
    """Its registry."""
    return bench.registry()


_NUMBERS = itertools.count()
InstallPackage = Callable[[str, str], None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> InstallPackage:
    """Install a package that has an entry point: its module's source, and the entry points' text."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))

    def put(source: str, entry_points: str) -> None:
        number = next(_NUMBERS)  # a module is imported once, so each has a name of its own
        (folder / f"acme_rows_{number}.py").write_text(source)
        info = folder / f"acme_rows_{number}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: acme-rows-{number}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(entry_points.replace("MODULE", f"acme_rows_{number}"))

    return put
