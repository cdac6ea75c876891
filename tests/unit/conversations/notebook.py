"""A notebook without a kernel: cells that ask, and a model that answers with a digest of what it was sent."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

from nbllm.conversations import Conversations, Turn
from nbllm.messages import ChatRequest, FinishReason, Message, Reply, Usage

Respond = Callable[[ChatRequest], str]


def digest(request: ChatRequest) -> str:
    """An answer that differs whenever the request does, and never otherwise."""
    return hashlib.sha256(request.key().encode()).hexdigest()[:8]


def request_for(turn: Turn, *messages: Message, **fields: Any) -> ChatRequest:
    return ChatRequest("demo", "guide", (*turn.messages, *messages), **fields)


def reply_of(text: str, **fields: Any) -> Reply:
    known: dict[str, Any] = {"provider": "demo", "model": "guide", "finish_reason": FinishReason.STOP}
    return Reply(text, **(known | {"usage": Usage(input_tokens=3, output_tokens=5)} | fields))


def ask(conversations: Conversations, prompt: str, *, respond: Respond = digest, **options: Any) -> list[str]:
    """One question; the texts of what was sent."""
    turn = conversations.begin(**options)
    question = Message.user(prompt)
    request = request_for(turn, question)
    answer = respond(request)
    conversations.commit(turn, request, [question, Message.assistant(answer)], reply_of(answer))
    return texts(request.messages)


def texts(messages: Sequence[Message]) -> list[str]:
    return [m.text for m in messages]
