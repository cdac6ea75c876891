"""IPython in this process, for what needs no kernel: quick, and without a front end.

with loaded(says("hello")) as (shell, server):
    shell.run("%chat -m peer/m hi").value
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from traitlets.config import Config

import nbllm
from wire_server import Plan, WireServer


@dataclass(frozen=True)
class Done:
    """What a cell gave."""

    value: Any
    error: BaseException | None
    out: str
    err: str


class Shell:
    """A shell that takes cells as people type them."""

    def __init__(self, ip: InteractiveShell) -> None:
        self.ip = ip

    @property
    def names(self) -> dict[str, Any]:
        """The notebook's variables."""
        names: dict[str, Any] = self.ip.user_ns
        return names

    def run(self, code: str) -> Done:
        """Run a cell."""
        with capture_output(display=False) as caught:
            result = self.ip.run_cell(code, store_history=True)
        return Done(result.result, result.error_before_exec or result.error_in_exec, caught.stdout, caught.stderr)

    def good(self, code: str) -> Done:
        """Run a cell that must not fail."""
        done = self.run(code)
        assert done.error is None, repr(done.error)
        return done

    def fails(self, code: str) -> nbllm.errors.NbllmError:
        """Run a cell that must fail with one of our errors."""
        error = self.run(code).error
        assert isinstance(error, nbllm.errors.NbllmError), repr(error)
        return error


@contextmanager
def bare() -> Iterator[Shell]:
    """A shell without nbllm. One at a time: IPython knows one shell in a process."""
    config = Config()
    config.HistoryManager.enabled = False
    config.InteractiveShell.colors = "nocolor"
    config.InteractiveShell.cache_size = 1000
    InteractiveShell.clear_instance()
    ip = InteractiveShell.instance(config=config)
    try:
        yield Shell(ip)
    finally:
        InteractiveShell.clear_instance()


@contextmanager
def loaded(*plans: Plan, **fields: Any) -> Iterator[tuple[Shell, WireServer]]:
    """A shell with nbllm and the provider `peer`, whose server follows the plans, one a request."""
    with bare() as shell, WireServer(list(plans)) as server:
        shell.good("%load_ext nbllm")
        row = {"base_url": server.url, "kind": "openai", "auth": "none", **fields}
        nbllm.workspace().registry.set_session("peer", **row)
        try:
            yield shell, server
        finally:
            shell.run("%unload_ext nbllm")
