"""A cell's outcome as a reply, for scorers and for the totals of usage."""

from __future__ import annotations

from nbllm.compare.cells import Outcome
from nbllm.messages import ChatRequest, FinishReason, Reply


def reply_of(request: ChatRequest, outcome: Outcome) -> Reply:
    """The answer, as a chat would have given it."""
    params = {"temperature": request.temperature, "max_tokens": request.max_tokens, **request.params}
    return Reply(
        text=outcome.text,
        reasoning=outcome.reasoning,
        provider=request.provider,
        model=request.model,
        model_reported=outcome.model_reported,
        usage=outcome.usage,
        cost_usd=outcome.cost_usd,
        latency_ms=outcome.latency_ms,
        ttft_ms=outcome.ttft_ms,
        finish_reason=FinishReason(outcome.finish_reason or FinishReason.OTHER),
        params={k: v for k, v in params.items() if v is not None},
        request_id=outcome.request_id,
        replayed=outcome.replayed,
        base_url_host=outcome.host,
    )
