"""One cell asked: through the same adapter, retries and limits as a chat, and nothing of it kept in a conversation."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from nbllm.adapters import load_adapter
from nbllm.adapters.base import Adapter, Endpoint
from nbllm.chat.plan import Services, find_endpoint, in_prompt
from nbllm.chat.reckoning import tokens_for_limit, usage_of
from nbllm.chat.structured import Shape
from nbllm.compare.cells import CellSpec, Outcome
from nbllm.errors import (
    AuthenticationError,
    CredentialError,
    NbllmError,
    ProviderError,
    QuotaError,
    RateLimitError,
    UnsupportedError,
)
from nbllm.messages import ChatRequest, Delta, FinishReason, Usage
from nbllm.prices import Prices
from nbllm.reply_builder import ReplyBuilder
from nbllm.store import schema
from nbllm.transport.recordings import WITNESS, Witness
from nbllm.transport.retry import RetryPolicy, retrying
from nbllm.usage import Cost, cost

PATIENCE = RetryPolicy(attempts=6, max_wait_s=300.0, cap_s=30.0)
"""A run of thousands of cells waits longer for one of them than a person for an answer."""

OnLimit = Callable[[float], None]
"""Called when the provider asked for fewer requests, with the seconds to wait."""

_HOPELESS = (AuthenticationError, QuotaError, CredentialError)
"""After one of these, no further request to the same provider can be answered."""


@dataclass(slots=True)
class _Line:
    """What all cells of one provider have in common."""

    endpoint: Endpoint
    adapter: Adapter
    known: dict[str, Sequence[Prices]]


class Asker:
    """Asks cells. Belongs to one event loop and one run; opens a provider's way once."""

    def __init__(self, services: Services, *, patience: RetryPolicy = PATIENCE) -> None:
        self._services = services
        self._patience = patience
        self._lines: dict[str, asyncio.Task[_Line]] = {}
        self._turns: dict[str, asyncio.Lock] = {}
        self._live = services.recordings.mode == "off"

    async def ask(self, spec: CellSpec, *, on_limit: OnLimit | None = None) -> Outcome:
        """What came of a cell. Errors of nbllm are outcomes; nothing is raised but a cancellation."""
        attempt = _Attempt(spec, schema.now())
        try:
            line = await self._line(spec.request.provider)
            async with self._turn(spec.request):
                await self._answer(attempt, line, on_limit)
            return await self._finished(attempt, line)
        except NbllmError as exc:
            return attempt.failed(exc)

    async def _line(self, provider_id: str) -> _Line:
        if provider_id not in self._lines:
            self._lines[provider_id] = asyncio.ensure_future(self._open(provider_id))
        return await asyncio.shield(self._lines[provider_id])

    def _turn(self, request: ChatRequest) -> AbstractAsyncContextManager[object]:
        """A recording knows answers to the same question by their order, so repeats then wait for each other.

        Else the answers of two repeats would change places when it is replayed, and with them times and scores.
        """
        if self._live:
            return contextlib.nullcontext()
        return self._turns.setdefault(request.key(), asyncio.Lock())

    async def _open(self, provider_id: str) -> _Line:
        services = self._services
        provider = services.registry.get(provider_id)
        endpoint = await asyncio.to_thread(find_endpoint, provider, services)  # a keyring may take its time
        if provider.gguf:
            endpoint = await services.serve(endpoint)
        return _Line(endpoint, load_adapter(provider.kind), {})

    async def _answer(self, attempt: _Attempt, line: _Line, on_limit: OnLimit | None) -> None:
        request = attempt.spec.request
        if request.schema is not None and not _takes_schema(line):
            request = without_schema(request)
        try:
            await self._stream(request, attempt, line, on_limit)
        except UnsupportedError:
            if request.schema is None:
                raise
            await self._stream(without_schema(request), attempt, line, on_limit)

    async def _stream(self, request: ChatRequest, attempt: _Attempt, line: _Line, on_limit: OnLimit | None) -> None:
        services, provider = self._services, line.endpoint.provider
        has_key = line.endpoint.key is not None or not provider.needs_key
        replays = not self._live and services.recordings.stands_in(provider.id, has_key=has_key)
        WITNESS.set(attempt.witness)

        def begin(number: int) -> AsyncIterator[Delta]:
            attempt.begin()
            return line.adapter.stream(request, line.endpoint)

        def on_wait(seconds: float, error: ProviderError, number: int) -> None:
            # The gate tells of waits for the user's own limits in the same way, before any attempt.
            if on_limit is not None and number and isinstance(error, RateLimitError):
                on_limit(seconds)

        answer = retrying(
            begin,
            policy=self._patience,
            gate=services.gate(provider),
            on_wait=on_wait,
            tokens=tokens_for_limit(request, provider),
            bypass=replays,
            sleep=services.recordings.sleep if replays else asyncio.sleep,
        )
        async with contextlib.aclosing(answer) as deltas:
            async for delta in deltas:
                attempt.builder.add(delta)
                if attempt.first_ms is None and (delta.text or delta.reasoning):
                    attempt.first_ms = attempt.now_ms()
        attempt.last_ms = attempt.now_ms()

    async def _finished(self, attempt: _Attempt, line: _Line) -> Outcome:
        request, provider = attempt.spec.request, line.endpoint.provider
        if request.model not in line.known:
            line.known[request.model] = await asyncio.to_thread(self._prices, provider.id, request.model)
        usage = usage_of(attempt.builder, request)
        paid = cost(provider, request.model, usage, known=line.known[request.model])
        return attempt.answered(usage, paid, urlsplit(provider.base_url).hostname)

    def _prices(self, provider_id: str, model: str) -> Sequence[Prices]:
        provider = self._services.registry.get(provider_id)
        known = self._services.prices(provider, model)
        # Reads the price data once, outside the loop: it takes 150 ms to load.
        cost(provider, model, Usage(1, output_tokens=1), known=known)
        return known


class _Attempt:
    """A cell while it is asked."""

    def __init__(self, spec: CellSpec, started_at: str) -> None:
        self.spec = spec
        self.started_at = started_at
        self.builder = ReplyBuilder()
        self.witness = Witness()
        self.attempts = 0
        self.first_ms: float | None = None
        self.last_ms: float | None = None
        self._began = time.perf_counter()

    def begin(self) -> None:
        """Another request is sent for it; the waits before it are not the model's time."""
        self.attempts += 1
        self.builder = ReplyBuilder()
        self.first_ms = None
        self._began = time.perf_counter()

    def now_ms(self) -> float:
        """Since the request was sent; of the recording where there is one, so that it tells the same times."""
        at_ms = self.witness.at_ms
        return round((time.perf_counter() - self._began) * 1000, 1) if at_ms is None else at_ms

    def answered(self, usage: Usage, paid: Cost | None, host: str | None) -> Outcome:
        """The answer."""
        built = self.builder
        return Outcome(
            key=self.spec.key,
            status="ok",
            started_at=self.started_at,
            text=built.text,
            reasoning=built.reasoning,
            finish_reason=(built.finish_reason or FinishReason.OTHER).value,
            model_reported=built.model_reported,
            usage=usage,
            ttft_ms=self.first_ms,
            latency_ms=self.last_ms,
            cost_usd=None if paid is None else paid.usd,
            price_version=None if paid is None else paid.source,
            request_id=built.request_id,
            attempts=self.attempts,
            replayed=self.witness.replayed,
            host=host,
        )

    def failed(self, error: NbllmError) -> Outcome:
        """The error in the place of an answer. What was written of an answer that broke off is no answer."""
        return Outcome(
            key=self.spec.key,
            status="error",
            started_at=self.started_at,
            model_reported=self.builder.model_reported,
            request_id=getattr(error, "request_id", None) or self.builder.request_id,
            attempts=self.attempts,
            error_type=type(error).__name__,
            error=error.message,
            refused=isinstance(error, _HOPELESS),
            replayed=self.witness.replayed,
        )


def without_schema(request: ChatRequest) -> ChatRequest:
    """The request for a server without structured output: the schema goes into the system text."""
    assert request.schema is not None
    return replace(in_prompt(request, Shape(request.schema_name, request.schema)), schema=None)


def _takes_schema(line: _Line) -> bool:
    return line.adapter.native_schema and not line.endpoint.provider.quirk("no_schema")
