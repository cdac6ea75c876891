"""Keys that stand outside nbllm: environment variables, files that variables name, Colab's secrets."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nbllm.credentials.deadline import call_within
from nbllm.credentials.secret import Secret
from nbllm.errors import CredentialError
from nbllm.files import is_private

FILE_CAP = 16_384
"""Bytes of a key file. Keys have some hundreds; a larger file is something else."""


@dataclass(frozen=True, slots=True)
class Found:
    """What was found under one of the names, or why it cannot be used."""

    secret: Secret | None = None
    name: str | None = None
    """The variable."""
    problem: str | None = None
    """One line, when a variable is set but gives no key."""
    warning: str | None = None
    """One line, when the key works but could be kept better."""


class Environment:
    """The environment as a source of keys.

    Args:
        environ: Looked at anew at each question.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._colab_names: set[str] = set()

    def find(self, variables: Sequence[str]) -> Found:
        """The first key under `variables`: as a variable, then in Colab, then in a file that `NAME_FILE` names."""
        problems: list[str] = []
        for look in (self._variable, self._colab, self._file):
            for name in variables:
                found = look(name)
                if found.secret is not None:
                    return found
                problems += [found.problem] if found.problem else []
        return Found(problem="; ".join(problems) or None)

    def name_of(self, variables: Sequence[str]) -> str | None:
        """Under which name `find` would probably find a key, without reading one and without asking Colab."""
        for name in variables:
            if self._environ.get(name, "").strip() or name in self._colab_names:
                return name
        for name in variables:
            path = self._environ.get(f"{name}_FILE", "").strip()
            if path and Path(path).expanduser().is_file():
                return f"{name}_FILE"
        return None

    def _variable(self, name: str) -> Found:
        if not self._environ.get(name, "").strip():
            return Found()
        return _made(lambda: self._environ[name], name=name, kind="environment")

    def _colab(self, name: str) -> Found:
        # Only where Colab itself has imported it. Its own dialog asks for access, once a notebook and name.
        userdata = getattr(sys.modules.get("google.colab"), "userdata", None)
        get = getattr(userdata, "get", None)
        if get is None:
            return Found()
        outcome = call_within(lambda: _made(lambda: get(name), name=name, kind="Colab secret"))
        if outcome.timed_out or outcome.failed_with("NotebookAccessError", "TimeoutException"):
            return Found(problem=f"Colab did not give out the secret {name}: allow this notebook to read it")
        if outcome.value is None:
            return Found()
        if outcome.value.secret is not None:
            self._colab_names.add(name)
        return outcome.value

    def _file(self, name: str) -> Found:
        variable = f"{name}_FILE"
        text = self._environ.get(variable, "").strip()
        if not text:
            return Found()
        path = Path(text).expanduser()
        try:
            if path.stat().st_size > FILE_CAP:
                return Found(problem=f"{variable} names a file of more than {FILE_CAP} bytes")
            warning = None if is_private(path) else f"{path} ({variable}) can be read by others: chmod 600 it"
            return _made(lambda: _read(path), name=variable, kind="environment", warning=warning)
        except OSError as exc:
            return Found(problem=f"{variable} names a file that cannot be read ({exc.strerror})")


def _read(path: Path) -> str:
    with path.open("rb") as file:  # capped here too: a pipe or a device has no size
        return file.read(FILE_CAP).decode()


def _made(text: Callable[[], str], *, name: str, kind: str, warning: str | None = None) -> Found:
    """A `Found` of the text that `text()` gives; the text itself is never a local value of a frame that can fail."""
    try:
        return Found(Secret(text(), source=f"{kind} ({name})"), name=name, warning=warning)
    except UnicodeDecodeError:
        return Found(problem=f"{name}: not text")
    except CredentialError as exc:
        return Found(problem=f"{name}: {exc.message}")
