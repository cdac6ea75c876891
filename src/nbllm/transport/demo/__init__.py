"""The demo provider: real wire bytes, no network, no key, and no model.

`DemoTransport` stands in for the network below the HTTP client, so a chat with it takes the same way as any
other: the same adapter, the same stream decoder, the same errors. `create_server` puts the same application
behind a port of this machine, for programs that are not nbllm. Same request, same bytes: nothing in an answer
comes from a clock or from chance.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nbllm.transport.demo.stream import DEMO_ORIGIN, DemoTransport
from nbllm.transport.demo.wire import Demo, DemoAnswer

if TYPE_CHECKING:
    from http.server import ThreadingHTTPServer

__all__ = ["DEMO_ORIGIN", "Demo", "DemoAnswer", "DemoTransport", "create_server"]


def create_server(port: int = 0, *, pace_s: float | None = None) -> ThreadingHTTPServer:
    """The demo provider as an HTTP server on 127.0.0.1; call `serve_forever()` on it.

    Args:
        port: 0 takes a free one; `server_address[1]` says which.
        pace_s: Seconds for each word; None: `NBLLM_DEMO_PACE_S`, else 0.008.

    Raises:
        OSError: The port is taken.
    """
    from nbllm.transport.demo.server import serve_on  # noqa: PLC0415  (a chat never needs http.server)

    return serve_on(port, Demo(pace_s=pace_s))
