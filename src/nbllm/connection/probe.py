"""The way to a server without HTTP: its name, its port, its certificate; each tried by itself, so that each is timed.

The exceptions are those of the system; `transport.faults` has the words for them.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from nbllm.providers.urls import forbidden_address
from nbllm.transport.dial import proxy_for
from nbllm.transport.faults import ForbiddenAddressError, HandshakeError, ResolveTimeout

_PORTS = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}

Address = tuple[int, tuple[Any, ...]]
"""Family and socket address, as `getaddrinfo` has them."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the first connection goes: the server itself, or the proxy before it."""

    host: str
    port: int
    tls: bool
    is_proxy: bool = False

    @property
    def is_literal(self) -> bool:
        """Whether the host is an address, so that there is no name to look up."""
        for family in (socket.AF_INET, socket.AF_INET6):
            with contextlib.suppress(OSError):
                socket.inet_pton(family, self.host)
                return True
        return False

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def place_of(url: str, environ: Mapping[str, str] | None) -> Place:
    """Where a request to `url` connects first.

    Args:
        environ: Whose proxies count; None: the process's own and those that the system has set.
    """
    proxy = proxy_for(url, environ)
    parts = urlsplit(proxy or url)
    return Place(
        host=parts.hostname or "",
        port=parts.port or _PORTS.get(parts.scheme, 443),
        tls=parts.scheme == "https" and proxy is None,
        is_proxy=proxy is not None,
    )


async def resolve(place: Place, *, timeout_s: float) -> list[Address]:
    """The addresses behind the name, best first.

    Raises:
        socket.gaierror: There is no such host.
        ResolveTimeout: No answer in time.
        ForbiddenAddressError: An address that nothing may be sent to.
    """
    loop = asyncio.get_running_loop()
    late = False
    rows = []
    try:
        async with asyncio.timeout(timeout_s):
            rows = await loop.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)
    except TimeoutError:
        late = True
    if late:
        raise ResolveTimeout(place.host)
    for *_, address in rows:
        if not place.is_proxy and (why := forbidden_address(str(address[0]))):
            raise ForbiddenAddressError(why)
    return [(row[0], row[4]) for row in rows]


async def connect(addresses: list[Address], *, timeout_s: float) -> tuple[socket.socket, str]:
    """A connection to the first address that takes one, and that address.

    Raises:
        OSError: None does; the last one's error.
        TimeoutError: None answered in time.
    """
    loop = asyncio.get_running_loop()
    last: OSError = OSError("the name has no address")
    async with asyncio.timeout(timeout_s):
        for at, (family, address) in enumerate(addresses):
            sock = socket.socket(family, socket.SOCK_STREAM)
            sock.setblocking(False)
            # One address that swallows everything must not use up the time of the others.
            share = timeout_s if at + 1 == len(addresses) else min(2.0, timeout_s / len(addresses))
            try:
                async with asyncio.timeout(share):
                    await loop.sock_connect(sock, address)
            except OSError as exc:  # TimeoutError is one
                last = exc
                sock.close()
            except BaseException:
                sock.close()
                raise
            else:
                return sock, str(address[0])
    raise last


async def handshake(sock: socket.socket, place: Place, context: ssl.SSLContext, *, timeout_s: float) -> str:
    """Do the TLS handshake on `sock` and close it; the version that was agreed on.

    Raises:
        ssl.SSLError: The certificate or the handshake failed.
        HandshakeError: The connection broke, or it took too long; the cause says which.
    """
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(timeout_s):
            _, writer = await asyncio.open_connection(sock=sock, ssl=context, server_hostname=place.host)
            agreed = writer.get_extra_info("ssl_object")
            return str(agreed.version() or "TLS")
    except ssl.SSLError:
        raise
    except OSError as exc:
        raise HandshakeError("the handshake did not finish") from exc
    finally:
        if writer is not None:
            writer.transport.abort()
        sock.close()
