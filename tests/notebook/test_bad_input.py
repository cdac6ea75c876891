"""Whatever does not fit gives one clear line and a hint, changes nothing, and fails the cell with an error of ours."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path

import pytest

import nbllm
from chatting import says
from kernels import Kernel, peer
from key_shapes import SHAPES, traces
from nbllm import errors
from shell import loaded
from wire_server import WireServer

SETUP = """
import numpy
big = bytes(21_000_000)
shape_that_is_none = {"type": "nonsense"}
number = 5
def starred(*args): pass
"""


@dataclass(frozen=True)
class Bad:
    id: str
    code: str
    error: type[errors.NbllmError]
    says: tuple[str, ...]
    """Parts of message and hint."""


ADD = "%llm_providers add mine --base-url http://127.0.0.1/v1"
CASES = (
    Bad("unknown flag", "%%chat peer/m --temprature 1\nhi", errors.UsageError, ("--temprature", "--temperature")),
    Bad("flag without value", "%%chat peer/m -t\nhi", errors.UsageError, ("-t", "value", "--help")),
    Bad("value of the wrong kind", "%%chat peer/m -t warm\nhi", errors.UsageError, ("-t", "float")),
    Bad("value out of range", "%%chat peer/m -t -1\nhi", errors.PromptError, ("temperature",)),
    Bad("no tokens", "%%chat peer/m --max-tokens 0\nhi", errors.PromptError, ("max_tokens",)),
    Bad("words too many", "%%chat peer/m hi there\nhi", errors.UsageError, ("2 words", "quoted")),
    Bad("open quote", "%%chat peer/m -s 'be brief\nhi", errors.UsageError, ("not closed",)),
    Bad("empty cell", "%%chat peer/m\n   \n", errors.PromptError, ("empty", "write the question")),
    Bad("empty line", "%chat -m peer/m", errors.PromptError, ("empty", "write the question")),
    Bad("unknown provider", "%%chat grok/m\nhi", errors.UnknownProviderError, ("grok", "groq")),
    Bad("unknown model", "%%chat nosuchmodel\nhi", errors.UnknownModelError, ("nosuchmodel",)),
    Bad("unknown preset", "%%chat peer/m --preset clam\nhi", errors.SettingsError, ("clam", "calm")),
    Bad("expression that raises", "%%chat peer/m\nhi {{1/0}}", errors.PromptError, ("1/0", "ZeroDivisionError")),
    Bad("missing attachment", "%%chat peer/m -a no.png\nhi", errors.PromptError, ("no.png",)),
    Bad("attachment too large", "%%chat peer/m -a big\nhi", errors.PromptError, ("big", "20 MB", "attachment_mb")),
    Bad("attachment of no kind", "%%chat peer/m -a number\nhi", errors.PromptError, ("number", "int")),
    Bad("attachment that is a folder", "%%chat peer/m -a .\nhi", errors.PromptError, ("attachment",)),
    Bad("schema that is none", "%%chat peer/m --schema number\nhi", errors.PromptError, ("number", "pydantic")),
    Bad("invalid JSON Schema", "%%chat peer/m --schema shape_that_is_none\nhi", errors.PromptError, ("JSON Schema",)),
    Bad("schema that is not there", "%%chat peer/m --schema nope\nhi", errors.PromptError, ("nope", "define")),
    Bad("tool that is none", "%%chat peer/m --tool number\nhi", errors.PromptError, ("number", "not a function")),
    Bad("tool that is not there", "%%chat peer/m --tool nope\nhi", errors.PromptError, ("nope",)),
    Bad("tool with *args", "%%chat peer/m --tool starred\nhi", errors.PromptError, ("starred", "args")),
    Bad("cell that never ran", "%%chat peer/m --cell 99\nhi", errors.PromptError, ("99",)),
    Bad("no last error", "%%chat peer/m --last-error\nhi", errors.PromptError, ("no cell has raised",)),
    Bad("no variable's name", "%%chat peer/m -o 1x\nhi", errors.UsageError, ("-o", "variable")),
    Bad("unknown verb", "%llm_providers lits", errors.UsageError, ("did you mean list",)),
    Bad("verb without id", "%llm_providers show", errors.UsageError, ("ID",)),
    Bad("show an unknown one", "%llm_providers show grok", errors.UnknownProviderError, ("groq",)),
    Bad("remove an unknown one", "%llm_providers remove peer2", errors.UnknownProviderError, ("peer2",)),
    Bad("enable an unknown one", "%llm_providers enable grok", errors.UnknownProviderError, ("groq",)),
    Bad("key of an unknown one", "%llm_providers key grok", errors.UnknownProviderError, ("groq",)),
    Bad("models of an unknown one", "%llm_providers models grok", errors.UnknownProviderError, ("groq",)),
    Bad("test of nobody", "%llm_providers test", errors.UsageError, ("--all",)),
    Bad("test of an unknown one", "%llm_providers test grok", errors.UnknownProviderError, ("groq",)),
    Bad("test of several with a model", "%llm_providers test a b --model m", errors.UsageError, ("--model",)),
    Bad("use of an unknown one", "%llm_providers use grok/m", errors.UnknownProviderError, ("groq",)),
    Bad("add without a place", "%llm_providers add mine", errors.UsageError, ("--base-url",)),
    Bad("add with a bad id", "%llm_providers add My_Own --base-url http://127.0.0.1/v1", errors.RegistryError, ("id",)),
    Bad("add with a bad URL", "%llm_providers add mine --base-url ftp://x/v1", errors.RegistryError, ("http",)),
    Bad("add with a bad kind", f"{ADD} --kind x", errors.RegistryError, ("kind", "openai")),
    Bad("add with bad auth", f"{ADD} --auth x", errors.RegistryError, ("auth",)),
    Bad("add one that exists", ADD.replace("mine", "groq"), errors.RegistryError, ("groq",)),
    Bad("edit of nothing", "%llm_providers edit groq", errors.UsageError, ("nothing to change",)),
    Bad("export without a file", "%llm_providers export", errors.UsageError, ("FILE",)),
    Bad("export to nowhere", "%llm_providers export /nosuch/x.toml", errors.ExportError, ("/nosuch/x.toml",)),
    Bad("import of nothing", "%llm_providers import /nosuch/x.toml", errors.ExportError, ("/nosuch/x.toml",)),
    Bad("unknown setting", "%llm_config modle x", errors.SettingsError, ("modle", "model")),
    Bad("reading an unknown setting", "%llm_config modle", errors.SettingsError, ("modle", "model")),
    Bad("value that is not allowed", "%llm_config max_rounds many", errors.SettingsError, ("max_rounds",)),
    Bad("value out of bounds", "%llm_config max_rounds 1000", errors.SettingsError, ("1 to 100",)),
    Bad("three words", "%llm_config model a b", errors.UsageError, ("too many",)),
    Bad("preset without a name", "%llm_config preset -p a=1", errors.UsageError, ("name",)),
    Bad("preset that is not there", "%llm_config preset clam", errors.SettingsError, ("clam", "calm")),
)  # fmt: skip


def _files(home: Path) -> dict[str, bytes]:
    kept = {str(p): p.read_bytes() for p in home.rglob("*") if p.is_file() and p.suffix in (".toml", ".json")}
    database = home / "nbllm.db"
    if database.exists():
        with sqlite3.connect(database) as db:
            tables = [r[0] for r in db.execute("select name from sqlite_master where type = 'table'")]
            kept["rows"] = repr({t: db.execute(f'select count(*) from "{t}"').fetchone() for t in tables}).encode()
    return kept


def test_bad_input_is_one_line_and_a_hint_and_changes_nothing(home: Path) -> None:
    wrong = []
    with loaded(says("never")) as (shell, server):
        shell.good(SETUP)
        shell.good("%llm_config preset calm -p temperature=0")
        shell.good("%chat -m peer/m --dry-run hi")
        import sys

        for name in ("last_value", "last_traceback", "last_type", "last_exc"):
            sys.__dict__.pop(name, None)
        for case in sorted(CASES, key=lambda c: c.id != "no last error"):
            before = _files(home)
            done = shell.run(case.code)
            error = done.error
            if not isinstance(error, case.error):
                wrong.append((case.id, repr(error)))
                continue
            told = f"{error.message} {error.hint or ''}"
            wrong += [(case.id, "lacks", part, told) for part in case.says if part not in told]
            lines = error._render_traceback_()[0].splitlines()
            if len(lines) > 2 or max(map(len, lines)) > 330:
                wrong.append((case.id, lines))
            if _files(home) != before:
                wrong.append((case.id, "changed something"))
        assert server.requests == []
        assert nbllm.workspace().conversations.names() == []
    assert wrong == []


MAGICS = (
    "%%chat {}\nhi", "%%chat peer/m -p api_key={}\nhi", "%%chat peer/m -m {}\nhi", "%chat -p Authorization={} hi",
    "%llm_providers {}", "%llm_providers list {}", "%llm_providers show {}", "%llm_providers add mine --base-url {}",
    "%llm_providers add mine --base-url http://127.0.0.1:1/v1 --header x-api-key={}", "%llm_providers remove {}",
    "%llm_providers add mine --base-url http://127.0.0.1:1/v1?key={}", "%llm_providers edit groq --env {}",
    "%llm_providers enable {}", "%llm_providers disable {}", "%llm_providers test {}", "%llm_providers models {}",
    "%llm_providers use {}", "%llm_providers key {}", "%llm_providers key groq {}",
    "%llm_providers key groq --store {}",
    "%llm_providers forget {}", "%llm_providers discover {}", "%llm_providers export {}", "%llm_providers import {}",
    "%llm_config {}", "%llm_config model {}", "%llm_config preset {}", "%llm_config preset x -p api_key={}",
    "%llm_config history {}", "%llm_config undo {}",
)  # fmt: skip


@pytest.mark.parametrize("shape", [SHAPES[0], SHAPES[5]], ids=lambda s: s.id)
def test_a_key_typed_into_any_magic_is_refused_and_not_repeated(home: Path, shape) -> None:
    key, wrong = shape.key(), []
    with loaded(says("never")) as (shell, server):
        for line in MAGICS:
            done = shell.run(line.format(key))
            told = "".join((str(done.error), done.out.split("Out[")[0], done.err))
            if not isinstance(done.error, errors.CredentialError) or "new key" not in (done.error.hint or ""):
                wrong.append((line, repr(done.error)))
            if traces(key, told):
                wrong.append((line, "repeated"))
        assert server.bytes_seen == b""
        kept = b"".join(p.read_bytes() for p in home.rglob("*") if p.is_file())
        assert traces(key, kept.decode("latin-1")) == []
    assert wrong == []


def test_the_front_end_gets_an_error_output_of_one_line(home: Path) -> None:
    with WireServer([says("never")]) as server, Kernel() as kernel:
        kernel.run(peer(server.url))
        run = kernel.run("%%chat grok/m\nhi")
        assert run.ename == "UnknownProviderError"
        assert "\n" not in run.evalue
        assert "did you mean" in run.evalue
        assert run.error is not None
        assert len(run.error["traceback"]) == 1
        assert run.stream("stderr") == ""
        assert run.outputs == []
        assert kernel.run("%%chat peer/m -t\nhi").ename == "UsageError"
        assert not kernel.run("%%chat peer/m\n").ok  # IPython's own words for a cell without a body
        home.mkdir(exist_ok=True)
        (home / "config.toml").write_text("[settings\n")
        run = kernel.run("%%chat peer/m\nhi")
        assert run.ename == "SettingsError"
        assert f"{home / 'config.toml'}, line 1" in run.evalue
        assert server.requests == []


def test_a_store_from_a_newer_version_is_refused_and_left_alone(home: Path) -> None:
    with loaded(says("hello")) as (shell, server):
        shell.good("%chat -m peer/m hi")
        nbllm.workspace().close()
        with sqlite3.connect(home / "nbllm.db") as db:
            db.execute("update alembic_version set version_num = '9999_from_the_future'")
        before = (home / "nbllm.db").read_bytes()
        error = shell.fails("%chat -m peer/m hi")
        assert isinstance(error, errors.StoreError)
        assert "newer" in str(error)
        assert (home / "nbllm.db").read_bytes() == before
        assert len(server.requests) == 1
