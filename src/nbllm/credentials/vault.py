"""Keys in `vault.json`, encrypted under a passphrase.

scrypt makes a key of the passphrase; its cost stands in the file. Each entry is AES-256-GCM with the associated data
`version|provider|origin`, so an entry that was moved to another provider or origin does not decrypt. A verifier
tells a wrong passphrase from a damaged entry. The derived key is kept in memory, the passphrase is not.
"""

from __future__ import annotations

import base64
import binascii
import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbllm.credentials.secret import Secret
from nbllm.errors import CredentialError, LockedStoreError
from nbllm.files import is_private, locked, write_atomic

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

VERSION = 1
SCRYPT_N = 2**16
"""64 MiB and about 0.3 s for each guess (measured on the machine of docs/explanation/security.md)."""
_SCRYPT_R, _SCRYPT_P = 8, 1
_N_ALLOWED = frozenset(2**power for power in range(14, 21))
"""Below, guessing is cheap; above, a changed file could take gigabytes of memory."""
_FILE_CAP = 1_000_000
_VERIFIER = b"nbllm vault"

_DAMAGED = "move the file away and save the keys again, or bring back a copy of it"


@dataclass(frozen=True, slots=True)
class _Sealed:
    """Encrypted bytes and their nonce."""

    nonce: bytes
    data: bytes

    @classmethod
    def parse(cls, row: Any) -> _Sealed:
        sealed = cls(_unb64(row["nonce"]), _unb64(row["data"]))
        if len(sealed.nonce) != 12 or len(sealed.data) < 16:
            raise ValueError("a nonce or a tag is too short")
        return sealed

    def as_row(self) -> dict[str, str]:
        return {"nonce": _b64(self.nonce), "data": _b64(self.data)}


@dataclass(frozen=True, slots=True)
class _Content:
    """The file."""

    n: int
    salt: bytes
    verifier: _Sealed
    entries: Mapping[tuple[str, str], _Sealed] = field(default_factory=dict)
    """By provider and origin."""


@dataclass(frozen=True, slots=True)
class _Opened:
    """A derived key, inside a function, and the header that it belongs to."""

    n: int
    salt: bytes
    cipher: Callable[[], AESGCM]
    verifier: _Sealed

    def fits(self, content: _Content) -> bool:
        return (self.n, self.salt) == (content.n, content.salt)


class Vault:
    """The vault at `path`. Nothing is read before it is asked.

    Args:
        path: The file; made, with mode 0600, when the first key is saved.
        n: Cost of a new vault; an existing one keeps its own.
    """

    def __init__(self, path: Path, *, n: int = SCRYPT_N) -> None:
        self._path = path
        self._n = n
        self._opened: _Opened | None = None

    @property
    def exists(self) -> bool:
        """Whether there is a file."""
        return self._path.is_file()

    @property
    def is_unlocked(self) -> bool:
        """Whether a key was derived in this process."""
        return self._opened is not None

    def unlock(self, passphrase: str) -> None:
        """Derive the key; without a file, the passphrase becomes that of the vault that the first save makes.

        Raises:
            LockedStoreError: The passphrase does not fit.
            CredentialError: The file cannot be read or is damaged, or the passphrase is empty.
        """
        refusal = None
        if not passphrase:
            refusal = CredentialError("the passphrase of the vault is empty", hint="give one, the longer the better")
        else:
            opened = self._open(passphrase)
            if opened is None:
                refusal = LockedStoreError(
                    f"the passphrase does not open {self._path}",
                    hint="give the passphrase that the vault was made with, or move the file away and save keys anew",
                )
            else:
                self._opened = opened
        del passphrase  # a traceback that shows local values must not find it here
        if refusal is not None:
            raise refusal

    def get(self, provider: str, origin: str) -> Secret | None:
        """The key of `provider` for `origin`; None when the vault has none.

        Raises:
            LockedStoreError: The vault is not unlocked, or was made anew under another passphrase.
            CredentialError: The file is damaged, or the entry was changed or moved.
        """
        content = self._read()
        entry = content.entries.get((provider, origin)) if content else None
        if content is None or entry is None:
            return None
        cipher = self._cipher_for(content)
        plain = _decrypt(cipher, entry, _context(provider, origin))
        if plain is None:
            raise CredentialError(
                f"the key of {provider} in {self._path} was damaged or changed", hint=_DAMAGED, provider=provider
            )
        return _as_secret(plain, provider)

    def set(self, provider: str, origin: str, secret: Secret) -> str | None:
        """Keep the key, replacing that of the same provider and origin.

        Returns:
            None, or one line when the file can be read by others (file systems that know no modes).

        Raises:
            LockedStoreError: The vault is not unlocked.
            CredentialError: The file is damaged or cannot be written. Nothing was changed.
        """

        def change(content: _Content) -> _Content:
            cipher = self._cipher_for(content)
            sealed = _encrypt(cipher, secret.reveal, _context(provider, origin))
            return replace(content, entries={**content.entries, (provider, origin): sealed})

        self._rewrite(change)
        if is_private(self._path):
            return None
        return f"{self._path} can be read by others: its file system knows no modes"

    def delete(self, provider: str, origin: str | None = None) -> bool:
        """Remove the provider's key for `origin`, or for all; no passphrase is needed. False: there was none.

        Raises:
            CredentialError: The file is damaged or cannot be written.
        """

        def goes(at: tuple[str, str]) -> bool:
            return at[0] == provider and origin in (None, at[1])

        content = self._read()
        if content is None or not any(goes(at) for at in content.entries):
            return False
        self._rewrite(lambda now: replace(now, entries={at: e for at, e in now.entries.items() if not goes(at)}))
        return True

    # ------------------------------------------------------------ keys

    def _open(self, passphrase: str) -> _Opened | None:
        """The derived key, or None when the passphrase does not fit."""
        content = self._read()
        if content is None:
            salt = secrets.token_bytes(16)
            cipher = _derive(passphrase, salt=salt, n=self._n)
            return _Opened(self._n, salt, cipher, _encrypt(cipher, lambda: _VERIFIER.decode(), _context("", "")))
        cipher = _derive(passphrase, salt=content.salt, n=content.n)
        if _decrypt(cipher, content.verifier, _context("", "")) is None:
            return None
        return _Opened(content.n, content.salt, cipher, content.verifier)

    def _cipher_for(self, content: _Content) -> Callable[[], AESGCM]:
        if self._opened is None:
            raise LockedStoreError("the vault is locked", hint=UNLOCK_HINT)
        if not self._opened.fits(content):
            raise LockedStoreError(f"{self._path} was made anew since it was unlocked", hint=UNLOCK_HINT)
        return self._opened.cipher

    # ------------------------------------------------------------ the file

    def _read(self) -> _Content | None:
        try:
            with self._path.open("rb") as file:
                raw = file.read(_FILE_CAP + 1)
        except FileNotFoundError:
            return None
        except OSError as exc:
            raise CredentialError(f"cannot read {self._path}: {exc.strerror}", hint="check its owner") from None
        content = _parse(raw)
        if isinstance(content, str):
            raise CredentialError(f"{self._path} {content}", hint=_DAMAGED)
        return content

    def _rewrite(self, change: Callable[[_Content], _Content]) -> None:
        problem = None
        try:
            with locked(self._path):
                write_atomic(self._path, _dump(change(self._read() or self._fresh())))
        except OSError as exc:  # TimeoutError, of a lock that another process holds, is one too
            problem = exc.strerror or str(exc)
        if problem is not None:
            raise CredentialError(f"cannot write {self._path}: {problem}", hint="check owner and space of its folder")

    def _fresh(self) -> _Content:
        if self._opened is None:
            raise LockedStoreError("the vault is locked", hint=UNLOCK_HINT)
        return _Content(self._opened.n, self._opened.salt, self._opened.verifier)


UNLOCK_HINT = (
    "set NBLLM_VAULT_PASSPHRASE before the kernel starts, or run "
    "`nbllm.workspace().credentials.unlock_vault(getpass.getpass())`"
)


def _context(provider: str, origin: str) -> bytes:
    return f"{VERSION}|{provider}|{origin}".encode()


def _derive(passphrase: str, *, salt: bytes, n: int) -> Callable[[], AESGCM]:
    """The cipher under the derived key, inside a function: no repr and no `vars` shows it."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415  (50 ms, vault only)
    from cryptography.hazmat.primitives.kdf.scrypt import Scrypt  # noqa: PLC0415

    cipher = None
    try:
        kdf = Scrypt(salt=salt, length=32, n=n, r=_SCRYPT_R, p=_SCRYPT_P)
        cipher = AESGCM(kdf.derive(passphrase.encode("utf-8", "surrogatepass")))
    except MemoryError:
        pass
    del passphrase
    if cipher is None:
        raise CredentialError(f"opening the vault takes {n // 1024} MiB of memory, which is not there")
    made = cipher
    return lambda: made


def _encrypt(cipher: Callable[[], AESGCM], text: Callable[[], str], context: bytes) -> _Sealed:
    nonce = secrets.token_bytes(12)
    return _Sealed(nonce, cipher().encrypt(nonce, text().encode(), context))


def _decrypt(cipher: Callable[[], AESGCM], sealed: _Sealed, context: bytes) -> Callable[[], bytes] | None:
    from cryptography.exceptions import InvalidTag  # noqa: PLC0415  (vault only)

    try:
        plain = cipher().decrypt(sealed.nonce, sealed.data, context)
    except InvalidTag:
        return None
    return lambda: plain


def _as_secret(plain: Callable[[], bytes], provider: str) -> Secret:
    try:
        return Secret(plain().decode(), source="vault")
    except UnicodeDecodeError:
        pass
    raise CredentialError(f"the key of {provider} in the vault is not text", provider=provider)


def _parse(raw: bytes) -> _Content | str:
    """The content, or what is wrong with it, as the end of a sentence."""
    if len(raw) > _FILE_CAP:
        return f"has more than {_FILE_CAP} bytes, and no vault of ours has"
    try:
        document = json.loads(raw)
        if document["version"] != VERSION:
            return "was written by another version of nbllm"
        return _parse_document(document)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, binascii.Error):
        return "is damaged"


def _parse_document(document: Mapping[str, Any]) -> _Content:
    kdf = document["kdf"]
    n = kdf["n"]
    if (kdf["name"], kdf["r"], kdf["p"]) != ("scrypt", _SCRYPT_R, _SCRYPT_P) or type(n) is not int:
        raise ValueError("unknown derivation")
    if n not in _N_ALLOWED:
        raise ValueError("the cost is out of bounds")
    entries = {(str(row["provider"]), str(row["origin"])): _Sealed.parse(row) for row in document["entries"]}
    return _Content(n, _unb64(kdf["salt"]), _Sealed.parse(document["verifier"]), entries)


def _dump(content: _Content) -> str:
    rows = [{"provider": p, "origin": o, **entry.as_row()} for (p, o), entry in content.entries.items()]
    kdf = {"name": "scrypt", "n": content.n, "r": _SCRYPT_R, "p": _SCRYPT_P, "salt": _b64(content.salt)}
    document = {"version": VERSION, "kdf": kdf, "verifier": content.verifier.as_row(), "entries": rows}
    return json.dumps(document, indent=1) + "\n"


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _unb64(text: str) -> bytes:
    return base64.b64decode(text, validate=True)
