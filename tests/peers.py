"""Real servers on this machine: llama.cpp with tiny random models, and a mock with scripted faults.

They belong to the folder `peers` beside the recorded data; a clone without it skips. They are used when they are up
(`up.py status`; PEERS_HOME and PEERS_PORT_SHIFT say which set), and started when NBLLM_PEERS=1. With that, or with
NBLLM_SHARED_REQUIRED=1, a server that is missing fails the tests that need it.

The mock is a process of our own, since its script and record are global: nobody else's requests get into it.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

from nbllm.credentials.secret import Secret
from nbllm.workspace import Workspace

# Read now: during a test the fixture `home` has taken NBLLM_ variables out of the environment, and moved HOME, beneath
# which the servers' state is when PEERS_HOME does not say where.
SHARED = Path(os.environ.get("NBLLM_SHARED") or Path(__file__).resolve().parents[2] / "shared")
STARTS = os.environ.get("NBLLM_PEERS") == "1"
REQUIRED = STARTS or os.environ.get("NBLLM_SHARED_REQUIRED") == "1"
_ENVIRON = dict(os.environ)

_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
_MOCK_PORT = 18420

Peers = dict[str, dict[str, Any]]
"""Name to what `up.py status` says: `openai`, `anthropic`, `gemini` (base URLs), `key`, `model`."""


def _up(script: Path, *words: str, **environ: str) -> str:
    done = subprocess.run(
        [sys.executable, str(script), *words],
        capture_output=True,
        text=True,
        timeout=170,
        env=_ENVIRON | environ,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"`up.py {' '.join(words)}` failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def _running(script: Path, **environ: str) -> Peers:
    return {peer["name"]: peer for peer in json.loads(_up(script, "status", "--json", **environ)) if peer["up"]}


@pytest.fixture(scope="session")
def peers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peers]:
    """The servers that are up."""
    script = SHARED / "peers" / "up.py"
    if not script.is_file():
        _without("the real servers (folder peers beside the checkout) are not part of the project")
    before = _running(script)
    if STARTS and len(before) < 4:
        _up(script, "install")
        _up(script, "start")
    found = _running(script)
    if len(found) < 4:
        up = f"only {sorted(found)} of the real servers are up" if found else "the real servers are not up"
        _without(f"{up}: `python {script} start`, or NBLLM_PEERS=1")
    ours = {
        "PEERS_HOME": str(tmp_path_factory.mktemp("llmock")),
        "PEERS_PORT_SHIFT": str(_free_port() - _MOCK_PORT),
        # Else a whole answer has left the server before anybody could have hung up on its third piece.
        "LLMOCK_STREAM_CHUNK_DELAY_MS": "15",
    }
    Path(ours["PEERS_HOME"], "peers.json").write_text(json.dumps({"venv": _venv(script)}))
    _up(script, "start", "llmock", **ours)
    try:
        yield found | _running(script, **ours)
    finally:
        _up(script, "stop", "llmock", **ours)
        if found.keys() != before.keys():
            _up(script, "stop")


def _without(missing: str) -> NoReturn:
    if REQUIRED:
        pytest.fail(f"{missing}, and here they must be")
    pytest.skip(f"{missing}; the tests with hand-made servers ran")


def _venv(script: Path) -> str:
    """Where the servers are installed; only `up.py` itself knows."""
    code = "import runpy, sys; print(runpy.run_path(sys.argv[1])['venv_dir']())"
    return subprocess.run(
        [sys.executable, "-c", code, str(script)], capture_output=True, text=True, env=_ENVIRON, check=True
    ).stdout.strip()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def add_row(workspace: Workspace, peer: dict[str, Any], kind: str, *, key: str | None = None, **fields: Any) -> str:
    """A provider of this workspace that leads to the server; its key is in memory only. Its id."""
    base_url = fields.pop("base_url", peer[kind])
    name = fields.pop("id", f"{peer['name']}-{kind}")
    auth = {"anthropic": "x-api-key", "gemini": "x-goog-api-key"}.get(kind, "bearer")
    workspace.registry.set_session(name, base_url=base_url, kind=kind, auth=auth, **fields)
    workspace.save_key(name, Secret(key or peer["key"]), store="session")
    return name


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

    def notice(self) -> None:
        """Wait until the server has seen that its client hung up.

        A request that comes before that is no second attempt in its eyes, but another call.
        """
        self._ask("requests", None)  # answers when no request is open

    def verdict(self) -> dict[str, Any]:
        """What the server thinks of its client."""
        found: dict[str, Any] = self._ask("verdict", None)
        return found

    def complaints(self) -> str:
        """The verdict in words, for the message of an assertion; empty when there is no complaint."""
        findings = self.verdict()["findings"]
        return "\n".join(f"{f['code']} ({f['severity']}) {f['path']}: {f['title']}" for f in findings)

    def _ask(self, path: str, payload: Any) -> Any:
        data = None if payload is None else json.dumps(payload).encode()
        request = urllib.request.Request(f"{self._base}/_llmock/{path}", data, {"content-type": "application/json"})
        with _DIRECT.open(request, timeout=5) as response:
            return json.loads(response.read() or b"null")


@pytest.fixture
def llmock(peers: Peers) -> Iterator[Llmock]:
    """The mock, with an empty script and record."""
    mock = Llmock(peers["llmock"])
    mock.reset()
    yield mock
    mock.reset()
