"""One answer on its way: its bytes, the text so far, and what it means when they end.

Deadlines, size caps and the errors of a lost connection are the transport's (`nbllm.transport.guard`).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any

from nbllm.adapters.bodies import error_from_response
from nbllm.errors import AuthenticationError, NbllmError, ProviderError, StreamBrokenError, UnreachableError
from nbllm.transport.auth import TRIP, Trip
from nbllm.transport.faults import redirected
from nbllm.transport.recordings import REPLAYED

if TYPE_CHECKING:
    import httpx2

    from nbllm.adapters.base import Endpoint
    from nbllm.providers.spec import ProviderConfig

GRACE_S = 3.0
"""How long the end of a stream may take once the finish reason has come; usage arrives in between."""

DRAIN_S = 0.5
"""How long the body may take to end after its end event."""

_KEPT = "what arrived is kept; ask again to get the whole answer"


class Arrival:
    """The adapter appends the text to `partial`, and sets `settled` when the answer is complete."""

    __slots__ = ("_provider", "_response", "_trip", "partial", "received", "settled")

    def __init__(self, response: httpx2.Response, provider: ProviderConfig) -> None:
        self._response = response
        self._provider = provider.id
        self._trip = response.request.extensions.get(TRIP) or Trip(provider.id)
        self.partial: list[str] = []
        self.received = False
        """Whether any byte came."""
        self.settled = False
        """Whether the finish reason came: from then on every way to end is fine."""

    @property
    def headers(self) -> httpx2.Headers:
        """The response's headers."""
        return self._response.headers

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """The body as it comes from the network.

        Raises:
            UnreachableError: The connection was lost, or silent for too long, before the first byte.
            StreamBrokenError: The same after it, with the text that arrived; or the body is too large.
        """
        source: Any = self._response.aiter_raw()  # the transport has unpacked it
        try:
            while True:
                try:
                    if self.settled:
                        self._trip.settled = True
                        async with asyncio.timeout(GRACE_S):
                            chunk = await source.__anext__()
                    else:
                        chunk = await source.__anext__()
                except StopAsyncIteration:
                    return
                except (TimeoutError, StreamBrokenError, UnreachableError) as error:
                    if self.settled:
                        return
                    if isinstance(error, StreamBrokenError):
                        error.partial = "".join(self.partial)
                    raise
                self.received = True
                yield chunk
                if self.partial:
                    self._trip.token_seen = True
        finally:
            await source.aclose()

    def broken_by(self, error: StreamBrokenError) -> StreamBrokenError:
        """The same error, with the text that arrived."""
        words = f"{self._provider}: {error.message.removeprefix(self._provider).strip()}"
        return StreamBrokenError(
            words, partial="".join(self.partial), hint=error.hint or _KEPT, provider=self._provider
        )

    def broken(self, words: str, *, hint: str | None = None) -> StreamBrokenError:
        """The error for an answer that cannot go on, with the text that arrived."""
        return StreamBrokenError(
            f"{self._provider} {words}", partial="".join(self.partial), hint=hint or _KEPT, provider=self._provider
        )

    def unfinished(self) -> StreamBrokenError:
        """The error for a body that ended without a finish reason and without its end event."""
        if not self.received:
            return self.broken("sent nothing at all", hint="some servers do so when the prompt is too long")
        return self.broken("ended the answer without saying that it is complete")

    def no_answer(self, what: str) -> ProviderError:
        """The error for a 200 whose body is something else than an answer."""
        return ProviderError(
            f"{self._provider} sent {what} instead of an answer",
            hint=f"check the base URL with `%llm_providers show {self._provider}`",
            provider=self._provider,
            status=self._response.status_code,
        )


async def drain(chunks: AsyncGenerator[bytes, None]) -> None:
    """Read what follows the end event, which is next to nothing, so that the connection can be used again."""
    with contextlib.suppress(NbllmError, TimeoutError):
        async with asyncio.timeout(DRAIN_S):
            async for _ in chunks:
                pass


async def refusal(response: httpx2.Response, endpoint: Endpoint, *, model: str | None) -> ProviderError:
    """The error that a response with a status other than 2xx stands for."""
    provider, status, headers = endpoint.provider, response.status_code, response.headers
    body = await response.aread()  # the transport has cut it
    if 300 <= status < 400:
        return redirected(provider=provider.id, status=status, url=str(response.url), headers=headers)
    error = error_from_response(provider=provider.id, status=status, headers=headers, body=body, model=model)
    played = provider.kind == "demo" or REPLAYED in response.extensions
    if status == 401 and endpoint.key is None and not provider.headers and not played:
        # No key was refused: none was sent. (The demo and a recording play a refusal, and never have a key.)
        return AuthenticationError(
            f"{provider.id} wants a key, and none was sent (401)",
            hint=f"give the key with `%llm_providers key {provider.id}`",
            provider=provider.id,
            status=status,
            request_id=error.request_id,
        )
    return error
