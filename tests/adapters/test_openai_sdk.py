"""What the adapter sends, held to the types of OpenAI's own SDK: a change of their API shows here first."""

from __future__ import annotations

import typing
from typing import Any

from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.chat.completion_create_params import CompletionCreateParamsStreaming
from pydantic import TypeAdapter

from chatting import talking
from nbllm.adapters import load_adapter
from nbllm.adapters.base import Endpoint
from nbllm.messages import ChatRequest, Image, Message, Tool, ToolCall, ToolResult
from nbllm.messages import Role as R

PNG = Image(b"\x89PNG\r\n\x1a\n", "image/png")
REQUEST = ChatRequest(
    "peer",
    "m",
    (
        Message.user("look", PNG),
        Message(R.ASSISTANT, (ToolCall("call_1", "area", '{"a": 1}'),)),
        Message(R.TOOL, (ToolResult("call_1", "area", "2"),)),
        Message.user("and?"),
    ),
    system="Be brief.",
    temperature=0.5,
    max_tokens=20,
    params={"top_p": 0.9, "stop": ["."], "seed": 3},
    tools=(Tool("area", "of a square", {"type": "object", "properties": {"a": {"type": "number"}}}),),
    tool_choice="auto",
    schema={"type": "object", "properties": {"x": {"type": "string"}}},
)


def _body() -> dict[str, Any]:
    with talking() as (workspace, _):
        endpoint = Endpoint(workspace.registry.get("peer"), None, workspace.http)
        return dict(load_adapter("openai").build(REQUEST, endpoint).body)


def test_every_field_of_a_request_is_one_that_their_sdk_knows() -> None:
    known = typing.get_type_hints(CompletionCreateParamsStreaming)
    assert set(_body()) - set(known) == set()


def test_the_values_of_a_request_fit_their_types() -> None:
    # Read as their TypedDict, in which a message list is lazily checked: dumped, it is whole.
    checked = TypeAdapter(CompletionCreateParamsStreaming).validate_python(_body())
    assert [m["role"] for m in checked["messages"]] == ["system", "user", "assistant", "tool", "user"]


def test_the_fields_that_are_read_of_an_answer_are_theirs() -> None:
    assert {"choices", "id", "model", "usage"} <= set(ChatCompletionChunk.model_fields) & set(
        ChatCompletion.model_fields
    )
