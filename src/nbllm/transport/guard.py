"""The transport under every client: sends through the pool, and lets only errors and sizes of ours come up.

It stands below httpx2 and whoever is given one of our clients, so that all are held to the same rules: no request
when offline, no waiting beyond the row's timeouts, answers unpacked here in pieces and counted, error bodies cut, and
exceptions of the network turned into errors of nbllm that know nothing of the request.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx2

from nbllm.errors import NbllmError, StreamBrokenError
from nbllm.providers.spec import Timeouts
from nbllm.transport.auth import TRIP, Trip
from nbllm.transport.faults import fault
from nbllm.transport.sse import ERROR_CAP

ACCEPT_ENCODING = "gzip, deflate"
"""What is asked for, and all that is unpacked."""
_PIECE = 1_000_000
"""Bytes unpacked at a time: a bomb is noticed before it is large."""


class Guard(httpx2.AsyncBaseTransport):
    """Rules around another transport: the pool's, the demo's, a recording's.

    Args:
        inner: Who sends.
        refuse: Called with each URL; raises when nothing may be sent there now.
    """

    def __init__(self, inner: httpx2.AsyncBaseTransport, *, refuse: Callable[[str], None] = lambda url: None) -> None:
        self._inner = inner
        self._refuse = refuse

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send, and wait for the answer's head."""
        trip: Trip = request.extensions.get(TRIP) or Trip(request.url.host)
        self._refuse(str(request.url))
        host = _where(request.url)
        failure: NbllmError | None = None
        try:
            async with asyncio.timeout(None) as limit:
                _arm(request, limit)
                answer = await self._inner.handle_async_request(request)
        except Exception as exc:  # noqa: BLE001  (whatever it is, it may hold the request)
            failure = fault(exc, provider=trip.provider, host=host)
        if failure is not None:
            raise failure
        body = _Body(answer.stream, answer.headers.get("content-encoding"), trip=trip, host=host)
        if answer.status_code >= 300:
            return await _settled(answer, body, request)
        if "content-encoding" not in answer.headers:
            answer.stream = body
            return answer
        return httpx2.Response(
            answer.status_code, headers=_unpacked(answer.headers), stream=body, extensions=answer.extensions
        )

    async def aclose(self) -> None:
        """Close what sends."""
        await self._inner.aclose()


def _arm(request: httpx2.Request, limit: asyncio.Timeout) -> None:
    """Let the read timeout also count for the whole of the head, which httpx2 counts for each piece of it.

    The clock starts when the request is out: a large upload has its time.
    """
    read = (request.extensions.get("timeout") or {}).get("read")
    if read is None:
        return
    loop = asyncio.get_running_loop()

    async def trace(name: str, info: Any) -> None:
        if name.endswith("receive_response_headers.started"):
            limit.reschedule(loop.time() + read)

    request.extensions = {**request.extensions, "trace": trace}


def _where(url: httpx2.URL) -> str:
    return f"{url.host}:{url.port}" if url.port else url.host


def _unpacked(headers: httpx2.Headers) -> httpx2.Headers:
    """Headers that fit the unpacked body."""
    gone = ("content-encoding", "content-length")
    return httpx2.Headers([(k, v) for k, v in headers.raw if k.decode("latin-1").lower() not in gone])


async def _settled(answer: httpx2.Response, body: _Body, request: httpx2.Request) -> httpx2.Response:
    """An error or a redirect with as much of its body as came, at most `ERROR_CAP` bytes.

    Read here, so that nobody above reads an endless one.
    """
    read = (request.extensions.get("timeout") or {}).get("read")
    text = bytearray()
    try:
        async with asyncio.timeout(read):
            async for part in body:
                text += part
                if len(text) >= ERROR_CAP:
                    break
    except (NbllmError, TimeoutError):
        pass  # The status says more than the rest of the body would.
    finally:
        with contextlib.suppress(Exception):
            await body.aclose()
    gone = ("content-encoding", "content-length", "transfer-encoding")
    headers = [(k, v) for k, v in answer.headers.raw if k.decode("latin-1").lower() not in gone]
    return httpx2.Response(
        answer.status_code, headers=headers, content=bytes(text[:ERROR_CAP]), extensions=answer.extensions
    )


class _Body(httpx2.AsyncByteStream):
    """The answer's body: unpacked, counted, and with errors of nbllm only."""

    def __init__(self, inner: Any, encoding: str | None, *, trip: Trip, host: str) -> None:
        self._inner = inner
        self._encoding = (encoding or "identity").strip().lower()
        self._trip = trip
        self._host = host

    async def __aiter__(self) -> AsyncIterator[bytes]:
        # Runs once a token: one loop, and nothing set up inside it.
        total = 0
        cap = self._trip.cap_bytes
        failure: NbllmError | None = None
        unpack = _unpacker(self._encoding, self._trip.provider)
        first, between = _silence(self._trip.timeout)
        parts = self._inner if first is None and between is None else _timed(self._inner, self._trip, first, between)
        try:
            async for part in parts:
                for piece in (part,) if unpack is None else unpack(part):
                    total += len(piece)
                    if total > cap:
                        raise self._too_long()
                    yield piece
        except Exception as exc:  # noqa: BLE001  (whatever it is, it may hold the request)
            failure = fault(exc, provider=self._trip.provider, host=self._host, begun=total > 0)
        if failure is not None:
            raise failure

    def _too_long(self) -> StreamBrokenError:
        return StreamBrokenError(
            f"{self._trip.provider}: the answer is longer than {self._trip.cap_bytes // 1_000_000} MB",
            hint="ask for a shorter answer",
            provider=self._trip.provider,
        )

    async def aclose(self) -> None:
        await self._inner.aclose()


async def _timed(source: Any, trip: Trip, first: float | None, between: float | None) -> AsyncIterator[bytes]:
    """Parts as they come, with a clock of our own before the first token or after it.

    Servers send a part without a token at once, and then think: the first part is not the first token.
    """
    parts = aiter(source)
    clock = _Clock()
    try:
        while True:
            part = await clock.within(between if trip.token_seen else first, parts)
            if part is None:
                return
            yield part
    finally:
        clock.stop()


class _Clock:
    """A limit on each of many short waits, for the price of one timer.

    `asyncio.timeout` sets up and takes down a timer for each part, which costs a third of reading it (measured with
    a part for each token). Here one timer looks now and then whether the present wait has been too long.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._due = math.inf
        self._task: asyncio.Task[Any] | None = None
        """The task that waits just now."""
        self._expired = False

    async def within(self, limit: float | None, parts: AsyncIterator[bytes]) -> bytes | None:
        """The next part; None at the end.

        Raises:
            TimeoutError: It took longer than `limit` seconds.
        """
        if limit is None:
            return await anext(parts, None)
        self._due = self._loop.time() + limit
        self._task = asyncio.current_task()
        if self._timer is None or self._timer.when() > self._due:
            self._look_at(self._due)
        try:
            return await anext(parts, None)
        except asyncio.CancelledError:
            if not self._expired or self._task is None or self._task.uncancel() > 0:
                raise  # somebody else's wish
        finally:
            self._task = None
        raise TimeoutError

    def _look_at(self, when: float) -> None:
        self.stop()
        self._timer = self._loop.call_at(when, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._task is None:
            return  # nobody waits; the next wait sets the timer again
        if self._loop.time() < self._due:
            self._look_at(self._due)
            return
        self._expired = True
        self._task.cancel()

    def stop(self) -> None:
        """Take the timer down."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _silence(timeout: Timeouts | None) -> tuple[float | None, float | None]:
    """Seconds until the first part and between parts that httpx2's read timeout does not hold already.

    httpx2 has one for both, which is set to the longer one; a clock of our own costs some microseconds a part.
    """
    if timeout is None or timeout.first_token_s == timeout.between_tokens_s:
        return None, None
    if timeout.first_token_s < timeout.between_tokens_s:
        return timeout.first_token_s, None
    return None, timeout.between_tokens_s


def _unpacker(encoding: str, provider: str) -> Callable[[bytes], Iterator[bytes]] | None:
    if encoding in ("identity", ""):
        return None
    if encoding in ("gzip", "x-gzip", "deflate"):
        return _Unpacker(encoding, provider)
    raise StreamBrokenError(
        f"{provider} packed its answer in a way that was not asked for", hint="check the proxy", provider=provider
    )


class _Unpacker:
    """gzip and deflate in pieces of at most a megabyte."""

    def __init__(self, encoding: str, provider: str) -> None:
        self._provider = provider
        self._raw_allowed = encoding == "deflate"
        self._zlib = zlib.decompressobj(zlib.MAX_WBITS if encoding == "deflate" else zlib.MAX_WBITS | 16)

    def __call__(self, part: bytes) -> Iterator[bytes]:
        broken = False
        try:
            piece = self._zlib.decompress(part, _PIECE)
        except zlib.error:
            broken = True
        if broken and self._raw_allowed:
            # Some servers mean raw deflate: https://stackoverflow.com/questions/1838699
            self._zlib, broken = zlib.decompressobj(-zlib.MAX_WBITS), False
            try:
                piece = self._zlib.decompress(part, _PIECE)
            except zlib.error:
                broken = True
        self._raw_allowed = False
        if broken:
            raise StreamBrokenError(f"{self._provider} sent an answer that does not unpack", provider=self._provider)
        while piece:
            yield piece
            rest = self._zlib.unconsumed_tail
            piece = self._zlib.decompress(rest, _PIECE) if rest else b""
