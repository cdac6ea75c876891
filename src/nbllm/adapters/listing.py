"""A provider's model listing: asked for, all pages of it, and read in the shape that its row describes.

`ask_listing` is the way to one. What stands where is decided in `listing_rows`, in the notation of `listing_fields`;
prices and types have modules of their own, and the second listing has `listing_join`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from nbllm.adapters import load_adapter
from nbllm.adapters.bodies import error_from_payload, error_from_response, error_in_body
from nbllm.adapters.listing_fields import get_path
from nbllm.adapters.listing_join import second_row
from nbllm.adapters.listing_pages import Turner
from nbllm.adapters.listing_rows import MODELS_CAP, Reading, no_listing, read_listing, read_pages, rows_at
from nbllm.credentials.redaction import without_key
from nbllm.errors import NbllmError
from nbllm.providers.spec import ModelInfo, ProviderConfig
from nbllm.transport.retry import NEVER, RetryPolicy, retrying

if TYPE_CHECKING:
    from nbllm.adapters.base import Endpoint
    from nbllm.transport.http import Fetched

__all__ = ["MODELS_CAP", "Asking", "Listed", "ask_listing", "ask_pages", "get_path", "read_listing"]

TIMEOUT_S = 20.0
"""Seconds for each page, unless somebody says otherwise."""
RETRIES = RetryPolicy(attempts=3, max_wait_s=15.0)
"""A listing is not worth a minute: with 170 providers the slowest decides how long everybody waits."""
_DEPTH = 64
"""Levels of lists and objects; listings seen have at most six."""
_DIGITS = 100
"""Of a whole number. Python reads 4,300: https://docs.python.org/3/library/stdtypes.html#int-max-str-digits"""
_LARGE = 100_000
"""Bytes from which a listing is read beside the event loop, so that the others are not held up."""


@dataclass(frozen=True, slots=True)
class Listed:
    """What a provider answered when it was asked for its models."""

    models: tuple[ModelInfo, ...]
    """In the provider's order, each id once: of rows with the same id the first counts."""
    pages: tuple[Any, ...] = ()
    """The JSON as it came, first page first. Empty when the adapter gives only models."""
    joined: tuple[Any, ...] = ()
    """The pages of the second listing."""
    warnings: tuple[str, ...] = ()
    """Sentences for people: rows that were refused, facts that are missing."""
    etag: str | None = None
    """Of a listing that is one page."""
    last_modified: str | None = None
    date: str | None = None
    """The `Date` header of the first page."""
    not_modified: bool = False
    """Nothing has changed since the `etag` or `last_modified` that was sent: `models` is empty, the known ones hold."""
    ids: tuple[str, ...] = ()
    """The id of each row that is a model, with those that come again: what a plain list shows, and its count."""
    row_count: int = 0
    """All rows, also those that are no models and those that were refused."""


@dataclass(frozen=True, slots=True)
class Asking:
    """How a listing is asked for."""

    etag: str | None = None
    """Of the listing that is known; a server that has the same may answer 304."""
    last_modified: str | None = None
    timeout_s: float = 10.0
    """Seconds for each page and each attempt."""
    policy: RetryPolicy = NEVER
    bypass: bool = True
    """A user's own test: neither limits nor the breaker stop it."""


@dataclass(frozen=True, slots=True)
class _Page:
    payload: Any
    headers: Mapping[str, str]
    size: int
    not_modified: bool = False


@dataclass(slots=True)
class _Pages:
    """Pages as they come."""

    payloads: list[Any] = field(default_factory=list)
    first: _Page | None = None
    size: int = 0
    warning: str | None = None


async def ask_listing(
    endpoint: Endpoint, *, etag: str | None = None, last_modified: str | None = None, timeout_s: float | None = None
) -> Listed:
    """Ask a provider for its models, all pages and the second listing, with the adapter of its kind.

    Failures that may pass are tried again, at most twice.

    Args:
        endpoint: The provider, its key, and the way there.
        etag: Of the listing that is known; a server that has the same may answer `not_modified`.
        last_modified: As the server wrote it.
        timeout_s: Seconds for each page and each attempt. None: 20.

    Raises:
        ProviderError: It could not be had, or is not a listing.
    """
    adapter = load_adapter(endpoint.provider.kind)
    ask = getattr(adapter, "ask_listing", None)
    if ask is None:  # an installed adapter that has only what the protocol asks for
        models = tuple(await adapter.list_models(endpoint))
        return Listed(models, ids=tuple(m.id for m in models), row_count=len(models))
    asking = Asking(etag, last_modified, TIMEOUT_S if timeout_s is None else timeout_s, RETRIES, bypass=False)
    listed: Listed = await ask(endpoint, asking)
    return listed


async def ask_pages(
    endpoint: Endpoint,
    url: str,
    asking: Asking,
    *,
    paging: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Listed:
    """Ask for the listing at `url`, to its last page, and for the second one where the row names it.

    Args:
        endpoint: The provider, its key, and the way there.
        url: The first page.
        asking: How.
        paging: How the kind pages, when the row does not say.
        headers: Of each request, beside the row's own; nothing secret.

    Raises:
        ProviderError: It could not be had, or is not a listing. Half a listing is none: also when a later page fails.
    """
    provider = endpoint.provider
    shape = provider.listing
    turner = Turner(url, shape.paging or paging, shape.path)
    pages = _Pages()
    async for page in _turned(endpoint, turner, asking, headers, pages):
        if page.not_modified:
            return Listed((), not_modified=True, etag=asking.etag, last_modified=asking.last_modified,
                          date=page.headers.get("date"))  # fmt: skip
    joined, missing = await _second(endpoint, asking)
    assert pages.first is not None
    top = pages.first.headers
    read = _reading(pages, provider, joined, _day(top.get("date")))
    reading = await asyncio.to_thread(read) if pages.size > _LARGE else read()
    alone = len(pages.payloads) == 1 and shape.join_url is None
    return Listed(
        reading.models,
        pages=tuple(pages.payloads),
        joined=tuple(joined),
        warnings=tuple(w for w in (pages.warning, *reading.warnings, *missing) if w),
        etag=top.get("etag") if alone else None,
        last_modified=top.get("last-modified") if alone else None,
        date=top.get("date"),
        ids=reading.ids,
        row_count=reading.row_count,
    )


def _reading(pages: _Pages, provider: ProviderConfig, joined: list[Any], day: str) -> Callable[[], Reading]:
    return lambda: read_pages(pages.payloads, provider, joined=joined, day=day)


def _day(header: str | None) -> str:
    """The day on which an answer was given, by the server's clock, else by ours."""
    with contextlib.suppress(ValueError, TypeError, IndexError, OverflowError):
        if header:
            return parsedate_to_datetime(header).astimezone(UTC).date().isoformat()
    return datetime.now(UTC).date().isoformat()


async def _second(endpoint: Endpoint, asking: Asking) -> tuple[list[Any], list[str]]:
    """The pages of the second listing, and what to say when they could not be had."""
    shape = endpoint.provider.listing
    if shape.join_url is None or shape.join_on is None:
        return [], []
    row, with_key = second_row(endpoint.provider)
    other = replace(endpoint, provider=row, key=endpoint.key if with_key else None)
    turner = Turner(shape.join_url, shape.join_paging, shape.join_path)
    pages = _Pages()
    plain = replace(asking, etag=None, last_modified=None)
    try:
        async for page in _turned(other, turner, plain, None, pages):
            if rows_at(page.payload, shape.join_path) is None:
                raise no_listing(row, f"it has no {shape.join_path}")
    except NbllmError as exc:
        came = [page for page in pages.payloads if rows_at(page, shape.join_path) is not None]
        return came, [f"the second listing failed, so some facts are missing: {exc.message}"]
    return pages.payloads, [pages.warning] if pages.warning else []


async def _turned(
    endpoint: Endpoint, turner: Turner, asking: Asking, headers: Mapping[str, str] | None, pages: _Pages
) -> AsyncIterator[_Page]:
    """Each page as it comes; they are also kept in `pages`."""
    url: str | None = turner.first()
    while url is not None:
        page = await _page(endpoint, url, asking, headers, first=not pages.payloads)
        pages.first = pages.first or page
        pages.payloads.append(page.payload)
        pages.size += page.size
        yield page
        url = None if page.not_modified else turner.next(page.payload)
    pages.warning = turner.warning


async def _page(
    endpoint: Endpoint, url: str, asking: Asking, headers: Mapping[str, str] | None, *, first: bool
) -> _Page:
    """One page, asked for as often as the policy allows."""
    known = {"if-none-match": asking.etag, "if-modified-since": asking.last_modified} if first else {}
    conditions = {name: value for name, value in known.items() if value}

    async def attempt(number: int) -> AsyncIterator[_Page]:
        fetched = await endpoint.http.fetch(
            "GET",
            url,
            provider=endpoint.provider,
            key=endpoint.key,
            headers={"accept": "application/json", **(headers or {}), **conditions},
            timeout_s=asking.timeout_s,
        )
        if fetched.status == 304 and conditions:
            yield _Page(None, fetched.headers, 0, not_modified=True)
        else:
            yield await _decoded(fetched, endpoint)

    gate = endpoint.http.gate(endpoint.provider)
    answers = retrying(attempt, policy=asking.policy, gate=gate, bypass=asking.bypass)
    async with contextlib.aclosing(answers) as pages:
        return await anext(pages)


async def _decoded(fetched: Fetched, endpoint: Endpoint) -> _Page:
    """The answer as JSON. The status comes first: an error body is never a catalogue.

    A server may send the key back in a row; lists are kept, shown and written to files, so it is taken out first.

    Raises:
        ProviderError: It is an error, or no JSON.
    """
    provider = endpoint.provider
    if not 200 <= fetched.status < 300:
        raise error_from_response(
            provider=provider.id, status=fetched.status, headers=fetched.headers, body=fetched.body, model=None
        )
    body = fetched.body if endpoint.key is None else without_key(fetched.body, endpoint.key.reveal())
    payload = await asyncio.to_thread(_parsed, body, provider) if len(body) > _LARGE else _parsed(body, provider)
    if error_in_body(payload) or (isinstance(payload, dict) and payload.get("success") is False):
        raise error_from_payload(
            payload, provider=provider.id, headers=fetched.headers, model=None, status=fetched.status
        )
    return _Page(payload, fetched.headers, len(body))


def _parsed(body: bytes, provider: ProviderConfig) -> Any:
    start = body[:1000].lstrip()
    try:
        payload = json.loads(body, parse_int=_whole)
    except UnicodeDecodeError:
        why = "it is not UTF-8"
    except RecursionError:
        why = "it is nested too deeply"
    except ValueError:
        why = "it is empty" if not start else "it is a web page" if start[:1] == b"<" else "it is not JSON"
    else:
        if not _is_deep(payload):
            return payload
        why = "it is nested too deeply"
    raise no_listing(provider, why)


def _whole(digits: str) -> int | None:
    """A whole number; None for one that is longer than Python reads: one row's nonsense is not the list's end."""
    return int(digits) if len(digits) <= _DIGITS else None


def _is_deep(payload: Any) -> bool:
    """Whether it is nested beyond what a listing needs; writing it again might exceed Python's recursion limit."""
    level: list[Any] = [payload] if isinstance(payload, dict | list) else []
    for _ in range(_DEPTH):
        inner = (v for outer in level for v in (outer.values() if isinstance(outer, dict) else outer))
        level = [v for v in inner if isinstance(v, dict | list)]
        if not level:
            return False
    return True
