"""Fixtures for all tests: a home of their own, no network but loopback, no key of the developer's."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from peers import REQUIRED, SHARED, llmock, peers

__all__ = ["llmock", "peers"]  # fixtures


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--campaign", action="store_true", help="run the slow campaigns in full")


def pytest_configure(config: pytest.Config) -> None:
    # A worker of pytest-xdist ignores Ctrl+C, as does what a shell starts in the background, and so would every process
    # that a test starts and interrupts.
    if hasattr(config, "workerinput") or signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


# How long an example takes is the machine's affair.
settings.register_profile("nbllm", settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("nbllm")

_SLOW = ("browser", "servers", "testing", "docs", "notebook", "cli")
"""Folders whose files take a minute or more."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What takes minutes and has no small form is not part of a run without --campaign; what takes long begins first.

    The latter for the workers of pytest-xdist only, so that in the end none is left alone with minutes of work.
    """
    if hasattr(config, "workerinput"):
        here = Path(__file__).parent
        place = {folder: number for number, folder in enumerate(_SLOW)}
        items.sort(key=lambda item: place.get(item.path.relative_to(here).parts[0], len(place)))
    if config.getoption("--campaign"):
        return
    left_out = [item for item in items if item.get_closest_marker("whole")]
    if left_out:
        items[:] = [item for item in items if not item.get_closest_marker("whole")]
        config.hook.pytest_deselected(items=left_out)


@pytest.fixture(scope="session")
def campaign(request: pytest.FixtureRequest) -> bool:
    """Whether the slow campaigns run in full."""
    return bool(request.config.getoption("--campaign"))


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh NBLLM_HOME, a HOME that is not the user's, and an environment without keys."""
    for name in list(os.environ):
        if name.endswith(("_API_KEY", "_API_KEY_FILE", "_BASE_URL", "_MODELS", "_TOKEN")) or name.startswith("NBLLM_"):
            monkeypatch.delenv(name)
    for name in ("MODELS", "OPENAI_COMPATIBLE_MODEL_NAME", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY",
                 "http_proxy", "https_proxy", "all_proxy", "COLUMNS", "LINES"):  # fmt: skip
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "nbllm-home"
    monkeypatch.setenv("NBLLM_HOME", str(folder))
    monkeypatch.setenv("NBLLM_MODELS_DEV_URL", "off")
    monkeypatch.setenv("HOME", str(tmp_path / "user-home"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("JUPYTER_CONFIG_DIR", str(tmp_path / "jupyter-config"))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "jupyter-runtime"))
    (tmp_path / "user-home").mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with recorded data beside the checkout; in CI it must be there."""
    if not (SHARED / "data").is_dir():
        if REQUIRED:
            pytest.fail(f"{SHARED} is missing, and here it must be there")
        pytest.skip("recorded data of real servers is not part of the project; the hand-made cases ran")
    return SHARED


@pytest.fixture(autouse=True)
def _nothing_left_behind() -> Iterator[None]:
    """What a test set up for the whole process is taken away, so that the next one finds a fresh process."""
    yield
    if (module := sys.modules.get("nbllm.workspace")) is not None:
        module.forget_current()
        module.debug_when(None)
    if (module := sys.modules.get("nbllm.credentials.redaction")) is not None:
        module.uninstall_log_filter()


@pytest.fixture(autouse=True)
def only_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection to anywhere but this machine fails the test that makes it."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: object) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and isinstance(address, tuple):
            host = str(address[0])
            if not (host.startswith("127.") or host in ("::1", "localhost")):
                raise AssertionError(f"a test tried to reach {host}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)
