"""A model file served by a child process: real engine, tiny model."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

import tiny_gguf
from nbllm import aio
from nbllm.credentials.secret import Secret
from nbllm.errors import RegistryError, SettingsError, UnreachableError
from nbllm.local.servers import LocalServers
from nbllm.providers.spec import ProviderConfig

SRC = Path(__file__).resolve().parents[3] / "src"


@pytest.fixture
def row(tmp_path: Path) -> ProviderConfig:
    return ProviderConfig(id="mine", gguf=str(tiny_gguf.write(tmp_path / "tiny.gguf")))


@pytest.fixture
def servers() -> Iterator[LocalServers]:
    kept = LocalServers()
    yield kept
    kept.close()


def ask(url: str, key: Secret | None, *, path: str = "/models", body: object = None) -> tuple[int, bytes]:
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key.reveal()}"} if key else {})
    data = None if body is None else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(url + path, data, headers), timeout=20) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as exc:
        return exc.code, exc.read()


def is_gone(pid: int, *, within_s: float = 2.0) -> bool:
    """Whether the process ends within the time; one that only waits to be reaped has ended."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.02)
    return False


def test_a_file_is_served_with_a_key_on_loopback(servers: LocalServers, row: ProviderConfig) -> None:
    url, key = aio.run(servers.endpoint_url(row))

    assert url.startswith("http://127.0.0.1:")
    assert url.endswith("/v1")
    status, body = ask(url, key)
    assert status == 200
    assert [m["id"] for m in json.loads(body)["data"]] == ["tiny"]
    assert ask(url, None)[0] == 401
    assert ask(url, Secret("another-key"))[0] == 401


def test_an_anthropic_row_gets_the_bare_origin(servers: LocalServers, row: ProviderConfig) -> None:
    served, _ = aio.run(servers.serve(row.model_copy(update={"kind": "anthropic"})))

    assert not served.base_url.endswith("/v1")
    assert served.auth == "bearer"


def test_it_answers_a_chat(servers: LocalServers, row: ProviderConfig) -> None:
    url, key = aio.run(servers.endpoint_url(row))
    body = {"model": "tiny", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 5}

    status, answer = ask(url, key, path="/chat/completions", body=body)

    assert status == 200
    assert json.loads(answer)["usage"]["completion_tokens"] <= 5


def test_the_context_is_for_each_request(servers: LocalServers, row: ProviderConfig) -> None:
    """llama.cpp divides its context among the slots; the row's number must not be."""
    row = ProviderConfig.model_validate({"id": "mine", "gguf": row.gguf, "serve": {"context": 512, "parallel": 4}})
    url, key = aio.run(servers.endpoint_url(row))
    body = {"model": "tiny", "messages": [{"role": "user", "content": "x" * 400}], "max_tokens": 2}

    assert ask(url, key, path="/chat/completions", body=body)[0] == 200


def test_asking_twice_at_once_starts_one_child(servers: LocalServers, row: ProviderConfig) -> None:
    async def both() -> list[tuple[str, Secret]]:
        return await asyncio.gather(servers.endpoint_url(row), servers.endpoint_url(row))

    first, second = aio.run(both())

    assert first[0] == second[0]
    assert len(servers.running()) == 1


def test_two_kernels_have_a_server_each(servers: LocalServers, row: ProviderConfig) -> None:
    other = LocalServers()
    try:
        assert aio.run(servers.endpoint_url(row))[0] != aio.run(other.endpoint_url(row))[0]
    finally:
        other.close()


def test_the_key_is_in_no_argument_and_no_environment(
    servers: LocalServers, row: ProviderConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-user")
    monkeypatch.setenv("NBLLM_VAULT_PASSPHRASE", "pass-of-the-user")

    _, key = aio.run(servers.endpoint_url(row))

    [pid] = servers.running().values()
    seen = Path(f"/proc/{pid}/cmdline").read_bytes() + Path(f"/proc/{pid}/environ").read_bytes()
    assert key.reveal().encode() not in seen
    assert b"of-the-user" not in seen


def test_a_crash_is_reported_and_the_next_use_starts_anew(servers: LocalServers, row: ProviderConfig) -> None:
    url, _ = aio.run(servers.endpoint_url(row))
    [pid] = servers.running().values()

    os.kill(pid, signal.SIGKILL)

    while servers.running():  # the process is marked as gone a little later than it is killed
        time.sleep(0.01)
    assert servers.crash_report("mine") == "the engine was ended by signal 9"
    again, key = aio.run(servers.endpoint_url(row))
    assert again != url
    assert ask(again, key)[0] == 200
    assert servers.crash_report("mine") is None


def test_close_leaves_no_process(row: ProviderConfig) -> None:
    servers = LocalServers()
    aio.run(servers.endpoint_url(row))
    [pid] = servers.running().values()

    servers.close()
    servers.close()

    assert servers.running() == {}
    assert not Path(f"/proc/{pid}").exists()


def test_an_interrupt_of_the_kernel_does_not_end_the_model(servers: LocalServers, row: ProviderConfig) -> None:
    url, key = aio.run(servers.endpoint_url(row))
    [pid] = servers.running().values()

    os.kill(pid, signal.SIGINT)

    assert os.getpgid(pid) != os.getpgid(0)
    assert not is_gone(pid, within_s=0.2)
    assert ask(url, key)[0] == 200


@pytest.mark.parametrize("how", ["kill", "exit", "fork-holds-the-pipe"])
def test_the_model_ends_with_its_kernel(row: ProviderConfig, how: str) -> None:
    """Also after kill -9, and also when a fork of the kernel lives on and holds the child's standard input open."""
    script = (
        "import ctypes, os, sys, time\n"
        "from nbllm import aio\n"
        "from nbllm.local.servers import LocalServers\n"
        "from nbllm.providers.spec import ProviderConfig\n"
        "servers = LocalServers()\n"
        f"aio.run(servers.endpoint_url(ProviderConfig(id='mine', gguf={row.gguf!r})))\n"
        f"how = {how!r}\n"
        "libc = ctypes.PyDLL(None)\n"
        "if how == 'fork-holds-the-pipe' and libc.fork() == 0:\n"  # as C libraries fork: without Python's hooks
        "    libc.close(1), libc.close(2), libc.sleep(5), libc._exit(0)\n"
        "print(servers.running()['mine'], flush=True)\n"
        "if how != 'exit':\n"
        "    time.sleep(60)\n"
    )
    environ = {**os.environ, "PYTHONPATH": str(SRC)}
    kernel = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, env=environ, text=True)
    assert kernel.stdout is not None
    with kernel.stdout:
        pid = int(kernel.stdout.readline())
        if how != "exit":
            kernel.kill()
        kernel.wait(20)

    assert is_gone(pid)


def test_a_forked_process_leaves_the_parents_model_alone(servers: LocalServers, row: ProviderConfig) -> None:
    url, key = aio.run(servers.endpoint_url(row))

    child = os.fork()
    if child == 0:
        servers.close()
        os._exit(len(servers.running()))
    assert os.waitpid(child, 0)[1] == 0

    assert ask(url, key)[0] == 200


def test_a_damaged_file_gives_the_engines_reason_on_one_line(servers: LocalServers, tmp_path: Path) -> None:
    whole = tiny_gguf.write(tmp_path / "whole.gguf").read_bytes()
    (tmp_path / "cut.gguf").write_bytes(whole[:200_000])

    with pytest.raises(UnreachableError) as caught:
        aio.run(servers.endpoint_url(ProviderConfig(id="mine", gguf=str(tmp_path / "cut.gguf"))))

    assert caught.value.message.startswith("cut.gguf cannot be served: tensor ")
    assert caught.value.phase == "connect"
    assert not caught.value.retryable
    assert servers.running() == {}


def test_a_load_that_takes_too_long_is_ended(servers: LocalServers, row: ProviderConfig) -> None:
    row = ProviderConfig.model_validate({"id": "mine", "gguf": row.gguf, "serve": {"startup_s": 0.001}})

    with pytest.raises(UnreachableError, match="not loaded within") as caught:
        aio.run(servers.endpoint_url(row))

    assert caught.value.phase == "timeout"
    assert servers.running() == {}


def test_an_interrupted_load_leaves_no_process(row: ProviderConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    servers = LocalServers()
    started: list[int] = []
    popen = subprocess.Popen

    def recorded(*args: object, **kwargs: object) -> object:
        process = popen(*args, **kwargs)  # type: ignore[call-overload]
        started.append(process.pid)
        return process

    async def interrupted() -> None:
        task = asyncio.create_task(servers.endpoint_url(row))
        while not started:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    monkeypatch.setattr(subprocess, "Popen", recorded)
    aio.run(interrupted())

    assert is_gone(started[0])


def test_a_changed_row_gets_a_new_server(servers: LocalServers, row: ProviderConfig) -> None:
    first, _ = aio.run(servers.endpoint_url(row))
    changed = ProviderConfig.model_validate({"id": "mine", "gguf": row.gguf, "serve": {"context": 128}})

    second, _ = aio.run(servers.endpoint_url(changed))

    assert first != second
    assert len(servers.running()) == 1


def test_without_the_extra_the_hint_is_the_command(
    servers: LocalServers, row: ProviderConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)

    with pytest.raises(SettingsError) as caught:
        aio.run(servers.endpoint_url(row))

    assert caught.value.hint == 'pip install "nbllm[local]"'


def test_a_row_without_a_file_is_refused(servers: LocalServers) -> None:
    with pytest.raises(RegistryError, match="has no model file"):
        aio.run(servers.endpoint_url(ProviderConfig(id="mine")))
