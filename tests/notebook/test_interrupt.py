"""The stop button, at random moments of a chat, in a real kernel against a real server.

A dozen moments by default; all 200 with `--campaign`. Figures of a whole run: benchmarks/results/interrupts.md.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from chatting import chunk, event
from kernels import Kernel, Run, peer

CLOSED_WITHIN_S = 1.0
SLACK_S = 4.0
"""Other work on the machine; the figure itself is measured by the campaign and not asserted."""
DEFAULT, CAMPAIGN = 12, 200
KERNELS_OWN = "ipykernel's own code was stopped"


@dataclass(frozen=True)
class Phase:
    """A moment in the life of a chat."""

    name: str
    model: str
    """The server answers by the model's name."""
    earliest_s: float
    latest_s: float
    """When the stop button is pressed, from the moment the request came (or the cell began)."""
    from_request: bool = True
    has_text: bool | None = None
    """Whether text had arrived; None: it depends on the moment."""


PHASES = (
    Phase("before the request", "steady", 0.0, 0.02, from_request=False),
    Phase("waiting for the head of the answer", "silent", 0.0, 0.4, has_text=False),
    Phase("waiting for the first token", "head", 0.0, 0.4, has_text=False),
    Phase("in the middle of the stream", "steady", 0.05, 0.5),
    Phase("in a fast stream", "flood", 0.0, 0.3),
    Phase("in the countdown of a retry", "busy", 0.05, 0.8, has_text=False),
    Phase("inside a tool", "tool", 0.1, 0.5, has_text=False),
    Phase("at the end", "short", 0.0, 0.03),
)


@dataclass
class Connection:
    """One request, and when the client closed its connection."""

    model: str
    came: float
    closed: threading.Event = field(default_factory=threading.Event)
    closed_at: float | None = None
    answered: bool = False


class Server:
    """Answers by the model's name, each in its own manner, and sees when the client goes."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}/v1"
        self.requests: list[Connection] = []
        self.came = threading.Condition()
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._socket.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        current: Connection | None = None
        try:
            while (model := self._read(connection)) is not None:
                current = Connection(model, time.monotonic())
                with self.came:
                    self.requests.append(current)
                    self.came.notify_all()
                self._answer(connection, model)
                current.answered = True
            # An idle connection that the client closed, or the client's end after our last byte.
        except OSError:
            pass
        finally:
            connection.close()
            if current is not None:
                current.closed_at = time.monotonic()
                current.closed.set()

    def _read(self, connection: socket.socket) -> str | None:
        data = b""
        while b"\r\n\r\n" not in data:
            got = connection.recv(65536)
            if not got:
                return None
            data += got
        top, _, body = data.partition(b"\r\n\r\n")
        length = next(int(h.split(b":")[1]) for h in top.split(b"\r\n") if h.lower().startswith(b"content-length"))
        while len(body) < length:
            got = connection.recv(65536)
            if not got:
                return None
            body += got
        model: str = json.loads(body)["model"]
        return model

    def _answer(self, connection: socket.socket, model: str) -> None:
        if model == "silent":
            self._until_gone(connection)
        if model == "busy":
            connection.sendall(b"HTTP/1.1 429 Busy\r\nretry-after: 20\r\ncontent-length: 2\r\n\r\n{}")
            return
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        if model == "head":
            self._until_gone(connection)
        for piece, gap_s in _script(model):
            _send(connection, piece)
            if gap_s and self._gone(connection, gap_s):
                raise ConnectionResetError
        connection.sendall(b"0\r\n\r\n")

    def _until_gone(self, connection: socket.socket) -> None:
        if self._gone(connection, 20):
            raise ConnectionResetError

    @staticmethod
    def _gone(connection: socket.socket, wait_s: float) -> bool:
        connection.settimeout(wait_s)
        try:
            return connection.recv(1) == b""
        except TimeoutError:
            return False
        finally:
            connection.settimeout(None)


def _script(model: str) -> Iterator[tuple[bytes, float]]:
    if model == "tool":
        call = {"index": 0, "id": "c1", "type": "function", "function": {"name": "nap", "arguments": "{}"}}
        yield chunk({"tool_calls": [call]}), 0
        yield chunk({}, finish="tool_calls"), 0
    else:
        count, gap_s = {"steady": (300, 0.01), "flood": (20_000, 0.0), "short": (3, 0.0)}[model]
        for n in range(count):
            yield chunk({"content": f"w{n} "}), gap_s
        yield chunk({}, finish="stop"), 0
    yield event("[DONE]"), 0


def _send(connection: socket.socket, piece: bytes) -> None:
    connection.sendall(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")


LEFT_OPEN = """
import asyncio, faulthandler, json, psutil, signal, socket, threading
faulthandler.register(signal.SIGUSR1, file=open("stacks.txt", "w"))
from nbllm import aio
def _tasks():
    loop = aio._current.loop if aio._current else None
    return [] if loop is None else [repr(t.get_coro())[:120] for t in asyncio.all_tasks(loop) if not t.done()]
def left_open(port):
    # The pool may keep an idle connection for the next request.
    sockets = [c.status for c in psutil.Process().net_connections("tcp") if c.raddr and c.raddr.port == port]
    return json.dumps({"tasks": _tasks(), "sockets": len(sockets), "files": psutil.Process().num_fds(),
                       "threads": sorted(t.name for t in threading.enumerate())})
def nap():
    "Sleep."
    import time
    time.sleep(5)
"""


@dataclass
class Outcome:
    phase: str
    ename: str | None
    text: int
    prompt_s: float
    """From the stop button to the end of the cell."""
    close_s: float | None
    """From the stop button to the server seeing the close; None: there was nothing open to close."""
    problems: list[str]


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[tuple[Kernel, Server]]:
    server = Server()
    with (tmp_path / "process.log").open("wb") as log, Kernel(folder=tmp_path, process_log=log) as kernel:
        kernel.run(peer(server.url))
        kernel.run(LEFT_OPEN)
        # What starts once and stays: our loop and store, the loop's pool of threads, pyzmq's thread for large messages.
        kernel.run("%chat -m peer/short -c warm hello")
        kernel.run("%chat -m peer/flood -c warm hello")
        try:
            yield kernel, server
        finally:
            server.close()


def _stop_in(
    phase: Phase, delay_s: float, kernel: Kernel, server: Server, number: int
) -> tuple[Run | None, float, float]:
    before = len(server.requests)
    tool = " --tool nap" if phase.model == "tool" else ""
    cell = kernel.start(
        f"%%chat peer/{phase.model} -c c{number} -o r{number}{tool}\nhello {number}", cell_id=f"cell{number}"
    )
    if phase.from_request:
        with server.came:
            assert server.came.wait_for(lambda: len(server.requests) > before, 20)
    time.sleep(delay_s)
    kernel.interrupt()
    pressed = time.monotonic()
    run = None
    try:
        run = kernel.finish(cell, timeout_s=10)
    except AssertionError as exc:
        stacks = _stacks(kernel)
        if "nbllm" in stacks.rpartition("Current thread")[2]:  # the last: earlier ones stand above it
            raise AssertionError(f"{phase} after {delay_s:.4f} s, question {number}: {exc}\n{stacks}") from None
        # The signal met ipykernel between two cells, which then never answers for the one; it is idle again.
    return run, pressed, time.monotonic()


def _stacks(kernel: Kernel) -> str:
    """Where the kernel's threads are, and what its process wrote."""
    kernel.signal(signal.SIGUSR1)
    time.sleep(1)
    return "\n".join(path.read_text() for path in (kernel.folder / "stacks.txt", kernel.folder / "process.log"))


def _examine(phase: Phase, delay_s: float, kernel: Kernel, server: Server, number: int, before: list[str]) -> Outcome:
    first = len(server.requests)
    run, pressed, ended = _stop_in(phase, delay_s, kernel, server, number)
    problems: list[str] = []
    if run is None:
        _next_works(kernel, number, problems)
        _nothing_left(kernel, server, before, problems)
        return Outcome(phase.name, KERNELS_OWN, 0, 0.0, None, problems)
    stopped = run.ename == "KeyboardInterrupt"
    if run.ename not in (None, "KeyboardInterrupt"):
        problems.append(f"ended with {run.ename}: {run.evalue}")
    shown = "".join(run.error["traceback"]) if run.error else ""
    if stopped and len(shown.splitlines()) != 1 and "nbllm" in shown:  # else IPython's own code was stopped
        problems.append(f"more than one line: {shown}")
    if phase.has_text is False and not stopped:
        problems.append("was not stopped")
    close_s = _seen_close(server.requests[first:], pressed, problems)
    text = _kept(kernel, run, number, stopped, problems)
    _nothing_left(kernel, server, before, problems)
    _next_works(kernel, number, problems)
    return Outcome(phase.name, run.ename, len(text), ended - pressed, close_s, problems)


def _next_works(kernel: Kernel, number: int, problems: list[str]) -> None:
    again = kernel.run(f"r = %chat -m peer/short -c again{number} and now?", timeout_s=30)
    if not again.ok or kernel.value("str(r)") != "w0 w1 w2 ":
        problems.append(f"the next cell failed: {again.error}")


def _seen_close(requests: list[Connection], pressed: float, problems: list[str]) -> float | None:
    """The server saw the end of each unfinished answer."""
    latest = None
    for connection in requests:
        if connection.answered:
            continue
        if not connection.closed.wait(CLOSED_WITHIN_S + SLACK_S):
            if not connection.answered:
                problems.append("the server still waits for the close")
            continue
        assert connection.closed_at is not None
        latest = max(latest or 0.0, connection.closed_at - pressed)
    return latest


def _kept(kernel: Kernel, run: Run, number: int, stopped: bool, problems: list[str]) -> str:
    """What arrived is on the screen, in the variable and in the store: the same text."""
    bound = kernel.value(f"(str(r{number}), r{number}.finish_reason.value) if 'r{number}' in globals() else None")
    stored = kernel.value(
        f"[m.text for m in nbllm.conversation('c{number}').messages] if 'c{number}' in nbllm.workspace()."
        "conversations.names() else []"
    )
    text = bound[0] if bound else ""
    if run.text != text:
        problems.append(f"on the screen {run.text[-40:]!r}, bound {text[-40:]!r}")
    if text and stored != [f"hello {number}", text]:
        problems.append(f"stored {[s[-40:] for s in stored]}")
    if text and bound:
        # Stopped while a complete answer was stored or drawn, it is complete all the same.
        complete = bound[1] == "stop"
        if (not stopped and not complete) or (complete and text.split()[-1] not in ("w2", "w299", "w19999")):
            problems.append(f"finish reason {bound[1]} after {text[-40:]!r}")
        if run.facts.get("finish_reason") != bound[1]:
            problems.append(f"metadata {run.facts}")
    return text


def _nothing_left(kernel: Kernel, server: Server, before: list[str], problems: list[str]) -> None:
    port = int(server.url.split(":")[2].split("/")[0])
    deadline = time.monotonic() + 5
    while True:
        left = json.loads(kernel.value(f"left_open({port})"))
        threads = Counter(t for t in left["threads"] if t not in _IDLE) - Counter(before)
        if not left["tasks"] and left["sockets"] <= 1 and not threads:
            return
        if time.monotonic() > deadline:
            problems.append(f"left open: {left}")
            return
        time.sleep(0.1)


_IDLE = tuple(f"asyncio_{n}" for n in range(32))
"""The loop's own pool, which keeps its threads for the next question."""


def _moments(count: int, seed: int) -> list[tuple[Phase, float]]:
    rng = random.Random(seed)
    phases = [PHASES[i % len(PHASES)] for i in range(count)]
    return [(p, rng.uniform(p.earliest_s, p.latest_s)) for p in phases]


@pytest.mark.campaign
@pytest.mark.timeout(1800)
def test_a_chat_can_be_stopped_at_any_moment(stage: tuple[Kernel, Server], campaign: bool) -> None:
    kernel, server = stage
    count = CAMPAIGN if campaign else DEFAULT
    before = json.loads(kernel.value("left_open(0)"))
    outcomes = [
        _examine(phase, delay_s, kernel, server, n, before["threads"])
        for n, (phase, delay_s) in enumerate(_moments(count, int(os.environ.get("SEED", "2"))))
    ]
    after = json.loads(kernel.value("left_open(0)"))
    if report := os.environ.get("INTERRUPT_REPORT"):
        Path(report).write_text(json.dumps([o.__dict__ for o in outcomes], indent=1))
    assert [(o.phase, o.problems) for o in outcomes if o.problems] == []
    assert len(after["threads"]) <= len(before["threads"]) + 2
    assert after["files"] <= before["files"] + 2
    assert sum(o.ename == KERNELS_OWN for o in outcomes) <= 1 + count // 20
    stopped = [o for o in outcomes if o.ename == "KeyboardInterrupt"]
    assert len(stopped) >= count // 2
    if campaign:
        assert {o.phase for o in stopped} == {p.name for p in PHASES}


def test_the_rest_of_the_notebook_does_not_run_after_a_stop(stage: tuple[Kernel, Server]) -> None:
    kernel, server = stage
    first = kernel.start("%%chat peer/head\nhello")
    second = kernel.start("ran = True")
    with server.came:
        assert server.came.wait_for(lambda: server.requests[-1].model == "head", 20)
    time.sleep(0.2)
    kernel.interrupt()
    stopped = kernel.finish(first)
    assert stopped.ename == "KeyboardInterrupt", stopped.error
    with contextlib.suppress(AssertionError):
        assert kernel.finish(second, timeout_s=10).reply["content"]["status"] == "aborted"
    assert kernel.value("'ran' in globals()") is False


def test_an_awaited_chat_can_be_stopped_too(stage: tuple[Kernel, Server]) -> None:
    kernel, server = stage
    cell = kernel.start("await nbllm.achat('hello', model='peer/head')")
    with server.came:
        assert server.came.wait_for(lambda: server.requests[-1].model == "head", 20)
    time.sleep(0.2)
    kernel.interrupt()
    assert kernel.finish(cell).ename in ("KeyboardInterrupt", "CancelledError")
    assert server.requests[-1].closed.wait(CLOSED_WITHIN_S + SLACK_S)


def test_the_control_finds_what_is_left_open(stage: tuple[Kernel, Server]) -> None:
    """A task that nobody ends, a socket that nobody closes and a thread: the search must see all three."""
    kernel, server = stage
    port = int(server.url.split(":")[2].split("/")[0])
    before = json.loads(kernel.value("left_open(0)"))["threads"]
    kernel.run(f"""
async def forever():
    await asyncio.sleep(1000)
_lost = aio.submit(forever())
_sockets = [socket.create_connection(("127.0.0.1", {port})) for _ in range(2)]
threading.Thread(target=lambda: __import__("time").sleep(1000), name="nbllm-lost", daemon=True).start()
""")
    problems: list[str] = []
    _nothing_left(kernel, server, before, problems)
    assert problems
    left: dict[str, Any] = json.loads(kernel.value(f"left_open({port})"))
    assert any("forever" in t for t in left["tasks"])
    assert left["sockets"] >= 2
