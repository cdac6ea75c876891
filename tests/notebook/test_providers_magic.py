"""Each verb of `%llm_providers` and `%llm_config`."""

from __future__ import annotations

import getpass
import json
import tomllib
from pathlib import Path
from typing import Any

import keyring
import pytest
from keyring.backends import fail

import nbllm
from chatting import says
from kernels import Kernel, peer
from key_shapes import SHAPES, traces
from nbllm import errors
from nbllm.notebook.magics.providers import VERBS
from nbllm.settings import SETTINGS
from shell import loaded
from wire_server import WireServer, answer

KEY = SHAPES[0].key()
INTERFACE = ("list", "show", "add", "edit", "remove", "enable", "disable", "test", "models", "use", "key", "forget",
             "discover", "export", "import")  # fmt: skip
LISTING = answer(json.dumps({"data": [{"id": "m1"}, {"id": "m2"}]}).encode(), kind="application/json")


@pytest.fixture(autouse=True)
def no_keyring(monkeypatch: pytest.MonkeyPatch) -> None:
    from keyring import core

    monkeypatch.setattr(core, "_keyring_backend", fail.Keyring())
    assert keyring.get_keyring() is core._keyring_backend


@pytest.fixture
def typing(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is typed at hidden prompts; the questions are appended to `typing.asked`."""
    lines: list[str] = []

    def hidden(question: str = "") -> str:
        lines.append(f"asked: {question}")
        return next(lines.pop(i) for i, line in enumerate(lines) if not line.startswith("asked: "))

    monkeypatch.setattr(getpass, "getpass", hidden)
    return lines


def config(home: Path) -> dict[str, Any]:
    return tomllib.loads((home / "config.toml").read_text()) if (home / "config.toml").exists() else {}


def test_the_verbs_are_those_of_the_interface() -> None:
    assert tuple(VERBS) == INTERFACE


def test_no_verb_and_list_show_who_can_be_asked() -> None:
    with loaded() as (shell, _):
        usable = shell.good("%llm_providers").value
        assert next(iter(usable))["id"] == "demo"
        assert "groq" not in [r["id"] for r in usable]
        assert [r["id"] for r in shell.good("%llm_providers list").value] == [r["id"] for r in usable]
        everyone = [r["id"] for r in shell.good("%llm_providers list --all").value]
        assert {"groq", "openai", "anthropic", "gemini", "ollama"} <= set(everyone)


def test_add_show_edit_disable_enable_remove(home: Path) -> None:
    with loaded() as (shell, _):
        shell.good(
            "%llm_providers add mine --base-url http://127.0.0.1:9/v1/ --kind openai --name 'My own' --env MINE_KEY "
            "--header X-Team=blue --param top_p=0.5 --model a --model b --auth 'X-Auth: {key}'"
        )
        row = config(home)["providers"]["mine"]
        assert row["base_url"] == "http://127.0.0.1:9/v1"
        assert (row["headers"], row["params"], row["auth"]) == ({"X-Team": "blue"}, {"top_p": 0.5}, "X-Auth: {key}")
        assert "MINE_KEY" in row["env"]
        shown = shell.good("%llm_providers show mine").value.to_text()
        assert "My own" in shown
        assert "X-Auth: {key}" in shown
        assert "blue" not in shown
        shell.good("%llm_providers edit mine --auth none --base-url http://127.0.0.1:8/v1")
        assert config(home)["providers"]["mine"]["auth"] == "none"
        shell.good("%llm_providers disable mine demo")
        assert "mine" not in [r["id"] for r in shell.good("%llm_providers").value if r["enabled"]]
        assert "disabled" in str(shell.fails("%chat -m mine/a hi"))
        shell.good("%llm_providers enable mine demo")
        assert shell.good("%chat -m demo/echo hi").value
        shell.good("%llm_providers remove mine")
        assert "mine" not in config(home).get("providers", {})
        assert isinstance(shell.fails("%llm_providers show mine"), errors.UnknownProviderError)


def test_a_model_file_becomes_a_provider(home: Path, tmp_path: Path) -> None:
    with loaded() as (shell, _):
        error = shell.fails(f"%llm_providers add local-gguf --gguf {tmp_path / 'missing.gguf'}")
        assert "missing.gguf" in str(error)
        assert config(home) == {}
        (tmp_path / "tiny.gguf").write_bytes(b"GGUF" + b"\0" * 100)
        shell.good(f"%llm_providers add local-gguf --gguf {tmp_path / 'tiny.gguf'}")
        assert config(home)["providers"]["local-gguf"]["gguf"] == str(tmp_path / "tiny.gguf")


def test_test_one_several_and_all() -> None:
    with loaded(LISTING) as (shell, _):
        check = shell.good("%llm_providers test peer").value
        assert (check.ok, check.model_count) == (True, 2)
        table = shell.good("%llm_providers test demo peer").value
        assert {r["provider"]: r["ok"] for r in table} == {"demo": True, "peer": True}
        ids = {r["provider"] for r in shell.good("%llm_providers test --all").value}
        assert {"demo", "peer"} <= ids


def test_test_with_a_model_asks_it_for_a_token() -> None:
    with loaded(LISTING, says("x")) as (shell, server):
        check = shell.good("%llm_providers test peer --model m1").value
        assert (check.ok, check.model) == (True, "m1")
        assert b"/chat/completions" in server.requests[-1]


def test_models_are_listed_and_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    with loaded(LISTING) as (shell, server):
        assert [r["ref"] for r in shell.good("%llm_providers models peer").value] == ["peer/m1", "peer/m2"]
        shell.good("%llm_providers models peer")
        assert len(server.requests) == 1
        shell.good("%llm_providers models peer --refresh")  # within two seconds the answer is the same
        assert len(server.requests) == 1
        monkeypatch.setattr("nbllm.catalog.listings.DEBOUNCE_S", 0)
        shell.good("%llm_providers models peer --refresh")
        assert len(server.requests) == 2


def test_use_makes_a_model_the_default(home: Path) -> None:
    with loaded(says("ok")) as (shell, _):
        shell.good("%llm_providers use peer/some/model")
        assert config(home)["settings"]["model"] == "peer/some/model"
        assert shell.good("%chat hi").value.ref == "peer/some/model"


def test_discover_says_what_answers_here() -> None:
    with loaded() as (shell, _):
        assert shell.good("%llm_providers discover").value is not None


def test_export_has_no_key_and_import_brings_rows_back(home: Path, tmp_path: Path, typing: list[str]) -> None:
    path = tmp_path / "rows.toml"
    with loaded() as (shell, _):
        shell.good("%llm_providers add mine --base-url http://127.0.0.1:9/v1")
        typing.append(KEY)
        shell.good("%llm_providers key mine --store session")
        shell.good(f"%llm_providers export {path}")
        assert traces(KEY, path.read_text()) == []
        shell.good("%llm_providers remove mine")
        assert "mine" in str(shell.good(f"%llm_providers import {path} --dry-run").value)
        assert "mine" not in config(home).get("providers", {})
        shell.good(f"%llm_providers import {path}")
        assert config(home)["providers"]["mine"]["base_url"] == "http://127.0.0.1:9/v1"


# ---------------------------------------------------------------- keys


def test_a_key_is_asked_for_out_of_sight_and_forgotten(home: Path, typing: list[str]) -> None:
    with loaded(says("ok"), auth="bearer", key_optional=False) as (shell, server):
        assert isinstance(shell.fails("%chat -m peer/m hi"), errors.MissingKeyError)
        typing.append(f"  {KEY}\n")
        done = shell.good("%llm_providers key peer")
        assert typing == ["asked: Key for peer: "]
        assert "session only" in str(done.value)
        assert traces(KEY, done.out + done.err + repr(done.value)) == []
        shell.good("%chat -m peer/m hi")
        assert KEY.encode() in server.requests[0]
        assert "session" in str(shell.good("%llm_providers forget peer groq").value)
        assert isinstance(shell.fails("%chat -m peer/m hi"), errors.MissingKeyError)
        assert KEY not in repr(config(home))


@pytest.mark.parametrize("typed", ["", "   ", "two words", "line\nbreak", "\x00" * 20])
def test_what_is_no_key_is_refused_and_not_repeated(typing: list[str], typed: str) -> None:
    with loaded() as (shell, _):
        typing.append(typed)
        error = shell.fails("%llm_providers key groq")
        assert isinstance(error, errors.CredentialError)
        assert "nothing was saved" in error.message
        assert not typed.strip("\x00 \n") or typed not in str(error)
        assert error.__context__ is None


def test_no_frame_keeps_what_was_typed(typing: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever breaks after the prompt: a traceback that shows local values must not show the key."""
    with loaded() as (shell, _):

        def breaks(*args: object, **kwargs: object) -> None:
            raise ZeroDivisionError

        monkeypatch.setattr(nbllm.workspace(), "save_key", breaks)
        typing.append(KEY)
        shell.good("%xmode Verbose")
        done = shell.run("%llm_providers key groq")
        assert isinstance(done.error, ZeroDivisionError)
        assert "save_key" in done.out + done.err
        assert traces(KEY, done.out + done.err) == []


def test_without_an_address_no_key_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(getpass, "getpass", lambda _: pytest.fail("asked for a key that belongs nowhere"))
    with loaded() as (shell, _):
        assert "AZURE_RESOURCE_NAME" in str(shell.fails("%llm_providers key azure"))
        assert "wire format" in str(shell.fails("%llm_providers key amazon-bedrock"))


def test_a_place_without_input_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(question: str) -> str:
        raise EOFError

    monkeypatch.setattr(getpass, "getpass", refuse)
    with loaded() as (shell, _):
        error = shell.fails("%llm_providers key groq")
        assert "cannot ask" in error.message
        assert "environment variable" in (error.hint or "")


def test_the_vault_asks_for_a_new_passphrase_twice_and_then_once(home: Path, typing: list[str]) -> None:
    with loaded() as (shell, _):
        typing += ["a passphrase", "another one"]
        assert "differ" in str(shell.fails("%llm_providers key groq --store vault"))
        assert not (home / "vault.json").exists()
        typing[:] = ["a passphrase", "a passphrase", KEY]
        assert "vault" in str(shell.good("%llm_providers key groq --store vault").value)
        assert [line.split(":")[1].strip() for line in typing] == [
            "Choose a passphrase for the vault", "The same passphrase again", "Key for Groq",
        ]  # fmt: skip
        typing[:] = [KEY]  # it is open now
        shell.good("%llm_providers key openai --store vault")
        shell.good("%unload_ext nbllm")
        shell.good("%load_ext nbllm")
        typing[:] = ["not it"]
        assert isinstance(shell.fails("%llm_providers key mistral --store vault"), errors.LockedStoreError)
        typing[:] = ["a passphrase", KEY]
        shell.good("%llm_providers key mistral --store vault")
        assert traces(KEY, (home / "vault.json").read_text()) == []


def test_the_passphrase_may_come_from_the_environment(typing: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NBLLM_VAULT_PASSPHRASE", "a passphrase")
    with loaded() as (shell, _):
        typing.append(KEY)
        assert "vault" in str(shell.good("%llm_providers key groq").value)
        assert typing == ["asked: Key for Groq: "]


def test_a_kernel_asks_through_its_front_end(tmp_path: Path) -> None:
    with Kernel(answers=[KEY], folder=tmp_path) as kernel:
        kernel.run("%load_ext nbllm")
        run = kernel.run("%llm_providers key groq --store session")
        assert run.ok
        assert run.prompts == [("Key for Groq: ", True)]
        assert traces(KEY, repr(kernel.log)) == []
        assert kernel.run("%llm_providers key groq", stdin=False).ename == "CredentialError"


# ---------------------------------------------------------------- what is told once


def test_news_of_keys_and_of_the_store_are_told_once(
    home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "key"
    path.write_text(KEY)
    path.chmod(0o644)
    monkeypatch.setenv("MINE_API_KEY_FILE", str(path))
    home.mkdir()
    (home / "nbllm.db").mkdir()  # cannot be opened as a database
    with loaded(says("ok")) as (shell, server):
        shell.good(f"%llm_providers add mine --base-url {server.url} --env MINE_API_KEY")
        first = shell.good("%chat -m mine/m hi").err
        assert first.count("can be read by others") == 1
        assert first.count("memory only") == 1
        assert all(line.startswith("nbllm: ") for line in first.splitlines() if "mine/m ·" not in line)
        second = shell.good("%chat -m mine/m hi").err
        assert "nbllm: " not in second


def test_several_tests_show_their_progress_where_a_front_end_listens(tmp_path: Path) -> None:
    with WireServer([LISTING]) as server, Kernel(folder=tmp_path) as kernel:
        kernel.run(peer(server.url))
        run = kernel.run("table = %llm_providers test demo peer")
        said = [m["content"]["data"]["text/plain"] for m in run.messages]
        assert said[0] == "tested 0 of 2"
        assert [s.partition(" (")[0] for s in said[1:3]] == ["tested 1 of 2", "tested 2 of 2"]
        bars = [m["content"]["data"].get("text/html", "") for m in run.messages]
        assert ["<progress" in bar for bar in bars] == [True, True, True, False]
        assert [f"max='2' value='{i}'" in bar for i, bar in enumerate(bars[:3])] == [True, True, True]
        assert [o["data"] for o in run.outputs] == [{"text/plain": "tested 2 of 2"}]
        assert kernel.run("table2 = %llm_providers test demo peer", stdin=False).messages == []


# ---------------------------------------------------------------- settings


def test_settings_are_listed_read_set_and_undone(home: Path) -> None:
    with loaded() as (shell, _):
        rows = shell.good("%llm_config").value
        assert [r["name"] for r in rows] == list(SETTINGS)
        assert all(r["source"] for r in rows)
        assert shell.good("%llm_config max_rounds").value[0]["value"] == 8
        assert shell.good("%llm_config max_rounds 3").value[0]["source"] == "config.toml"
        assert config(home)["settings"] == {"max_rounds": 3}
        shell.good("%llm_config max_rounds 4 --session")
        assert shell.good("%llm_config max_rounds").value[0]["source"] == "session"
        assert config(home)["settings"] == {"max_rounds": 3}
        assert "max_rounds" in shell.good("%llm_config history").value.to_text()
        assert "max_rounds" in str(shell.good("%llm_config undo").value)
        assert config(home).get("settings", {}) == {}
        shell.good("%llm_config model demo/echo")
        shell.good("%llm_config model ''")
        assert shell.good("%llm_config model").value[0]["source"] == "default"


def test_presets_are_kept_listed_and_removed(home: Path) -> None:
    with loaded() as (shell, _):
        shell.good("""%llm_config preset calm -p temperature=0 -p 'stop=["a b"]'""")
        assert config(home)["presets"] == {"calm": {"temperature": 0, "stop": ["a b"]}}
        assert [r["preset"] for r in shell.good("%llm_config preset").value] == ["calm"]
        shell.good("%llm_config preset calm")
        assert len(shell.good("%llm_config preset").value) == 0


def test_the_environment_goes_before_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NBLLM_MODEL", "demo/slow")
    with loaded() as (shell, _):
        row = shell.good("%llm_config model demo/echo").value[0]
        assert (row["value"], row["source"]) == ("demo/slow", "NBLLM_MODEL")
