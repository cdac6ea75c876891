"""What the batch engine needs to know of a vendor: how a batch is made, looked at, found again, read and stopped.

One module for each vendor implements `BatchApi`; nothing else in the engine knows whose batch it is.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Literal, Protocol

from nbllm.adapters.body import BodyReader
from nbllm.errors import ProviderError

End = Literal["completed", "expired", "cancelled", "failed"]

_CUSTOM_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_VENDOR_ID = re.compile(r"[A-Za-z0-9_-]{1,200}")


@dataclass(frozen=True, slots=True)
class Limits:
    """What one batch may hold."""

    requests: int
    bytes: int
    """Of all requests, as they are written."""
    one_model: bool
    """Whether all requests must be to the same model."""


@dataclass(frozen=True, slots=True)
class BatchState:
    """How far a batch is."""

    id: str
    total: int | None = None
    done: int | None = None
    """Requests that came to an end, whichever. Anthropic counts them only when the whole batch has ended."""
    end: End | None = None
    """None while it runs."""
    files: tuple[str, ...] = ()
    """URLs of its results, answers first."""
    failure: Any = None
    """What the vendor says about a batch that failed as a whole: a payload as of an error's body."""
    queue_full: bool = False
    """Whether it failed only because too much is waiting already; nothing of it was done."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of results."""

    custom_id: str
    answer: Any = None
    """The body of the answer; None where there is none."""
    error: Any = None
    """The body of the error, when there is one."""
    status: int = 200
    """The HTTP status of that one request, where the vendor says it."""
    request_id: str | None = None
    left: Literal["expired", "cancelled"] | None = None
    """Why it was not even tried."""


@dataclass(frozen=True, slots=True)
class Mark:
    """What a batch can be recognised by when its id was lost."""

    text: str
    """Sent along where the vendor has a place for it."""
    since: datetime
    """It was not made before."""
    count: int
    """Requests in it."""
    others: frozenset[str] = frozenset()
    """Ids that are known to be other batches."""


@dataclass(frozen=True, slots=True)
class Found:
    """A batch that was made, or found again."""

    id: str
    sure: bool = True
    """False: it could also be somebody else's of the same size; its results will tell."""


class BatchApi(Protocol):
    """One vendor's batches, for one provider's row."""

    limits: ClassVar[Limits]
    decoder: ClassVar[type[BodyReader]]
    """What decodes an answer."""

    def line(self, custom_id: str, body: Mapping[str, Any]) -> bytes:
        """One request as it stands in a batch.

        Raises:
            ValueError, TypeError: The body cannot be written as JSON.
        """
        ...

    async def prepare(self, lines: Sequence[bytes]) -> str:
        """Bring the requests to the vendor, as far as that is not paid yet; gives what `create` needs of it.

        Raises:
            UnsupportedError: This server has no batches.
        """
        ...

    async def create(self, prepared: str, lines: Sequence[bytes], mark: Mark) -> str:
        """Make the batch, with one request and no second try; gives its id. From here on it costs.

        Raises:
            UnsupportedError: This server has no batches.
        """
        ...

    async def find(self, mark: Mark) -> Found | None:
        """Look for a batch whose id was lost among the latest ones. Not retried."""
        ...

    async def state(self, id: str) -> BatchState:
        """How far it is."""
        ...

    async def cancel(self, id: str) -> None:
        """Stop it. What is done by then is still paid, and can be fetched."""
        ...

    def read(self, row: Mapping[str, Any]) -> Line | None:
        """One decoded line of results; None when it is none."""
        ...


def custom_id(key: str) -> str:
    """What a cell is called inside a batch: its key, cut to the 64 characters that both vendors take.

    A key is 64 hexadecimal digits, so nothing is lost. Anthropic refuses longer ones
    (https://github.com/anthropics/anthropic-sdk-python/issues/984, read 2026-11-28) and takes letters, digits, `_`
    and `-`; OpenAI wants a text that is unique in its batch.
    """
    cut = key[:64]
    return cut if _CUSTOM_ID.fullmatch(cut) else hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def checked_id(value: Any, *, provider: str) -> str:
    """An id that a server gave, fit to stand in a path.

    Raises:
        ProviderError: It is none.
    """
    if isinstance(value, str) and _VENDOR_ID.fullmatch(value):
        return value
    raise ProviderError(
        f"{provider} answered without the id of a batch",
        hint="check the base URL: this may be another API",
        provider=provider,
        retryable=False,
    )


def count_of(value: Any) -> int | None:
    """A number of requests, from whatever stands there."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
