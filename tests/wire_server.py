"""A server on loopback that sends exactly the bytes it is told to: whole, dripped, cut, reset, stalled, or none.

    with WireServer(answer(b"data: {}\\n\\n")) as server:
        ... server.url, server.requests ...

A plan is a list of steps, one plan for each request in turn; the last one is used again for all further ones.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Send:
    """Send bytes, in pieces of `piece` bytes (0: all at once) with `gap_s` between them."""

    data: bytes
    piece: int = 0
    gap_s: float = 0.0


@dataclass(frozen=True)
class Pause:
    """Say nothing for a while."""

    seconds: float


@dataclass(frozen=True)
class Reset:
    """End the connection with RST."""


@dataclass(frozen=True)
class Close:
    """End the connection with FIN."""


@dataclass(frozen=True)
class Stall:
    """Say nothing until the client goes away, or ten seconds have passed."""


Step = Send | Pause | Reset | Close | Stall
Plan = Sequence[Step]


def head(status: int = 200, reason: str = "OK", **headers: str) -> bytes:
    """The head of an answer; underscores in names become hyphens."""
    lines = [f"HTTP/1.1 {status} {reason}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def answer(
    body: bytes = b"",
    *,
    status: int = 200,
    kind: str = "text/event-stream",
    piece: int = 0,
    gap_s: float = 0.0,
    **headers: str,
) -> Plan:
    """A complete answer with its length."""
    top = head(status, "Reason", content_type=kind, content_length=str(len(body)), **headers)
    return (Send(top), Send(body, piece=piece, gap_s=gap_s))


def chunked(parts: Iterable[bytes], *, end: bool = True, kind: str = "text/event-stream", **headers: str) -> Plan:
    """An answer in chunks; without `end` the last chunk is missing and the connection closes."""
    steps: list[Step] = [Send(head(200, content_type=kind, transfer_encoding="chunked", **headers))]
    steps += [Send(f"{len(part):x}\r\n".encode() + part + b"\r\n") for part in parts]
    steps.append(Send(b"0\r\n\r\n") if end else Close())
    return steps


def until_close(body: bytes, *, piece: int = 0, kind: str = "text/event-stream") -> Plan:
    """An answer without a length: it ends with the connection, so nobody can tell a cut from an end."""
    return (Send(head(200, content_type=kind, connection="close")), Send(body, piece=piece), Close())


@dataclass
class WireServer:
    """See the module.

    Attributes: `requests`: the bytes of every request that came, in order. `connections`: how many were accepted.
    `asked`: set when a request came. `hung_up`: set when a client closed its connection while a plan was running.
    """

    plan: Plan | Sequence[Plan] = ()
    tls: ssl.SSLContext | None = None
    on_accept: Plan = ()
    """Steps before the request is read; with a Reset, Close or Stall it never is."""
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0
    asked: threading.Event = field(default_factory=threading.Event)
    hung_up: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        first = next(iter(self.plan), None)
        single = first is None or isinstance(first, Send | Pause | Reset | Close | Stall)
        self._plans: list[Any] = [self.plan] if single else list(self.plan)
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port: int = self._socket.getsockname()[1]
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._stopping = False
        self._served = 0

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """A base URL as an OpenAI-compatible row has it."""
        return f"{self.origin}/v1"

    @property
    def bytes_seen(self) -> bytes:
        """All that any client ever sent."""
        return b"".join(self.requests)

    def __enter__(self) -> WireServer:
        threading.Thread(target=self._accept, daemon=True, name="wire-server").start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stopping = True
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        with self._lock:
            for connection in list(self._open):
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while not self._stopping:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True, name="wire-connection").start()

    def _serve(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._lock:
            self._open.add(connection)
        try:
            if self._run(connection, self.on_accept):
                return
            if self.tls is not None:
                connection = self.tls.wrap_socket(connection, server_side=True)
            while True:
                request = self._read(connection)
                if not request:
                    return
                with self._lock:
                    self.requests.append(request)
                    plan = self._plans[min(self._served, len(self._plans) - 1)]
                    self._served += 1
                self.asked.set()
                if self._run(connection, plan):
                    return
        except OSError:
            self.hung_up.set()
        finally:
            with self._lock:
                self._open.discard(connection)
            connection.close()

    def _read(self, connection: socket.socket) -> bytes:
        data = b""
        while b"\r\n\r\n" not in data:
            got = connection.recv(65536)
            if not got:
                return b""
            data += got
        top, _, body = data.partition(b"\r\n\r\n")
        length = 0
        for line in top.split(b"\r\n")[1:]:
            name, _, value = line.partition(b":")
            if name.strip().lower() == b"content-length":
                length = int(value)
        while len(body) < length:
            got = connection.recv(65536)
            if not got:
                break
            body += got
        return top + b"\r\n\r\n" + body

    def _run(self, connection: socket.socket, plan: Plan) -> bool:
        """Whether the connection is at its end."""
        for step in plan:
            if isinstance(step, Send):
                self._send(connection, step)
            elif isinstance(step, Pause):
                time.sleep(step.seconds)
            elif isinstance(step, Stall):
                connection.settimeout(10)
                with contextlib.suppress(TimeoutError):
                    while connection.recv(65536):
                        pass
                    self.hung_up.set()
                return True
            else:
                if isinstance(step, Reset):
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return True
        return False

    def _send(self, connection: socket.socket, step: Send) -> None:
        size = step.piece or len(step.data) or 1
        for start in range(0, len(step.data), size):
            connection.sendall(step.data[start : start + size])
            if step.gap_s:
                time.sleep(step.gap_s)


def closed_port() -> int:
    """A port of this machine at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
    return port
