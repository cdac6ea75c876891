"""Shapes of a listing and its traps, one small hand-made listing each."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest

from adapters.asking import Answer, listed
from nbllm.adapters import listing_rows
from nbllm.adapters.listing_rows import read_listing, read_pages
from nbllm.errors import AuthenticationError, NbllmError, ProviderError
from nbllm.providers.spec import ProviderConfig


def provider(**listing: Any) -> ProviderConfig:
    """A row with this `listing`."""
    return ProviderConfig(id="there", base_url="https://models.example/v1", listing=listing)


def ids(payload: Any, **listing: Any) -> list[str]:
    """The ids of a listing."""
    return [m.id for m in read_listing(payload, provider(**listing))]


@pytest.mark.parametrize(
    ("payload", "listing"),
    [
        ({"object": "list", "data": [{"id": "a"}, {"id": "b"}]}, {}),
        ([{"id": "a"}, {"id": "b"}], {"path": "[]"}),
        ({"a": {"max_input_tokens": 7}, "b": {}}, {"path": "{}"}),
        ({"models": [{"name": "models/a"}, {"name": "models/b"}]},
         {"path": "models[]", "id": "name", "strip": "models/"}),
        ({"data": [{"id": "models/a"}, {"id": "b"}]}, {"strip": "models/"}),
        ({"x": {"rows": [{"slug": "a"}, {"slug": "b"}]}}, {"path": "x.rows[]", "id": "slug"}),
        ({"data": {"items": [{"id": "a"}, {"id": "b"}]}}, {"path": "data.items[]"}),
        (["a", "b"], {"path": "[]"}),
        ({"data": [{"id": "a", "name": "x"}, {"id": " b\n"}]}, {}),
    ],
)  # fmt: skip
def test_models_are_found_in_every_shape(payload: Any, listing: dict[str, Any]) -> None:
    assert ids(payload, **listing) == ["a", "b"]


def test_in_an_object_keyed_by_id_the_key_is_the_id_and_documentation_is_no_model() -> None:
    payload = {
        "sample_spec": {"max_input_tokens": "max input tokens, if the provider specifies it"},
        "1024-x-1024/50-steps/maker.model-v1:0": {"id": "something else", "max_input_tokens": 77},
    }
    reading = read_pages([payload], provider(path="{}", skip=["sample_spec"], max_input="max_input_tokens"))

    assert [(m.id, m.max_input) for m in reading.models] == [("1024-x-1024/50-steps/maker.model-v1:0", 77)]
    assert (reading.row_count, len(reading.ids)) == (2, 1)
    assert reading.warnings == ()


@pytest.mark.parametrize(
    "id", ["accounts/x/models/y", "maker/model@2025", "BIG:free", "模型-1", "C:\\models\\tiny.gguf", "m" * 120, "ü/ñ"]
)
def test_ids_stay_as_they_are(id: str) -> None:
    assert ids({"data": [{"id": id}]}) == [id]


def test_of_rows_with_the_same_id_the_first_counts_and_a_plain_list_shows_all() -> None:
    rows = [
        {"id": "twice", "context_length": 1},
        {"id": "Twice", "context_length": 2},
        {"id": "once"},
        {"id": "twice", "context_length": 3},
    ]
    reading = read_pages([{"data": rows}], provider())

    assert [(m.id, m.context) for m in reading.models] == [("twice", 1), ("Twice", 2), ("once", None)]
    assert reading.ids == ("twice", "Twice", "once", "twice")
    assert reading.row_count == 4


def test_a_row_that_cannot_be_a_model_is_refused_with_a_word_and_the_others_stay() -> None:
    rows = [
        {"id": "a"}, {"no": "id"}, {"id": None}, {"id": 7}, {"id": ["x"]}, {"id": "  "}, {"id": "x" * 600}, None, 3,
        {"id": "line\nbreak"}, {"id": "half \ud83d"}, {"id": None, "name": "not its id"}, {"id": "b"},
    ]  # fmt: skip
    reading = read_pages([{"data": rows}], provider())

    assert reading.ids == ("a", "b")
    assert reading.row_count == 13
    assert set(reading.warnings) == {
        "4 rows were refused: each has an id that is no text",
        "2 rows were refused: each is no object",
        "2 rows were refused: each has an id with control characters",
        "1 row was refused: it has no id",
        "1 row was refused: it has an empty id",
        "1 row was refused: it has an id of more than 512 characters",
    }


@pytest.mark.parametrize("payload", [{"data": []}, {"data": None}, {"models": []}, [], {"data": None, "models": None}])
def test_an_empty_listing_is_one(payload: Any) -> None:
    assert ids(payload) == []


@dataclass(frozen=True)
class NoListing:
    id: str
    payload: Any
    says: str
    path: str = "data[]"


NO_LISTINGS = [
    NoListing("text", "hello", "a JSON text without rows"),
    NoListing("number", 7, "a JSON number without rows"),
    NoListing("null", None, "a JSON null without rows"),
    NoListing("object", {"hello": "world"}, "a JSON object without rows"),
    NoListing("rows of numbers", {"data": [1, 2]}, "its rows have no ids"),
    NoListing("rows without ids", {"data": [{"x": 1}]}, "its rows have no ids"),
    NoListing("data is an object", {"data": {"id": "a"}}, "no list"),
    NoListing("keyed by id, not all objects", {"a": {}, "code": 500}, "not every value", "{}"),
    NoListing("keyed by id, an error of texts", {"x": "e", "name": "E", "status_code": 1}, "not every value", "{}"),
]  # fmt: skip


@pytest.mark.parametrize("case", NO_LISTINGS, ids=lambda c: c.id)
def test_something_else_is_no_listing(case: NoListing) -> None:
    with pytest.raises(ProviderError, match=case.says) as caught:
        read_listing(case.payload, provider(path=case.path))
    assert caught.value.hint
    assert not caught.value.retryable


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "it is empty"),
        (b"  \n", "it is empty"),
        (b"<!doctype html><title>Welcome</title>", "it is a web page"),
        (b'{"data": [{"id": "\xff\xfe"}]}', "it is not UTF-8"),
        (b'{"data": [{"id": "a"}', "it is not JSON"),
        (b"[" * 100_000, "it is nested too deeply"),
        (b'{"data":' * 50_000, "it is nested too deeply"),
        (b'{"data":[{"id":"a","x":' + b"[" * 90 + b"]" * 90 + b"}]}", "it is nested too deeply"),
    ],
    ids=["empty", "blank", "HTML", "not UTF-8", "cut", "deep lists", "deep objects", "deep, but whole"],
)
def test_a_body_that_is_no_json_says_what_it_is(body: bytes, says: str) -> None:
    error = listed("openai", Answer([body], kind="application/json"))

    assert isinstance(error, ProviderError)
    assert says in error.message


@pytest.mark.parametrize(
    ("payload", "path"),
    [
        ({"error": {"message": "no"}}, "data[]"),
        ({"error": "invalid key"}, "{}"),
        ({"error": {"message": "no such route"}}, "{}"),
        ({"message": "Unauthorized", "name": "HTTPError", "status_code": 401}, "{}"),
        ({"object": "error", "message": "gone", "code": 404}, "data[]"),
        ({"success": False, "data": [], "message": "no"}, "data[]"),
        ([{"error": {"code": 400, "message": "bad"}}], "[]"),
    ],
)
def test_an_error_body_is_never_a_catalogue(payload: Any, path: str) -> None:
    body = json.dumps(payload).encode()
    error = listed("openai", Answer([body]), fields={"listing": {"path": path}})

    assert isinstance(error, NbllmError)
    assert not isinstance(error, list)


def test_the_status_comes_first() -> None:
    body = json.dumps({"data": [{"id": "a"}]}).encode()

    assert isinstance(listed("openai", Answer([body], status=401)), AuthenticationError)
    assert isinstance(listed("openai", Answer([body], status=500)), ProviderError)


def test_more_rows_than_anybody_has_are_cut_with_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing_rows, "MODELS_CAP", 3)
    reading = read_pages([{"data": [f"m{n}" for n in range(5)]}], provider())

    assert reading.ids == ("m0", "m1", "m2")
    assert reading.row_count == 5
    assert reading.warnings == ("only the first 3 of 5 rows were read",)


def test_seven_thousand_models_are_read() -> None:
    body = json.dumps({"data": [{"id": f"maker/model-{n}", "context_length": 4096} for n in range(7000)]}).encode()
    assert len(body) > listing_rows.MODELS_CAP  # so it is read beside the event loop
    models = listed("openai", Answer([body]))

    assert isinstance(models, list)
    assert (len(models), models[-1].id, models[-1].context) == (7000, "maker/model-6999", 4096)
