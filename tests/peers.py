"""Real servers on this machine: llama.cpp with tiny random models, and a mock with scripted faults.

They belong to the folder `peers` beside the recorded data; a clone without it skips. They are used when they are up
(`up.py status`; PEERS_HOME and PEERS_PORT_SHIFT say which set), and started when NBLLM_PEERS=1.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

REQUIRED = os.environ.get("NBLLM_SHARED_REQUIRED") == "1"
STARTS = os.environ.get("NBLLM_PEERS") == "1"
"""Read now: during a test the fixture `home` has taken NBLLM_ variables out of the environment."""

_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def _up(script: Path, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, str(script), *words], capture_output=True, text=True, timeout=170, check=True
    )
    return done.stdout


def _running(script: Path) -> dict[str, dict[str, Any]]:
    return {peer["name"]: peer for peer in json.loads(_up(script, "status", "--json")) if peer["up"]}


@pytest.fixture(scope="session")
def peers(shared: Path) -> Iterator[dict[str, dict[str, Any]]]:
    """Name to what `up.py status` says: `openai`, `anthropic`, `gemini` (base URLs), `key`, `model`."""
    script = shared / "peers" / "up.py"
    before = _running(script) if script.is_file() else {}
    if STARTS and script.is_file() and len(before) < 4:
        _up(script, "install")
        _up(script, "start")
    found = _running(script) if script.is_file() else {}
    if not found:
        missing = "the real servers are not up: start them with `up.py start`, or set NBLLM_PEERS=1"
        if os.environ.get("CI") and REQUIRED:
            pytest.fail(missing)
        pytest.skip(missing)
    yield found
    if found.keys() != before.keys():
        _up(script, "stop")


class Llmock:
    """The mock's script and record. Both are global to the server: reset before each test."""

    def __init__(self, peer: dict[str, Any]) -> None:
        self._base = peer["openai"].removesuffix("/v1")

    def reset(self) -> None:
        """Forget script and record."""
        self._ask("reset", {})

    def script(self, *behaviors: dict[str, Any]) -> None:
        """Each is used up by one request."""
        self._ask("scenario", {"behaviors": list(behaviors)})

    def verdict(self) -> dict[str, Any]:
        """What the server thinks of its client."""
        found: dict[str, Any] = self._ask("verdict", None)
        return found

    def _ask(self, path: str, payload: Any) -> Any:
        data = None if payload is None else json.dumps(payload).encode()
        request = urllib.request.Request(f"{self._base}/_llmock/{path}", data, {"content-type": "application/json"})
        with _DIRECT.open(request, timeout=5) as response:
            return json.loads(response.read() or b"null")


@pytest.fixture
def llmock(peers: dict[str, dict[str, Any]]) -> Iterator[Llmock]:
    """The mock, with an empty script and record."""
    if "llmock" not in peers:
        pytest.skip("llmock is not up")
    mock = Llmock(peers["llmock"])
    mock.reset()
    yield mock
    mock.reset()
