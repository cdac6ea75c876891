"""OpenAI's batches, which compatible servers have too: a file of requests is uploaded, and worked off within a day.

Read 2026-11-28: https://developers.openai.com/api/docs/guides/batch and
https://developers.openai.com/api/reference/resources/batches

- `POST /files` with the purpose `batch`; JSONL of `custom_id`, `method`, `url`, `body`; at most 50,000 requests and
  200 MB; all to one model. Such a file goes by itself after 30 days.
- `POST /batches` with `input_file_id`, `endpoint`, `completion_window` (only `24h`) and `metadata` (16 pairs, values of
  512 characters), which the listing gives back: a batch whose id was lost is found by it.
- `GET /batches/ID`: `validating`, `failed`, `in_progress`, `finalizing`, `completed`, `expired`, `cancelling`,
  `cancelled`. The answers are in `output_file_id`, the errors in `error_file_id`, either may be missing, and both may
  be there after `expired` and `cancelled`.
- The order of the results is free. What was not done in time has the error `batch_expired`.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from nbllm.adapters.body import BodyReader
from nbllm.adapters.chunks import Answer
from nbllm.compare.engines.batch_api import BatchState, End, Found, Limits, Line, Mark, checked_id, count_of
from nbllm.compare.engines.batch_wire import Wire, json_bytes
from nbllm.errors import BadRequestError, ModelNotFoundError
from nbllm.foreign import one_line

_PATH = "/v1/chat/completions"
"""As it stands in the lines and in `endpoint`, whatever the path of the base URL."""
_MARK = "nbllm"
"""The name of our mark in the metadata."""
_PAGE = 100
_PAGES = 20
"""How far back a lost batch is looked for: 2,000 batches."""
_SKEW = timedelta(minutes=5)
"""By how much two clocks may differ."""

_ENDS: Mapping[str, End] = {
    "completed": "completed",
    "expired": "expired",
    "cancelled": "cancelled",
    "failed": "failed",
}
_LEFT: Mapping[str, Any] = {"batch_expired": "expired", "batch_cancelled": "cancelled"}


class OpenAIBatches:
    """See the module."""

    limits: ClassVar[Limits] = Limits(requests=50_000, bytes=200_000_000, one_model=True)
    decoder: ClassVar[type[BodyReader]] = Answer

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def line(self, custom_id: str, body: Mapping[str, Any]) -> bytes:
        """One line of the file."""
        row = {"custom_id": custom_id, "method": "POST", "url": _PATH, "body": body}
        return json_bytes(row) + b"\n"

    async def prepare(self, lines: Sequence[bytes]) -> str:
        """Upload the file, which costs nothing; gives its id."""
        boundary = f"nbllm{secrets.token_hex(16)}"
        body = (_form(boundary), *lines, f"\r\n--{boundary}--\r\n".encode())
        kind = f"multipart/form-data; boundary={boundary}"
        made = await self._wire.retried(
            lambda _: self._wire.once("POST", "/files", body=body, kind=kind, may_be_absent=True)
        )
        return checked_id(made.get("id"), provider=self._wire.provider)

    async def create(self, prepared: str, lines: Sequence[bytes], mark: Mark) -> str:
        """Make the batch; gives its id."""
        asked = {
            "input_file_id": prepared,
            "endpoint": _PATH,
            "completion_window": "24h",
            "metadata": {_MARK: mark.text},
        }
        try:
            made = await self._wire.once("POST", "/batches", body=(json_bytes(asked),), may_be_absent=True)
        except (BadRequestError, ModelNotFoundError) as error:
            # A file is not known everywhere at once: https://github.com/bespokelabsai/curator/issues/116
            error.retryable = error.retryable or "cannot find file" in (error.body or "").lower()
            raise
        return checked_id(made.get("id"), provider=self._wire.provider)

    async def find(self, mark: Mark) -> Found | None:
        """The batch that has our mark in its metadata."""
        after = ""
        for _ in range(_PAGES):
            page = await self._wire.once("GET", f"/batches?limit={_PAGE}{after}")
            rows = [row for row in _list(page.get("data")) if isinstance(row, dict)]
            for row in rows:
                if isinstance(row.get("metadata"), dict) and row["metadata"].get(_MARK) == mark.text:
                    return Found(checked_id(row.get("id"), provider=self._wire.provider))
            if not page.get("has_more") or not rows or all(_is_older(row, mark.since - _SKEW) for row in rows):
                return None
            after = f"&after={checked_id(rows[-1].get('id'), provider=self._wire.provider)}"
        return None

    async def state(self, id: str) -> BatchState:
        """How far it is."""
        row = await self._wire.get(f"/batches/{id}")
        counts = row.get("request_counts")
        counts = counts if isinstance(counts, dict) else {}
        end = _ENDS.get(str(row.get("status")))
        done, failed = count_of(counts.get("completed")), count_of(counts.get("failed"))
        return BatchState(
            id,
            total=count_of(counts.get("total")) or None,
            done=None if done is None else done + (failed or 0),
            end=end,
            files=tuple(self._files(row)) if end else (),
            failure=_failure(row) if end == "failed" else None,
            queue_full=end == "failed" and _is_queue_full(row),
        )

    def _files(self, row: Mapping[str, Any]) -> list[str]:
        names = [row[name] for name in ("output_file_id", "error_file_id") if row.get(name)]
        return [
            f"{self._wire.endpoint.base_url}/files/{checked_id(n, provider=self._wire.provider)}/content" for n in names
        ]

    async def cancel(self, id: str) -> None:
        """Stop it."""
        await self._wire.post(f"/batches/{id}/cancel")

    def read(self, row: Mapping[str, Any]) -> Line | None:
        """A line of the output file or of the error file."""
        name, response, error = row.get("custom_id"), row.get("response"), row.get("error")
        if not isinstance(name, str):
            return None
        if isinstance(error, dict) and error:
            return Line(name, error={"error": error}, left=_LEFT.get(str(error.get("code"))))
        if not isinstance(response, dict):
            return Line(name, error={"error": {"message": "neither an answer nor an error"}})
        status, sent = count_of(response.get("status_code")) or 200, response.get("request_id")
        known = sent if isinstance(sent, str) else None
        body = response.get("body")
        if 200 <= status < 300:
            return Line(name, answer=body, status=status, request_id=known)
        return Line(name, error=body, status=status, request_id=known)


def _form(boundary: str) -> bytes:
    """All of the form that stands before the lines (RFC 7578)."""
    return (
        f'--{boundary}\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
        f'--{boundary}\r\ncontent-disposition: form-data; name="file"; filename="nbllm.jsonl"\r\n'
        "content-type: application/jsonl\r\n\r\n"
    ).encode()


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _is_older(row: Mapping[str, Any], moment: datetime) -> bool:
    made = row.get("created_at")
    return isinstance(made, (int, float)) and datetime.fromtimestamp(made, UTC) < moment


def _problems(row: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    errors = row.get("errors")
    rows = errors.get("data") if isinstance(errors, dict) else errors
    return [r for r in _list(rows) if isinstance(r, dict)]


def _failure(row: Mapping[str, Any]) -> dict[str, Any]:
    """The first three things that were wrong, as one error."""
    problems = _problems(row)
    words = [_problem(p) for p in problems[:3]]
    if len(problems) > len(words):
        words.append(f"and {len(problems) - len(words):,} more")
    code = next((p["code"] for p in problems if isinstance(p.get("code"), str)), "batch_failed")
    return {"error": {"message": "; ".join(words) or "the batch failed, and no reason was given", "code": code}}


def _problem(problem: Mapping[str, Any]) -> str:
    words = one_line(problem.get("message") or problem.get("code") or "no reason", 200)
    line = count_of(problem.get("line"))
    return words if line is None else f"line {line}: {words}"


def _is_queue_full(row: Mapping[str, Any]) -> bool:
    # https://github.com/openai/openai-python/issues/2084: `token_limit_exceeded`, "try again once some batches ..."
    return any(p.get("code") == "token_limit_exceeded" for p in _problems(row))
