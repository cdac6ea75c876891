"""`nbllm generate-configs`: in processes of its own where the command line is asked, else through the workspace."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli.shell import nbllm
from exporters.catalogue import row
from key_shapes import SHAPES
from nbllm.errors import UnknownProviderError
from nbllm.exporters.tool_configs import ToolConfigs
from nbllm.providers.spec import ModelInfo
from nbllm.workspace import Workspace

TOOLS = ("aichat", "mods", "llm", "litellm", "continue")
HEADER = "s3cret-header-value"


@pytest.fixture
def two(home: Path) -> None:
    """Two providers of the user's own, with models."""
    home.mkdir(exist_ok=True)
    (home / "config.toml").write_text(
        '[providers.mine]\nbase_url = "https://mine.example/v1"\nenv = ["MINE_API_KEY"]\nmodels = ["a/b:c"]\n'
        f'headers = {{ X-Team = "{HEADER}" }}\n'
        '[providers.other]\nbase_url = "https://other.example/v1"\nauth = "none"\nmodels = ["d"]\n'
    )


@pytest.mark.usefixtures("two")
def test_the_command_says_what_it_wrote_who_is_left_out_and_what_is_left_to_do(tmp_path: Path) -> None:
    done = nbllm("generate-configs", "--tool", "llm", "--out", "a b/é", cwd=tmp_path, env={"MINE_API_KEY": "k" * 20})
    assert done.returncode == 0
    assert "a b/é/llm/models_mine.yaml" in done.stdout
    assert sorted(p.name for p in (tmp_path / "a b/é/llm").iterdir()) == ["models_mine.yaml", "models_other.yaml"]
    assert "`llm install llm-anthropic` brings" in done.stdout
    assert "no model is known of openai" in done.stdout
    assert "`nbllm fetch --all`" in done.stdout
    assert done.stderr.splitlines()[0] == "next: give llm the key of mine: llm keys set mine"
    assert "k" * 20 not in done.stdout + done.stderr


@pytest.mark.usefixtures("two")
def test_named_providers_come_with_commas_or_apart_and_a_missing_list_is_a_failure(tmp_path: Path) -> None:
    words = ("--provider", "mine,other", "--provider", "groq", "--json")
    done = nbllm("generate-configs", "--tool", "aichat", *words, cwd=tmp_path)
    assert json.loads(done.stdout) == [
        {"provider": "mine", "file": "aichat/models_mine.yaml", "reason": None},
        {"provider": "other", "file": "aichat/models_other.yaml", "reason": None},
        {"provider": "groq", "file": None, "reason": "no model of it is known; `nbllm fetch groq` asks for them"},
    ]
    assert done.returncode == 1


@pytest.mark.parametrize(
    ("words", "nearest"),
    [(("--tool", "aichta"), "aichat"), (("--tool", "llm", "--provider", "grok"), "groq"), ((), "--help")],
)
def test_unknown_words_are_refused_with_the_nearest(words: tuple[str, ...], nearest: str, tmp_path: Path) -> None:
    done = nbllm("generate-configs", *words, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert nearest in done.stderr
    assert not any(p.name in TOOLS for p in tmp_path.iterdir())


@pytest.mark.usefixtures("two")
@pytest.mark.parametrize("tool", TOOLS)
def test_no_key_is_written_whatever_its_shape(tool: str, tmp_path: Path) -> None:
    for shape in SHAPES:
        workspace = Workspace(environ={"NBLLM_HOME": str(tmp_path / "nbllm-home"), "MINE_API_KEY": shape.key()})
        done = workspace.tool_configs.generate(tool, out=tmp_path)
        workspace.close()
        said = [done.to_text(), *done.steps, *(p.read_text(encoding="utf-8") for p in done.files)]
        assert len(done.files) == 2
        assert not [text for text in said if shape.key() in text or HEADER in text]


@pytest.mark.usefixtures("two")
def test_a_second_run_writes_the_same_and_leaves_nothing_beside(tmp_path: Path) -> None:
    workspace = Workspace()
    workspace.tool_configs.generate("litellm", out=tmp_path)
    before = (tmp_path / "litellm" / "models_mine.yaml").read_bytes()
    workspace.tool_configs.generate("litellm", out=tmp_path)
    assert sorted(p.name for p in (tmp_path / "litellm").iterdir()) == ["models_mine.yaml", "models_other.yaml"]
    assert (tmp_path / "litellm" / "models_mine.yaml").read_bytes() == before
    workspace.close()


@pytest.mark.usefixtures("two")
def test_a_file_that_cannot_be_written_is_named_and_the_others_are_written(tmp_path: Path) -> None:
    (tmp_path / "aichat" / "models_mine.yaml").mkdir(parents=True)
    workspace = Workspace()
    done = workspace.tool_configs.generate("aichat", ["mine", "other"], out=tmp_path)
    assert [(row["provider"], bool(row["file"])) for row in done] == [("mine", False), ("other", True)]
    assert "models_mine.yaml could not be written" in done[0]["reason"]
    assert not done.ok
    with pytest.raises(UnknownProviderError):
        workspace.tool_configs.generate("aichat", ["mine", "grok"], out=tmp_path)
    workspace.close()


def test_models_that_are_none_for_the_tool_are_counted(tmp_path: Path) -> None:
    embedder = row("emb", ModelInfo("emb", "e", type="embedding"), key_env="EMB_API_KEY")
    done = ToolConfigs(lambda ids: [embedder], own=[].append).generate("llm", out=tmp_path)
    assert [dict(r) for r in done] == [
        {"provider": "emb", "file": None, "reason": "none of its 1 models is one for llm"}
    ]
    assert list(tmp_path.glob("llm/*")) == []


def test_the_variable_is_the_one_that_holds_the_key(two: None, home: Path) -> None:
    environ = {"NBLLM_HOME": str(home), "GOOGLE_API_KEY": "k" * 20}
    workspace = Workspace(environ=environ)
    found = {p.config.id: p.key_env for p in workspace.exported(["google", "mine", "other", "ollama", "openai"])}
    workspace.close()
    assert found == {
        "google": "GOOGLE_API_KEY",
        "mine": "MINE_API_KEY",  # not set: the name all the same
        "other": None,
        "ollama": None,
        "openai": "OPENAI_API_KEY",
    }
