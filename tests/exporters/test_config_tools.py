"""codex, opencode, aider and crush: what a new file holds, and what becomes of one that is there."""

from __future__ import annotations

import json
import os
import subprocess
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from exporters.catalogue import SECRET_HEADER, catalogue, groq, row
from nbllm.errors import ExportError
from nbllm.exporters import exporter
from nbllm.exporters.aider import Aider, AiderSettings
from nbllm.exporters.base import STRATEGIES, Exported, Places, Strategy
from nbllm.exporters.codex import RESPONSES, Codex
from nbllm.exporters.crush import Crush
from nbllm.exporters.jsonc import parse
from nbllm.exporters.opencode import Opencode
from nbllm.providers.spec import ModelInfo, ProviderConfig

GOLDEN = Path(__file__).parent / "golden"
WHOLE = {
    "codex.toml": lambda: Codex().render(catalogue()),
    "codex_profile.toml": lambda: Codex().render([groq()]),
    "opencode.json": lambda: Opencode().render(catalogue()),
    "aider.json": lambda: Aider().render(catalogue()),
    "aider.yml": lambda: AiderSettings().render(catalogue()),
    "crush.sh": lambda: Crush().render(catalogue()),
}


@pytest.mark.parametrize("name", WHOLE)
def test_a_new_file_is_as_the_golden_one(name: str) -> None:
    """WRITE_GOLDEN=1 writes them anew; read the difference before it is committed."""
    text = WHOLE[name]()
    if os.environ.get("WRITE_GOLDEN"):
        (GOLDEN / name).write_text(text, encoding="utf-8")
    assert text == (GOLDEN / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", WHOLE)
def test_a_golden_file_holds_no_header_and_merging_into_it_changes_nothing(name: str) -> None:
    text = (GOLDEN / name).read_text(encoding="utf-8")
    assert SECRET_HEADER not in text
    if name == "codex_profile.toml":
        return  # a file of its own, into which nothing is merged
    tool = AiderSettings() if name == "aider.yml" else exporter(name.partition(".")[0])
    for strategy in STRATEGIES:
        assert tool.merge(text, catalogue(), strategy).text == text


def one(**fields: Any) -> Exported:
    fields.setdefault("key_env", "ACME_API_KEY")
    return row("acme", ModelInfo("acme", "big", context=1000), **fields)


def with_responses() -> dict[str, Any]:
    return {"quirks": {"responses": {"value": True, "source": "its documentation", "date": "2026-11-21"}}}


# ---------------------------------------------------------------- who is left out, and why


@pytest.mark.parametrize(
    ("tool", "id", "said"),
    [
        ("codex", "chat-only", "not known to serve /v1/responses"),
        ("codex", "anthropic", "it speaks anthropic's format"),
        ("codex", "google", "it speaks gemini's format"),
        ("codex", "keyless-by-mistake", "no variable is known"),
        ("codex", "half-address", "address is not complete"),
        ("codex", "list-only", "answers nobody"),
        ("opencode", "list-only", "answers nobody"),
        ("aider", "azure", "its key goes out as `api-key: {key}`"),
        ("aider", "half-address", "address is not complete"),
        ("crush", "google", "takes no address of one's own"),
    ],
)
def test_who_cannot_be_had_is_told_why(tool: str, id: str, said: str) -> None:
    provider = next(p for p in catalogue() if p.config.id == id)
    assert said in (exporter(tool).refuses(provider) or "")
    assert id not in exporter(tool).render([provider])


def test_what_a_row_still_lacks_is_named() -> None:
    gap = row("azure", ModelInfo("azure", "m"), base_url="", base_url_template="https://${MY_NAME}.example.com/v1")
    headers = {"Editor-Version": "<client>/<version>"}
    copilot = ProviderConfig(id="copilot", base_url="https://api.copilot.example", env=("K",), headers=headers)
    header = Exported(copilot, (ModelInfo("copilot", "m"),), "K")
    for provider, name in ((gap, "MY_NAME"), (header, "header Editor-Version")):
        assert f"it lacks {name}" in str(exporter("crush").refuses(provider))


def test_retired_and_unsupported_providers_go_nowhere() -> None:
    for status in ("retired", "unsupported"):
        for tool in ("codex", "opencode", "aider", "crush"):
            assert exporter(tool).refuses(one(status=status, **with_responses()))


def test_a_row_that_says_it_serves_responses_is_believed_and_one_that_denies_it_too() -> None:
    assert Codex().refuses(one()) is not None
    assert Codex().refuses(one(**with_responses())) is None
    denied = {"responses": {"value": False, "source": "seen", "date": "2026-11-21"}}
    assert Codex().refuses(row("groq", key_env="GROQ_API_KEY", quirks=denied)) is not None


def test_every_claim_of_responses_has_its_source_and_day() -> None:
    assert all("read 2026-" in source for source in RESPONSES.values())


# ---------------------------------------------------------------- codex

_KNOWN_TO_CODEX = {
    "name", "base_url", "env_key", "env_key_instructions", "experimental_bearer_token", "auth", "aws", "wire_api",
    "query_params", "http_headers", "env_http_headers", "request_max_retries", "stream_max_retries",
    "stream_idle_timeout_ms", "websocket_connect_timeout_ms", "requires_openai_auth", "supports_websockets",
}  # fmt: skip
"""The fields of ModelProviderInfo in openai/codex, which refuses others; read 2026-11-21."""


def test_codex_gets_no_field_and_no_id_that_it_refuses() -> None:
    for text in (Codex().render(catalogue()), Codex().merge('model = "x"\n', catalogue(), "add").text):
        tables = tomllib.loads(text)["model_providers"]
        assert {"openai", "ollama", "lmstudio", "amazon-bedrock"} & tables.keys() == set()
        assert {"groq", "nbllm-openai", "nbllm-ollama", "vllm"} <= tables.keys()
        for table in tables.values():
            assert table.keys() <= _KNOWN_TO_CODEX
            assert table["wire_api"] == "responses"
            assert table["name"]


def test_a_profile_of_codex_has_its_root_keys_before_the_first_table() -> None:
    text = Codex().render([groq()])
    assert tomllib.loads(text)["model_provider"] == "groq"
    assert text.index("model_provider =") < text.index("\n[")


@pytest.mark.parametrize(
    "there",
    ["[model_providers]\n", "[model_providers]\nmine = { name = 'm' } # c\n", "model_providers.mine.name = 'm'\n",
     "model_providers = {}\n", "model_providers = { mine = { name = 'm' } } # c\n[tui]\nx = 1\n",
     "[model_providers.mine]\nname='m'\n[tui]\nx=1\n[model_providers.other]\nname='o'\n", "# only a comment", "\n\n\n"],
)  # fmt: skip
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_codex_tables_are_added_however_the_others_are_written(there: str, strategy: Strategy) -> None:
    merged = Codex().merge(there, catalogue(), strategy)
    before, after = tomllib.loads(there), tomllib.loads(merged.text)
    mine = before.pop("model_providers", {})
    ours = after.pop("model_providers")
    assert after == before
    assert mine.items() <= ours.items()
    assert set(merged.added) == ours.keys() - mine.keys()
    assert Codex().merge(merged.text, catalogue(), strategy).text == merged.text


def test_codex_refreshes_what_is_ours_and_keeps_name_comments_and_the_rest() -> None:
    text = '[model_providers.groq] # mine\nname = "My Groq" # n\nbase_url = "http://old" # b\nrequest_max_retries = 9\n'
    merged = Codex().merge(text, [groq()], "update")
    assert merged.updated == ("groq",)
    assert merged.text.startswith(
        '[model_providers.groq] # mine\nname = "My Groq" # n\nbase_url = "https://api.groq.com/openai/v1" # b\n'
        "request_max_retries = 9\n"
    )
    assert Codex().merge(text, [groq()], "add").text == text


@pytest.mark.parametrize("key", ['env_key = "MY_OWN"', 'experimental_bearer_token = "t"', 'http_headers = { A = "b" }'])
def test_beside_a_key_of_the_users_own_codex_keeps_the_address(key: str) -> None:
    """Else that key would go to a host for which it was not put there."""
    text = f'[model_providers.groq]\nname = "x"\nbase_url = "http://proxy/v1"\nwire_api = "responses"\n{key}\n'
    assert Codex().merge(text, [groq()], "replace").text == text


@pytest.mark.parametrize(
    "text", ["model_providers = 3\n", "[model_providers]\nx = 3\n", "[[model_providers]]\na = 1\n"]
)
def test_codex_files_of_another_shape_are_refused(text: str) -> None:
    with pytest.raises(ExportError, match="table"):
        Codex().merge(text, catalogue(), "add")


def test_codex_looks_where_it_is_told(tmp_path: Path) -> None:
    assert Codex().locate(Places(tmp_path, {"CODEX_HOME": "/c"}, "linux")) == Path("/c/config.toml")
    assert Codex().locate(Places(tmp_path, {}, "linux")) == tmp_path / ".codex" / "config.toml"


# ---------------------------------------------------------------- opencode


def opencode(text: str, strategy: Strategy, providers: Sequence[Exported] = ()) -> Any:
    return parse(Opencode().merge(text, providers or [groq()], strategy).text).plain()["provider"]["groq"]


def test_opencode_adds_models_and_keeps_what_is_the_users() -> None:
    models = '{"old": {}, "free": {"options": {"a": 1}}}'
    text = f'{{"provider": {{"groq": {{"name": "Mine", "npm": "@me/own", "models": {models}}}}}}}'
    found = opencode(text, "update")
    assert (found["name"], found["npm"]) == ("Mine", "@me/own")
    assert found["models"]["old"] == {}
    assert found["models"]["free"]["options"] == {"a": 1}
    assert found["models"]["free"]["limit"] == {"context": 200, "output": 100}
    assert "1.10" in found["models"]
    assert opencode(text, "add") == parse(text).plain()["provider"]["groq"]


def test_opencode_replaces_the_list_of_models_but_not_by_nothing() -> None:
    text = '{"provider": {"groq": {"models": {"old": {}, "free": {}}}}}'
    assert "old" not in opencode(text, "replace")["models"]
    unknown = row("groq", key_env="GROQ_API_KEY")
    assert opencode(text, "replace", [unknown])["models"] == {"old": {}, "free": {}}


def test_beside_a_key_of_the_users_own_opencode_keeps_the_address() -> None:
    text = '{"provider": {"groq": {"options": {"baseURL": "http://proxy", "apiKey": "typed-in"}}}}'
    assert opencode(text, "update")["options"] == {"baseURL": "http://proxy", "apiKey": "typed-in"}
    ours = text.replace("typed-in", "{env:GROQ_API_KEY}")
    assert opencode(ours, "update")["options"]["baseURL"] == "https://api.groq.com/openai/v1"


def test_unknown_numbers_are_left_out_and_never_guessed() -> None:
    models = parse(Opencode().render([groq()])).plain()["provider"]["groq"]["models"]
    assert models["unknown"] == {"name": "unknown"}
    assert models["free"]["cost"] == {"input": 0.0, "output": 0.0}
    assert "limit" not in models["größe-модель-模型"]  # opencode wants both halves
    assert not {"text-embedding", "painter", "con\x00trol\nline"} & models.keys()


@pytest.mark.parametrize("text", ["[]", '{"provider": []}', '{"provider": {"a": 1}}', "{'provider': {}}", "null"])
def test_opencode_files_of_another_shape_are_refused(text: str) -> None:
    with pytest.raises(ExportError):
        Opencode().merge(text, catalogue(), "add")


def test_opencode_takes_the_file_with_comments_if_that_is_there(tmp_path: Path) -> None:
    places = Places(tmp_path, {}, "linux")
    folder = tmp_path / ".config" / "opencode"
    assert Opencode().locate(places) == folder / "opencode.json"
    folder.mkdir(parents=True)
    (folder / "opencode.jsonc").touch()
    assert Opencode().locate(places) == folder / "opencode.jsonc"


# ---------------------------------------------------------------- aider


def test_aider_keeps_its_own_settings_for_models_that_litellm_knows() -> None:
    """A settings entry would lie over aider's own, with its edit format; so such models get facts only."""
    assert AiderSettings().render([groq()]) == ""
    facts = json.loads(Aider().render([groq()]))
    assert facts["groq/meta-llama/llama-4-scout:free@v1"]["input_cost_per_token"] == 1.1e-07
    assert facts["groq/unknown"] == {"litellm_provider": "groq", "mode": "chat"}


def test_no_address_of_others_gets_the_key_of_openai() -> None:
    """litellm's prefix `openai` would take it from OPENAI_API_KEY."""
    text = AiderSettings().render(catalogue())
    assert "openai/" not in text
    moved = row("openai", ModelInfo("openai", "gpt-5"), key_env="OPENAI_API_KEY", base_url="https://proxy.example/v1")
    assert "model: hosted_vllm/gpt-5" in AiderSettings().render([moved])


def test_aider_replaces_models_that_are_gone_but_none_with_words_of_the_users() -> None:
    text = '{"groq/gone": {"mode": "chat"}, "groq/mine": {"mode": "chat", "note": 1}, "other/gone": {"mode": "chat"}}'
    merged = Aider().merge(text, [groq()], "replace")
    assert merged.removed == ("groq/gone",)
    assert {"groq/mine", "other/gone", "groq/free"} <= parse(merged.text).plain().keys()
    assert Aider().merge(text, [row("groq", key_env="GROQ_API_KEY")], "replace").text == text


# ---------------------------------------------------------------- crush


def test_bash_reads_the_file_of_crush_as_it_was_meant(tmp_path: Path) -> None:
    """Names with quotes, `$(...)` and backticks are words, and run nothing."""
    show = "{ printf '%s\\0' \"$@\"; printf '\\n'; }"
    script = f"provider() {show}\nmodel() {show}\nGROQ_API_KEY=key-of-groq BASETEN_API_KEY=key-of-baseten\n"
    (tmp_path / "run.sh").write_text(script + Crush().render(catalogue()))
    unset = {f"{name}_API_KEY": "" for name in ("ANTHROPIC", "OPENAI", "CHAT_ONLY", "EMPTY", "AZURE")}
    environ = {"PATH": os.environ["PATH"], **unset}
    done = subprocess.run(
        ["bash", "-eu", tmp_path / "run.sh"], capture_output=True, text=True, check=False, env=environ
    )
    assert (done.returncode, done.stderr) == (0, "")
    lines = [line.split("\0")[:-1] for line in done.stdout.splitlines()]
    assert lines[0][-2:] == ["--api-key", "key-of-groq"]
    assert ["--extra-header", "Authorization", "Api-Key key-of-baseten"] in [line[-3:] for line in lines]
    assert "groq/quote\"d 'and' \\ back$(id)`x`" in [line[1] for line in lines]


@pytest.mark.parametrize("text", ["export X=1\n", "provider add groq --type openai\n", "#!/bin/bash\n"])
def test_a_script_of_the_users_is_never_edited(text: str) -> None:
    with pytest.raises(ExportError, match="did not write"):
        Crush().merge(text, catalogue(), "replace")


def test_lines_of_crush_are_refreshed_word_by_word() -> None:
    new = Crush().render([groq()])
    changed = (
        new.replace("--context-window 131072", "--context-window 5 --reasoning-effort high")
        .replace("--name Groq ", "--name 'My Groq' ")
        .replace("https://api.groq.com/openai/v1", "http://old")
        + 'model add groq/gone --name x # why it was here\nmodel add groq/dynamic --name "$(date)"\n'
    )
    updated = Crush().merge(changed, [groq()], "update")
    assert updated.updated == ("groq",)
    assert "--name 'My Groq' " in updated.text
    assert "--base-url https://api.groq.com/openai/v1" in updated.text
    assert "--context-window 131072 --reasoning-effort high" in updated.text
    assert "groq/gone" in updated.text
    replaced = Crush().merge(changed, [groq()], "replace").text
    assert "groq/gone" not in replaced
    assert "# why it was here" in replaced
    assert '"$(date)"' in replaced


def test_beside_a_key_of_the_users_own_crush_keeps_the_address() -> None:
    text = (
        Crush().render([groq()]).replace('"$GROQ_API_KEY"', '"$(op read groq)"').replace("https://api.groq", "http://p")
    )
    assert Crush().merge(text, [groq()], "update").text == text
    text = Crush().render([groq()]).replace('"$GROQ_API_KEY"', '"$MINE"').replace("https://api.groq", "http://p")
    assert Crush().merge(text, [groq()], "update").text == text


# ---------------------------------------------------------------- all four


@pytest.mark.parametrize("tool", ["codex", "opencode", "aider", "crush"])
def test_what_is_left_to_do_names_variables_and_headers_but_no_value(tool: str) -> None:
    said = "\n".join(exporter(tool).next_steps(catalogue()))
    assert "X-Team" in said
    assert SECRET_HEADER not in said


@pytest.mark.parametrize("tool", ["codex", "opencode", "aider", "crush"])
def test_nothing_to_write_makes_no_file(tool: str) -> None:
    refused = [p for p in catalogue() if p.config.id == "half-address"]
    assert exporter(tool).merge("", refused, "add").text == ""
