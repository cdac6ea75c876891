"""What the pages say is true: links lead somewhere, options exist, and what can be run is run."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import typer
import yaml
from IPython.core.inputtransformer2 import TransformerManager
from jupyter_client.manager import KernelManager, start_new_kernel

from nbllm.cli.app import app
from nbllm.errors import NbllmError
from nbllm.notebook.magics import arguments
from nbllm.notebook.magics.chat import ChatMagics
from nbllm.notebook.magics.compare import CompareMagics
from nbllm.notebook.magics.config import ConfigMagics
from nbllm.notebook.magics.models import ModelMagics
from nbllm.notebook.magics.providers import ProviderMagics
from nbllm.notebook.magics.replay import ReplayMagics
from nbllm.settings import Paths
from nbllm.workspace import Workspace
from pages import DOCS, LANGUAGES, REPO, Block, Page, page, pages, shell_lines

PAGES = pages()
GUIDE = page(REPO / "src" / "nbllm" / "transport" / "demo" / "guide.md")  # what `demo/guide` answers with

_REMOTE = re.compile(r"[a-z]+:|//|#$")


def _ids(found: list[Page]) -> list[str]:
    return [p.id for p in found]


# ---------------------------------------------------------------- links


@pytest.mark.parametrize("page_", PAGES, ids=_ids(PAGES))
def test_every_relative_link_and_anchor_leads_somewhere(page_: Page) -> None:
    """To a file of the project, and to a heading that is there; pages of the site link only within it."""
    broken = [f"{page_.id}:{line}: {link}" for line, link in page_.links if not _leads_somewhere(page_, link)]
    assert not broken, "\n".join(broken)


def _leads_somewhere(page_: Page, link: str) -> bool:
    if _REMOTE.match(link):
        return True
    name, _, anchor = unquote(link).partition("#")
    target = (page_.path.parent / name).resolve() if name else page_.path
    if not target.exists() or (page_.path.is_relative_to(DOCS) and not target.is_relative_to(DOCS)):
        return False
    if not anchor or target.suffix != ".md":
        return True
    found = page(target)
    return anchor in found.anchors or ":::" in found.text  # headings that mkdocstrings makes


@pytest.mark.parametrize("page_", PAGES, ids=_ids(PAGES))
def test_pages_name_no_place_of_their_authors(page_: Page) -> None:
    """Paths of the machine where they were written help nobody."""
    assert not re.search(r"(?<![\w.])/(tmp|work|root|home/(?!me/)\w+)/", page_.text)


def test_the_readme_counts_the_rows_of_providers_right() -> None:
    """The number grows with the file."""
    rows = tomllib.loads((REPO / "src/nbllm/providers/providers.toml").read_text(encoding="utf-8"))
    assert f"{len(rows)} [rows]" in (REPO / "README.md").read_text(encoding="utf-8")


# ---------------------------------------------------------------- options


class _Read(Exception):
    """A line was understood; nothing further is to happen."""


@pytest.fixture
def only_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Magics stop when they have understood their line."""
    read = arguments.Arguments.read

    def stop(self: arguments.Arguments, words: list[str]) -> None:
        raise _Read(read(self, words))

    monkeypatch.setattr(arguments.Arguments, "read", stop)


def _magic_lines(page_: Page) -> Iterator[tuple[int, str, bool]]:
    """Every use of a magic: line number, line, and whether it is complete."""
    for block in page_.blocks:
        if block.is_cell:
            for number, line in enumerate(block.text.splitlines(), block.line + 1):
                if line.startswith("%"):
                    yield number, line, True
    for number, code in page_.codes:
        if re.match(r"%%?(chat|compare|llm_)", code):
            yield number, code, False


@pytest.mark.parametrize("page_", [*PAGES, GUIDE], ids=_ids([*PAGES, GUIDE]))
@pytest.mark.usefixtures("only_read")
def test_every_magic_and_option_that_a_page_names_exists(page_: Page) -> None:
    """Each line is read by the magic itself, which goes no further."""
    wrong = []
    for number, line, whole in _magic_lines(page_):
        try:
            line = line.replace(" [options]", "")
            _read_magic(line if whole else re.sub(r"\[|\]|\.\.\.|…", " ", line).rstrip())
        except _Read:
            pass
        except NbllmError as error:
            if whole or "the following arguments are required" not in error.message:
                wrong.append(f"{page_.id}:{number}: {line}\n  {error}")
    assert not wrong, "\n".join(wrong)


_OTHERS = ("%load_ext", "%unload_ext", "%reload_ext", "%xmode", "%env", "%%time", "%%capture", "%history", "%pip")


def _read_magic(line: str) -> None:
    name, _, rest = line.partition(" ")
    if name.endswith("?"):  # asks for its page of the manual
        name, rest = name[:-1], "--help"
    if name in ("%%chat", "%chat"):
        ChatMagics.chat(None, rest, "a question" if name == "%%chat" else None)
    elif name == "%%compare":
        CompareMagics.compare(None, rest, "a question")
    elif name == "%llm_config":
        ConfigMagics.llm_config(None, rest)
    elif name == "%llm_models":
        ModelMagics.llm_models(None, rest)
    elif name == "%llm_providers" and rest:  # without a verb it has nothing to read
        ProviderMagics.llm_providers(None, rest)
    elif name == "%llm_replay" and rest:
        ReplayMagics.llm_replay(None, rest)
    elif name not in (*_OTHERS, "%llm_providers", "%llm_replay"):
        raise NbllmError(f"there is no magic {name}")


@pytest.mark.parametrize("page_", [*PAGES, GUIDE], ids=_ids([*PAGES, GUIDE]))
def test_every_command_and_option_that_a_page_names_exists(page_: Page) -> None:
    """Each `nbllm ...` is read by the command line's own parser."""
    wrong = []
    found = [(b.line, line, True) for b in page_.blocks for line in shell_lines(b)]
    found += [(number, code, False) for number, code in page_.codes]
    for number, line, whole in found:
        for words in re.findall(r"(?:^|&& |\| )nbllm(?: ([^|&>]*))?", line):
            problem = _command_problem(_words(words), whole=whole)
            if problem:
                wrong.append(f"{page_.id}:{number}: {line}\n  {problem}")
    assert not wrong, "\n".join(wrong)


def _words(text: str) -> list[str]:
    return arguments.split(re.sub(r"(?<!\w)\[|\](?!\w)|\.\.\.|…|  #.*", " ", text))


def _command_problem(words: list[str], *, whole: bool) -> str | None:
    command: Any = typer.main.get_command(app)
    name = "nbllm"
    context = None
    try:
        while True:
            context = command.make_context(name, list(words), parent=context)
            if not hasattr(command, "resolve_command") or not words or words[0].startswith("-"):
                return None
            name, command, words = command.resolve_command(context, list(words))
    except SystemExit:  # the options about completion do their work, in the test's home, and end there
        return None
    except Exception as exc:  # the parser's own classes live in different packages from version to version
        if type(exc).__name__ in ("Exit", "NoArgsIsHelpError"):
            return None
        if type(exc).__name__ == "MissingParameter" and not whole:
            return None
        return getattr(exc, "message", None) or repr(exc)


_PYTHON = [b for p in PAGES for b in p.blocks if b.is_cell and b.needs_more != "shows the form of a call"]


@pytest.mark.parametrize("block", _PYTHON, ids=[b.id for b in _PYTHON])
def test_every_cell_compiles_also_those_that_are_not_run(block: Block) -> None:
    """As IPython reads it."""
    source = TransformerManager().transform_cell(block.text)
    compile(source, block.id, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


# ---------------------------------------------------------------- running


def _environment(folder: Path) -> dict[str, str]:
    """Without keys, without network, and with a demo that does not make anybody wait."""
    bad = ("_API_KEY", "_API_KEY_FILE", "_BASE_URL", "_MODELS", "_TOKEN", "_proxy", "_PROXY")
    kept = {k: v for k, v in os.environ.items() if not k.endswith(bad) and not k.startswith(("NBLLM_", "PYTEST_"))}
    (folder / "user").mkdir(exist_ok=True)
    return kept | {
        "HOME": str(folder / "user"),
        "IPYTHONDIR": str(folder / "ipython"),
        "MPLBACKEND": "agg",
        "NBLLM_DEMO_PACE_S": "0",
        "NBLLM_HOME": str(folder / "home"),
        "NBLLM_OFFLINE": "1",
        "PYTHONPATH": os.pathsep.join([str(REPO / "src"), os.environ.get("PYTHONPATH", "")]),
    }


class Notebook:
    """One kernel for all pages; each page begins with a clean one, a home and a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._manager: KernelManager
        self._manager, self._client = start_new_kernel(env=_environment(folder))

    def close(self) -> None:
        """End the kernel."""
        self._client.stop_channels()
        self._manager.shutdown_kernel(now=True)

    def turn_to(self, page_: Page) -> None:
        """Forget the page before."""
        here = self._folder / page_.id.replace("/", "-")
        (here / "work").mkdir(parents=True)
        self.run(
            "import os, sys\n"
            "'nbllm' in sys.modules and get_ipython().run_line_magic('unload_ext', 'nbllm')\n"
            "get_ipython().run_line_magic('reset', '-f')\n"
            f"import os; os.chdir({str(here / 'work')!r}); os.environ['NBLLM_HOME'] = {str(here / 'home')!r}; del os\n"
            "get_ipython().run_line_magic('load_ext', 'nbllm')"
        )

    def run(self, code: str) -> dict[str, Any] | None:
        """Run a cell; its `error` output, if it has one."""
        found: list[dict[str, Any]] = []

        def look(message: dict[str, Any]) -> None:
            if message["msg_type"] == "error":
                found.append(message["content"])

        self._client.execute_interactive(code, allow_stdin=False, timeout=60, output_hook=look)
        return found[0] if found else None


@pytest.fixture(scope="session")
def notebook(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Notebook]:
    """The kernel."""
    notebook = Notebook(tmp_path_factory.mktemp("pages"))
    yield notebook
    notebook.close()


def _cells(page_: Page) -> list[Block]:
    return [b for b in page_.blocks if b.is_cell and not b.needs_more]


_WITH_CELLS = [p for p in PAGES if _cells(p)]


@pytest.mark.parametrize("page_", _WITH_CELLS, ids=_ids(_WITH_CELLS))
def test_the_cells_of_a_page_run_from_top_to_bottom(page_: Page, notebook: Notebook) -> None:
    """In a kernel, each block as one cell. Those that fail on purpose fail with the error that is named."""
    notebook.turn_to(page_)
    wrong = []
    for block in _cells(page_):
        error = notebook.run(block.text)
        got = error["ename"] if error else None
        if got != block.raises:
            why = "\n".join(error["traceback"]) if error else "ran through"
            wrong.append(f"{block.id}: expected {block.raises or 'no error'}, got:\n{why}")
    assert not wrong, "\n".join(wrong)


_BLOCKS = [b for p in PAGES for b in p.blocks]
_TERMINALS = [b for b in _BLOCKS if b.language == "console" and b.skip is None]


@pytest.mark.parametrize("block", _TERMINALS, ids=[b.id for b in _TERMINALS])
def test_the_commands_of_a_page_run(block: Block, tmp_path: Path) -> None:
    """In a shell, in which `nbllm` is the command."""
    shim = tmp_path / "bin" / "nbllm"
    shim.parent.mkdir()
    shim.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m nbllm "$@"\n')
    shim.chmod(0o755)
    environ = _environment(tmp_path)
    environ["PATH"] = f"{shim.parent}{os.pathsep}{environ['PATH']}"
    script = "set -e\n" + "\n".join(shell_lines(block))
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{block.id}\n{done.stdout}{done.stderr}"


def test_blocks_that_are_left_out_say_why() -> None:
    """`no-run` without a reason would hide a page that has rotted."""
    assert [b.id for b in _BLOCKS if b.skip is not None and not b.skip.strip()] == []


def test_every_block_is_in_a_language_that_something_is_done_with() -> None:
    """A block without a language is a cell; one in a language of its own would be looked at by nobody."""
    assert [b.id for b in _BLOCKS if b.language not in LANGUAGES or (not b.language and not b.is_cell)] == []


def _in(*languages: str) -> list[Block]:
    return [b for b in _BLOCKS if b.language in languages]


@pytest.mark.parametrize("block", _in("bash"), ids=[b.id for b in _in("bash")])
def test_what_is_for_a_terminal_is_shell(block: Block) -> None:
    """Not run, since it installs or starts something; a typing mistake is seen all the same."""
    done = subprocess.run(["bash", "-n", "-c", block.text], capture_output=True, text=True, timeout=10)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("block", _in("json", "yaml"), ids=[b.id for b in _in("json", "yaml")])
def test_data_in_a_page_can_be_read(block: Block) -> None:
    yaml.safe_load(block.text)  # JSON is YAML


@pytest.mark.parametrize("block", _in("toml"), ids=[b.id for b in _in("toml")])
def test_toml_in_a_page_is_taken_by_who_it_is_for(block: Block, tmp_path: Path) -> None:
    """What stands for `config.toml` makes rows without a problem; everything else can be parsed."""
    found = tomllib.loads(block.text)
    if not found.keys() & {"providers", "settings", "aliases", "presets"}:
        return
    (tmp_path / "config.toml").write_text(block.text, encoding="utf-8")
    here = Workspace(paths=Paths.from_environment({"NBLLM_HOME": str(tmp_path)}), environ={"HOME": str(tmp_path)})
    try:
        assert list(here.registry.problems()) == []
    finally:
        here.close()
