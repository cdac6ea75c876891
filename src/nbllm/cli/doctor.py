"""`nbllm doctor`: what is well here, what is not, and what to do. Sends nothing off this machine; shows no secret."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sized
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from nbllm import __version__
from nbllm.catalog.failures import Failures
from nbllm.credentials.keyring_store import keyring_store
from nbllm.credentials.redaction import redact
from nbllm.errors import NbllmError, SettingsError
from nbllm.foreign import one_line
from nbllm.settings import SETTINGS
from nbllm.tables import ago
from nbllm.workspace import Workspace, current

Level = Literal["ok", "warning", "error"]

_PACKAGES = ("ipython", "ipykernel", "jupyterlab", "ipywidgets", "anywidget", "httpx2", "openai", "pydantic",
             "sqlalchemy", "keyring", "cryptography", "xllamacpp")  # fmt: skip
_LOW_DISK_BYTES = 200_000_000
_OLD_FACTS_DAYS = 180


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    level: Level
    topic: str
    says: str
    advice: str | None = None
    """What to do; None when all is well."""

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return asdict(self)

    def to_text(self) -> str:
        """For people."""
        line = f"{self.level:9}{self.topic:12}{one_line(self.says, 400)}"
        return f"{line}\n{'':21}-> {one_line(self.advice, 400)}" if self.advice else line


def examine(workspace: Workspace | None = None) -> list[Finding]:
    """Look at everything; a look that fails is itself a finding."""
    workspace = workspace or current()
    looks: tuple[Callable[[Workspace], Iterator[Finding]], ...] = (
        _versions, _paths, _settings, _store, _keys, _network, _providers, _catalogue, _knowledge,
    )  # fmt: skip
    findings: list[Finding] = []
    for look in looks:
        try:
            findings += look(workspace)
        except NbllmError as exc:
            # A broken file fails several looks; it is one problem.
            if exc.message not in (f.says for f in findings):
                findings.append(Finding("error", look.__name__.strip("_"), exc.message, exc.hint))
        except Exception as exc:  # noqa: BLE001  (one look that fails must not hide the others)
            findings.append(
                Finding("error", look.__name__.strip("_"), redact(f"{type(exc).__name__}: {exc}"), "report this")
            )
    return findings


def _versions(_: Workspace) -> Iterator[Finding]:
    system = f"{platform.system()} {platform.machine()}"
    yield Finding("ok", "python", f"{platform.python_version()} on {system}, {sys.executable}")
    yield Finding("ok", "nbllm", __version__)
    found = []
    for name in _PACKAGES:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            found.append(f"{name} -")
    yield Finding("ok", "packages", ", ".join(found))
    if "jupyterlab -" in found:
        yield Finding("warning", "jupyterlab", "not installed", 'pip install "nbllm[lab]" for `nbllm lab`')


def _paths(workspace: Workspace) -> Iterator[Finding]:
    paths = workspace.paths
    if paths.config_dir == paths.data_dir:  # NBLLM_HOME
        folders = {"home": paths.data_dir, "cache": paths.cache_dir}
    else:
        folders = {"config": paths.config_dir, "data": paths.data_dir, "cache": paths.cache_dir}
    for topic, folder in folders.items():
        yield _folder(topic, folder)
    there = next(p for p in (paths.data_dir, *paths.data_dir.parents) if p.exists())
    free = shutil.disk_usage(there).free
    level: Level = "ok" if free > _LOW_DISK_BYTES else "warning"
    yield Finding(level, "disk", f"{free / 1e9:.1f} GB free", None if level == "ok" else "make room, or set NBLLM_HOME")


def _folder(topic: str, folder: Path) -> Finding:
    existing = next(p for p in (folder, *folder.parents) if p.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        return Finding("error", topic, f"{folder} cannot be written", "set NBLLM_HOME to a folder that can")
    if folder.exists() and folder.stat().st_mode & 0o077 and os.name == "posix":
        return Finding("warning", topic, f"{folder} can be read by others", f"chmod 700 {folder}")
    return Finding("ok", topic, str(folder) if folder.exists() else f"{folder} (made when needed)")


def _settings(workspace: Workspace) -> Iterator[Finding]:
    workspace.config.read()
    changed = []
    for name in SETTINGS:
        try:
            value = workspace.settings.lookup(name)
        except SettingsError as exc:
            yield Finding("error", "settings", exc.message, exc.hint)
            continue
        if value.source != "default":
            changed.append(f"{name} = {_harmless(value.value)} ({value.source})")
    yield Finding("ok", "settings", ", ".join(changed) or "all at their defaults")


def _harmless(value: Any) -> str:
    """A database URL may hold a password."""
    text = str(value)
    if "://" in text and ("@" in text or "?" in text):
        parts = urlsplit(text)
        return f"{parts.scheme}://{'...@' if '@' in text else ''}{parts.hostname or ''}{parts.path}"
    return redact(text)


def _store(workspace: Workspace) -> Iterator[Finding]:
    warning = workspace.store.warning
    if warning:
        yield Finding("warning", "store", warning, "conversations of this session are lost when it ends")
    else:
        yield Finding("ok", "store", _harmless(workspace.store.location))


def _keys(workspace: Workspace) -> Iterator[Finding]:
    if keyring_store.probe():
        yield Finding("ok", "keyring", "keys can be kept in the OS keyring")
    else:
        advice = "keys live until the kernel ends; `%llm_providers key ID --store vault` keeps them encrypted"
        yield Finding("warning", "keyring", keyring_store.reason, advice)
    if "BINDER_SERVICE_HOST" in workspace.settings.environ:
        yield Finding("warning", "binder", "this machine is public", "use a throw-away key with a limit, or none")


def _network(workspace: Workspace) -> Iterator[Finding]:
    environ: Mapping[str, str] = workspace.settings.environ
    proxies = [n for n in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY") if environ.get(n) or environ.get(n.lower())]
    yield Finding("ok", "proxy", ", ".join(proxies) or "none set")
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE"):
        value = environ.get(name)
        if value and not Path(value).exists():
            yield Finding("error", "tls", f"{name} names {value}, which is not there", f"correct or unset {name}")
        elif value:
            yield Finding("ok", "tls", f"{name} = {value}")
    if workspace.settings["offline"]:
        yield Finding("warning", "network", "no request leaves this machine", "unset NBLLM_OFFLINE to reach providers")


def _providers(workspace: Workspace) -> Iterator[Finding]:
    table = workspace.providers()
    shown = [row["id"] for row in table.shown_rows()]
    rest = len(table) - len(shown)
    servers = f"; {rest} kinds of server on this machine, when they run" if rest else ""
    yield Finding("ok", "providers", f"{len(shown)} can be used: {', '.join(shown)}{servers}")
    for problem in workspace.registry.problems():
        yield Finding("warning", "providers", problem, "correct that row, or remove it")


def _catalogue(workspace: Workspace) -> Iterator[Finding]:
    lists = [(p.id, kept) for p in workspace.registry.all() if (kept := workspace.listings.kept(p)) is not None]
    old = [id for id, kept in lists if kept.stale]
    if not lists:
        yield Finding("ok", "listings", "no model list was fetched yet", "`nbllm fetch --all` asks for them")
    elif old:
        says = f"{_lists(lists)}, {len(old)} past their time: {_named(old)}"
        yield Finding("warning", "listings", says, f"`nbllm fetch {' '.join(old) if len(old) < 4 else '--all'}`")
    else:
        oldest = max((kept.age_s for _, kept in lists if kept.age_s is not None), default=None)
        yield Finding("ok", "listings", f"{_lists(lists)}, the oldest is {ago(oldest)}")
    failures = Failures(workspace.paths.cache_dir)
    entries = failures.read()
    if failed := failures.failed_ids():
        reasons = [f"{id} ({entries[id].get('kind') or 'reason unknown'})" for id in failed]
        advice = "`nbllm fetch --failed` asks those again, and says why"
        yield Finding("warning", "fetch", f"failed when last asked: {_named(reasons)}", advice)


def _lists(lists: Sized) -> str:
    return "1 model list" if len(lists) == 1 else f"{len(lists)} model lists"


def _named(words: list[str]) -> str:
    return ", ".join(words[:8]) + (f" and {len(words) - 8} more" if len(words) > 8 else "")


def _knowledge(workspace: Workspace) -> Iterator[Finding]:
    day, asked = workspace.knowledge.date, workspace.knowledge.age_s
    if not day:
        yield Finding("error", "models.dev", "its copy cannot be read", "install nbllm again")
        return
    where = "comes with nbllm" if asked is None else "fetched"
    age_days = (datetime.now(UTC).date() - date.fromisoformat(day)).days
    if age_days > _OLD_FACTS_DAYS:
        says = f"prices and limits of {day}, {age_days} days old ({where})"
        yield Finding("warning", "models.dev", says, "`nbllm models --refresh` asks for newer ones")
    else:
        yield Finding("ok", "models.dev", f"prices and limits of {day} ({where})")
