"""The demo provider as a transport of httpx2 that hands out each piece when it is due."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx2

from nbllm.transport.demo.wire import Demo, DemoAnswer

DEMO_ORIGIN = "http://demo.invalid:80"
"""The origin of the bundled row. `.invalid` never resolves (RFC 2606), so a mistake cannot reach a real host."""


class DemoTransport(httpx2.AsyncBaseTransport):
    """Answers as `http://demo.invalid/v1` would.

    It yields as it goes. The ASGI transports of httpx 0.28.1 and httpx2 2.16.2 collect a whole body first: four
    pieces, 0.2 s apart, arrived together after 0.8 s with either.

    Args:
        pace_s: Seconds for each word; None: `NBLLM_DEMO_PACE_S`, else 0.008.
    """

    def __init__(self, *, pace_s: float | None = None) -> None:
        self._demo = Demo(pace_s=pace_s)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Answer one request."""
        body = await request.aread()
        answer = self._demo.answer(request.method, request.url.path, request.headers, body)
        return httpx2.Response(answer.status, headers=answer.headers, stream=_Body(answer))


class _Body(httpx2.AsyncByteStream):
    def __init__(self, answer: DemoAnswer) -> None:
        self._answer = answer

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for delay_s, piece in self._answer.pieces:
            await asyncio.sleep(delay_s)
            yield piece
        if self._answer.ends == "cut":
            raise httpx2.RemoteProtocolError("demo: the connection was closed in the middle of the body")
