"""Keys in the operating system's keyring, where there is a real one.

Which backend the `keyring` package prefers says nothing about safety: with `keyrings.alt` installed it silently takes
a file with base64 in it, with `keyrings.cryptfile` one that prompts on stdin. So only backends on a list are
used, and only after a canary was written, read back and deleted. Each question runs in a worker thread with a
deadline, since a desktop's prompt can wait for ever; after such a wait the keyring is off for this kernel.
"""

from __future__ import annotations

import importlib
import secrets
from collections.abc import Callable
from contextlib import closing, suppress
from typing import Any, Literal, TypeVar

from nbllm.credentials.deadline import Outcome, call_within
from nbllm.credentials.secret import Secret

SERVICE = "nbllm"
"""The service under which entries stand in the keyring."""

REAL_BACKENDS = frozenset(
    {
        ("keyring.backends.SecretService", "Keyring"),
        ("keyring.backends.libsecret", "Keyring"),
        ("keyring.backends.kwallet", "DBusKeyring"),
        ("keyring.backends.kwallet", "DBusKeyringKWallet4"),
        ("keyring.backends.macOS", "Keyring"),
        ("keyring.backends.Windows", "WinVaultKeyring"),
    }
)
"""Module and class of the backends that encrypt, by the operating system, without a prompt in the terminal."""

State = Literal["ok", "absent", "locked", "hanging"]

T = TypeVar("T")


class _Locked(Exception):
    """The collection is locked; to unlock it the desktop would prompt, so it is not tried."""


class KeyringStore:
    """The keyring of this process. Nothing is imported or asked before the first question.

    Attributes:
        state: What the last question showed; None before the first.
        reason: One line on why the keyring cannot be used; empty when it can.
    """

    def __init__(self) -> None:
        self.state: State | None = None
        self.reason = ""
        self._probed = False

    def probe(self) -> bool:
        """Whether keys can be kept here: a canary is written, read back and deleted.

        The answer is remembered, except that a locked keyring is asked again: the user may have unlocked it.
        """
        if self._probed and self.state != "locked":
            return self.state == "ok"
        canary = secrets.token_hex(16)
        fits = self._ask(lambda backend: _round_trip(backend, canary))
        self._probed = True
        if fits is False:
            self.state, self.reason = "absent", "the OS keyring does not give back what it was given"
        return bool(fits)

    def get(self, provider: str, origin: str) -> Secret | None:
        """The key, or None: see `state` for whether there is none or the keyring could not be asked."""

        def read(backend: Any) -> tuple[Secret | None]:
            text = backend.get_password(SERVICE, entry_name(provider, origin))
            return (Secret(text, source="keyring") if text else None,)

        answer = self._ask(read)
        return answer[0] if answer else None

    def set(self, provider: str, origin: str, secret: Secret) -> bool:
        """Keep the key; False when the keyring did not take it, and then `reason` says why."""

        def write(backend: Any) -> bool:
            name = entry_name(provider, origin)
            backend.set_password(SERVICE, name, secret.reveal())
            return bool(backend.get_password(SERVICE, name) == secret.reveal())

        return bool(self._ask(write))

    def delete(self, provider: str, origin: str) -> bool | None:
        """True: removed. False: there was none. None: the keyring could not be asked, and `reason` says why."""

        def remove(backend: Any) -> bool:
            name = entry_name(provider, origin)
            if backend.get_password(SERVICE, name) is None:
                return False
            backend.delete_password(SERVICE, name)
            return True

        return self._ask(remove)

    def _ask(self, question: Callable[[Any], T]) -> T | None:
        """The answer of the backend, or None after `state` and `reason` were set."""
        if self.state == "hanging":
            return None
        with suppress(ImportError):
            # The deadline is for the keyring's answer: a slow disk is no reason to give it up.
            importlib.import_module("keyring")
        outcome = call_within(lambda: _with_backend(question))
        self.state, self.reason = _judge(outcome)
        return outcome.value


def entry_name(provider: str, origin: str) -> str:
    """The user name under which a key stands: a key of another origin has another name."""
    return f"{provider} {origin}"


def _with_backend(question: Callable[[Any], T]) -> T | None:
    backend = _real_backend()
    if backend is None:
        return None
    if type(backend).__module__ == "keyring.backends.SecretService":
        _check_unlocked(backend)
    return question(backend)


def _real_backend() -> Any | None:
    """The backend that the user's keyring configuration gives, if it is on the list; a chain is looked into."""
    import keyring  # noqa: PLC0415  (150 ms, and many never need it)

    chosen = keyring.get_keyring()
    if _is_real(chosen):
        return chosen
    if (type(chosen).__module__, type(chosen).__name__) == ("keyring.backends.chainer", "ChainerBackend"):
        # Never the chain itself: it asks one after the other, also those that prompt or write plain text.
        return next((backend for backend in chosen.backends if _is_real(backend)), None)  # type: ignore[attr-defined]
    return None


def _is_real(backend: Any) -> bool:
    return (type(backend).__module__, type(backend).__name__) in REAL_BACKENDS


def _check_unlocked(backend: Any) -> None:
    """Raise when the default collection is locked or missing: the backend itself would then make the desktop prompt."""
    import secretstorage  # type: ignore[import-not-found, unused-ignore]  # noqa: PLC0415  (Linux only)

    with closing(secretstorage.dbus_init()) as bus:
        path = getattr(backend, "preferred_collection", None)
        if path is None:
            collection = secretstorage.get_collection_by_alias(bus, "default")
        else:
            collection = secretstorage.Collection(bus, path)
        if collection.is_locked():
            raise _Locked


def _round_trip(backend: Any, canary: str) -> bool:
    name = f"probe {canary[:8]}"
    backend.set_password(SERVICE, name, canary)
    try:
        return bool(backend.get_password(SERVICE, name) == canary)
    finally:
        backend.delete_password(SERVICE, name)


_LOCKED = ("_Locked", "KeyringLocked", "LockedException", "PromptDismissedException")
_EXPECTED = ("KeyringError", "EOFError", "RuntimeError", "StdinNotImplementedError", "OSError", "ImportError",
             "SecretStorageException", "DBusErrorResponse", "DBusException")  # fmt: skip


def _judge(outcome: Outcome[Any]) -> tuple[State, str]:
    if outcome.timed_out:
        return "hanging", "the OS keyring did not answer within 3 s and is not used until this kernel restarts"
    if outcome.failed_with(*_LOCKED):
        return "locked", "the OS keyring is locked"
    if outcome.failed_with("ItemNotFoundException"):
        return "absent", "the OS keyring has no collection to keep keys in"
    if outcome.failed_with(*_EXPECTED):
        return "absent", f"the OS keyring cannot be used ({outcome.failure[0]})"
    if outcome.failure:
        return "absent", f"the OS keyring failed in a way of its own ({outcome.failure[0]})"
    if outcome.value is None:
        return "absent", "there is no OS keyring here that encrypts"
    return "ok", ""


keyring_store = KeyringStore()
"""The one of this process: a keyring that hangs is found out once."""
