"""`[keys]` of `config.toml`: in which store a provider's key is, and for which origin. Never a key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nbllm.errors import SettingsError
from nbllm.settings.config import ConfigFile


@dataclass(frozen=True, slots=True)
class Reference:
    """A line such as `groq = "keyring:https://api.groq.com:443"`."""

    store: str
    """`keyring` or `vault`."""
    origin: str

    @property
    def place(self) -> str:
        """The store, for people."""
        return "the OS keyring" if self.store == "keyring" else "the encrypted vault"


def read_reference(config: ConfigFile, provider: str) -> Reference | None:
    """Where the provider's key was saved; None when it was not, or the line is not one of ours.

    Raises:
        SettingsError: The file is broken.
    """
    keys = config.read().get("keys")
    line = keys.get(provider) if isinstance(keys, Mapping) else None
    if not isinstance(line, str):
        return None
    store, _, origin = line.partition(":")
    return Reference(store, origin) if store in ("keyring", "vault") and origin else None


def write_reference(config: ConfigFile, provider: str, reference: Reference | None) -> str | None:
    """Note where the key is, or with None that it is nowhere; one line when the file cannot be written."""

    def change(document: Any) -> None:
        keys = document.setdefault("keys", {})
        if reference is None:
            keys.pop(provider, None)
        else:
            keys[provider] = f"{reference.store}:{reference.origin}"

    verb = "forget" if reference is None else "save"
    try:
        config.update(f"{verb} the key of {provider}", change)
    except SettingsError as exc:
        return exc.message
    return None
