"""All models that are known, of all providers: searched, marked, recommended.

What providers listed counts; where a provider was never asked, what models.dev says of it stands in, and each fact
says where it comes from. Above both lies what the user said. The index is made again only when a listing, a row or a
mark has changed. No network.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from nbllm.catalog import metadata
from nbllm.catalog.index import Index, laid_over
from nbllm.catalog.knowledge import Knowledge
from nbllm.catalog.listings import CachedListing, Listings
from nbllm.catalog.marks import Marked, Marks
from nbllm.catalog.metadata import Fact
from nbllm.catalog.table import NOT_LISTED, ModelTable, row_of
from nbllm.catalog.wanted import Wanted, check
from nbllm.providers.registry import Registry
from nbllm.providers.spec import ModelInfo, ProviderConfig
from nbllm.tables import ago
from nbllm.transport.demo.models import MODELS as DEMO

_AGES_SHOWN = 4


@dataclass(frozen=True, slots=True)
class Sources:
    """Where a catalogue takes its facts from."""

    listing: Callable[[ProviderConfig], CachedListing]
    """What a provider offers, as far as it is known without asking."""
    stamps: Callable[[], Mapping[str, object]]
    """For each provider with a kept listing something that changes with it."""
    knowledge: Callable[[], object]
    """Something that changes with what is known of models beyond the listings."""
    enriched: Callable[[ProviderConfig, Sequence[ModelInfo]], Sequence[ModelInfo]]
    """A provider's models, with what else is known of them."""
    described: Callable[[ProviderConfig], Sequence[ModelInfo]]
    """Models of a provider that was never asked."""
    usable: Callable[[], Collection[str]]
    """The providers that can be asked now."""

    facts: Callable[[ProviderConfig, ModelInfo], Sequence[Fact]]
    """Everything that is said of one model."""

    @classmethod
    def of(
        cls,
        listings: Listings,
        knowledge: Knowledge,
        *,
        listing: Callable[[ProviderConfig], CachedListing],
        usable: Callable[[], Collection[str]],
    ) -> Sources:
        """Kept listings, and what models.dev and genai-prices add to them."""
        return cls(
            listing=lambda row: _of_demo(row) if row.kind == "demo" else listing(row),
            stamps=listings.stamps,
            knowledge=lambda: knowledge.stamp,
            enriched=lambda row, models: metadata.enriched(row, models, knowledge),
            described=lambda row: metadata.offered(row, knowledge),
            usable=usable,
            facts=lambda row, model: metadata.facts(row, model, knowledge),
        )


@dataclass(frozen=True, slots=True)
class _Part:
    """The models of one provider, and what they were made from."""

    row: ProviderConfig
    stamp: object
    age_s: float | None
    """Of its listing; None: there is none, or it is never old."""
    is_listed: bool
    """Whether the provider itself said what it offers."""
    models: tuple[ModelInfo, ...]


class Catalogue:
    """The models of one workspace. May be called from any thread."""

    def __init__(self, registry: Registry, marks: Marks, sources: Sources) -> None:
        self._registry = registry
        self._marks = marks
        self._sources = sources
        self._lock = threading.Lock()
        self._parts: dict[str, _Part] = {}
        self._listed = Index(())
        self._index: Index | None = None
        self._marked: Marked | None = None
        self.builds = 0
        """How often an index was made: once for each change, not once for each search."""

    # ------------------------------------------------------------ searching

    def search(self, wanted: Wanted) -> ModelTable:
        """The models that are wanted, as a table.

        Raises:
            UnknownProviderError: A provider that nobody has; it names the nearest.
            UsageError: A column or group that is not there, or a bound that is none.
        """
        marked = self._marks.read()
        check(wanted, marked)
        rows = {row.id: row for row in self._registry.all()}
        wanted = replace(wanted, providers=self._providers(wanted, rows))
        index = self._current(rows, marked)
        usable = frozenset(self._sources.usable())
        hits = index.search(wanted, first=usable, only=_only(wanted, marked))
        favourites = frozenset(marked.favourites)
        shown = [
            row_of(m, marked, favourites=favourites, usable=usability(rows.get(m.provider), usable))
            for m in hits.models
        ]
        return ModelTable(shown, total=hits.total, note=self._note(wanted, hits.models, len(index)))

    def refs(self, wanted: Wanted) -> list[str]:
        """The references of all models that are wanted."""
        return [row["ref"] for row in self.search(replace(wanted, limit=None))]

    def known_refs(self) -> tuple[str, ...]:
        """Every reference."""
        return self._current({row.id: row for row in self._registry.all()}, self._marks.read()).refs

    def get(self, ref: str) -> ModelInfo | None:
        """What is known of one model; None when it is not known."""
        return self._current({row.id: row for row in self._registry.all()}, self._marks.read()).get(ref)

    def listed(self, ref: str) -> ModelInfo | None:
        """As `get`, without what the user said of it."""
        self.get(ref)
        return self._listed.get(ref)

    def _providers(self, wanted: Wanted, rows: Mapping[str, ProviderConfig]) -> tuple[str, ...]:
        named = [self._registry.get(id).id for id in wanted.providers]
        if not wanted.local:
            return tuple(named)
        # No id is empty: where nothing on this machine is named, nothing is found.
        return tuple(id for id in named or rows if _is_served_here(rows[id])) or ("",)

    def _note(self, wanted: Wanted, shown: Sequence[ModelInfo], known: int) -> str:
        if not known:
            return "nothing is known yet: `%llm_models --refresh` asks the providers that can be used"
        ids = list(dict.fromkeys(m.provider for m in shown))
        if not ids:
            bounded = "; what is unknown of a model satisfies no bound" if wanted.is_bounded else ""
            return f"none of {known:,} known models fits{bounded}"
        return "\n".join(filter(None, (self._ages(ids), self._unasked(shown))))

    def _ages(self, ids: Sequence[str]) -> str | None:
        ages = [(id, age) for id in ids if (part := self._parts.get(id)) and (age := part.age_s) is not None]
        if not ages:
            return None
        more = f" and {len(ages) - _AGES_SHOWN} more" if len(ages) > _AGES_SHOWN else ""
        return "listings: " + ", ".join(f"{id} {ago(age)}" for id, age in ages[:_AGES_SHOWN]) + more

    def _unasked(self, shown: Iterable[ModelInfo]) -> str | None:
        ids = dict.fromkeys(m.provider for m in shown if self._is_described(m))
        if not ids:
            return None
        names = ", ".join(list(ids)[:_AGES_SHOWN]) + (
            f" and {len(ids) - _AGES_SHOWN} more" if len(ids) > _AGES_SHOWN else ""
        )
        return f"known from elsewhere, these providers were not asked yet: {names}; `--refresh` asks"

    def _is_described(self, model: ModelInfo) -> bool:
        part = self._parts.get(model.provider)
        return (
            part is not None and not part.is_listed and any(not s.startswith("yours") for s in model.sources.values())
        )

    # ------------------------------------------------------------ keeping up

    def _current(self, rows: Mapping[str, ProviderConfig], marked: Marked) -> Index:
        with self._lock:
            changed = self._take_in(rows)
            if changed:
                self._listed = Index(m for part in self._parts.values() for m in part.models)
                self.builds += 1
            if self._index is None or changed or self._marked is not marked:
                spoken = list(self._spoken_of(marked, rows))
                self._index = self._listed.with_models(spoken) if spoken else self._listed
                self.builds += bool(spoken)
                self._marked = marked
            return self._index

    def _take_in(self, rows: Mapping[str, ProviderConfig]) -> bool:
        """Read again what has changed; whether anything has."""
        stamps, knowledge = self._sources.stamps(), self._sources.knowledge()
        before = self._parts
        parts = {}
        for id, row in sorted(rows.items(), key=lambda item: item[1].kind == "demo"):  # the demo is nobody's model
            if row.kind == "url":
                continue  # a list of somebody else's models: none of them can be asked there
            stamp = (stamps.get(id), knowledge)
            known = before.get(id)
            parts[id] = known if known and known.row is row and known.stamp == stamp else self._part(row, stamp)
        self._parts = parts
        return list(parts) != list(before) or any(parts[id] is not before[id] for id in parts)

    def _part(self, row: ProviderConfig, stamp: object) -> _Part:
        listing = self._sources.listing(row)
        is_listed = listing.fetched_at is not None
        models = {m.id: m for m in reversed(self._sources.enriched(row, listing.models))}  # the first of two counts
        described = [] if is_listed else [m for m in self._sources.described(row) if m.id not in models]
        described.sort(key=lambda m: m.created or "", reverse=True)  # newest first, where no listing has an order
        return _Part(row, stamp, listing.age_s, is_listed, (*reversed(models.values()), *described))

    def _spoken_of(self, marked: Marked, rows: Mapping[str, ProviderConfig]) -> Iterable[ModelInfo]:
        """Models that the user added, and those with a mark that are no longer listed."""
        for ref in marked.refs:
            model = self._listed.get(ref)
            facts = marked.models.get(ref)
            if facts is not None:
                yield laid_over(model or _bare(ref), facts, date=marked.added_on[ref])
            elif model is None:
                yield replace(_bare(ref), status=self._why_missing(ref, rows))

    def _why_missing(self, ref: str, rows: Mapping[str, ProviderConfig]) -> str | None:
        provider = ref.partition("/")[0]
        if provider not in rows:
            return "no such provider"
        part = self._parts.get(provider)
        return NOT_LISTED if part is not None and part.is_listed else None


def usability(row: ProviderConfig | None, usable: Collection[str]) -> str:
    """Whether a provider's models can be asked now, in a word or two: `yes`, or what is in the way."""
    if row is None:
        return "no"
    if row.id in usable:
        return "yes"
    if not row.enabled:
        return "disabled"
    return row.status if row.status in ("retired", "unsupported") else "needs a key"


def _of_demo(row: ProviderConfig) -> CachedListing:
    """The demo's models come with nbllm, so their list has no age."""
    models = (
        ModelInfo(row.id, id, name=purpose, sources=dict.fromkeys(("id", "name"), "nbllm"))
        for id, purpose in DEMO.items()
    )
    return CachedListing(tuple(models), 0.0, None, stale=False)


def _is_served_here(row: ProviderConfig) -> bool:
    return row.kind != "demo" and (row.local or row.gguf is not None)


def _only(wanted: Wanted, marked: Marked) -> frozenset[str] | None:
    if not wanted.favourites and wanted.group is None:
        return None
    chosen = [frozenset(marked.favourites)] if wanted.favourites else []
    if wanted.group is not None:
        chosen.append(frozenset(marked.groups[wanted.group]))
    return frozenset.intersection(*chosen)


def _bare(ref: str) -> ModelInfo:
    provider, _, id = ref.partition("/")
    return ModelInfo(provider, id)
