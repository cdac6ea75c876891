"""Keys of the environment: variables, files that variables name, Colab."""

from __future__ import annotations

import os
import sys
import types
from pathlib import Path

import pytest

from key_shapes import SHAPES, traces
from nbllm.credentials import Credentials, KeyStatus
from nbllm.errors import MissingKeyError
from nbllm.providers.spec import ProviderConfig

KEY = SHAPES[1].key()
OTHER = SHAPES[2].key()


def test_a_key_comes_from_the_first_variable_that_is_set(
    credentials: Credentials, groq: ProviderConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GROQ_KEY", OTHER)
    secret = credentials.require(groq, ("GROQ_API_KEY", "GROQ_KEY"))
    assert secret is not None
    assert (secret.reveal(), secret.source) == (OTHER, "environment (GROQ_KEY)")

    monkeypatch.setenv("GROQ_API_KEY", KEY)
    secret = credentials.require(groq, ("GROQ_API_KEY", "GROQ_KEY"))
    assert secret is not None
    assert secret.reveal() == KEY
    assert credentials.status(groq, ("GROQ_API_KEY", "GROQ_KEY")) == KeyStatus("environment", "GROQ_API_KEY")


def test_only_the_variables_that_were_named_are_looked_at(
    credentials: Credentials, groq: ProviderConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which variables a base URL may have is the registry's decision."""
    monkeypatch.setenv("GROQ_API_KEY", KEY)
    assert credentials.find(groq, ()) is None
    assert credentials.status(groq, ()).source == "none"
    with pytest.raises(MissingKeyError) as caught:
        credentials.require(groq, ())
    assert "GROQ_API_KEY belongs to the provider's own address" in str(caught.value.hint)


@pytest.mark.parametrize("blank", ["", "  ", "\n"])
def test_a_blank_variable_is_not_set(
    credentials: Credentials, groq: ProviderConfig, monkeypatch: pytest.MonkeyPatch, blank: str
) -> None:
    monkeypatch.setenv("GROQ_API_KEY", blank)
    assert credentials.find(groq, ("GROQ_API_KEY",)) is None
    assert credentials.status(groq, ("GROQ_API_KEY",)).source == "none"


def test_a_variable_that_holds_no_key_is_named_without_its_value(
    credentials: Credentials, groq: ProviderConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GROQ_API_KEY", f"{KEY} {KEY}")
    with pytest.raises(MissingKeyError, match="GROQ_API_KEY: the key has a space") as caught:
        credentials.require(groq, ("GROQ_API_KEY",))
    assert traces(KEY, str(caught.value)) == []


# ---------------------------------------------------------------- files


@pytest.fixture
def key_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "groq.key"
    path.write_text(KEY + "\n")
    path.chmod(0o600)
    monkeypatch.setenv("GROQ_API_KEY_FILE", str(path))
    return path


def test_a_key_comes_from_a_mounted_file(credentials: Credentials, groq: ProviderConfig, key_file: Path) -> None:
    secret = credentials.require(groq, ("GROQ_API_KEY",))
    assert secret is not None
    assert (secret.reveal(), secret.source) == (KEY, "environment (GROQ_API_KEY_FILE)")
    assert credentials.status(groq, ("GROQ_API_KEY",)) == KeyStatus("environment", "GROQ_API_KEY_FILE")
    assert credentials.notices() == []


def test_the_variable_goes_before_the_file(
    credentials: Credentials, groq: ProviderConfig, key_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GROQ_API_KEY", OTHER)
    secret = credentials.find(groq, ("GROQ_API_KEY",))
    assert secret is not None
    assert secret.reveal() == OTHER


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX")
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644])
def test_a_file_that_others_can_read_is_used_and_told_once(
    credentials: Credentials, groq: ProviderConfig, key_file: Path, mode: int
) -> None:
    key_file.chmod(mode)
    assert credentials.find(groq, ("GROQ_API_KEY",)) is not None
    assert credentials.find(groq, ("GROQ_API_KEY",)) is not None
    assert len(credentials.notices()) == 1
    assert "can be read by others: chmod 600 it" in credentials.notices()[0]


def test_a_file_that_gives_no_key_says_why(
    credentials: Credentials, groq: ProviderConfig, key_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for content, said in (
        (b"x" * 20_000, "more than 16384 bytes"),
        (b"\xff\xfe\x00", "not text"),
        (b"", "the key is empty"),
        (f"{KEY}\n{KEY}".encode(), "a space or a control character"),
    ):
        key_file.write_bytes(content)
        with pytest.raises(MissingKeyError, match=said):
            credentials.require(groq, ("GROQ_API_KEY",))
    for path in (tmp_path / "missing", tmp_path):
        monkeypatch.setenv("GROQ_API_KEY_FILE", str(path))
        with pytest.raises(MissingKeyError, match="names a file that cannot be read"):
            credentials.require(groq, ("GROQ_API_KEY",))
        assert credentials.status(groq, ("GROQ_API_KEY",)).source == "none"


# ---------------------------------------------------------------- Colab


class NotebookAccessError(Exception):
    """As Colab raises it."""


class SecretNotFoundError(Exception):
    """As Colab raises it."""


@pytest.fixture
def colab(monkeypatch: pytest.MonkeyPatch) -> dict[str, str | Exception]:
    """The part of `google.colab` that is used; Colab itself was not at hand."""
    kept: dict[str, str | Exception] = {}

    def get(name: str) -> str:
        found = kept.get(name, SecretNotFoundError(name))
        if isinstance(found, Exception):
            raise found
        return found

    module = types.ModuleType("google.colab")
    module.userdata = types.SimpleNamespace(get=get)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "google.colab", module)
    return kept


def test_a_key_comes_from_colab(
    credentials: Credentials, groq: ProviderConfig, colab: dict[str, str | Exception]
) -> None:
    assert credentials.find(groq, ("GROQ_API_KEY",)) is None

    colab["GROQ_API_KEY"] = KEY
    assert credentials.status(groq, ("GROQ_API_KEY",)).source == "none", "a status asks nobody"
    secret = credentials.require(groq, ("GROQ_API_KEY",))
    assert secret is not None
    assert (secret.reveal(), secret.source) == (KEY, "Colab secret (GROQ_API_KEY)")
    assert credentials.status(groq, ("GROQ_API_KEY",)) == KeyStatus("environment", "GROQ_API_KEY")


def test_colab_without_access_says_so(
    credentials: Credentials, groq: ProviderConfig, colab: dict[str, str | Exception]
) -> None:
    colab["GROQ_API_KEY"] = NotebookAccessError("no")
    with pytest.raises(MissingKeyError, match="allow this notebook to read it"):
        credentials.require(groq, ("GROQ_API_KEY",))


def test_colab_is_not_imported_where_it_is_not(credentials: Credentials, groq: ProviderConfig) -> None:
    assert credentials.find(groq, ("GROQ_API_KEY",)) is None
    assert "google.colab" not in sys.modules
