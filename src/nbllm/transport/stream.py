"""A TCP connection as httpcore2 wants it, straight on asyncio.

The backend that httpcore2 brings has anyio between itself and asyncio, which turns reading on and off around each
read, goes once more through the loop after each write, and sets up a cancel scope with a timer for both. A short
request costs an eighth less without, and waits less for its turn (docs/adr/0026-without-the-openai-sdk.md).

For plain connections only, which lead to servers of one's own: TLS stays with anyio (`nbllm.transport.dial`).
"""

from __future__ import annotations

import asyncio
import math
import select
import socket
from collections import deque
from collections.abc import Iterable
from typing import Any

import httpcore2

_FULL = 256 * 1024
"""Bytes that wait to be read before the network is told to hold back."""


class Wire(asyncio.Protocol):
    """What has arrived on one connection and was not read yet, and whoever waits for more."""

    __slots__ = ("_draining", "_due", "_held_back", "_late", "_loop", "_reader", "_timer", "ended", "failure", "full",
                 "parts", "size", "transport")  # fmt: skip

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.transport: asyncio.Transport = None  # type: ignore[assignment]  # set before anybody sees this
        self.parts: deque[bytes] = deque()
        self.size = 0
        self.ended = False
        """Whether nothing more will come."""
        self.failure: BaseException | None = None
        """Why the connection was lost, unless it was closed."""
        self.full = False
        """Whether the network takes nothing more at present."""
        self._held_back = False
        self._reader: asyncio.Future[None] | None = None
        self._draining: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._due = math.inf
        self._late = False
        """Whether the present wait ended because it was too long."""

    # ------------------------------------------------------------ called by asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.parts.append(data)
        self.size += len(data)
        if self.size > _FULL and not self._held_back:
            self._held_back = True
            self.transport.pause_reading()
        _wake(self._reader)

    def eof_received(self) -> bool:
        self.ended = True
        _wake(self._reader)
        return True  # it stays open for what we still have to say

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.ended:
            self.failure = exc
        self.ended = True
        self.stop()
        _wake(self._reader)
        _wake(self._draining)

    def pause_writing(self) -> None:
        self.full = True

    def resume_writing(self) -> None:
        self.full = False
        _wake(self._draining)

    # ------------------------------------------------------------ called by `TcpStream`

    def take(self, most: int) -> bytes:
        """The oldest part that arrived, at most `most` bytes of it."""
        part = self.parts.popleft()
        if len(part) > most:
            self.parts.appendleft(part[most:])
            part = part[:most]
        self.size -= len(part)
        if self._held_back and not self.parts:
            self._held_back = False
            if not self.ended:
                self.transport.resume_reading()
        return part

    async def arrival(self, limit_s: float | None) -> None:
        """Wait until something came, or the end.

        Raises:
            TimeoutError: It took longer than `limit_s` seconds.
        """
        self._reader = self._loop.create_future()
        self._late = False
        if limit_s is not None:
            # One timer that looks now and then whether the present wait was too long: a timer for each of many short
            # waits costs more than the read.
            self._due = self._loop.time() + limit_s
            if self._timer is None or self._timer.when() > self._due:
                self._look_at(self._due)
        try:
            await self._reader
        finally:
            self._reader = None
            self._due = math.inf
        if self._late:
            raise TimeoutError

    def _look_at(self, when: float) -> None:
        self.stop()
        self._timer = self._loop.call_at(when, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._due == math.inf:
            return  # nobody waits; the next wait sets the timer again
        if self._loop.time() < self._due:
            self._look_at(self._due)
        elif self._reader is not None and not self._reader.done():
            self._late = True
            self._reader.set_result(None)

    async def room(self, limit_s: float | None) -> None:
        """Wait until the network takes more; TimeoutError as above."""
        self._draining = self._loop.create_future()
        try:
            async with asyncio.timeout(limit_s):
                await self._draining
        finally:
            self._draining = None

    def stop(self) -> None:
        """Take the timer down."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)


class TcpStream(httpcore2.AsyncNetworkStream):
    """One connection without TLS. Its exceptions are httpcore2's."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._closed = False

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        """What has arrived; empty at the end."""
        wire = self._wire
        if not wire.parts and not wire.ended:
            try:
                await wire.arrival(timeout)
            except TimeoutError as exc:
                raise httpcore2.ReadTimeout("nothing arrived in time") from exc
        if wire.parts:
            return wire.take(max_bytes)
        if wire.failure is not None:
            raise httpcore2.ReadError(str(wire.failure)) from wire.failure
        if self._closed:
            raise httpcore2.ReadError("the connection is closed")
        return b""

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        """Hand over to the network, and wait as long as it is full."""
        if not buffer:
            return
        wire = self._wire
        if self._closed or wire.failure is not None or wire.transport.is_closing():
            raise httpcore2.WriteError("the connection is closed") from wire.failure
        wire.transport.write(buffer)
        if not wire.full:
            return
        try:
            await wire.room(timeout)
        except TimeoutError as exc:
            raise httpcore2.WriteTimeout("the network takes no more") from exc
        if wire.failure is not None:
            raise httpcore2.WriteError(str(wire.failure)) from wire.failure

    async def aclose(self) -> None:
        """Close at once; what was not sent yet is lost."""
        self._closed = True
        self._wire.stop()
        self._wire.transport.abort()
        await asyncio.sleep(0)  # the loop closes the socket in its next round

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable":
            return self._hung_up()
        name = {"server_addr": "peername", "client_addr": "sockname"}.get(info, info)
        return self._wire.transport.get_extra_info(name)

    def _hung_up(self) -> bool:
        """Whether an idle connection has something to read, which can only be its end."""
        wire = self._wire
        if wire.ended or wire.parts or wire.transport.is_closing():
            return True
        return _readable(wire.transport.get_extra_info("socket"))


def _readable(sock: socket.socket | None) -> bool:
    """Whether something has come that the loop has not seen yet."""
    number = -1 if sock is None else sock.fileno()
    if number < 0:
        return True
    if not hasattr(select, "poll"):  # Windows
        return bool(select.select([number], [], [], 0)[0])
    poll = select.poll()
    poll.register(number, select.POLLIN)
    return bool(poll.poll(0))


async def connect(
    host: str, port: int, limit_s: float | None, *, local: str | None, options: Iterable[httpcore2.SOCKET_OPTION]
) -> TcpStream:
    """A connection to an address.

    Raises:
        httpcore2.ConnectTimeout: It did not stand within `limit_s` seconds.
        httpcore2.ConnectError: Nobody listens there, or it cannot be reached.
    """
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(limit_s):
            _, wire = await loop.create_connection(Wire, host, port, local_addr=(local, 0) if local else None)
    except TimeoutError as exc:
        raise httpcore2.ConnectTimeout(str(exc)) from exc
    except OSError as exc:
        raise httpcore2.ConnectError(str(exc)) from exc
    for option in options:
        wire.transport.get_extra_info("socket").setsockopt(*option)
    return TcpStream(wire)
