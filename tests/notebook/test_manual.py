"""A question mark behind a magic shows a page of the manual."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from chatting import says
from nbllm.errors import NbllmError
from nbllm.notebook.magics import chat, compare, config, models, providers, replay
from nbllm.notebook.magics.arguments import Arguments
from nbllm.notebook.magics.manual import WIDTH, described, described_verbs
from pages import DOCS, page
from shell import Shell, loaded

MAGICS: dict[str, ModuleType] = {
    "%%chat": chat,
    "%%compare": compare,
    "%llm_providers": providers,
    "%llm_models": models,
    "%llm_replay": replay,
    "%llm_config": config,
}


@pytest.fixture(scope="module")
def shell() -> Iterator[Shell]:
    """A shell without keys; its provider `peer` answers."""
    with loaded(says("an answer")) as (shell, _):
        yield shell


def asked(shell: Shell, name: str) -> str:
    """What a front end is sent for `name?`."""
    return str(shell.ip.object_inspect_mime(name)["text/plain"])


def parsers(name: str) -> Iterator[Arguments]:
    """Every parser of a magic."""
    if name == "%%chat":
        yield chat._parser("%%chat", with_model=True)
        return
    if name == "%%compare":
        yield compare._parser()
        return
    module: Any = MAGICS[name]
    verbs = [*module.VERBS, ""] if name in ("%llm_models", "%llm_config") else [*module.VERBS]
    yield from (module.parser(verb) for verb in verbs)


@pytest.mark.parametrize("name", MAGICS)
def test_every_option_stands_in_what_a_question_mark_shows(name: str, shell: Shell) -> None:
    text = asked(shell, name)
    words = set(text.replace(",", " ").split())
    options = {option for parser in parsers(name) for option in parser.option_names()}
    assert options
    assert options - words == set()


@pytest.mark.parametrize("name", MAGICS)
def test_every_verb_stands_there_with_a_line_about_it(name: str, shell: Shell) -> None:
    lines = asked(shell, name).splitlines()
    for verb in getattr(MAGICS[name], "VERBS", ()):
        said = [line for line in lines if line.startswith(f"  {verb} ")]
        assert len(said) == 1, verb
        assert len(said[0].split("  ")) > 2, said[0]


@pytest.mark.parametrize("name", MAGICS)
def test_a_page_of_the_manual_fits_beside_a_notebook(name: str) -> None:
    """No line is wider than the help of JupyterLab."""
    assert [line for line in MAGICS[name].page().splitlines() if len(line) > WIDTH] == []


@pytest.mark.parametrize("name", MAGICS)
def test_the_option_for_help_shows_the_same_page(name: str, shell: Shell) -> None:
    line = name.replace("%%chat", "%chat")
    assert shell.good(f"{line} --help").out.strip() == MAGICS[name].page().strip()


@pytest.mark.parametrize("verb", providers.VERBS)
def test_a_verb_with_the_option_for_help_does_nothing_but_show_it(verb: str, shell: Shell) -> None:
    assert shell.good(f"%llm_providers {verb} --help").out.startswith("Who can be asked")


@pytest.mark.parametrize("name", MAGICS)
def test_there_are_five_examples_and_each_runs(name: str) -> None:
    examples = MAGICS[name].EXAMPLES
    assert len(examples) == 5
    with loaded(says("no")) as (shell, _):
        shell.names["questions"] = [{"question": "What is a provider?", "expected": "provider"}]
        for said, cell in examples:
            if name == "%llm_replay" and "status" not in cell:
                replay.parser(cell.split()[1]).read(cell.split()[2:])  # it would look for a notebook's file
            elif "key groq" not in cell:  # that one asks a person
                done = shell.run(cell)
                assert done.error is None, f"{said}: {done.error!r}"


@pytest.mark.parametrize("name", [n for n in MAGICS if not n.startswith("%%")])
def test_a_wrong_word_is_answered_with_a_way_to_the_page(name: str, shell: Shell) -> None:
    """The hint names an option that is there."""
    error = shell.run(f"{name} list --no-such-option" if name == "%llm_providers" else f"{name} --no-such-option").error
    assert isinstance(error, NbllmError)


def test_loading_puts_no_page_together() -> None:
    """They are made when somebody asks; until then nothing is spent on them."""
    code = (
        "import nbllm.notebook.magics.manual as m, IPython.core.interactiveshell as i\n"
        "m.manual = m.described = m.described_verbs = lambda *a, **k: 1 / 0\n"
        "shell = i.InteractiveShell(); shell.extension_manager.load_extension('nbllm')\n"
        "assert '%%chat' in shell.find_magic('chat', 'cell').__doc__\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_an_option_that_two_verbs_share_is_explained_once_and_named_twice() -> None:
    def verb(name: str) -> tuple[str, str, Arguments]:
        parser = Arguments(name)
        parser.add_argument("id", metavar="ID")
        parser.add_argument("--all", action="store_true", help="also the others")
        parser.add_argument("--hidden", help=argparse.SUPPRESS)
        return name, f"what {name} does", parser

    text = described_verbs([verb("one"), verb("two")])
    assert text.count("also the others") == 1
    assert text.splitlines()[-1].split() == ["as", "above", "--all"]
    assert "--hidden" not in text


def test_an_option_that_is_added_is_described() -> None:
    parser = Arguments("%magic")
    parser.add_argument_group("Groups").add_argument("-n", "--new-thing", metavar="N", help="what it is for")
    assert described(parser) == "Groups\n------\n  -n, --new-thing N           what it is for"


@pytest.mark.parametrize("name", ["chat", "compare", "llm_providers", "llm_models", "llm_replay", "llm_config"])
def test_the_reference_says_how_to_ask_for_the_page(name: str) -> None:
    codes = {code for _, code in page(DOCS / "reference" / "magics" / f"{name}.md").codes}
    assert any(code.endswith(f"{name}?") for code in codes)
