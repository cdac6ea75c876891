"""Ask an adapter over a transport that answers with prepared bytes; what came out of it, in one object."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import httpx2

from nbllm.adapters import load_adapter
from nbllm.adapters.base import Endpoint
from nbllm.credentials.secret import Secret
from nbllm.errors import NbllmError
from nbllm.messages import ChatRequest, Delta, Message
from nbllm.providers.spec import ModelInfo, ProviderConfig
from nbllm.reply_builder import ReplyBuilder
from nbllm.transport.http import Http

T = TypeVar("T")

KEY = "sk-test-7f3a9c2e5b8d1f4a"
ORIGIN = "http://127.0.0.1:9"
"""Nothing listens there, and nothing is asked there: the transport is a prepared one."""
AUTH = {"anthropic": "x-api-key", "gemini": "x-goog-api-key"}
PATH = {"openai": "/v1", "gemini": "/v1beta"}


@dataclass
class Answer:
    """One prepared response."""

    chunks: Sequence[bytes] = ()
    status: int = 200
    kind: str = "text/event-stream"
    headers: Mapping[str, str] = field(default_factory=dict)
    lost: bool = False
    """The connection breaks at the end of the chunks."""
    silent: bool = False
    """Nothing comes after the chunks, and the connection stays."""
    closed: bool = False
    """Set when the client has closed the response."""


class _Body(httpx2.AsyncByteStream):
    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self._answer.chunks:
            await asyncio.sleep(0)
            yield chunk
        if self._answer.silent:
            await asyncio.Event().wait()
        if self._answer.lost:
            raise httpx2.ReadError("connection reset")

    async def aclose(self) -> None:
        self._answer.closed = True


class Prepared(httpx2.AsyncBaseTransport):
    """Gives the answers in turn, the last one again and again; keeps the requests as they would be sent."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.requests: list[httpx2.Request] = []
        self.bodies: list[Any] = []
        self.headers: list[dict[str, str]] = []

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        content = await request.aread()
        self.requests.append(request)
        self.headers.append({k.lower(): v for k, v in request.headers.items()})
        self.bodies.append(json.loads(content) if content else None)
        answer = self.answers[min(len(self.requests), len(self.answers)) - 1]
        headers = {"content-type": answer.kind, **answer.headers}
        return httpx2.Response(answer.status, headers=headers, stream=_Body(answer))


@dataclass
class Outcome:
    """What an adapter made of an answer."""

    deltas: list[Delta]
    error: NbllmError | None
    transport: Prepared
    reply: ReplyBuilder

    @property
    def text(self) -> str:
        """The text that was yielded."""
        return self.reply.text

    @property
    def facts(self) -> tuple[Any, ...]:
        """All that must not depend on how the network cuts the bytes."""
        r = self.reply
        error = (type(self.error), str(self.error)) if self.error else None
        return (r.text, r.reasoning, r.tool_calls, r.usage, r.finish_reason, r.model_reported, r.request_id,
                tuple(r.notices), error)  # fmt: skip


def row(kind: str, **fields: Any) -> ProviderConfig:
    """A row of this kind whose origin is the prepared one."""
    base = {"id": "there", "kind": kind, "base_url": ORIGIN + PATH.get(kind, ""), "auth": AUTH.get(kind, "bearer")}
    return ProviderConfig(**{**base, **fields})


def prompt(**fields: Any) -> ChatRequest:
    """A small request."""
    base = {"provider": "there", "model": "tiny", "messages": (Message.user("hello"),)}
    return ChatRequest(**{**base, **fields})


def with_endpoint(use: Callable[[Endpoint], Awaitable[T]], transport: Prepared, provider: ProviderConfig) -> T:
    """Run `use` with an endpoint that leads to the prepared transport."""

    async def main() -> T:
        http = Http(mounts={ORIGIN: lambda: transport})
        try:
            return await asyncio.wait_for(use(Endpoint(provider, Secret(KEY), http)), 20)
        finally:
            await http.aclose()

    return asyncio.run(main())


def ask(
    kind: str,
    *answers: Answer | Sequence[bytes],
    request: ChatRequest | None = None,
    fields: Mapping[str, Any] | None = None,
    stop_after: int | None = None,
) -> Outcome:
    """Ask once; errors of nbllm are kept, others fail the test."""
    transport = Prepared(*(a if isinstance(a, Answer) else Answer(a) for a in answers))
    deltas: list[Delta] = []

    async def use(endpoint: Endpoint) -> NbllmError | None:
        stream = load_adapter(kind).stream(request or prompt(), endpoint)
        try:
            async for delta in stream:
                deltas.append(delta)
                if stop_after is not None and len(deltas) >= stop_after:
                    break
        except NbllmError as error:
            return error
        finally:
            await stream.aclose()  # type: ignore[attr-defined]
        return None

    error = with_endpoint(use, transport, row(kind, **(fields or {})))
    reply = ReplyBuilder()
    for delta in deltas:
        reply.add(delta)
    return Outcome(deltas, error, transport, reply)


def listed(kind: str, *answers: Answer, fields: Mapping[str, Any] | None = None) -> list[ModelInfo] | NbllmError:
    """The models, or the error."""
    transport = Prepared(*answers)

    async def use(endpoint: Endpoint) -> list[ModelInfo] | NbllmError:
        try:
            return await load_adapter(kind).list_models(endpoint)
        except NbllmError as error:
            return error

    return with_endpoint(use, transport, row(kind, **(fields or {})))


def built(kind: str, request: ChatRequest, **fields: Any) -> dict[str, Any]:
    """The body that `build` makes."""

    async def use(endpoint: Endpoint) -> dict[str, Any]:
        return json.loads(json.dumps(dict(load_adapter(kind).build(request, endpoint).body)))

    return with_endpoint(use, Prepared(), row(kind, **fields))
