"""`nbllm stats`: what is there, in numbers. Asks nobody, and makes no store where there is none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, func, select

from nbllm.catalog.failures import Failures
from nbllm.catalog.marks import Marked
from nbllm.store import schema
from nbllm.tables import ago
from nbllm.workspace import Workspace

_TABLES = ("conversations", "messages", "calls")


def gather(workspace: Workspace) -> dict[str, Any]:
    """Everything that is counted. What is not known is None.

    Raises:
        StoreError: The store was written by a newer nbllm.
    """
    return {
        "providers": _providers(workspace),
        "listings": _listings(workspace),
        "failed": Failures(workspace.paths.cache_dir).failed_ids(),
        **_kept(workspace),
        "disk": _disk(workspace),
    }


def _providers(workspace: Workspace) -> dict[str, Any]:
    table = workspace.providers(every=True)
    rows = table.as_json()
    return {
        "total": len(rows),
        "usable": len(workspace.overview.usable_ids()),
        "enabled": sum(1 for row in rows if row["enabled"]),
        **{f"by_{name}": dict(Counter(row[name] for row in rows).most_common()) for name in ("status", "kind", "key")},
    }


def _listings(workspace: Workspace) -> dict[str, Any]:
    each: list[dict[str, Any]] = []
    for provider in workspace.registry.all():
        kept = workspace.listings.kept(provider)
        if kept is not None:
            age = None if kept.age_s is None else round(kept.age_s)
            each.append({"provider": provider.id, "models": len(kept.models), "age_s": age, "stale": kept.stale})
    ages = [row["age_s"] for row in each if row["age_s"] is not None]
    return {
        "count": len(each),
        "models": sum(row["models"] for row in each),
        "stale": sum(1 for row in each if row["stale"]),
        "oldest_s": max(ages, default=None),
        "newest_s": min(ages, default=None),
        "each": each,
    }


def _kept(workspace: Workspace) -> dict[str, Any]:
    """What stands in the store: marks, conversations, calls."""
    marked, counts = Marked(), dict.fromkeys((*_TABLES, "failed_calls"), 0)
    if workspace.has_store():
        marked, counts = workspace.marks.read(), workspace.store.read(_counts)
    marks = {
        "favourites": len(marked.favourites),
        "groups": len(marked.groups),
        "aliases": len(marked.aliases),
        "by_hand": len(marked.models),
    }
    return {"marks": marks, "store": counts}


def _counts(connection: Connection) -> dict[str, int]:
    tables = [(name, select(func.count()).select_from(schema.metadata.tables[name])) for name in _TABLES]
    failed = select(func.count()).select_from(schema.calls).where(schema.calls.c.error_type.is_not(None))
    return {name: int(connection.scalar(query) or 0) for name, query in (*tables, ("failed_calls", failed))}


def _disk(workspace: Workspace) -> dict[str, int | None]:
    """Bytes. None: the store is a server's, whose size only its operator knows."""
    paths = workspace.paths
    files = [paths.database.with_name(paths.database.name + end) for end in ("", "-wal", "-shm", "-journal")]
    return {
        "store": None if workspace.settings["database_url"] else size_of(files),
        "cache": size_of([paths.cache_dir]),
        "backups": size_of([paths.backups]),
    }


def size_of(paths: Iterable[Path]) -> int:
    """Bytes of these files and of all below these folders; links are not followed, and what cannot be read is 0."""
    total = 0
    for path in paths:
        try:
            if path.is_dir() and not path.is_symlink():
                total += size_of(list(path.iterdir()))
            else:
                total += path.lstat().st_size
        except OSError:
            continue
    return total


# ---------------------------------------------------------------- for people


def to_text(found: dict[str, Any]) -> str:
    """A line a topic."""
    providers, listings, marks, store, disk = (found[k] for k in ("providers", "listings", "marks", "store", "disk"))
    lines = [
        ("providers", f"{providers['total']} known, {providers['usable']} can be used"),
        ("status", _many(providers["by_status"])),
        ("kinds", _many(providers["by_kind"])),
        ("keys", _many(providers["by_key"])),
        ("listings", _of_listings(listings)),
        ("failed", ", ".join(found["failed"]) or "none when last asked"),
        ("marks", _many(marks)),
        ("store", _many(store)),
        ("disk", ", ".join(f"{name} {'unknown' if n is None else in_bytes(n)}" for name, n in disk.items())),
    ]
    return "\n".join(f"{topic:11}{says}" for topic, says in lines)


def _of_listings(listings: dict[str, Any]) -> str:
    if not listings["count"]:
        return "none; `nbllm fetch --all` asks every provider that has a key or needs none"
    oldest = "" if listings["oldest_s"] is None else f"; the oldest is {ago(listings['oldest_s'])}"
    return f"{listings['count']} fetched, {listings['models']:,} models{oldest}; past their time {listings['stale']}"


def _many(counts: dict[str, int]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {n:,}" for name, n in counts.items())


def in_bytes(count: int) -> str:
    """Bytes as people read them: `12 kB`."""
    if count < 1000:
        return f"{count} B"
    return f"{count / 1000:.0f} kB" if count < 1_000_000 else f"{count / 1_000_000:.1f} MB"
