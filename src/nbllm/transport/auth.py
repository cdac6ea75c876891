"""The key meets the request here, as late as possible, and leaves it again."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit

import httpx2

from nbllm.errors import RegistryError
from nbllm.providers.spec import AUTH_SCHEMES, ProviderConfig, Timeouts
from nbllm.providers.urls import is_loopback, origin_of
from nbllm.transport.sse import ANSWER_CAP

TRIP = "nbllm.trip"
"""Under this name a request carries its `Trip` to the transport."""


class Key(Protocol):
    """What the transport needs of a `nbllm.credentials.secret.Secret`, which stands on the same floor."""

    def reveal(self) -> str:
        """The key itself."""
        ...


@dataclass(slots=True)
class Trip:
    """What the transport knows of a request beside its bytes."""

    provider: str
    timeout: Timeouts | None = None
    """None: only the timeouts of httpx2 count."""
    token_seen: bool = False
    """Set by whoever reads the answer: from the first token on `between_tokens_s` counts, before it `first_token_s`."""
    settled: bool = False
    """Set by whoever reads the answer: it is complete, whatever way its body ends."""
    keyed: bool = False
    """Whether the request carries a key."""
    lacks_key: bool = False
    """Whether the provider wants a key and there is none."""
    cap_bytes: int = ANSWER_CAP
    """Bytes of an answer, unpacked; a file of many answers may be longer than one answer."""


class KeyAuth(httpx2.Auth):
    """Sets the key and the row's own headers, on requests to the row's origin and on no other.

    They are taken away again when the answer's head is there or the request failed, so that a request that is kept
    anywhere holds no key.

    Raises:
        RegistryError: Something secret would travel in clear text: http to a host that is not this machine, without
            the user's consent.
    """

    def __init__(
        self,
        provider: ProviderConfig,
        key: Key | None,
        *,
        timeout: Timeouts | None = None,
        cap_bytes: int = ANSWER_CAP,
    ) -> None:
        self._origin = origin_of(provider.base_url)
        lacks_key = provider.needs_key and key is None
        self._trip = Trip(provider.id, timeout, keyed=key is not None, lacks_key=lacks_key, cap_bytes=cap_bytes)
        self._key = key if AUTH_SCHEMES.get(provider.auth, provider.auth) is not None else None
        self._template = AUTH_SCHEMES.get(provider.auth, provider.auth) or ""
        self._extra = provider.headers
        if (self._key is not None or self._extra) and _in_clear(provider):
            raise RegistryError(
                f"the key of {provider.id} would go to {urlsplit(provider.base_url).hostname} unencrypted",
                hint="use https, or agree to plain http with "
                f"`%llm_providers edit {provider.id} --base-url {provider.base_url} --confirm-http`",
            )

    def auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response, None]:
        """Called by httpx2 around the sending of each request."""
        request.extensions[TRIP] = self._trip
        if origin_of(str(request.url)) != self._origin:
            yield request
            return
        names = self._set(request)
        try:
            yield request
        finally:
            for name in names:
                request.headers.pop(name, None)

    def _set(self, request: httpx2.Request) -> list[str]:
        names = list(self._extra)
        for name, value in self._extra.items():
            request.headers[name] = value
        if self._key is not None:
            name, _, form = self._template.partition(": ")
            request.headers[name] = form.replace("{key}", self._key.reveal())
            names.append(name)
        return names

    def __repr__(self) -> str:
        return f"KeyAuth({self._origin})"


def _in_clear(provider: ProviderConfig) -> bool:
    parts = urlsplit(provider.base_url)
    return parts.scheme == "http" and not provider.confirmed_http and not is_loopback(parts.hostname or "")
