"""The Gemini adapter against a server that another party wrote, with its scripted faults."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from nbllm.adapters.base import Endpoint
from nbllm.adapters.gemini import GeminiAdapter
from nbllm.credentials.secret import Secret
from nbllm.errors import (
    AuthenticationError,
    BadRequestError,
    NbllmError,
    RateLimitError,
    ServerError,
    StreamBrokenError,
)
from nbllm.messages import ChatRequest, FinishReason, Message, Tool
from nbllm.providers.spec import ModelInfo, ProviderConfig, Timeouts
from nbllm.reply_builder import ReplyBuilder
from nbllm.transport.http import Http
from peers import Llmock, Peers

pytestmark = pytest.mark.peers

WEATHER = Tool("weather", "the weather", {"type": "object", "properties": {"city": {"type": "string"}}})

at: dict[str, str] = {}


@pytest.fixture(autouse=True)
def fresh(peers: Peers, llmock: Llmock) -> None:
    """The server's script and record are global: each test begins with empty ones."""
    at["base_url"] = peers["llmock"]["gemini"]


def row() -> ProviderConfig:
    timeout = Timeouts(first_token_s=5, between_tokens_s=2)  # shorter than the stalls that are scripted
    return ProviderConfig(id="google", kind="gemini", base_url=at["base_url"], auth="x-goog-api-key", timeout=timeout)


def with_endpoint(use: Callable[[GeminiAdapter, Endpoint], Any]) -> Any:
    async def go() -> Any:
        http = Http()
        try:
            return await use(GeminiAdapter(), Endpoint(row(), Secret("any-key-at-all"), http))
        finally:
            await http.aclose()

    return asyncio.run(go())


def reply(**fields: Any) -> ReplyBuilder:
    builder = ReplyBuilder()

    async def use(adapter: GeminiAdapter, endpoint: Endpoint) -> None:
        request = ChatRequest("google", "gemini-2.5-flash", (Message.user("Tell a long story."),), **fields)
        try:
            async for delta in adapter.stream(request, endpoint):
                builder.add(delta)
        except NbllmError as error:
            error.seen = builder.text  # type: ignore[attr-defined]
            raise

    with_endpoint(use)
    return builder


@pytest.mark.parametrize("stream", [True, False])
def test_text_and_usage(stream: bool) -> None:
    answer = reply(stream=stream)
    assert answer.text
    assert answer.finish_reason is FinishReason.STOP
    assert answer.usage is not None
    assert answer.usage.output_tokens


def test_a_tool_is_called() -> None:
    (call,) = reply(tools=(WEATHER,)).tool_calls
    assert (call.name, call.complete) == ("weather", True)


def test_a_schema_is_filled() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    assert isinstance(json.loads(reply(schema=schema).text)["a"], int)


def test_the_listing_has_plain_ids_and_limits() -> None:
    found: list[ModelInfo] = with_endpoint(lambda adapter, endpoint: adapter.list_models(endpoint))
    assert found
    assert not any(m.id.startswith("models/") for m in found)
    assert all(m.max_input and m.max_output for m in found)


@dataclass(frozen=True)
class Refused:
    id: str
    status: int
    error: type[NbllmError]


REFUSED = [
    Refused("key", 401, AuthenticationError),
    Refused("request", 400, BadRequestError),
    Refused("server", 500, ServerError),
    Refused("rate", 429, RateLimitError),
]


@pytest.mark.parametrize("case", REFUSED, ids=lambda c: c.id)
def test_a_refusal_has_its_class_and_its_delay(case: Refused, llmock: Llmock) -> None:
    llmock.script({"type": "fail", "status": case.status, "retry_after": 1.5})
    with pytest.raises(case.error) as caught:
        reply()
    assert caught.value.status == case.status  # type: ignore[attr-defined]
    if case.error is RateLimitError:
        assert caught.value.retry_after_s == 1.5  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", ["disconnect", "truncate", "malformed", "stall"])
def test_a_broken_stream_is_never_complete_and_keeps_its_text(kind: str, llmock: Llmock) -> None:
    llmock.script({"type": "stream_fault", "kind": kind, "after_chunks": 2, "stall_seconds": 5})
    with pytest.raises(StreamBrokenError) as caught:
        reply()
    assert caught.value.partial == caught.value.seen != ""  # type: ignore[attr-defined]
    llmock.notice()
    # llmock cannot see that the error was raised; it sees that the user asks again, as the hint says.
    assert reply().finish_reason is FinishReason.STOP
    # Its warning about a malformed line depends on whether it had sent the rest before we hung up.
    assert llmock.verdict()["passed"] if kind == "malformed" else llmock.verdict()["findings"] == []
