"""Which providers are asked for their models, and why the others are not. No network, and no key is read."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from nbllm.credentials import Credentials
from nbllm.errors import UsageError
from nbllm.providers.readiness import hindrance, lacking, no_listing
from nbllm.providers.registry import Registry
from nbllm.providers.spec import ProviderConfig


@dataclass(frozen=True, slots=True)
class Selection:
    """Whom to ask."""

    asked: tuple[ProviderConfig, ...]
    skipped: Mapping[str, str]
    """Id to the reason why that provider is not asked."""
    named: frozenset[str] = frozenset()
    """Ids that the user wrote: of these nothing is passed over in silence."""
    silent: frozenset[str] = frozenset()
    """Servers that may run on this machine: left out when nobody answers there."""


def select(
    registry: Registry,
    credentials: Credentials,
    ids: Sequence[str] = (),
    *,
    every: bool = False,
    failed: Collection[str] | None = None,
    needless: Callable[[str], str | None] | None = None,
) -> Selection:
    """Whom to ask.

    Args:
        registry: The providers.
        credentials: Whether each has a key; none is read.
        ids: Providers by name; also retired ones.
        every: Add each live or unverified provider that has a key or needs none.
        failed: Only those of these ids; without `ids` and `every`, all of them.
        needless: Why a provider need not be asked, though it could be; None: ask it.

    Raises:
        UnknownProviderError: An id of `ids` that nobody has; it names the closest.
        UsageError: Nobody is named.
    """
    if not ids and not every and failed is None:
        raise UsageError("fetch: name a provider, or --all", hint="for example `nbllm fetch openrouter`")
    named = {i: registry.get(i) for i in dict.fromkeys(ids)}
    rows = dict(named)
    if every:
        rows |= {p.id: p for p in registry.all() if p.status in ("live", "unverified")}
    gone: dict[str, str] = {}
    well: dict[str, str] = {}
    if failed is not None:
        known = {p.id: p for p in registry.all()}
        if not ids:
            rows = {i: known[i] for i in failed if i in known}
            gone = {i: "there is no such provider any more" for i in failed if i not in known}
        else:
            well = {i: "it did not fail last time" for i in named if i not in failed}
            rows = {i: p for i, p in named.items() if i in failed}
    reasons = {i: why for i, p in rows.items() if (why := _obstacle(p, registry, credentials))}
    spared = {i: why for i in rows if i not in reasons and needless and (why := needless(i))}
    asked = tuple(p for i, p in rows.items() if i not in reasons and i not in spared)
    silent = frozenset(p.id for p in asked if p.id not in named and _may_be_silent(p, registry))
    return Selection(asked, gone | well | reasons | spared, frozenset(named) - spared.keys() - well.keys(), silent)


def _obstacle(provider: ProviderConfig, registry: Registry, credentials: Credentials) -> str | None:
    """Why this provider cannot be asked; None: it can."""
    if not provider.enabled:
        return f"disabled; `%llm_providers enable {provider.id}`"
    if provider.status == "unsupported":
        return provider.note or "its wire format is not spoken here"
    if provider.gguf:
        return "a model file on this machine: its models are read from the file"
    if why := hindrance(provider):
        return f"it lacks {', '.join(lacking(provider))}; {why.hint}"
    if why_not := no_listing(provider):
        return why_not
    if not provider.needs_key or provider.models_need_key is False:
        return None
    status = credentials.status(provider, registry.key_variables(provider.id))
    if status.source != "none":
        return None
    if status.note:
        return f"no key: {status.note}"
    return f"no key: {provider.env[0]} is not set" if provider.env else "no key"


def _may_be_silent(provider: ProviderConfig, registry: Registry) -> bool:
    """A server of this machine at its usual address: an address that the user gave is a sign that it should run."""
    return provider.local and registry.sources(provider.id).get("base_url") == "bundled"
