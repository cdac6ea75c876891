"""Earlier messages are sent again only as servers accept them."""

from __future__ import annotations

from chatting import calls, says, sent, talking
from nbllm.chat.history import sendable
from nbllm.chat.options import ChatOptions
from nbllm.messages import Message, Role, Text, ToolCall, ToolResult

CALL = ToolCall("call_1", "look", "{}")


def test_a_call_with_its_result_stays() -> None:
    said = (Message(Role.ASSISTANT, (CALL,)), Message(Role.TOOL, (ToolResult("call_1", "look", "ok"),)))
    assert sendable(said) == said


def test_a_call_without_a_result_is_left_out_and_an_empty_message_with_it() -> None:
    said = (Message.user("hi"), Message(Role.ASSISTANT, (Text("let me look"), CALL)), Message(Role.ASSISTANT, (CALL,)))
    assert sendable(said) == (Message.user("hi"), Message.assistant("let me look"))


def test_a_conversation_goes_on_after_a_turn_that_ended_in_a_tool_call() -> None:
    with talking(calls(("look", "{}"), finish="length"), says("fine")) as (workspace, server):
        workspace.chat("look", ChatOptions(model="peer/m"))
        workspace.chat("and now?", ChatOptions(model="peer/m"))

    assert [m["role"] for m in sent(server, 1)["messages"]] == ["user", "user"]
