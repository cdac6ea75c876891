"""`nbllm clean`: what can go without loss, or with a loss that is said. Never the store, the vault or `config.toml`.

- cache: model lists, the copy of models.dev, tests of connections, the memory of failures. All can be asked for again.
- backups: of each kind (earlier versions of config.toml, copies of each tool's configs, of the store, of journals) all
  but the newest five.
- stale: lists older than the setting `listing_ttl_s`, lists and tests of providers that are no more, and what writers
  that were killed left behind.

Only files of ours are looked at, by their names: NBLLM_HOME may be a folder that holds other things too.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from nbllm.catalog import models_dev
from nbllm.catalog.failures import FILE_NAME
from nbllm.cli.stats import in_bytes, size_of
from nbllm.errors import RegistryError, UnknownProviderError
from nbllm.files import is_stale_temporary
from nbllm.providers.spec import ProviderConfig
from nbllm.tables import Table
from nbllm.workspace import Workspace

Option = Literal["cache", "backups", "stale"]
OPTIONS: tuple[Option, ...] = ("cache", "backups", "stale")
KEPT = 5
"""The newest backups of a kind stay."""
_HALF_AFTER_S = 3600.0

_BACKUPS = (
    ("earlier versions of config.toml", re.compile(r"config-\d{8}T\d{15}-.*\.toml")),
    ("copies of the store", re.compile(r".+-\d{4}-[0-9T:Z.-]+\.db")),
    ("journals that are in the store", re.compile(r"journal-.*\.jsonl")),
)
_OF_A_TOOL = re.compile(r"(\d{8}T\d{15}Z)-([a-z0-9-]+)-[0-9a-f]{8}")


@dataclass(frozen=True, slots=True)
class Item:
    """Something that can go."""

    option: Option
    path: Path
    what: str
    """Of which it is one, in the plural."""
    size_bytes: int


def removable(workspace: Workspace, options: Iterable[Option] = OPTIONS) -> list[Item]:
    """What can go, each path once."""
    looks = {"cache": _cache, "backups": _backups, "stale": _stale}
    found: dict[Path, Item] = {}
    for option in options:
        for path, what in looks[option](workspace):
            found.setdefault(path, Item(option, path, what, size_of([path])))
    return list(found.values())


def remove(items: Sequence[Item]) -> list[tuple[Item, OSError | None]]:
    """Remove them; with each why it could not be. What another process removed meanwhile is gone as well."""
    return [(item, _removed(item.path)) for item in items]


def _removed(path: Path) -> OSError | None:
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except FileNotFoundError:
        return None
    except OSError as exc:
        return exc
    return None


# ---------------------------------------------------------------- what can go

_Found = Iterator[tuple[Path, str]]


def _cache(workspace: Workspace) -> _Found:
    folder = workspace.paths.cache_dir
    for path in _files(folder / "listings", "*.json"):
        yield path, "model lists"
    for path in _files(folder / "checks", "*.json"):
        yield path, "tests of connections"
    for name, what in ((models_dev.FILE, "copies of models.dev"), (FILE_NAME, "memories of failures")):
        for path in _files(folder, name):
            yield path, what


def _backups(workspace: Workspace) -> _Found:
    folder = workspace.paths.backups
    for what, pattern in _BACKUPS:
        ours = (p for p in _files(folder, "*") if pattern.fullmatch(p.name))
        for path in sorted(ours, key=_age_order, reverse=True)[KEPT:]:
            yield path, what
    tools: dict[str, list[Path]] = {}
    for path in _entries(folder / "configs"):
        if (found := _OF_A_TOOL.fullmatch(path.name)) and path.is_dir() and not path.is_symlink():
            tools.setdefault(found[2], []).append(path)
    for tool, paths in tools.items():
        for path in sorted(paths, reverse=True)[KEPT:]:
            yield path, f"backups of {tool}'s configs"


def _age_order(path: Path) -> tuple[float, str]:
    try:
        return path.stat().st_mtime, path.name
    except OSError:
        return 0.0, path.name


def _stale(workspace: Workspace) -> _Found:
    cache = workspace.paths.cache_dir
    if workspace.registry.config_error is not None:  # else the user's own providers would seem to be gone
        raise workspace.registry.config_error
    for path in _files(cache / "listings", "*.json"):
        row = _row(workspace, path.stem)
        kept = workspace.listings.kept(row) if isinstance(row, ProviderConfig) else None
        if row is None:
            yield path, "lists of providers that are no more"
        elif kept is None and row != "unusable":
            yield path, "lists of another address, or that cannot be read"
        elif kept is not None and kept.stale:
            yield path, "lists that are old"
    for path in _files(cache / "checks", "*.json"):
        if _row(workspace, path.stem) is None:
            yield path, "tests of providers that are no more"
    yield from _left_behind(workspace)


def _row(workspace: Workspace, id: str) -> ProviderConfig | Literal["unusable"] | None:
    """A provider's row; None: there is none. A row with a mistake in it is there all the same."""
    try:
        return workspace.registry.get(id)
    except UnknownProviderError:
        return None
    except RegistryError:
        return "unusable"


def _left_behind(workspace: Workspace) -> _Found:
    paths = workspace.paths
    cache = paths.cache_dir
    for folder in dict.fromkeys(
        (paths.config_dir, paths.data_dir, cache, cache / "listings", cache / "checks", paths.backups)
    ):
        for path in _files(folder, ".*"):
            if _is_left(path):
                yield path, "files that a killed program left"
    for path in _entries(paths.backups / "configs"):
        half = path.name.startswith(".") and _OF_A_TOOL.fullmatch(path.name[1:])
        if half and path.is_dir() and time.time() - _age_order(path)[0] > _HALF_AFTER_S:
            yield path, "backups that were not finished"


def _is_left(path: Path) -> bool:
    try:
        return is_stale_temporary(path)
    except OSError:
        return False


def _files(folder: Path, pattern: str) -> list[Path]:
    """Plain files of a folder, in the order of their names."""
    return [p for p in _entries(folder) if p.match(pattern) and p.is_file() and not p.is_symlink()]


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


# ---------------------------------------------------------------- for people


def summary(items: Sequence[Item]) -> Table:
    """What can go, a line a kind."""
    rows: dict[tuple[str, str], tuple[int, int]] = {}
    for item in items:
        count, size = rows.get((item.option, item.what), (0, 0))
        rows[item.option, item.what] = count + 1, size + item.size_bytes
    return Table(
        [
            {"option": f"--{option}", "what": what, "count": count, "size": in_bytes(size)}
            for (option, what), (count, size) in rows.items()
        ],
        columns=("option", "what", "count", "size"),
    )
