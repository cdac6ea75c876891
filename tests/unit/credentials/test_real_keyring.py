"""gnome-keyring itself, on a D-Bus session of its own: unlocked, locked, and without a collection."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from key_shapes import SHAPES, traces

PROGRAMS = ("dbus-run-session", "gnome-keyring-daemon")
KEY = SHAPES[0].key()

ASK = """
import json, os, sys
from nbllm.credentials import Credentials, Secret
from nbllm.errors import NbllmError
from nbllm.providers.spec import ProviderConfig
from nbllm.settings import ConfigFile, Paths

paths = Paths.from_environment()
credentials = Credentials(paths, ConfigFile(paths))
groq = ProviderConfig(id="groq", base_url="https://api.groq.com/openai/v1")

def attempt(call):
    try:
        return call()
    except NbllmError as error:
        return f"{type(error).__name__}: {error.message}"

acts = {
    "save": lambda: credentials.save(groq, Secret(os.environ["KEY_TO_KEEP"])).store,
    "save in keyring": lambda: credentials.save(groq, Secret(os.environ["KEY_TO_KEEP"]), store="keyring").store,
    "found": lambda: credentials.require(groq, ()).reveal() == os.environ["KEY_TO_KEEP"],
    "status": lambda: credentials.status(groq, ()).source,
    "forget": lambda: credentials.forget("groq"),
}
print("RESULT " + json.dumps([attempt(acts[name]) for name in sys.argv[1:]]))
"""


class Desktop:
    """A home with its own session bus; each `session` is one login."""

    def __init__(self, folder: Path, runtime: str) -> None:
        self.home = folder
        self.environ = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("DBUS_", "GNOME_", "XDG_"))},
            "HOME": str(folder),
            "XDG_RUNTIME_DIR": runtime,
            "XDG_DATA_HOME": str(folder / "data"),
            "KEY_TO_KEEP": KEY,
        }

    def session(self, daemon: str, *kernels: list[str]) -> list[list[Any]]:
        """What each kernel's acts came to, one after the other in one login."""
        lines = [f"{daemon} >/dev/null 2>&1", *(f'"$0" -c "$1" {" ".join(map(repr, acts))}' for acts in kernels)]
        done = subprocess.run(
            ["dbus-run-session", "--", "sh", "-c", "\n".join(lines), sys.executable, ASK],
            env=self.environ, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        results = [json.loads(line[7:]) for line in done.stdout.splitlines() if line.startswith("RESULT ")]
        assert len(results) == len(kernels), done.stderr
        return results


UNLOCKED = "printf password | gnome-keyring-daemon --unlock --components=secrets"
NOT_UNLOCKED = "gnome-keyring-daemon --start --components=secrets"


@pytest.fixture
def desktop(tmp_path: Path) -> Iterator[Desktop]:
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing and os.environ.get("NBLLM_SHARED_REQUIRED") == "1":
        pytest.fail(f"{', '.join(missing)} must be there in CI: apt-get install dbus-daemon gnome-keyring")
    if missing:
        pytest.skip(f"needs {', '.join(missing)} (Debian: dbus-daemon gnome-keyring); fake keyrings were tried")
    folder = tmp_path / "desktop"
    folder.mkdir()
    with tempfile.TemporaryDirectory(dir="/tmp") as runtime:  # a socket's path has at most 107 bytes
        yield Desktop(folder, runtime)


def test_an_unlocked_keyring_keeps_a_key_encrypted_for_other_kernels(desktop: Desktop) -> None:
    first, second, third = desktop.session(
        UNLOCKED, ["save", "status", "found"], ["status", "found", "forget", "status"], ["found"]
    )
    assert first == ["keyring", "keyring", True]
    assert second == ["keyring", True, ["keyring"], "none"]
    assert third == ["MissingKeyError: no key for groq"]


def test_a_key_is_not_readable_on_the_disk_and_survives_a_login(desktop: Desktop) -> None:
    desktop.session(UNLOCKED, ["save"])
    files = [path for path in desktop.home.rglob("*") if path.is_file()]
    assert any(path.suffix == ".keyring" for path in files)
    for path in files:
        assert traces(KEY, path.read_bytes().decode("latin-1")) == [], path

    assert desktop.session(UNLOCKED, ["found"]) == [[True]]


def test_a_locked_keyring_is_said_without_a_prompt(desktop: Desktop) -> None:
    desktop.session(UNLOCKED, ["save"])
    (answers,) = desktop.session(NOT_UNLOCKED, ["status", "found", "save in keyring", "save", "found"])
    assert answers == [
        "keyring",
        "LockedStoreError: the key of groq was saved in the OS keyring, and the OS keyring is locked",
        "LockedStoreError: the OS keyring is locked",
        "session",
        True,
    ]


def test_a_keyring_without_a_collection_is_no_keyring(desktop: Desktop) -> None:
    (answers,) = desktop.session(NOT_UNLOCKED, ["save in keyring", "save", "found"])
    assert answers == ["CredentialError: the OS keyring has no collection to keep keys in", "session", True]


def test_a_session_without_a_keyring_is_no_keyring(desktop: Desktop) -> None:
    desktop.environ["DBUS_SESSION_BUS_ADDRESS"] = "unix:path=/nonexistent"
    done = subprocess.run(
        [sys.executable, "-c", ASK, "save in keyring", "save"],
        env=desktop.environ, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert json.loads(done.stdout.removeprefix("RESULT ")) == [
        "CredentialError: there is no OS keyring here that encrypts",
        "session",
    ]
