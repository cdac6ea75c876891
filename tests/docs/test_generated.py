"""What the pages list is what there is: commands, arguments, defaults, errors, providers, entry points, variables."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer

import nbllm
import nbllm.api
import nbllm.messages
from nbllm import errors
from nbllm.cli.app import app
from nbllm.providers.rows import bundled_rows
from pages import DOCS, REPO

SOURCE = REPO / "src" / "nbllm"
CLI = (DOCS / "reference" / "cli.md").read_text(encoding="utf-8")


# ---------------------------------------------------------------- the command line


def _commands(group: Any, before: str = "nbllm") -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, f"{before} {name}")
        else:
            yield f"{before} {name}", command


COMMANDS = dict(_commands(typer.main.get_command(app)))


def _section(name: str) -> str:
    found = re.search(rf"^## `{re.escape(name)}(?: [^`]*)?`\n(.*?)(?=^## |\Z)", CLI, re.MULTILINE | re.DOTALL)
    assert found, f"{name} has no section"
    return found[1]


def _option_rows(name: str) -> dict[str, tuple[str, str]]:
    """Long name of each option on the page, with its whole first cell and what the page says of it."""
    rows = re.findall(r"^\| (`-.*?) \| (.*) \|$", _section(name).replace(r"\|", "¦"), re.MULTILINE)
    return {re.findall(r"--[\w-]+", names)[0]: (names.replace("`", "").replace("¦", "|"), said) for names, said in rows}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_takes_the_arguments_that_its_heading_says(name: str) -> None:
    arguments = [p for p in COMMANDS[name].params if p.param_type_name == "argument"]
    words = [p.metavar or (p.name or "").upper() for p in arguments]
    assert f"## `{' '.join((name, *words))}`" in CLI.splitlines()


@pytest.mark.parametrize("name", COMMANDS)
def test_an_argument_in_brackets_may_be_left_out_and_no_other(name: str) -> None:
    for argument in COMMANDS[name].params:
        if argument.param_type_name == "argument":
            word = argument.metavar or (argument.name or "").upper()
            assert word.startswith("[") == (not argument.required), word
            assert ("..." in word or "|" in word or name == "nbllm models search") == (argument.nargs == -1), word


@pytest.mark.parametrize("name", COMMANDS)
def test_the_page_names_the_options_that_a_command_has_and_no_other(name: str) -> None:
    """With the same short name, and with the same word for the value."""
    rows = _option_rows(name)
    options = {max(p.opts, key=len): p for p in COMMANDS[name].params if p.param_type_name == "option"}
    assert set(rows) == set(options) - {"--help"}
    for long, (names, _) in rows.items():
        option = options[long]
        value = "" if option.is_flag else f" {option.metavar or names.rpartition(' ')[2]}"
        assert names == ", ".join(sorted(option.opts, key=len)) + value
        assert option.is_flag or option.metavar, f"{name} {long}: --help has no word for its value"


@pytest.mark.parametrize("name", COMMANDS)
def test_the_page_says_the_default_of_an_option(name: str) -> None:
    rows = _option_rows(name)
    for option in COMMANDS[name].params:
        default = option.default
        if option.param_type_name != "option" or default in (None, False) or callable(default):
            continue
        said = rows[max(option.opts, key=len)][1]
        shown = "the current one" if default == Path() else f"{default:g}" if isinstance(default, float) else default
        assert re.search(rf"default: `?{shown}\b|`{shown}` \(default\)", said), f"{name}: {said}"


@pytest.mark.parametrize("name", COMMANDS)
def test_help_says_what_a_command_and_each_option_is_for(name: str) -> None:
    command = COMMANDS[name]
    assert (command.help or "").strip()
    options = [p for p in command.params if p.param_type_name == "option"]
    assert [p.opts for p in options if not (p.help or "").strip()] == []


def test_every_command_on_the_page_exists() -> None:
    """The page also has sections that are no command."""
    named = re.findall(r"^## `(nbllm(?: [a-z][\w-]*)+)", CLI, re.MULTILINE)
    assert [n for n in named if n not in COMMANDS and n.rpartition(" ")[0] not in COMMANDS] == []


# ---------------------------------------------------------------- errors


def _rank(error: type) -> int:
    return len(error.__mro__) - len(errors.NbllmError.__mro__)


def _errors(error: type = errors.NbllmError) -> Iterator[type]:
    """An error and its kinds, in the order of the file."""
    yield error
    for kind in error.__subclasses__():
        if kind.__name__ in errors.__all__:
            yield from _errors(kind)


def _when(error: type) -> str:
    """The docstring's first paragraph, as far as it says when the error is raised."""
    first = (inspect.getdoc(error) or "").partition("\n\n")[0].replace("\n", " ")
    return re.split(r"(?<=[.]) `\w+`:", first)[0].strip()


ERROR_ROWS = [f"| {'&emsp;' * _rank(e)}`{e.__name__}` | {_when(e)} |" for e in _errors()]


def test_the_table_of_errors_is_made_of_their_docstrings() -> None:
    """In the order of the classes, each a step further in than what it is a kind of."""
    text = (DOCS / "reference" / "errors.md").read_text(encoding="utf-8")
    rows = re.findall(r"^(\| (?:&emsp;)*`\w+Error` \| [^|]* \|)", text, re.MULTILINE)
    assert rows == ERROR_ROWS


def test_the_facts_that_the_table_names_are_attributes() -> None:
    text = (DOCS / "reference" / "errors.md").read_text(encoding="utf-8")
    for name, facts in re.findall(r"^\| (?:&emsp;)*`(\w+Error)` \| [^|]* \| (.*) \|$", text, re.MULTILINE):
        classes = [c for c in getattr(errors, name).__mro__ if issubclass(c, errors.NbllmError)]
        known = {*(a for c in classes for a in inspect.get_annotations(c)), *_keywords(classes)}
        assert set(re.findall(r"`(\w+)`", facts)) <= known, name


def _keywords(classes: list[type[errors.NbllmError]]) -> set[str]:
    """What the constructors take; each is kept as an attribute of the same name."""
    return {name for c in classes for name in inspect.signature(c).parameters}


def test_the_drawing_at_the_top_of_the_module_has_every_error() -> None:
    assert [name for name in errors.__all__ if name not in (errors.__doc__ or "")] == []


# ---------------------------------------------------------------- providers


@cache
def _hooks(name: str = "hooks") -> ModuleType:
    """A part of the site's build."""
    pytest.importorskip("mkdocs")
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_row_stands_in_one_of_the_tables_of_providers() -> None:
    text = _hooks().on_page_markdown((DOCS / "reference" / "providers.md").read_text(encoding="utf-8"))
    assert sorted(re.findall(r"^\| \*\*([\w-]+)\*\*", text, re.MULTILINE)) == sorted(bundled_rows())
    for id, row in bundled_rows().items():
        line = re.search(rf"^\| \*\*{re.escape(id)}\*\*.*$", text, re.MULTILINE)
        assert line is not None
        wanted = [row.get("base_url") or row.get("base_url_template", ""), *row.get("env", ())]
        assert [w for w in wanted if w not in line[0]] == [], id


_PAGES_OF_PROVIDERS = [p for p in sorted((DOCS / "how-to" / "providers").glob("*.md")) if p.stem != "custom"]


_ROW_OF = {"gemini": "google", "together": "togetherai"}
"""Pages that have another name than the row that they are about."""


@pytest.mark.parametrize("path", _PAGES_OF_PROVIDERS, ids=[p.stem for p in _PAGES_OF_PROVIDERS])
def test_a_page_of_a_provider_says_the_address_and_the_variable_of_its_row(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    row = bundled_rows()[_ROW_OF.get(path.stem, path.stem)]
    wanted = [row["base_url"], *row.get("env", ())[:1]]
    assert [w for w in wanted if f"`{w}`" not in text] == []


# ---------------------------------------------------------------- figures


def test_every_table_of_figures_can_be_made_and_is_on_a_page() -> None:
    measured = _hooks("measured")
    text = "\n".join(page.read_text(encoding="utf-8") for page in sorted(DOCS.rglob("*.md")))
    assert [name for name in measured.TABLES if f"<!-- measured: {name} -->" not in text] == []
    made = measured.on_page_markdown(text)
    assert "<!-- measured" not in made
    assert made.count("Conditions: ") >= len(measured.TABLES)


def test_every_page_of_results_is_on_the_page_of_performance() -> None:
    """Or named there, when it is long."""
    text = (DOCS / "explanation" / "performance.md").read_text(encoding="utf-8")
    results = sorted(p.name for p in (REPO / "benchmarks" / "results").glob("*.md"))
    named_elsewhere = {"decoder.md": "a part of streaming.md"}
    assert [name for name in results if name not in text and name not in named_elsewhere] == []


def test_a_figure_that_was_not_measured_fails_the_build(monkeypatch: pytest.MonkeyPatch) -> None:
    measured = _hooks("measured")
    monkeypatch.setitem(measured.TABLES, "search", {"a thing": ("no such figure", "ms")})
    with pytest.raises(measured.PluginError, match="no such figure"):
        measured.shown("search")


# ---------------------------------------------------------------- what others can add


def _modules() -> Iterator[tuple[Path, ast.Module]]:
    for path in sorted(SOURCE.rglob("*.py")):
        yield path, ast.parse(path.read_text(encoding="utf-8"))


def _constants(tree: ast.Module) -> dict[str, str]:
    """Strings that a module gives a name."""
    return {
        target.id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def entry_point_groups() -> set[str]:
    """Every group that the source looks up."""
    found = set()
    for path, tree in _modules():
        names = _constants(tree)
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and re.search(r"(^|\.)entry_points$", ast.unparse(node.func)):
                groups = [k.value for k in node.keywords if k.arg == "group"]
                assert groups, f"{path}: looks through all entry points"
                found |= {names.get(ast.unparse(g), ast.unparse(g).strip("'\"")) for g in groups}
    return found


def test_every_group_of_entry_points_is_on_its_page_and_no_other() -> None:
    text = (DOCS / "reference" / "entry-points.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^## `([\w.]+)`", text, re.MULTILINE)) == entry_point_groups()


# ---------------------------------------------------------------- the environment


def variables_read() -> set[str]:
    """Names that the source looks up in an environment: also in loops over names."""
    found: set[str] = set()
    for path, tree in _modules():
        if "script_values" in path.name:  # reads what other people's scripts read
            continue
        for node in ast.walk(tree):
            found |= {word for word in _looked_up(node) if re.fullmatch(r"[A-Z][A-Z0-9_]+", word)}
    return found


def _looked_up(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Call) and re.search(
        r"environ(\(\))?\.get$|getenv$|value_of$|\.folder$", ast.unparse(node.func)
    ):
        yield from _strings(node.args)
    elif isinstance(node, ast.Subscript) and ast.unparse(node.value).endswith("environ"):
        yield from _strings([node.slice])
    elif isinstance(node, ast.Compare) and ast.unparse(node.comparators[0]).endswith("environ"):
        yield from _strings([node.left])
    elif isinstance(node, ast.For) and re.search(r"\b(environ|values)\b", ast.unparse(node)):
        yield from _strings([node.iter])


def _strings(nodes: list[ast.expr]) -> Iterator[str]:
    """The strings in expressions, without the pieces of f-strings, which are no names by themselves."""
    for node in nodes:
        pieces = {id(v) for n in ast.walk(node) if isinstance(n, ast.JoinedStr) for v in n.values}
        yield from (
            n.value
            for n in ast.walk(node)
            if isinstance(n, ast.Constant) and isinstance(n.value, str) and id(n) not in pieces
        )


def test_every_variable_that_the_source_reads_is_on_the_page_of_settings() -> None:
    codes = set(re.findall(r"[A-Z][A-Z0-9_]+", (DOCS / "reference" / "settings.md").read_text(encoding="utf-8")))
    read = variables_read()
    assert {"NBLLM_HOME", "CODEX_HOME", "SSL_CERT_FILE", "BINDER_SERVICE_HOST"} <= read  # the search finds each form
    assert sorted(read - codes) == []


# ---------------------------------------------------------------- Python


def test_every_public_name_is_described_on_the_page_of_python() -> None:
    """By mkdocstrings, which takes the members of a module, or by name."""
    text = (DOCS / "reference" / "python.md").read_text(encoding="utf-8")
    modules = re.findall(r"^::: ([\w.]+)", text, re.MULTILINE)
    described = {name for m in modules if (found := sys.modules.get(m)) for name in vars(found) if name[0] != "_"}
    described |= {m.rpartition(".")[2] for m in modules}
    assert [n for n in nbllm.__all__ if n not in described and f"`nbllm.{n}" not in text] == []


@pytest.mark.parametrize("name", [n for n in nbllm.__all__ if n != "__version__"])
def test_every_public_name_has_a_docstring_that_says_more_than_its_type(name: str) -> None:
    assert len((inspect.getdoc(getattr(nbllm, name)) or "").split()) > 3
