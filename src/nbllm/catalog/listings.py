"""The model lists that providers gave, kept with their age.

One JSON file a provider in the cache folder. A list counts for the address it came from: a provider whose base URL
moved has none until it is asked again. An answer that is an error or no list never replaces one that is.

Whoever asks while the same question is under way is given the same answer, and so is who asks again within
`DEBOUNCE_S`, also with `refresh`: a cell run twice makes one request.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import hashlib
import json
import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nbllm.adapters.base import Adapter, Endpoint
from nbllm.adapters.listing import Listed, ask_listing
from nbllm.errors import NbllmError
from nbllm.files import write_atomic
from nbllm.providers.spec import ModelInfo, ModelRow, ProviderConfig

DEBOUNCE_S = 2.0
"""A list that this process was given so many seconds ago or less is not asked for again."""

_VERSION = 1
_AHEAD_S = 300.0
"""A list from further in the future than this was written under another clock: its age is not known."""
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
    """None: there is no listing, or it comes from the future because the clock was set back."""
    stale: bool
    """Whether it is older than the setting `listing_ttl_s`, of unknown age, or could not be had again."""
    error: str | None = None
    """Why asking for it failed just now."""


@dataclass(frozen=True, slots=True)
class Kept:
    """The last listing of a provider, as its file has it."""

    models: tuple[ModelInfo, ...]
    count: int
    """Of its rows that are models: an id that comes twice counts twice, as in the provider's own list."""
    fetched_at: float
    age_s: float | None
    stale: bool
    etag: str | None = None
    last_modified: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a provider said when it was asked."""

    models: tuple[ModelInfo, ...]
    """Its own listing, each id once, without what was added by hand."""
    count: int
    """As in `Kept`."""
    fetched_at: float
    listed: Listed | None
    """As it came; None: it was asked within the last `DEBOUNCE_S`, and `models` is what came then."""
    unsaved: OSError | None = None
    """Why the list could not be written to the cache."""

    @property
    def unchanged(self) -> bool:
        """Whether the provider said that nothing is new."""
        return self.listed is not None and self.listed.not_modified


@dataclass(slots=True)
class _Question:
    """A question under way, and how many wait for its answer."""

    task: asyncio.Task[Answer]
    waiting: int = 0

    @property
    def is_lost(self) -> bool:
        """Whether it was given up, or asked on an event loop that is not this one."""
        return self.task.cancelling() > 0 or self.task.get_loop() is not asyncio.get_running_loop()

    async def answer(self) -> Answer:
        """Wait for it. Who gives up does not take it from the others; when all have, the question is dropped."""
        self.waiting += 1
        try:
            return await asyncio.shield(self.task)
        finally:
            self.waiting -= 1
            if not self.waiting:
                self.task.cancel()  # does nothing to one that is done


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
        self.folder = folder
        self._ttl_s = ttl_s
        self._clock = clock
        self._running: dict[tuple[str, str, bool], _Question] = {}
        self._answered: dict[tuple[str, str], float] = {}
        self._sizes: dict[str, tuple[object, int, float]] = {}

    # ------------------------------------------------------------ what is known

    def cached(self, provider: ProviderConfig) -> CachedListing:
        """What is known without asking. Never fails: a file that cannot be read counts as none."""
        kept = self.kept(provider)
        if kept is None:
            return CachedListing(with_added(provider, ()), None, None, stale=True)
        return CachedListing(with_added(provider, kept.models), kept.fetched_at, kept.age_s, kept.stale)

    def size(self, provider: ProviderConfig) -> tuple[int | None, float | None]:
        """How many models are known, and the age of the list; None as in `CachedListing`, or when nothing is known.

        A list that has not changed is not read again: a table asks this of every provider, and a list may be long.
        """
        if provider.models:  # some may be in the list as well
            known = self.cached(provider)
            return len(known.models), known.age_s
        stamp = self._stamp(provider)
        if stamp is None:
            return None, None
        seen = self._sizes.get(provider.id)
        if seen is None or seen[0] != stamp:
            if (kept := self.kept(provider)) is None:
                return None, None
            seen = self._sizes[provider.id] = stamp, len(kept.models), kept.fetched_at
        age_s = self._age_s(seen[2])
        return (None if age_s is None and not seen[1] else seen[1]), age_s

    def _stamp(self, provider: ProviderConfig) -> object:
        try:
            info = self._file(provider.id).stat()
        except OSError:
            return None
        return _address(provider), info.st_mtime_ns, info.st_size, info.st_ino

    def kept(self, provider: ProviderConfig) -> Kept | None:
        """The provider's last listing; None when there is none for its present address, or it cannot be read."""
        try:
            content = json.loads(self._file(provider.id).read_text(encoding="utf-8"))
            if content["version"] != _VERSION or content["address"] != _address(provider):
                return None
            models = tuple(_from_json(m, provider.id) for m in content["models"])
            fetched_at = float(content["fetched_at"])
            count = int(content.get("count", len(models)))
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return None
        if not math.isfinite(fetched_at):
            return None
        age_s = self._age_s(fetched_at)
        stale = age_s is None or age_s > self._ttl_s()
        return Kept(
            models, count, fetched_at, age_s, stale, _text(content.get("etag")), _text(content.get("last_modified"))
        )

    async def recall(self, provider: ProviderConfig) -> Kept | None:
        """`kept`, read beside the event loop."""
        return await asyncio.to_thread(self.kept, provider) if self._file(provider.id).exists() else None

    def _age_s(self, fetched_at: float) -> float | None:
        age_s = self._clock() - fetched_at
        return max(0.0, age_s) if age_s > -_AHEAD_S else None

    # ------------------------------------------------------------ asking

    async def get(self, endpoint: Endpoint, *, refresh: bool = False, adapter: Adapter | None = None) -> CachedListing:
        """What a provider offers; asks it when the list is old, or when told to.

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
            answer = await self.ask(endpoint, adapter=adapter)
        except NbllmError as exc:
            failure = exc
        else:
            models = with_added(endpoint.provider, answer.models)
            return CachedListing(models, answer.fetched_at, self._age_s(answer.fetched_at), stale=False)
        if not known.models and known.fetched_at is None:
            raise failure
        return replace(known, stale=True, error=str(failure))

    async def ask(
        self,
        endpoint: Endpoint,
        *,
        whole: bool = False,
        timeout_s: float | None = None,
        adapter: Adapter | None = None,
    ) -> Answer:
        """Ask a provider for its list, and keep it. Calls at once ask once.

        Args:
            endpoint: The provider, its key, and the way there.
            whole: The answer is wanted as it came, so "nothing is new" and an answer of a moment ago are not enough.
            timeout_s: Seconds for each page. None: the adapter's own.
            adapter: None: the adapter of the row's kind.

        Raises:
            NbllmError: It could not be had; what is kept stays.
        """
        place = endpoint.provider.id, _address(endpoint.provider)
        if not whole and (kept := self._of_a_moment_ago(endpoint.provider, place)) is not None:
            return Answer(kept.models, kept.count, kept.fetched_at, None)
        name = (*place, whole)
        question = self._running.get(name)
        if question is None or question.is_lost:
            task = asyncio.create_task(self._ask(endpoint, whole, timeout_s, adapter))
            question = self._running[name] = _Question(task)
            task.add_done_callback(lambda done: self._done(name, done))
        return await question.answer()

    def _of_a_moment_ago(self, provider: ProviderConfig, place: tuple[str, str]) -> Kept | None:
        since = self._clock() - self._answered.get(place, -math.inf)
        return self.kept(provider) if 0 <= since < DEBOUNCE_S else None

    def _done(self, name: tuple[str, str, bool], task: asyncio.Task[Answer]) -> None:
        question = self._running.get(name)
        if question is not None and question.task is task:
            del self._running[name]
        if not task.cancelled():
            task.exception()  # looked at, also when everybody who waited has gone

    async def _ask(self, endpoint: Endpoint, whole: bool, timeout_s: float | None, adapter: Adapter | None) -> Answer:
        provider = endpoint.provider
        known = None if whole else await self.recall(provider)
        listed = await _listed(endpoint, known, timeout_s, adapter)
        if listed.not_modified and known is not None:
            models, count = known.models, known.count
            listed = replace(
                listed,
                etag=listed.etag or known.etag,
                last_modified=listed.last_modified or known.last_modified,
            )
        else:
            models, count = tuple(listed.models), len(listed.ids or listed.models)
        fetched_at = self._clock()
        content = {
            "version": _VERSION,
            "provider": provider.id,
            "address": _address(provider),
            "fetched_at": fetched_at,
            "etag": listed.etag,
            "last_modified": listed.last_modified,
            "count": count,
        }
        unsaved = await asyncio.to_thread(self._keep, provider.id, content, models)
        self._answered[provider.id, _address(provider)] = fetched_at
        return Answer(models, count, fetched_at, listed, unsaved)

    # ------------------------------------------------------------ files

    def _keep(self, id: str, content: Mapping[str, Any], models: tuple[ModelInfo, ...]) -> OSError | None:
        """Write the list; why not, when it cannot be: that costs the cache, not the answer."""
        # Escaped, since an id may hold half of a surrogate pair, for which UTF-8 has no bytes.
        text = json.dumps({**content, "models": [_to_json(m) for m in models]})
        try:
            # Another request brings it back after a power cut, which is cheaper than a sync for each of 170 lists.
            write_atomic(self._file(id), text, durable=False)
        except OSError as exc:
            return exc
        return None

    def stamps(self) -> dict[str, tuple[int, int, int]]:
        """For each provider whose list is kept something that changes with it. Reads the folder, not the lists."""
        try:
            with os.scandir(self.folder) as entries:
                found = {entry.name.removesuffix(".json"): entry.stat() for entry in entries}
        except OSError:
            return {}
        return {id: (info.st_mtime_ns, info.st_size, info.st_ino) for id, info in found.items()}

    def forget(self, provider_id: str) -> None:
        """Remove what is kept of a provider."""
        with contextlib.suppress(OSError):
            self._file(provider_id).unlink()

    def _file(self, provider_id: str) -> Path:
        return self.folder / f"{provider_id}.json"


async def _listed(endpoint: Endpoint, known: Kept | None, timeout_s: float | None, adapter: Adapter | None) -> Listed:
    if adapter is not None:
        return Listed(tuple(await adapter.list_models(endpoint)))
    if known is not None and (known.etag or known.last_modified):
        return await ask_listing(endpoint, etag=known.etag, last_modified=known.last_modified, timeout_s=timeout_s)
    return await ask_listing(endpoint, timeout_s=timeout_s)


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
    if not isinstance(known["id"], str) or not isinstance(known.get("sources", {}), Mapping):
        raise TypeError("no model")
    return ModelInfo(**(known | {"provider": provider_id}))


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
