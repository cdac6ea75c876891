"""The stages before any question is asked: url, dns, connect, tls; on a connection of their own.

The pooled client does not say how long each took, and behind a proxy the connection is the proxy's.
"""

from __future__ import annotations

import socket

from nbllm.connection import advice, probe
from nbllm.connection.advice import Failure
from nbllm.providers.readiness import hindrance
from nbllm.providers.spec import ProviderConfig
from nbllm.providers.urls import check_url
from nbllm.transport.dial import trust
from nbllm.transport.faults import unreachable
from nbllm.transport.http import Http


class Stop(Exception):
    """A stage failed, and it is known why."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.error)
        self.failure = failure


class Way:
    """The way to one provider; each step gives what it found, or None when it does not apply."""

    def __init__(self, row: ProviderConfig, http: Http, timeout_s: float) -> None:
        self._row = row
        self._http = http
        self._timeout_s = timeout_s
        self._addresses: list[probe.Address] = []
        self._socket: socket.socket | None = None

    def close(self) -> None:
        """Close what a step left open."""
        if self._socket is not None:
            self._socket.close()

    async def url(self) -> str:
        """Whether the base URL may be asked, and its one spelling."""
        if why := hindrance(self._row):
            raise why
        verdict = check_url(self._row.base_url, kind=self._row.kind, confirmed_http=self._row.confirmed_http)
        self._http.refuse_when_offline(self._row.base_url)
        return "; ".join([verdict.url, *verdict.repairs, *([verdict.warning] if verdict.warning else [])])

    def _place(self) -> probe.Place:
        return probe.place_of(self._row.base_url, self._http.environ)

    async def dns(self) -> str | None:
        """The addresses behind the name."""
        place = self._place()
        exc: Exception
        try:
            self._addresses = await probe.resolve(place, timeout_s=self._timeout_s)
        except (OSError, UnicodeError) as caught:
            exc = caught
        else:
            if place.is_literal:
                return None
            more = len(self._addresses) - 1
            found = f"{self._addresses[0][1][0]}" + (f" and {more} more" if more else "")
            return f"{whose(place)}{place.host} is {found}"
        raise Stop(self._network_failure("dns", exc, place))

    async def connect(self) -> str:
        """Whether the port takes connections."""
        place = self._place()
        exc: Exception
        try:
            self._socket, address = await probe.connect(self._addresses, timeout_s=self._timeout_s)
        except OSError as caught:
            exc = caught
        else:
            return f"{whose(place)}{address} port {place.port}"
        raise Stop(self._network_failure("connect", exc, place))

    async def tls(self) -> str | None:
        """Whether the certificate is good."""
        place = self._place()
        sock, self._socket = self._socket, None
        if sock is None or not place.tls:
            if sock is not None:
                sock.close()
            return None
        exc: Exception
        try:
            with sock:
                context = trust(self._http.environ)
                version = await probe.handshake(sock, place, context, timeout_s=self._timeout_s)
        except OSError as caught:
            exc = caught
        else:
            return f"{version}, the certificate is valid for {place.host}"
        raise Stop(self._network_failure("tls", exc, place))

    def _network_failure(self, stage: str, exc: Exception, place: probe.Place) -> Failure:
        error = unreachable(exc, provider=self._row.id, host=place.host if stage == "dns" else str(place), sent=False)
        if not place.is_proxy:
            return advice.from_error(error, self._row, stage=stage)
        said = f"{self._row.id}: the proxy {place} cannot be used: {error.message.partition(': ')[2]}"
        return Failure(stage, said, "check HTTPS_PROXY, or name the host in NO_PROXY")


def whose(place: probe.Place) -> str:
    """Says so when the connection is the proxy's."""
    return "the proxy " if place.is_proxy else ""
