"""A model server on loopback whose answers are written down path by path; anything else is a 404.

with ModelServer({"/v1/models": listing("a", "b")}) as server:
    ... server.url ...
"""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Said:
    """One answer."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    after_s: float = 0.0


@dataclass(frozen=True)
class Asked:
    """One request."""

    method: str
    path: str
    headers: Mapping[str, str]
    """Names in lower case."""
    body: Any


Answers = Mapping[str, Said | Callable[[Asked], Said]]


def as_json(content: Any, status: int = 200, **headers: str) -> Said:
    """JSON, with further headers (underscores become hyphens)."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Said(status, json.dumps(content).encode(), {"Content-Type": "application/json", **named})


def page(text: str, status: int = 200) -> Said:
    """A web page."""
    return Said(status, f"<html><body><h1>{text}</h1></body></html>".encode(), {"Content-Type": "text/html"})


def listing(*ids: str, **fields: Any) -> Said:
    """A listing in OpenAI's shape; `fields` stand in each row."""
    return as_json({"object": "list", "data": [{"id": id, "object": "model", **fields} for id in ids]})


def refusal(status: int, message: str = "no", **fields: Any) -> Said:
    """An error in OpenAI's shape."""
    return as_json({"error": {"message": message, **fields}}, status)


def streamed(text: str = "yes", *, model: str = "m", finish: str | None = "length") -> Said:
    """A chat's answer as an event stream."""
    chunks: list[dict[str, Any]] = [{"choices": [{"index": 0, "delta": {"role": "assistant", "content": text}}]}]
    if finish is not None:
        chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
    lines = [f"data: {json.dumps({'id': 'c', 'model': model, **chunk})}\n\n" for chunk in chunks]
    end = ["data: [DONE]\n\n"] if finish is not None else []
    return Said(200, "".join([*lines, *end]).encode(), {"Content-Type": "text/event-stream"})


def with_key(key: str, said: Said) -> Callable[[Asked], Said]:
    """`said` for who has the key, 401 for everybody else. The 401 echoes the key, as some servers do."""

    def answer(asked: Asked) -> Said:
        sent = asked.headers.get("authorization", "")
        return said if sent == f"Bearer {key}" else refusal(401, f"Incorrect API key provided: {sent}")

    return answer


class ModelServer:
    """See the module. `asked`: every request, in order."""

    def __init__(self, answers: Answers, *, tls: ssl.SSLContext | None = None) -> None:
        self.asked: list[Asked] = []
        self._scheme = "https" if tls else "http"
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                length = int(self.headers.get("content-length") or 0)
                body = json.loads(self.rfile.read(length)) if length else None
                headers = {name.lower(): value for name, value in self.headers.items()}
                asked = Asked(self.command, self.path, headers, body)
                server.asked.append(asked)
                found = answers.get(self.path.partition("?")[0], Said(404, b"not here"))
                self._send(found(asked) if callable(found) else found)

            do_POST = do_GET

            def _send(self, said: Said) -> None:
                time.sleep(said.after_s)
                self.send_response_only(said.status)
                for name, value in said.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(said.body)))
                self.end_headers()
                self.wfile.write(said.body)

            def log_message(self, format: str, *args: object) -> None: ...

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 256  # a whole catalogue connects at once

            def handle_error(self, request: object, client_address: object) -> None: ...

        self._server = Server(("127.0.0.1", 0), Handler)
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.port: int = self._server.server_address[1]

    @property
    def origin(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.origin}/v1"

    @property
    def paths(self) -> list[str]:
        """What was asked for, in order."""
        return [asked.path for asked in self.asked]

    def __enter__(self) -> ModelServer:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()
