"""The Gemini adapter against a server that another party wrote, with its scripted faults."""

from __future__ import annotations

import asyncio
import json
import os
import urllib.request
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
from nbllm.messages import ChatRequest, FinishReason, Message, ReplyBuilder, Tool
from nbllm.providers.spec import ModelInfo, ProviderConfig, Timeouts
from nbllm.transport.http import Http

pytestmark = pytest.mark.peers

LLMOCK = os.environ.get("NBLLM_LLMOCK", "http://127.0.0.1:18420")
ROW = ProviderConfig(
    id="google",
    kind="gemini",
    base_url=f"{LLMOCK}/gemini/v1beta",
    auth="x-goog-api-key",
    timeout=Timeouts(first_token_s=5, between_tokens_s=0.5),
)
WEATHER = Tool("weather", "the weather", {"type": "object", "properties": {"city": {"type": "string"}}})
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def script(path: str, payload: dict[str, Any] | None = None) -> Any:
    data = None if payload is None else json.dumps(payload).encode()
    request = urllib.request.Request(f"{LLMOCK}/_llmock/{path}", data, {"content-type": "application/json"})
    with _DIRECT.open(request, timeout=5) as response:
        return json.loads(response.read() or b"null")


@pytest.fixture(autouse=True)
def fresh() -> None:
    """The server's script and record are global: each test begins with empty ones."""
    try:
        script("reset", {})
    except OSError:
        if os.environ.get("NBLLM_SHARED_REQUIRED") == "1":
            pytest.fail(f"llmock is not at {LLMOCK}, and in CI it must be there")
        pytest.skip("llmock is not running; the hand-made streams of tests/unit/adapters ran")


def with_endpoint(use: Callable[[GeminiAdapter, Endpoint], Any]) -> Any:
    async def go() -> Any:
        http = Http()
        try:
            return await use(GeminiAdapter(), Endpoint(ROW, Secret("any-key-at-all"), http))
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
def test_a_refusal_has_its_class_and_its_delay(case: Refused) -> None:
    script("scenario", {"behaviors": [{"type": "fail", "status": case.status, "retry_after": 1.5}]})
    with pytest.raises(case.error) as caught:
        reply()
    assert caught.value.status == case.status  # type: ignore[attr-defined]
    if case.error is RateLimitError:
        assert caught.value.retry_after_s == 1.5  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", ["disconnect", "truncate", "malformed", "stall"])
def test_a_broken_stream_is_never_complete_and_keeps_its_text(kind: str) -> None:
    fault = {"type": "stream_fault", "kind": kind, "after_chunks": 3, "stall_seconds": 2}
    script("scenario", {"behaviors": [fault]})
    with pytest.raises(StreamBrokenError) as caught:
        reply()
    assert caught.value.partial == caught.value.seen != ""  # type: ignore[attr-defined]
    # llmock cannot see that the error was raised; it sees that the user asks again, as the hint says.
    assert reply().finish_reason is FinishReason.STOP
    assert script("verdict")["passed"] is True
