"""The JSON objects of an answer whose wire format has no SDK here, whatever they are framed in."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import Any, Protocol

from nbllm.adapters.reading import Arrival
from nbllm.errors import StreamBrokenError
from nbllm.transport.sse import parse_object


class Decoder(Protocol):
    """Bytes to JSON texts."""

    def feed(self, chunk: bytes) -> list[str]:
        """The texts that `chunk` completes."""
        ...

    def finish(self) -> list[str]:
        """What stood open at the end of the body."""
        ...


async def payloads(
    arrival: Arrival, *, provider: str, choose: Callable[[bytes], Decoder]
) -> AsyncGenerator[dict[str, Any], None]:
    """The objects, in order, as they become complete.

    Args:
        arrival: The answer.
        provider: The provider's id.
        choose: The decoder for a body that begins with these bytes (no mark, no white space). Content types are not
            believed.

    Raises:
        ProviderError: The body is a web page.
        StreamBrokenError: Something else is no JSON object, or too large. With the text so far.
    """
    decoder: Decoder | None = None
    head = b""
    async with contextlib.aclosing(arrival.chunks()) as chunks:
        async for chunk in chunks:
            if decoder is None:
                head = (head + chunk).removeprefix(b"\xef\xbb\xbf").lstrip()
                if not head or head in (b"\xef", b"\xef\xbb"):
                    continue
                if head.startswith(b"<"):
                    raise arrival.no_answer("a web page")
                decoder, chunk = choose(head), head
            for payload in _objects(decoder, chunk, arrival, provider):
                yield payload
    if decoder is not None:
        for payload in _objects(decoder, None, arrival, provider):
            yield payload


def _objects(decoder: Decoder, chunk: bytes | None, arrival: Arrival, provider: str) -> Iterator[dict[str, Any]]:
    words = ""
    try:
        texts = decoder.finish() if chunk is None else decoder.feed(chunk)
    except StreamBrokenError as exc:
        words = exc.message
    if words:
        raise arrival.broken(f"cannot be read: {words}")
    for text in texts:
        payload = _object(text, provider)
        if payload is None:
            raise arrival.broken("sent something that is not a JSON object")
        yield payload


def _object(text: str, provider: str) -> dict[str, Any] | None:
    try:
        return parse_object(text, provider=provider)
    except StreamBrokenError:
        return None
