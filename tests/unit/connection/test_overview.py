"""The table of providers: who counts as usable, what a person sees, what a program is told."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from chatting import says, talking
from key_shapes import SHAPES, traces
from nbllm.catalog.listings import Listings, _address
from nbllm.chat.options import ChatOptions
from nbllm.connection.overview import COLUMNS
from nbllm.credentials import Secret
from nbllm.errors import RegistryError, UnknownModelError
from nbllm.providers import environment
from nbllm.providers.spec import ModelInfo, ProviderConfig
from nbllm.workspace import Workspace


@pytest.fixture
def workspace() -> Iterator[Workspace]:
    made = Workspace()
    yield made
    made.close()


def _seen(workspace: Workspace) -> dict[str, dict[str, object]]:
    return {row["id"]: row for row in workspace.providers().shown_rows()}


def test_usable_is_a_key_or_none_needed_and_neither_off_nor_gone(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = workspace.overview.usable_ids
    assert {"demo", "ollama"} <= set(ids())
    assert not {"groq", "litellm"} & set(ids())  # no key; a list of somebody else's models
    monkeypatch.setenv("GROQ_API_KEY", "abcdefghijkl1234")
    assert "groq" in ids()
    workspace.registry.set_enabled(["groq"], False)
    assert "groq" not in ids()
    workspace.registry.set_session("old", base_url="http://127.0.0.1:9/v1", auth="none", status="retired")
    assert "old" not in ids()


def test_a_newcomer_sees_the_demo_and_two_sentences(workspace: Workspace) -> None:
    assert list(_seen(workspace)) == ["demo"]
    text = repr(workspace.providers())
    assert "%llm_providers discover" in text
    assert "Ollama" in text.splitlines()[-2]
    assert "lack a key" in text.splitlines()[-1]
    assert workspace.providers()._repr_html_().count("<tr>") == 2
    assert len(workspace.providers()) > 5  # the rows are all there for programs


def test_the_key_column_names_the_variable(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROQ_API_KEY", "abcdefghijkl1234")
    assert _seen(workspace)["groq"]["key"] == "environment (GROQ_API_KEY)"
    every = {row["id"]: row for row in workspace.providers(every=True).shown_rows()}
    assert every["openai"]["key"] == "needs OPENAI_API_KEY"
    assert every["demo"]["key"] == "not needed"
    told = {row["id"]: row for row in workspace.providers(every=True).as_json()}
    assert (told["groq"]["key"], told["openai"]["key"], told["demo"]["key"]) == ("environment", "none", "not-needed")


def test_what_is_missing_beside_a_key_is_said_and_nothing_is_asked(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AZURE_API_KEY", "GITHUB_TOKEN", "AWS_ACCESS_KEY_ID", "LAMBDA_API_KEY"):
        monkeypatch.setenv(name, "abcdefghijkl1234")
    usable = workspace.overview.usable_ids()
    every = {row["id"]: row for row in workspace.providers(every=True).shown_rows()}

    assert {"azure", "github-copilot", "amazon-bedrock", "lambda"}.isdisjoint(usable)
    assert every["azure"]["checked"] == "needs AZURE_RESOURCE_NAME"
    assert every["github-copilot"]["checked"] == "needs header Editor-Version"
    assert [every[i]["status"] for i in ("azure", "amazon-bedrock", "lambda", "groq")] == [
        "unverified", "unsupported", "retired", "live"]  # fmt: skip
    shown = {row["field"]: row["value"] for row in workspace.overview.describe("azure")}
    assert "AZURE_RESOURCE_NAME" in shown["to be set"]
    assert shown["base_url_template"] == "https://${AZURE_RESOURCE_NAME}.openai.azure.com/openai/v1"

    monkeypatch.setenv("AZURE_RESOURCE_NAME", "mine")
    assert "azure" in workspace.overview.usable_ids()


@pytest.mark.parametrize(
    ("id", "said"),
    [("azure", "lacks AZURE_RESOURCE_NAME"), ("github-copilot", "lacks header"), ("gitlab", "wire format")],
)
def test_a_row_that_cannot_be_asked_says_why_at_every_door(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, id: str, said: str
) -> None:
    for name in ("AZURE_API_KEY", "GITHUB_TOKEN", "GITLAB_TOKEN"):
        monkeypatch.setenv(name, "abcdefghijkl1234")
    check = workspace.check(id)
    assert (check.ok, check.stage) == (False, "url")
    assert said in str(check.error)
    assert check.hint
    for ask in (lambda: workspace.models(id), lambda: workspace.chat("hi", ChatOptions(model=f"{id}/some-model"))):
        with pytest.raises(RegistryError, match=said):
            ask()


def test_where_there_is_no_listing_the_models_are_those_added_by_hand(workspace: Workspace) -> None:
    workspace.registry.edit("perplexity", models=["sonar"])
    listing = workspace.models("perplexity", refresh=True)

    assert [m.id for m in listing.models] == ["sonar"]
    assert "no model listing" in repr(workspace.overview.model_table(listing))


def test_a_key_is_not_kept_for_a_provider_without_an_address(workspace: Workspace) -> None:
    with pytest.raises(RegistryError, match="lacks AZURE_RESOURCE_NAME"):
        workspace.save_key("azure", Secret("abcdefghijkl1234"), store="session")


def test_a_token_of_github_makes_no_default(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_TOKEN", "abcdefghijkl1234")

    assert "github-models" in workspace.overview.usable_ids()
    assert workspace.registry.default_model(lambda id: True) == "demo/guide"
    with pytest.raises(UnknownModelError):
        workspace.resolve("gpt-4o")


def test_every_row_is_shown_when_all_are_asked_for(workspace: Workspace) -> None:
    table = workspace.providers(every=True)
    assert len(table.shown_rows()) == len(table) == len(workspace.registry.all())
    assert table.note is None


def test_a_local_server_is_shown_once_there_is_a_sign_of_it(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "ollama" not in _seen(workspace)
    monkeypatch.setenv("OLLAMA_BASE_URL", "http://127.0.0.1:11435")
    assert "ollama" in _seen(workspace)


def test_a_provider_that_is_off_says_so(workspace: Workspace) -> None:
    workspace.registry.add("mine", base_url="http://127.0.0.1:9/v1")
    workspace.registry.set_enabled(["mine"], False)
    assert _seen(workspace)["mine"]["checked"] == "disabled"


def test_the_last_test_is_shown(workspace: Workspace) -> None:
    workspace.registry.add("mine", base_url="http://127.0.0.1:9/v1", auth="none")
    workspace.check("mine")
    workspace.check("demo")
    assert (_seen(workspace)["mine"]["checked"], _seen(workspace)["demo"]["checked"]) == ("failed at connect", "ok")


def test_programs_get_the_fixed_columns_and_unknown_is_none(workspace: Workspace) -> None:
    rows = workspace.providers().as_json()
    assert all(tuple(row) == COLUMNS for row in rows)
    ollama = next(row for row in rows if row["id"] == "ollama")
    assert (ollama["model_count"], ollama["models_age_s"], ollama["last_check"]) == (None, None, None)


def test_what_is_known_of_a_provider_holds_no_key_and_no_header(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = SHAPES[0].key()
    monkeypatch.setenv("MINE_API_KEY", key)
    workspace.registry.add("mine", base_url="http://127.0.0.1:9/v1", headers={"X-Team": "blue"})
    shown = repr(workspace.overview.describe("mine"))
    assert "X-Team" in shown
    assert "blue" not in shown
    assert not traces(key, shown + workspace.overview.describe("mine")._repr_html_())


def test_foreign_names_make_no_html_and_no_second_line(workspace: Workspace) -> None:
    workspace.registry.add("mine", base_url="http://127.0.0.1:9/v1", name="<img src=x>\u202e")
    table = workspace.providers()
    assert "<img" not in table._repr_html_()
    assert "<U+202E>" in table.to_text(200)
    assert "\u202e" not in repr(table)


def test_the_sentences_after_adding_say_what_to_do_next(workspace: Workspace) -> None:
    said = workspace.overview.add("mine", {"base_url": "https://api.example.com/v1/"})
    assert said[0].startswith("mine: added (https://api.example.com/v1)")
    assert any("%llm_providers key mine" in s for s in said)
    assert said[-1] == "try it with `%llm_providers test mine`"


def test_references_to_choose_from_ask_no_network() -> None:
    with talking(says("hi"), models=["a", "b"]) as (workspace, server):
        assert {"peer/a", "peer/b"} <= set(workspace.overview.known_refs())
        assert server.requests == []


def test_a_table_of_many_looks_once_at_the_environment_and_reads_a_list_once(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(40):
        workspace.registry.set_session(f"p{n:02}", base_url="http://127.0.0.1:9/v1", auth="none")
    row = workspace.registry.get("p07")
    workspace.listings.folder.mkdir(parents=True)
    listings = workspace.listings
    listings._keep("p07", _kept(row, time.time() - 60), (ModelInfo("p07", "a"), ModelInfo("p07", "b")))
    looks: list[int] = []
    look = environment.fingerprint
    monkeypatch.setattr(environment, "fingerprint", lambda *a: looks.append(1) or look(*a))

    def size() -> object:
        found = {each["id"]: each for each in workspace.overview.table(every=True).rows}["p07"]
        return found["model_count"], found["models_age_s"]

    assert size() == (2, 60)
    assert len(looks) == 1
    with monkeypatch.context() as patch:
        read: list[str] = []
        patch.setattr(Listings, "kept", lambda _, row: read.append(row.id))
        assert size() == (2, 60)
        assert "p07" not in read
    listings._keep("p07", _kept(row, time.time()), (ModelInfo("p07", "a"),))
    assert size() == (1, 0)
    workspace.registry.set_session("p07", base_url="http://127.0.0.1:8/v1")  # another server: that list is not its
    assert size() == (None, None)


def _kept(row: ProviderConfig, fetched_at: float) -> dict[str, object]:
    return {"version": 1, "provider": row.id, "address": _address(row), "fetched_at": fetched_at, "count": 2}
