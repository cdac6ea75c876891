"""Asking a vendor about batches: small JSON answers, long uploads, and results of hundreds of megabytes.

Only the row's own origin is asked. Retries are those of `nbllm.transport.retry`. Results are taken to a temporary
file first and read from there: keeping a cell on the disk takes longer than fetching it, and a vendor does not keep a
connection open for so long.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random as random_
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from typing import IO, Any, TypeVar

from nbllm.adapters.base import Endpoint
from nbllm.adapters.reading import refusal
from nbllm.errors import NbllmError, ProviderError, RedirectError, StreamBrokenError, UnreachableError, UnsupportedError
from nbllm.providers.spec import Timeouts
from nbllm.providers.urls import origin_of
from nbllm.transport.http import Fetched, read_capped
from nbllm.transport.retry import RetryPolicy, Sleep, retrying
from nbllm.transport.sse import LISTING_CAP

T = TypeVar("T")

FILE_CAP = 4_000_000_000
"""Bytes of one file of results: 50,000 answers of 80 kB."""
LINE_CAP = 16_000_000
"""Bytes of one line of results."""
_IN_MEMORY = 8_000_000
"""Bytes of results that are not worth a file."""
_PIECE = 262_144
"""Bytes of an upload that the network takes at a time."""
_ABSENT = frozenset({404, 405, 501})

POLICY = RetryPolicy(attempts=4, max_wait_s=60.0)
_PROMPT = Timeouts(connect_s=10.0, first_token_s=60.0, between_tokens_s=60.0)
_PATIENT = Timeouts(connect_s=10.0, first_token_s=600.0, between_tokens_s=120.0)
"""A vendor that was sent 200 MB reads it before it answers."""


class Wire:
    """The way to one provider's batches.

    Args:
        endpoint: The row, the key, and the way there.
        headers: Sent with every request; nothing secret.
        sleep: How to wait between attempts.
        random: From 0 to 1.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        headers: Mapping[str, str] | None = None,
        sleep: Sleep = asyncio.sleep,
        random: Callable[[], float] = random_.random,
    ) -> None:
        self.endpoint = endpoint
        self._headers = dict(headers or {})
        self._sleep = sleep
        self._random = random

    @property
    def provider(self) -> str:
        """The row's id."""
        return self.endpoint.provider.id

    async def retried(self, attempt: Callable[[int], Awaitable[T]]) -> T:
        """The result of `attempt`, called with its number, after as many failed ones as the policy allows."""

        async def items(number: int) -> AsyncIterator[T]:
            yield await attempt(number)

        gate = self.endpoint.http.gate(self.endpoint.provider)
        asked = retrying(items, policy=POLICY, gate=gate, sleep=self._sleep, random=self._random)
        async with contextlib.aclosing(asked):
            return await anext(asked)

    async def get(self, path: str) -> dict[str, Any]:
        """A JSON object below the base URL, retried."""
        return await self.retried(lambda _: self.once("GET", path))

    async def post(self, path: str) -> dict[str, Any]:
        """A request that may be sent twice without harm, retried."""
        return await self.retried(lambda _: self.once("POST", path, body=()))

    async def once(
        self, method: str, path: str, *, body: Sequence[bytes] | None = None, kind: str = "application/json",
        may_be_absent: bool = False,
    ) -> dict[str, Any]:  # fmt: skip
        """One request, and its answer as a JSON object.

        Args:
            method: `GET` or `POST`.
            path: Below the base URL.
            body: Pieces that are sent one after the other.
            kind: The content type of `body`.
            may_be_absent: Whether a server without batches answers 404 here.

        Raises:
            UnsupportedError: It is absent.
            ProviderError: The answer is an error, or no JSON object.
        """
        headers = dict(self._headers)
        if body is not None:
            headers |= {"content-type": kind, "content-length": str(sum(map(len, body)))}
        provider = self.endpoint.provider
        failure: NbllmError
        try:
            async with self.endpoint.http.stream(
                method, self.endpoint.base_url + path, provider=provider, key=self.endpoint.key,
                content=None if body is None else _pieces(body), headers=headers,
                timeout=_PATIENT if body else _PROMPT,
            ) as response:  # fmt: skip
                if not response.is_success:
                    raise self._told(await refusal(response, self.endpoint, model=None), may_be_absent)
                answer = await read_capped(response, LISTING_CAP, provider=provider.id)
                return _object(Fetched(response.status_code, dict(response.headers), answer, provider.id))
        except StreamBrokenError as exc:  # nothing of it is of use: as if it had not come
            failure = UnreachableError(exc.message, phase="closed", hint=exc.hint, provider=provider.id)
        raise failure

    def _told(self, error: ProviderError, may_be_absent: bool) -> ProviderError:
        if not may_be_absent or error.status not in _ABSENT:
            return error
        return UnsupportedError(
            f"{self.provider} has no batches ({error.status})",
            hint="ask it with the local engine: `--engine local`",
            provider=self.provider,
            status=error.status,
            request_id=error.request_id,
            body=error.body,
        )

    @contextlib.asynccontextmanager
    async def results(self, url: str) -> AsyncGenerator[IO[bytes], None]:
        """A file of results, open at its beginning.

        Raises:
            RedirectError: It lies at another origin than the row's.
            ProviderError: It could not be had.
        """
        if origin_of(url) != origin_of(self.endpoint.base_url):
            raise RedirectError(
                f"{self.provider} names another origin for its results: {origin_of(url)}",
                hint="nbllm does not follow, since your key would go along",
                location=origin_of(url),
                provider=self.provider,
            )
        file = await self.retried(lambda number: self._taken(url, last=number >= POLICY.attempts))
        with file:
            yield file

    async def _taken(self, url: str, *, last: bool) -> IO[bytes]:
        # Small writes to a file of this machine: not worth a thread for each.
        file: IO[bytes] = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115  (handed out)
        try:
            await self._download(url, file)
            if is_cut(file) and not last:
                raise UnreachableError(f"{self.provider} cut its results", phase="closed", provider=self.provider)
            file.seek(0)
        except BaseException:
            file.close()
            raise
        return file

    async def _download(self, url: str, file: IO[bytes]) -> None:
        failure: NbllmError
        provider = self.endpoint.provider
        try:
            async with self.endpoint.http.stream(
                "GET", url, provider=provider, key=self.endpoint.key, headers=self._headers, timeout=_PATIENT,
                cap_bytes=FILE_CAP,
            ) as response:  # fmt: skip
                if not response.is_success:
                    raise await refusal(response, self.endpoint, model=None)
                async for piece in response.aiter_bytes():
                    file.write(piece)
            return
        except StreamBrokenError as exc:
            failure = UnreachableError(exc.message, phase="closed", hint=exc.hint, provider=provider.id)
        raise failure


def json_bytes(value: Any) -> bytes:
    """JSON in as few bytes as possible. Half characters, which UTF-8 cannot write, are written as escapes."""
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        return json.dumps(value, allow_nan=False, separators=(",", ":")).encode("ascii")


async def _pieces(body: Sequence[bytes]) -> AsyncIterator[bytes]:
    """Neither so small that each costs a call of the network, nor so large that one cannot be sent in its time."""
    waiting = bytearray()
    for part in body:
        waiting += part
        if len(waiting) >= _PIECE:
            for start in range(0, len(waiting), _PIECE):
                yield bytes(waiting[start : start + _PIECE])
            waiting.clear()
    if waiting:
        yield bytes(waiting)


def _object(fetched: Fetched) -> dict[str, Any]:
    found = fetched.json()
    if isinstance(found, dict):
        return found
    raise ProviderError(
        f"{fetched.provider} answered with other JSON than a batch",
        hint="check the base URL",
        provider=fetched.provider,
        status=fetched.status,
        retryable=False,
    )


# ---------------------------------------------------------------- lines


def is_cut(file: IO[bytes]) -> bool:
    """Whether a file of lines ends inside one: no line break at its end, and no whole JSON there."""
    size = file.seek(0, 2)
    file.seek(max(0, size - LINE_CAP))
    tail = file.read().rpartition(b"\n")[2].strip()
    return bool(tail) and parsed(tail) is None


def lines(file: IO[bytes]) -> Iterator[dict[str, Any] | None]:
    """The objects of a file of lines; None for a line that is none, or is longer than `LINE_CAP`."""
    while line := file.readline(LINE_CAP):
        whole = line.endswith(b"\n") or len(line) < LINE_CAP
        while not line.endswith(b"\n") and (line_rest := file.readline(LINE_CAP)):
            whole, line = False, line_rest
        if not whole:
            yield None
        elif line.strip():
            yield parsed(line)


def parsed(line: bytes) -> dict[str, Any] | None:
    """The JSON object of a line; None when it is none."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
