"""How the next page of a listing is asked for, and when to stop.

The address of each page is made here from the first one. A server's word for it (`next`, `Link`) is not followed, so
no page leads to another host.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from nbllm.adapters.listing_rows import rows_at

PAGES_CAP = 100
"""More pages of one listing are not read."""


class Turner:
    """Turns the pages of one listing.

    Args:
        url: The first page, as the row or the kind has it.
        paging: `after_id`, `page_token`, `page`, or None for one page.
        path: Where the rows are.
    """

    def __init__(self, url: str, paging: str | None, path: str) -> None:
        self._url = url
        self._paging = paging
        self._path = path
        self._seen: set[str] = set()
        self._asked: set[str] = set()
        self._rows = 0
        self.pages = 0
        self.warning: str | None = None
        """Why it stopped before the end that the server named."""

    def first(self) -> str:
        """The address of the first page."""
        url = with_query(self._url, FIRST[self._paging]) if self._paging else self._url
        self._asked.add(url)
        return url

    def next(self, payload: Any) -> str | None:
        """The address of the page after this one; None at the end."""
        self.pages += 1
        if self._paging is None:
            return None
        new = self._count_new(payload)
        url = self._following(payload)
        if url is None:
            return None
        if not new or url in self._asked:
            self.warning = f"the listing says that there is more, but page {self.pages} brought nothing new"
            return None
        if self.pages >= PAGES_CAP:
            self.warning = f"only the first {PAGES_CAP} pages were read"
            return None
        self._asked.add(url)
        return url

    def _following(self, payload: Any) -> str | None:
        if self._paging is None or not isinstance(payload, Mapping):
            return None
        more = NEXT[self._paging](payload, self._rows)
        return None if more is None else with_query(self._url, {**FIRST[self._paging], **more})

    def _count_new(self, payload: Any) -> bool:
        """Whether this page has a row that no page before it had."""
        rows = rows_at(payload, self._path)
        if rows is None:
            rows = next((v for v in payload.values() if isinstance(v, list)), []) if isinstance(payload, dict) else []
        self._rows += len(rows)
        before = len(self._seen)
        self._seen.update(_mark(row) for row in rows)
        return len(self._seen) > before


def with_query(url: str, fields: Mapping[str, str]) -> str:
    """`url` with these fields in its query; those that are there already are replaced."""
    parts = urlsplit(url)
    query = {**dict(parse_qsl(parts.query, keep_blank_values=True)), **fields}
    return parts._replace(query=urlencode(query)).geturl() if query else url


def _mark(row: Any) -> str:
    """What tells a row from the others: its id or name, else all of it."""
    if isinstance(row, dict):
        for key in ("id", "name", "chute_id"):
            if isinstance(row.get(key), str):
                return str(row[key])
    return json.dumps(row, sort_keys=True)[:2000]


def _after_id(payload: Mapping[str, Any], rows: int) -> dict[str, str] | None:
    last = payload.get("last_id")
    return {"after_id": last} if payload.get("has_more") is True and isinstance(last, str) and last else None


def _page_token(payload: Mapping[str, Any], rows: int) -> dict[str, str] | None:
    token = payload.get("nextPageToken")
    return {"pageToken": token} if isinstance(token, str) and token else None


def _page(payload: Mapping[str, Any], rows: int) -> dict[str, str] | None:
    total, page = payload.get("total"), payload.get("page")
    if not all(isinstance(n, int) and not isinstance(n, bool) and 0 <= n < 10**9 for n in (total, page)):
        return None
    assert isinstance(total, int)
    assert isinstance(page, int)
    return {"page": str(page + 1)} if rows < total else None


FIRST: Mapping[str, dict[str, str]] = {"after_id": {"limit": "1000"}, "page_token": {"pageSize": "1000"}, "page": {}}
"""What the first page is asked for: the most that is allowed.
https://docs.claude.com/en/api/models-list, https://ai.google.dev/api/models (read 2026-11-20)"""
NEXT: Mapping[str, Callable[[Mapping[str, Any], int], dict[str, str] | None]] = {
    "after_id": _after_id,
    "page_token": _page_token,
    "page": _page,
}
