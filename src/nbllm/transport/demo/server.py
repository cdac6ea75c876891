"""The demo provider behind a port of this machine (`nbllm demo-server`)."""

from __future__ import annotations

import contextlib
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from nbllm.transport.demo.wire import Demo, DemoAnswer

_BODY_CAP = 64 * 1024 * 1024


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # a slow story must not hold up the end of the server

    def __init__(self, port: int, demo: Demo) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.demo = demo

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing when a client has gone away; that is what the stop button does."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        self._answer(b"")

    def do_POST(self) -> None:
        try:
            length = int(self.headers.get("content-length") or 0)
        except ValueError:
            length = -1
        if not 0 <= length <= _BODY_CAP:
            self.close_connection = True
            self.send_error(413)
            return
        self._answer(self.rfile.read(length))

    def _answer(self, body: bytes) -> None:
        answer = self.server.demo.answer(self.command, self.path, dict(self.headers.items()), body)
        self.send_response_only(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        with contextlib.suppress(ConnectionError):
            self._send(answer)

    def _send(self, answer: DemoAnswer) -> None:
        for delay_s, piece in answer.pieces:
            time.sleep(delay_s)
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            self.wfile.flush()
        if answer.ends == "cut":
            self.close_connection = True
        else:
            self.wfile.write(b"0\r\n\r\n")

    def log_message(self, format: str, *args: Any) -> None:
        """Keep the terminal for the command's own lines."""


def serve_on(port: int, demo: Demo) -> ThreadingHTTPServer:
    """A server on 127.0.0.1 that is bound and not yet serving."""
    return _Server(port, demo)
