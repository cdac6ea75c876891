"""Anthropic's message batches: all requests in one body, and results as lines once the last of them has ended.

Read 2026-11-28: https://platform.claude.com/docs/en/build-with-claude/batch-processing and
https://platform.claude.com/docs/en/api/messages/batches

- `POST /v1/messages/batches` with `requests`, each of `custom_id` and `params`; at most 100,000 and 256 MB. Models may
  be mixed. `stream` is not among the parameters that a batch takes.
- `GET /v1/messages/batches/ID`: `in_progress`, `canceling`, `ended`. `request_counts` has everything under
  `processing` until the whole batch has ended; the sum is always the number of requests.
- `results_url` is there once it has ended, and for 29 days after it was made. The order of the results is free; each is
  `succeeded`, `errored`, `canceled` or `expired` (after 24 hours). Only what succeeded is paid.
- A batch carries nothing of ours but the `custom_id`s, which can be read only when it has ended. One whose id was lost
  is therefore looked for by its size and the time at which it was made, and recognised by its results.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from nbllm.adapters.anthropic import VERSION
from nbllm.adapters.blocks import Answer
from nbllm.adapters.body import BodyReader
from nbllm.compare.engines.batch_api import BatchState, Found, Limits, Line, Mark, checked_id, count_of
from nbllm.compare.engines.batch_wire import Wire, json_bytes
from nbllm.errors import ProviderError

HEADERS = {"anthropic-version": VERSION}

_PATH = "/v1/messages/batches"
_PAGE = 100
_PAGES = 20
"""How far back a lost batch is looked for: 2,000 batches."""
_BEFORE = timedelta(minutes=5)
"""By how much two clocks may differ."""
_AFTER = timedelta(hours=1)
"""How long the upload of a batch may have taken."""
_LEFT: Mapping[str, Any] = {"expired": "expired", "canceled": "cancelled"}


class AnthropicBatches:
    """See the module. The wire must send `HEADERS`."""

    limits: ClassVar[Limits] = Limits(requests=100_000, bytes=256_000_000, one_model=False)
    decoder: ClassVar[type[BodyReader]] = Answer

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def line(self, custom_id: str, body: Mapping[str, Any]) -> bytes:
        """One of the requests, with the comma that stands before the next."""
        return json_bytes({"custom_id": custom_id, "params": body}) + b","

    async def prepare(self, lines: Sequence[bytes]) -> str:
        """Nothing: the requests travel with the batch itself."""
        return ""

    async def create(self, prepared: str, lines: Sequence[bytes], mark: Mark) -> str:
        """Make the batch; gives its id."""
        body = (b'{"requests":[', *lines[:-1], lines[-1].removesuffix(b","), b"]}")
        made = await self._wire.once("POST", _PATH, body=body, may_be_absent=True)
        return checked_id(made.get("id"), provider=self._wire.provider)

    async def find(self, mark: Mark) -> Found | None:
        """The batch of this size whose beginning is nearest; its results must show that it is ours."""
        nearest: tuple[timedelta, str] | None = None
        after = ""
        for _ in range(_PAGES):
            page = await self._wire.once("GET", f"{_PATH}?limit={_PAGE}{after}")
            rows = [row for row in page.get("data") or [] if isinstance(row, dict)]
            for row in rows:
                made = _moment(row.get("created_at"))
                if made is not None and _fits(row, made, mark):
                    distance = (abs(made - mark.since), checked_id(row.get("id"), provider=self._wire.provider))
                    nearest = min(nearest or distance, distance)
            last = _moment(rows[-1].get("created_at")) if rows else None
            # The newest come first.
            if not page.get("has_more") or not rows or (last is not None and last < mark.since - _BEFORE):
                break
            after = f"&after_id={checked_id(rows[-1].get('id'), provider=self._wire.provider)}"
        return None if nearest is None else Found(nearest[1], sure=False)

    async def state(self, id: str) -> BatchState:
        """How far it is."""
        row = await self._wire.get(f"{_PATH}/{id}")
        counts = _counts(row)
        ended = row.get("processing_status") == "ended"
        return BatchState(
            id,
            total=sum(counts.values()) or None,
            done=sum(n for name, n in counts.items() if name != "processing") if counts else None,
            end="completed" if ended else None,
            files=(self._results_url(row),) if ended else (),
        )

    def _results_url(self, row: Mapping[str, Any]) -> str:
        url = row.get("results_url")
        if isinstance(url, str) and url:
            return url
        raise ProviderError(
            f"{self._wire.provider} no longer has the results of this batch",
            hint="results are kept for 29 days; ask again with `--retry-errors`",
            provider=self._wire.provider,
            status=404,
            retryable=False,
        )

    async def cancel(self, id: str) -> None:
        """Stop it."""
        await self._wire.post(f"{_PATH}/{id}/cancel")

    def read(self, row: Mapping[str, Any]) -> Line | None:
        """One result."""
        name, result = row.get("custom_id"), row.get("result")
        if not isinstance(name, str):
            return None
        result = result if isinstance(result, dict) else {}
        kind = str(result.get("type"))
        if kind == "succeeded":
            return Line(name, answer=result.get("message"))
        if kind in _LEFT:
            return Line(name, left=_LEFT[kind])
        error = result.get("error") or {"error": {"message": "neither an answer nor an error"}}
        sent = error.get("request_id") if isinstance(error, dict) else None
        return Line(name, error=error, request_id=sent if isinstance(sent, str) else None)


def _counts(row: Mapping[str, Any]) -> dict[str, int]:
    counts = row.get("request_counts")
    found = {name: count_of(n) for name, n in counts.items()} if isinstance(counts, dict) else {}
    return {name: n for name, n in found.items() if n is not None}


def _fits(row: Mapping[str, Any], made: datetime, mark: Mark) -> bool:
    in_time = mark.since - _BEFORE <= made <= mark.since + _AFTER
    return in_time and sum(_counts(row).values()) == mark.count and row.get("id") not in mark.others


def _moment(text: Any) -> datetime | None:
    """A moment of RFC 3339."""
    try:
        found = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
