"""Tab: what is offered, from what is already known, and never from the network."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path

import pytest

import nbllm
from chatting import says
from kernels import Kernel
from nbllm.notebook import completion
from nbllm.notebook.magics.chat import option_names
from nbllm.notebook.magics.providers import VERBS
from shell import Shell, loaded


@dataclass(frozen=True)
class Tab:
    id: str
    typed: str
    offers: tuple[str, ...]
    """Among them; without these, nothing is offered."""


CASES = (
    Tab("options of a cell", "%%chat --la", ("--last-error",)),
    Tab("options of a line", "%chat --no-", ("--no-history", "--no-stream")),
    Tab("short options", "%chat -", ("-m", "-s", "-a", "--model")),
    Tab("a model first in a cell", "%%chat demo/g", ("demo/guide",)),
    Tab("a model behind -m", "%chat -m demo/e", ("demo/echo", "demo/error-401")),
    Tab("a provider of a model", "%%chat de", ("demo/guide",)),
    Tab("a slash and nothing", "%%chat demo/", ("demo/guide", "demo/echo")),
    Tab("a model of two slashes", "%%chat mine/meta-l", ("mine/meta-llama/llama-3:free",)),
    Tab("an alias", "%%chat -m fa", ("fast",)),
    Tab("a preset", "%%chat demo/echo --preset c", ("calm",)),
    Tab("a conversation", "%%chat demo/echo -c stu", ("study",)),
    Tab("a conversation by its long option", "%%chat --conversation stu", ("study",)),
    Tab("a verb", "%llm_providers te", ("test",)),
    Tab("every verb", "%llm_providers ", tuple(VERBS)),
    Tab("a provider of a verb", "%llm_providers key gr", ("groq",)),
    Tab(
        "providers of a family", "%llm_providers test xiaomi-token", ("xiaomi-token-plan-ams", "xiaomi-token-plan-sgp")
    ),
    Tab("a provider with a digit first", "%llm_providers show 3", ("302ai",)),
    Tab("a second provider", "%llm_providers remove groq mi", ("mine",)),
    Tab("an option of a verb", "%llm_providers add x --ba", ("--base-url",)),
    Tab("a store", "%llm_providers key groq --store v", ("vault",)),
    Tab("a model to use", "%llm_providers use demo/e", ("demo/echo",)),
    Tab("a setting", "%llm_config max_r", ("max_rounds",)),
    Tab("a verb of settings", "%llm_config un", ("undo",)),
    Tab("a verb of models", "%llm_models fav", ("favourite",)),
    Tab("a model of a verb", "%llm_models info groq/llama-3.3", ("groq/llama-3.3-70b-versatile",)),
    Tab("a second model of a verb", "%llm_models favourite demo/echo demo/g", ("demo/guide",)),
    Tab("a model to search for", "%llm_models demo/ec", ("demo/echo",)),
    Tab("an option of models", "%llm_models --ma", ("--max-price",)),
    Tab("an option of a verb of models", "%llm_models add demo/x --in", ("--input-price",)),
    Tab("a provider of models", "%llm_models --provider gro", ("groq",)),
    Tab("a column", "%llm_models --sort inp", ("input_price",)),
    Tab("a group", "%llm_models --group che", ("cheap",)),
    Tab("a group to fill", "%llm_models group che", ("cheap",)),
    Tab("an alias to change", "%llm_models alias qui", ("quick",)),
    Tab("an alias of the store", "%%chat -m qui", ("quick",)),
    Tab("an aim", "%llm_models recommend --for lat", ("latency",)),
    Tab("a preset to change", "%llm_config preset c", ("calm",)),
)


@pytest.fixture
def no_socket(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    opened: list[str] = []

    def refuse(*args: object, **kwargs: object) -> None:
        opened.append(repr(args))
        raise AssertionError("a completion opened a socket")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    return opened


def tab(shell: Shell, typed: str, at: int | None = None) -> list[str]:
    """What IPython's completer offers, put into the line."""
    from IPython.core.completer import provisionalcompleter

    with provisionalcompleter():
        found = list(shell.ip.Completer.completions(typed, len(typed) if at is None else at))
    return [typed[: c.start] + c.text for c in found]


def furnish(shell: Shell) -> None:
    shell.good("%llm_providers add mine --base-url http://127.0.0.1:9/v1 --auth none --model meta-llama/llama-3:free")
    shell.good("%llm_config preset calm -p temperature=0")
    nbllm.workspace().config.update("alias", lambda d: d.setdefault("aliases", {}).update(fast="demo/echo"))
    shell.good("%chat -m demo/echo -c study hi")
    shell.good("%llm_models group cheap demo/echo")
    shell.good("%llm_models alias quick demo/echo")


def test_a_tab_offers_what_is_known(no_socket: list[str]) -> None:
    wrong = []
    with loaded() as (shell, _):
        furnish(shell)
        for case in CASES:
            offered = tab(shell, case.typed)
            start = case.typed[: case.typed.rindex(" ") + 1]
            wrong += [(case.id, name, offered[:8]) for name in case.offers if start + name not in offered]
        assert completion.last_problem is None
    assert wrong == []
    assert no_socket == []


@pytest.mark.parametrize("typed", ["%%chat demo/e", "%chat -m demo/e"])
def test_only_ours_is_offered_for_a_reference(typed: str) -> None:
    with loaded() as (shell, _):
        assert {t.rpartition(" ")[2] for t in tab(shell, typed)} == {"demo/echo", "demo/error-401", "demo/error-429"}


def test_the_prompt_and_other_magics_are_left_to_ipython() -> None:
    with loaded() as (shell, _):
        shell.good("a_long_name = 1")
        assert "print(a_long_name" in tab(shell, "print(a_lo")
        assert tab(shell, "%%chat demo/echo\n--la") == []
        assert not any(t.endswith("demo/guide") for t in tab(shell, "%chat what is de"))


def test_a_variable_is_offered_where_one_is_named() -> None:
    with loaded() as (shell, _):
        shell.good("my_picture = 1\ndef my_tool(): pass")
        for typed in ("%%chat demo/echo -a my_p", "%%chat demo/echo --attach my_p"):
            assert typed + "icture" in tab(shell, typed)
        for typed in ("%%chat demo/echo --tool my_t", "%%chat demo/echo --schema my_t"):
            assert typed + "ool" in tab(shell, typed)


def test_a_tab_never_fails_nor_speaks_on_broken_settings(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with loaded(says("ok")) as (shell, _):
        (home / "config.toml").parent.mkdir(exist_ok=True)
        (home / "config.toml").write_text("[broken")
        for case in CASES:
            tab(shell, case.typed)
        assert "--last-error" in "".join(tab(shell, "%%chat --la"))
        assert completion.last_problem is not None
    said = capsys.readouterr()
    assert "Traceback" not in said.out + said.err


def test_every_option_of_the_chat_is_offered() -> None:
    with loaded() as (shell, _):
        offered = {t.rpartition(" ")[2] for t in tab(shell, "%%chat -")}
        assert set(option_names()) <= offered


def test_a_front_end_gets_whole_references(tmp_path: Path) -> None:
    with Kernel(folder=tmp_path) as kernel:
        kernel.run("%load_ext nbllm")
        assert "%%chat demo/guide" in kernel.complete("%%chat demo/g")
        assert "%llm_providers show anthropic" in kernel.complete("%llm_providers show anth")
