"""From a line of results to what came of a cell: read as a live answer is, and priced at the batch's price."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

from nbllm.adapters.bodies import error_from_payload, error_from_response
from nbllm.adapters.whole import read_whole
from nbllm.compare.cells import CellSpec, Outcome
from nbllm.compare.engines.batch_api import BatchApi, End, Line
from nbllm.credentials.redaction import redact
from nbllm.errors import AuthenticationError, NbllmError, ProviderError, RateLimitError, ServerError
from nbllm.foreign import one_line
from nbllm.messages import Usage
from nbllm.providers.spec import ProviderConfig
from nbllm.usage import Cost

ERROR_LENGTH = 600
"""Characters of an error that are kept with a cell."""

DISCOUNTS: Mapping[str, Decimal] = {
    # https://developers.openai.com/api/docs/pricing: "50 % off" for the Batch API (read 2026-11-28)
    "api.openai.com": Decimal("0.5"),
    # https://platform.claude.com/docs/en/build-with-claude/batch-processing#pricing (read 2026-11-28)
    "api.anthropic.com": Decimal("0.5"),
}
"""By host: what a batch costs as a part of the list price, where that is documented."""

PriceOf = Callable[[ProviderConfig, str, Usage], Cost | None]
"""The list price of an answer of a model."""


def discount(provider: ProviderConfig) -> Decimal | None:
    """What a batch costs as a part of the list price; None when it is not known, so that the cost is not either."""
    return DISCOUNTS.get(urlsplit(provider.base_url).hostname or "")


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Makes outcomes of one batch."""

    api: BatchApi
    provider: ProviderConfig
    batch: str
    """The batch's id."""
    since: str
    """When it was made."""
    price: PriceOf

    def of_line(self, line: Line, spec: CellSpec) -> Outcome:
        """What came of a cell, from its line."""
        if line.left is not None:
            return self.left(spec, line.left)
        try:
            if line.error is not None:
                raise self._error(line, spec)
            return self._answer(line, spec)
        except NbllmError as error:
            return self.failed(spec, error)

    def _answer(self, line: Line, spec: CellSpec) -> Outcome:
        headers = {"x-request-id": one_line(line.request_id, 120)} if line.request_id else {}
        built = read_whole(self.api.decoder, line.answer, spec.request, self.provider, headers=_ascii(headers))
        usage = built.usage or Usage()
        cost, version = self._cost(spec.request.model, usage)
        return Outcome(
            spec.key,
            "ok",
            self.since,
            text=built.text,
            reasoning=built.reasoning,
            finish_reason=None if built.finish_reason is None else built.finish_reason.value,
            model_reported=built.model_reported,
            usage=usage,
            cost_usd=cost,
            price_version=version,
            request_id=built.request_id,
            host=self._host,
        )

    def _cost(self, model: str, usage: Usage) -> tuple[Decimal | None, str | None]:
        part = discount(self.provider)
        cost = None if part is None else self.price(self.provider, model, usage)
        return (None, None) if part is None or cost is None else (cost.usd * part, f"{cost.source}, batch {part}")

    def _error(self, line: Line, spec: CellSpec) -> ProviderError:
        facts: dict[str, Any] = {"provider": self.provider.id, "headers": {}, "model": spec.request.model}
        if line.status >= 300:
            body = json.dumps(line.error).encode("ascii")
            error = error_from_response(status=line.status, body=body, **facts)
        else:
            error = error_from_payload(line.error, **facts)
        error.request_id = error.request_id or line.request_id
        return error

    def failed(self, spec: CellSpec, error: NbllmError) -> Outcome:
        """An error in the place of an answer."""
        request_id = error.request_id if isinstance(error, ProviderError) else None
        return Outcome(
            spec.key,
            "error",
            self.since,
            error_type=type(error).__name__,
            error=one_line(redact(str(error)), ERROR_LENGTH),
            refused=isinstance(error, AuthenticationError),
            request_id=None if request_id is None else one_line(request_id, 120),
            host=self._host,
        )

    def left(self, spec: CellSpec, why: str) -> Outcome:
        """For a request that the batch did not come to."""
        again = "`--retry-errors` asks again"
        provider = self.provider.id
        if why == "cancelled":
            words = f"batch {self.batch} was cancelled before this was answered"
            return self.failed(spec, ProviderError(words, hint=again, provider=provider))
        words = f"batch {self.batch} expired before this was answered"
        return self.failed(spec, ServerError(words, hint=again, provider=provider))

    def without(self, spec: CellSpec, end: End | None, *, gone: bool = False) -> Outcome:
        """For a request that is in none of the results of a batch with this end; `gone`: some are not there."""
        if gone:
            return self.gone(spec)
        if end in ("expired", "cancelled"):
            return self.left(spec, end)
        words = f"batch {self.batch} ended without an answer to this"
        return self.failed(spec, ServerError(words, hint="`--retry-errors` asks again", provider=self.provider.id))

    def gone(self, spec: CellSpec) -> Outcome:
        """For a request of a batch that the vendor does not know any more."""
        words = f"{self.provider.id} no longer has batch {self.batch} or its results"
        return self.failed(spec, ServerError(words, hint="`--retry-errors` asks again", provider=self.provider.id))

    def of_failed_batch(self, spec: CellSpec, failure: Any, *, queue_full: bool) -> Outcome:
        """For a request of a batch that failed as a whole."""
        if queue_full:
            words = f"batch {self.batch} does not fit into what {self.provider.id} lets wait"
            return self.failed(
                spec, RateLimitError(words, hint="see your batch queue limit", provider=self.provider.id)
            )
        line = Line("", error=failure)
        return self.failed(spec, self._error(line, spec))

    @property
    def _host(self) -> str | None:
        return urlsplit(self.provider.base_url).hostname


def _ascii(headers: Mapping[str, str]) -> dict[str, str]:
    """Headers that can be headers: those of a file of results may hold anything."""
    return {name: value.encode("ascii", "replace").decode("ascii") for name, value in headers.items()}
