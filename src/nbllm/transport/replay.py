"""Recordings, as a transport: it stands above the guard and below the adapters, so that they notice nothing.

    off      nothing
    record   the provider is asked, and each exchange is added to the recording
    replay   the recording answers; no key, no network
    auto     the provider where there is a credential for it, else the recording

Only questions (POST with a JSON body) are recorded. What a person stopped is not: a notebook that is run again should
not stop by itself. What the server broke off is, and breaks off again.
"""

from __future__ import annotations

import asyncio
import platform
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import httpx2

from nbllm.errors import NbllmError, OfflineError, ReplayMissError, StreamBrokenError, UnreachableError
from nbllm.providers.urls import origin_of
from nbllm.transport.auth import TRIP, Trip
from nbllm.transport.recording import Asked, Exchange, asked
from nbllm.transport.recordings import REPLAYED, WITNESS, Recordings, Witness

_HEADERS = frozenset(
    {"content-type", "retry-after", "retry-after-ms", "llm_provider-retry-after", "x-should-retry", "x-request-id",
     "request-id", "apim-request-id", "cf-ray"}
)  # fmt: skip
"""All that adapters and retries read of an answer's head."""


class ReplayTransport(httpx2.AsyncBaseTransport):
    """A transport that records what another one does, or answers in its place.

    Args:
        inner: Who asks the provider; its errors are errors of nbllm.
        recordings: Which mode, and which file.
        mounted: Whether `inner` makes no connection (the demo): its model list is then also there while replaying.
    """

    def __init__(self, inner: httpx2.AsyncBaseTransport, recordings: Recordings, *, mounted: bool = False) -> None:
        self._inner = inner
        self._recordings = recordings
        self._mounted = mounted

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Answer one request.

        Raises:
            ReplayMissError: It is not in the recording.
        """
        mode = self._recordings.mode
        if mode == "off":
            return await self._inner.handle_async_request(request)
        trip: Trip = request.extensions.get(TRIP) or Trip(request.url.host)
        question = None
        if request.method == "POST":
            path = request.url.raw_path.decode("ascii", "replace")
            question = asked(trip.provider, request.method, path, await request.aread())
        if question is None:
            if mode == "replay" and not self._mounted:
                raise ReplayMissError(
                    f"{trip.provider} was not asked: a recording answers questions only, not {request.method}",
                    hint="`%llm_replay off` asks the provider",
                )
            return await self._inner.handle_async_request(request)
        if mode == "record":
            return await self._record(request, question, trip)
        if mode == "replay" or trip.lacks_key:
            return await self._replay(question)
        return await self._ask_or_replay(request, question, trip)

    async def _replay(self, question: Asked) -> httpx2.Response:
        found = await asyncio.to_thread(self._recordings.next_answer, question)
        WITNESS.get().replays(found)
        return httpx2.Response(
            found.status,
            headers=dict(found.headers),
            stream=_Played(found, self._recordings.pace),
            extensions={REPLAYED: found.day},
        )

    async def _ask_or_replay(self, request: httpx2.Request, question: Asked, trip: Trip) -> httpx2.Response:
        """Ask; when nobody can be asked from here, the recording answers if it can."""
        failure: NbllmError
        try:
            return await self._inner.handle_async_request(request)
        except OfflineError as exc:
            failure = exc
        except UnreachableError as exc:
            if trip.keyed:  # a provider that is usually asked: its silence is news
                raise
            failure = exc
        try:
            return await self._replay(question)
        except NbllmError:
            pass
        raise failure

    async def _record(self, request: httpx2.Request, question: Asked, trip: Trip) -> httpx2.Response:
        began = time.perf_counter()
        when = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        answer = await self._inner.handle_async_request(request)
        exchange = Exchange(
            asked=question,
            run=self._recordings.run,
            when=when,
            origin=origin_of(str(request.url)),
            status=answer.status_code,
            headers={k: v for k, v in answer.headers.items() if k.lower() in _HEADERS},
            versions={"nbllm": _version(), "python": platform.python_version()},
        )
        taken = _Taken(answer.stream, exchange, self._recordings, trip, began)
        return httpx2.Response(answer.status_code, headers=answer.headers, stream=taken, extensions=answer.extensions)

    async def aclose(self) -> None:
        """Close what asks."""
        await self._inner.aclose()


_writing: set[asyncio.Future[None]] = set()
"""What is being written; a loop itself keeps its tasks only weakly."""


def _version() -> str:
    from nbllm import __version__  # noqa: PLC0415  (the package's root imports nothing of this at its start)

    return __version__


class _Taken(httpx2.AsyncByteStream):
    """A body that is written down while it passes."""

    def __init__(
        self, inner: httpx2.AsyncByteStream | httpx2.SyncByteStream | None, exchange: Exchange,
        recordings: Recordings, trip: Trip, began: float,
    ) -> None:  # fmt: skip
        self._inner = inner
        self._exchange = exchange
        self._recordings = recordings
        self._trip = trip
        self._began = began

    async def __aiter__(self) -> AsyncIterator[bytes]:
        exchange = self._exchange
        assert isinstance(self._inner, httpx2.AsyncByteStream)
        try:
            async for piece in self._inner:
                at_ms = round((time.perf_counter() - self._began) * 1000, 1)  # as it is written
                exchange.chunks.append((at_ms, piece))
                WITNESS.get().at_ms = at_ms
                yield piece
        except NbllmError as exc:
            exchange.ends = "broken"
            exchange.failure = {
                "error": type(exc).__name__,
                "message": exc.message,
                "hint": exc.hint or "",
                "phase": getattr(exc, "phase", "closed"),
            }
            await self._write()
            raise
        except (asyncio.CancelledError, GeneratorExit):
            if self._trip.settled:  # the answer was complete, and the server kept the line open
                exchange.ends = "closed"
                await self._write()
            raise
        await self._write()

    async def _write(self) -> None:
        """Write the exchange down, also when the reader gives up meanwhile: many at once wait for each other."""
        writing = asyncio.ensure_future(self._keep(WITNESS.get()))
        _writing.add(writing)
        writing.add_done_callback(_writing.discard)
        await asyncio.shield(writing)

    async def _keep(self, witness: Witness) -> None:
        kept = await asyncio.to_thread(self._recordings.keep, self._exchange)
        witness.records(self._exchange, kept=kept)

    async def aclose(self) -> None:
        assert isinstance(self._inner, httpx2.AsyncByteStream)
        await self._inner.aclose()


class _Played(httpx2.AsyncByteStream):
    """A recorded body, at `pace` times the time it took."""

    def __init__(self, exchange: Exchange, pace: float) -> None:
        self._exchange = exchange
        self._pace = pace

    async def __aiter__(self) -> AsyncIterator[bytes]:
        clock = asyncio.get_running_loop().time
        began = clock()
        witness = WITNESS.get()
        for at_ms, piece in self._exchange.chunks:
            witness.at_ms = at_ms
            # By the clock and not from piece to piece: what is done with a piece takes time too.
            if self._pace and (left_s := began + at_ms / 1000 * self._pace - clock()) > 0:
                await asyncio.sleep(left_s)
            yield piece
        if self._exchange.ends == "broken":
            raise _broken(self._exchange)


def _broken(exchange: Exchange) -> NbllmError:
    said = exchange.failure or {}
    message = said.get("message") or f"{exchange.asked.provider} broke off the answer"
    provider, hint = exchange.asked.provider, said.get("hint") or None
    if said.get("error") == "UnreachableError":
        return UnreachableError(message, phase=said.get("phase") or "closed", hint=hint, provider=provider)
    return StreamBrokenError(message, hint=hint, provider=provider)
