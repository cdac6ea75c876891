"""Where connections go: name resolution with a check of every address, proxies, certificates.

A name may resolve to something else at connect time than when its URL was checked (DNS rebinding), so each address
is judged here, right before it is connected to. Through a proxy the proxy resolves, and nothing is checked.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import ipaddress
import os
import socket
import ssl
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies

import httpcore2

from nbllm.errors import UnreachableError
from nbllm.providers.urls import forbidden_address, is_loopback
from nbllm.transport.faults import ForbiddenAddressError, HandshakeError, ResolveTimeout
from nbllm.transport.pool import KEEPALIVE_S, Pool
from nbllm.transport.stream import connect

_STAGGER_S = 0.25
"""Head start of an address over the next one: RFC 8305, section 5."""


class DialError(httpcore2.ConnectError):
    """No connection. `why` is the cause: the pool raises its errors `from None`, which takes `__cause__` away."""

    def __init__(self, why: BaseException) -> None:
        super().__init__(str(why))
        self.why = why


class CheckedBackend(httpcore2.AsyncNetworkBackend):
    """Connects only to addresses that `forbidden_address` has nothing against. TLS still checks the host's name.

    Args:
        secure: Whether TLS follows. anyio's needs 0.07 MB a connection, asyncio's 0.3 MB, so it stays with anyio; plain
            connections are `TcpStream`s (benchmarks/results/requests.md).
    """

    def __init__(self, *, secure: bool = True) -> None:
        self._inner = httpcore2.AnyIOBackend() if secure else None

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  (the interface is httpcore2's)
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Resolve, check, connect."""
        loop = asyncio.get_running_loop()
        deadline = None if timeout is None else loop.time() + timeout
        addresses = await _resolve(host, port, timeout)
        left = None if deadline is None else max(0.01, deadline - loop.time())
        stream = await self._first(addresses, port, left, local_address, socket_options)
        return stream if self._inner is None else _Stream(stream)

    async def _dial(
        self, address: str, port: int, limit: float | None, local: str | None, options: Any
    ) -> httpcore2.AsyncNetworkStream:
        if self._inner is None:
            return await connect(address, port, limit, local=local, options=options or ())
        return await self._inner.connect_tcp(address, port, limit, local, options)

    async def _first(
        self, addresses: list[str], port: int, limit: float | None, local: str | None, options: Any
    ) -> httpcore2.AsyncNetworkStream:
        """A stream to the first address that answers; each starts when the one before failed or had 0.25 s."""
        running: list[asyncio.Task[httpcore2.AsyncNetworkStream]] = []
        waiting = list(addresses)
        failed: BaseException | None = None
        try:
            while waiting or running:
                if waiting:
                    dial = self._dial(waiting.pop(0), port, limit, local, options)
                    running.append(asyncio.create_task(dial))
                head_start = _STAGGER_S if waiting else None
                done, _ = await asyncio.wait(running, timeout=head_start, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    running.remove(task)
                    failed = task.exception()
                    if failed is None:
                        return task.result()
        finally:
            await _discard(running)
        raise DialError(failed or OSError("no address"))

    async def sleep(self, seconds: float) -> None:
        """Part of the interface."""
        await asyncio.sleep(seconds)


async def _discard(tasks: list[asyncio.Task[httpcore2.AsyncNetworkStream]]) -> None:
    """Cancel the slower connections, and close one that stood before it heard of it."""
    for task in tasks:
        task.cancel()
    for task in tasks:
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await (await task).aclose()


class _Stream(httpcore2.AsyncNetworkStream):
    """A connection that says so when TLS is what failed."""

    def __init__(self, inner: httpcore2.AsyncNetworkStream) -> None:
        self._inner = inner
        self.read = inner.read  # type: ignore[method-assign]  # runs once a token: no layer of our own
        self.write = inner.write  # type: ignore[method-assign]
        self.get_extra_info = inner.get_extra_info  # type: ignore[method-assign]

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> httpcore2.AsyncNetworkStream:
        try:
            return _Stream(await self._inner.start_tls(ssl_context, server_hostname, timeout))
        except (httpcore2.ConnectError, httpcore2.ConnectTimeout, OSError) as exc:
            mark = HandshakeError("the TLS handshake failed")
            mark.__cause__ = exc
            raise DialError(mark) from exc


async def _resolve(host: str, port: int, limit: float | None) -> list[str]:
    """Every address of `host`, checked, as the system orders them."""
    addresses = _literal(host) or await _look_up(host, port, limit)
    for address in addresses:
        reason = forbidden_address(address)
        if reason is not None:
            raise DialError(ForbiddenAddressError(reason))
    return addresses


def _literal(host: str) -> list[str]:
    """The host itself when it is an address: no thread has to be asked."""
    with contextlib.suppress(ValueError):
        return [str(ipaddress.ip_address(host))]
    return []


async def _look_up(host: str, port: int, limit: float | None) -> list[str]:
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(limit):
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except TimeoutError as exc:
        raise DialError(ResolveTimeout("no answer from the name server")) from exc
    except (socket.gaierror, UnicodeError) as exc:
        raise DialError(exc) from exc
    return list(dict.fromkeys(str(row[4][0]) for row in found))


# ---------------------------------------------------------------- certificates


def trust(environ: Mapping[str, str] | None = None) -> ssl.SSLContext:
    """The context for TLS: one a process and a set of variables, made at the first https connection (20 ms).

    `SSL_CERT_FILE`, `SSL_CERT_DIR` and `REQUESTS_CA_BUNDLE` are honoured in this order; else the operating system's
    store counts (httpcore2 asks truststore on Windows and macOS, and OpenSSL's paths on Linux).

    Raises:
        UnreachableError: The bundle that a variable names is missing or holds no certificates.
    """
    values = os.environ if environ is None else environ
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE"):
        if values.get(name):
            return _context(name, values[name])
    return _system_context()


@functools.lru_cache(maxsize=8)
def _context(name: str, path: str) -> ssl.SSLContext:
    folder = os.path.isdir(path)
    broken = not folder and not os.path.isfile(path)
    if not broken:
        try:
            return ssl.create_default_context(cafile=None if folder else path, capath=path if folder else None)
        except (ssl.SSLError, OSError):
            broken = True
    why = "is not there" if not os.path.exists(path) else "holds no certificates that can be read"
    raise UnreachableError(
        f"{name} points to {path}, which {why}", phase="tls", hint=f"correct {name} or unset it", retryable=False
    )


@functools.lru_cache(maxsize=1)
def _system_context() -> ssl.SSLContext:
    return httpcore2.default_ssl_context()


# ---------------------------------------------------------------- proxies


def proxy_for(url: str, environ: Mapping[str, str] | None = None) -> str | None:
    """The proxy for `url` by the usual variables, or by the system's settings; None: connect directly.

    This machine is never asked for through a proxy.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    if is_loopback(host):
        return None
    values = os.environ if environ is None else environ
    found = {k.lower(): v for k, v in values.items() if k.lower().endswith("_proxy") and v}
    # Lower case wins; upper-case HTTP_PROXY may come from a request header in CGI programs (httpoxy).
    found |= {k: v for k, v in values.items() if k.islower() and k.endswith("_proxy") and v}
    if "REQUEST_METHOD" in values and "http_proxy" not in values:
        found.pop("http_proxy", None)
    if any(_exempt(entry.strip().lower(), host, parts.port) for entry in found.get("no_proxy", "").split(",")):
        return None
    proxy = found.get(f"{parts.scheme}_proxy") or found.get("all_proxy")
    if proxy is None and environ is None:
        proxy = getproxies().get(parts.scheme)
    if proxy is None:
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def _exempt(entry: str, host: str, port: int | None) -> bool:
    """Whether an entry of NO_PROXY names the host: `*`, a name and all below it, `host:port`, an address, a net."""
    if entry == "*":
        return True
    if not entry:
        return False
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host) in ipaddress.ip_network(entry.strip("[]"), strict=False)
    name, colon, wanted = entry.rpartition(":")
    if colon and wanted.isdigit():
        if int(wanted) != port:
            return False
        entry = name
    entry = entry.lstrip("*").lstrip(".")
    return bool(entry) and (host == entry or host.endswith("." + entry))


def open_pool(origin: str, environ: Mapping[str, str] | None = None) -> Pool:
    """The connections of `origin` (as `origin_of` writes it), through the proxy that the environment wants.

    Raises:
        UnreachableError: The CA bundle or the proxy that the environment names cannot be used.
    """
    proxy = proxy_for(origin, environ)
    secure = urlsplit(origin).scheme == "https"
    options: dict[str, Any] = {"ssl_context": trust(environ) if secure else None, "keepalive_expiry": KEEPALIVE_S}
    if proxy is not None:
        return Pool(origin, _proxied(proxy, options, environ).create_connection)
    # httpcore2's pools are asked for connections only; each kind of proxy has its own.
    pool = httpcore2.AsyncConnectionPool(**options, network_backend=CheckedBackend(secure=secure))
    return Pool(origin, pool.create_connection)


def _proxied(proxy: str, options: dict[str, Any], environ: Mapping[str, str] | None) -> httpcore2.AsyncConnectionPool:
    parts = urlsplit(proxy)
    host = parts.hostname or ""
    address = f"{parts.scheme}://{f'[{host}]' if ':' in host else host}" + (f":{parts.port}" if parts.port else "")
    if parts.username or parts.password:
        options["proxy_auth"] = (unquote(parts.username or "").encode(), unquote(parts.password or "").encode())
    if parts.scheme in ("http", "https"):
        if parts.scheme == "https":
            options["proxy_ssl_context"] = trust(environ)
        return httpcore2.AsyncHTTPProxy(proxy_url=address, **options)
    if parts.scheme in ("socks5", "socks5h"):
        with contextlib.suppress(ImportError, RuntimeError):
            return httpcore2.AsyncSOCKSProxy(proxy_url=address, **options)
        hint = "install the package `socksio`, or use an http proxy"
    else:
        hint = "use http://, https:// or socks5:// in front of the proxy's address"
    raise UnreachableError(
        f"the proxy {parts.scheme}://{host} cannot be used", phase="connect", hint=hint, retryable=False
    )
