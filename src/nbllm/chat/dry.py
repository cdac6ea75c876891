"""What a question would send and cost, without sending it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from nbllm.chat.plan import Plan
from nbllm.messages import Usage, join_text
from nbllm.prices import Prices
from nbllm.usage import cost_usd, estimate_tokens

_LONG = 200
"""Characters of base64 that are worth showing; the rest is counted."""


@dataclass(frozen=True, slots=True)
class DryRun:
    """The request as it would be sent, without its key, and an estimate."""

    ref: str
    method: str
    url: str
    headers: Mapping[str, str]
    body: Mapping[str, Any]
    input_tokens: int
    """Estimated from the length of the text; attachments are not counted."""
    prompt_cost_usd: Decimal | None
    """None when the price is unknown."""
    max_cost_usd: Decimal | None
    """With the longest answer that `max_tokens` allows; None without `max_tokens` or without a price."""

    def __repr__(self) -> str:
        return self.to_text()

    def to_text(self) -> str:
        """For people."""
        headers = "".join(f"\n{k}: {v}" for k, v in self.headers.items())
        body = json.dumps(_shortened(self.body), ensure_ascii=False, indent=2)
        return (
            f"dry run of {self.ref}: nothing was sent\n{self.method} {self.url}{headers}\n{body}\n"
            f"about {self.input_tokens} tokens of prompt (estimate); {self._cost()}"
        )

    def _cost(self) -> str:
        if self.prompt_cost_usd is None:
            return "cost unknown (no price)"
        if self.max_cost_usd is None:
            return f"about {self.prompt_cost_usd:.6f} USD for the prompt; the answer's length is open"
        return f"at most about {self.max_cost_usd:.6f} USD"


def dry_run(plan: Plan, known: Sequence[Prices] = ()) -> DryRun:
    """Describe what `plan` would send; `known` are the prices as `nbllm.usage.cost` wants them.

    Raises:
        UnsupportedError: The wire format cannot carry something that was asked for.
    """
    wire = plan.adapter.build(plan.request, plan.endpoint)
    prompt = "\n".join(filter(None, (plan.request.system, join_text(plan.request.messages))))
    tokens = estimate_tokens(prompt)
    limit = plan.request.max_tokens

    def cost(output: int) -> Decimal | None:
        usage = Usage(input_tokens=tokens, output_tokens=output, source="estimate")
        return cost_usd(plan.endpoint.provider, plan.request.model, usage, known=known)

    return DryRun(
        ref=plan.request.ref,
        method=wire.method,
        url=wire.url,
        headers=wire.headers,
        body=wire.body,
        input_tokens=tokens,
        prompt_cost_usd=cost(0),
        max_cost_usd=None if limit is None else cost(limit),
    )


def _shortened(value: Any) -> Any:
    """Long base64 is counted, not shown; text is shown whole."""
    if isinstance(value, Mapping):
        return {k: _shortened(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_shortened(v) for v in value]
    if isinstance(value, str) and len(value) > _LONG and " " not in value and "\n" not in value:
        return f"{value[:60]}... ({len(value)} characters)"
    return value
