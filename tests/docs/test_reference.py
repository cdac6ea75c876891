"""The reference leaves nothing out: each option, verb, setting, error and command stands on its page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

import nbllm
from nbllm import errors
from nbllm.cli.app import app
from nbllm.notebook.magics import chat, compare, config, models, providers, replay
from nbllm.settings import SETTINGS

REFERENCE = Path(__file__).resolve().parents[2] / "docs" / "reference"


def words(page: str) -> set[str]:
    """What stands in code on a page, word by word."""
    text = (REFERENCE / page).read_text(encoding="utf-8")
    codes = re.findall(r"`([^`\n]+)`", text)
    return {word.strip("[]|\\,.") for code in codes for word in re.split(r"[ =]|\\\|", code)}


def test_every_option_of_the_chat_is_on_its_page_with_an_example() -> None:
    assert set(chat.option_names()) - words("magics/chat.md") == set()
    text = (REFERENCE / "magics" / "chat.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| `-")]
    assert [row for row in rows if "`%chat " not in row] == []


def test_every_option_of_a_comparison_is_on_its_page_with_an_example() -> None:
    assert set(compare.option_names()) - words("magics/compare.md") == set()
    text = (REFERENCE / "magics" / "compare.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| `-")]
    assert [row for row in rows if "`%%compare " not in row] == []


def test_every_verb_and_option_of_the_providers_is_on_its_page() -> None:
    wanted = {*providers.VERBS, *(o for verb in providers.VERBS for o in providers.parser(verb).option_names())}
    assert wanted - words("magics/llm_providers.md") == set()


def test_every_verb_and_option_of_the_models_is_on_its_page() -> None:
    wanted = {*models.VERBS, *(o for verb in ("", *models.VERBS) for o in models.parser(verb).option_names())}
    assert wanted - words("magics/llm_models.md") == set()


def test_every_verb_and_option_of_the_settings_is_on_its_page() -> None:
    wanted = {*config.VERBS, *(o for verb in ("", *config.VERBS) for o in config.parser(verb).option_names())}
    assert wanted - words("magics/llm_config.md") == set()


def test_every_verb_and_option_of_recordings_is_on_its_page() -> None:
    wanted = {*replay.VERBS, *(o for verb in replay.VERBS for o in replay.parser(verb).option_names())}
    assert wanted - words("magics/llm_replay.md") == set()


def test_every_setting_and_its_variables_are_on_their_page() -> None:
    wanted = {name for s in SETTINGS.values() for name in (s.name, *s.env)}
    assert wanted - words("settings.md") == set()


def test_every_error_is_on_its_page() -> None:
    assert set(errors.__all__) - words("errors.md") == set()


def _commands(group: Any, before: str = "nbllm") -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, f"{before} {name}")
        else:
            yield f"{before} {name}", command


def test_every_command_and_its_options_are_on_their_page() -> None:
    text = (REFERENCE / "cli.md").read_text(encoding="utf-8")
    missing = []
    for name, command in _commands(typer.main.get_command(app)):
        if f"## `{name}" not in text:
            missing.append(name)
            continue
        section = text.partition(f"## `{name}")[2].partition("\n## ")[0]
        options = [o for p in command.params if p.param_type_name == "option" for o in p.opts if o != "--help"]
        missing += [f"{name} {o}" for o in options if f"`{o}" not in section]
    assert missing == []


def test_every_public_function_is_on_its_page() -> None:
    """mkdocstrings takes them from the module; what the package offers must be there or in the messages."""
    text = (REFERENCE / "python.md").read_text(encoding="utf-8")
    assert "::: nbllm.api" in text
    import nbllm.api as api

    lost = [n for n in nbllm.__all__ if not n.startswith("__") and not hasattr(api, n) and f"{n}," not in text]
    assert [n for n in lost if n not in text] == []
