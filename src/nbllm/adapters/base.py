"""What an adapter is: one wire format, without knowledge of which provider speaks it.

An adapter turns a `ChatRequest` into bytes for an `Endpoint` and what comes back into `Delta`s. It keeps no state
between requests, retries nothing, stores nothing, and knows no user interface. A third party adds one through
the entry-point group `nbllm.adapters`: name = the kind, object = a class with this protocol.

Quirks of a row (`ProviderConfig.quirk`) that the bundled adapters know; the others ignore them:

- openai: `max_tokens_field`, `no_stream_options`, `no_schema`, `think_tags`, `system_role`, `reasoning_back`
- anthropic: `max_tokens_default`, `no_schema`

What each means is in docs/explanation/wire-formats.md.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

from nbllm.messages import ChatRequest, Delta
from nbllm.providers.spec import ModelInfo, ProviderConfig

if TYPE_CHECKING:
    from nbllm.credentials.secret import Secret
    from nbllm.transport.http import Http


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a request goes: the provider's row as it counts now, its key, and the way there."""

    provider: ProviderConfig
    key: Secret | None
    http: Http

    @property
    def base_url(self) -> str:
        """The row's base URL, without a slash at the end."""
        return self.provider.base_url.rstrip("/")


@dataclass(frozen=True, slots=True)
class WireRequest:
    """What would be sent, for `--dry-run` and for recordings. Holds no key: authentication is added in transport."""

    method: str
    url: str
    body: Mapping[str, Any]
    headers: Mapping[str, str] = field(default_factory=dict)


@runtime_checkable
class Adapter(Protocol):
    """One wire format."""

    native_schema: ClassVar[bool]
    """Whether the format itself has structured output by JSON Schema."""

    def build(self, request: ChatRequest, endpoint: Endpoint) -> WireRequest:
        """The request as it would be sent.

        Raises:
            UnsupportedError: The format cannot carry something that was asked for.
        """
        ...

    def stream(self, request: ChatRequest, endpoint: Endpoint) -> AsyncIterator[Delta]:
        """Send once, and yield what arrives. The last delta has a finish reason.

        Raises:
            ProviderError: Before the first delta, or when the stream carries an error.
            StreamBrokenError: The stream ended without a finish reason and without its end event.
        """
        ...

    async def list_models(self, endpoint: Endpoint) -> list[ModelInfo]:
        """The provider's own listing, all pages, each id once.

        An adapter may also have `ask_listing(endpoint, asking)`, as the bundled ones do; then the pages, the count
        and the warnings are kept too, and an unchanged listing need not be sent again. See `nbllm.adapters.listing`.

        Raises:
            ProviderError: It could not be had, or is not a listing.
        """
        ...
