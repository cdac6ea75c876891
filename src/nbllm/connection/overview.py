"""Which providers could be used right now, what they offer, and what they answered last.

Reads the registry, the credentials and the cache; talks to the network only in `check`, `check_many`, `models` and
`discover`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from nbllm.adapters.base import Endpoint
from nbllm.catalog.listings import CachedListing, Listings, with_added
from nbllm.connection.check import Target, check_answer, check_many, stages
from nbllm.connection.discover import Found, discover
from nbllm.connection.history import LastChecks
from nbllm.connection.result import ConnectionCheck, StageResult, summarize
from nbllm.credentials import Credentials, Secret
from nbllm.errors import RegistryError
from nbllm.providers.readiness import hindrance, lacking, no_listing
from nbllm.providers.registry import Registry
from nbllm.providers.spec import ModelInfo, ProviderConfig
from nbllm.settings import Paths
from nbllm.tables import Row, Table, ago
from nbllm.transport.http import Http

COLUMNS = ("id", "name", "kind", "base_url", "status", "enabled", "env", "key", "key_name", "model_count",
           "models_age_s", "last_check")  # fmt: skip


class ProviderTable(Table):
    """Providers, one a row, with the fixed columns.

    Shown to a person, servers of this machine that were never heard of are one sentence below the table: a newcomer
    has none of them, and should see what answers. They are among the rows all the same.
    """

    columns = ("id", "name", "kind", "status", "key", "models", "checked", "base_url")

    def __init__(self, rows: Sequence[Row], *, silent: Collection[str] = (), note: str | None = None) -> None:
        super().__init__(rows, columns=self.columns, note=note)
        self._silent = frozenset(silent)

    def as_json(self) -> list[dict[str, Any]]:
        """The rows with the fixed columns, for programs."""
        return [{c: row[c] for c in COLUMNS} for row in self.rows]

    def shown_rows(self) -> list[dict[str, Any]]:
        """The rows as a person reads them."""
        return [_for_people(row) for row in self.rows if row["id"] not in self._silent]


class Overview:
    """The providers of one workspace, seen from outside.

    Args:
        paths: Where the cache is.
        listings: The model lists that are kept.
        serve: Starts the child process of a provider that is a GGUF file.
        file_models: What such a file holds; raises RegistryError when it is none.
    """

    def __init__(
        self,
        paths: Paths,
        listings: Listings,
        registry: Registry,
        credentials: Credentials,
        http: Http,
        serve: Callable[[Endpoint], Awaitable[Endpoint]],
        file_models: Callable[[ProviderConfig], list[ModelInfo]],
    ) -> None:
        self._registry = registry
        self._credentials = credentials
        self._http = http
        self._serve = serve
        self._file_models = file_models
        self._checks = LastChecks(paths.cache_dir / "checks")
        self._listings = listings

    # ------------------------------------------------------------ what is known

    def is_usable(self, provider: ProviderConfig) -> bool:
        """A key or none needed, not switched off, not known to be gone, and nothing else to be given before."""
        if not provider.enabled or provider.status in ("retired", "unsupported") or provider.kind == "url":
            return False  # `url` rows are listings of somebody else's models: nothing there can be asked
        if lacking(provider):
            return False
        return self._credentials.status(provider, self._registry.key_variables(provider.id)).source != "none"

    def usable_ids(self) -> list[str]:
        """The providers that could be asked now."""
        with self._registry.held():
            return [p.id for p in self._registry.all() if self.is_usable(p)]

    def table(self, *, every: bool = False) -> ProviderTable:
        """The providers that can be used now and the user's own; `every` adds the rest."""
        with self._registry.held():
            rows = self._registry.all()
            shown = {p.id: p for p in rows if every or self.is_usable(p) or self._registry.is_own(p.id)}
            table = [self._row(p) for p in shown.values()]
            pairs = () if every else zip(shown.values(), table, strict=True)
            silent = [p for p, row in pairs if self._is_silent(p, row)]
            note = _note(silent, sum(self._lacks_key(p) for p in rows if p.id not in shown))
        return ProviderTable(table, silent=[p.id for p in silent], note=note)

    def _is_silent(self, provider: ProviderConfig, row: Row) -> bool:
        """A server that could run on this machine, and of which there is no sign that it does."""
        if not provider.local or self._registry.sources(provider.id).get("base_url") != "bundled":
            return False  # an address that the user gave is a sign
        return not (row["model_count"] or (row["last_check"] and row["last_check"]["ok"]))

    def _lacks_key(self, provider: ProviderConfig) -> bool:
        return provider.enabled and provider.status in ("live", "unverified") and provider.kind != "url"

    def _row(self, provider: ProviderConfig) -> dict[str, Any]:
        last = self._checks.last(provider)
        key = self._credentials.status(provider, self._registry.key_variables(provider.id))
        count, age = self._size(provider)
        return {
            "id": provider.id,
            "name": provider.title,
            "kind": provider.kind,
            "base_url": provider.base_url or provider.gguf or "",
            "status": provider.status,
            "enabled": provider.enabled,
            "env": list(provider.env),
            "key": key.source,
            "key_name": key.name,
            "model_count": count,
            "models_age_s": None if age is None else round(age),
            "last_check": None if last is None else asdict(last),
            "lacking": list(lacking(provider)),
        }

    def _size(self, provider: ProviderConfig) -> tuple[int | None, float | None]:
        if not provider.gguf:
            return self._listings.size(provider)
        known = self.known(provider)
        return (None if known.age_s is None and not known.models else len(known.models)), known.age_s

    def known_models(self, provider_id: str) -> Mapping[str, ModelInfo]:
        """What is known of a provider's models without asking it."""
        return {m.id: m for m in self.known(self._registry.get(provider_id)).models}

    def known(self, provider: ProviderConfig) -> CachedListing:
        """What a provider offers, as far as it is known without asking it."""
        if not provider.gguf:
            return self._listings.cached(provider)
        try:
            return self._of_file(provider)
        except RegistryError as exc:
            return CachedListing(with_added(provider, ()), None, None, stale=True, error=str(exc))

    def _of_file(self, provider: ProviderConfig) -> CachedListing:
        models = with_added(provider, tuple(self._file_models(provider)))
        return CachedListing(models, time.time(), 0.0, stale=False)

    def offered(self) -> dict[str, Collection[str]]:
        """For each provider that can be used, the ids it is known to offer."""
        return {i: self.known_models(i).keys() for i in self.usable_ids()}

    def known_refs(self) -> list[str]:
        """Model references to choose from: configured lists first, then cached listings."""
        chosen = [r.ref for r in self._registry.choices(lambda i: self.is_usable(self._registry.get(i)))]
        listed = [f"{provider}/{model}" for provider, models in self.offered().items() for model in models]
        by_hand = [f"{p.id}/{m.id}" for p in self._registry.all() if self.is_usable(p) for m in p.models]
        return list(dict.fromkeys((*chosen, *by_hand, *listed)))

    def describe(self, provider_id: str) -> Table:
        """Everything that is known of one provider, and where each value comes from. No key, no header's value."""
        provider = self._registry.get(provider_id)
        sources = self._registry.sources(provider_id)
        key = self._credentials.status(provider, self._registry.key_variables(provider_id))
        rows = [{"field": "key", "value": key.source, "source": key.name}]
        if lacking(provider) and (why := hindrance(provider)):
            rows.append({"field": "to be set", "value": why.hint, "source": None})
        for name, value in provider.model_dump(exclude_defaults=True).items():
            shown = list(value) if name == "headers" else value
            rows.append({"field": name, "value": _compact(shown), "source": sources.get(name)})
        rows += [{"field": "remark", "value": r, "source": None} for r in self._registry.remarks(provider_id)]
        return Table(rows, columns=("field", "value", "source"), title=provider.title)

    # ------------------------------------------------------------ changes

    def add(self, provider_id: str, fields: Mapping[str, Any]) -> list[str]:
        """Add a provider to `config.toml`; what was done, in sentences."""
        self._look_at_file(fields)
        provider = self._registry.add(provider_id, **fields)
        return [f"{provider.id}: added ({provider.base_url or provider.gguf})", *self._next_steps(provider)]

    def edit(self, provider_id: str, fields: Mapping[str, Any]) -> list[str]:
        """Change a provider in `config.toml`; what was done, in sentences."""
        self._look_at_file(fields)
        provider = self._registry.edit(provider_id, **fields)
        return [f"{provider.id}: changed ({', '.join(fields)})", *self._next_steps(provider)]

    def _look_at_file(self, fields: Mapping[str, Any]) -> None:
        if fields.get("gguf"):
            self._file_models(ProviderConfig(id="file", gguf=str(fields["gguf"])))

    def _next_steps(self, provider: ProviderConfig) -> list[str]:
        steps = list(self._registry.remarks(provider.id))
        key = self._credentials.status(provider, self._registry.key_variables(provider.id))
        if key.source == "none":
            steps.append(f"give its key with `%llm_providers key {provider.id}`")
        return [*steps, f"try it with `%llm_providers test {provider.id}`"]

    # ------------------------------------------------------------ asking

    async def check(self, provider_id: str, *, model: str | None = None) -> ConnectionCheck:
        """Test the connection to one provider and remember the result."""
        found = [found async for found in self.stages(provider_id, model=model)]
        assert isinstance(found[-1], ConnectionCheck)
        return found[-1]

    async def check_answer(self, provider_id: str, model: str) -> ConnectionCheck:
        """Ask the model one short question; when it does not answer, `check` finds out why."""
        found = await check_answer(self._target(provider_id), model)
        return found or await self.check(provider_id, model=model)

    async def stages(
        self, provider_id: str, *, model: str | None = None
    ) -> AsyncIterator[StageResult | ConnectionCheck]:
        """`check`, each stage as it finishes, and the whole at the end."""
        target = self._target(provider_id)
        started = time.perf_counter()
        found: list[StageResult] = []
        async with contextlib.aclosing(stages(target, model=model)) as results:
            async for stage in results:
                found.append(stage)
                yield stage
        result = summarize(provider_id, model, tuple(found), (time.perf_counter() - started) * 1000)
        await asyncio.to_thread(self._checks.save, target.provider, result)
        yield result

    async def check_many(self, provider_ids: Sequence[str] | None = None) -> AsyncIterator[tuple[str, ConnectionCheck]]:
        """Test several providers (None: all that can be used now) at once; results as they come."""
        ids = self.usable_ids() if provider_ids is None else list(provider_ids)
        targets = {i: self._target(i) for i in dict.fromkeys(ids)}
        async for result in check_many(targets.values()):
            await asyncio.to_thread(self._checks.save, targets[result.provider].provider, result)
            yield result.provider, result

    def _target(self, provider_id: str) -> Target:
        provider = self._registry.get(provider_id)
        return Target(provider, self._http, lambda: self._key(provider), serve=self._serve)

    def _key(self, provider: ProviderConfig) -> Secret | None:
        return self._credentials.require(provider, self._registry.key_variables(provider.id))

    async def models(self, provider_id: str, *, refresh: bool = False) -> CachedListing:
        """The provider's listing, from the cache unless it is old or `refresh` is set."""
        provider = self._registry.get(provider_id)
        if provider.gguf:
            return self._of_file(provider)
        if why := hindrance(provider):
            raise why
        if why_not := no_listing(provider):
            return CachedListing(with_added(provider, ()), None, None, stale=False, error=why_not)
        key = await asyncio.to_thread(self._credentials.find, provider, self._registry.key_variables(provider_id))
        endpoint = Endpoint(provider, key, self._http)
        return await self._listings.get(endpoint, refresh=refresh)

    async def discover(self) -> list[Found]:
        """Model servers on this machine, found by the shape of their answer."""
        return await discover(self._registry.all())

    # ------------------------------------------------------------ tables of results

    def check_table(self, checks: Sequence[tuple[str, ConnectionCheck]]) -> Table:
        """Several tests, one a row."""
        rows = [
            {"provider": i, "status": self._registry.get(i).status, "ok": c.ok, "stage": c.stage,
             "ms": round(c.latency_ms), "models": c.model_count, "error": c.error, "hint": c.hint}
            for i, c in checks
        ]  # fmt: skip
        return Table(rows, columns=("provider", "status", "ok", "stage", "ms", "models", "error", "hint"))

    def model_table(self, listing: CachedListing) -> Table:
        """A listing, one model a row."""
        rows = [
            {"ref": m.ref, "name": m.name, "context": m.context, "max_output": m.max_output, "created": m.created}
            for m in listing.models
        ]
        note = f"{len(rows)} models, {ago(listing.age_s)}" + (f"; {listing.error}" if listing.error else "")
        return Table(rows, columns=("ref", "name", "context", "max_output", "created"), note=note)

    def found_table(self, found: Sequence[Found]) -> Table:
        """Servers on this machine, with the words that add them."""
        rows = [
            {"server": f.name, "base_url": f.base_url, "models": len(f.models), "key": "wanted" if f.wants_key else "",
             "next": self._words_for(f)}
            for f in found
        ]  # fmt: skip
        note = None if rows else "no model server answers on the usual ports of this machine"
        return Table(rows, columns=("server", "base_url", "models", "key", "next"), note=note)

    def _words_for(self, found: Found) -> str:
        if found.id not in self._registry.ids():
            return f"%llm_providers add {found.id} --base-url {found.base_url} --kind {found.kind}"
        if found.wants_key:
            return f"%llm_providers key {found.id}"
        return f"%%chat {found.id}/{found.models[0]}" if found.models else f"%llm_providers models {found.id}"


def _for_people(row: Row) -> dict[str, Any]:
    count, age = row["model_count"], row["models_age_s"]
    return {
        **row,
        "key": _key_text(row),
        "models": None if count is None else f"{count} ({ago(age)})" if age is not None else str(count),
        "checked": _state(row),
    }


def _key_text(row: Row) -> str:
    """Where the key comes from; where there is none, the variable that would bring it."""
    if row["key"] == "none":
        if not row["base_url"]:
            return ""  # it would have nowhere to go
        return f"needs {row['env'][0]}" if row["env"] else "none"
    if row["key"] == "not-needed":
        return "not needed"
    return f"{row['key']} ({row['key_name']})" if row["key_name"] else str(row["key"])


def _state(row: Row) -> str | None:
    if not row["enabled"]:
        return "disabled"
    if row["lacking"]:
        return f"needs {', '.join(row['lacking'])}"
    last = row["last_check"]
    if last is None:
        return None
    return "ok" if last["ok"] else f"failed at {last['stage']}"


def _note(silent: Sequence[ProviderConfig], lacking: int) -> str | None:
    parts = []
    if silent:
        names = ", ".join(p.title for p in silent)
        parts.append(f"On this machine, when they run: {names}. `%llm_providers discover` looks for them.")
    if lacking:
        parts.append(
            f"{lacking} more are known and lack a key or an address: `%llm_providers list --all` names them, "
            "`%llm_providers key ID` takes a key."
        )
    return "\n".join(parts) or None


def _compact(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
