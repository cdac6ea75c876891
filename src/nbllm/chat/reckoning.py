"""Tokens of a request and of its answer, where nobody has counted them."""

from __future__ import annotations

from nbllm.messages import ChatRequest, Usage, join_text
from nbllm.providers.spec import ProviderConfig
from nbllm.reply_builder import ReplyBuilder
from nbllm.usage import estimate_tokens


def prompt_text(request: ChatRequest) -> str:
    """All text that goes along with a request."""
    return "\n".join(filter(None, (request.system, join_text(request.messages))))


def usage_of(builder: ReplyBuilder, request: ChatRequest) -> Usage:
    """What the provider counted; where it did not count, an estimate that says so."""
    return builder.usage or Usage(
        input_tokens=estimate_tokens(prompt_text(request)),
        output_tokens=estimate_tokens(builder.text + builder.reasoning),
        source="estimate",
    )


def tokens_for_limit(request: ChatRequest, provider: ProviderConfig) -> int:
    """Tokens that the request may take, for a provider with a limit on them; 0 where there is none."""
    if provider.rate_limit.tokens_per_minute is None:
        return 0
    return estimate_tokens(join_text(request.messages)) + (request.max_tokens or 0)
