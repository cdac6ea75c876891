"""How a comparison was made, for whoever wants to check it or do it again: versions, data, grid, seed, prices.

JSON alone, in a fixed order. No key, no folder of the user's, no prompt: hashes stand for data and template.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from nbllm import __version__
from nbllm.compare.cells import KEY_VERSION, Arm, Row
from nbllm.compare.frames import json_value, without_halves

MANIFEST_VERSION = 1
"""Counts up when a field changes its meaning."""
PACKAGES = ("genai-prices", "httpx2", "openai", "pydantic", "sqlalchemy")
"""Always used; their versions are told. The others are told when this process has loaded them."""
_WHEN_LOADED = ("distributed", "jsonschema", "numpy", "pandas", "polars", "pyarrow", "scipy")
_GIT_LIMIT_S = 5.0


def manifest(
    *,
    rows: Iterable[Row] = (),
    arms: Sequence[Arm] = (),
    name: str | None = None,
    repeats: int = 1,
    seed: int = 0,
    engine: str = "local",
    data: Iterable[Mapping[str, Any]] | None = None,
    template: str | None = None,
    system: str | None = None,
    base_urls: Iterable[str] = (),
    scorers: Mapping[str, tuple[str | None, str | None]] | None = None,
    judge: str | None = None,
    rubric: str | None = None,
    started: str | None = None,
    finished: str | None = None,
    n_planned: int | None = None,
    folder: Path | None = None,
) -> dict[str, Any]:
    """The manifest of a comparison, as plain JSON whose keys always stand in the same order.

    Args:
        rows: The cells so far: they are counted, and their price versions named.
        arms: The models and parameters.
        name: The comparison's name in the store.
        repeats: How often each was asked.
        seed: Of the order of cells, and of every bootstrap.
        engine: Who did the asking.
        data: The rows that the prompts were made of; only their SHA-256 goes in.
        template, system: The prompt, or the template over `data`, and the system prompt; likewise.
        base_urls: Addresses that were asked, or hosts; only the hosts go in.
        scorers: By column, the word that names the scorer (None: a function) and its version; see `scorers.Scorer`.
        judge: The judge's model reference.
        rubric: What the judge was told; only its SHA-256 goes in.
        started: ISO, UTC. None: the earliest start among `rows`.
        finished: ISO, UTC; None while it runs.
        n_planned: Cells of the whole grid; None: as many as there are `rows`.
        folder: Where git is asked for the revision; None: the working folder.
    """
    cells = list(rows)
    found = {
        "manifest_version": MANIFEST_VERSION,
        "name": name,
        "software": software(),
        "git": git_state(folder),
        "engine": engine,
        "grid": {"arms": [_arm(arm) for arm in arms], "repeats": repeats, "seed": seed, "key_version": KEY_VERSION},
        "data_sha256": None if data is None else sha256_of_data(data),
        "template_sha256": sha256_of_text(template),
        "system_sha256": sha256_of_text(system),
        "hosts": sorted(set(filter(None, map(_host, base_urls)))),
        "price_versions": sorted({str(row["price_version"]) for row in cells if row.get("price_version")}),
        "scorers": {
            name: {"word": word, "version": version} for name, (word, version) in sorted((scorers or {}).items())
        },
        "judge": None if judge is None else {"model": judge, "rubric_sha256": sha256_of_text(rubric)},
        "started": started or min((str(row["started_at"]) for row in cells if row.get("started_at")), default=None),
        "finished": finished,
        "cells": _counts(cells, n_planned),
    }
    return dict(json_value(found))


def software() -> dict[str, Any]:
    """Versions of nbllm, Python and the packages that take part, and the platform. No path, no name of a machine."""
    used = sorted({*PACKAGES, *(package for package in _WHEN_LOADED if package in sys.modules)})
    return {
        "nbllm": __version__,
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "platform": f"{platform.system()} {platform.release()} {platform.machine()}",
        "packages": {package: version for package in used if (version := _version(package)) is not None},
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _arm(arm: Arm) -> dict[str, Any]:
    return {"model": arm.model, "params": {name: arm.params[name] for name in sorted(arm.params)}, "label": arm.label}


def _counts(cells: Sequence[Row], planned: int | None) -> dict[str, int]:
    errors = sum(row.get("status") == "error" for row in cells)
    unasked = max(0, (len(cells) if planned is None else planned) - len(cells))
    return {"ok": len(cells) - errors, "error": errors, "unasked": unasked}


def _host(address: str) -> str | None:
    """Host and port alone: user, path and query of a base URL may hold a secret."""
    parts = urlsplit(address if "//" in address else f"//{address}")
    try:
        port = parts.port
    except ValueError:
        port = None
    if parts.hostname is None:
        return None
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return host if port is None else f"{host}:{port}"


# ---------------------------------------------------------------- hashes


def sha256_of_text(text: str | None) -> str | None:
    """Of its UTF-8, half surrogates as they are; None of nothing."""
    return None if text is None else hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def sha256_of_data(data: Iterable[Mapping[str, Any]]) -> str:
    """Of the rows as JSON lines, keys sorted: another order of columns is the same data, of rows it is not."""
    digest = hashlib.sha256()
    for row in data:
        line = json.dumps(json_value(row), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        digest.update(line.encode("utf-8", "surrogatepass") + b"\n")
    return digest.hexdigest()


# ---------------------------------------------------------------- git


def git_state(folder: Path | None = None, *, timeout_s: float = _GIT_LIMIT_S) -> dict[str, Any] | None:
    """Revision of the working folder and whether it has changes; None without git, or outside a repository.

    Files that git does not know count as changes. `dirty` is None when git did not answer in time.
    """
    revision = _git(folder, timeout_s, "rev-parse", "HEAD")
    if not revision:
        return None
    changes = _git(folder, timeout_s, "status", "--porcelain")
    return {"revision": revision.strip(), "dirty": None if changes is None else bool(changes.strip())}


def _git(folder: Path | None, timeout_s: float, *words: str) -> str | None:
    # No lock is taken and no file-system monitor or hook of the repository is started: looking must not change
    # anything, and a folder that somebody else made must not run anything.
    command = ["git", "--no-optional-locks", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=", *words]
    try:
        done = subprocess.run(  # noqa: S603  (fixed words, no shell)
            command, cwd=folder, capture_output=True, timeout=timeout_s, check=False, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return without_halves(done.stdout.decode("utf-8", "replace")) if done.returncode == 0 else None
