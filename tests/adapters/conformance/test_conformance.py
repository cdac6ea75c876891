"""What every adapter promises, whatever its wire format."""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from adapters.asking import KEY, Answer, ask, built, listed, prompt
from adapters.conformance.specimen import Call, Logical, Specimen, specimens
from nbllm import errors
from nbllm.adapters import BUNDLED
from nbllm.messages import (
    FinishReason,
    Image,
    Message,
    Role,
    Text,
    Tool,
    ToolCall,
    ToolResult,
    Usage,
)

COUNTED = Usage(input_tokens=11, output_tokens=7)
TEXT = ("Hel", "lo, ", "wörld 🌍", '\nand </think> \\ "quotes"', " end")
PLAIN = Logical(text=TEXT, usage=COUNTED)
WEATHER = Call("call_a1", "weather", ('{"ci', 'ty": "Os', 'lo"}'))
TIME = Call("call_b2", "clock", ('{"zone": ', '"CET"}'))
RICH = Logical(text=("Let me ", "look."), reasoning=("First ", "I think."), calls=(WEATHER, TIME), usage=COUNTED,
               finish=FinishReason.TOOL_CALLS)  # fmt: skip
TOOLS = (Tool("weather", "The weather", {"type": "object", "properties": {"city": {"type": "string"}}}),)
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "additionalProperties": False}


@pytest.fixture(params=specimens(), ids=lambda s: s.kind)
def wire(request: pytest.FixtureRequest) -> Specimen:
    """Each wire format in turn."""
    found: Specimen = request.param
    return found


def those(can: Callable[[Specimen], bool]) -> pytest.MarkDecorator:
    """Only the wire formats that can say what the test is about."""
    return pytest.mark.parametrize("wire", filter(can, specimens()), ids=lambda s: s.kind)


def document(wire: Specimen, answer: Logical) -> Answer:
    """The answer as one JSON document."""
    return Answer([wire.document(answer)], kind="application/json")


def cut_at(data: bytes, places: Sequence[int]) -> list[bytes]:
    """The bytes in pieces."""
    edges = [0, *places, len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges)]


def test_every_adapter_has_a_specimen() -> None:
    assert len(specimens()) == len(set(BUNDLED.values()))


# ---------------------------------------------------------------- what is read


def test_text_usage_and_finish_arrive_and_the_finish_comes_last(wire: Specimen) -> None:
    got = ask(wire.kind, wire.events(PLAIN))

    assert got.error is None
    assert got.text == "".join(TEXT)
    assert got.reply.finish_reason is FinishReason.STOP
    assert got.deltas[-1].finish_reason is FinishReason.STOP
    assert [d.finish_reason for d in got.deltas[:-1]] == [None] * (len(got.deltas) - 1)
    assert got.reply.usage is not None
    assert (got.reply.usage.input_tokens, got.reply.usage.output_tokens) == (11, 7)
    assert got.reply.usage.source == "provider"


def test_text_is_given_out_as_it_arrives(wire: Specimen) -> None:
    got = ask(wire.kind, wire.events(PLAIN))

    assert [d.text for d in got.deltas if d.text] == list(TEXT)


def test_the_model_that_the_server_names_is_kept_apart_from_the_one_asked_for(wire: Specimen) -> None:
    got = ask(wire.kind, wire.events(replace(PLAIN, model="another-one")))

    assert got.reply.model_reported == "another-one"


@pytest.mark.parametrize("answer", [PLAIN, RICH], ids=["text", "reasoning and tools"])
def test_nothing_depends_on_how_the_network_cuts_the_bytes(wire: Specimen, answer: Logical) -> None:
    data = b"".join(wire.events(answer))
    whole = ask(wire.kind, [data]).facts
    by_byte = ask(wire.kind, [data[i : i + 1] for i in range(len(data))]).facts

    assert by_byte == whole
    for place in range(1, len(data), 17):
        assert ask(wire.kind, cut_at(data, [place])).facts == whole


@pytest.mark.parametrize("answer", [PLAIN, RICH], ids=["text", "reasoning and tools"])
def test_a_document_says_the_same_as_a_stream_whichever_was_asked_for(wire: Specimen, answer: Logical) -> None:
    streamed = ask(wire.kind, wire.events(answer))

    for asked in (True, False):
        got = ask(wire.kind, document(wire, answer), request=prompt(stream=asked))
        assert got.error is None
        assert (got.text, got.reply.reasoning) == (streamed.text, streamed.reply.reasoning)
        assert got.reply.finish_reason is streamed.reply.finish_reason
        assert got.reply.usage == streamed.reply.usage
        assert [(c.name, json.loads(c.arguments)) for c in got.reply.tool_calls] == [
            (c.name, json.loads(c.arguments)) for c in streamed.reply.tool_calls
        ]


def test_a_stream_is_understood_where_a_document_was_asked_for(wire: Specimen) -> None:
    got = ask(wire.kind, Answer(wire.events(PLAIN), kind="text/plain"), request=prompt(stream=False))

    assert got.error is None
    assert got.text == "".join(TEXT)


def test_reasoning_is_kept_apart_from_text(wire: Specimen) -> None:
    got = ask(wire.kind, wire.events(Logical(text=("Yes.",), reasoning=("Hm, ", "let me see"))))

    assert got.text == "Yes."
    assert got.reply.reasoning == "Hm, let me see"


def test_parallel_tool_calls_are_told_apart_and_their_arguments_joined(wire: Specimen) -> None:
    got = ask(wire.kind, wire.events(RICH))

    calls = got.reply.tool_calls
    assert [(c.name, json.loads(c.arguments)) for c in calls] == [
        ("weather", {"city": "Oslo"}),
        ("clock", {"zone": "CET"}),
    ]
    assert all(c.complete for c in calls)
    assert len({c.id for c in calls}) == 2
    if wire.has_call_ids:
        assert [c.id for c in calls] == ["call_a1", "call_b2"]
    assert got.text == "Let me look."
    assert got.reply.finish_reason is FinishReason.TOOL_CALLS


@those(lambda wire: wire.stream_kind == "text/event-stream" and wire.has_call_ids)
def test_cut_arguments_stay_text_and_are_marked(wire: Specimen) -> None:
    cut = Call("call_a1", "weather", ('{"city": "Os',))
    got = ask(wire.kind, wire.events(Logical(calls=(cut,), finish=FinishReason.LENGTH)))

    (call,) = got.reply.tool_calls
    assert call.arguments == '{"city": "Os'
    assert not call.complete
    assert got.reply.finish_reason is FinishReason.LENGTH


@those(lambda wire: wire.has_cache_read)
def test_cached_tokens_are_not_counted_twice(wire: Specimen) -> None:
    counted = Usage(input_tokens=3, cached_input_tokens=20, output_tokens=7)
    got = ask(wire.kind, wire.events(replace(PLAIN, usage=counted)))

    assert got.reply.usage is not None
    assert got.reply.usage.prompt_tokens == 23
    assert (got.reply.usage.input_tokens, got.reply.usage.cached_input_tokens) == (3, 20)


def test_no_usage_is_unknown_and_not_zero(wire: Specimen) -> None:
    got = ask(wire.kind, wire.events(replace(PLAIN, usage=None)))

    assert got.error is None
    assert got.reply.usage is None


def test_all_zero_usage_beside_text_is_unknown(wire: Specimen) -> None:
    got = ask(wire.kind, wire.zero_usage(replace(PLAIN, usage=None)))

    assert got.error is None
    assert got.text
    assert got.reply.usage is None


@pytest.mark.parametrize(
    ("wire", "reason"),
    [(wire, reason) for wire in specimens() for reason in wire.finishes],
    ids=lambda value: value.value if isinstance(value, FinishReason) else value.kind,
)
def test_finish_reasons_have_our_names(wire: Specimen, reason: FinishReason) -> None:
    answer = RICH if reason is FinishReason.TOOL_CALLS else replace(PLAIN, finish=reason)

    assert ask(wire.kind, wire.events(answer)).reply.finish_reason is reason


def test_an_empty_answer_is_returned_with_a_notice(wire: Specimen) -> None:
    got = ask(wire.kind, wire.events(Logical()))

    assert got.error is None
    assert got.text == ""
    assert any("answer is empty" in n for n in got.reply.notices)


def test_keepalives_change_nothing(wire: Specimen) -> None:
    plain = wire.events(PLAIN)
    for alive in wire.keepalive:
        between = [piece for event in plain for piece in (alive, event)]
        assert ask(wire.kind, between).facts == ask(wire.kind, plain).facts


@those(lambda wire: wire.stream_kind == "text/event-stream")
@pytest.mark.parametrize("ends", [b"\r\n", b"\r"], ids=["CRLF", "CR"])
def test_line_ends_and_a_byte_order_mark_change_nothing(wire: Specimen, ends: bytes) -> None:
    data = b"".join(wire.events(PLAIN))
    other = b"\xef\xbb\xbf" + data.replace(b"data: ", b"data:").replace(b"\n", ends)

    assert ask(wire.kind, [other]).facts == ask(wire.kind, [data]).facts


# ---------------------------------------------------------------- what goes wrong


def test_a_refused_key_is_told_in_our_own_words(wire: Specimen) -> None:
    answer = Answer([wire.refused(f"Bad key {KEY} or sk-t...1f4a")], status=401, kind="application/json")
    got = ask(wire.kind, answer)

    assert type(got.error) is errors.AuthenticationError
    assert isinstance(got.error, errors.ProviderError)
    assert got.error.body is None
    assert "1f4a" not in repr(vars(got.error)) + str(got.error)
    assert got.error.__cause__ is None
    assert got.error.__context__ is None


@pytest.mark.parametrize(
    ("status", "words", "expected"),
    [
        (429, "Slow down please", errors.RateLimitError),
        (429, "You exceeded your current quota, please check your plan and billing details", errors.QuotaError),
        (402, "Pay first", errors.QuotaError),
        (404, "The model `tiny` does not exist", errors.ModelNotFoundError),
        (400, "something is off", errors.BadRequestError),
        (400, "This model's maximum context length is 8 tokens", errors.ContextLengthError),
        (500, "oh no", errors.ServerError),
        (503, "later", errors.ServerError),
        (529, "too busy", errors.OverloadedError),
        (408, "timeout", errors.ProviderError),
    ],
)
def test_an_error_status_becomes_the_right_class_with_the_servers_words(
    wire: Specimen, status: int, words: str, expected: type[errors.ProviderError]
) -> None:
    answer = Answer([wire.refused(words)], status=status, kind="application/json", headers={"x-request-id": "req-7"})
    got = ask(wire.kind, answer)

    assert type(got.error) is expected
    assert words in got.error.message
    assert (got.error.status, got.error.request_id, got.error.provider) == (status, "req-7", "there")
    assert got.error.hint
    assert len(got.transport.requests) == 1


def test_an_error_in_a_200_is_an_error(wire: Specimen) -> None:
    got = ask(wire.kind, Answer([wire.refused("the upstream is gone")], kind="application/json"))

    assert isinstance(got.error, errors.ProviderError)
    assert "the upstream is gone" in got.error.message
    assert not got.text


def test_an_error_in_the_stream_comes_after_the_text_before_it(wire: Specimen) -> None:
    before = wire.events(replace(PLAIN, finish=None, usage=None))
    for pieces in ([*before, wire.error_event("the upstream is gone")],
                   [b"".join(before) + wire.error_event("the upstream is gone")]):  # fmt: skip
        got = ask(wire.kind, pieces)
        assert got.text == "".join(TEXT)
        assert isinstance(got.error, errors.ProviderError)
        assert "the upstream is gone" in got.error.message


def test_an_event_stream_with_an_error_status_is_read(wire: Specimen) -> None:
    body = b"data: " + wire.refused("no such thing") + b"\n\n"
    got = ask(wire.kind, Answer([body], status=400))

    assert type(got.error) is errors.BadRequestError
    assert "no such thing" in got.error.message


def test_a_stream_that_ends_early_is_broken_and_keeps_its_text(wire: Specimen) -> None:
    events = wire.events(replace(PLAIN, usage=None))
    for count in range(1, len(events) - wire.end_events):
        got = ask(wire.kind, events[:count])
        assert isinstance(got.error, errors.StreamBrokenError), count
        assert got.error.partial == got.text
        assert got.reply.finish_reason is None


@those(lambda wire: wire.end_events > 0)
def test_a_stream_without_its_end_event_is_complete_when_the_finish_reason_came(wire: Specimen) -> None:
    events = wire.events(replace(PLAIN, usage=None))
    whole = ask(wire.kind, events)
    for got in (ask(wire.kind, events[:-1]), ask(wire.kind, Answer(events[:-1], lost=True))):
        assert got.facts == whole.facts


def test_a_body_without_a_byte_is_an_error(wire: Specimen) -> None:
    assert isinstance(ask(wire.kind, []).error, errors.StreamBrokenError)


def test_a_lost_connection_is_unreachable_before_the_first_byte_and_broken_after_it(wire: Specimen) -> None:
    before = ask(wire.kind, Answer([], lost=True)).error
    after = ask(wire.kind, Answer(wire.events(replace(PLAIN, finish=None, usage=None)), lost=True))

    assert isinstance(before, errors.UnreachableError)
    assert before.retryable
    assert isinstance(after.error, errors.StreamBrokenError)
    assert after.error.partial == after.text == "".join(TEXT)


def test_silence_between_tokens_ends_the_wait(wire: Specimen) -> None:
    events = wire.events(replace(PLAIN, finish=None, usage=None))
    got = ask(wire.kind, Answer(events, silent=True), fields={"timeout": {"between_tokens_s": 0.05}})

    assert isinstance(got.error, errors.StreamBrokenError)
    assert got.error.partial == "".join(TEXT)


def test_a_web_page_is_no_answer(wire: Specimen) -> None:
    got = ask(wire.kind, Answer([b"<!doctype html><html><body>Welcome</body></html>"], kind="text/html"))

    assert isinstance(got.error, errors.NbllmError)
    assert not got.text


def test_a_redirect_is_not_followed_and_names_the_other_address(wire: Specimen) -> None:
    got = ask(wire.kind, Answer(status=307, headers={"location": "https://elsewhere.example/v1?key=secret"}))

    assert isinstance(got.error, errors.RedirectError)
    assert got.error.location == "https://elsewhere.example/v1"
    assert len(got.transport.requests) == 1


@pytest.mark.parametrize("junk", [b"\xff\xfe\x00" * 50, b"data: null\n\n", b"data: 7\n\n", b"[]", b'{"a":', b"hello"])
def test_nonsense_is_one_of_our_errors(wire: Specimen, junk: bytes) -> None:
    assert isinstance(ask(wire.kind, [junk]).error, errors.NbllmError)


def test_closing_early_closes_the_response(wire: Specimen) -> None:
    answer = Answer(wire.events(replace(PLAIN, finish=None)), silent=True)
    ask(wire.kind, answer, stop_after=2)

    assert answer.closed


# ---------------------------------------------------------------- what is sent


def test_a_conversation_with_tools_is_sent_in_order(wire: Specimen) -> None:
    call = ToolCall("call_a1", "weather", '{"city": "Oslo"}')
    messages = (
        Message.user("Weather?"),
        Message(Role.ASSISTANT, (Text("Looking."), call)),
        Message(Role.TOOL, (ToolResult("call_a1", "weather", "rain"),)),
        Message.user("And tomorrow?"),
    )
    sent = wire.sent(built(wire.kind, prompt(messages=messages, system="Be brief.", tools=TOOLS)))

    assert sent.system == "Be brief."
    assert sent.turns == (("user", "Weather?"), ("assistant", "Looking."), ("user", "And tomorrow?"))
    assert sent.results == (("call_a1" if wire.has_call_ids else "weather", "rain"),)
    assert sent.tools == ("weather",)


def test_a_call_that_was_never_answered_is_left_out_of_the_history(wire: Specimen) -> None:
    messages = (
        Message.user("Weather?"),
        Message(Role.ASSISTANT, (Text("Looking."), ToolCall("call_a1", "weather", '{"ci', complete=False))),
        Message.user("Never mind."),
    )
    body = built(wire.kind, prompt(messages=messages))

    assert "call_a1" not in json.dumps(body)
    assert wire.sent(body).turns[-1] == ("user", "Never mind.")


def test_only_what_was_set_is_sent(wire: Specimen) -> None:
    bare = json.dumps(built(wire.kind, prompt()))
    full = wire.sent(built(wire.kind, prompt(temperature=0.5, max_tokens=9)))

    for name in ("temperature", "top_p", "seed", "tools", "tool_choice", "system", "response_format"):
        assert name not in bare
    assert (full.temperature, full.max_tokens) == (0.5, 9)


def test_parameters_of_the_call_lie_over_those_of_the_row(wire: Specimen) -> None:
    row = {"params": {"alpha": 1, "beta": 1}, "extra_body": {"beta": 0, "gamma": 0}}
    body = built(wire.kind, prompt(params={"alpha": 2}), **row)
    said = json.dumps(body)

    assert '"alpha": 2' in said
    assert '"beta": 1' in said
    assert '"gamma": 0' in said


def test_an_image_is_sent_as_its_bytes(wire: Specimen) -> None:
    picture = Image(b"\x89PNG-bytes", "image/png", "dot.png")
    sent = wire.sent(built(wire.kind, prompt(messages=(Message.user("What is it?", picture),))))

    assert sent.images == (base64.b64encode(picture.data).decode(),)
    assert sent.turns == (("user", "What is it?"),)


def test_a_schema_is_sent_and_the_answer_to_it_is_text(wire: Specimen) -> None:
    request = prompt(schema=SCHEMA)
    body = built(wire.kind, request)
    if wire.schema_call:
        call = Call("call_a1", request.schema_name, ('{"n":', " 4}"))
        answer = Logical(calls=(call,), finish=FinishReason.TOOL_CALLS)
    else:
        answer = Logical(text=('{"n":', " 4}"))
    got = ask(wire.kind, wire.events(answer), request=request)

    said = wire.sent(body).schema
    assert said["properties"] == {"n": {"type": "integer"}} or "integer" in json.dumps(said["properties"]).lower()
    assert got.text == '{"n": 4}'
    assert got.reply.tool_calls == ()
    assert got.reply.finish_reason is FinishReason.STOP


@pytest.mark.parametrize(
    "bad",
    [{"messages": ()}, {"messages": (Message.user(" "),)}, {"max_tokens": 0}, {"max_tokens": -1}],
    ids=["no message", "blank message", "max_tokens 0", "max_tokens -1"],
)
def test_what_no_server_should_be_asked_is_refused_before_sending(wire: Specimen, bad: dict[str, Any]) -> None:
    got = ask(wire.kind, wire.events(PLAIN), request=prompt(**bad))

    assert isinstance(got.error, errors.PromptError)
    assert got.transport.requests == []


def test_the_key_goes_into_one_header_and_nowhere_else(wire: Specimen) -> None:
    got = ask(wire.kind, wire.events(PLAIN))

    (headers,) = got.transport.headers
    assert sum(KEY in value for value in headers.values()) == 1
    assert KEY not in json.dumps(got.transport.bodies) + str(got.transport.requests[0].url)


# ---------------------------------------------------------------- the listing


def test_models_are_listed_in_order_and_once(wire: Specimen) -> None:
    models = listed(wire.kind, Answer([wire.listing(["b-2", "a-1", "b-2"])], kind="application/json"))

    assert isinstance(models, list)
    assert [m.id for m in models] == ["b-2", "a-1"]
    assert {m.provider for m in models} == {"there"}


def test_an_empty_listing_is_an_empty_list(wire: Specimen) -> None:
    assert listed(wire.kind, Answer([wire.listing([])], kind="application/json")) == []


@pytest.mark.parametrize("body", [b"<html>hi</html>", b'"text"', b"[3", b'{"hello": 1}'])
def test_something_else_is_never_a_listing(wire: Specimen, body: bytes) -> None:
    assert isinstance(listed(wire.kind, Answer([body], kind="application/json")), errors.ProviderError)


def test_an_error_is_never_a_listing(wire: Specimen) -> None:
    assert isinstance(listed(wire.kind, Answer([wire.refused("no")], kind="application/json")), errors.ProviderError)
    assert isinstance(listed(wire.kind, Answer([wire.refused("no")], status=401)), errors.AuthenticationError)
