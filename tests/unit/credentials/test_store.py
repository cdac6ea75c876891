"""Where keys are found and kept: the order, the origin, the reference, and what the user is told."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from key_shapes import SHAPES, traces
from nbllm.credentials import Credentials, KeyStatus, Secret
from nbllm.errors import CredentialError, LockedStoreError, MissingKeyError
from nbllm.providers.spec import ProviderConfig

Open = Callable[[], Credentials]

KEY = SHAPES[2].key()
OTHER = SHAPES[3].key()
NAMES = ("GROQ_API_KEY",)


def key_of(credentials: Credentials, provider: ProviderConfig, names: tuple[str, ...] = NAMES) -> str | None:
    secret = credentials.find(provider, names)
    return None if secret is None else secret.reveal()


@pytest.fixture
def passphrase(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("NBLLM_VAULT_PASSPHRASE", "correct horse")
    return "correct horse"


# ---------------------------------------------------------------- what is missing


def test_a_missing_key_says_what_to_do(credentials: Credentials) -> None:
    deepseek = ProviderConfig(id="deepseek", base_url="https://api.deepseek.com", env=("DEEPSEEK_API_KEY",))
    with pytest.raises(MissingKeyError) as caught:
        credentials.require(deepseek, ("DEEPSEEK_API_KEY",))
    assert caught.value.describe() == (
        "MissingKeyError: no key for deepseek\n  hint: run `%llm_providers key deepseek`, or set DEEPSEEK_API_KEY"
    )
    assert (caught.value.provider, caught.value.env) == ("deepseek", ("DEEPSEEK_API_KEY",))


def test_a_provider_without_keys_needs_none(credentials: Credentials, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEMO_API_KEY", KEY)
    demo = ProviderConfig(id="demo", kind="demo", base_url="http://demo.invalid/v1", auth="none")
    assert credentials.require(demo, ("DEMO_API_KEY",)) is None
    assert credentials.status(demo, ("DEMO_API_KEY",)) == KeyStatus("not-needed")


def test_a_key_that_is_optional_is_used_when_there(credentials: Credentials, monkeypatch: pytest.MonkeyPatch) -> None:
    local = ProviderConfig(id="llamacpp", base_url="http://127.0.0.1:8080/v1", key_optional=True)
    assert credentials.require(local, ("LLAMACPP_API_KEY",)) is None
    assert credentials.status(local, ("LLAMACPP_API_KEY",)) == KeyStatus("not-needed")

    monkeypatch.setenv("LLAMACPP_API_KEY", KEY)
    assert key_of(credentials, local, ("LLAMACPP_API_KEY",)) == KEY
    assert credentials.status(local, ("LLAMACPP_API_KEY",)).source == "environment"


def test_a_row_without_an_address_has_a_status(credentials: Credentials) -> None:
    row = ProviderConfig(id="azure")
    assert credentials.status(row, ()).source == "none"
    with pytest.raises(MissingKeyError):
        credentials.require(row, ())


# ---------------------------------------------------------------- the order


def test_session_goes_before_environment_and_environment_before_what_was_saved(
    open_credentials: Open, groq: ProviderConfig, passphrase: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = {name: f"{name}-{KEY[5:]}" for name in ("vault", "environment", "session")}
    credentials = open_credentials()
    credentials.save(groq, Secret(keys["vault"]), store="vault")
    assert key_of(credentials, groq) == keys["vault"]
    assert credentials.status(groq, NAMES) == KeyStatus("vault")

    monkeypatch.setenv("GROQ_API_KEY", keys["environment"])
    assert key_of(credentials, groq) == keys["environment"]
    assert credentials.status(groq, NAMES) == KeyStatus("environment", "GROQ_API_KEY")

    credentials.save(groq, Secret(keys["session"]), store="session")
    assert key_of(credentials, groq) == keys["session"]
    assert credentials.status(groq, NAMES) == KeyStatus("session")
    assert key_of(open_credentials(), groq) == keys["environment"]


def test_a_saved_key_that_the_environment_hides_is_said(
    credentials: Credentials, groq: ProviderConfig, passphrase: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GROQ_API_KEY", OTHER)
    assert "GROQ_API_KEY is set too, and the environment goes first" in credentials.save(groq, Secret(KEY)).sentence


# ---------------------------------------------------------------- where a new key goes


def test_without_a_keyring_and_a_vault_a_key_stays_in_the_session(
    open_credentials: Open, groq: ProviderConfig, home: Path
) -> None:
    credentials = open_credentials()
    saved = credentials.save(groq, Secret(KEY))
    assert saved.store == "session"
    assert saved.sentence == (
        "the key of groq is kept in this session only: there is no OS keyring here that encrypts, "
        "and no vault is unlocked"
    )
    assert key_of(credentials, groq) == KEY
    assert key_of(open_credentials(), groq) is None
    assert not home.exists(), "nothing was written"


def test_a_vault_with_a_passphrase_goes_before_the_session(
    open_credentials: Open, groq: ProviderConfig, home: Path, passphrase: str, key: str
) -> None:
    saved = open_credentials().save(groq, Secret(key))
    assert saved.store == "vault"
    assert "in the encrypted vault, for https://api.groq.com:443" in saved.sentence

    assert key_of(open_credentials(), groq) == key
    assert tomllib.loads((home / "config.toml").read_text())["keys"] == {"groq": "vault:https://api.groq.com:443"}
    for path in home.rglob("*"):
        assert path.is_dir() or traces(key, path.read_bytes().decode(errors="replace")) == []


def test_a_vault_that_was_unlocked_by_hand_is_used(open_credentials: Open, groq: ProviderConfig) -> None:
    credentials = open_credentials()
    credentials.unlock_vault("by hand")
    assert credentials.save(groq, Secret(KEY)).store == "vault"

    later = open_credentials()
    with pytest.raises(LockedStoreError, match="the vault, which is locked") as caught:
        later.require(groq, NAMES)
    assert "NBLLM_VAULT_PASSPHRASE" in str(caught.value.hint)
    with pytest.raises(LockedStoreError, match="does not open"):
        later.unlock_vault("by foot")
    later.unlock_vault("by hand")
    assert key_of(later, groq) == KEY


def test_a_wrong_passphrase_in_the_environment_is_told(
    open_credentials: Open, groq: ProviderConfig, passphrase: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_credentials().save(groq, Secret(KEY))
    monkeypatch.setenv("NBLLM_VAULT_PASSPHRASE", "wrong")
    with pytest.raises(LockedStoreError, match="does not open"):
        open_credentials().require(groq, NAMES)
    saved = open_credentials().save(groq, Secret(OTHER))
    assert saved.store == "session"
    assert "does not open" in saved.sentence


def test_a_store_that_was_named_and_cannot_keep_the_key_refuses(
    open_credentials: Open, groq: ProviderConfig, home: Path
) -> None:
    credentials = open_credentials()
    with pytest.raises(CredentialError, match="no OS keyring"):
        credentials.save(groq, Secret(KEY), store="keyring")
    with pytest.raises(LockedStoreError, match="the vault is locked"):
        credentials.save(groq, Secret(KEY), store="vault")
    assert key_of(credentials, groq) is None
    assert not home.exists()


def test_on_binder_a_key_stays_in_the_session(
    credentials: Credentials, groq: ProviderConfig, passphrase: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BINDER_SERVICE_HOST", "10.0.0.1")
    saved = credentials.save(groq, Secret(KEY))
    assert saved.store == "session"
    assert "on Binder" in saved.sentence
    assert "throw away" in saved.sentence
    assert not home.exists()


def test_where_the_disk_cannot_be_written_a_key_stays_in_the_session(
    open_credentials: Open, groq: ProviderConfig, passphrase: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a-file").write_text("")
    monkeypatch.setenv("NBLLM_HOME", str(tmp_path / "a-file" / "home"))
    credentials = open_credentials()
    saved = credentials.save(groq, Secret(KEY))
    assert saved.store == "session"
    assert "cannot" in saved.sentence
    assert key_of(credentials, groq) == KEY


def test_a_reference_that_cannot_be_written_leaves_no_key_behind(
    credentials: Credentials, groq: ProviderConfig, passphrase: str, home: Path
) -> None:
    home.mkdir()
    (home / "config.toml").mkdir()
    with pytest.raises(Exception, match="cannot read"):
        credentials.save(groq, Secret(KEY), store="vault")
    assert not (home / "vault.json").exists()


# ---------------------------------------------------------------- origins


def test_a_saved_key_does_not_go_to_another_address(
    open_credentials: Open, groq: ProviderConfig, moved: ProviderConfig, passphrase: str
) -> None:
    credentials = open_credentials()
    credentials.save(groq, Secret(KEY))
    assert key_of(credentials, moved) is None
    assert credentials.status(moved, NAMES) == KeyStatus("none", note="the saved key is for https://api.groq.com:443")
    with pytest.raises(MissingKeyError) as caught:
        credentials.require(moved, NAMES)
    assert caught.value.message == (
        "no key for groq at https://elsewhere.example:443: the saved one is for https://api.groq.com:443"
    )
    assert "`%llm_providers key groq`" in str(caught.value.hint)
    assert key_of(credentials, groq) == KEY


def test_a_session_key_does_not_go_to_another_address_either(
    credentials: Credentials, groq: ProviderConfig, moved: ProviderConfig
) -> None:
    credentials.save(groq, Secret(KEY), store="session")
    assert key_of(credentials, moved) is None
    assert credentials.status(moved, NAMES).source == "none"


def test_a_reference_changed_by_hand_moves_no_key(
    open_credentials: Open, groq: ProviderConfig, moved: ProviderConfig, passphrase: str, home: Path
) -> None:
    open_credentials().save(groq, Secret(KEY))
    config = home / "config.toml"
    config.write_text(config.read_text().replace("https://api.groq.com:443", "https://elsewhere.example:443"))
    with pytest.raises(MissingKeyError, match="says that it is in the encrypted vault"):
        open_credentials().require(moved, NAMES)


def test_another_path_or_a_port_spelt_out_is_the_same_address(
    credentials: Credentials, groq: ProviderConfig, passphrase: str
) -> None:
    credentials.save(groq, Secret(KEY))
    same = groq.model_copy(update={"base_url": "HTTPS://API.groq.com:443/other"})
    assert key_of(credentials, same) == KEY


@pytest.mark.parametrize("url", ["http://api.groq.com/v1", "https://api.groq.com:8443/v1", "https://groq.com/v1"])
def test_another_scheme_port_or_host_is_another_address(
    credentials: Credentials, groq: ProviderConfig, passphrase: str, url: str
) -> None:
    credentials.save(groq, Secret(KEY))
    assert key_of(credentials, groq.model_copy(update={"base_url": url})) is None


def test_a_key_for_the_new_address_replaces_the_old_one(
    open_credentials: Open, groq: ProviderConfig, moved: ProviderConfig, passphrase: str, home: Path
) -> None:
    credentials = open_credentials()
    credentials.save(groq, Secret(KEY))
    credentials.save(moved, Secret(OTHER))
    assert key_of(open_credentials(), moved) == OTHER
    assert key_of(open_credentials(), groq) is None
    assert (home / "vault.json").read_text().count('"provider"') == 1


def test_copied_settings_bring_no_key(
    open_credentials: Open, groq: ProviderConfig, passphrase: str, home: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    open_credentials().save(groq, Secret(KEY))
    copy = tmp_path / "another-machine"
    copy.mkdir()
    (copy / "config.toml").write_text((home / "config.toml").read_text())
    monkeypatch.setenv("NBLLM_HOME", str(copy))
    with pytest.raises(MissingKeyError, match="a copy of the file brings no keys"):
        open_credentials().require(groq, NAMES)


@pytest.mark.parametrize(
    "keys",
    ['keys = "x"', "[keys]\ngroq = 3", '[keys]\ngroq = "plain"', '[keys]\ngroq = "file:https://api.groq.com:443"'],
)
def test_a_line_that_is_no_reference_is_no_key(
    credentials: Credentials, groq: ProviderConfig, home: Path, keys: str
) -> None:
    home.mkdir()
    (home / "config.toml").write_text(keys + "\n")
    assert key_of(credentials, groq) is None
    assert credentials.status(groq, NAMES).source == "none"


# ---------------------------------------------------------------- forgetting


def test_forgetting_removes_the_key_and_the_reference(
    open_credentials: Open, groq: ProviderConfig, passphrase: str, home: Path
) -> None:
    credentials = open_credentials()
    credentials.save(groq, Secret(KEY))
    credentials.save(groq, Secret(OTHER), store="session")
    assert credentials.forget("groq") == ["session", "vault"]
    assert credentials.forget("groq") == []
    assert key_of(credentials, groq) is None
    assert "groq" not in (home / "config.toml").read_text()
    assert '"provider"' not in (home / "vault.json").read_text()


def test_a_damaged_vault_is_one_line_and_stays_as_it_is(
    open_credentials: Open, groq: ProviderConfig, passphrase: str, home: Path
) -> None:
    open_credentials().save(groq, Secret(KEY))
    (home / "vault.json").write_text("{")
    for act in (
        lambda c: c.require(groq, NAMES),
        lambda c: c.save(groq, Secret(OTHER), store="vault"),
        lambda c: c.forget("groq"),
    ):
        with pytest.raises(CredentialError, match="is damaged"):
            act(open_credentials())
    assert (home / "vault.json").read_text() == "{"


# ---------------------------------------------------------------- cost


def test_a_status_neither_imports_a_keyring_nor_derives_a_key(home: Path) -> None:
    home.mkdir()
    (home / "config.toml").write_text(
        '[keys]\none = "keyring:https://one.example:443"\ntwo = "vault:https://two.example:443"\n'
    )
    (home / "vault.json").write_text("{}")
    script = """
import os, sys
os.environ["NBLLM_VAULT_PASSPHRASE"] = "x"
from nbllm.credentials import Credentials
from nbllm.providers.spec import ProviderConfig
from nbllm.settings import ConfigFile, Paths
paths = Paths.from_environment()
credentials = Credentials(paths, ConfigFile(paths))
for name in ("one", "two", "three"):
    row = ProviderConfig(id=name, base_url=f"https://{name}.example/v1")
    print(credentials.status(row, ()).source)
print([name for name in ("keyring", "secretstorage", "cryptography", "IPython", "openai") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:4] == ["keyring", "vault", "none", "[]"]
