"""Model lists from many providers at the same time.

A provider that fails, hangs, or whose key cannot be had stops nobody else. What has arrived is in the cache at once, so
an interrupt loses only what had not come.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

from nbllm.adapters.base import Endpoint
from nbllm.adapters.listing import Listed
from nbllm.catalog.listings import Answer, Kept, Listings
from nbllm.credentials import Credentials, Secret
from nbllm.credentials.redaction import redact
from nbllm.errors import (
    AuthenticationError,
    MissingKeyError,
    NbllmError,
    OfflineError,
    UnreachableError,
)
from nbllm.providers.registry import Registry
from nbllm.providers.spec import ModelInfo, ProviderConfig
from nbllm.tables import ago
from nbllm.transport.http import Http

T = TypeVar("T")

CONCURRENCY = 128
"""Providers asked at once; each takes a connection, and some systems allow a process 256 of them."""
TIMEOUT_S = 30.0
"""Seconds for one provider: its key, all pages, and waits before another attempt."""

Outcome = Literal["ok", "unchanged", "failed", "skipped", "cached"]


@dataclass(frozen=True, slots=True)
class FetchResult:
    """How asking one provider went."""

    provider: str
    outcome: Outcome
    """ok: a list came. unchanged: nothing is new, the list that is kept holds. cached: it is young, or this machine is
    offline, so nobody was asked. failed: it was asked, and no list came. skipped: it could not be asked."""
    model_count: int | None = None
    """Rows of the provider's own listing that are models, also those that come twice; None: no list came."""
    seconds: float | None = None
    """None: nobody was asked."""
    error: NbllmError | None = None
    reason: str | None = None
    """Why it failed or was skipped, how old a cached list is, what is wrong with one that came; one line."""
    listed: Listed | None = None
    """The answer as it came."""
    models: tuple[ModelInfo, ...] = ()
    age_s: float | None = None
    """Of the list that is known now."""
    unsaved: OSError | None = None
    """Why the list is not in the cache."""


@dataclass(frozen=True, slots=True)
class FetchOptions:
    """How to ask."""

    force: bool = False
    """Ask also when the list that is kept is young."""
    whole: bool = False
    """The answers are wanted as they came: a list from the cache, or "nothing is new", is not enough."""
    concurrency: int = CONCURRENCY
    timeout_s: float = TIMEOUT_S


class Fetcher:
    """Asks providers for their lists.

    Args:
        registry: Says which key variables count.
        credentials: The keys.
        http: The way to the providers.
        listings: Where the lists are kept.
    """

    def __init__(self, registry: Registry, credentials: Credentials, http: Http, listings: Listings) -> None:
        self.registry = registry
        self.credentials = credentials
        self._http = http
        self._listings = listings

    async def each(
        self, providers: Sequence[ProviderConfig], options: FetchOptions, done: Callable[[FetchResult], None]
    ) -> AsyncIterator[FetchResult]:
        """Ask all of them; results come as they are ready, and are given to `done` on the loop's thread before that."""
        lanes = asyncio.Semaphore(options.concurrency)

        async def one(provider: ProviderConfig) -> FetchResult:
            async with lanes:
                result = await self._try(provider, options)
            done(result)
            return result

        tasks = [asyncio.create_task(one(p)) for p in providers]
        try:
            for next_one in asyncio.as_completed(tasks):
                yield await next_one
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _try(self, provider: ProviderConfig, options: FetchOptions) -> FetchResult:
        kept = await self._listings.recall(provider)
        if kept is not None and not (kept.stale or options.force or options.whole):
            return _from_cache(provider, kept, f"{ago(kept.age_s)}; --force asks again")
        started = time.perf_counter()
        error: NbllmError
        try:
            async with asyncio.timeout(options.timeout_s):
                answer = await self._ask(provider, options)
            return _arrived(provider, answer, time.perf_counter() - started)
        except TimeoutError:
            error = _late(provider, options.timeout_s)
        except NbllmError as exc:
            error = exc
        except Exception as exc:  # noqa: BLE001  (one provider's fault, or a foreign adapter's, must not hide the others)
            error = NbllmError(
                f"{provider.id}: asking it failed: {type(exc).__name__}: {redact(str(exc))}",
                hint="please report this, with what `%llm_providers show` says of it",
            )
        return _without(provider, error, kept, time.perf_counter() - started)

    async def _ask(self, provider: ProviderConfig, options: FetchOptions) -> Answer:
        async def ask(key: Secret | None) -> Answer:
            endpoint = Endpoint(provider, key, self._http)
            return await self._listings.ask(endpoint, whole=options.whole, timeout_s=options.timeout_s)

        if provider.models_need_key is not False:
            return await ask(await self._key(provider))
        refused: AuthenticationError
        try:
            return await ask(None)  # a key that is not needed stays here
        except AuthenticationError as exc:
            refused = exc
        key = await self._key(provider)  # the row was wrong, or is no longer right
        if key is None:
            raise refused
        return await ask(key)

    async def _key(self, provider: ProviderConfig) -> Secret | None:
        variables = self.registry.key_variables(provider.id)
        if self.credentials.is_at_hand(provider, variables):
            return self.credentials.require(provider, variables)
        return await _aside(lambda: self.credentials.require(provider, variables))


def _arrived(provider: ProviderConfig, answer: Answer, seconds: float) -> FetchResult:
    listed = answer.listed
    return FetchResult(
        provider.id,
        "cached" if listed is None else "unchanged" if listed.not_modified else "ok",
        answer.count,
        seconds=None if listed is None else seconds,
        reason="asked a moment ago" if listed is None else "; ".join(listed.warnings) or None,
        listed=listed,
        models=answer.models,
        age_s=0.0,
        unsaved=answer.unsaved,
    )


def _from_cache(provider: ProviderConfig, kept: Kept, reason: str) -> FetchResult:
    return FetchResult(provider.id, "cached", kept.count, reason=reason, models=kept.models, age_s=kept.age_s)


def _without(provider: ProviderConfig, error: NbllmError, kept: Kept | None, seconds: float) -> FetchResult:
    """What is said of a provider from which no list came."""
    if isinstance(error, OfflineError) and kept is not None:
        return replace(_from_cache(provider, kept, f"offline; the list is {_old(kept)}"), error=error)
    if isinstance(error, (OfflineError, MissingKeyError)):  # nobody was asked
        return FetchResult(provider.id, "skipped", error=error, reason=error.message)
    reason = error.message if kept is None else f"{error.message}; the earlier list stays ({_old(kept)})"
    return FetchResult(
        provider.id, "failed", seconds=seconds, error=error, reason=reason, age_s=None if kept is None else kept.age_s
    )


def _old(kept: Kept) -> str:
    return "of unknown age" if kept.age_s is None else ago(kept.age_s)


def _late(provider: ProviderConfig, timeout_s: float) -> UnreachableError:
    return UnreachableError(
        f"{provider.id} did not answer within {timeout_s:g} s",
        phase="timeout",
        hint="allow it more with --timeout, or ask it alone",
        provider=provider.id,
    )


async def _aside(call: Callable[[], T]) -> T:
    """Run `call` in a daemon thread: a keyring that hangs takes nobody's turn, and does not keep the process alive."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def tell(value: T | None, error: BaseException | None) -> None:
        if future.done():  # nobody waits any more
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(value)  # type: ignore[arg-type]

    def run() -> None:
        value, error = None, None
        try:
            value = call()
        except Exception as exc:  # noqa: BLE001  (raised again where it is awaited)
            error = exc
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(tell, value, error)

    threading.Thread(target=run, name="nbllm-key", daemon=True).start()
    return await future
