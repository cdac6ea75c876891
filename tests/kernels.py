"""A real kernel as a front end drives it: cells with ids, hidden prompts that are answered, interrupts.

with Kernel() as kernel:
    kernel.run("%load_ext nbllm")
    run = kernel.run("%%chat demo/echo\nhello", cell_id="c1")
    run.text, run.ename, run.outputs
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from jupyter_client.manager import KernelManager

SRC = str(Path(__file__).resolve().parents[1] / "src")
TESTS = str(Path(__file__).resolve().parent)
_QUIET = ("status", "execute_input")

Message = dict[str, Any]


@dataclass
class Run:
    """What one cell gave."""

    reply: Message
    messages: list[Message] = field(default_factory=list)
    """Everything on IOPub that belongs to the cell, in order."""
    prompts: list[tuple[str, bool]] = field(default_factory=list)
    """Questions on stdin, and whether they were hidden."""

    @property
    def ok(self) -> bool:
        return bool(self.reply["content"]["status"] == "ok")

    @property
    def error(self) -> Message | None:
        """The content of the `error` output."""
        return next((m["content"] for m in self.messages if m["msg_type"] == "error"), None)

    @property
    def ename(self) -> str | None:
        return self.error["ename"] if self.error else None

    @property
    def evalue(self) -> str:
        return str(self.error["evalue"]) if self.error else ""

    def stream(self, name: str) -> str:
        """Text on stdout or stderr."""
        return "".join(
            m["content"]["text"] for m in self.messages if m["msg_type"] == "stream" and m["content"]["name"] == name
        )

    @property
    def outputs(self) -> list[Message]:
        """Displays and results as a front end keeps them: an update takes the place of what it updates."""
        kept: list[Message] = []
        by_id: dict[str, int] = {}
        for message in self.messages:
            content = message["content"]
            display_id = content.get("transient", {}).get("display_id")
            if message["msg_type"] == "update_display_data" and display_id in by_id:
                kept[by_id[display_id]] = content
            elif message["msg_type"] in ("display_data", "execute_result"):
                if display_id:
                    by_id[display_id] = len(kept)
                kept.append(content)
        return kept

    @property
    def text(self) -> str:
        """The text of the last display."""
        return str(self.outputs[-1]["data"]["text/plain"]) if self.outputs else ""

    @property
    def facts(self) -> dict[str, Any]:
        """The provenance in the metadata of the last display."""
        found: dict[str, Any] = self.outputs[-1]["metadata"]["nbllm"]
        return found

    @property
    def printed(self) -> str:
        return self.stream("stdout").strip()

    @property
    def payload(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.reply["content"].get("payload", [])
        return found


class Kernel:
    """A kernel in a process of its own; a context manager.

    Args:
        environ: Variables beside those of this process.
        answers: What is typed at prompts, in order.
        folder: Where it runs.
        process_log: Takes what the process itself writes; None: as this process.
    """

    def __init__(
        self,
        environ: Mapping[str, str] | None = None,
        *,
        answers: Sequence[str] = (),
        folder: Path | None = None,
        process_log: IO[bytes] | None = None,
    ) -> None:
        # A kernel under pytest would take itself for nbval's.
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
        self.environ = {**inherited, "PYTHONPATH": os.pathsep.join((SRC, TESTS)), **(environ or {})}
        self.answers = list(answers)
        self.log: list[Message] = []
        """Every message on IOPub, of all cells."""
        self._manager = KernelManager(kernel_name="python3")
        self.folder = folder or Path.cwd()
        self._process_log = process_log

    def __enter__(self) -> Kernel:
        streams = {"stdout": self._process_log, "stderr": self._process_log} if self._process_log else {}
        self._manager.start_kernel(env=self.environ, cwd=str(self.folder), **streams)
        self.client = self._manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)
        return self

    def __exit__(self, *exc: object) -> None:
        self.client.stop_channels()
        self._manager.shutdown_kernel(now=True)

    def start(self, code: str, *, cell_id: str | None = None, stdin: bool = True) -> str:
        """Send a cell, and do not wait. Its message id, for `finish`."""
        content = {
            "code": code, "silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": stdin,
            "stop_on_error": True,
        }  # fmt: skip
        message = self.client.session.msg("execute_request", content, metadata={"cellId": cell_id} if cell_id else {})
        self.client.shell_channel.send(message)
        return str(message["header"]["msg_id"])

    def finish(self, msg_id: str, *, timeout_s: float = 60.0) -> Run:
        """Wait for a cell that was started."""
        run = Run({})
        deadline = time.monotonic() + timeout_s
        idle = False
        while not idle or not run.reply:
            assert time.monotonic() < deadline, f"the cell did not end: {[m['content'] for m in run.messages][-3:]}"
            idle = self._take_published(run, msg_id) or idle
            self._answer(run)
            if not run.reply and self.client.shell_channel.msg_ready():
                reply = self.client.get_shell_msg(timeout=1)
                if reply["parent_header"].get("msg_id") == msg_id:
                    run.reply = reply
        return run

    def _take_published(self, run: Run, msg_id: str) -> bool:
        if not self.client.iopub_channel.socket.poll(20):
            return False
        message = self.client.get_iopub_msg(timeout=1)
        self.log.append(message)
        if message["parent_header"].get("msg_id") != msg_id:
            return False
        if message["msg_type"] == "status":
            return bool(message["content"]["execution_state"] == "idle")
        if message["msg_type"] not in _QUIET:
            run.messages.append(message)
        return False

    def _answer(self, run: Run) -> None:
        if self.client.stdin_channel.msg_ready():
            asked = self.client.get_stdin_msg(timeout=1)["content"]
            run.prompts.append((asked["prompt"], asked["password"]))
            self.client.input(self.answers.pop(0))

    def run(self, code: str, *, cell_id: str | None = None, stdin: bool = True, timeout_s: float = 60.0) -> Run:
        """Run a cell and wait for it."""
        return self.finish(self.start(code, cell_id=cell_id, stdin=stdin), timeout_s=timeout_s)

    def value(self, expression: str) -> Any:
        """The value of an expression that is a literal."""
        import ast

        run = self.run(f"print(repr({expression}))")
        assert run.ok, run.error
        return ast.literal_eval(run.printed)

    def complete(self, code: str, at: int | None = None) -> list[str]:
        """What Tab offers, whole words of the line."""
        self.client.complete(code, len(code) if at is None else at)
        while True:
            reply = self.client.get_shell_msg(timeout=30)
            if reply["msg_type"] == "complete_reply":
                content = reply["content"]
                return [code[: content["cursor_start"]] + m for m in content["matches"]]

    def interrupt(self) -> None:
        """As the stop button does."""
        self._manager.interrupt_kernel()

    def signal(self, number: int) -> None:
        """Send the process a signal."""
        self._manager.signal_kernel(number)


def peer(url: str, **fields: str) -> str:
    """A cell that defines the provider `peer` for the session."""
    extra = "".join(f", {k}={v!r}" for k, v in {"auth": "none", **fields}.items())
    return (
        "%load_ext nbllm\nimport nbllm\n"
        f"row = nbllm.workspace().registry.set_session('peer', base_url={url!r}, kind='openai'{extra})"
    )
