"""Model files on this machine, each served by a child process of its own.

A crash in the engine's C++ must not take the kernel, and an interrupt must end one answer and not the model, so the
engine runs beside the kernel and is spoken to as any other server, on a loopback port with a random key. It starts on
first use, ends with this process however that ends, and is started again after a crash.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import importlib.util
import json
import os
import re
import secrets
import subprocess
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from nbllm.aio import on_fork
from nbllm.credentials.secret import Secret
from nbllm.errors import RegistryError, SettingsError, UnreachableError
from nbllm.foreign import one_line
from nbllm.local import serve
from nbllm.local.gguf import ModelFile, read_head
from nbllm.providers.spec import ModelInfo, ProviderConfig

CONTEXT_CAP = 8192
"""Tokens of context for a request unless the row says otherwise: long contexts cost memory when they are reserved."""
_STOP_S = 2.0
_PATIENCE_S = 0.5
_KEPT_LINES = 200
_PART_OF_SPLIT = re.compile(r"-\d{5}-of-\d{5}$")

_ENV_NAMES = frozenset((
    "PATH", "HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "TMPDIR", "TEMP", "TMP", "SYSTEMROOT", "SYSTEMDRIVE",
    "WINDIR", "COMSPEC", "USERPROFILE", "APPDATA", "LOCALAPPDATA", "PROGRAMDATA", "PROGRAMFILES", "VIRTUAL_ENV",
    "CONDA_PREFIX", "LD_LIBRARY_PATH", "LD_PRELOAD", "DYLD_LIBRARY_PATH",
))  # fmt: skip
_ENV_PREFIXES = (
    "PYTHON", "LC_", "CUDA", "NVIDIA_", "GGML_", "OMP_", "KMP_", "GOMP_", "OPENBLAS_", "MKL_", "HIP_", "ROCR_",
    "ROCM_", "HSA_", "GPU_", "VK_", "ZE_", "ONEAPI_", "SYCL_", "XDG_CACHE",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Spec:
    """All that decides how a child is started: another spec, another child."""

    path: Path
    alias: str
    context: int
    parallel: int
    threads: int | None
    gpu_layers: int | None


class LocalServers:
    """The children that serve model files. Each kernel has its own.

    Args:
        python: The interpreter that runs a child.
    """

    def __init__(self, *, python: str = sys.executable) -> None:
        self._python = python
        self._children: dict[str, _Child] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        _call_weakly(self._forget, on_fork)
        _call_weakly(self.close, atexit.register)

    async def endpoint_url(self, provider: ProviderConfig) -> tuple[str, Secret]:
        """Where the row's model is served, and the key for it; starts the child when it does not run.

        Returns:
            The base URL for the row's kind (with `/v1` for `openai`) and the key, which nothing else knows.

        Raises:
            RegistryError: The row has no model file, or the file is none.
            SettingsError: The extra `local` is not installed.
            UnreachableError: The child did not come up; the message is the engine's own reason.
        """
        spec = _spec(provider)
        # A lock an id: two cells at once start one child, and two models load side by side.
        async with self._locks.setdefault(provider.id, asyncio.Lock()):
            child = self._children.get(provider.id)
            if child is None or child.spec != spec or not await child.answers():
                self._children.pop(provider.id, None)
                if child is not None:
                    await asyncio.to_thread(child.kill)
                child = await self._start(provider, spec)
                self._children[provider.id] = child
        return child.url + ("/v1" if provider.kind == "openai" else ""), child.key

    async def serve(self, provider: ProviderConfig) -> tuple[ProviderConfig, Secret]:
        """The row as it counts while its child runs: with the address and bearer authentication. See `endpoint_url`."""
        base_url, key = await self.endpoint_url(provider)
        return provider.model_copy(update={"base_url": base_url, "auth": "bearer", "models_url": None}), key

    async def _start(self, provider: ProviderConfig, spec: _Spec) -> _Child:
        package = importlib.util.find_spec("xllamacpp")
        if package is None or package.origin is None:
            raise SettingsError(
                f"{provider.id} serves a model file, and the engine for that is not installed",
                hint='pip install "nbllm[local]"',
            )
        child = _Child(spec, self._python, Path(package.origin).parent.parent)
        try:
            await child.wait(provider)
        except BaseException:  # an interrupt while a large model loads must not leave it loading
            child.kill()
            raise
        return child

    def crash_report(self, provider_id: str) -> str | None:
        """Why the child of this provider ended without being told to; None when it runs or never did."""
        child = self._children.get(provider_id)
        return None if child is None or child.is_alive() else child.reason()

    def running(self) -> dict[str, int]:
        """Provider id to process id of the children that run."""
        return {id: c.pid for id, c in self._children.items() if c.is_alive()}

    def close(self) -> None:
        """Stop every child; at most about two seconds. From any thread, and more than once."""
        children, self._children = list(self._children.values()), {}
        for child in children:
            child.ask_to_stop()
        for child in children:
            child.stop()

    def _forget(self) -> None:
        """In a forked process the children are the parent's: let go of the pipes that keep them alive."""
        for child in self._children.values():
            child.let_go()
        self._children, self._locks = {}, {}


def model_id(path: Path) -> str:
    """The id under which a model file is served: its name without `.gguf` and without the number of a split."""
    return _PART_OF_SPLIT.sub("", path.stem) or "model"


def offered(provider: ProviderConfig) -> list[ModelInfo]:
    """The model of a row with `gguf`, read from the file; no server is started.

    Raises:
        RegistryError: The row has no model file, or the file is none.
    """
    path = _path(provider)
    head = read_head(path)
    source = {"id": path.name, "context": path.name}
    context = _context(provider, head)
    return [ModelInfo(provider.id, model_id(path), name=head.name, type="chat", context=context, sources=source)]


def _path(provider: ProviderConfig) -> Path:
    if not provider.gguf:
        raise RegistryError(f"{provider.id} has no model file", hint="add one with `%llm_providers add ID --gguf PATH`")
    return Path(provider.gguf).expanduser().absolute()


def _context(provider: ProviderConfig, head: ModelFile) -> int:
    return provider.serve.context or min(head.context or CONTEXT_CAP, CONTEXT_CAP)


def _spec(provider: ProviderConfig) -> _Spec:
    path = _path(provider)
    return _Spec(
        path=path,
        alias=model_id(path),
        context=_context(provider, read_head(path)),
        parallel=provider.serve.parallel,
        threads=provider.serve.threads,
        gpu_layers=provider.serve.gpu_layers,
    )


class _Child:
    """One process with one model. `wait` before use."""

    def __init__(self, spec: _Spec, python: str, package_folder: Path) -> None:
        self.spec = spec
        self.key = Secret(secrets.token_urlsafe(32), source="this kernel's own server")
        self.url = ""
        self._error: str | None = None
        self._ready = threading.Event()
        self._words: deque[str] = deque(maxlen=_KEPT_LINES)
        self._process = _popen([python, "-P", serve.__file__])
        self.pid = self._process.pid
        self._readers = [self._read(self._listen, self._process.stdout), self._read(self._keep, self._process.stderr)]
        self._send(package_folder)

    def _send(self, package_folder: Path) -> None:
        spec = self.spec
        settings = {
            "parent": os.getpid(), "package_folder": str(package_folder), "key": self.key.reveal(),
            "path": str(spec.path), "alias": spec.alias, "context": spec.context, "parallel": spec.parallel,
            "threads": spec.threads, "gpu_layers": spec.gpu_layers,
        }  # fmt: skip
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):  # it is gone already; `wait` tells why
            self._process.stdin.write(json.dumps(settings).encode() + b"\n")
            self._process.stdin.flush()

    def _read(self, take: Callable[[str], None], pipe: IO[bytes] | None) -> threading.Thread:
        assert pipe is not None
        thread = threading.Thread(target=_drain, args=(pipe, take, self._ready), name="nbllm-local", daemon=True)
        thread.start()
        return thread

    def _listen(self, line: str) -> None:
        if line.startswith(serve.MARK):
            said = json.loads(line.removeprefix(serve.MARK))
            self.url, self._error = said.get("url", ""), said.get("error")
            self._ready.set()

    def _keep(self, line: str) -> None:
        if line.strip():
            self._words.append(line)

    async def wait(self, provider: ProviderConfig) -> None:
        """Until it listens.

        Raises:
            UnreachableError: It ended, or took too long.
        """
        deadline = time.monotonic() + provider.serve.startup_s
        while not self._ready.is_set() and time.monotonic() < deadline:  # noqa: ASYNC110  (set by a plain thread)
            await asyncio.sleep(0.01)
        if self.url and self.is_alive():
            return
        if not self._ready.is_set():
            self.kill()
            raise UnreachableError(
                f"{self.spec.path.name} was not loaded within {provider.serve.startup_s:g} s",
                hint=f"give it longer: startup_s in [providers.{provider.id}.serve]",
                phase="timeout",
                provider=provider.id,
            )
        for reader in self._readers:
            await asyncio.to_thread(reader.join, _STOP_S)
        raise UnreachableError(
            f"{self.spec.path.name} cannot be served: {self.reason()}",
            hint="check the file: fetch it again, or try another quantisation",
            phase="connect",
            provider=provider.id,
            retryable=False,
        )

    def reason(self) -> str:
        """The engine's own words for why it ended, on one line."""
        for word in self._words:
            if "error loading model:" in word:
                return one_line(word.partition("error loading model:")[2])
        with contextlib.suppress(subprocess.TimeoutExpired):  # it may be about to end
            self._process.wait(_STOP_S)
        status = self._process.poll()
        if status is not None and status < 0:
            return f"the engine was ended by signal {-status}"
        last = next((w for w in reversed(self._words) if not w.startswith(" ")), None)
        return one_line(last or self._error or f"the engine ended with status {status}")

    def is_alive(self) -> bool:
        """Whether it runs. One that is being killed looks alive for some milliseconds more: see `answers`."""
        return self._process.poll() is None

    async def answers(self) -> bool:
        """Whether it is there to be asked: it runs, and does not hang up on who connects.

        After a crash the connections break before the process is gone, in an order of the kernel's own, so neither
        `poll` nor a connection that stands is proof. A server that is too busy to answer in time counts as there.
        """
        if not self.is_alive():
            return False
        try:
            async with asyncio.timeout(_PATIENCE_S):
                return await self._health()
        except TimeoutError:
            return True
        except OSError:
            return False

    async def _health(self) -> bool:
        reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(self.url).port)
        try:
            writer.write(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
            return bool(await reader.read(1))
        finally:
            writer.transport.abort()

    def ask_to_stop(self) -> None:
        """Close its standard input, which is the order to end."""
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()

    def stop(self) -> None:
        """Stop it, and wait until it is gone."""
        self.ask_to_stop()
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End it at once."""
        self.ask_to_stop()
        self._process.kill()
        self._process.wait()

    def let_go(self) -> None:
        """Forget it without ending it: it belongs to the process that this one was forked from."""
        self.ask_to_stop()
        self._process.returncode = 0  # ours to wait for it is not


def _drain(pipe: IO[bytes], take: Callable[[str], None], ended: threading.Event) -> None:
    with pipe, contextlib.suppress(ValueError):  # closed under us
        for line in pipe:
            take(line.decode(errors="replace").rstrip())
    ended.set()


def _popen(command: list[str]) -> subprocess.Popen[bytes]:
    """The child, away from the terminal's signals and with an environment that holds no keys.

    On Linux it ends with the *thread* that starts it (PR_SET_PDEATHSIG), so this runs on the background loop's.
    """
    flags = 0
    if sys.platform == "win32":
        flags = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW
    return subprocess.Popen(  # noqa: S603  (our own file, by our own interpreter)
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=_environment(os.environ),
        start_new_session=os.name == "posix",
        creationflags=flags,
    )


def _environment(environ: Mapping[str, str]) -> dict[str, str]:
    return {k: v for k, v in environ.items() if k.upper() in _ENV_NAMES or k.upper().startswith(_ENV_PREFIXES)}


def _call_weakly(method: Callable[[], None], register: Callable[[Callable[[], None]], object]) -> None:
    """Register a method without keeping its object alive."""
    reference = weakref.WeakMethod(method)

    def call() -> None:
        bound = reference()
        if bound is not None:
            bound()

    register(call)
