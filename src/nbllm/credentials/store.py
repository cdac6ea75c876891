"""Where a provider's key is, and where a new one goes.

Read, first hit wins: this session, the environment, the OS keyring, the vault. Keyring and vault are asked only when
`config.toml` says that a key was saved there (`[keys] groq = "keyring:https://api.groq.com:443"`): that
line names a store and an origin and is never a key, so copying the file copies no key. A saved key is found
only for the origin that it was saved for.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from nbllm.credentials.environment import Environment
from nbllm.credentials.headers import KnownHeaders
from nbllm.credentials.keyring_store import KeyringStore, keyring_store
from nbllm.credentials.references import Reference, read_reference, write_reference
from nbllm.credentials.secret import Secret
from nbllm.credentials.vault import UNLOCK_HINT, Vault
from nbllm.errors import CredentialError, LockedStoreError, MissingKeyError
from nbllm.providers.spec import ProviderConfig, env_id
from nbllm.providers.urls import origin_of
from nbllm.settings.config import ConfigFile
from nbllm.settings.paths import Paths

StoreName = Literal["keyring", "vault", "session"]

_CACHE_S = 60.0
"""A key that was read from keyring or vault is used again for so long; another kernel's change shows after it."""
_log = logging.getLogger("nbllm.credentials")


@dataclass(frozen=True, slots=True)
class KeyStatus:
    """Where a key would come from, as known without asking keyring or vault."""

    source: Literal["environment", "keyring", "vault", "session", "none", "not-needed"]
    name: str | None = None
    """The variable, when the source is the environment."""
    note: str | None = None
    """One line, when there is more to say: the saved key is for another origin."""


@dataclass(frozen=True, slots=True)
class SavedKey:
    """Where a key went."""

    store: StoreName
    sentence: str
    """Says where and, when that is not the best place, why; for the user."""


_Answer = tuple[Secret | None, CredentialError | None]
"""A key, or why there is none; neither when none is needed."""


class Credentials:
    """The keys of one workspace.

    Args:
        paths: Where the vault is.
        config: The file with the references.
        environ: The environment; None means the process's own, read live.
        keyring: The OS keyring; None means the one that this process shares.
    """

    def __init__(
        self,
        paths: Paths,
        config: ConfigFile,
        environ: Mapping[str, str] | None = None,
        *,
        keyring: KeyringStore | None = None,
    ) -> None:
        self._config = config
        self._environ = os.environ if environ is None else environ
        self._environment = Environment(self._environ)
        self._keyring = keyring_store if keyring is None else keyring
        self._vault = Vault(paths.vault)
        self._session: dict[str, tuple[str, Secret]] = {}
        self._cache: dict[tuple[str, Reference], tuple[float, Secret]] = {}
        self._notices: list[str] = []
        self._headers = KnownHeaders()

    # ------------------------------------------------------------ reading

    def find(self, provider: ProviderConfig, variables: Sequence[str]) -> Secret | None:
        """The key for `provider`, or None. Never prompts; blocks for less than three seconds.

        Args:
            provider: The row as it counts now; its base URL decides which saved key fits.
            variables: The environment variables whose key may go to that base URL.
        """
        return self._search(provider, variables)[0]

    def require(self, provider: ProviderConfig, variables: Sequence[str]) -> Secret | None:
        """The key for `provider`; None when none is needed.

        Raises:
            MissingKeyError: There is none; the hint says how to give one.
            LockedStoreError: One was saved, and the keyring or vault that has it is locked or does not answer.
            CredentialError: One was saved, and the vault that has it is damaged.
        """
        secret, problem = self._search(provider, variables)
        if problem is not None and (provider.needs_key or isinstance(problem, LockedStoreError)):
            raise problem
        return secret

    def status(self, provider: ProviderConfig, variables: Sequence[str]) -> KeyStatus:
        """Where the key would come from. Reads no key, asks no keyring, derives nothing."""
        if provider.auth == "none":
            return KeyStatus("not-needed")
        origin = _origin(provider)
        if self._session_key(provider, origin) is not None:
            return KeyStatus("session")
        if name := self._environment.name_of(variables):
            return KeyStatus("environment", name)
        reference = read_reference(self._config, provider.id)
        if reference is not None and reference.origin == origin:
            return KeyStatus("keyring" if reference.store == "keyring" else "vault")
        note = f"the saved key is for {reference.origin}" if reference is not None else None
        return KeyStatus("none" if provider.needs_key else "not-needed", note=note)

    def is_at_hand(self, provider: ProviderConfig, variables: Sequence[str]) -> bool:
        """Whether `find` answers at once: it need not ask keyring, vault, file system or front end."""
        if provider.auth == "none" or self._session_key(provider, _origin(provider)) is not None:
            return True
        name = self._environment.name_of(variables)  # also that of a file, or of a secret that Colab has
        return name is not None and name in variables and self._environ.get(name, "").strip() != ""

    def notices(self) -> list[str]:
        """What the user should know about the places where keys are kept, one line each; also logged once."""
        return list(self._notices)

    def _search(
        self, provider: ProviderConfig, variables: Sequence[str]
    ) -> tuple[Secret | None, CredentialError | None]:
        self._headers.learn(provider)
        if provider.auth == "none":
            return None, None
        origin = _origin(provider)
        if (secret := self._session_key(provider, origin)) is not None:
            return secret, None
        found = self._environment.find(variables)
        for line in (found.warning, found.problem):
            self._notice(line)
        if found.secret is not None:
            return found.secret, None
        reference = read_reference(self._config, provider.id)
        if reference is None or reference.origin != origin:
            return None, self._missing(provider, variables, reference=reference, problem=found.problem)
        return self._from_store(provider, variables, reference)

    def _session_key(self, provider: ProviderConfig, origin: str) -> Secret | None:
        kept = self._session.get(provider.id)
        return kept[1] if kept is not None and kept[0] == origin else None

    def _from_store(self, provider: ProviderConfig, variables: Sequence[str], reference: Reference) -> _Answer:
        at = provider.id, reference
        when, kept = self._cache.get(at, (0.0, None))
        if kept is not None and time.monotonic() - when < _CACHE_S:
            return kept, None
        self._cache.pop(at, None)
        problem: CredentialError | None = None
        secret: Secret | None = None
        try:
            secret = self._read_keyring(provider, reference) if reference.store == "keyring" else self._read_vault(at)
        except CredentialError as exc:
            problem = exc.with_traceback(None)
        if secret is None:
            return None, problem or _gone(provider, variables, reference)
        self._cache[at] = time.monotonic(), secret
        return secret, None

    def _read_keyring(self, provider: ProviderConfig, reference: Reference) -> Secret | None:
        secret = self._keyring.get(provider.id, reference.origin)
        if self._keyring.state in ("locked", "hanging"):
            if self._keyring.state == "hanging":
                self._notice(self._keyring.reason)
            raise LockedStoreError(
                f"the key of {provider.id} was saved in the OS keyring, and {self._keyring.reason}",
                hint=f"unlock the keyring of your desktop, or run `%llm_providers key {provider.id}`",
                provider=provider.id,
            )
        return secret

    def _read_vault(self, at: tuple[str, Reference]) -> Secret | None:
        provider, reference = at
        self._try_unlock()
        if self._vault.exists and not self._vault.is_unlocked:
            raise LockedStoreError(
                f"the key of {provider} is in the vault, which is locked", hint=UNLOCK_HINT, provider=provider
            )
        return self._vault.get(provider, reference.origin)

    def _try_unlock(self) -> None:
        if not self._vault.is_unlocked and self._environ.get("NBLLM_VAULT_PASSPHRASE"):
            self._vault.unlock(self._environ["NBLLM_VAULT_PASSPHRASE"])

    def _missing(
        self, provider: ProviderConfig, variables: Sequence[str], *, reference: Reference | None, problem: str | None
    ) -> MissingKeyError:
        if reference is not None:
            message = f"no key for {provider.id} at {_origin(provider)}: the saved one is for {reference.origin}"
            hint = f"run `%llm_providers key {provider.id}` to give one for the new address"
            return MissingKeyError(message, hint=hint, provider=provider.id, env=variables)
        message = f"no key for {provider.id}" + (f" ({problem})" if problem else "")
        hint = f"run `%llm_providers key {provider.id}`"
        if variables:
            hint += f", or set {variables[0]}"
        elif kept := self._set_variable(provider):
            origin = _origin(provider)
            hint += f"; {kept} belongs to the provider's own address and is not sent to {origin}"
        return MissingKeyError(message, hint=hint, provider=provider.id, env=variables)

    def _set_variable(self, provider: ProviderConfig) -> str | None:
        """A variable of the provider's that is set, whether or not its key may go to the present base URL."""
        return self._environment.name_of(_own_variables(provider))

    # ------------------------------------------------------------ saving

    def save(self, provider: ProviderConfig, secret: Secret, *, store: StoreName | None = None) -> SavedKey:
        """Keep a key for the provider's present origin.

        Args:
            provider: Whose key it is.
            secret: The key.
            store: Where. None: the OS keyring where a real one works, else the vault when it is unlocked or
                `NBLLM_VAULT_PASSPHRASE` is set, else this session only.

        Raises:
            LockedStoreError: The store that was named is locked.
            CredentialError: The store that was named cannot keep it. Nothing was changed.
        """
        if store == "session":
            return self._save_session(provider, secret, "as asked")
        if store is not None:
            problem = self._save_in(store, provider, secret)
            if problem is not None:
                raise problem
            return self._saved(provider, store)
        if self._environ.get("BINDER_SERVICE_HOST"):
            return self._save_session(provider, secret, _BINDER)
        return self._save_best(provider, secret)

    def _save_best(self, provider: ProviderConfig, secret: Secret) -> SavedKey:
        keyring = self._save_in("keyring", provider, secret)
        if keyring is None:
            return self._saved(provider, "keyring")
        if not (self._vault.is_unlocked or self._environ.get("NBLLM_VAULT_PASSPHRASE")):
            return self._save_session(provider, secret, f"{keyring.message}, and no vault is unlocked")
        vault = self._save_in("vault", provider, secret)
        if vault is None:
            return self._saved(provider, "vault", because=keyring.message)
        return self._save_session(provider, secret, f"{keyring.message}, and {vault.message}")

    def _save_in(self, store: StoreName, provider: ProviderConfig, secret: Secret) -> CredentialError | None:
        """Keep it there and note that in `config.toml`; or the reason why not, and then nothing was changed."""
        origin = _origin(provider)
        before = read_reference(self._config, provider.id)
        try:
            if store == "keyring":
                self._write_keyring(provider, origin, secret)
            else:
                self._write_vault(provider, origin, secret)
        except CredentialError as exc:
            return exc.with_traceback(None)
        now = Reference(store, origin)
        problem = write_reference(self._config, provider.id, now) if now != before else None
        if problem is not None:
            self._remove(provider.id, now)
            return CredentialError(problem, provider=provider.id)
        self._session.pop(provider.id, None)
        self._cache = {at: kept for at, kept in list(self._cache.items()) if at[0] != provider.id}
        self._cache[provider.id, now] = time.monotonic(), secret
        if before is not None and before != now:
            self._remove(provider.id, before)  # one saved key a provider; none is left where nobody looks
        return None

    def _write_keyring(self, provider: ProviderConfig, origin: str, secret: Secret) -> None:
        if self._keyring.probe() and self._keyring.set(provider.id, origin, secret):
            return
        if self._keyring.state == "hanging":
            self._notice(self._keyring.reason)
        kind = LockedStoreError if self._keyring.state == "locked" else CredentialError
        raise kind(
            self._keyring.reason or "the OS keyring did not keep the key",
            hint=f"unlock it, or run `%llm_providers key {provider.id} --store vault`",
            provider=provider.id,
        )

    def _write_vault(self, provider: ProviderConfig, origin: str, secret: Secret) -> None:
        self._try_unlock()
        if not self._vault.is_unlocked:
            raise LockedStoreError("the vault is locked", hint=UNLOCK_HINT, provider=provider.id)
        self._notice(self._vault.set(provider.id, origin, secret))

    def _save_session(self, provider: ProviderConfig, secret: Secret, why: str) -> SavedKey:
        self._session[provider.id] = _origin(provider), secret
        return SavedKey("session", f"the key of {provider.id} is kept in this session only: {why}")

    def _saved(self, provider: ProviderConfig, store: StoreName, *, because: str | None = None) -> SavedKey:
        now = Reference(store, _origin(provider))
        sentence = f"the key of {provider.id} is in {now.place}, for {now.origin}"
        if because:
            sentence += f" ({because})"
        if name := self._set_variable(provider):
            sentence += f"; {name} is set too, and the environment goes first"
        return SavedKey(store, sentence)

    # ------------------------------------------------------------ forgetting

    def forget(self, provider_id: str) -> list[str]:
        """Remove the provider's key from session, keyring and vault; the stores that had one.

        Raises:
            LockedStoreError: The keyring that has the key cannot be asked; elsewhere it was removed.
            CredentialError: The vault is damaged or cannot be written.
        """
        removed = ["session"] if self._session.pop(provider_id, None) is not None else []
        self._cache = {at: kept for at, kept in list(self._cache.items()) if at[0] != provider_id}
        reference = read_reference(self._config, provider_id)
        stuck = False
        if reference is not None and reference.store == "keyring":
            answer = self._keyring.delete(provider_id, reference.origin)
            removed += ["keyring"] if answer else []
            stuck = answer is None and self._keyring.state in ("locked", "hanging")
        if self._vault.delete(provider_id):
            removed.append("vault")
        if stuck:
            raise LockedStoreError(
                f"the key of {provider_id} is still in the OS keyring: {self._keyring.reason}",
                hint=f"unlock it, then run `%llm_providers forget {provider_id}` again",
                provider=provider_id,
            )
        if reference is not None and (problem := write_reference(self._config, provider_id, None)):
            raise CredentialError(problem, provider=provider_id)
        return removed

    @property
    def wants_passphrase(self) -> Literal["new", "old"] | None:
        """What the vault needs before it can keep a key: a first passphrase, its own, or none because it is open."""
        if self._vault.is_unlocked or self._environ.get("NBLLM_VAULT_PASSPHRASE"):
            return None
        return "old" if self._vault.exists else "new"

    def unlock_vault(self, passphrase: str) -> None:
        """Unlock the vault for this session; where there is none yet, choose its passphrase.

        Raises:
            LockedStoreError: The passphrase does not fit.
            CredentialError: The vault is damaged, or the passphrase is empty.
        """
        problem: CredentialError | None = None
        try:
            self._vault.unlock(passphrase)
        except CredentialError as exc:
            problem = exc.with_traceback(None)
        del passphrase  # a traceback that shows local values must not find it here
        if problem is not None:
            raise problem

    def _remove(self, provider_id: str, reference: Reference) -> None:
        if reference.store == "keyring":
            if self._keyring.delete(provider_id, reference.origin) is None:
                self._notice(f"an earlier key of {provider_id} is still in the OS keyring: {self._keyring.reason}")
            return
        try:
            self._vault.delete(provider_id, reference.origin)
        except CredentialError as exc:
            self._notice(f"an earlier key of {provider_id} is still in the vault: {exc.message}")

    def _notice(self, line: str | None) -> None:
        if line and line not in self._notices:  # each once: the same key is looked for with every request
            self._notices.append(line)
            _log.warning("%s", line)


_BINDER = "on Binder whoever has the address of this page can read it; use a limited key that you can throw away"


def _origin(provider: ProviderConfig) -> str:
    """Scheme, host and port that the key belongs to; empty while the row has no base URL."""
    return origin_of(provider.base_url) if provider.base_url else ""


def _own_variables(provider: ProviderConfig) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*provider.env, f"{env_id(provider.id)}_API_KEY")))


def _gone(provider: ProviderConfig, variables: Sequence[str], reference: Reference) -> MissingKeyError:
    hint = f"run `%llm_providers key {provider.id}`" + (f", or set {variables[0]}" if variables else "")
    return MissingKeyError(
        f"no key for {provider.id}: config.toml says that it is in {reference.place}, but it is not in the one of this "
        "machine; a copy of the file brings no keys",
        hint=hint,
        provider=provider.id,
        env=variables,
    )
