"""Gemini's own format: what is sent, and what is made of every answer that was seen or is documented."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest

from nbllm.adapters.gemini import GeminiAdapter
from nbllm.adapters.gemini_schema import accepted_schema
from nbllm.errors import (
    AuthenticationError,
    ContentFilterError,
    NbllmError,
    PromptError,
    ProviderError,
    QuotaError,
    RateLimitError,
    StreamBrokenError,
    UnreachableError,
)
from nbllm.messages import (
    File,
    FinishReason,
    Image,
    Message,
    Reasoning,
    Role,
    Text,
    Tool,
    ToolCall,
    ToolResult,
    Usage,
)
from unit.adapters.native import Net, ask, body, deltas, models, reply, row, sends

GEMINI = GeminiAdapter()
ROW = row("gemini")


def chunk(*parts: dict[str, Any], finish: str | None = None, **more: Any) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": list(parts)}, "index": 0}
    candidate["finishReason"] = finish
    return {"candidates": [candidate], "modelVersion": "m-1-001", "responseId": "r-1", **more}


def sse(*payloads: dict[str, Any], end: bytes = b"\r\n\r\n") -> bytes:
    return b"".join(b"data: " + json.dumps(p, ensure_ascii=False).encode() + end for p in payloads)


COUNTED = {"promptTokenCount": 10, "candidatesTokenCount": 5, "totalTokenCount": 15}
GOOD = sse(
    chunk({"text": "Grüße, "}),
    chunk({"text": "🌍"}, finish=None),
    chunk({"text": "!"}, finish="STOP", usageMetadata=COUNTED),
)


# ---------------------------------------------------------------- what is sent


def test_the_url_names_the_model_and_asks_for_events_and_the_key_travels_in_its_header() -> None:
    net = sends(GOOD)
    reply(GEMINI, net, ROW, ask(model="gemini-3-flash"))
    url = "https://models.example/v1beta/models/gemini-3-flash:streamGenerateContent?alt=sse"
    assert str(net.asked[0].url) == url
    assert net.heads[0]["x-goog-api-key"] == "not-a-key-of-anyone"


@pytest.mark.parametrize(
    ("model", "path"),
    [
        ("models/gemini-3", "models/gemini-3"),
        ("tunedModels/mine", "tunedModels/mine"),
        ("../../x?y#z", "models/..%2F..%2Fx%3Fy%23z"),
    ],
)
def test_a_model_id_never_leaves_its_place_in_the_url(model: str, path: str) -> None:
    net = sends(GOOD)
    reply(GEMINI, net, ROW, ask(model=model))
    assert net.asked[0].url.raw_path.decode() == f"/v1beta/{path}:streamGenerateContent?alt=sse"


def test_nothing_is_sent_that_nobody_set() -> None:
    assert body(GEMINI, ask("hi"), ROW) == {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}


def test_parameters_go_where_the_format_has_them_under_the_names_it_has() -> None:
    provider = row("gemini", params={"topK": 3, "temperature": 1}, extra_body={"labels": {"a": "b"}})
    params = {"top_p": 0.5, "stop": "END", "safetySettings": [], "generationConfig": {"seed": 7}}
    sent = body(GEMINI, ask(temperature=0, max_tokens=9, params=params, system="be brief"), provider)
    assert sent["generationConfig"] == {
        "topK": 3, "topP": 0.5, "temperature": 0, "maxOutputTokens": 9, "stopSequences": ["END"], "seed": 7,
    }  # fmt: skip
    assert sent["systemInstruction"] == {"parts": [{"text": "be brief"}]}
    assert sent["safetySettings"] == []
    assert sent["labels"] == {"a": "b"}


def test_images_and_files_go_inline() -> None:
    message = Message.user("look", Image(b"png", "image/png"), File(b"%PDF", "application/pdf", "a.pdf"))
    parts = body(GEMINI, ask(messages=(message,)), ROW)["contents"][0]["parts"]
    assert parts == [
        {"inlineData": {"mimeType": "image/png", "data": "cG5n"}},
        {"inlineData": {"mimeType": "application/pdf", "data": "JVBERg=="}},
        {"text": "look"},
    ]


def test_parallel_calls_go_back_with_their_signature_and_all_results_in_one_turn() -> None:
    calls = (
        Reasoning("I think"),
        Text("Let me see."),
        ToolCall("c1", "add", '{"a": 1}', signature="sig"),
        ToolCall("nbllm_0", "now", ""),
        ToolCall("c3", "cut", '{"a": ', complete=False),
    )
    history = (
        Message.user("go"),
        Message(Role.ASSISTANT, calls),
        Message(Role.TOOL, (ToolResult("c1", "add", "2"),)),
        Message(Role.TOOL, (ToolResult("nbllm_0", "now", "no clock", is_error=True),)),
        Message.user("and?"),
    )
    assert body(GEMINI, ask(messages=history), ROW)["contents"][1:] == [
        {
            "role": "model",
            "parts": [
                {"text": "Let me see."},
                {"functionCall": {"name": "add", "args": {"a": 1}, "id": "c1"}, "thoughtSignature": "sig"},
                {"functionCall": {"name": "now", "args": {}}},
            ],
        },
        {
            "role": "user",
            "parts": [
                {"functionResponse": {"name": "add", "response": {"output": "2"}, "id": "c1"}},
                {"functionResponse": {"name": "now", "response": {"error": "no clock"}}},
            ],
        },
        {"role": "user", "parts": [{"text": "and?"}]},
    ]


@pytest.mark.parametrize(
    ("choice", "config"),
    [
        ("auto", {"mode": "AUTO"}),
        ("required", {"mode": "ANY"}),
        ("none", {"mode": "NONE"}),
        ("add", {"mode": "ANY", "allowedFunctionNames": ["add"]}),
    ],
)
def test_tools_and_their_choice(choice: str, config: dict[str, Any]) -> None:
    tool = Tool("add", "adds", {"$schema": "x", "type": "object", "properties": {"$schema": {"type": "string"}}})
    sent = body(GEMINI, ask(tools=(tool,), tool_choice=choice), ROW)
    schema = {"type": "object", "properties": {"$schema": {"type": "string"}}}
    declared = [{"name": "add", "description": "adds", "parametersJsonSchema": schema}]
    assert sent["tools"] == [{"functionDeclarations": declared}]
    assert sent["toolConfig"] == {"functionCallingConfig": config}


def test_a_schema_asks_for_json() -> None:
    sent = body(GEMINI, ask(schema={"type": "object", "additionalProperties": False}), ROW)["generationConfig"]
    assert sent == {
        "responseMimeType": "application/json",
        "responseJsonSchema": {"type": "object", "additionalProperties": False},
    }


@dataclass(frozen=True)
class Shape:
    id: str
    given: dict[str, Any]
    sent: dict[str, Any]


SHAPES = [
    Shape(
        "unknown keywords go", {"type": "string", "minLength": 2, "pattern": "a", "default": "b"}, {"type": "string"}
    ),
    Shape("const is an enum of one", {"const": "a"}, {"enum": ["a"]}),
    Shape("nothing beside a reference", {"$ref": "#/definitions/A", "description": "x"}, {"$ref": "#/$defs/A"}),
    Shape("an allOf of one", {"allOf": [{"$ref": "#/$defs/A"}], "default": 1}, {"$ref": "#/$defs/A"}),
    Shape(
        "names are not keywords",
        {"$defs": {"default": {"type": "null", "default": None}}, "properties": {"pattern": {"items": {"const": 1}}}},
        {"$defs": {"default": {"type": "null"}}, "properties": {"pattern": {"items": {"enum": [1]}}}},
    ),
]


@pytest.mark.parametrize("case", SHAPES, ids=lambda c: c.id)
def test_a_schema_is_brought_into_the_accepted_part(case: Shape) -> None:
    assert accepted_schema(case.given) == case.sent


@pytest.mark.parametrize("request_", [ask(messages=()), ask("  "), ask(max_tokens=0)])
def test_what_no_server_should_be_asked_is_refused(request_: Any) -> None:
    with pytest.raises(PromptError):
        body(GEMINI, request_, ROW)


# ---------------------------------------------------------------- what comes back


def test_text_model_request_id_usage_and_finish_are_read() -> None:
    answer = reply(GEMINI, sends(GOOD), ROW)
    assert answer.text == "Grüße, 🌍!"
    assert answer.finish_reason is FinishReason.STOP
    assert (answer.model_reported, answer.request_id) == ("m-1-001", "r-1")
    assert answer.usage == Usage(input_tokens=10, output_tokens=5)


def test_the_last_delta_has_the_finish_reason_and_no_other_has() -> None:
    finishes = [d.finish_reason for d in deltas(GEMINI, sends(GOOD), ask(), ROW)]
    assert finishes[-1] is FinishReason.STOP
    assert set(finishes[:-1]) == {None}


def test_the_text_does_not_depend_on_where_the_network_cuts() -> None:
    for stream in (GOOD, GOOD.replace(b"\r\n", b"\n"), b"\xef\xbb\xbf: hello\n\n" + GOOD):
        assert reply(GEMINI, sends(*[stream[i : i + 1] for i in range(len(stream))]), ROW).text == "Grüße, 🌍!"


ARRAY = (
    b"[" + b"\r\n,\r\n".join(json.dumps(chunk({"text": t}, finish=f), indent=1).encode()
                             for t, f in (("a } b", None), ("c", "STOP"))) + b"\n]\n"
)  # fmt: skip


@pytest.mark.parametrize("piece", [1, 7, 100_000])
def test_an_array_is_read_where_events_were_asked_for(piece: int) -> None:
    pieces = [ARRAY[i : i + piece] for i in range(0, len(ARRAY), piece)]
    assert reply(GEMINI, sends(*pieces, content_type="application/json"), ROW).text == "a } bc"


def test_one_object_is_read_without_a_stream() -> None:
    net = sends(json.dumps(chunk({"text": "whole"}, finish="STOP")).encode())
    assert reply(GEMINI, net, ROW, ask(stream=False)).text == "whole"
    assert net.asked[0].url.path.endswith(":generateContent")


def test_thoughts_are_reasoning_and_their_signature_stays_here() -> None:
    stream = sse(
        chunk({"text": "Hm. ", "thought": True}),
        chunk({"text": "Yes.", "thoughtSignature": "s1"}),
        chunk({"text": "", "thoughtSignature": "s2"}, finish="STOP"),
    )
    answer = reply(GEMINI, sends(stream), ROW)
    assert (answer.text, answer.reasoning) == ("Yes.", "Hm. ")
    # Another provider, which the conversation may go on with, would take it for its own and refuse it.
    assert [p for p in answer.message().parts if isinstance(p, Reasoning)] == [Reasoning("Hm. ")]


def test_parallel_calls_are_told_apart_and_get_ids() -> None:
    stream = sse(
        chunk({"text": "Two:"}, {"functionCall": {"name": "f", "args": {"x": "é"}}, "thoughtSignature": "sig"}),
        chunk({"functionCall": {"name": "f", "args": {"x": 2}, "id": "given"}}, finish="STOP"),
    )
    first, second = reply(GEMINI, sends(stream), ROW).tool_calls
    assert (first.arguments, first.signature, first.complete) == ('{"x": "é"}', "sig", True)
    assert first.id.startswith("nbllm_")
    assert (second.id, second.arguments) == ("given", '{"x": 2}')
    assert reply(GEMINI, sends(stream), ROW).finish_reason is FinishReason.TOOL_CALLS
    assert reply(GEMINI, sends(stream), ROW).tool_calls == (first, second)  # the same answer, the same ids


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("MAX_TOKENS", FinishReason.LENGTH),
        ("SAFETY", FinishReason.CONTENT_FILTER),
        ("RECITATION", FinishReason.CONTENT_FILTER),
        ("PROHIBITED_CONTENT", FinishReason.CONTENT_FILTER),
        ("MALFORMED_FUNCTION_CALL", FinishReason.OTHER),
        ("SOMETHING_NEW", FinishReason.OTHER),
    ],
)
def test_finish_reasons(reason: str, finish: FinishReason) -> None:
    answer = reply(GEMINI, sends(sse(chunk({"text": "x"}, finish=reason))), ROW)
    assert answer.finish_reason is finish
    assert any(reason in n for n in answer.notices) is (finish is FinishReason.OTHER)


def test_an_empty_answer_is_one_and_says_so() -> None:
    answer = reply(GEMINI, sends(sse({"candidates": [{"finishReason": "STOP"}]})), ROW)
    assert (answer.text, answer.finish_reason, len(answer.notices)) == ("", FinishReason.STOP, 1)


def test_what_cannot_be_shown_is_named_once() -> None:
    code = {"executableCode": {"code": "1"}}
    answer = reply(GEMINI, sends(sse(chunk(code), chunk(code, {"text": "x"}, finish="STOP"))), ROW)
    assert len(answer.notices) == 1
    assert "executableCode" in answer.notices[0]


@dataclass(frozen=True)
class Count:
    id: str
    counted: Any
    usage: Usage | None


COUNTS = [
    Count("cached is a part of the prompt", COUNTED | {"cachedContentTokenCount": 4}, Usage(6, 4, None, 5)),
    Count("thoughts stand beside", COUNTED | {"thoughtsTokenCount": 7}, Usage(10, None, None, 12, 7)),
    Count("tools read too", COUNTED | {"toolUsePromptTokenCount": 3}, Usage(13, None, None, 5)),
    Count("no output is what the total leaves", {"promptTokenCount": 9, "totalTokenCount": 9}, Usage(9, None, None, 0)),
    Count(
        "only thoughts",
        {"promptTokenCount": 9, "thoughtsTokenCount": 6, "totalTokenCount": 15},
        Usage(9, None, None, 6, 6),
    ),
    Count("unknown output stays unknown", {"promptTokenCount": 9}, Usage(9)),
    Count("all zero is unknown", {"promptTokenCount": 0, "candidatesTokenCount": 0, "totalTokenCount": 0}, None),
    Count("null", None, None),
    Count("of another kind", {"promptTokenCount": "ten", "candidatesTokenCount": True}, None),
]


@pytest.mark.parametrize("case", COUNTS, ids=lambda c: c.id)
def test_usage_classes_do_not_overlap(case: Count) -> None:
    assert reply(GEMINI, sends(sse(chunk({"text": "x"}, finish="STOP", usageMetadata=case.counted))), ROW).usage == (
        case.usage
    )


def test_odd_but_harmless_payloads_are_survived() -> None:
    stream = b": comment\n\nevent: ping\ndata:\n\n" + sse(
        {"candidates": None, "extra": {"x": [1]}},
        {"candidates": [{"content": None, "finishReason": None}]},
        {"candidates": [{"content": {"parts": [None, {"text": None}, {"text": "ok"}, 3]}, "finishReason": "STOP"}]},
        end=b"\n\n",
    )
    assert reply(GEMINI, sends(stream + b"data: [DONE]\n\n"), ROW).text == "ok"


def test_a_connection_that_breaks_after_the_finish_reason_loses_nothing() -> None:
    assert reply(GEMINI, sends(GOOD, fault=httpx2.ReadError("gone")), ROW).finish_reason is FinishReason.STOP


# ---------------------------------------------------------------- what goes wrong


def test_a_blocked_prompt_is_a_content_filter_error() -> None:
    blocked = {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": COUNTED, "responseId": "r-9"}
    with pytest.raises(ContentFilterError, match="SAFETY") as caught:
        reply(GEMINI, sends(sse(blocked)), ROW)
    assert caught.value.request_id == "r-9"


def google_error(code: int, status: str, message: str, **more: Any) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "status": status, **more}}


BAD_KEY = google_error(
    400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.",
    details=[{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}],
)  # fmt: skip
LATER = google_error(
    429, "RESOURCE_EXHAUSTED", "Resource has been exhausted.",
    details=[{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "37s"}],
)  # fmt: skip


@dataclass(frozen=True)
class Fault:
    id: str
    net: Net
    error: type[NbllmError]
    partial: str | None = None


FAULTS = [
    Fault("a bad key behind a 400", sends(json.dumps(BAD_KEY).encode(), status=400), AuthenticationError),
    Fault("in a list", sends(json.dumps([BAD_KEY]).encode(), status=400), AuthenticationError),
    Fault("an error in a 200 array", sends(json.dumps([LATER]).encode()), RateLimitError),
    Fault("an error in the stream", sends(sse(chunk({"text": "a"}), LATER)), RateLimitError),
    Fault("no bytes at all", sends(b""), StreamBrokenError, ""),
    Fault("no finish reason", sends(sse(chunk({"text": "ab"}))), StreamBrokenError, "ab"),
    Fault("half a line", sends(sse(chunk({"text": "ab"}), chunk({"text": "c"}))[:-30]), StreamBrokenError, "ab"),
    Fault("an array cut", sends(ARRAY[: len(ARRAY) - 60]), StreamBrokenError, "a } b"),
    Fault("not an object", sends(sse(chunk({"text": "ab"})) + b"data: [1]\n\n"), StreamBrokenError, "ab"),
    Fault("a web page", sends(b"<!doctype html><title>Hi</title>"), ProviderError),
    Fault(
        "the connection is lost",
        sends(sse(chunk({"text": "ab"})), fault=httpx2.ReadError("gone")),
        StreamBrokenError,
        "ab",
    ),
    Fault("lost before a byte", sends(fault=httpx2.ReadError("gone")), UnreachableError),
]


@pytest.mark.parametrize("case", FAULTS, ids=lambda c: c.id)
def test_what_goes_wrong_has_a_name_and_keeps_the_text(case: Fault) -> None:
    with pytest.raises(case.error) as caught:
        reply(GEMINI, case.net, ROW)
    if case.partial is not None:
        assert caught.value.partial == case.partial  # type: ignore[attr-defined]


def test_the_delay_that_google_names_is_kept() -> None:
    with pytest.raises((RateLimitError, QuotaError)) as caught:
        reply(GEMINI, sends(json.dumps(LATER).encode(), status=429), ROW)
    assert caught.value.retry_after_s == 37


# ---------------------------------------------------------------- the listing


def test_all_pages_are_read_and_each_model_says_what_it_is_for() -> None:
    pages = {
        None: {
            "models": [
                {"name": "models/a", "displayName": "A", "inputTokenLimit": 100, "outputTokenLimit": 9,
                 "thinking": True, "supportedGenerationMethods": ["generateContent"]},
                {"name": "models/embed", "supportedGenerationMethods": ["embedContent"]},
            ],
            "nextPageToken": "p 2",
        },
        "p 2": {"models": [{"name": "models/b"}, {"name": "models/a"}], "nextPageToken": ""},
    }  # fmt: skip
    net = Net(lambda request: httpx2.Response(200, json=pages[request.url.params.get("pageToken")]))
    found = models(GEMINI, net, ROW)
    assert [(m.id, m.type) for m in found] == [("a", "chat"), ("embed", "embedding"), ("b", None)]
    assert (found[0].name, found[0].max_input, found[0].max_output, found[0].reasoning) == ("A", 100, 9, True)
    assert found[1].max_input is None
    assert len(net.asked) == 2


def test_a_page_token_that_comes_again_ends_the_listing() -> None:
    net = Net(lambda _: httpx2.Response(200, json={"models": [{"name": "models/a"}], "nextPageToken": "same"}))
    assert [m.id for m in models(GEMINI, net, ROW)] == ["a"]
    assert len(net.asked) == 2
