"""`%llm_models` in a shell: search, verbs, and what is said to a slip."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest

import nbllm
from key_shapes import SHAPES, traces
from nbllm.catalog.table import ModelTable
from shell import Shell, loaded
from wire_server import Plan, answer

ROWS = [
    {"id": "llama-big", "context_length": 131072, "name": "<img src=x onerror=alert(1)>"},
    {"id": "llama-small\u202e", "context_length": 8192},
    {"id": "group", "context_length": 10},
]


def listing(rows: list[dict[str, Any]] | None = None) -> Plan:
    body = json.dumps({"data": ROWS if rows is None else rows}).encode()
    return answer(body, kind="application/json")


def fields() -> dict[str, Any]:
    return {"listing": {"path": "data[]", "context": "context_length", "name": "name"}}


def refs(value: Any) -> list[str]:
    assert isinstance(value, ModelTable)
    return [row["ref"] for row in value]


def test_the_magic_searches_and_python_does_the_same() -> None:
    with loaded(listing(), **fields()) as (shell, server):
        table = shell.good("%llm_models llama --provider peer --refresh --min-context 100k").value

        assert refs(table) == ["peer/llama-big"]
        assert refs(nbllm.models("llama", provider="peer", min_context=100_000)) == ["peer/llama-big"]
        assert len(server.requests) == 1


def test_a_refresh_that_fails_says_why_and_shows_what_is_known() -> None:
    with loaded(listing(), answer(b"no", status=401), **fields()) as (shell, _):
        shell.good("%llm_models --provider peer --refresh")
        nbllm.workspace().listings.forget("peer")
        table = shell.good("%llm_models --provider peer --refresh").value

        assert "peer could not be asked:" in str(table)


def test_text_of_a_server_is_shown_and_never_interpreted() -> None:
    with loaded(listing(), **fields()) as (shell, _):
        table = shell.good("%llm_models --provider peer --refresh").value

        page = table._repr_html_()
        assert "<img" not in page
        assert "<script" not in page
        assert "\u202e" not in page + str(table)
        assert "llama-small&lt;U+202E&gt;" in page
        assert "llama-small<U+202E>" in str(table)


def test_the_table_tells_unknown_from_nothing_and_sets_numbers_right() -> None:
    with loaded(listing(), **fields()) as (shell, _):
        shell.good("%llm_models --provider peer --refresh")
        shell.good("%llm_models add peer/llama-big --input-price 0 --output-price 0.075")
        table = shell.good("%llm_models --provider peer --limit 2").value

        line = next(text for text in str(table).splitlines() if "llama-big" in text)
        assert line.split()[1:4] == ["131,072", "0", "0.075"]
        assert "2 of 3, --limit shows more" in str(table)
        assert "peer just now" in str(table)
        page = table._repr_html_()
        assert "position:sticky" in page
        assert "text-align:right' title='yours " in page
        assert ">—<" in page
        assert (len(table), table[0]["ref"], len(table.to_pandas()), len(table.to_polars())) == (
            2,
            "peer/llama-big",
            2,
            2,
        )


def test_a_word_that_is_a_verb_is_looked_for_behind_two_dashes() -> None:
    with loaded(listing(), **fields()) as (shell, _):
        shell.good("%llm_models --provider peer --refresh")
        assert refs(shell.good("%llm_models -- group --provider peer").value)[0] == "peer/group"


def test_marks_of_many_models_at_once() -> None:
    with loaded(listing(), **fields()) as (shell, _):
        shell.good("%llm_models --provider peer --refresh")
        said = shell.good("%llm_models group llamas demo/echo --query llama --provider peer").value
        assert str(said).startswith("3 models are now in llamas: demo/echo, peer/llama-big")
        assert set(refs(shell.good("%llm_models --group llamas").value)) == {
            "demo/echo", "peer/llama-big", "peer/llama-small\u202e",
        }  # fmt: skip
        shell.good("%llm_models group llamas --query llama --provider peer --remove")
        assert refs(shell.good("%llm_models group llamas").value) == ["demo/echo"]
        shell.good("%llm_models group llamas --remove")
        assert len(shell.good("%llm_models group").value) == 0


def test_favourites_and_aliases_come_and_go() -> None:
    with loaded() as (shell, _):
        assert "2 models are now favourites" in str(shell.good("%llm_models favourite demo/echo demo/guide").value)
        assert "nothing changes" in str(shell.good("%llm_models favourite demo/echo").value)
        assert refs(shell.good("%llm_models --favourites").value) == ["demo/guide", "demo/echo"]
        shell.good("%llm_models favourite demo/guide --remove")
        assert refs(shell.good("%llm_models favourite").value) == ["demo/echo"]
        shell.good("%llm_models alias say demo/echo")
        assert shell.good("%chat -m say hello").value.model == "echo"
        assert shell.good("%llm_models alias").value[0]["model"] == "demo/echo"
        shell.good("%llm_models alias say --remove")
        assert "no provider" in shell.fails("%chat -m say hello").message


def test_an_unlisted_model_can_be_marked_and_is_told() -> None:
    with loaded() as (shell, _):
        said = str(shell.good("%llm_models favourite groq/not-there").value)
        assert "no listing that is known here has groq/not-there" in said


@dataclass(frozen=True)
class Slip:
    line: str
    says: str
    hint: str


SLIPS = (
    Slip("--provider grok", "no provider 'grok'", "groq"),
    Slip("--sort contxt", "no column 'contxt'", "did you mean context"),
    Slip("--group cheep", "no group 'cheep'", "cheap"),
    Slip("--tolls", "no option --tolls", "--tools"),
    Slip("--max-price dear", "--max-price", "usage"),
    Slip("--max-price -1", "a price is 0 or more", "--max-price"),
    Slip("--min-context many", "number of tokens", "128k"),
    Slip("alias cheap", "which model", "alias cheap PROVIDER/MODEL"),
    Slip("alias own demo/guide", "stands in config.toml", "another name"),
    Slip("alias a/b demo/guide", "cannot be the name", "slashes"),
    Slip("alias nme --remove", "no alias 'nme'", "name"),
    Slip("group cheep --remove", "no group 'cheep'", "cheap"),
    Slip("favourite dem/guide", "no provider 'dem'", "demo"),
    Slip("favourite --query zzzzzzz", "no known model fits", "look with"),
    Slip("info demmo/guide", "no provider 'demmo'", "demo"),
    Slip("add demo/x --input-price -1", "a price is 0 or more", ""),
    Slip("add demo/never --remove", "was not added by hand", ""),
    Slip("recommend --for sped", "nothing to recommend by 'sped'", "score, price, latency"),
)


@pytest.fixture
def furnished() -> Any:
    with loaded() as (shell, _):
        shell.good("%llm_models group cheap demo/guide")
        shell.good("%llm_models alias name demo/guide")
        nbllm.workspace().config.update("alias", lambda d: d.setdefault("aliases", {}).update(own="demo/echo"))
        yield shell


@pytest.mark.parametrize("slip", SLIPS, ids=lambda s: s.line)
def test_a_slip_is_answered_with_the_nearest(furnished: Shell, slip: Slip) -> None:
    error = furnished.fails(f"%llm_models {slip.line}")

    assert slip.says in error.message
    assert slip.hint in (error.hint or "")


def test_a_verb_with_a_typing_error_finds_nothing_and_names_the_verb() -> None:
    with loaded() as (shell, _):
        assert "did you mean `%llm_models favourite`?" in str(shell.good("%llm_models favorite demo/guide").value)


def test_a_lost_store_costs_one_warning_and_nothing_else(home: Any) -> None:
    home.write_text("a file where the folder should be")
    with loaded() as (shell, _):
        first = shell.good("%llm_models favourite demo/guide")
        second = shell.good("%llm_models --favourites")

        assert "in memory only" in first.err
        assert "in memory only" not in second.err
        assert refs(second.value) == ["demo/guide"]


def test_a_key_in_a_search_is_refused_and_not_repeated() -> None:
    with loaded() as (shell, _):
        key = SHAPES[0].key()
        error = shell.fails(f"%llm_models {key}")
        assert traces(key, str(error)) == []


def test_the_view_is_a_widget_whose_saved_output_is_the_static_table() -> None:
    with loaded(listing(), **fields()) as (shell, _):
        table = shell.good("%llm_models --provider peer --refresh").value
        view = table.view()

        bundle = view._repr_mimebundle_()
        data = bundle[0] if isinstance(bundle, tuple) else bundle
        assert data["text/html"] == table._repr_html_()
        assert data["text/plain"] == str(table) == repr(view)
        assert "application/vnd.jupyter.widget-view+json" in data
        assert len(view.rows) == 3
        assert "\u202e" not in json.dumps(view.rows, ensure_ascii=False)
        view.close()
