"""The connections of one origin, as a transport of httpx2: kept for the next request, and found without a search.

httpcore2's own pool looks at each of its connections twice a request, down to a system call for each idle one; with
100 in flight this was a third of a request's CPU (docs/adr/0026-without-the-openai-sdk.md). Here the connection that
was used last is taken and it alone is looked at, so that a request costs the same beside 1 and beside 200.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any
from urllib.parse import urlsplit

import httpcore2
import httpx2

MAX_CONNECTIONS = 200
"""Connections of one origin. More lanes come from one client an origin (measured: wire facts, many at once)."""
KEEPALIVE_S = 30.0
"""A person reads an answer before asking again; httpx2's 5 s would mean a new handshake for nearly every question."""

Connection = httpcore2.AsyncConnectionInterface


class Pool(httpx2.AsyncBaseTransport):
    """HTTP/1.1 connections to one origin; each has one request at a time. Belongs to one event loop.

    Args:
        origin: Where they lead, as `origin_of` writes it.
        connect: Makes a connection that is not open yet; it opens at its first request.
        limit: Requests at a time. Others wait, in the order in which they came, as long as their `pool` timeout.
        keepalive_s: Seconds after which an idle connection is closed, at the next request.
    """

    def __init__(
        self,
        origin: str,
        connect: Callable[[httpcore2.Origin], Connection],
        *,
        limit: int = MAX_CONNECTIONS,
        keepalive_s: float = KEEPALIVE_S,
    ) -> None:
        parts = urlsplit(origin)
        self._address = (parts.scheme.encode(), (parts.hostname or "").encode(), parts.port or 0)
        self._origin = httpcore2.Origin(*self._address)
        self._connect = connect
        self._keepalive_s = keepalive_s
        self._lanes = asyncio.Semaphore(limit)
        self._idle: deque[tuple[float, Connection]] = deque()
        """With the time since when; the one used last stands at the right."""
        self._busy: set[Connection] = set()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send. Exceptions are httpcore2's; `PoolTimeout` when all connections were busy for too long."""
        sent = self._translated(request)
        await self._enter((sent.extensions.get("timeout") or {}).get("pool"))
        gone: list[Connection] = []
        connection = self._take(gone)
        try:
            await _close(gone)
            answer = await connection.handle_async_request(sent)
        except BaseException:
            await self._put_back(connection)
            raise
        body = _Body(self, connection, answer.stream)
        return httpx2.Response(answer.status, headers=answer.headers, stream=body, extensions=answer.extensions)

    def _translated(self, request: httpx2.Request) -> httpcore2.Request:
        scheme, host, port = self._address
        url = request.url
        if url.raw_scheme != scheme or url.raw_host != host or (url.port or _PORTS[scheme]) != port:
            raise httpcore2.UnsupportedProtocol(f"this connection leads to {self._origin}")
        return httpcore2.Request(
            request.method,
            httpcore2.URL(scheme=scheme, host=host, port=url.port, target=url.raw_path),
            headers=request.headers.raw,
            content=request.stream,
            extensions=request.extensions,
        )

    async def _enter(self, limit_s: float | None) -> None:
        if not self._lanes.locked():
            await self._lanes.acquire()  # does not wait
            return
        try:
            async with asyncio.timeout(limit_s):
                await self._lanes.acquire()
        except TimeoutError as exc:
            raise httpcore2.PoolTimeout("all connections are busy") from exc

    def _take(self, gone: list[Connection]) -> Connection:
        """A connection, now busy. Those that must be closed are added to `gone`."""
        due = time.monotonic() - self._keepalive_s
        while self._idle and self._idle[0][0] < due:
            gone.append(self._idle.popleft()[1])
        while self._idle:
            _, connection = self._idle.pop()
            if not connection.has_expired():  # looks whether the server has hung up
                break
            gone.append(connection)
        else:
            connection = self._connect(self._origin)
        self._busy.add(connection)
        return connection

    async def _put_back(self, connection: Connection) -> None:
        """Its request has ended, one way or another: keep it if it can be used again, close it if not."""
        self._busy.discard(connection)
        if connection.is_idle() and not connection.is_closed():
            self._idle.append((time.monotonic(), connection))
            self._lanes.release()
            return
        try:
            if not connection.is_closed():
                await connection.aclose()
        finally:
            self._lanes.release()

    async def aclose(self) -> None:
        """Close all connections, the busy ones too."""
        found = [connection for _, connection in self._idle]
        found.extend(self._busy)
        self._idle.clear()
        await _close(found)


_PORTS = {b"http": 80, b"https": 443}


async def _close(connections: Iterable[Connection]) -> None:
    for connection in connections:
        await connection.aclose()


class _Body(httpx2.AsyncByteStream):
    """An answer's body, which holds its connection until it is closed."""

    __slots__ = ("_connection", "_open", "_pool", "_stream")

    def __init__(self, pool: Pool, connection: Connection, stream: Any) -> None:
        self._pool = pool
        self._connection = connection
        self._stream = stream
        self._open = True

    def __aiter__(self) -> AsyncIterator[bytes]:
        parts: AsyncIterator[bytes] = self._stream.__aiter__()
        return parts

    async def aclose(self) -> None:
        if not self._open:
            return
        self._open = False
        try:
            await self._stream.aclose()
        finally:
            await self._pool._put_back(self._connection)
