"""Messages: blocks in every order, thinking that is sent back, and the listing's pages."""

from __future__ import annotations

import json
from typing import Any

import pytest

from adapters.asking import KEY, ORIGIN, Answer, Prepared, ask, built, listed, prompt, row, with_endpoint
from adapters.conformance.specimen import Logical
from adapters.conformance.wire_anthropic import block, event, start
from nbllm import errors
from nbllm.adapters import load_adapter
from nbllm.messages import File, FinishReason, Message, Reasoning, Role, Text, Tool, ToolCall, ToolResult, Usage

START = start(Logical())
TEXT = {"type": "text", "text": ""}


def delta(index: int, **shape: Any) -> bytes:
    """A piece of a block."""
    return event({"type": "content_block_delta", "index": index, "delta": shape})


def opened(index: int, **shape: Any) -> bytes:
    """The start of a block."""
    return event({"type": "content_block_start", "index": index, "content_block": shape})


def end(reason: str = "end_turn", **usage: Any) -> list[bytes]:
    """The last two events."""
    return [event({"type": "message_delta", "delta": {"stop_reason": reason}, "usage": usage}),
            event({"type": "message_stop"})]  # fmt: skip


# ---------------------------------------------------------------- what is sent


def test_the_version_header_and_the_key_are_sent_to_the_messages_path() -> None:
    got = ask("anthropic", [START, *end()])

    assert got.transport.headers[0]["anthropic-version"] == "2023-06-01"
    assert got.transport.headers[0]["x-api-key"] == KEY
    assert str(got.transport.requests[0].url) == f"{ORIGIN}/v1/messages"
    assert got.transport.bodies == [built("anthropic", prompt())]


def test_a_token_limit_is_always_sent() -> None:
    quirks = {"max_tokens_default": {"value": 512, "source": "test", "date": "2026-11-20"}}

    assert built("anthropic", prompt())["max_tokens"] == 4096
    assert built("anthropic", prompt(), quirks=quirks)["max_tokens"] == 512
    assert built("anthropic", prompt(), params={"max_tokens": 77})["max_tokens"] == 77
    assert built("anthropic", prompt(max_tokens=5), params={"max_tokens": 77})["max_tokens"] == 5


def test_system_messages_stand_at_the_top() -> None:
    body = built("anthropic", prompt(system="A", messages=(Message.system("B"), Message.user("hi"))))

    assert body["system"] == "A\n\nB"
    assert [m["role"] for m in body["messages"]] == ["user"]


def test_neighbours_of_one_role_are_merged_and_the_user_comes_first() -> None:
    messages = (
        Message.assistant("hello"),
        Message.user("a"),
        Message.user("b"),
        Message.assistant("c"),
        Message.user("d"),
    )
    body = built("anthropic", prompt(messages=messages))

    assert [(m["role"], [b["text"] for b in m["content"]]) for m in body["messages"]] == [
        ("user", ["a", "b"]),
        ("assistant", ["c"]),
        ("user", ["d"]),
    ]


def tool_turn(*reasoning: Reasoning) -> tuple[Message, ...]:
    """A question, two calls, their results in two messages."""
    calls = (ToolCall("t1", "f", '{"a": 1}'), ToolCall("t2", "g", ""))
    return (
        Message.user("go"),
        Message(Role.ASSISTANT, (*reasoning, Text("ok"), *calls)),
        Message(Role.TOOL, (ToolResult("t1", "f", "1"),)),
        Message(Role.TOOL, (ToolResult("t2", "g", "no such thing", is_error=True),)),
        Message.user("and?"),
    )


def test_parallel_results_go_back_in_one_message_before_its_text() -> None:
    messages = built("anthropic", prompt(messages=tool_turn()))["messages"]

    assert [b["type"] for b in messages[1]["content"]] == ["text", "tool_use", "tool_use"]
    assert [b.get("input") for b in messages[1]["content"]] == [None, {"a": 1}, {}]
    assert [b["type"] for b in messages[2]["content"]] == ["tool_result", "tool_result", "text"]
    assert [b.get("is_error") for b in messages[2]["content"]] == [None, True, None]


def test_signed_thinking_goes_back_unchanged_and_unsigned_does_not() -> None:
    signed = built("anthropic", prompt(messages=tool_turn(Reasoning("hm", "c2ln", "ZW5j"))))["messages"][1]["content"]
    unsigned = built("anthropic", prompt(messages=tool_turn(Reasoning("hm"))))["messages"][1]["content"]

    assert signed[:2] == [
        {"type": "thinking", "thinking": "hm", "signature": "c2ln"},
        {"type": "redacted_thinking", "data": "ZW5j"},
    ]
    assert unsigned[0]["type"] == "text"


def test_what_was_thought_and_signed_survives_the_way_there_and_back() -> None:
    pieces = [{"type": "thinking_delta", "thinking": "h"}, {"type": "thinking_delta", "thinking": "m"},
              {"type": "signature_delta", "signature": "c2ln"}]  # fmt: skip
    call = {"type": "tool_use", "id": "t1", "name": "f", "input": {}}
    got = ask("anthropic", [START, *block(0, {"type": "thinking", "thinking": ""}, pieces),
                            opened(1, type="redacted_thinking", data="ZW5j"),
                            *block(2, call, [{"type": "input_json_delta", "partial_json": "{}"}]),
                            *end("tool_use")])  # fmt: skip
    messages = (Message.user("go"), got.reply.message(), Message(Role.TOOL, (ToolResult("t1", "f", "1"),)))
    said = built("anthropic", prompt(messages=messages))["messages"][1]["content"]

    assert said == [
        {"type": "thinking", "thinking": "hm", "signature": "c2ln"},
        {"type": "redacted_thinking", "data": "ZW5j"},
        {"type": "tool_use", "id": "t1", "name": "f", "input": {}},
    ]


@pytest.mark.parametrize(
    ("choice", "sent"),
    [("auto", {"type": "auto"}), ("none", {"type": "none"}), ("required", {"type": "any"}),
     ("f", {"type": "tool", "name": "f"})],
)  # fmt: skip
def test_tool_choices_have_their_own_names(choice: str, sent: dict[str, str]) -> None:
    tools = (Tool("f", "does", {"type": "object"}),)

    assert built("anthropic", prompt(tools=tools, tool_choice=choice))["tool_choice"] == sent


def test_documents_are_sent_and_other_files_refused() -> None:
    pdf = Message.user("Sum up.", File(b"%PDF", "application/pdf", "p.pdf"))
    (document, _) = built("anthropic", prompt(messages=(pdf,)))["messages"][0]["content"]

    assert document["source"] == {"type": "base64", "media_type": "application/pdf", "data": "JVBERg=="}
    with pytest.raises(errors.UnsupportedError):
        built("anthropic", prompt(messages=(Message.user("x", File(b"x", "audio/wav", "a.wav")),)))


@pytest.mark.parametrize(
    "fields",
    [{"tools": (Tool("f", "does", {"type": "object"}),)}, {"params": {"thinking": {"type": "enabled"}}}],
    ids=["tools", "thinking"],
)
def test_a_schema_that_cannot_be_forced_is_refused_so_that_it_can_be_asked_for(fields: dict[str, Any]) -> None:
    with pytest.raises(errors.UnsupportedError):
        built("anthropic", prompt(schema={"type": "object"}, **fields))


# ---------------------------------------------------------------- what is read


def test_blocks_may_overlap_close_late_and_lack_their_parts() -> None:
    got = ask(
        "anthropic",
        [
            START,
            opened(0, type="thinking"),
            delta(0, type="thinking_delta", thinking="hm"),
            opened(1, type="text"),
            delta(1, type="text_delta", text="a"),
            opened(2, type="tool_use", id="t1", name="f"),
            delta(2, type="input_json_delta", partial_json='{"x"'),
            delta(1, type="text_delta", text="b"),
            delta(2, type="input_json_delta", partial_json=": 1}"),
            event({"type": "content_block_stop", "index": 0}),
            *end("tool_use"),
        ],
    )

    assert got.error is None
    assert (got.reply.reasoning, got.text) == ("hm", "ab")
    assert [(c.id, c.name, c.arguments) for c in got.reply.tool_calls] == [("t1", "f", '{"x": 1}')]


def test_input_that_comes_whole_at_the_start_counts_unless_pieces_follow() -> None:
    whole = [
        opened(0, type="tool_use", id="t1", name="f", input={"a": 1}),
        event({"type": "content_block_stop", "index": 0}),
    ]
    both = [
        opened(0, type="tool_use", id="t1", name="f", input={"a": 1}),
        delta(0, type="input_json_delta", partial_json='{"a": 2}'),
    ]

    for events, arguments in ((whole, '{"a": 1}'), (whole[:1], '{"a": 1}'), (both, '{"a": 2}')):
        got = ask("anthropic", [START, *events, *end("tool_use")])
        assert [c.arguments for c in got.reply.tool_calls] == [arguments]


def test_the_last_count_wins_and_keeps_what_only_the_first_said() -> None:
    counts = {"input_tokens": 1, "cache_read_input_tokens": 23, "cache_creation_input_tokens": 4, "output_tokens": 1}
    first = event({"type": "message_start", "message": {"model": "m", "usage": counts}})
    got = ask(
        "anthropic", [first, *block(0, TEXT, []), *end(output_tokens=9, input_tokens=2, cache_read_input_tokens=None)]
    )

    assert got.reply.usage == Usage(2, 23, 4, 9)
    assert got.reply.usage.prompt_tokens == 29


def test_the_placeholder_count_of_the_start_is_not_the_answers() -> None:
    first = event(
        {"type": "message_start", "message": {"model": "m", "usage": {"input_tokens": 5, "output_tokens": 1}}}
    )
    got = ask("anthropic", [first, *block(0, TEXT, [{"type": "text_delta", "text": "hi"}])])

    assert isinstance(got.error, errors.StreamBrokenError)
    assert got.reply.usage == Usage(input_tokens=5)


@pytest.mark.parametrize(
    ("reason", "expected"),
    [("pause_turn", FinishReason.OTHER), ("refusal", FinishReason.CONTENT_FILTER), ("stop_sequence", FinishReason.STOP),
     ("model_context_window_exceeded", FinishReason.LENGTH), ("a_new_one", FinishReason.OTHER)],
)  # fmt: skip
def test_stop_reasons_have_our_names(reason: str, expected: FinishReason) -> None:
    got = ask("anthropic", [START, *block(0, TEXT, [{"type": "text_delta", "text": "hi"}]), *end(reason)])

    assert got.reply.finish_reason is expected


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("overloaded_error", errors.OverloadedError), ("rate_limit_error", errors.RateLimitError),
     ("authentication_error", errors.AuthenticationError), ("api_error", errors.ServerError)],
)  # fmt: skip
def test_an_error_event_has_its_class(kind: str, expected: type[errors.ProviderError]) -> None:
    got = ask("anthropic", [START, event({"type": "error", "error": {"type": kind, "message": "words"}})])

    assert type(got.error) is expected


def test_the_stream_of_another_wire_format_is_named_as_such() -> None:
    got = ask("anthropic", [b'data: {"choices": [{"index": 0, "delta": {"content": "hi"}}]}\n\n'])

    assert type(got.error) is errors.ProviderError
    assert "another wire format" in got.error.message


def test_new_kinds_of_events_and_blocks_are_ignored() -> None:
    got = ask("anthropic", [START, event({"type": "brand_new", "x": 1}),
                            opened(0, type="server_tool_use", id="s", name="web"),
                            delta(0, type="input_json_delta", partial_json="{}"), delta(0, type="citations_delta"),
                            *block(1, TEXT, [{"type": "text_delta", "text": "hi"}]), *end()])  # fmt: skip

    assert got.error is None
    assert (got.text, got.reply.tool_calls) == ("hi", ())


def test_the_request_id_is_kept() -> None:
    assert ask("anthropic", Answer([START, *end()], headers={"request-id": "req_1"})).reply.request_id == "req_1"


# ---------------------------------------------------------------- the listing


def page(ids: str, more: bool) -> Answer:
    """One page of models."""
    rows = [{"type": "model", "id": i, "display_name": i.upper()} for i in ids]
    return Answer([json.dumps({"data": rows, "has_more": more, "last_id": ids[-1:] or None}).encode()])


def test_the_listing_is_read_to_its_last_page() -> None:
    transport = Prepared(page("ab", True), page("cd", True), page("e", False))

    async def use(endpoint: Any) -> Any:
        return await load_adapter("anthropic").list_models(endpoint)

    models = with_endpoint(use, transport, row("anthropic"))

    assert [(m.id, m.name) for m in models] == [(i, i.upper()) for i in "abcde"]
    assert [r.url.params.get("after_id") for r in transport.requests] == [None, "b", "d"]
    assert transport.headers[0]["anthropic-version"] == "2023-06-01"


def test_a_listing_that_always_says_more_ends() -> None:
    models = listed("anthropic", page("ab", True))

    assert isinstance(models, list)
    assert [m.id for m in models] == ["a", "b"]
