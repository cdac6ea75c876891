"""The vault gives back what was put in, or says why not; never another text, never a foreign exception."""

from __future__ import annotations

import json
import os
import stat
import sys
from pathlib import Path

import pytest
from IPython.core import ultratb

from key_shapes import SHAPES, traces
from nbllm.credentials import Secret
from nbllm.credentials.vault import Vault
from nbllm.errors import CredentialError, LockedStoreError, NbllmError

PASSPHRASE = "correct horse battery staple"
ORIGIN = "https://api.groq.com:443"
CHEAP = 2**14
"""The tests derive often; the cost of a real vault is asserted below."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "home" / "vault.json"


@pytest.fixture
def vault(path: Path) -> Vault:
    vault = Vault(path, n=CHEAP)
    vault.unlock(PASSPHRASE)
    return vault


def reopened(path: Path, passphrase: str = PASSPHRASE) -> Vault:
    vault = Vault(path, n=CHEAP)
    vault.unlock(passphrase)
    return vault


def test_a_key_comes_back_in_another_process(path: Path, vault: Vault, key: str) -> None:
    vault.set("groq", ORIGIN, Secret(key))

    secret = reopened(path).get("groq", ORIGIN)
    assert secret is not None
    assert secret.reveal() == key
    assert secret.source == "vault"
    assert traces(key, path.read_text()) == []


def test_a_new_vault_is_costly_to_guess(path: Path) -> None:
    vault = Vault(path)
    vault.unlock(PASSPHRASE)
    vault.set("groq", ORIGIN, Secret("k" * 20))
    header = json.loads(path.read_text())["kdf"]
    assert (header["name"], header["n"], header["r"], header["p"]) == ("scrypt", 65536, 8, 1)


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX")
def test_only_the_owner_can_read_it(path: Path, vault: Vault) -> None:
    old = os.umask(0)
    try:
        assert vault.set("groq", ORIGIN, Secret("k" * 20)) is None
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_file_system_without_modes_is_told_not_crashed(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nbllm.credentials.vault.is_private", lambda path: False)
    warning = vault.set("groq", ORIGIN, Secret("k" * 20))
    assert warning is not None
    assert "can be read by others" in warning


def test_a_wrong_passphrase_is_told_from_a_damaged_entry(path: Path, vault: Vault) -> None:
    vault.set("groq", ORIGIN, Secret("k" * 20))
    with pytest.raises(LockedStoreError, match="the passphrase does not open"):
        reopened(path, "wrong")

    document = json.loads(path.read_text())
    document["entries"][0]["nonce"] = document["verifier"]["nonce"]
    path.write_text(json.dumps(document))
    with pytest.raises(CredentialError, match="damaged or changed") as caught:
        reopened(path).get("groq", ORIGIN)
    assert not isinstance(caught.value, LockedStoreError)


@pytest.mark.parametrize("at", [("provider", "openai", ORIGIN), ("origin", "groq", "https://evil.example:443")])
def test_an_entry_that_was_moved_does_not_open(path: Path, vault: Vault, at: tuple[str, str, str]) -> None:
    vault.set("groq", ORIGIN, Secret("k" * 20))
    field, provider, origin = at
    document = json.loads(path.read_text())
    document["entries"][0][field] = provider if field == "provider" else origin
    path.write_text(json.dumps(document))

    with pytest.raises(CredentialError, match="damaged or changed"):
        reopened(path).get(provider, origin)


def test_two_entries_that_change_places_do_not_open(path: Path, vault: Vault) -> None:
    vault.set("groq", ORIGIN, Secret("k" * 20))
    vault.set("openai", "https://api.openai.com:443", Secret("o" * 20))
    document = json.loads(path.read_text())
    one, other = document["entries"]
    for name in ("nonce", "data"):
        one[name], other[name] = other[name], one[name]
    path.write_text(json.dumps(document))

    for provider, origin in (("groq", ORIGIN), ("openai", "https://api.openai.com:443")):
        with pytest.raises(CredentialError, match="damaged or changed"):
            reopened(path).get(provider, origin)


@pytest.mark.parametrize("mask", [0x01, 0x20, 0x80, 0xFF])
def test_no_flipped_byte_gives_another_key_or_a_foreign_error(path: Path, vault: Vault, mask: int) -> None:
    key = SHAPES[2].key()
    vault.set("groq", ORIGIN, Secret(key))
    good = path.read_bytes()
    answers = {"right": 0, "none": 0, "refused": 0}
    said: list[str] = []
    for position in range(len(good)):
        path.write_bytes(good[:position] + bytes([good[position] ^ mask]) + good[position + 1 :])
        try:
            secret = vault.get("groq", ORIGIN)
        except NbllmError as error:
            answers["refused"] += 1
            said.append(str(error))
        else:
            answers["none" if secret is None else "right"] += 1
            assert secret is None or secret.reveal() == key
    assert answers["refused"] > len(good) / 2
    assert traces(key, "".join(said)) == []


def test_no_flipped_byte_lets_another_process_in_wrongly(path: Path, vault: Vault) -> None:
    """As above, with the key derived anew from a changed header."""
    key = SHAPES[2].key()
    vault.set("groq", ORIGIN, Secret(key))
    good = path.read_bytes()
    for position in range(good.index(b'"entries"')):
        path.write_bytes(good[:position] + bytes([good[position] ^ 0x01]) + good[position + 1 :])
        try:
            secret = reopened(path).get("groq", ORIGIN)
        except NbllmError:
            continue
        assert secret is None or secret.reveal() == key


@pytest.mark.parametrize("length", [0, 1, 10, 100, 300, -1, -5])
def test_a_cut_file_is_damaged(path: Path, vault: Vault, length: int) -> None:
    vault.set("groq", ORIGIN, Secret("k" * 20))
    path.write_bytes(path.read_bytes().rstrip()[:length])
    with pytest.raises(CredentialError, match="is damaged"):
        vault.get("groq", ORIGIN)
    with pytest.raises(CredentialError, match="is damaged"):
        vault.set("groq", ORIGIN, Secret("n" * 20))


@pytest.mark.parametrize(
    "change",
    [
        {"n": 2**30}, {"n": 2**21}, {"n": 2**10}, {"n": 65537}, {"n": -1}, {"n": "65536"}, {"n": True}, {"n": 65536.0},
        {"r": 2**20}, {"p": 2**20}, {"name": "md5"}, {"salt": 3}, {"salt": "#"},
    ],
    ids=str,
)  # fmt: skip
def test_a_header_out_of_bounds_is_refused_before_anything_is_derived(
    path: Path, vault: Vault, change: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    vault.set("groq", ORIGIN, Secret("k" * 20))
    document = json.loads(path.read_text())
    document["kdf"] |= change
    path.write_text(json.dumps(document))
    monkeypatch.setattr("nbllm.credentials.vault._derive", lambda *_, **__: pytest.fail("derived"))
    with pytest.raises(CredentialError, match="is damaged"):
        reopened(path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"[]", "is damaged"),
        (b"null", "is damaged"),
        (b'{"version": 2}', "another version"),
        (b"[" * 100_000, "is damaged"),
        (b"\xff\xfe", "is damaged"),
        (b" " * 1_000_001, "more than"),
    ],
    ids=["list", "null", "newer", "deep", "not text", "large"],
)
def test_a_file_that_is_no_vault_is_refused(path: Path, content: bytes, said: str) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(CredentialError, match=said):
        reopened(path)
    assert path.read_bytes() == content


def test_a_locked_vault_gives_and_takes_nothing_but_can_forget(path: Path, vault: Vault) -> None:
    vault.set("groq", ORIGIN, Secret("k" * 20))
    locked = Vault(path)
    with pytest.raises(LockedStoreError, match="the vault is locked"):
        locked.get("groq", ORIGIN)
    with pytest.raises(LockedStoreError, match="the vault is locked"):
        locked.set("groq", ORIGIN, Secret("n" * 20))

    assert locked.delete("groq")
    assert not locked.delete("groq")
    assert vault.get("groq", ORIGIN) is None


def test_a_vault_made_anew_elsewhere_is_locked_here(path: Path, vault: Vault) -> None:
    vault.set("groq", ORIGIN, Secret("k" * 20))
    path.unlink()
    reopened(path, "another").set("openai", ORIGIN, Secret("o" * 20))
    with pytest.raises(LockedStoreError, match="made anew"):
        vault.get("openai", ORIGIN)
    with pytest.raises(LockedStoreError, match="made anew"):
        vault.set("groq", ORIGIN, Secret("k" * 20))


def test_each_save_uses_a_new_nonce_and_keeps_the_others(path: Path, vault: Vault) -> None:
    nonces = set()
    for _ in range(20):
        vault.set("groq", ORIGIN, Secret("k" * 20))
        vault.set("openai", "https://api.openai.com:443", Secret("o" * 20))
        nonces |= {entry["nonce"] for entry in json.loads(path.read_text())["entries"]}
    assert len(nonces) == 40
    assert len(json.loads(path.read_text())["entries"]) == 2


def test_an_empty_passphrase_is_refused(path: Path) -> None:
    with pytest.raises(CredentialError, match="is empty"):
        Vault(path).unlock("")


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CredentialError, match="cannot read"):
        reopened(tmp_path / "file" / "vault.json")
    vault = reopened(tmp_path / "folder" / "vault.json")
    (tmp_path / "folder").write_text("")
    with pytest.raises(CredentialError, match="cannot write"):
        vault.set("groq", ORIGIN, Secret("k" * 20))


@pytest.mark.parametrize("mode", ["Context", "Verbose", "Docs"])
def test_a_wrong_passphrase_does_not_show_in_a_traceback(path: Path, vault: Vault, mode: str) -> None:
    vault.set("groq", ORIGIN, Secret("k" * 20))
    wrong = "almost " + PASSPHRASE
    try:
        Vault(path).unlock(wrong)
    except LockedStoreError:
        kind, error, frames = sys.exc_info()
    assert frames is not None
    shown = str(ultratb.FormattedTB(mode=mode, theme_name="nocolor").text(kind, error, frames.tb_next))
    assert "LockedStoreError" in shown
    assert "almost" not in shown


def test_the_object_shows_neither_passphrase_nor_derived_key(vault: Vault) -> None:
    vault.set("groq", ORIGIN, Secret("k" * 20))
    shown = repr(vars(vault)) + repr(vault)
    assert PASSPHRASE not in shown
    assert "AESGCM" not in shown
