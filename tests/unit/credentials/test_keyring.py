"""The seven situations of a keyring. In none is anything prompted, kept in the clear, or waited for three seconds."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import keyring
import pytest
from keyring.backend import KeyringBackend
from keyring.backends.chainer import ChainerBackend
from keyring.errors import KeyringError, KeyringLocked, PasswordDeleteError

from key_shapes import SHAPES, traces
from nbllm.credentials import Credentials, KeyStatus, Secret
from nbllm.credentials.deadline import DEADLINE_S
from nbllm.credentials.keyring_store import REAL_BACKENDS
from nbllm.errors import CredentialError, LockedStoreError, MissingKeyError
from nbllm.providers.spec import ProviderConfig

Open = Callable[[], Credentials]
Make = Callable[..., KeyringBackend]

KEY = SHAPES[0].key()
NAMES = ("GROQ_API_KEY",)


class StdinNotImplementedError(NotImplementedError):
    """As IPython raises it, known by name only."""


class DBusErrorResponse(Exception):
    """As jeepney raises it, known by name only."""


@pytest.fixture
def plug() -> Iterator[Make]:
    """Makes a backend that says it is `module.name`, and makes it the chosen one unless `chosen` is False."""
    made: list[type[KeyringBackend]] = []

    def make(module: str, name: str, *, priority: float = 5, chosen: bool = True, **methods: object) -> KeyringBackend:
        entries: dict[tuple[str, str], str] = {}

        def delete(self: object, service: str, user: str) -> None:
            if entries.pop((service, user), None) is None:
                raise PasswordDeleteError

        body: dict[str, object] = {
            "priority": priority,
            "entries": entries,
            "set_password": lambda self, service, user, text: entries.__setitem__((service, user), text),
            "get_password": lambda self, service, user: entries.get((service, user)),
            "delete_password": delete,
        }
        kind = type(name, (KeyringBackend,), {**body, **methods, "__module__": module})
        made.append(kind)
        backend: KeyringBackend = kind()
        if chosen:
            keyring.set_keyring(backend)
        return backend

    yield make
    for kind in made:  # keyring keeps a list of all subclasses
        KeyringBackend._classes.discard(kind)


def raises(error: Exception) -> Callable[..., str]:
    def method(*args: object) -> str:
        raise error

    return method


def prompting(*args: object) -> str:
    """What keyrings.cryptfile does, and what the fixture `never_prompts` catches."""
    return input("Please enter password for encrypted keyring: ")


REAL = ("keyring.backends.macOS", "Keyring")
"""Stands for all real ones; SecretService itself is in test_real_keyring.py."""


# ---------------------------------------------------------------- unlocked


def test_a_key_is_kept_by_a_real_keyring(open_credentials: Open, groq: ProviderConfig, plug: Make, key: str) -> None:
    backend = plug(*REAL)
    saved = open_credentials().save(groq, Secret(key))
    assert (saved.store, saved.sentence) == (
        "keyring",
        "the key of groq is in the OS keyring, for https://api.groq.com:443",
    )
    assert list(backend.entries) == [("nbllm", "groq https://api.groq.com:443")], "the canary is gone"  # type: ignore[attr-defined]

    credentials = open_credentials()
    assert credentials.status(groq, NAMES) == KeyStatus("keyring")
    secret = credentials.require(groq, NAMES)
    assert secret is not None
    assert (secret.reveal(), secret.source) == (key, "keyring")
    assert credentials.forget("groq") == ["keyring"]
    assert backend.entries == {}  # type: ignore[attr-defined]


@pytest.mark.parametrize(("module", "name"), sorted(b for b in REAL_BACKENDS if "SecretService" not in b[0]))
def test_each_backend_on_the_list_is_used(
    credentials: Credentials, groq: ProviderConfig, plug: Make, module: str, name: str
) -> None:
    plug(module, name)
    assert credentials.save(groq, Secret(KEY)).store == "keyring"


def test_a_saved_key_does_not_go_to_another_address(
    open_credentials: Open, groq: ProviderConfig, moved: ProviderConfig, plug: Make
) -> None:
    backend = plug(*REAL)
    open_credentials().save(groq, Secret(KEY))
    with pytest.raises(MissingKeyError, match=r"the saved one is for https://api\.groq\.com:443"):
        open_credentials().require(moved, NAMES)

    open_credentials().save(moved, Secret(SHAPES[1].key()))
    assert [user for _, user in backend.entries] == ["groq https://elsewhere.example:443"]  # type: ignore[attr-defined]


def test_a_key_that_moves_to_the_vault_leaves_the_keyring(
    open_credentials: Open, groq: ProviderConfig, plug: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = plug(*REAL)
    credentials = open_credentials()
    credentials.save(groq, Secret(KEY))
    monkeypatch.setenv("NBLLM_VAULT_PASSPHRASE", "correct horse")
    assert credentials.save(groq, Secret(KEY), store="vault").store == "vault"
    assert backend.entries == {}  # type: ignore[attr-defined]
    assert credentials.find(groq, NAMES) is not None


def test_a_key_deleted_elsewhere_is_missing(open_credentials: Open, groq: ProviderConfig, plug: Make) -> None:
    backend = plug(*REAL)
    open_credentials().save(groq, Secret(KEY))
    backend.entries.clear()  # type: ignore[attr-defined]
    with pytest.raises(MissingKeyError, match="says that it is in the OS keyring, but it is not"):
        open_credentials().require(groq, NAMES)
    assert open_credentials().forget("groq") == []
    assert open_credentials().status(groq, NAMES).source == "none"


# ---------------------------------------------------------------- none, plain text, cryptfile


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("keyring.backends.fail", "Keyring"),
        ("keyring.backends.null", "Keyring"),
        ("keyrings.alt.file", "PlaintextKeyring"),
        ("keyrings.cryptfile.cryptfile", "CryptFileKeyring"),
        ("somebody.macOS", "Keyring"),
        ("keyring.backends.macOS", "BetterKeyring"),
    ],
)
def test_another_backend_is_never_touched(
    credentials: Credentials, groq: ProviderConfig, plug: Make, module: str, name: str
) -> None:
    """With whatever priority: no keyring, plain text, cryptfile, and look-alikes."""
    touched: list[object] = []
    plug(
        module, name, priority=100, **dict.fromkeys(("get_password", "set_password", "delete_password"), touched.append)
    )
    saved = credentials.save(groq, Secret(KEY))
    assert saved.store == "session"
    assert "there is no OS keyring here that encrypts" in saved.sentence
    assert touched == []


def test_in_a_chain_only_the_real_one_is_asked(
    open_credentials: Open, groq: ProviderConfig, plug: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    asks = {"get_password": prompting, "set_password": prompting, "delete_password": prompting}
    crypt = plug("keyrings.cryptfile.cryptfile", "CryptFileKeyring", priority=9, chosen=False, **asks)
    real = plug(*REAL, priority=5, chosen=False)
    plain = plug("keyrings.alt.file", "PlaintextKeyring", priority=0.5, chosen=False)
    monkeypatch.setattr("keyring.backend.get_all_keyring", lambda: [crypt, real, plain])
    keyring.set_keyring(ChainerBackend())
    assert open_credentials().save(groq, Secret(KEY)).store == "keyring"
    assert len(real.entries) == 1  # type: ignore[attr-defined]
    assert plain.entries == {}  # type: ignore[attr-defined]
    secret = open_credentials().find(groq, NAMES)
    assert secret is not None
    assert secret.reveal() == KEY


def test_a_chain_without_a_real_one_is_no_keyring(
    credentials: Credentials, groq: ProviderConfig, plug: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    crypt = plug("keyrings.cryptfile.cryptfile", "CryptFileKeyring", priority=2.5, chosen=False, get_password=prompting)
    plain = plug("keyrings.alt.file", "PlaintextKeyring", priority=0.5, chosen=False)
    monkeypatch.setattr("keyring.backend.get_all_keyring", lambda: [crypt, plain])
    keyring.set_keyring(ChainerBackend())
    assert credentials.save(groq, Secret(KEY)).store == "session"
    assert plain.entries == {}  # type: ignore[attr-defined]


# ---------------------------------------------------------------- locked, and failures


def test_a_locked_keyring_is_said_and_not_replaced(open_credentials: Open, groq: ProviderConfig, plug: Make) -> None:
    plug(*REAL)
    open_credentials().save(groq, Secret(KEY))
    locked = dict.fromkeys(("get_password", "set_password", "delete_password"), raises(KeyringLocked("locked")))
    plug(*REAL, **locked)

    credentials = open_credentials()
    with pytest.raises(LockedStoreError, match="the OS keyring is locked"):
        credentials.require(groq, NAMES)
    assert credentials.find(groq, NAMES) is None
    with pytest.raises(LockedStoreError, match="the OS keyring is locked"):
        credentials.save(groq, Secret(KEY), store="keyring")
    with pytest.raises(LockedStoreError, match="still in the OS keyring"):
        credentials.forget("groq")
    assert credentials.status(groq, NAMES) == KeyStatus("keyring"), "the reference stays"
    saved = credentials.save(groq, Secret(KEY))
    assert (saved.store, "the OS keyring is locked" in saved.sentence) == ("session", True)


def test_a_keyring_that_was_unlocked_meanwhile_works_again(
    open_credentials: Open, groq: ProviderConfig, plug: Make
) -> None:
    plug(*REAL, set_password=raises(KeyringLocked("locked")))
    credentials = open_credentials()
    assert credentials.save(groq, Secret(KEY)).store == "session"
    plug(*REAL)
    assert credentials.save(groq, Secret(KEY)).store == "keyring"


@pytest.mark.parametrize(
    "error",
    [KeyringError("x"), EOFError(), RuntimeError("x"), DBusErrorResponse("x"), StdinNotImplementedError("x"),
     ConnectionRefusedError("x"), NotImplementedError("x"), ZeroDivisionError("x")],
    ids=lambda e: type(e).__name__,
)  # fmt: skip
@pytest.mark.parametrize("method", ["get_password", "set_password", "delete_password"])
def test_no_failure_of_a_keyring_comes_through(
    credentials: Credentials, groq: ProviderConfig, plug: Make, error: Exception, method: str
) -> None:
    plug(*REAL, **{method: raises(error)})
    saved = credentials.save(groq, Secret(KEY))
    assert saved.store == "session"
    assert type(error).__name__ in saved.sentence
    with pytest.raises(CredentialError) as caught:
        credentials.save(groq, Secret(KEY), store="keyring")
    assert caught.value.__context__ is None
    assert traces(KEY, str(caught.value)) == []


@pytest.mark.parametrize("answer", [None, "", "another text"])
def test_a_keyring_that_forgets_is_no_keyring(
    credentials: Credentials, groq: ProviderConfig, plug: Make, answer: str | None
) -> None:
    plug(*REAL, get_password=lambda self, service, user: answer)
    saved = credentials.save(groq, Secret(KEY))
    assert saved.store == "session"
    assert "does not give back what it was given" in saved.sentence


# ---------------------------------------------------------------- hanging


@pytest.fixture
def released() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def test_a_keyring_that_hangs_is_left_behind_and_off(
    open_credentials: Open, groq: ProviderConfig, plug: Make, released: threading.Event,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    """A desktop's prompt that nobody answers, for sixty seconds."""
    plug(*REAL)
    open_credentials().save(groq, Secret(KEY))
    calls: list[str] = []

    def hang(self: object, service: str, user: str, *text: str) -> None:
        calls.append(user)
        released.wait(60)

    plug(*REAL, get_password=hang, set_password=hang, delete_password=hang)
    credentials = open_credentials()
    with pytest.raises(LockedStoreError, match="did not answer within 3 s"):
        credentials.require(groq, NAMES)
    assert not released.is_set(), "it was not waited for"
    assert DEADLINE_S < 3

    assert credentials.find(groq, NAMES) is None
    saved = credentials.save(groq, Secret(KEY))
    assert (saved.store, "until this kernel restarts" in saved.sentence) == ("session", True)
    assert len(calls) == 1, "it is asked once a kernel"
    assert credentials.notices() == [
        "the OS keyring did not answer within 3 s and is not used until this kernel restarts"
    ]
    assert caplog.messages.count(credentials.notices()[0]) == 1


def test_a_keyring_that_hangs_while_it_is_chosen_is_left_behind_too(
    credentials: Credentials, groq: ProviderConfig, released: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D-Bus itself may not answer."""
    monkeypatch.setattr("nbllm.credentials.keyring_store.call_within", _impatient)
    monkeypatch.setattr(keyring, "get_keyring", lambda: released.wait(60))
    assert "did not answer" in credentials.save(groq, Secret(KEY)).sentence


def _impatient(call: Callable[[], object]) -> object:
    from nbllm.credentials.deadline import call_within

    return call_within(call, deadline_s=0.05)
