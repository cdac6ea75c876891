"""The shortest way to store an exchange and to see what is stored."""

from __future__ import annotations

from typing import Any

from nbllm.conversations import Conversations
from nbllm.messages import ChatRequest, FinishReason, Message, Reply
from nbllm.store import Store


def say(store: Store, text: str, *, name: str = "notes", kernel: str = "k", **options: Any) -> str:
    """One exchange; the id of its answer."""
    conversations = Conversations(store, kernel=kernel)
    turn = conversations.begin(name, **options)
    question, answer = Message.user(text), Message.assistant(f"re: {text}")
    request = ChatRequest("demo", "guide", (*turn.messages, question))
    return conversations.commit(
        turn, request, [question, answer], Reply(answer.text, "demo", "guide", FinishReason.STOP)
    )


def said(store: Store, *, name: str = "notes", kernel: str = "k") -> list[str]:
    """What the user said on the way to the head."""
    return [e.prompt for e in Conversations(store, kernel=kernel).get(name)]
