"""What a TAB in the shell offers: names from files that are there. No network, no key, and not the core, which would
take longer to import than a person waits.

A file that cannot be read offers nothing: an error text in the middle of somebody's command line helps nobody.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

FORMATS = ("json", "txt", "toml", "yaml")
LAYOUTS = ("plain", "dump-models")
SORTS = (
    "ref", "provider", "id", "name", "type", "context", "max_input", "max_output", "input_price", "output_price",
    "cached_input_price", "tools", "reasoning", "structured_output", "created", "status",
)  # fmt: skip
"""As in `catalog.wanted`, which imports more than a TAB has time for."""
ENGINES = ("local", "dask", "batch")
AIMS = ("score", "price", "latency")

_BUNDLED_ID = re.compile(r"^\[([a-z0-9][a-z0-9-]*)\]", re.MULTILINE)
_SIZE_CAP = 20_000_000
"""Bytes of a listing; a larger one is no help to a person who types."""


def provider_ids(incomplete: str) -> list[str]:
    """Ids of the bundled rows and of the user's own."""
    return _starting(incomplete, _ids())


def model_refs(incomplete: str) -> list[str]:
    """`provider/` of those whose models are known; behind the slash the models themselves."""
    provider, slash, _ = incomplete.partition("/")
    if not slash:
        known = {path.stem for path in _listings().glob("*.json")} | _rows_with_models().keys()
        return _starting(incomplete, (f"{id}/" for id in _ids() if id in known))
    ids = [*_listed(provider), *_rows_with_models().get(provider, ())]
    return _starting(incomplete, (f"{provider}/{id}" for id in ids))


def formats(incomplete: str) -> list[str]:
    """The format behind the last comma."""
    before, comma, last = incomplete.rpartition(",")
    return [f"{before}{comma}{f}" for f in FORMATS if f.startswith(last) and f not in before.split(",")]


def layouts(incomplete: str) -> list[str]:
    """Layouts of `fetch`."""
    return _starting(incomplete, LAYOUTS)


def tools(incomplete: str) -> list[str]:
    """The tools whose configs are written."""
    from nbllm.exporters import TOOLS  # noqa: PLC0415  (only for this option)

    return _starting(incomplete, TOOLS)


def strategies(incomplete: str) -> list[str]:
    """How `update-configs` merges."""
    return _starting(incomplete, ("add", "update", "replace"))


def columns(incomplete: str) -> list[str]:
    """What `models --sort` sorts by."""
    return _starting(incomplete, SORTS)


def aims(incomplete: str) -> list[str]:
    """What `models recommend` recommends for."""
    return _starting(incomplete, AIMS)


def engines(incomplete: str) -> list[str]:
    """Who asks the cells of a comparison."""
    return _starting(incomplete, ENGINES)


def kinds(incomplete: str) -> list[str]:
    """Wire formats."""
    return _starting(incomplete, ("openai", "anthropic", "gemini", "ollama", "url"))


def settings(incomplete: str) -> list[str]:
    """Names of settings, and the words of `nbllm config`."""
    from nbllm.settings import SETTINGS  # noqa: PLC0415  (only for this command)

    return _starting(incomplete, [*SETTINGS, "preset", "history", "undo"])


def _starting(incomplete: str, names: Iterable[str]) -> list[str]:
    # A name that a shell would show or expand in a way of its own is left out; ids are foreign text.
    return [n for n in dict.fromkeys(names) if n.startswith(incomplete) and n.isprintable() and not set(n) & _UNSAFE]


_UNSAFE = frozenset(" \t\"'`$\\;&|<>(){}*?!#~\n")


def _ids() -> list[str]:
    own = _own_rows()
    return [*_BUNDLED_ID.findall(_bundled()), *(id for id in own if re.fullmatch(r"[a-z0-9][a-z0-9-]*", id))]


def _bundled() -> str:
    from importlib import resources  # noqa: PLC0415  (each of these imports costs more than a TAB needs)

    return resources.files("nbllm.providers").joinpath("providers.toml").read_text(encoding="utf-8")


def _paths() -> Any:
    from nbllm.settings.paths import Paths  # noqa: PLC0415  (only once TAB is pressed)

    return Paths.from_environment()


def _own_rows() -> Mapping[str, Any]:
    import tomllib  # noqa: PLC0415

    try:
        rows = tomllib.loads(_paths().config_file.read_text(encoding="utf-8")).get("providers", {})
    except (OSError, ValueError):
        return {}
    return {id: row for id, row in rows.items() if isinstance(row, Mapping)} if isinstance(rows, Mapping) else {}


def _rows_with_models() -> dict[str, list[str]]:
    """Models that stand in the rows themselves."""
    import tomllib  # noqa: PLC0415

    found: dict[str, list[str]] = {}
    for rows in (tomllib.loads(_bundled()), _own_rows()):
        for id, row in rows.items():
            models = row.get("models") if isinstance(row, Mapping) else None
            ids = [m.get("id") if isinstance(m, Mapping) else m for m in models] if isinstance(models, list) else []
            if ids:
                found.setdefault(id, []).extend(i for i in ids if isinstance(i, str))
    return found


def _listings() -> Path:
    folder: Path = _paths().cache_dir / "listings"
    return folder


def _listed(provider: str) -> list[str]:
    """Ids of the provider's last listing, as `catalog.listings` keeps it."""
    import json  # noqa: PLC0415

    if provider not in _ids():  # also keeps `../` out of the file's name
        return []
    path = _listings() / f"{provider}.json"
    try:
        if path.stat().st_size > _SIZE_CAP:
            return []
        models = json.loads(path.read_bytes())["models"]
        return [m["id"] for m in models if isinstance(m["id"], str)]
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return []
