"""`nbllm import dump-models`: tables of providers in many shapes, read without running the script, without its keys."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cli.shell import nbllm
from key_shapes import SHAPES, KeyShape, traces
from nbllm.catalog.import_script import Imported, import_script, read_script
from nbllm.cli import main
from nbllm.errors import NbllmError, UsageError
from nbllm.workspace import Workspace

# The shape of the script's own tables, in other words and with other providers.
TEXT_TABLES = '''
import os
from pathlib import Path

Path("was-run").write_text("this must not happen")

ADDRESSES = """
ACME_API_OPENAI, https://acme.example/v1
STRAY_API_KEY, https://stray.example/v1
BIRCH_API_OPENAI, https://birch.example
""".strip()

# name, kind, key variable, address variable
PROVIDERS = """
acme, oai, ACME_KEY, ACME_API_OPENAI
birch, ant, BIRCH_API_KEY, BIRCH_API_OPENAI
groq, oai, GROQ_API_KEY, GROQ_API_OPENAI
cedar, oai, CEDAR_API_KEY, CEDAR_API_OPENAI
""".strip()
'''


@pytest.fixture
def workspace() -> Iterator[Workspace]:
    made = Workspace()
    yield made
    made.close()


@pytest.fixture
def script(tmp_path: Path) -> Path:
    return tmp_path / "dump_models.py"


def take(workspace: Workspace, script: Path, text: str, *, dry_run: bool = False) -> Imported:
    script.write_text(text, encoding="utf-8")
    return import_script(workspace.registry, script, dry_run=dry_run)


def found(script: Path, text: str) -> dict[str, tuple[str, str | None, str | None, str | None]]:
    script.write_text(text, encoding="utf-8")
    return {d.id: (d.kind, d.env, d.url_env, d.base_url) for d in read_script(script).definitions.values()}


def test_the_scripts_own_tables_become_rows_and_the_script_is_not_run(
    workspace: Workspace, script: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(script.parent)
    done = take(workspace, script, TEXT_TABLES)
    assert done.known == ("groq",)
    assert done.lines == (
        "acme: new (openai, https://acme.example/v1)",
        "acme: a key in ACME_KEY would be sent to https://acme.example/v1",
        "birch: new (anthropic, https://birch.example)",
        "birch: a key in BIRCH_API_KEY would be sent to https://birch.example",
    )
    assert done.problems == ("line 18: cedar: its address does not stand in the script; CEDAR_API_OPENAI may name it",)
    assert done.remarks == ("line 9: STRAY_API_KEY has an address, and no provider reads it from there",)
    row = workspace.registry.get("acme")
    assert (row.base_url, row.env, row.base_url_env) == (
        "https://acme.example/v1",
        ("ACME_KEY",),
        ("ACME_API_OPENAI",),
    )
    assert not (script.parent / "was-run").exists()
    assert (home / "config.toml").exists()


def test_a_dry_run_says_the_same_and_writes_nothing(workspace: Workspace, script: Path, home: Path) -> None:
    told = take(workspace, script, TEXT_TABLES, dry_run=True)
    assert not home.exists() or list(home.rglob("config.toml")) == []
    assert "acme" not in workspace.registry.ids()
    assert take(workspace, script, TEXT_TABLES) == told


def test_a_second_import_knows_them_all(workspace: Workspace, script: Path, home: Path) -> None:
    take(workspace, script, TEXT_TABLES)
    before = (home / "config.toml").read_bytes()
    again = take(workspace, script, TEXT_TABLES)
    assert (again.known, again.lines) == (("acme", "birch", "groq"), ())
    assert (home / "config.toml").read_bytes() == before


def test_a_known_provider_with_another_address_is_said_and_left_alone(workspace: Workspace, script: Path) -> None:
    ours = workspace.registry.get("groq")
    done = take(workspace, script, 'PROVIDERS = [{"name": "groq", "base_url": "https://other.example/v1"}]\n')
    assert done.known == ("groq",)
    assert done.remarks == (
        f"groq: the script has https://other.example/v1, nbllm {ours.base_url}; "
        "`%llm_providers edit groq --base-url URL` changes it",
    )
    assert workspace.registry.get("groq") == ours


ACME = {"acme": ("openai", "ACME_API_KEY", None, "https://acme.example/v1")}


@pytest.mark.parametrize(
    "text",
    [
        'PROVIDERS = [("acme", "oai", "ACME_API_KEY", "https://acme.example/v1")]',
        'PROVIDERS = (["acme", "https://acme.example/v1", "ACME_API_KEY"],)',
        'PROVIDERS = [{"name": "acme", "key_env": "ACME_API_KEY", "base_url": "https://acme.example/v1"}]',
        'PROVIDERS = {"acme": {"env_key": "ACME_API_KEY", "url": "https://acme.example/v1"}}',
        'PROVIDERS = {"acme": ("https://acme.example/v1", "ACME_API_KEY")}',
        'PROVIDERS: list = [Provider(name="acme", api_key_env="ACME_API_KEY", base_url="https://acme.example/v1")]',
        'acme = Provider(id="acme", api_key_env="ACME_API_KEY", base_url="https://acme.example/v1")',
        'PROVIDERS = []\nPROVIDERS.append(dict(name="acme", env="ACME_API_KEY", url="https://acme.example/v1"))',
        'PROVIDERS = {}\nPROVIDERS["acme"] = {"env": ["ACME_API_KEY"], "url": "https://acme.example/v1"}',
        'HOST = "https://acme.example"\nPROVIDERS = [("acme", f"{HOST}/v1", "ACME_API_KEY")]',
        'HOST = "https://acme.example"\nPROVIDERS = [("acme", HOST + "/v1", "ACME_API_KEY")]',
        'A = [("acme", "https://acme.example/v1", "ACME_API_KEY")]\nB = []\nPROVIDERS = A + B',
        'PROVIDERS = ["acme | oai | ACME_API_KEY | https://acme.example/v1"]',
        'PROVIDERS = "acme, oai, ACME_API_KEY, https://acme.example/v1\\n# a note\\n\\n".splitlines()',
        'def providers():\n    return [("acme", "https://acme.example/v1", "ACME_API_KEY")]',
        'class Dumper:\n    PROVIDERS = [("acme", "https://acme.example/v1", "ACME_API_KEY")]',
        'import os\nPROVIDERS = [{"name": "acme", "api_key": os.environ["ACME_API_KEY"], '
        '"base_url": "https://acme.example/v1"}]',
        "@dataclass\nclass P:\n    id: str\n    url: str\n    key_env: str\n"
        'PROVIDERS = [P("acme", "https://acme.example/v1", "ACME_API_KEY")]',
        'class Kind(Enum):\n    OAI = "oai"\nPROVIDERS = [("acme", Kind.OAI, "ACME_API_KEY", "https://acme.example/v1")]',
    ],
)
def test_a_provider_is_found_in_many_shapes(script: Path, text: str) -> None:
    assert found(script, text) == ACME


def test_an_address_with_a_default_names_variable_and_address(script: Path) -> None:
    text = 'PROVIDERS = [("acme", os.getenv("ACME_URL", "https://acme.example/v1"), "ACME_API_KEY")]'
    assert found(script, text) == {"acme": ("openai", "ACME_API_KEY", "ACME_URL", "https://acme.example/v1")}


def test_without_a_key_variable_the_row_sends_none(workspace: Workspace, script: Path) -> None:
    take(workspace, script, 'PROVIDERS = [("list", "url", "", "https://acme.example/models.json")]')
    row = workspace.registry.get("list")
    assert (row.kind, row.auth, row.base_url) == ("url", "none", "https://acme.example/models.json")


def test_a_name_becomes_an_id(script: Path) -> None:
    assert list(found(script, 'PROVIDERS = [("Acme_AI.v2", "https://acme.example/v1", "ACME_API_KEY")]')) == [
        "acme-ai-v2"
    ]


def test_other_tables_of_a_script_are_no_concern(script: Path) -> None:
    text = 'HEADERS = {"Content-Type": "application/json"}\nDOCS = {"page": "https://docs.example"}\nN = [1, 2]\n'
    script.write_text(text + 'PROVIDERS = [("acme", "https://acme.example/v1", "ACME_API_KEY")]')
    read = read_script(script)
    assert (list(read.definitions), read.problems) == (["acme"], [])


CODE = """
class Dumper:
    def __init__(self):
        self.providers = self.parse()

    def parse(self):
        providers = []
        for line in PROVIDERS.split("\\n"):
            name, kind, key, url = [part.strip() for part in line.split(",")]
            kinds = {"oai": Kind.OAI, "ant": Kind.ANT}
            providers.append(Provider(name=name, kind=kinds.get(kind), api_key_env=key or None, url_env=url))
        return providers

    def config(self, provider, data):
        provider_config = {"base_url": self.url(provider), "name": provider.name, "wire_api": "chat"}
        config = {}
        config["model_providers"] = {provider.name: provider_config}
        provider_key = f"model_providers.{provider.name}"
        chosen_providers = [p for p in self.providers if p.name in data]
        return config

    async def fetch(self, provider):
        providers = {"Authorization": f"Bearer {provider.key}", "User-Agent": "Dumper/1.0"}
        endpoint = "https://api.example/chutes/?include_public=true"
        return {"name": provider.name, "url": endpoint}
"""


def test_the_code_around_the_tables_is_no_concern(workspace: Workspace, script: Path) -> None:
    bare = take(workspace, script, TEXT_TABLES, dry_run=True)
    assert take(workspace, script, TEXT_TABLES + CODE, dry_run=True) == bare


def test_what_only_running_it_would_tell_is_named_with_its_line(workspace: Workspace, script: Path) -> None:
    text = (
        "import json\n"
        "PROVIDERS = [\n"
        '    ("acme", "https://acme.example/v1", "ACME_API_KEY"),\n'
        "    make_provider,\n"
        '    ("nothing known of it",),\n'
        '    ("bad", "https://user:pass@bad.example", "BAD_API_KEY"),\n'
        '    ("worse", "https://wor se.example", "WORSE_API_KEY"),\n'
        "]\n"
        "MORE_PROVIDERS = [p for p in PROVIDERS]\n"
    )
    done = take(workspace, script, text)
    assert [line for line in done.lines if "new" in line] == ["acme: new (openai, https://acme.example/v1)"]
    assert [p.split(":")[0] for p in done.problems] == ["line 4", "line 5", "line 6", "line 9", "line 7"]
    assert "running the script" in done.problems[0]
    assert "a key stands in the script" in done.problems[2]


# ---------------------------------------------------------------- keys


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.id)
@pytest.mark.parametrize("field", ["api_key", "note"])
def test_a_key_in_the_script_is_neither_taken_nor_shown(
    script: Path, home: Path, shape: KeyShape, field: str, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = shape.key()
    script.write_text(
        f'PROVIDERS = [{{"name": "acme", "base_url": "https://acme.example/v1", "{field}": {secret!r}}},\n'
        '  ("birch", "https://birch.example/v1", "BIRCH_API_KEY")]\n'
    )
    with pytest.raises(SystemExit) as ended:
        main(["import", "dump-models", str(script)])
    said = capsys.readouterr()
    assert ended.value.code == 1
    assert "line 1: a key stands in the script" in said.err
    assert "birch: new" in said.out
    assert traces(secret, said.out + said.err) == []
    assert traces(secret, (home / "config.toml").read_text()) == []
    assert "acme" not in (home / "config.toml").read_text()


@pytest.mark.parametrize("field", ["api_key", "token", "key"])
def test_a_word_where_a_key_belongs_is_taken_for_one(workspace: Workspace, script: Path, field: str) -> None:
    text = f'PROVIDERS = [{{"name": "acme", "url": "https://acme.example/v1", "{field}": "hunter2"}}]'
    script.write_text(text)
    with pytest.raises(UsageError, match="defines no provider") as caught:
        import_script(workspace.registry, script)
    assert "hunter2" not in str(caught.value)


# ---------------------------------------------------------------- files that are no such script

NESTED = "x = " + "[" * 400_000
LONG_SUM = "x = 1" + "+1" * 300_000
UNARY = "x = " + "-" * 500_000 + "1"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "defines no provider"),
        (b"x = 1\n", "defines no provider"),
        (b"def f(:\n  sk-secret\n", "line 1: this is not valid Python"),
        (b"x = 'sk-secret\n", "line 1: this is not valid Python"),
        (b"\x7fELF\x02\x01\x00\x00" + bytes(range(256)) * 50, "is no"),
        (b"x = 1\0\n", "is no text"),
        (b"x = 'caf\xe9'\n", "is not UTF-8 text"),
        (b"# coding: utf-7\nx = 1\n", "dump_models.py"),
        (NESTED.encode(), "dump_models.py"),
        (LONG_SUM.encode(), "nested too deeply"),
        (UNARY.encode(), "nested too deeply"),
        (b"#" * 50_000_000, "larger than 1000 kB"),
        (b"a = 'x'\n" + b"a = a + a\n" * 200, "defines no provider"),
        (b"PROVIDERS = [('a', 'https://a.example', 'A_KEY')]\n" + b"PROVIDERS = PROVIDERS + PROVIDERS\n" * 60, ""),
    ],
    ids=["empty", "nothing", "syntax", "open string", "binary", "nul", "latin-1", "utf-7", "brackets", "sum", "unary",
         "50 MB", "doubling text", "doubling list"],
)  # fmt: skip
def test_it_is_refused_in_one_line(script: Path, content: bytes, says: str) -> None:
    script.write_bytes(content)
    done = nbllm("import", "dump-models", str(script), "--dry-run")
    assert "Traceback" not in done.stderr
    assert "sk-secret" not in done.stdout + done.stderr
    if says:
        assert done.returncode == 2
        assert done.stderr.count("error: ") == 1
        assert says in done.stderr
    else:
        assert "a: new" in done.stdout


@pytest.mark.parametrize("name", ["missing.py", "."])
def test_a_path_that_is_no_file_is_wrong_usage(tmp_path: Path, name: str) -> None:
    done = nbllm("import", "dump-models", str(tmp_path / name))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")


WORDS = (
    "PROVIDERS", "=", "[", "]", "(", ")", "{", "}", ",", ":", "'acme'", "'https://a.example/v1'", "'A_API_KEY'", "+",
    "f'{x}'", "\n", "os.getenv", "None", "x", ".strip()", "def f(): return", "*", "**",
    '"""a, oai, A_KEY, A_URL\n"""',
)  # fmt: skip


@given(st.lists(st.sampled_from(WORDS), max_size=25).map(" ".join))
@example("PROVIDERS = { **x , 'acme' : 'https://a.example/v1' }")
def test_no_text_brings_up_an_error_of_another_kind(text: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "s.py"
        path.write_text(text, encoding="utf-8")
        with contextlib.suppress(NbllmError):
            read_script(path)
