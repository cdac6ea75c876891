"""The model lists that providers gave, kept with their age.

One JSON file a provider in the cache folder. A list counts for the address it came from: a provider whose base URL
moved has none until it is asked again. An answer that is an error or no list never replaces one that is.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nbllm.adapters import load_adapter
from nbllm.adapters.base import Adapter, Endpoint
from nbllm.errors import NbllmError
from nbllm.files import write_atomic
from nbllm.providers.spec import ModelInfo, ModelRow, ProviderConfig

_VERSION = 1
_FIELDS = {f.name for f in dataclasses.fields(ModelInfo)}
_TUPLES = ("input_modalities", "output_modalities")


@dataclass(frozen=True, slots=True)
class CachedListing:
    """What a provider offers, as far as it is known now."""

    models: tuple[ModelInfo, ...]
    """The provider's own listing in its order, then those added by hand that it lacks."""
    fetched_at: float | None
    """Seconds since 1970 when the listing came; None: there is none, only models added by hand."""
    age_s: float | None
    stale: bool
    """Whether it is older than the setting `listing_ttl_s`, or could not be had again."""
    error: str | None = None
    """Why asking for it failed just now."""


class Listings:
    """The lists of all providers.

    Args:
        folder: Where they are kept: `paths.cache_dir / "listings"`. Made when the first list is written.
        ttl_s: Gives the seconds after which a list counts as old.
        clock: Gives seconds since 1970.
    """

    def __init__(
        self, folder: Path, *, ttl_s: Callable[[], float] = lambda: 86400.0, clock: Callable[[], float] = time.time
    ) -> None:
        self._folder = folder
        self._ttl_s = ttl_s
        self._clock = clock
        self._running: dict[tuple[str, str], asyncio.Task[tuple[ModelInfo, ...]]] = {}

    def cached(self, provider: ProviderConfig) -> CachedListing:
        """What is known without asking. Never fails: a file that cannot be read counts as none."""
        kept = self._read(provider)
        if kept is None:
            return CachedListing(with_added(provider, ()), None, None, stale=True)
        fetched_at, models = kept
        age_s = max(0.0, self._clock() - fetched_at)  # a clock set back makes nothing younger than new
        return CachedListing(with_added(provider, models), fetched_at, age_s, stale=age_s > self._ttl_s())

    async def get(self, endpoint: Endpoint, *, refresh: bool = False, adapter: Adapter | None = None) -> CachedListing:
        """What a provider offers; asks it when the list is old, or when told to. Calls at once ask once.

        Args:
            endpoint: The provider, its key, and the way there.
            refresh: Ask also when the list is young.
            adapter: None: the adapter of the row's kind.

        Raises:
            NbllmError: It could not be had, and nothing is known from before. Otherwise what is known is given,
                with the reason in `error`.
        """
        known = self.cached(endpoint.provider)
        if not (refresh or known.stale):
            return known
        failure: NbllmError
        try:
            models = await self._ask_once(endpoint, adapter)
        except NbllmError as exc:
            failure = exc
        else:
            return CachedListing(with_added(endpoint.provider, models), self._clock(), 0.0, stale=False)
        if not known.models and known.fetched_at is None:
            raise failure
        return replace(known, stale=True, error=str(failure))

    def forget(self, provider_id: str) -> None:
        """Remove what is kept of a provider."""
        with contextlib.suppress(OSError):
            self._file(provider_id).unlink()

    async def _ask_once(self, endpoint: Endpoint, adapter: Adapter | None) -> tuple[ModelInfo, ...]:
        name = (endpoint.provider.id, _address(endpoint.provider))
        task = self._running.get(name)
        if task is None or task.get_loop() is not asyncio.get_running_loop():
            task = self._running[name] = asyncio.create_task(self._ask(endpoint, adapter))
            task.add_done_callback(lambda done: self._done(name, done))
        return await asyncio.shield(task)  # who gives up does not take the list from the others

    def _done(self, name: tuple[str, str], task: asyncio.Task[tuple[ModelInfo, ...]]) -> None:
        if self._running.get(name) is task:
            del self._running[name]
        if not task.cancelled():
            task.exception()  # looked at, also when everybody who waited has gone

    async def _ask(self, endpoint: Endpoint, adapter: Adapter | None) -> tuple[ModelInfo, ...]:
        provider = endpoint.provider
        models = tuple(await (adapter or load_adapter(provider.kind)).list_models(endpoint))
        content = {
            "version": _VERSION,
            "provider": provider.id,
            "address": _address(provider),
            "fetched_at": self._clock(),
            "models": [_to_json(m) for m in models],
        }
        with contextlib.suppress(OSError):  # a full disk or a read-only home costs the cache, not the answer
            await asyncio.to_thread(write_atomic, self._file(provider.id), json.dumps(content, ensure_ascii=False))
        return models

    def _file(self, provider_id: str) -> Path:
        return self._folder / f"{provider_id}.json"

    def _read(self, provider: ProviderConfig) -> tuple[float, tuple[ModelInfo, ...]] | None:
        try:
            content = json.loads(self._file(provider.id).read_text(encoding="utf-8"))
            if content["version"] != _VERSION or content["address"] != _address(provider):
                return None
            return float(content["fetched_at"]), tuple(_from_json(m, provider.id) for m in content["models"])
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return None


def with_added(provider: ProviderConfig, models: tuple[ModelInfo, ...]) -> tuple[ModelInfo, ...]:
    """`models`, with what the row says of them laid over, and the row's other models behind."""
    added = {m.id: m for m in provider.models}
    listed = {m.id for m in models}
    known = [_lay_over(m, added[m.id]) if m.id in added else m for m in models]
    return (*known, *(_lay_over(ModelInfo(provider.id, id), m) for id, m in added.items() if id not in listed))


def _lay_over(model: ModelInfo, row: ModelRow) -> ModelInfo:
    said = {k: v for k, v in row.model_dump(exclude={"id"}).items() if v is not None}
    return replace(model, **said, sources={**model.sources, **dict.fromkeys(("id", *said), "added by hand")})


def _address(provider: ProviderConfig) -> str:
    """What the list depends on: another address may be another server. Hashed, since it is only compared."""
    text = f"{provider.kind} {provider.base_url} {provider.models_url or ''}"
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _to_json(model: ModelInfo) -> dict[str, Any]:
    row = {name: getattr(model, name) for name in _FIELDS - {"provider"}}
    return {k: dict(v) if isinstance(v, Mapping) else v for k, v in row.items() if v not in (None, {}, ())}


def _from_json(row: Mapping[str, Any], provider_id: str) -> ModelInfo:
    known: dict[str, Any] = {k: tuple(v) if k in _TUPLES else v for k, v in row.items() if k in _FIELDS}
    return ModelInfo(**(known | {"provider": provider_id}))
