"""Chat Completions: the departures of its many servers, quirk by quirk."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from adapters.asking import KEY, ORIGIN, Answer, ask, built, listed, prompt, row
from adapters.conformance.wire_openai import DONE, chunk, event
from nbllm import errors
from nbllm.adapters import openai
from nbllm.messages import File, FinishReason, Message, Reasoning, Role, Text, ToolCall, ToolResult, Usage

COUNTS = {"prompt_tokens": 3, "completion_tokens": 2}
STOP = [chunk({}, finish="stop"), DONE]


@pytest.fixture(autouse=True)
def forget_refusals() -> Iterator[None]:
    """What one test's server refused is not known to the next."""
    openai._no_stream_options.clear()
    yield
    openai._no_stream_options.clear()


def quirk(name: str, value: Any) -> dict[str, Any]:
    """A row's field with one quirk."""
    return {"quirks": {name: {"value": value, "source": "test", "date": "2026-11-20"}}}


# ---------------------------------------------------------------- what is sent


def test_what_build_shows_is_what_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.setenv(name, "of-the-environment")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Mine: of-the-environment\nAuthorization: Bearer of-the-environment")
    monkeypatch.setenv("OPENAI_BASE_URL", "https://of-the-environment.example")
    request = prompt(temperature=0.3, max_tokens=5, params={"seed": 3, "logit_bias": {"1": -1}, "odd": [1]})
    got = ask("openai", STOP, request=request)

    assert got.transport.bodies == [built("openai", request)]
    (headers,) = got.transport.headers
    assert "of-the-environment" not in json.dumps(headers)
    assert headers["authorization"] == f"Bearer {KEY}"
    assert not [n for n in headers if n.startswith(("x-stainless", "openai-")) and n != "x-stainless-raw-response"]
    assert str(got.transport.requests[0].url) == f"{ORIGIN}/v1/chat/completions"


def test_the_sdk_retries_nothing() -> None:
    got = ask("openai", Answer([b"{}"], status=503))

    assert isinstance(got.error, errors.ServerError)
    assert len(got.transport.requests) == 1


def test_the_token_limit_has_the_field_of_the_row() -> None:
    assert built("openai", prompt(max_tokens=5))["max_tokens"] == 5
    assert (
        built("openai", prompt(max_tokens=5), **quirk("max_tokens_field", "max_completion_tokens")).get(
            "max_completion_tokens"
        )
        == 5
    )
    official = built("openai", prompt(max_tokens=5), base_url="https://api.openai.com/v1", params={"max_tokens": 9})
    assert official["max_completion_tokens"] == 5
    assert "max_tokens" not in official


def test_usage_is_asked_for_in_streams_only() -> None:
    assert built("openai", prompt())["stream_options"] == {"include_usage": True}
    assert "stream_options" not in built("openai", prompt(stream=False))
    assert "stream_options" not in built("openai", prompt(), **quirk("no_stream_options", True))


def test_refused_stream_options_are_left_out_once_and_then_always() -> None:
    refusal = Answer([b'{"error": {"message": "Unsupported parameter: stream_options"}}'], status=400)
    got = ask("openai", refusal, Answer([chunk({"content": "hi"}), *STOP]))

    assert got.text == "hi"
    assert ["stream_options" in b for b in got.transport.bodies] == [True, False]
    assert "stream_options" not in built("openai", prompt())


def test_another_refusal_is_not_asked_again() -> None:
    got = ask("openai", Answer([b'{"error": {"message": "Unsupported parameter: seed"}}'], status=400))

    assert isinstance(got.error, errors.UnsupportedError)
    assert len(got.transport.requests) == 1


def test_a_refused_schema_can_be_told_from_other_refusals() -> None:
    refusal = Answer([b'{"error": {"message": "Invalid value for response_format"}}'], status=400)

    assert type(ask("openai", refusal).error) is errors.BadRequestError
    assert type(ask("openai", refusal, request=prompt(schema={"type": "object"})).error) is errors.UnsupportedError


def test_strict_is_asked_for_only_when_the_schema_allows_it() -> None:
    closed = {
        "type": "object",
        "properties": {"n": {"type": "integer"}},
        "required": ["n"],
        "additionalProperties": False,
    }
    nested = {**closed, "properties": {"n": {"type": "array", "items": {"type": "object", "properties": {}}}}}

    def strict(schema: Any) -> Any:
        return built("openai", prompt(schema=schema))["response_format"]["json_schema"].get("strict")

    assert strict(closed) is True
    assert strict({**closed, "required": []}) is None
    assert strict({**closed, "additionalProperties": True}) is None
    assert strict(nested) is None


def test_text_files_are_inlined_and_pdfs_are_files_and_others_are_refused() -> None:
    def content(file: File) -> Any:
        return built("openai", prompt(messages=(Message.user("Sum up.", file),)))["messages"][0]["content"]

    assert content(File(b"a,b\n1,2", "text/csv", "t.csv")) == "[t.csv]\na,b\n1,2\n\nSum up."
    (file, text) = content(File(b"%PDF", "application/pdf", "p.pdf"))
    assert file == {"type": "file", "file": {"filename": "p.pdf", "file_data": "data:application/pdf;base64,JVBERg=="}}
    assert text == {"type": "text", "text": "Sum up."}
    with pytest.raises(errors.UnsupportedError):
        content(File(b"x", "application/zip", "z.zip"))


def test_reasoning_goes_back_only_where_the_row_says_so() -> None:
    said = Message(Role.ASSISTANT, (Reasoning("hm"), Text("."), ToolCall("c1", "f", "{}")))
    messages = (Message.user("x"), said, Message(Role.TOOL, (ToolResult("c1", "f", "ok"),)))

    assert "hm" not in json.dumps(built("openai", prompt(messages=messages)))
    body = built("openai", prompt(messages=messages), **quirk("reasoning_back", "reasoning_content"))
    assert body["messages"][1]["reasoning_content"] == "hm"


def test_the_rows_own_headers_and_header_template_are_sent() -> None:
    got = ask("openai", STOP, fields={"auth": "Authorization: Api-Key {key}", "headers": {"X-Project": "p1"}})

    assert got.transport.headers[0]["authorization"] == f"Api-Key {KEY}"
    assert got.transport.headers[0]["x-project"] == "p1"


# ---------------------------------------------------------------- what is read


@pytest.mark.parametrize(
    "first",
    [{"role": "assistant", "content": None}, {"role": "assistant"}, {"role": None, "content": ""}, {},
     {"content": "Hi "}, {"reasoning_content": "", "content": ""}],
)  # fmt: skip
def test_any_first_delta_is_taken(first: dict[str, Any]) -> None:
    got = ask("openai", [chunk(first), chunk({"content": "there"}), *STOP])

    assert got.error is None
    assert got.text == (first.get("content") or "") + "there"


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_reasoning_has_two_names(field: str) -> None:
    got = ask("openai", [chunk({field: "hm"}), chunk({"content": "yes", field: None}), *STOP])

    assert (got.reply.reasoning, got.text) == ("hm", "yes")


def test_the_same_reasoning_under_both_names_counts_once() -> None:
    got = ask("openai", [chunk({"reasoning_content": "hm", "reasoning": "hm"}), *STOP])

    assert got.reply.reasoning == "hm"


@pytest.mark.parametrize(
    ("usage_chunk", "expected"),
    [
        ({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": COUNTS},
         Usage(3, None, None, 2)),
        ({"choices": [{"index": 0, "delta": {}}], "usage": COUNTS}, Usage(3, None, None, 2)),
        ({"choices": None, "usage": COUNTS}, Usage(3, None, None, 2)),
        ({"x_groq": {"usage": COUNTS}}, Usage(3, None, None, 2)),
        ({"usage": {"prompt_tokens": 9, "completion_tokens": 2, "prompt_cache_hit_tokens": 4}}, Usage(5, 4, None, 2)),
        ({"usage": {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 18,
          "completion_tokens_details": {"reasoning_tokens": 7}}}, Usage(9, None, None, 9, 7)),
        ({"usage": {"prompt_tokens": 9, "completion_tokens": 7, "total_tokens": 16,
          "completion_tokens_details": {"reasoning_tokens": 5}}}, Usage(9, None, None, 7, 5)),
        ({"usage": None}, None),
        ({"usage": {}}, None),
        ({"usage": {"prompt_tokens": 0, "completion_tokens": 0}}, None),
        ({"usage": {"prompt_tokens": "many", "completion_tokens": -4}}, None),
        ({"usage": []}, None),
    ],
)  # fmt: skip
def test_usage_is_taken_from_wherever_it_stands(usage_chunk: dict[str, Any], expected: Usage | None) -> None:
    got = ask("openai", [chunk({"content": "hi"}), event(usage_chunk), *STOP])

    assert got.reply.usage == expected


def test_the_newest_usage_counts() -> None:
    counts = [{"usage": {"prompt_tokens": 3, "completion_tokens": n}, "choices": []} for n in (1, 2, 3)]
    got = ask("openai", [chunk({"content": "hi"}), *(event(c) for c in counts), *STOP])

    assert got.reply.usage == Usage(3, None, None, 3)


def calls_of(*pieces: dict[str, Any]) -> list[tuple[str, str, str]]:
    got = ask("openai", [*(chunk({"tool_calls": [p]}) for p in pieces), chunk({}, finish="tool_calls"), DONE])
    assert got.error is None
    return [(c.id, c.name, c.arguments) for c in got.reply.tool_calls]


def piece(arguments: Any = None, *, index: Any = 0, id: str | None = None, name: str | None = None) -> dict[str, Any]:
    """An entry of `tool_calls`."""
    shape: dict[str, Any] = {"function": {"name": name, "arguments": arguments}}
    if index is not None:
        shape["index"] = index
    return shape | ({"id": id} if id is not None else {})


@pytest.mark.parametrize(
    "pieces",
    [
        [piece('{"a"', id="1", name="f"), piece(": 1}"), piece('{"b": 2}', index=1, id="2", name="g")],
        [piece('{"a"', index=None, id="1", name="f"), piece(": 1}", index=None),
         piece('{"b": 2}', index=None, id="2", name="g")],
        [piece('{"a"', id="1", name="f"), piece(": 1}", id="1", name="f"), piece('{"b": 2}', id="2", name="g")],
        [piece('{"a"', index=3, id="1", name="f"), piece('{"b"', index=7, id="2", name="g"), piece(": 1}", index=3),
         piece(": 2}", index=7)],
        [piece("", id="1", name="f"), piece({"a": 1}), piece({"b": 2}, index=1, id="2", name="g")],
    ],
    ids=["by index", "no index", "all index 0", "interleaved", "objects"],
)  # fmt: skip
def test_tool_calls_are_joined_however_they_are_numbered(pieces: list[dict[str, Any]]) -> None:
    assert calls_of(*pieces) == [("1", "f", '{"a": 1}'), ("2", "g", '{"b": 2}')]


def test_the_older_function_call_is_a_tool_call() -> None:
    got = ask("openai", [chunk({"function_call": {"name": "f", "arguments": "{}"}}), chunk({}, finish="function_call")])

    assert [(c.name, c.arguments) for c in got.reply.tool_calls] == [("f", "{}")]
    assert got.reply.finish_reason is FinishReason.TOOL_CALLS


def test_whole_calls_without_index_and_id_are_told_apart() -> None:
    calls = [{"function": {"name": "f", "arguments": "{}"}}, {"function": {"name": "g", "arguments": "{}"}}]
    body = {"choices": [{"message": {"content": None, "tool_calls": calls}, "finish_reason": "tool_calls"}]}
    got = ask("openai", Answer([json.dumps(body).encode()], kind="application/json"))

    assert [c.name for c in got.reply.tool_calls] == ["f", "g"]


def test_only_the_first_of_several_answers_counts() -> None:
    other = {"id": "1", "choices": [{"index": 1, "delta": {"content": "B"}, "finish_reason": None}]}
    got = ask("openai", [chunk({"content": "A"}), event(other), chunk({"content": "a"}), *STOP])

    assert got.text == "Aa"


def test_content_may_be_a_list_of_parts() -> None:
    parts = [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "yes"}]
    got = ask("openai", [chunk({"content": parts}), *STOP])

    assert (got.reply.reasoning, got.text) == ("hm", "yes")


def test_done_without_a_finish_reason_is_complete_and_the_reason_is_other() -> None:
    got = ask("openai", [chunk({"content": "hi"}), DONE])

    assert got.error is None
    assert got.reply.finish_reason is FinishReason.OTHER


def test_an_empty_finish_reason_is_none() -> None:
    got = ask("openai", [chunk({"content": "hi"}, finish="")])

    assert isinstance(got.error, errors.StreamBrokenError)


def test_nothing_after_done_counts() -> None:
    got = ask("openai", [chunk({"content": "hi"}), *STOP, chunk({"content": " more"}), b"data: {broken\n\n"])

    assert got.error is None
    assert got.text == "hi"


def test_a_stream_whose_connection_stays_open_ends_at_done() -> None:
    got = ask("openai", Answer([chunk({"content": "hi"}), *STOP], silent=True))

    assert got.error is None
    assert got.text == "hi"


def test_escapes_and_half_characters_come_out_whole() -> None:
    pair = b'data: {"choices": [{"index": 0, "delta": {"content": "\\ud83d\\ude00 \\u00e9"}}]}\n\n'
    half = b'data: {"choices": [{"index": 0, "delta": {"content": "\\ud83d"}}]}\n\n'
    got = ask("openai", [chunk({"content": "a"}), pair, half, *STOP])

    assert got.text == "a😀 é\ufffd"


def test_text_that_came_together_is_given_out_together() -> None:
    got = ask("openai", [chunk({"content": ""}), b"".join(chunk({"content": t}) for t in "abc"), *STOP])

    assert [d.text for d in got.deltas if d.text] == ["abc"]


def test_a_broken_line_ends_the_answer_with_the_text_before_it() -> None:
    got = ask("openai", [chunk({"content": "a"}), b'data: {"choices": [{"del\n\n', chunk({"content": "b"}), *STOP])

    assert got.text == "a"
    assert isinstance(got.error, errors.StreamBrokenError)
    assert got.error.partial == "a"


@pytest.mark.parametrize(
    ("value", "pieces", "reasoning", "text"),
    [
        (True, ["<thi", "nk>hm", "m</th", "ink>yes"], "hmm", "yes"),
        (True, ["yes</thi", "nk> no"], "", "yes no"),
        (True, ["a < b <thin"], "", "a < b <thin"),
        ("open", ["hm</think>", "yes"], "hm", "yes"),
        (None, ["<think>hm</think>yes"], "", "<think>hm</think>yes"),
    ],
)
def test_think_tags_are_split_only_where_the_row_says_so(
    value: Any, pieces: list[str], reasoning: str, text: str
) -> None:
    fields = quirk("think_tags", value) if value is not None else {}
    got = ask("openai", [*(chunk({"content": p}) for p in pieces), *STOP], fields=fields)

    assert (got.reply.reasoning, got.text) == (reasoning, text)


def test_an_answer_cut_inside_its_reasoning_says_so() -> None:
    got = ask("openai", [chunk({"reasoning_content": "hm"}), chunk({}, finish="length"), DONE])

    assert got.reply.notices == ["the answer ended inside the reasoning: raise --max-tokens"]


def test_an_error_with_partial_choices_is_an_error() -> None:
    last = {"choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": "error"}],
            "error": {"code": 502, "message": "Provider disconnected"}}  # fmt: skip
    got = ask("openai", [chunk({"content": "hi"}), event(last)])

    assert got.text == "hi"
    assert isinstance(got.error, errors.ServerError)
    assert got.error.status == 502


def test_an_error_beside_text_in_one_chunk_is_an_error() -> None:
    got = ask("openai", [chunk({"content": "hi"}), chunk({"content": "!"}, error={"message": "gone"}), *STOP])

    assert got.text == "hi"
    assert isinstance(got.error, errors.ServerError)


def test_an_error_after_the_finish_reason_is_one_and_nothing_comes_after_it() -> None:
    got = ask("openai", [chunk({"content": "hi"}), STOP[0], event({"error": {"message": "gone"}}), DONE])

    assert isinstance(got.error, errors.ServerError)
    assert got.reply.finish_reason is None


def test_something_behind_the_json_of_an_event_is_no_json() -> None:
    behind = chunk({"content": "b"}).replace(b"\n\n", b" {}\n\n")
    got = ask("openai", [chunk({"content": "a"}), behind, *STOP])

    assert got.text == "a"
    assert isinstance(got.error, errors.StreamBrokenError)


def test_an_event_named_error_is_one_whatever_it_holds() -> None:
    got = ask("openai", [chunk({"content": "hi"}), b'event: error\ndata: {"reason": "out of memory"}\n\n'])

    assert isinstance(got.error, errors.ProviderError)
    assert "out of memory" in got.error.message


def test_the_request_id_is_kept() -> None:
    assert ask("openai", Answer(STOP, headers={"x-request-id": "req-1"})).reply.request_id == "req-1"


# ---------------------------------------------------------------- the listing


@pytest.mark.parametrize(
    "body",
    [
        {"data": [{"id": "a"}, {"id": "b"}, {"id": "a"}]},
        {"models": [{"name": "x"}], "object": "list", "data": [{"id": "a"}, {"id": "b"}]},
        {"models": [{"name": "a"}, {"name": "b"}]},
        [{"id": "a"}, {"id": "b"}],
        ["a", "b"],
        {"data": [{"id": "a"}, None, 7, {"id": ""}, {"no": "id"}, {"id": "b"}]},
    ],
)
def test_a_listing_is_read_in_any_dialect(body: Any) -> None:
    models = listed("openai", Answer([json.dumps(body).encode()], kind="application/json"))

    assert isinstance(models, list)
    assert [m.id for m in models] == ["a", "b"]


def test_the_rows_listing_says_where_things_are() -> None:
    body = {"x": {"rows": [{"slug": "a", "title": "A", "limits": {"ctx": "4096"}, "out": 7}]}}
    shape = {"path": "x.rows[]", "id": "slug", "name": "title", "context": "ctx | limits.ctx", "max_output": "out"}
    models = listed("openai", Answer([json.dumps(body).encode()]), fields={"listing": shape})

    assert isinstance(models, list)
    (model,) = models
    assert (model.id, model.name, model.context, model.max_output) == ("a", "A", 4096, 7)


def test_an_object_keyed_by_id_is_a_listing_where_the_row_says_so() -> None:
    body = json.dumps({"a": {"context_length": 9}, "b": {}}).encode()
    models = listed("openai", Answer([body]), fields={"listing": {"path": "{}"}})

    assert isinstance(models, list)
    assert [(m.id, m.context) for m in models] == [("a", 9), ("b", None)]


def test_rows_are_of_kind_openai_demo_and_url() -> None:
    assert {type(openai.OpenAIAdapter()).__name__} == {"OpenAIAdapter"}
    for kind in ("demo", "url"):
        assert row(kind).kind == kind
        got = ask(kind, [chunk({"content": "hi"}), *STOP], fields={"base_url": f"{ORIGIN}/v1"})
        assert got.text == "hi"
