"""Ollama's own format: what is sent, and what is made of the lines that come back."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest

from nbllm.adapters.ollama import OllamaAdapter
from nbllm.errors import (
    ModelNotFoundError,
    NbllmError,
    PromptError,
    ProviderError,
    StreamBrokenError,
    UnreachableError,
    UnsupportedError,
)
from nbllm.messages import File, FinishReason, Image, Message, Reasoning, Role, Text, Tool, ToolCall, ToolResult, Usage
from unit.adapters.native import Net, ask, body, deltas, models, reply, row, sends

OLLAMA = OllamaAdapter()
ROW = row("ollama")


def line(done: bool = False, **more: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": more.pop("content", "")}
    message |= {k: more.pop(k) for k in ("thinking", "reasoning_content", "tool_calls") if k in more}
    return {"model": "m:1b", "created_at": "2026-11-20T00:00:00Z", "message": message, "done": done, **more}


def lines(*payloads: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(p, ensure_ascii=False).encode() + b"\n" for p in payloads)


END = line(done=True, done_reason="stop", prompt_eval_count=7, eval_count=3, total_duration=1)
GOOD = lines(line(content="Grüße "), line(content="🌍"), END)


# ---------------------------------------------------------------- what is sent


def test_the_request_is_ollamas_and_holds_nothing_that_nobody_set() -> None:
    net = sends(GOOD)
    reply(OLLAMA, net, ROW)
    assert str(net.asked[0].url) == "https://models.example/api/chat"
    assert net.sent == {"model": "m-1", "messages": [{"role": "user", "content": "hello"}], "stream": True}


def test_parameters_go_into_options_unless_they_stand_beside_them() -> None:
    provider = row("ollama", params={"num_ctx": 8192}, extra_body={"keep_alive": "1h"})
    params = {"think": True, "top_p": 0.5, "options": {"seed": 1}}
    sent = body(OLLAMA, ask(temperature=0, max_tokens=9, params=params, schema={"type": "object"}), provider)
    assert sent["options"] == {"num_ctx": 8192, "top_p": 0.5, "seed": 1, "temperature": 0, "num_predict": 9}
    assert (sent["think"], sent["keep_alive"], sent["format"]) == (True, "1h", {"type": "object"})


def test_text_files_go_as_text_and_images_as_base64() -> None:
    message = Message.user("look", Image(b"png", "image/png"), File(b"a,b", "text/csv", "t.csv"))
    assert body(OLLAMA, ask(messages=(message,)), ROW)["messages"] == [
        {"role": "user", "content": "[t.csv]\na,b\n\nlook", "images": ["cG5n"]}
    ]


def test_a_pdf_has_no_place() -> None:
    message = Message.user("read", File(b"%PDF", "application/pdf"))
    with pytest.raises(UnsupportedError, match="application/pdf"):
        body(OLLAMA, ask(messages=(message,)), ROW)


def test_calls_and_results_go_back_one_message_a_result() -> None:
    said = (
        Reasoning("hm"),
        Text("Let me see."),
        ToolCall("c1", "add", '{"a": 1}'),
        ToolCall("nbllm_0", "now", ""),
        ToolCall("c3", "cut", '{"a', complete=False),
    )
    results = (ToolResult("c1", "add", "2"), ToolResult("nbllm_0", "now", "noon"))
    history = (Message.user("go"), Message(Role.ASSISTANT, said), Message(Role.TOOL, results))
    assert body(OLLAMA, ask(messages=history, system="be brief"), ROW)["messages"] == [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "go"},
        {
            "role": "assistant",
            "content": "Let me see.",
            "thinking": "hm",
            "tool_calls": [
                {"id": "c1", "function": {"name": "add", "arguments": {"a": 1}}},
                {"function": {"name": "now", "arguments": {}}},
            ],
        },
        {"role": "tool", "tool_name": "add", "content": "2", "tool_call_id": "c1"},
        {"role": "tool", "tool_name": "now", "content": "noon"},
    ]


def test_tools_are_offered_and_none_means_none() -> None:
    tool = Tool("add", "adds", {"type": "object"})
    function = {"name": "add", "description": "adds", "parameters": {"type": "object"}}
    assert body(OLLAMA, ask(tools=(tool,)), ROW)["tools"] == [{"type": "function", "function": function}]
    assert "tools" not in body(OLLAMA, ask(tools=(tool,), tool_choice="none"), ROW)
    with pytest.raises(UnsupportedError):
        body(OLLAMA, ask(tools=(tool,), tool_choice="required"), ROW)


def test_an_empty_prompt_is_refused_since_ollama_would_only_load_the_model() -> None:
    with pytest.raises(PromptError):
        body(OLLAMA, ask(messages=(Message.system("be brief"),)), ROW)


# ---------------------------------------------------------------- what comes back


def test_text_model_usage_and_finish_are_read() -> None:
    answer = reply(OLLAMA, sends(GOOD), ROW)
    assert (answer.text, answer.finish_reason, answer.model_reported) == ("Grüße 🌍", FinishReason.STOP, "m:1b")
    assert answer.usage == Usage(input_tokens=7, output_tokens=3)


def test_the_last_delta_has_the_finish_reason_and_no_other_has() -> None:
    finishes = [d.finish_reason for d in deltas(OLLAMA, sends(GOOD), ask(), ROW)]
    assert finishes[-1] is FinishReason.STOP
    assert set(finishes[:-1]) == {None}


def test_the_text_does_not_depend_on_where_the_network_cuts() -> None:
    for stream in (GOOD, GOOD.replace(b"\n", b"\r\n"), GOOD[:-1], b"\n" + GOOD):
        assert reply(OLLAMA, sends(*[stream[i : i + 1] for i in range(len(stream))]), ROW).text == "Grüße 🌍"


@pytest.mark.parametrize("name", ["thinking", "reasoning_content"])
def test_thinking_is_reasoning(name: str) -> None:
    answer = reply(OLLAMA, sends(lines(line(**{name: "hm"}), line(content="yes"), END)), ROW)
    assert (answer.reasoning, answer.text) == ("hm", "yes")


def test_parallel_calls_are_told_apart_even_when_all_are_numbered_zero() -> None:
    call = {"function": {"index": 0, "name": "f", "arguments": {"x": 1}}}
    named = {"id": "c2", "function": {"index": 0, "name": "f", "arguments": '{"x": '}}
    stream = lines(line(tool_calls=[call]), line(tool_calls=[named, None]), END)
    first, second = reply(OLLAMA, sends(stream), ROW).tool_calls
    assert (first.arguments, first.complete) == ('{"x": 1}', True)
    assert (second.id, second.arguments, second.complete) == ("c2", '{"x": ', False)
    assert reply(OLLAMA, sends(stream), ROW).finish_reason is FinishReason.TOOL_CALLS


@pytest.mark.parametrize(
    ("end", "finish"),
    [
        ({"done_reason": "length"}, FinishReason.LENGTH),
        ({"done_reason": "load"}, FinishReason.OTHER),
        ({}, FinishReason.STOP),
    ],
)
def test_finish_reasons(end: dict[str, Any], finish: FinishReason) -> None:
    assert reply(OLLAMA, sends(lines(line(content="x", done=True, **end))), ROW).finish_reason is finish


@pytest.mark.parametrize(
    ("counted", "usage"),
    [
        ({"prompt_eval_count": 7}, Usage(input_tokens=7)),
        ({"eval_count": 3}, Usage(output_tokens=3)),
        ({"prompt_eval_count": 0, "eval_count": 0}, None),
        ({}, None),
    ],
)
def test_what_was_not_counted_is_unknown(counted: dict[str, int], usage: Usage | None) -> None:
    assert reply(OLLAMA, sends(lines(line(content="x", done=True, **counted))), ROW).usage == usage


def test_an_empty_answer_is_one_and_says_so() -> None:
    answer = reply(OLLAMA, sends(lines(END)), ROW)
    assert (answer.text, answer.finish_reason, len(answer.notices)) == ("", FinishReason.STOP, 1)


def test_a_connection_that_breaks_after_done_loses_nothing() -> None:
    assert reply(OLLAMA, sends(GOOD, fault=httpx2.ReadError("gone")), ROW).finish_reason is FinishReason.STOP


# ---------------------------------------------------------------- what goes wrong


@dataclass(frozen=True)
class Fault:
    id: str
    net: Net
    error: type[NbllmError]
    partial: str | None = None


MISSING = {"error": "model 'm-1' not found"}
FAULTS = [
    Fault("no such model", sends(json.dumps(MISSING).encode(), status=404), ModelNotFoundError),
    Fault("an error line in a 200", sends(lines(line(content="ab"), {"error": "runner stopped"})), ProviderError),
    Fault("done never said", sends(lines(line(content="ab"))), StreamBrokenError, "ab"),
    Fault("half a line", sends(lines(line(content="ab"), line(content="cd"))[:-20]), StreamBrokenError, "ab"),
    Fault("events where lines belong", sends(b"data: {}\n\n"), StreamBrokenError, ""),
    Fault("a web page", sends(b"<html>"), ProviderError),
    Fault("no bytes at all", sends(b""), StreamBrokenError, ""),
    Fault("lost", sends(lines(line(content="ab")), fault=httpx2.ReadError("gone")), StreamBrokenError, "ab"),
    Fault("lost before a byte", sends(fault=httpx2.ReadError("gone")), UnreachableError),
]


@pytest.mark.parametrize("case", FAULTS, ids=lambda c: c.id)
def test_what_goes_wrong_has_a_name_and_keeps_the_text(case: Fault) -> None:
    with pytest.raises(case.error) as caught:
        reply(OLLAMA, case.net, ROW)
    if case.partial is not None:
        assert caught.value.partial == case.partial  # type: ignore[attr-defined]


def test_the_listing_is_that_of_the_disk() -> None:
    tags = {"models": [{"name": "llama3:8b", "model": "llama3:8b", "size": 1}, {"name": "qwen:1b"}]}
    net = Net(lambda _: httpx2.Response(200, json=tags))
    assert [m.id for m in models(OLLAMA, net, ROW)] == ["llama3:8b", "qwen:1b"]
    assert net.asked[0].url.path == "/api/tags"
