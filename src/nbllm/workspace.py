"""The one object that a user interface holds: everything else, wired together.

Nothing is opened before it is used: no file, no socket, no thread.
"""

from __future__ import annotations

import asyncio
import difflib
import logging
import threading
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from nbllm import aio
from nbllm.adapters.base import Endpoint
from nbllm.catalog import metadata
from nbllm.catalog.catalogue import Catalogue, Sources
from nbllm.catalog.fetch import Fetcher
from nbllm.catalog.fetching import Fetching, FetchOrder, begin
from nbllm.catalog.knowledge import Knowledge
from nbllm.catalog.listings import CachedListing, Listings, with_added
from nbllm.catalog.marking import Marking, with_own
from nbllm.catalog.marks import Marks
from nbllm.catalog.recommend import Adviser
from nbllm.chat.dry import DryRun, dry_run
from nbllm.chat.options import ChatOptions
from nbllm.chat.plan import Services, make_plan
from nbllm.chat.run import ChatRun
from nbllm.connection.discover import Found
from nbllm.connection.overview import Overview, ProviderTable
from nbllm.connection.result import ConnectionCheck
from nbllm.conversations import Conversation, Conversations
from nbllm.credentials import Credentials, SavedKey, Secret, install_log_filter
from nbllm.credentials.redaction import holds_secret
from nbllm.errors import NbllmError, SettingsError, debug_when
from nbllm.exporters.base import Exported
from nbllm.exporters.own_files import OwnFiles
from nbllm.exporters.tool_configs import ToolConfigs
from nbllm.local.servers import LocalServers, offered
from nbllm.messages import Delta, Reply
from nbllm.prices import Prices
from nbllm.providers.readiness import hindrance
from nbllm.providers.registry import ModelRef, Registry
from nbllm.providers.spec import ModelInfo, ProviderConfig
from nbllm.settings import ConfigFile, Paths, Settings
from nbllm.store import Store
from nbllm.transport.demo import DEMO_ORIGIN, DemoTransport
from nbllm.transport.http import Http
from nbllm.transport.recordings import Recordings

if TYPE_CHECKING:
    from nbllm.compare.comparisons import Comparisons, Viewer

T = TypeVar("T")


class Workspace:
    """Providers, keys, settings, conversations and the way to the models, for one user.

    Args:
        paths: Where files are; None: from the environment.
        environ: Variables that count; None: the process's own, read live.
    """

    def __init__(self, *, paths: Paths | None = None, environ: Mapping[str, str] | None = None) -> None:
        install_log_filter()
        _log.addHandler(_no_output)  # else Python prints warnings to stderr, where `news` shows them already
        self.paths = paths or Paths.from_environment(environ)
        self.kernel = uuid.uuid4().hex
        self.config = ConfigFile(self.paths)
        self.settings = Settings(self.config, environ)
        debug_when(lambda: bool(self.settings["debug"]))
        self.registry: Registry = Registry(self.config, self.settings, more_aliases=lambda: self.marks.read().aliases)
        self.credentials = Credentials(self.paths, self.config, environ)
        self.recordings = Recordings(self.settings, locks=self.paths.cache_dir / "locks", holds_key=holds_secret)
        self.http = Http(
            environ=environ,
            recordings=self.recordings,
            offline=lambda: bool(self.settings["offline"]),
            mounts={DEMO_ORIGIN: DemoTransport},
        )
        self._lock = threading.RLock()
        self._opened: dict[str, Any] = {}
        self.compare_viewer: Viewer | None = None
        self._services = Services(
            settings=self.settings,
            registry=self.registry,
            credentials=self.credentials,
            http=self.http,
            conversations=lambda: self.conversations,
            gate=self.http.gate,
            serve=self._serve,
            known_models=self.known_models,
            presets=self.presets,
            recordings=self.recordings,
            prices=self.prices,
        )

    # ------------------------------------------------------------ opened on first use

    @property
    def store(self) -> Store:
        """Where conversations and usage are kept; in memory when the disk cannot be used."""
        return self._once("store", lambda: Store.open(self.paths, self.settings["database_url"]))

    def has_store(self) -> bool:
        """Whether there is a store already; the first write makes one."""
        return "store" in self._opened or bool(self.settings["database_url"]) or self.paths.database.exists()

    @property
    def conversations(self) -> Conversations:
        """The stored messages."""
        return self._once("conversations", lambda: Conversations(self.store, kernel=self.kernel))

    @property
    def local(self) -> LocalServers:
        """The child processes that serve GGUF files."""
        return self._once("local", LocalServers)

    @property
    def listings(self) -> Listings:
        """The model lists that providers gave, with their age."""
        folder = self.paths.cache_dir / "listings"
        return self._once("listings", lambda: Listings(folder, ttl_s=lambda: float(self.settings["listing_ttl_s"])))

    @property
    def tool_configs(self) -> ToolConfigs:
        """The configuration files of other tools."""
        return self._once("tool_configs", lambda: ToolConfigs(self.exported, self._own_files()))

    def _own_files(self) -> OwnFiles:
        def usable() -> list[str]:
            return [str(row["id"]) for row in self.overview.table().shown_rows()]

        return OwnFiles(self.exported, usable, self.paths.backups, self.settings.environ)

    @property
    def overview(self) -> Overview:
        """Which providers could be used right now, and what they answered last."""
        return self._once(
            "overview",
            lambda: Overview(
                self.paths, self.listings, self.registry, self.credentials, self.http, self._serve, offered
            ),
        )

    @property
    def knowledge(self) -> Knowledge:
        """What models.dev says of models. Asks it only when told to (`await knowledge.refresh()`)."""
        return self._once("knowledge", lambda: Knowledge.open(self.paths, self.http, self.settings))

    @property
    def comparisons(self) -> Comparisons:
        """Comparisons of models, made and kept."""
        return self._once("comparisons", self._make_comparisons)

    def _make_comparisons(self) -> Comparisons:
        from nbllm.compare.comparisons import Comparisons  # noqa: PLC0415  (100 ms, and few sessions compare)
        from nbllm.compare.session import Parts  # noqa: PLC0415

        async def check(provider_id: str, model: str) -> ConnectionCheck:
            return await self.overview.check_answer(provider_id, model)

        def info(provider: ProviderConfig, model: str) -> ModelInfo:
            listed = self.known_models(provider.id).get(model) or ModelInfo(provider.id, model)
            return metadata.enriched(with_own(provider, self.marks.read()), (listed,), self.knowledge)[0]

        locks = self.paths.cache_dir / "locks"
        name = f"{services.__module__}:{services.__name__}"
        parts = Parts(self._services, lambda: self.store, check, info, self.kernel, locks, name)
        return Comparisons(parts, self.resolve, viewer=lambda: self.compare_viewer)

    @property
    def marks(self) -> Marks:
        """Favourites, groups, aliases, and models added by hand."""
        return self._once("marks", lambda: Marks(lambda: self.store, self.has_store))

    def catalogue(self) -> Catalogue:
        """All models that are known."""
        return self._once("catalogue", lambda: Catalogue(self.registry, self.marks, self._sources()))

    def _sources(self) -> Sources:
        overview = self.overview
        return Sources.of(self.listings, self.knowledge, listing=overview.known, usable=overview.usable_ids)

    @property
    def marking(self) -> Marking:
        """What the user does with models: marks, facts of one, advice."""
        return self._once("marking", self._make_marking)

    def _make_marking(self) -> Marking:
        catalogue = self.catalogue()
        adviser = Adviser(lambda: self.store, catalogue.get, self.registry, candidates=lambda: self.marks.read().refs)
        return Marking(catalogue, self.marks, self.registry, adviser, resolve=self.resolve, sources=self._sources())

    def _once(self, name: str, make: Callable[[], T]) -> T:
        """What `make` gives, made on the first call; questions come from several threads at once."""
        with self._lock:
            if name not in self._opened:
                self._opened[name] = make()
            found: T = self._opened[name]
            return found

    def close(self) -> None:
        """Close connections, stop child processes, finish writing. The workspace opens them again when used."""
        parts = self._opened
        if "local" in parts:
            parts.pop("local").close()
        if not aio.in_loop():
            aio.run(self.http.aclose())
        parts.pop("conversations", None)
        if "store" in parts:
            parts.pop("store").close()

    # ------------------------------------------------------------ asking

    def ask(self, prompt: str, options: ChatOptions | None = None) -> ChatRun:
        """Prepare a question. Nothing is sent before its deltas are read.

        Raises:
            NbllmError: The model, key, preset, attachment, tool or schema cannot be used.
        """
        return ChatRun(make_plan(prompt, options or ChatOptions(), self._services), self._services)

    def dry_run(self, prompt: str, options: ChatOptions | None = None) -> DryRun:
        """What would be sent, and an estimate. Sends nothing; needs no key."""
        plan = make_plan(prompt, options or ChatOptions(), self._services, need_key=False)
        return dry_run(plan, self.prices(plan.endpoint.provider, plan.request.model))

    def chat(self, prompt: str, options: ChatOptions | None = None) -> Reply:
        """Ask, and wait for the whole answer."""
        with self.ask(prompt, options) as run:
            for _ in run.deltas():
                pass
        assert run.reply is not None
        return run.reply

    async def achat(self, prompt: str, options: ChatOptions | None = None) -> Reply:
        """`chat`, awaited on the caller's own event loop."""
        run = await self._ask_aside(prompt, options)
        async for _ in run.adeltas():
            pass
        assert run.reply is not None
        return run.reply

    async def astream(self, prompt: str, options: ChatOptions | None = None) -> AsyncIterator[Delta]:
        """The deltas, on the caller's own event loop."""
        run = await self._ask_aside(prompt, options)
        async for delta in run.adeltas():
            yield delta

    async def _ask_aside(self, prompt: str, options: ChatOptions | None) -> ChatRun:
        """`ask` in a thread, since imports, the store and a keyring would hold up the caller's loop.

        Attachments stay here: figures of some toolkits can be drawn by one thread only.
        """
        if options is not None and options.attachments:
            return self.ask(prompt, options)
        return await asyncio.to_thread(self.ask, prompt, options)

    # ------------------------------------------------------------ providers

    def providers(self, *, every: bool = False) -> ProviderTable:
        """The providers that can be used now; `every` adds the rest."""
        return self.overview.table(every=every)

    def check(self, provider_id: str, *, model: str | None = None) -> ConnectionCheck:
        """Test the connection to one provider, stage by stage."""
        return aio.run(self.overview.check(provider_id, model=model))

    def check_many(
        self, provider_ids: Sequence[str] | None = None, *, on_tick: Callable[[], None] | None = None
    ) -> Iterator[tuple[str, ConnectionCheck]]:
        """Test several providers (None: all that can be used now) at once; results as they come."""
        return aio.iterate(self.overview.check_many(provider_ids), on_tick=on_tick)

    def models(self, provider_id: str, *, refresh: bool = False) -> CachedListing:
        """The provider's own listing, from the cache unless it is old or `refresh` is set."""
        return aio.run(self.overview.models(provider_id, refresh=refresh))

    def fetch(self, ids: Sequence[str] = (), *, on_tick: Callable[[], None] | None = None, **order: Any) -> Fetching:
        """Ask providers for their model lists, at once; results as they come.

        Args:
            ids: Providers by name.
            on_tick: Called about ten times a second while nothing comes.
            order: The other fields of `FetchOrder`: `every`, `failed`, `options`, `out`, `writer`.

        Raises:
            UnknownProviderError: An id that nobody has.
            UsageError: Nobody is named.
        """
        fetcher = Fetcher(self.registry, self.credentials, self.http, self.listings)
        if order.get("every"):  # whoever asks them all wants to know the state of things
            order["beside"] = self._refresh_knowledge
        return begin(fetcher, FetchOrder(ids, **order), cache_dir=self.paths.cache_dir, on_tick=on_tick)

    async def _refresh_knowledge(self) -> str | None:
        return (await self.knowledge.refresh()).problem

    def known_models(self, provider_id: str) -> Mapping[str, ModelInfo]:
        """What is known of a provider's models without asking it, and what the user said of them."""
        own = with_own(self.registry.get(provider_id), self.marks.read())
        listed = tuple(self.overview.known_models(provider_id).values())
        return {m.id: m for m in with_added(own, listed)} if own.models else {m.id: m for m in listed}

    def exported(self, ids: Sequence[str] = ()) -> list[Exported]:
        """Providers as other tools' files shall have them: all that are enabled, or those named. Never a key.

        Raises:
            UnknownProviderError: An id that nobody has.
        """
        rows = [self.registry.get(i) for i in ids] if ids else [p for p in self.registry.all() if p.enabled]
        return [self._exported(row) for row in rows]

    def _exported(self, row: ProviderConfig) -> Exported:
        variables = self.registry.key_variables(row.id)
        key = self.credentials.status(row, variables)
        first = variables[0] if variables and row.needs_key else None
        own = with_own(row, self.marks.read())
        models = metadata.enriched(own, tuple(self.known_models(row.id).values()), self.knowledge)
        return Exported(row, models, key.name if key.name in variables else first)

    def prices(self, provider: ProviderConfig, model: str) -> Sequence[Prices]:
        """What is known of a model's prices on this machine, most trusted first. Never fails."""
        try:
            # A listing without prices need not be read for them.
            listed = self.known_models(provider.id).get(model) if provider.listing.input_price else None
            own = with_own(provider, self.marks.read())
            return metadata.prices(own, listed or ModelInfo(provider.id, model), self.knowledge)
        except NbllmError:  # a broken setting must not cost the answer whose cost is asked for
            return ()

    def discover(self) -> list[Found]:
        """Look for model servers on this machine."""
        return aio.run(self.overview.discover())

    def save_key(
        self, provider_id: str, secret: Secret, *, store: Literal["keyring", "vault", "session"] | None = None
    ) -> SavedKey:
        """Keep a key for a provider's present origin.

        Raises:
            RegistryError: The provider has no address yet.
            CredentialError: The key cannot be kept there.
        """
        return self.credentials.save(self.key_owner(provider_id), secret, store=store)

    def key_owner(self, provider_id: str) -> ProviderConfig:
        """The provider that a key is to be kept for; asked before the user is.

        Raises:
            RegistryError: It has no address yet, and a key belongs to one.
        """
        provider = self.registry.get(provider_id)
        if not (provider.base_url or provider.gguf) and (why := hindrance(provider)):
            raise why
        return provider

    def use(self, ref: str, *, keep: bool = True) -> ModelRef:
        """Make a model the default."""
        resolved = self.resolve(ref)
        self.settings.set("model", resolved.ref, keep=keep)
        return resolved

    def resolve(self, ref: str) -> ModelRef:
        """A model reference, an alias or a bare id as provider and model."""
        return self.registry.resolve(ref, offered=self.overview.offered())

    # ------------------------------------------------------------ settings

    def presets(self) -> Mapping[str, Mapping[str, Any]]:
        """Parameters kept under a name."""
        kept = self.config.read().get("presets", {})
        return {k: dict(v) for k, v in kept.items() if isinstance(v, Mapping)} if isinstance(kept, Mapping) else {}

    def set_preset(self, name: str, params: Mapping[str, Any]) -> None:
        """Keep parameters under a name; without parameters the preset is removed.

        Raises:
            SettingsError: The file cannot be written, or there is no preset to remove.
        """
        if not params and name not in self.presets():
            close = difflib.get_close_matches(name, self.presets(), n=3)
            raise SettingsError(
                f"there is no preset {name!r}", hint=f"did you mean {', '.join(close)}?" if close else None
            )

        def change(document: Any) -> None:
            presets = document.setdefault("presets", {})
            if params:
                presets[name] = dict(params)
            else:
                del presets[name]

        self.config.update(f"preset {name}", change)

    # ------------------------------------------------------------ conversations

    def conversation(self, name: str = "main") -> Conversation:
        """A stored conversation."""
        return self.conversations.get(name)

    # ------------------------------------------------------------ for people

    def news(self) -> list[str]:
        """What the user should know by now of the places where keys and conversations are kept, a line each."""
        store = self._opened.get("store")
        lost = store.take_warning() if store is not None else None
        return [*self.credentials.notices(), *self.recordings.notices(), *filter(None, [lost])]

    def store_warning(self) -> str | None:
        """Why conversations are not kept on the disk, in one line; None when they are, or none was opened yet."""
        store = self._opened.get("store")
        return None if store is None else store.warning

    # ------------------------------------------------------------ wiring

    async def _serve(self, endpoint: Endpoint) -> Endpoint:
        if self.recordings.mode == "replay":  # nothing is started, and the address is no part of what was recorded
            path = "/v1" if endpoint.provider.kind == "openai" else ""
            row = endpoint.provider.model_copy(update={"base_url": f"http://recording.invalid{path}", "auth": "none"})
            return replace(endpoint, provider=row)
        url, key = await self.local.endpoint_url(endpoint.provider)
        row = endpoint.provider.model_copy(update={"base_url": url, "auth": "bearer"})
        return replace(endpoint, provider=row, key=key)


_log = logging.getLogger("nbllm")
_no_output = logging.NullHandler()
_current: Workspace | None = None
_lock = threading.Lock()


def current() -> Workspace:
    """The workspace of this process, made on the first call."""
    global _current
    with _lock:
        if _current is None:
            _current = Workspace()
        return _current


def services() -> Services:
    """What a question needs, in this process: for the workers of a cluster, who are told the name of this function."""
    return current()._services


def news() -> list[str]:
    """`Workspace.news` of this process's workspace; nothing while there is none."""
    return [] if _current is None else _current.news()


def exchange_current(other: Workspace | None) -> Workspace | None:
    """Put another in the place of the workspace of this process (None: a new one when it is needed); the one before.

    Closes nothing: a test sets what was there aside, and puts it back.
    """
    global _current
    with _lock:
        before, _current = _current, other
    return before


def forget_current() -> None:
    """Close the workspace of this process; the next `current()` makes a new one."""
    before = exchange_current(None)
    if before is not None:
        before.close()
