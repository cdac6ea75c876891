from __future__ import annotations

import builtins
import getpass
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from key_shapes import SHAPES, KeyShape
from nbllm.credentials import Credentials
from nbllm.credentials.keyring_store import KeyringStore
from nbllm.providers.spec import ProviderConfig
from nbllm.settings import ConfigFile, Paths

Open = Callable[[], Credentials]


@pytest.fixture
def groq() -> ProviderConfig:
    return ProviderConfig(id="groq", base_url="https://api.groq.com/openai/v1", env=("GROQ_API_KEY",))


@pytest.fixture
def moved(groq: ProviderConfig) -> ProviderConfig:
    """The same provider at another address."""
    return groq.model_copy(update={"base_url": "https://elsewhere.example/v1"})


@pytest.fixture
def open_credentials(home: Path, no_keyring: None) -> Open:
    """Each call is a new process's view of the same home."""

    def opened() -> Credentials:
        paths = Paths.from_environment()
        return Credentials(paths, ConfigFile(paths), os.environ, keyring=KeyringStore())

    return opened


@pytest.fixture
def credentials(open_credentials: Open) -> Credentials:
    return open_credentials()


@pytest.fixture
def no_keyring() -> Iterator[None]:
    """A machine without a keyring, unless a test plugs one in by `keyring.set_keyring`; put back at the end."""
    import keyring
    from keyring import core
    from keyring.backends import fail

    before = core._keyring_backend
    keyring.set_keyring(fail.Keyring())
    yield
    core._keyring_backend = before


@pytest.fixture(autouse=True)
def never_prompts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whoever asks on the terminal fails the test, also when the question is swallowed."""
    asked: list[str] = []

    def refuse(*args: object, **kwargs: object) -> str:
        asked.append(repr(args))
        raise EOFError

    monkeypatch.setattr(builtins, "input", refuse)
    monkeypatch.setattr(getpass, "getpass", refuse)
    yield
    assert not asked


@pytest.fixture(params=SHAPES, ids=lambda shape: shape.id)
def key(request: pytest.FixtureRequest) -> str:
    shape: KeyShape = request.param
    return shape.key()
