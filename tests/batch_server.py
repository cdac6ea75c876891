"""A server on loopback with the batch endpoints of OpenAI and Anthropic, as they document them (read 2026-11-28).

    with BatchServer() as server:
        ... server.url (OpenAI's base URL), server.origin (Anthropic's) ...

What it does is set by its attributes, also while it runs. It counts what it would bill: `paid[custom_id]`.
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Refused:
    """A request of a batch that is answered with an error."""

    status: int
    message: str
    code: str = "invalid_request_error"


Answer = Callable[[str, Mapping[str, Any]], Any]
"""From the custom id and the body to a text, a `Refused`, a whole body (a dict), or None: nothing is said of it."""


def echo(custom_id: str, body: Mapping[str, Any]) -> str:
    """The prompt, in capitals."""
    content = body["messages"][-1]["content"]
    return (content if isinstance(content, str) else content[0]["text"]).upper()


@dataclass
class Batch:
    """One batch, of either vendor."""

    id: str
    requests: list[tuple[str, dict[str, Any]]]
    made: datetime
    metadata: dict[str, str] = field(default_factory=dict)
    anthropic: bool = False
    looks: int = 0
    cancelled: bool = False
    end: str | None = None
    problems: list[dict[str, Any]] = field(default_factory=list)
    results: dict[str, bytes] = field(default_factory=dict)
    """`output` and `error`, as lines."""


@dataclass(frozen=True)
class Asked:
    """One request that came."""

    method: str
    path: str
    headers: Mapping[str, str]
    size: int

    def __str__(self) -> str:
        return f"{self.method} {self.path.partition('?')[0]}"


class BatchServer:
    """See the module.

    Attributes:
        answer: What each request of a batch is answered.
        looks: How often a batch is looked at before it has ended.
        end: How batches end: `completed`, `expired`, `cancelled`, `failed`.
        problems: What a failed batch says (`code`, `message`, `line`).
        unfinished: Custom ids that an expired or cancelled batch did not come to.
        repeats: How often each line of results stands in its file.
        strangers: Lines of results with ids that nobody sent.
        cuts: How many downloads are cut in the middle of a line, without the connection saying so.
        results_origin: Anthropic's results are said to lie there instead.
        queue: Requests that may wait at once; None: any number.
        faults: What happens instead of the next answers, by "METHOD /path": a status; `drop`: the connection ends
            before anything is done; `lose`: it is done, and the connection ends before the answer; `stall`.
        key: What clients must send; None: anything.
    """

    def __init__(self) -> None:
        self.answer: Answer = echo
        self.looks = 0
        self.end = "completed"
        self.problems: list[dict[str, Any]] = []
        self.unfinished: set[str] = set()
        self.repeats = 1
        self.strangers = 0
        self.cuts = 0
        self.results_origin: str | None = None
        self.queue: int | None = None
        self.faults: dict[str, list[int | str]] = {}
        self.key: str | None = None
        self.no_batches = False
        self.asked: list[Asked] = []
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, Batch] = {}
        self.paid: Counter[str] = Counter()
        self._random = random.Random(5)
        self._lock = threading.RLock()
        self._server = _serving(self)
        self.port: int = self._server.server_address[1]

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.origin}/v1"

    def count(self, method_and_path: str) -> int:
        """How many requests of this kind came."""
        return sum(str(asked) == method_and_path for asked in self.asked)

    def __enter__(self) -> BatchServer:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    # ------------------------------------------------------------ what is asked

    def reply(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
        """Status and body."""
        if self.key is not None and self.key not in (headers.get("authorization", "")[7:], headers.get("x-api-key")):
            return _json(401, {"error": {"message": f"Incorrect API key: {headers}", "code": "invalid_api_key"}})
        path, _, query = path.partition("?")
        steps = path.strip("/").split("/")
        if self.no_batches:
            return _json(404, {"detail": "Not Found"})
        with self._lock:
            if steps[:3] == ["v1", "messages", "batches"]:
                return self._anthropic(method, steps[3:], query, headers, body)
            if steps[:2] == ["v1", "files"]:
                return self._file(method, steps[2:], headers, body)
            if steps[:2] == ["v1", "batches"]:
                return self._openai(method, steps[2:], query, body)
        return _json(404, {"error": {"message": "no such path"}})

    def _file(self, method: str, steps: list[str], headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
        if method == "POST":
            fields = _form(headers["content-type"], body)
            if fields.get("purpose") != b"batch" or "file" not in fields:
                return _json(400, {"error": {"message": "purpose and file are wanted"}})
            id = f"file-{len(self.files)}"
            self.files[id] = fields["file"]
            return _json(200, {"id": id, "object": "file", "purpose": "batch", "bytes": len(fields["file"])})
        name, _, kind = steps[0].rpartition("-")
        batch = self.batches.get(name)
        if batch is None or kind not in batch.results:
            return _json(404, {"error": {"message": f"No such File object: {steps[0]}"}})
        return 200, self._perhaps_cut(batch.results[kind])

    def _openai(self, method: str, steps: list[str], query: str, body: bytes) -> tuple[int, bytes]:
        if method == "GET" and not steps:
            return _json(200, self._page([b for b in self.batches.values() if not b.anthropic], query, "after"))
        if not steps:
            asked = json.loads(body)
            assert asked["endpoint"] == "/v1/chat/completions"
            assert asked["completion_window"] == "24h"
            if asked["input_file_id"] not in self.files:
                return _json(400, {"error": {"message": f"Cannot find file {asked['input_file_id']}"}})
            rows = [json.loads(line) for line in self.files[asked["input_file_id"]].splitlines()]
            batch = self._made("batch_", [(r["custom_id"], r["body"]) for r in rows], asked.get("metadata") or {})
            assert all(r["method"] == "POST" and r["url"] == "/v1/chat/completions" for r in rows)
            self._check(batch, requests=50_000, one_model=True)
            return _json(200, self._row(batch))
        batch = self.batches.get(steps[0])
        if batch is None:
            return _json(404, {"error": {"message": f"No batch found with id '{steps[0]}'."}})
        if steps[1:] == ["cancel"]:
            batch.cancelled = True
        else:
            self._looked_at(batch)
        return _json(200, self._row(batch))

    def _anthropic(
        self, method: str, steps: list[str], query: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, bytes]:
        assert headers["anthropic-version"] == "2023-06-01"
        if method == "GET" and not steps:
            return _json(200, self._page([b for b in self.batches.values() if b.anthropic], query, "after_id"))
        if not steps:
            requests = [(r["custom_id"], r["params"]) for r in json.loads(body)["requests"]]
            assert all("stream" not in params and params["max_tokens"] > 0 for _, params in requests)
            batch = self._made("msgbatch_", requests, {}, anthropic=True)
            self._check(batch, requests=100_000, one_model=False)
            return _json(200, self._row(batch))
        batch = self.batches.get(steps[0])
        if batch is None:
            return _json(404, {"type": "error", "error": {"type": "not_found_error", "message": "no such batch"}})
        if steps[1:] == ["cancel"]:
            batch.cancelled = True
        elif steps[1:] == ["results"]:
            return 200, self._perhaps_cut(batch.results["output"])
        else:
            self._looked_at(batch)
        return _json(200, self._row(batch))

    # ------------------------------------------------------------ batches

    def _made(
        self, prefix: str, requests: list[tuple[str, dict[str, Any]]], metadata: dict[str, str], *,
        anthropic: bool = False,
    ) -> Batch:  # fmt: skip
        batch = Batch(f"{prefix}{len(self.batches)}", requests, datetime.now(UTC), metadata, anthropic)
        self.batches[batch.id] = batch
        return batch

    def _check(self, batch: Batch, *, requests: int, one_model: bool) -> None:
        """What a vendor looks at before it begins."""
        ids = [id for id, _ in batch.requests]
        assert 0 < len(ids) <= requests
        assert len(set(ids)) == len(ids), "custom ids must be unique"
        assert all(0 < len(id) <= 64 for id in ids)
        if one_model:
            assert len({body["model"] for _, body in batch.requests}) == 1, "one model in a file"
        waiting = sum(len(b.requests) for b in self.batches.values() if b.end is None)
        if self.queue is not None and waiting > self.queue:
            batch.end = "failed"
            batch.problems = [{"code": "token_limit_exceeded", "message": "Enqueued token limit reached", "line": None}]

    def _looked_at(self, batch: Batch) -> None:
        batch.looks += 1
        if batch.end is None and (batch.looks > self.looks or batch.cancelled):
            batch.end = "cancelled" if batch.cancelled else self.end
            batch.problems = self.problems if batch.end == "failed" else []
            self._answer_all(batch)

    def _answer_all(self, batch: Batch) -> None:
        if batch.end == "failed":
            return
        files: dict[str, list[bytes]] = {"output": [], "error": []}
        for id, body in batch.requests:
            made = self._line(batch, id, body)
            if made is not None:
                files[made[0]] += [json.dumps(made[1]).encode()] * self.repeats
        for number in range(self.strangers):
            files["output"].append(json.dumps({"custom_id": f"stranger-{number}", "response": {}}).encode())
        for name, rows in files.items():
            self._random.shuffle(rows)
            if rows:
                batch.results[name] = b"\n".join(rows) + b"\n"
        batch.results.setdefault("output", b"") if batch.anthropic else None

    def _line(self, batch: Batch, id: str, body: dict[str, Any]) -> tuple[str, dict[str, Any]] | None:
        if id in self.unfinished:
            return _unfinished(batch, id)
        said = self.answer(id, body)
        if said is None:
            return None
        if isinstance(said, Refused):
            return _refused(batch, id, said)
        self.paid[id] += 1
        if isinstance(said, str):
            said = _message(body, said) if batch.anthropic else _completion(body, said)
        if batch.anthropic:
            return "output", {"custom_id": id, "result": {"type": "succeeded", "message": said}}
        response = {"status_code": 200, "request_id": f"req_{id[:8]}", "body": said}
        return "output", {"id": "batch_req_1", "custom_id": id, "response": response, "error": None}

    def _row(self, batch: Batch) -> dict[str, Any]:
        total = len(batch.requests)
        if batch.anthropic:
            ended = batch.end is not None
            origin = self.results_origin or self.origin
            return {
                "id": batch.id, "type": "message_batch", "created_at": batch.made.isoformat().replace("+00:00", "Z"),
                "processing_status": "ended" if ended else "canceling" if batch.cancelled else "in_progress",
                "request_counts": {"processing": 0 if ended else total, "succeeded": total if ended else 0,
                                   "errored": 0, "canceled": 0, "expired": 0},
                "results_url": f"{origin}/v1/messages/batches/{batch.id}/results" if ended else None,
            }  # fmt: skip
        status = batch.end or ("cancelling" if batch.cancelled else "in_progress" if batch.looks else "validating")
        done = total if batch.end else min(total, total * batch.looks // (self.looks + 1))
        return {
            "id": batch.id, "object": "batch", "status": status, "created_at": int(batch.made.timestamp()),
            "metadata": batch.metadata,
            "request_counts": {"total": total, "completed": done, "failed": 0},
            "output_file_id": f"{batch.id}-output" if "output" in batch.results else None,
            "error_file_id": f"{batch.id}-error" if "error" in batch.results else None,
            "errors": {"object": "list", "data": batch.problems} if batch.problems else None,
        }  # fmt: skip

    def _page(self, batches: list[Batch], query: str, cursor: str) -> dict[str, Any]:
        """The newest first."""
        words = dict(w.split("=") for w in query.split("&") if "=" in w)
        rows = [self._row(b) for b in reversed(batches)]
        names = [row["id"] for row in rows]
        start = names.index(words[cursor]) + 1 if cursor in words else 0
        limit = int(words.get("limit", "20"))
        page = rows[start : start + limit]
        return {"data": page, "has_more": start + limit < len(rows), "last_id": page[-1]["id"] if page else None}

    def _perhaps_cut(self, lines: bytes) -> bytes:
        if self.cuts > 0 and len(lines) > 40:
            self.cuts -= 1
            return lines[: len(lines) // 2 if lines[len(lines) // 2 - 1 :][:1] != b"\n" else len(lines) // 2 - 2]
        return lines


# ---------------------------------------------------------------- what stands in results


def _completion(body: Mapping[str, Any], text: str) -> dict[str, Any]:
    message = {"role": "assistant", "content": text, "refusal": None}
    usage = {"prompt_tokens": 12, "completion_tokens": 5, "total_tokens": 17,
             "prompt_tokens_details": {"cached_tokens": 2}}  # fmt: skip
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return {"id": "c", "object": "chat.completion", "model": f"{body['model']}-2026", "choices": [choice],
            "usage": usage}  # fmt: skip


def _message(body: Mapping[str, Any], text: str) -> dict[str, Any]:
    return {"id": "msg_1", "type": "message", "role": "assistant", "model": f"{body['model']}-2026",
            "content": [{"type": "text", "text": text}], "stop_reason": "end_turn",
            "usage": {"input_tokens": 10, "output_tokens": 5, "cache_read_input_tokens": 2}}  # fmt: skip


def _refused(batch: Batch, id: str, said: Refused) -> tuple[str, dict[str, Any]]:
    if batch.anthropic:
        error = {"type": "error", "error": {"type": said.code, "message": said.message}, "request_id": f"req_{id[:8]}"}
        return "output", {"custom_id": id, "result": {"type": "errored", "error": error}}
    body = {"error": {"message": said.message, "code": said.code}}
    response = {"status_code": said.status, "request_id": f"req_{id[:8]}", "body": body}
    return "error", {"id": "batch_req_1", "custom_id": id, "response": response, "error": None}


def _unfinished(batch: Batch, id: str) -> tuple[str, dict[str, Any]] | None:
    if batch.anthropic:
        return "output", {"custom_id": id, "result": {"type": "expired" if batch.end == "expired" else "canceled"}}
    if batch.end == "cancelled":
        return None
    error = {"code": "batch_expired", "message": "This request could not be executed before the window expired."}
    return "error", {"id": "batch_req_1", "custom_id": id, "response": None, "error": error}


def _json(status: int, content: Any) -> tuple[int, bytes]:
    return status, json.dumps(content).encode()


def _form(kind: str, body: bytes) -> dict[str, bytes]:
    """The fields of a multipart form (RFC 7578)."""
    boundary = b"--" + kind.partition("boundary=")[2].encode()
    fields = {}
    for part in body.split(boundary)[1:-1]:
        head, _, content = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        name = head.partition(b'name="')[2].partition(b'"')[0].decode()
        fields[name] = content.removesuffix(b"\r\n")
    return fields


# ---------------------------------------------------------------- HTTP


def _serving(server: BatchServer) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            asked = Asked(self.command, self.path, headers, len(body))
            server.asked.append(asked)
            waiting = server.faults.get(str(asked)) or []
            fault = waiting.pop(0) if waiting else None
            if fault == "drop":
                self.close_connection = True
                return
            if fault == "stall":
                time.sleep(5)
            if isinstance(fault, int):
                status, content = _json(fault, {"error": {"message": f"told to say {fault}"}})
            else:
                status, content = server.reply(self.command, self.path, headers, body)
            if fault == "lose":
                self.close_connection = True
                return
            self._send(status, content)

        do_POST = do_GET

        def _send(self, status: int, content: bytes) -> None:
            self.send_response_only(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None: ...

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None: ...

    return Server(("127.0.0.1", 0), Handler)
