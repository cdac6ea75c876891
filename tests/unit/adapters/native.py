"""An endpoint whose network is a list of bytes, for adapters that speak over the transport themselves."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import httpx2

from nbllm.adapters.base import Adapter, Endpoint
from nbllm.credentials.secret import Secret
from nbllm.messages import ChatRequest, Delta, Message
from nbllm.providers.spec import ProviderConfig
from nbllm.reply_builder import ReplyBuilder
from nbllm.transport.http import Http

ORIGIN = "https://models.example:443"


@dataclass
class Net:
    """A fake network: `answer` makes the response to each request; `asked` keeps them."""

    answer: Callable[[httpx2.Request], httpx2.Response]
    asked: list[httpx2.Request] = field(default_factory=list)
    heads: list[dict[str, str]] = field(default_factory=list)
    """The headers as they were sent; the transport takes the key out of a request when it is done."""

    def transport(self) -> httpx2.AsyncBaseTransport:
        def handle(request: httpx2.Request) -> httpx2.Response:
            self.asked.append(request)
            self.heads.append(dict(request.headers))
            return self.answer(request)

        return httpx2.MockTransport(handle)

    @property
    def sent(self) -> Any:
        """The JSON of the last request."""
        return json.loads(self.asked[-1].content)


def sends(*pieces: bytes, status: int = 200, fault: Exception | None = None, **headers: str) -> Net:
    """A network that answers each request with these pieces, then breaks with `fault`."""

    async def body() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece
        if fault is not None:
            raise fault

    return Net(lambda _: httpx2.Response(status, headers=headers, content=body()))


def row(kind: str, **fields: Any) -> ProviderConfig:
    """A provider's row for tests."""
    base = {"gemini": "https://models.example/v1beta", "ollama": "https://models.example"}[kind]
    auth = {"gemini": "x-goog-api-key", "ollama": "bearer"}[kind]
    return ProviderConfig(**{"id": "test", "kind": kind, "base_url": base, "auth": auth, **fields})


def ask(text: str = "hello", **fields: Any) -> ChatRequest:
    """A request of one message."""
    messages = fields.pop("messages", (Message.user(text),))
    return ChatRequest(provider="test", model=fields.pop("model", "m-1"), messages=messages, **fields)


def deltas(adapter: Adapter, net: Net, request: ChatRequest, provider: ProviderConfig) -> Iterable[Delta]:
    """All deltas of one answer. On an error those before it are its `seen`."""
    seen: list[Delta] = []

    async def go() -> None:
        http = Http(mounts={ORIGIN: net.transport})
        endpoint = Endpoint(provider, Secret("not-a-key-of-anyone"), http)
        try:
            async for delta in adapter.stream(request, endpoint):
                seen.append(delta)
        except Exception as error:
            error.seen = seen  # type: ignore[attr-defined]
            raise
        finally:
            await http.aclose()

    asyncio.run(go())
    return seen


def reply(adapter: Adapter, net: Net, provider: ProviderConfig, request: ChatRequest | None = None) -> ReplyBuilder:
    """One answer, collected."""
    builder = ReplyBuilder()
    for delta in deltas(adapter, net, request or ask(), provider):
        builder.add(delta)
    return builder


def body(adapter: Adapter, request: ChatRequest, provider: ProviderConfig) -> dict[str, Any]:
    """What `build` would send."""
    return dict(adapter.build(request, Endpoint(provider, None, Http())).body)


def models(adapter: Adapter, net: Net, provider: ProviderConfig) -> list[Any]:
    """The listing."""

    async def go() -> list[Any]:
        http = Http(mounts={ORIGIN: net.transport})
        try:
            return await adapter.list_models(Endpoint(provider, Secret("not-a-key-of-anyone"), http))
        finally:
            await http.aclose()

    return asyncio.run(go())
