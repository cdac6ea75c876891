"""One pooled client an origin, and the two ways of asking: `stream` and `fetch`.

Clients belong to the event loop they are used on, which is the background loop of `nbllm.aio`; they share one TLS
context, follow no redirect, and stand on a `Guard`. An SDK of others would be given the same clients, and
`http.auth(provider, key)` at the moment of sending.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json as json_
import weakref
from collections.abc import AsyncIterable, AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any
from urllib.parse import urlsplit

import httpx2

from nbllm import aio
from nbllm.errors import NbllmError, OfflineError, ProviderError
from nbllm.providers.spec import ProviderConfig, Timeouts
from nbllm.providers.urls import is_loopback, origin_of
from nbllm.transport.auth import Key, KeyAuth
from nbllm.transport.dial import open_pool
from nbllm.transport.faults import fault, redirected, unreachable
from nbllm.transport.guard import ACCEPT_ENCODING, Guard
from nbllm.transport.limits import Gate
from nbllm.transport.recordings import Recordings
from nbllm.transport.replay import ReplayTransport
from nbllm.transport.sse import ANSWER_CAP, LISTING_CAP

__all__ = ["Fetched", "Http", "fault", "redirected", "unreachable", "wire_timeout"]

_WRITE_S = 30.0
"""Seconds for one piece of a request to be taken by the network."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A whole answer."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes
    provider: str = ""

    def json(self) -> Any:
        """The body as JSON.

        Raises:
            ProviderError: It is none.
        """
        try:
            return json_.loads(self.body)
        except (ValueError, RecursionError):
            pass
        raise ProviderError(
            f"{self.provider or 'the server'} answered with something that is not JSON",
            hint="check the base URL: it may lead to a web page",
            provider=self.provider or None,
            status=self.status,
            retryable=False,
        )


def wire_timeout(timeout: Timeouts) -> httpx2.Timeout:
    """A row's timeouts as httpx2 wants them. Its one read timeout is the longer of the two silences."""
    read = max(timeout.first_token_s, timeout.between_tokens_s)
    return httpx2.Timeout(connect=timeout.connect_s, read=read, write=_WRITE_S, pool=timeout.first_token_s)


@functools.lru_cache(maxsize=256)
def _parsed(url: str) -> httpx2.URL:
    """The same few addresses are asked again and again. They hold no key: keys are headers (`nbllm.transport.auth`)."""
    return httpx2.URL(url)


_Clients = dict[str, httpx2.AsyncClient]


class Http:
    """The way to all providers.

    Args:
        environ: Where proxies and CA bundles are looked up. Default: the process's environment, at the first use.
        offline: Whether requests must stay on this machine; asked at each request.
        mounts: Origins (as `origin_of` writes them) that have a transport of their own: the demo, tests.
        recordings: Who writes down what passes, or answers in the place of the providers.
    """

    def __init__(
        self,
        *,
        environ: Mapping[str, str] | None = None,
        offline: Callable[[], bool] = lambda: False,
        mounts: Mapping[str, Callable[[], httpx2.AsyncBaseTransport]] | None = None,
        recordings: Recordings | None = None,
    ) -> None:
        self._environ = environ
        self._offline = offline
        self._mounts = dict(mounts or {})
        self._recordings = recordings
        # A connection belongs to its loop: each loop has its own clients, and they go with it.
        self._clients: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Clients] = weakref.WeakKeyDictionary()
        self._gates: dict[str, Gate] = {}
        _all.add(self)

    def client(self, url: str) -> httpx2.AsyncClient:
        """The client of the origin of `url`: pooled, without redirects, and without a timeout of its own.

        To be called on the event loop that will use it. Do not close it.

        Raises:
            UnreachableError: The CA bundle or the proxy that the environment names cannot be used.
        """
        loop = asyncio.get_running_loop()
        clients = self._clients.get(loop)
        if clients is None:
            clients = self._clients.setdefault(loop, {})
        origin = origin_of(url)
        if origin not in clients:
            clients[origin] = self._new_client(origin)
        return clients[origin]

    def _new_client(self, origin: str) -> httpx2.AsyncClient:
        mount = self._mounts.get(origin)
        inner = mount() if mount is not None else open_pool(origin, self._environ)
        transport: httpx2.AsyncBaseTransport = Guard(inner, refuse=self._refuse_to_leave)
        if self._recordings is not None:
            transport = ReplayTransport(transport, self._recordings, mounted=mount is not None)
        return httpx2.AsyncClient(
            transport=transport,
            headers={"accept-encoding": ACCEPT_ENCODING, "user-agent": "nbllm"},
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),  # nothing is kept between requests
            follow_redirects=False,
            trust_env=False,  # proxies and certificates are chosen in `dial`
            timeout=wire_timeout(Timeouts()),
        )

    @property
    def environ(self) -> Mapping[str, str] | None:
        """Where proxies and CA bundles are looked up; None: the process's environment."""
        return self._environ

    def is_mounted(self, url: str) -> bool:
        """Whether the origin of `url` has a transport of its own, so that no connection is made for it."""
        return origin_of(url) in self._mounts

    def refuse_when_offline(self, url: str) -> None:
        """Do what each request does first.

        Raises:
            OfflineError: A request to `url` would leave this machine, and must not; or a recording answers here.
        """
        if self._recordings is not None and self._recordings.mode == "replay" and not self.is_mounted(url):
            raise OfflineError(
                f"a recording answers here: {urlsplit(url).hostname} was not asked", hint="`%llm_replay off` asks it"
            )
        self._refuse_to_leave(url)

    def _refuse_to_leave(self, url: str) -> None:
        # Settings look at their file each time, so the cheap questions come first.
        if is_loopback(urlsplit(url).hostname or "") or self.is_mounted(url) or not self._offline():
            return
        raise OfflineError(
            f"offline: {urlsplit(url).hostname} was not asked", hint="unset NBLLM_OFFLINE, or use a local or demo model"
        )

    def auth(self, provider: ProviderConfig, key: Key | None) -> httpx2.Auth:
        """What sets the key, at the last moment, on requests to the row's own origin.

        Raises:
            RegistryError: The key would travel unencrypted without the user's consent.
        """
        return KeyAuth(provider, key, timeout=provider.timeout)

    def gate(self, provider: ProviderConfig) -> Gate:
        """The gate of the row's origin, with the row's limits."""
        origin = origin_of(provider.base_url)
        gate = self._gates.setdefault(origin, Gate(name=provider.id))
        gate.configure(provider.rate_limit)
        return gate

    @contextlib.asynccontextmanager
    async def stream(
        self,
        method: str,
        url: str,
        *,
        provider: ProviderConfig,
        key: Key | None,
        json: Any = None,
        content: bytes | AsyncIterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: Timeouts | None = None,  # noqa: ASYNC109  (three clocks, not one)
        cap_bytes: int = ANSWER_CAP,
    ) -> AsyncIterator[httpx2.Response]:
        """Send, and give the response once its head is there; its body is read with `aiter_bytes`.

        A large `content` is given in pieces, with its `content-length` among the headers: each piece then has the time
        that the network may take, not all of them together.

        A response that is no success is returned too, with its body (at most `ERROR_CAP` bytes) read. The body is
        unpacked and counted; reading it raises errors of nbllm only: UnreachableError when nothing of it came,
        StreamBrokenError when it ended early or is longer than `cap_bytes`.

        Raises:
            UnreachableError: No answer; `phase` says how far it came.
            RedirectError: A 3xx other than the 304 that a condition asked for.
            OfflineError: The request would leave this machine, and must not.
            RegistryError: The key would travel unencrypted.
        """
        times = timeout or provider.timeout
        client = self.client(url)
        request = client.build_request(
            method, _parsed(url), json=json, content=content, headers=headers, timeout=wire_timeout(times)
        )
        auth = KeyAuth(provider, key, timeout=times, cap_bytes=cap_bytes)
        response = await self._send(client, request, auth, provider)
        try:
            if 300 <= response.status_code < 400 and not _is_not_modified(response):
                raise redirected(provider=provider.id, status=response.status_code, url=url, headers=response.headers)
            yield response
        finally:
            await response.aclose()

    async def _send(
        self, client: httpx2.AsyncClient, request: httpx2.Request, auth: httpx2.Auth, provider: ProviderConfig
    ) -> httpx2.Response:
        failure: NbllmError | None = None
        try:
            return await client.send(request, auth=auth, stream=True)
        except Exception as exc:  # noqa: BLE001  (whatever it is, it may hold the request)
            failure = fault(exc, provider=provider.id, host=request.url.host)
        raise failure

    async def fetch(
        self,
        method: str,
        url: str,
        *,
        provider: ProviderConfig,
        key: Key | None,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
        cap_bytes: int = LISTING_CAP,
        timeout_s: float = 10.0,
    ) -> Fetched:
        """Ask, and read the whole answer. A status that is no success is returned, not raised.

        Args:
            method: `GET`, `POST`, ...
            url: Where.
            provider: The row; its key goes to its own origin only.
            key: None when none is needed.
            json: A body to send.
            headers: Headers beside the row's own; nothing secret.
            cap_bytes: Bytes of the answer, after decompression.
            timeout_s: Seconds for all of it.

        Raises:
            ProviderError: The answer is longer than `cap_bytes`; or as `stream`.
        """
        times = Timeouts(connect_s=min(timeout_s, provider.timeout.connect_s), first_token_s=timeout_s,
                         between_tokens_s=timeout_s)  # fmt: skip
        try:
            async with (
                asyncio.timeout(timeout_s),
                self.stream(
                    method, url, provider=provider, key=key, json=json, headers=headers, timeout=times
                ) as response,
            ):
                body = await read_capped(response, cap_bytes, provider=provider.id)
                return Fetched(response.status_code, dict(response.headers), body, provider.id)
        except TimeoutError as exc:
            failure = unreachable(exc, provider=provider.id, host=urlsplit(url).hostname or "")
        raise failure

    async def aclose(self) -> None:
        """Close the connections of the running loop."""
        clients = self._clients.pop(asyncio.get_running_loop(), {})
        for client in clients.values():
            await client.aclose()

    def _forget(self) -> None:
        self._clients = weakref.WeakKeyDictionary()
        self._gates = {}


def _is_not_modified(response: httpx2.Response) -> bool:
    """Whether a 304 answers a request that allowed it."""
    asked = response.request.headers
    return response.status_code == 304 and ("if-none-match" in asked or "if-modified-since" in asked)


async def read_capped(response: httpx2.Response, cap_bytes: int, *, provider: str) -> bytes:
    """The whole body.

    Raises:
        ProviderError: It is longer than `cap_bytes`.
    """
    if response.is_stream_consumed:
        return response.content[:cap_bytes]
    body = bytearray()
    async for part in response.aiter_bytes():
        body += part
        if len(body) > cap_bytes:
            raise ProviderError(
                f"{provider} sent more than {cap_bytes / 1_000_000:g} MB",
                hint="check the base URL: it may lead to something else",
                provider=provider,
                status=response.status_code,
                retryable=False,
            )
    return bytes(body)


_all: weakref.WeakSet[Http] = weakref.WeakSet()


def _after_fork() -> None:
    """The parent's connections are not the child's: two processes on one socket mix their answers."""
    for http in list(_all):
        http._forget()


aio.on_fork(_after_fork)
