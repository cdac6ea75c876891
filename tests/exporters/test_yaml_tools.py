"""aichat, mods, llm, litellm, continue: what they are given, what they are not, and where their files are.

The golden files are what `render` gives for the small catalogue. After a change that is meant, write them anew:
`WRITE_GOLDEN=1 pytest tests/exporters/test_yaml_tools.py`.
"""

from __future__ import annotations

import os
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from exporters.catalogue import SECRET_HEADER, catalogue, row
from nbllm import exporters
from nbllm.errors import ExportError, UsageError
from nbllm.exporters import exporter, tools
from nbllm.exporters.base import STRATEGIES, Exported, Exporter, Places
from nbllm.providers.spec import ModelInfo

TOOLS = ("aichat", "mods", "llm", "litellm", "continue")
GOLDEN = Path(__file__).parent / "golden"
every_tool = pytest.mark.parametrize("tool", TOOLS)


def load(text: str) -> Any:
    return YAML(typ="safe", pure=True).load(text)


def embedder(**fields: Any) -> Exported:
    return row("emb", ModelInfo("emb", "text-embed", type="embedding", context=512), key_env="EMB_API_KEY", **fields)


def anthropic(*models: ModelInfo) -> Exported:
    return row("anthropic", *models, kind="anthropic", auth="x-api-key", base_url="https://api.anthropic.com",
               key_env="ANTHROPIC_API_KEY")  # fmt: skip


@every_tool
def test_a_new_file_is_the_golden_one(tool: str) -> None:
    writer = exporter(tool)
    path = GOLDEN / f"{tool}{writer.extension}"
    text = writer.render([*catalogue(), embedder()])
    if os.environ.get("WRITE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


@every_tool
def test_an_exporter_has_the_protocol(tool: str) -> None:
    assert isinstance(exporter(tool), Exporter)
    assert exporter(tool) is exporter(tool)
    assert load(exporter(tool).render([])) is not None  # nothing to write is a file all the same


REASONS = {
    "azure": "cannot send its key the way it wants it (api-key)",
    "baseten": "cannot send its key the way it wants it (Authorization)",
    "keyless-by-mistake": "no variable is known that holds its key",
    "half-address": "its address is not complete",
    "list-only": "it lists models and answers nobody",
}


@every_tool
def test_who_is_refused_is_told_why(tool: str) -> None:
    refused = {p.config.id: exporter(tool).refuses(p) for p in catalogue()}
    for id, reason in REASONS.items():
        assert reason in (refused[id] or "")
    taken = {id for id, reason in refused.items() if reason is None}
    kinds = {"anthropic", "google"} if tool != "llm" else set()
    assert taken == {"groq", "openai", "chat-only", "ollama", "vllm", "empty"} | kinds


def test_llm_says_which_package_speaks_the_other_formats() -> None:
    refused = [exporter("llm").refuses(p) or "" for p in catalogue() if p.config.id in ("anthropic", "google")]
    assert ["llm-anthropic" in refused[0], "llm-gemini" in refused[1]] == [True, True]
    other = row("minimax", kind="anthropic", auth="x-api-key", key_env="M_API_KEY")
    assert exporter("llm").refuses(other) == "llm does not speak its wire format (anthropic)"


def test_mods_knows_formats_by_the_name_of_the_api() -> None:
    other = row("minimax", kind="anthropic", auth="x-api-key", key_env="M_API_KEY")
    assert "only to an API of the name anthropic" in (exporter("mods").refuses(other) or "")
    cohere = row("cohere", key_env="COHERE_API_KEY")
    assert "speaks another format to an API of the name cohere" in (exporter("mods").refuses(cohere) or "")


def test_mods_is_legacy_and_says_so() -> None:
    mods = exporter("mods")
    assert "archived" in (mods.legacy or "")
    assert "archived" in mods.render([])
    assert "archived" in mods.next_steps([])[0]


# ---------------------------------------------------------------- what is unknown, what is for something else


@every_tool
def test_what_is_unknown_is_left_out(tool: str) -> None:
    text = exporter(tool).render([row("p", ModelInfo("p", "m"), key_env="P_API_KEY")])
    words = ("price", "cost", "tokens", "chars", "contextLength", ": 0", "null", "false")
    assert [word for word in words if word in text] == []


def test_a_price_of_zero_is_free_and_no_price_is_no_price() -> None:
    models = {m["name"]: m for m in load(exporter("aichat").render(catalogue()))["clients"][0]["models"]}
    assert models["free"]["input_price"] == 0.0
    assert "input_price" not in models["unknown"]
    infos = {m["model_name"]: m["model_info"] for m in load(exporter("litellm").render(catalogue()))["model_list"]}
    assert infos["groq/free"]["input_cost_per_token"] == 0.0
    assert infos["groq/tiny-price"]["input_cost_per_token"] == 1.5e-13
    assert "input_cost_per_token" not in infos["groq/unknown"]


def test_embedding_models_are_put_where_a_tool_wants_them() -> None:
    assert load(exporter("aichat").render([embedder()]))["clients"][0]["models"] == [
        {"name": "text-embed", "type": "embedding", "max_input_tokens": 512}
    ]
    assert load(exporter("litellm").render([embedder()]))["model_list"][0]["model_info"]["mode"] == "embedding"
    assert load(exporter("continue").render([embedder()]))["models"][0]["roles"] == ["embed"]
    assert load(exporter("llm").render([embedder()])) == []
    assert "text-embed" not in exporter("mods").render([embedder()])


def test_aichat_leaves_models_of_anthropic_out_whose_longest_answer_is_unknown() -> None:
    """Anthropic wants max_tokens, and aichat sends what its file says, or nothing."""
    known, unknown = ModelInfo("anthropic", "a", max_output=64000), ModelInfo("anthropic", "b")
    client = load(exporter("aichat").render([anthropic(known, unknown)]))["clients"][0]
    assert client["models"] == [{"name": "a", "max_output_tokens": 64000, "require_max_tokens": True}]
    assert "models" not in load(exporter("aichat").render([anthropic(unknown)]))["clients"][0]  # aichat's own list


def test_mods_is_given_characters_for_tokens() -> None:
    models = load(exporter("mods").render(catalogue()))["apis"]["openai"]["models"]
    assert models == {"gpt-5": {"aliases": ["openai/gpt-5"], "max-input-chars": 1200000}}


def test_an_id_cannot_have_a_tool_do_something() -> None:
    """Ids come from servers: a template in one would be filled in with a key, a star would catch every model."""
    provider = row("p", *(ModelInfo("p", i) for i in ("${{ secrets.OTHER }}", "*", "m")), key_env="P_API_KEY")
    assert [m["model"] for m in load(exporter("continue").render([provider]))["models"]] == ["*", "m"]
    assert [m["model_name"] for m in load(exporter("litellm").render([provider]))["model_list"]] == [
        "p/${{ secrets.OTHER }}",
        "p/m",
    ]


# ---------------------------------------------------------------- keys


@every_tool
def test_no_key_and_no_header_is_ever_written(tool: str, monkeypatch: pytest.MonkeyPatch) -> None:
    canary = "canary-" + "0123456789abcdef"
    providers = [*catalogue(), embedder()]
    for p in providers:
        if p.key_env:
            monkeypatch.setenv(p.key_env, canary)
    writer = exporter(tool)
    said = [writer.render(providers), *writer.next_steps(providers), *(str(writer.refuses(p)) for p in providers)]
    said += [writer.merge(writer.render(providers[:1]), providers, s).text for s in STRATEGIES]
    said += [repr(writer.merge("", providers)), repr(providers)]
    assert not [text for text in said if canary in text or SECRET_HEADER in text]


@every_tool
def test_headers_are_named_for_the_user_to_add(tool: str) -> None:
    steps = exporter(tool).next_steps([embedder()])
    assert "emb is asked with the header X-Team, which was not written: add it by hand" in steps


def test_each_tool_is_told_the_variable_in_its_own_words() -> None:
    texts = {tool: exporter(tool).render([embedder()]) for tool in TOOLS}
    assert "# emb: EMB_API_KEY" in texts["aichat"]
    assert "api_key: os.environ/EMB_API_KEY" in texts["litellm"]
    assert "apiKey: '${{ secrets.EMB_API_KEY }}'" in texts["continue"]
    assert "api-key-env: EMB_API_KEY" in texts["mods"]
    assert "llm keys set emb" in " ".join(exporter("llm").next_steps([embedder()]))


def test_aichat_reads_a_variable_made_from_the_name() -> None:
    hugging = row("hugging-face", ModelInfo("hugging-face", "m"), key_env="HF_TOKEN")
    assert load(exporter("aichat").render([hugging]))["clients"][0]["name"] == "hugging_face"
    assert exporter("aichat").next_steps([hugging])[0] == (
        "aichat reads the key of hugging-face from HUGGING_FACE_API_KEY; it stands in HF_TOKEN now"
    )


@pytest.mark.parametrize(("tool", "field"), [("mods", "api-key: not-needed"), ("litellm", "api_key: not-needed")])
def test_no_other_key_is_sent_where_none_is_needed(tool: str, field: str) -> None:
    """Without a word for the key, both would send that of OPENAI_API_KEY to the server."""
    assert field in exporter(tool).render([p for p in catalogue() if p.config.id == "vllm"])


# ---------------------------------------------------------------- places and names


@pytest.mark.parametrize(
    ("tool", "platform", "environ", "where"),
    [
        ("aichat", "linux", {}, ".config/aichat/config.yaml"),
        ("aichat", "linux", {"XDG_CONFIG_HOME": "/x"}, "/x/aichat/config.yaml"),
        ("aichat", "linux", {"AICHAT_CONFIG_DIR": "/a", "XDG_CONFIG_HOME": "/x"}, "/a/config.yaml"),
        ("aichat", "linux", {"AICHAT_CONFIG_FILE": "/f.yaml", "AICHAT_CONFIG_DIR": "/a"}, "/f.yaml"),
        ("aichat", "darwin", {}, "Library/Application Support/aichat/config.yaml"),
        ("aichat", "win32", {"APPDATA": "/r"}, "/r/aichat/config.yaml"),
        ("mods", "linux", {"XDG_CONFIG_HOME": "relative"}, ".config/mods/mods.yml"),
        ("mods", "darwin", {}, "Library/Application Support/mods/mods.yml"),
        ("mods", "win32", {}, "AppData/Local/mods/mods.yml"),
        ("llm", "linux", {}, ".config/io.datasette.llm/extra-openai-models.yaml"),
        ("llm", "linux", {"LLM_USER_PATH": "/l"}, "/l/extra-openai-models.yaml"),
        ("llm", "darwin", {"XDG_CONFIG_HOME": "/x"},
         "Library/Application Support/io.datasette.llm/extra-openai-models.yaml"),
        ("continue", "linux", {}, ".continue/config.yaml"),
        ("continue", "win32", {"CONTINUE_GLOBAL_DIR": "/c"}, "/c/config.yaml"),
    ],
)  # fmt: skip
def test_files_are_where_the_tool_looks(tool: str, platform: str, environ: dict[str, str], where: str) -> None:
    home = Path("/home/someone")
    assert exporter(tool).locate(Places(home, environ, platform)) == home / where


def test_litellm_has_no_place_of_its_own() -> None:
    assert exporter("litellm").locate(Places(Path("/home/someone"), {}, "linux")) is None


def test_an_unknown_tool_is_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError) as caught:
        exporter("lite-llm")
    assert "did you mean litellm" in (caught.value.hint or "")
    assert "known tools: aichat, codex" in (caught.value.hint or "")


class _Third:
    tool = "third"


class _Broken:
    def __init__(self) -> None:
        raise RuntimeError("not today")


def test_packages_bring_tools(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [
        EntryPoint("third", f"{__name__}:_Third", exporters.ENTRY_POINT_GROUP),
        EntryPoint("broken", f"{__name__}:_Broken", exporters.ENTRY_POINT_GROUP),
        EntryPoint("aichat", f"{__name__}:_Third", exporters.ENTRY_POINT_GROUP),
    ]
    monkeypatch.setattr(EntryPoint, "load", lambda self: {"_Third": _Third, "_Broken": _Broken}[self.attr])
    monkeypatch.setattr(
        exporters, "entry_points", lambda *, group, name=None: [p for p in points if name in (None, p.name)]
    )
    exporter.cache_clear()
    assert exporter("third").tool == "third"
    assert exporter("aichat").tool == "aichat"  # what comes along is not replaced
    assert tools()[-2:] == ("broken", "third")
    with pytest.raises(ExportError, match="cannot be loaded"):
        exporter("broken")
    exporter.cache_clear()
