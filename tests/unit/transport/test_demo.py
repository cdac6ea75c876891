"""The demo provider: real wire bytes, in order of time, the same on both ways, and honest about itself."""

from __future__ import annotations

import asyncio
import http.client
import itertools
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest

from nbllm.transport.demo import DEMO_ORIGIN, Demo, DemoTransport, create_server
from nbllm.transport.demo.guide import reply_from_guide, topics
from nbllm.transport.demo.models import LABEL, MODELS, tokens
from nbllm.transport.demo.schema import instance_of

URL = "http://demo.invalid/v1/chat/completions"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NBLLM_DEMO_PACE_S", "0")


@pytest.fixture
def port() -> Iterator[int]:
    server = create_server(0)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()
    thread.join()


def chat(model: str, text: Any = "How do I set a key?", **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": text}], **more}


def ask(body: dict[str, Any], transport: DemoTransport | None = None) -> httpx2.Response:
    async def go() -> httpx2.Response:
        async with httpx2.AsyncClient(transport=transport or DemoTransport()) as client:
            return await client.post(URL, json=body)

    return asyncio.run(go())


def events(response: httpx2.Response) -> list[dict[str, Any]]:
    lines = [line.removeprefix("data: ") for line in response.text.split("\n\n") if line]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


def text_of(response: httpx2.Response) -> str:
    return "".join(e["choices"][0]["delta"].get("content") or "" for e in events(response) if e["choices"])


def test_pieces_arrive_one_after_the_other_and_not_together_at_the_end() -> None:
    """A transport that collects the body first would show no gap between them (httpx's own ASGI transport does)."""

    async def go() -> list[float]:
        loop = asyncio.get_running_loop()
        transport = DemoTransport(pace_s=0.02)
        arrived: list[float] = []
        async with httpx2.AsyncClient(transport=transport) as client:  # noqa: SIM117
            async with client.stream("POST", URL, json=chat("guide", stream=True, max_tokens=10)) as response:
                async for _ in response.aiter_raw():
                    arrived.append(loop.time())
        return arrived

    arrived = asyncio.run(go())
    assert len(arrived) == 13  # role, ten words, finish, [DONE]
    assert all(later - earlier >= 0.015 for earlier, later in itertools.pairwise(arrived))


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("model", ["guide", "echo", "tools"])
def test_server_and_transport_send_the_same_bytes_and_headers(port: int, model: str, stream: bool) -> None:
    body = chat(model, "naïve 🌍 question", stream=stream, stream_options={"include_usage": True})
    inside = ask(body)
    with httpx2.Client(trust_env=False) as client:
        outside = client.post(f"http://127.0.0.1:{port}/v1/chat/completions", json=body)
    assert outside.content == inside.content
    assert outside.headers["x-request-id"] == inside.headers["x-request-id"]
    assert outside.headers["content-type"] == inside.headers["content-type"]


def test_the_same_request_gives_the_same_bytes_and_another_gives_another_id() -> None:
    first, again, other = (ask(chat("guide", t, stream=True)) for t in ("keys", "keys", "tools"))
    assert first.content == again.content
    assert first.headers["x-request-id"] != other.headers["x-request-id"]


@pytest.mark.parametrize("model", [m for m in MODELS if not m.startswith("error") and m != "cut"])
def test_every_answer_says_at_its_head_that_no_model_is_behind_it(model: str) -> None:
    assert text_of(ask(chat(model, stream=True))).startswith(LABEL)


def test_streamed_and_whole_answers_agree() -> None:
    whole = ask(chat("guide")).json()["choices"][0]["message"]["content"]
    assert text_of(ask(chat("guide", stream=True))) == whole
    assert "%llm_providers key" in whole


def test_usage_counts_its_own_words() -> None:
    request = chat("echo", "one two three", stream=True, stream_options={"include_usage": True})
    response = ask(request)
    usage = events(response)[-1]["usage"]
    assert usage["prompt_tokens"] == 3
    assert usage["completion_tokens"] == len(tokens(text_of(response)))
    assert not any("usage" in e for e in events(ask(chat("echo", stream=True))))


def test_max_tokens_cuts_the_answer_with_finish_length() -> None:
    response = ask(chat("guide", stream=True, max_completion_tokens=4))
    assert len(tokens(text_of(response))) == 4
    assert events(response)[-1]["choices"][0]["finish_reason"] == "length"


def test_echo_shows_what_it_was_sent_and_attachments_as_sizes() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGVsbG8="}}
    sent = chat("echo", [picture, {"type": "text", "text": "look ```here```"}], temperature=0.25)
    shown = ask(sent).json()["choices"][0]["message"]["content"]
    assert '"temperature": 0.25' in shown
    assert "aGVsbG8=" not in shown
    assert "image (image/png, 5 bytes)" in shown
    assert "````json" in shown  # a fence longer than any run of backticks inside


def test_429_refuses_the_same_request_twice_and_then_answers_again_and_again() -> None:
    transport = DemoTransport()
    seen = [ask(chat("error-429", "a"), transport) for _ in range(6)]
    assert [r.status_code for r in seen] == [429, 429, 200, 429, 429, 200]
    assert seen[0].headers["retry-after"] == "1"
    assert ask(chat("error-429", "b"), transport).status_code == 429


def test_401_is_openais_shape() -> None:
    response = ask(chat("error-401"))
    assert response.status_code == 401
    assert response.json()["error"]["code"] == "invalid_api_key"


def test_cut_breaks_the_connection_without_a_finish_reason(port: int) -> None:
    received: list[bytes] = []

    async def read() -> None:
        async with httpx2.AsyncClient(transport=DemoTransport()) as client:  # noqa: SIM117
            async with client.stream("POST", URL, json=chat("cut", stream=True)) as response:
                async for piece in response.aiter_raw():
                    received.append(piece)

    with pytest.raises(httpx2.RemoteProtocolError):
        asyncio.run(read())
    assert any(b'"The "' in piece for piece in received)
    assert not any(b'"finish_reason":"' in piece or b"[DONE]" in piece for piece in received)

    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("POST", "/v1/chat/completions", json.dumps(chat("cut", stream=True)))
    with pytest.raises(http.client.IncompleteRead):
        connection.getresponse().read()
    connection.close()


WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "examples": ["Oslo"]}, "days": {"type": "integer", "minimum": 1}},
            "required": ["city", "days"],
        },
    },
}


def test_tools_calls_the_first_tool_with_arguments_from_its_schema_and_reports_the_result() -> None:
    deltas = [e["choices"][0]["delta"] for e in events(ask(chat("tools", stream=True, tools=[WEATHER])))]
    calls = [d["tool_calls"][0] for d in deltas if d.get("tool_calls")]
    assert calls[0]["function"]["name"] == "weather"
    assert json.loads("".join(c["function"]["arguments"] for c in calls)) == {"city": "Oslo", "days": 3}

    call_id = calls[0]["id"]
    again = chat("tools", tools=[WEATHER])
    again["messages"] += [
        {"role": "assistant", "content": None, "tool_calls": [{"id": call_id, "type": "function", "function": {}}]},
        {"role": "tool", "tool_call_id": call_id, "content": "sunny"},
    ]
    answer = ask(again).json()["choices"][0]
    assert answer["finish_reason"] == "stop"
    assert "sunny" in answer["message"]["content"]


def test_a_schema_is_filled_and_the_label_is_in_the_reasoning() -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "city", "schema": WEATHER["function"]["parameters"]}}
    message = ask(chat("guide", response_format=wanted)).json()["choices"][0]["message"]
    assert json.loads(message["content"]) == {"city": "Oslo", "days": 1}
    assert message["reasoning_content"].startswith(LABEL)


@dataclass(frozen=True)
class Bad:
    id: str
    method: str
    path: str
    body: bytes
    status: int


BAD = [
    Bad("not json", "POST", "/v1/chat/completions", b"{", 400),
    Bad("not utf-8", "POST", "/v1/chat/completions", b"\xff\xfe\x00", 400),
    Bad("a list", "POST", "/v1/chat/completions", b"[]", 400),
    Bad("no messages", "POST", "/v1/chat/completions", b'{"model": "guide", "messages": []}', 400),
    Bad("messages of strings", "POST", "/v1/chat/completions", b'{"model": "guide", "messages": ["x"]}', 400),
    Bad("unknown model", "POST", "/v1/chat/completions", b'{"model": "gpt", "messages": [{}]}', 404),
    Bad("model is a list", "POST", "/v1/chat/completions", b'{"model": [], "messages": [{}]}', 404),
    Bad("wrong method", "GET", "/v1/chat/completions", b"", 405),
    Bad("nothing there", "GET", "/", b"", 404),
]


@pytest.mark.parametrize("case", BAD, ids=lambda c: c.id)
def test_a_bad_request_gets_an_error_in_openais_shape(case: Bad) -> None:
    made = Demo().answer(case.method, case.path, {}, case.body)
    error = json.loads(b"".join(piece for _, piece in made.pieces))["error"]
    assert made.status == case.status
    assert error["message"].startswith("demo: ")


def test_the_listing_names_every_model() -> None:
    made = Demo().answer("GET", "/v1/models", {}, b"")
    listing = json.loads(b"".join(piece for _, piece in made.pieces))
    assert [row["id"] for row in listing["data"]] == list(MODELS)


def test_text_without_utf8_still_makes_valid_json() -> None:
    made = Demo().answer("POST", "/v1/chat/completions", {}, json.dumps(chat("echo", "lone \ud83d half")).encode())
    payload = b"".join(piece for _, piece in made.pieces)
    assert "lone \ud83d half" in json.loads(payload.decode("utf-8"))["choices"][0]["message"]["content"]


@dataclass(frozen=True)
class Question:
    id: str
    title: str


QUESTIONS = [
    Question("How do I add a provider?", "Providers"),
    Question("how do I set my key for groq", "Keys"),
    Question("can I stop it?", "Streaming and stopping"),
    Question("What happens when a call fails?", "Errors and retries"),
    Question("How do I attach an image?", "Attachments"),
    Question("Can it call my Python functions?", "Tools"),
    Question("How do I get JSON back?", "Structured answers"),
    Question("Does it remember the conversation?", "Conversations"),
    Question("What happens when I run a cell again?", "Running cells again"),
    Question("can I run a gguf on my laptop", "Local models"),
    Question("Is there a command line?", "Command line"),
    Question("Is my data safe?", "Security"),
    Question("who are you?", "The demo itself"),
    Question("What can you do?", "What nbllm is"),
    Question("hello", "First steps"),
]


@pytest.mark.parametrize("case", QUESTIONS, ids=lambda c: c.id)
def test_the_guide_finds_the_topic(case: Question) -> None:
    assert reply_from_guide([case.id]).startswith(f"### {case.title}\n")


@pytest.mark.parametrize("question", ["Why is the sky blue?", "Explain the central limit theorem", "What is 2+2?"])
def test_the_guide_says_when_nothing_fits_and_lists_its_topics(question: str) -> None:
    reply = reply_from_guide([question])
    assert "nothing in it fits your question" in reply
    assert all(f"- {t.title}" in reply for t in topics())


def test_a_question_without_words_of_its_own_goes_on_from_the_one_before() -> None:
    assert not reply_from_guide(["How do I set a key?", "and then?"]).startswith("### Keys")


def test_every_topic_is_found_by_its_own_title() -> None:
    assert len(topics()) > 15
    missed = [t.title for t in topics() if not reply_from_guide([t.title]).startswith(f"### {t.title}\n")]
    assert missed == []


def test_tokens_join_to_the_text_exactly() -> None:
    for text in ("", "one", "  two  words \n", "\n\n```\n  code\n```", "a\tb\u2028c"):
        assert "".join(tokens(text)) == text


@dataclass(frozen=True)
class Shape:
    id: str
    schema: dict[str, Any]
    value: Any


SHAPES = [
    Shape("enum", {"enum": ["b", "a"]}, "b"),
    Shape("default wins", {"type": "integer", "default": 7}, 7),
    Shape("limits", {"type": "integer", "exclusiveMinimum": 3}, 4),
    Shape("array with minimum", {"type": "array", "items": {"type": "boolean"}, "minItems": 2}, [False, False]),
    Shape("reference", {"$ref": "#/$defs/x", "$defs": {"x": {"type": "null"}}}, None),
    Shape("a circle ends", {"type": "object", "properties": {"n": {"$ref": "#"}}}, {}),
    Shape("optional left out", {"type": "object", "properties": {"a": {"type": "string"}}}, {}),
    Shape("any of", {"anyOf": [{"type": "string", "minLength": 6}, {"type": "null"}]}, "demo.."),
]


@pytest.mark.parametrize("case", SHAPES, ids=lambda c: c.id)
def test_the_smallest_value_fits_its_schema(case: Shape) -> None:
    assert instance_of(case.schema) == case.value


def test_a_number_in_a_tool_call_is_3_where_its_limits_allow() -> None:
    numbers = {"a": {"type": "number"}, "b": {"type": "integer", "maximum": 2}, "c": {"type": "integer", "minimum": 9}}
    schema = {"type": "object", "properties": numbers, "required": ["a", "b", "c"]}
    assert instance_of(schema, usual=3) == {"a": 3, "b": 2, "c": 9}


def test_the_origin_can_never_be_a_real_host() -> None:
    assert DEMO_ORIGIN == "http://demo.invalid:80"
