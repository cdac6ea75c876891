"""Short ways to ask through the transport in tests."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from nbllm.credentials.secret import Secret
from nbllm.errors import NbllmError
from nbllm.providers.spec import ProviderConfig
from nbllm.transport.http import Fetched, Http
from nbllm.transport.sse import Event, SseDecoder

T = TypeVar("T")

KEY = "sk-test-7f3a9c2e5b8d1f4a"


def row(base_url: str, **fields: Any) -> ProviderConfig:
    """A provider without a key, unless told otherwise."""
    return ProviderConfig(**{"id": "there", "base_url": base_url, "auth": "none", **fields})


def asking(ask: Callable[[Http], Awaitable[T]], **options: Any) -> T:
    """Run `ask` with an `Http` that is closed afterwards, on a loop of its own."""

    async def main() -> T:
        http = Http(**options)
        try:
            return await ask(http)
        finally:
            await http.aclose()

    return asyncio.run(main())


def fetched(base_url: str, *, key: str | None = None, timeout_s: float = 5.0, **options: Any) -> Fetched:
    """One GET of `/models`."""
    fields = options.pop("fields", {})
    cap = options.pop("cap_bytes", 50_000_000)
    provider = row(base_url, **fields)

    async def ask(http: Http) -> Fetched:
        return await http.fetch(
            "GET",
            provider.base_url + "/models",
            provider=provider,
            key=Secret(key) if key else None,
            timeout_s=timeout_s,
            cap_bytes=cap,
        )

    return asking(ask, **options)


async def events_of(http: Http, provider: ProviderConfig, key: str | None = None) -> list[Event]:
    """All events of one streamed POST."""
    decoder = SseDecoder()
    events: list[Event] = []
    secret = Secret(key) if key else None
    url = provider.base_url + "/chat/completions"
    async with http.stream("POST", url, provider=provider, key=secret, json={"stream": True}) as response:
        async for chunk in response.aiter_bytes():
            events += decoder.feed(chunk)
    return events + decoder.finish()


def streamed(base_url: str, *, key: str | None = None, fields: dict[str, Any] | None = None, **options: Any) -> Any:
    """All events of one streamed POST, on a loop of its own."""
    return asking(lambda http: events_of(http, row(base_url, **(fields or {})), key), **options)


def error_of(call: Callable[[], Any]) -> NbllmError:
    """The error of ours that `call` raises; another one fails the test."""
    try:
        call()
    except NbllmError as exc:
        return exc
    raise AssertionError("nothing was raised")
