"""`nbllm providers key ID`: a key that is asked for out of sight."""

from __future__ import annotations

import getpass
import os
import sys
from typing import Literal

from nbllm.credentials import Secret
from nbllm.credentials.keyring_store import keyring_store
from nbllm.errors import CredentialError, UsageError
from nbllm.workspace import Workspace

_Lasting = Literal["keyring", "vault"]


def keep(workspace: Workspace, provider_id: str, store: str | None) -> str:
    """Ask for the key of a provider and save it where it outlives this command; says where.

    Raises:
        UnknownProviderError: There is no such provider.
        RegistryError: It has no address yet, and a key belongs to one.
        UsageError: The store is none that lasts.
        CredentialError: There is no key, or no place for it. Nothing was saved.
    """
    provider = workspace.key_owner(provider_id)
    place = _place(store)
    secret = Secret(_ask(f"Key for {provider.title}: "))
    if place == "vault" and not os.environ.get("NBLLM_VAULT_PASSPHRASE"):
        workspace.credentials.unlock_vault(_passphrase(new=not workspace.paths.vault.exists()))
    return workspace.save_key(provider_id, secret, store=place).sentence


def _place(store: str | None) -> _Lasting:
    if store == "session":
        raise UsageError(
            "providers key: a session of the command line ends with the command", hint="give --store keyring or vault"
        )
    if store is None:
        return "keyring" if keyring_store.probe() else "vault"
    if store not in ("keyring", "vault"):
        raise UsageError("providers key: there is no such store", hint="give --store keyring or vault")
    return "keyring" if store == "keyring" else "vault"


def _ask(question: str) -> str:
    """Hidden at a terminal; from a pipe its first line, as in `pass show groq | nbllm providers key groq`."""
    if not sys.stdin.isatty():
        return sys.stdin.readline()
    return getpass.getpass(question)


def _passphrase(*, new: bool) -> str:
    if not sys.stdin.isatty():
        raise CredentialError(
            "there is no OS keyring here, and the vault is locked",
            hint="set NBLLM_VAULT_PASSPHRASE, or the provider's environment variable",
        )
    if not new:
        return getpass.getpass("Passphrase of the vault: ")
    chosen = getpass.getpass("There is no OS keyring here; choose a passphrase for the encrypted vault: ")
    if getpass.getpass("Once more: ") != chosen:
        raise CredentialError("the two passphrases differ; nothing was saved", hint="run the command again")
    return chosen
