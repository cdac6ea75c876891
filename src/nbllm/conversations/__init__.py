"""The tree of messages behind each conversation, and where the next exchange goes."""

from nbllm.conversations.conversation import Conversation, Exchange
from nbllm.conversations.conversations import MAIN, Conversations, Turn

__all__ = ["MAIN", "Conversation", "Conversations", "Exchange", "Turn"]
