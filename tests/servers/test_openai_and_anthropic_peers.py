"""The OpenAI and Anthropic adapters against real servers: llama.cpp in both dialects, and llmock's faults.

The models are random: shape is asserted, not text.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest

from nbllm import errors
from nbllm.adapters import load_adapter
from nbllm.adapters.base import Endpoint
from nbllm.credentials.secret import Secret
from nbllm.messages import ChatRequest, FinishReason, Image, Message, Role, Text, Tool, ToolResult
from nbllm.providers.spec import ProviderConfig, Timeouts
from nbllm.reply_builder import ReplyBuilder
from nbllm.transport.http import Http
from peers import Llmock

pytestmark = pytest.mark.peers

T = TypeVar("T")
Peers = dict[str, dict[str, Any]]
KINDS = ("openai", "anthropic")
LLAMAS = ("llamacpp", "llamacpp-tools", "llamacpp-think")
CITY = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
WEATHER = Tool("get_weather", "The weather in a city", CITY)


def asked(
    peer: dict[str, Any],
    kind: str,
    use: Callable[[Endpoint], Awaitable[T]],
    *,
    key: str | None = None,
) -> T:
    """Run `use` with an endpoint that leads to the peer."""
    auth = "x-api-key" if kind == "anthropic" else "bearer"
    silence_s = 3 if peer["name"] == "llmock" else 30  # shorter than the stalls that are scripted
    row = ProviderConfig(id="peer", kind=kind, base_url=peer[kind], auth=auth,
                         timeout=Timeouts(first_token_s=silence_s, between_tokens_s=silence_s))  # fmt: skip

    async def main() -> T:
        http = Http()
        try:
            return await asyncio.wait_for(use(Endpoint(row, Secret(key or peer["key"]), http)), 60)
        finally:
            await http.aclose()

    return asyncio.run(main())


def chat(peer: dict[str, Any], kind: str, *, key: str | None = None, **fields: Any) -> ReplyBuilder:
    """One answer."""
    base = {"provider": "peer", "model": peer["model"], "messages": (Message.user("Tell me of the river."),)}
    request = ChatRequest(**{**base, "max_tokens": 24, **fields})
    if kind == "anthropic" and peer["name"] == "llmock":
        request = ChatRequest(**{**base, "max_tokens": 24, **fields, "model": "claude-sonnet-4-6"})

    async def use(endpoint: Endpoint) -> ReplyBuilder:
        reply = ReplyBuilder()
        async for delta in load_adapter(kind).stream(request, endpoint):
            reply.add(delta)
        return reply

    return asked(peer, kind, use, key=key)


def failing(peer: dict[str, Any], kind: str, **fields: Any) -> errors.NbllmError:
    """The error that one answer ends in."""
    with pytest.raises(errors.NbllmError) as caught:
        chat(peer, kind, **fields)
    return caught.value


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", LLAMAS)
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "document"])
def test_a_real_model_answers(peers: Peers, name: str, kind: str, stream: bool) -> None:
    for seed in range(7, 12):  # a random model may well stop at once
        reply = chat(peers[name], kind, stream=stream, params={"seed": seed})
        if reply.text + reply.reasoning:
            break

    assert reply.text + reply.reasoning
    assert reply.finish_reason in (FinishReason.STOP, FinishReason.LENGTH)
    assert reply.usage is not None
    assert reply.usage.prompt_tokens
    assert reply.usage.output_tokens
    assert reply.model_reported == "tiny-random"


@pytest.mark.parametrize("kind", KINDS)
def test_a_reasoning_model_keeps_its_thoughts_apart(peers: Peers, kind: str) -> None:
    found = [chat(peers["llamacpp-think"], kind, max_tokens=60, params={"seed": s}) for s in range(3)]

    assert any(r.reasoning for r in found)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["llamacpp-tools", "llamacpp-think"])
def test_a_forced_tool_is_called_and_its_result_can_be_sent_back(peers: Peers, name: str, kind: str) -> None:
    question = Message.user("What is the weather in Oslo?")
    for seed in range(1, 25):
        reply = chat(peers[name], kind, tools=(WEATHER,), tool_choice="required", max_tokens=150, messages=(question,),
                     params={"seed": seed})  # fmt: skip
        # The model is random, and the context is small: long arguments would not fit a second time.
        whole = [c for c in reply.tool_calls if c.complete and len(c.arguments) < 120][:1]
        if whole:
            break
    assert whole
    assert whole[0].name == "get_weather"
    assert isinstance(json.loads(whole[0].arguments), dict)

    asked_for = Message(Role.ASSISTANT, tuple(whole))  # without its text, for the same reason
    result = Message(Role.TOOL, (ToolResult(whole[0].id, whole[0].name, "rain, 4 degrees"),))
    again = chat(peers[name], kind, tools=(WEATHER,), messages=(question, asked_for, result))
    assert again.finish_reason is not None


def test_an_answer_by_schema_fits_it(peers: Peers) -> None:
    reply = chat(peers["llamacpp"], "openai", schema=CITY, max_tokens=200, params={"seed": 3})

    if reply.finish_reason is FinishReason.STOP:
        assert isinstance(json.loads(reply.text)["city"], str)
    assert reply.text.lstrip().startswith("{")


def test_a_schema_that_the_server_refuses_is_told_apart(peers: Peers) -> None:
    assert isinstance(failing(peers["llamacpp"], "openai", schema={"type": "nonsense"}), errors.UnsupportedError)


@pytest.mark.parametrize("kind", KINDS)
def test_a_wrong_key_is_told_in_our_words(peers: Peers, kind: str) -> None:
    error = failing(peers["llamacpp"], kind, key="sk-this-is-not-the-key")

    assert type(error) is errors.AuthenticationError
    assert error.body is None


@pytest.mark.parametrize("kind", KINDS)
def test_a_prompt_that_is_too_long_is_recognised(peers: Peers, kind: str) -> None:
    long = (Message.user("river garden " * 3000),)

    assert type(failing(peers["llamacpp"], kind, messages=long)) is errors.ContextLengthError
    assert type(failing(peers["llmock"], kind, messages=long)) is errors.ContextLengthError


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_to_a_text_model_is_unsupported(peers: Peers, kind: str) -> None:
    picture = Message(Role.USER, (Image(b"\x89PNG", "image/png"), Text("What is it?")))

    assert isinstance(failing(peers["llamacpp"], kind, messages=(picture,)), errors.UnsupportedError)


@pytest.mark.parametrize("kind", KINDS)
def test_models_are_listed(peers: Peers, kind: str) -> None:
    for name in ("llamacpp", "llmock"):
        models = asked(peers[name], kind, load_adapter(kind).list_models)
        assert models, name
        assert len({m.id for m in models}) == len(models)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("status", "expected"),
    [(400, errors.BadRequestError), (401, errors.AuthenticationError), (404, errors.ModelNotFoundError),
     (422, errors.BadRequestError), (429, errors.RateLimitError), (500, errors.ServerError),
     (529, errors.OverloadedError)],
)  # fmt: skip
def test_a_scripted_status_has_its_class(
    llmock: Llmock, peers: Peers, kind: str, status: int, expected: type[errors.ProviderError]
) -> None:
    llmock.script({"type": "fail", "status": status, "retry_after": 1.5})
    error = failing(peers["llmock"], kind)

    assert type(error) is expected
    if status == 429:
        assert error.retry_after_s == 1.5


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fault", ["disconnect", "truncate", "malformed", "stall"])
def test_a_scripted_stream_fault_breaks_the_stream(llmock: Llmock, peers: Peers, kind: str, fault: str) -> None:
    llmock.script({"type": "stream_fault", "kind": fault, "after_chunks": 3, "stall_seconds": 6})
    error = failing(peers["llmock"], kind)
    llmock.notice()
    chat(peers["llmock"], kind)  # llmock cannot see an error of ours; it sees that the user asks again

    assert isinstance(error, errors.StreamBrokenError)
    # Errors only: its warning about a malformed line depends on whether it had sent the rest before we hung up.
    assert llmock.verdict()["passed"]
