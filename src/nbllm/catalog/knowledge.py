"""Which copy of models.dev counts, how it is kept young, and which of its models are a provider's.

A request is only made by `Knowledge.refresh`, which the user asks for. Everything else reads what is there: the
copy that was fetched last, else the one that comes with the package.
"""

from __future__ import annotations

import asyncio
import functools
import json
import re
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from nbllm.adapters.bodies import error_from_response
from nbllm.catalog import models_dev
from nbllm.catalog.models_dev import Copy, Facts
from nbllm.errors import NbllmError, OfflineError, ProviderError, StoreError, UnreachableError
from nbllm.files import write_atomic
from nbllm.providers.rows import bundled_rows
from nbllm.providers.spec import ProviderConfig
from nbllm.providers.urls import origin_of
from nbllm.settings import Paths, Settings
from nbllm.transport.http import Fetched, Http
from nbllm.transport.retry import RetryPolicy, retrying

TTL_S = 86_400.0
"""A copy younger than this is not asked for again, unless forced."""
CAP_BYTES = 25_000_000
"""Ten times what `api.json` is today; more is refused."""
OFF = "off"
"""The address that says never to ask."""
TIMEOUT_S = 30.0
"""For all attempts together."""
_POLICY = RetryPolicy(attempts=3, max_wait_s=10.0)

_THEIR_IDS = {
    "fireworks": "fireworks-ai",
    "gemini": "google",
    "moonshot": "moonshotai",
    "morphllm": "morph",
    "novita": "novita-ai",
    "wafer-ai": "wafer.ai",
}
"""Our ids of providers that models.dev calls otherwise."""


@dataclass(frozen=True, slots=True)
class Refreshed:
    """What became of asking models.dev."""

    outcome: Literal["ok", "unchanged", "young", "failed", "off"]
    """`young`: it was asked less than 24 h ago, and is not asked again. `off`: the setting says so."""
    date: str
    """The day of the copy that counts now, YYYY-MM-DD."""
    age_s: float | None
    """Seconds since models.dev was asked; None: never, the copy is the package's."""
    error: NbllmError | None = None
    """Why it failed; what is known from before goes on counting."""

    @property
    def problem(self) -> str | None:
        """What the user should know, in a sentence; None: nothing, or that this machine is offline."""
        if self.error is None or isinstance(self.error, OfflineError):
            return None
        return f"{self.error.message}; what is known of models.dev is of {self.date}"


@dataclass(frozen=True, slots=True)
class Match:
    """A model of models.dev that is one of ours."""

    id: str
    """Its id there."""
    facts: Facts
    date: str
    """The day on which models.dev last said so."""
    same: bool
    """False: only the id without its date is known there, so that prices, name and day are of another version."""


class Knowledge:
    """What models.dev says, as far as it is known on this machine. May be used from any thread.

    Args:
        file: Where the copy that was fetched is kept.
        http: The way there; None: it is never asked.
        url: Gives the address of `api.json`.
        clock: Gives seconds since 1970.
    """

    def __init__(
        self,
        file: Path,
        http: Http | None = None,
        *,
        url: Callable[[], str] = lambda: models_dev.URL,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._file = file
        self._http = http
        self._url = url
        self._clock = clock
        self._lock = threading.Lock()
        self._seen: object = ()
        self._copy = Copy()
        self._books: dict[str, Book] = {}
        self._running: asyncio.Task[Refreshed] | None = None

    @classmethod
    def open(cls, paths: Paths, http: Http | None, settings: Settings) -> Knowledge:
        """The knowledge of one user. Nothing is read before it is asked for."""
        return cls(paths.cache_dir / models_dev.FILE, http, url=lambda: str(settings["models_dev_url"]))

    # ------------------------------------------------------------ what is known

    @property
    def date(self) -> str:
        """The day of the copy that counts, YYYY-MM-DD; empty: there is none."""
        return self._current().date

    @property
    def age_s(self) -> float | None:
        """Seconds since models.dev was last asked; None: never."""
        checked = self._current().head.get("checked_at")
        return None if not isinstance(checked, int | float) else max(0.0, self._clock() - checked)

    @property
    def stamp(self) -> object:
        """Something that changes with what is known. Looks at the file's time, reads nothing."""
        return self._stamp()

    def book(self, provider: ProviderConfig) -> Book | None:
        """What models.dev knows of the provider at the address of the row; None when that is unknown there."""
        name = their_id(provider)
        copy = self._current()
        if name is None or name not in copy.providers:
            return None
        with self._lock:
            if copy is not self._copy:  # another thread has read a newer one meanwhile
                return Book(copy.models(name), copy.date)
            if name not in self._books:
                self._books[name] = Book(copy.models(name), copy.date)
            return self._books[name]

    def _current(self) -> Copy:
        """The fetched copy, or the package's when that is younger; read again when the file has changed."""
        stamp = self._stamp()
        with self._lock:
            if stamp != self._seen:
                fetched, bundled = self._read(), models_dev.bundled_copy()
                self._copy = fetched if fetched is not None and fetched.date >= bundled.date else bundled
                self._books = {}
                self._seen = stamp
            return self._copy

    def _stamp(self) -> object:
        try:
            info = self._file.stat()
        except OSError:
            return None
        return info.st_mtime_ns, info.st_size, info.st_ino

    def _read(self) -> Copy | None:
        try:
            return models_dev.read_copy(self._file.read_bytes())
        except (OSError, ValueError):
            return None

    # ------------------------------------------------------------ asking

    async def refresh(self, *, force: bool = False) -> Refreshed:
        """Ask models.dev, unless that was done within 24 h. Calls at once ask once. Never fails: see `error`.

        Args:
            force: Ask also when the copy is young.
        """
        if self._running is None or self._running.done() or self._running.get_loop() is not asyncio.get_running_loop():
            self._running = asyncio.create_task(self._refresh(force))
        return await asyncio.shield(self._running)  # who gives up does not take it from the others

    async def _refresh(self, force: bool) -> Refreshed:
        copy = await asyncio.to_thread(self._current)
        age = self.age_s
        if self._http is None or self._url() == OFF:
            return Refreshed("off", copy.date, age)
        if not force and age is not None and age < TTL_S and copy.head.get("url") == self._url():
            return Refreshed("young", copy.date, age)
        try:
            answer = await self._ask_in_time(self._http, copy)
            if answer.status == 304:
                await asyncio.to_thread(self._write, copy.marked(date=self._today(), checked_at=self._clock()))
                return Refreshed("unchanged", self.date, 0.0)
            await asyncio.to_thread(self._take, answer, copy)
        except NbllmError as error:
            return Refreshed("failed", copy.date, age, error)
        return Refreshed("ok", self.date, 0.0)

    async def _ask_in_time(self, http: Http, copy: Copy) -> Fetched:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                return await self._ask(http, copy)
        except TimeoutError:
            pass
        raise UnreachableError(
            f"models.dev did not answer within {TIMEOUT_S:g} s", phase="timeout", provider="models.dev"
        )

    async def _ask(self, http: Http, copy: Copy) -> Fetched:
        url = self._url()
        row = ProviderConfig(id="models-dev", name="models.dev", base_url=origin_of(url), auth="none")
        headers = _conditions(copy, url)

        async def attempt(_: int) -> AsyncIterator[Fetched]:
            answer = await http.fetch(
                "GET", url, provider=row, key=None, headers=headers, cap_bytes=CAP_BYTES, timeout_s=TIMEOUT_S
            )
            if answer.status != 304 and not 200 <= answer.status < 300:
                raise error_from_response(
                    provider="models.dev", status=answer.status, headers=answer.headers, body=answer.body, model=None
                )
            yield answer

        answers = [a async for a in retrying(attempt, policy=_POLICY, gate=http.gate(row))]
        return answers[0]

    def _take(self, answer: Fetched, before: Copy) -> None:
        try:
            copy = models_dev.make_copy(
                json.loads(answer.body),
                keep=before,
                date=self._today(),
                url=self._url(),
                etag=answer.headers.get("etag"),
                last_modified=answer.headers.get("last-modified"),
                checked_at=self._clock(),
            )
        except (ValueError, RecursionError) as exc:
            raise ProviderError(
                f"models.dev answered with something that is not its list of models: {exc}",
                hint="check the setting models_dev_url; until then what was known before goes on counting",
                provider="models.dev",
                retryable=False,
            ) from None
        self._write(copy)

    def _write(self, copy: Copy) -> None:
        try:
            write_atomic(self._file, copy.to_bytes())
        except OSError as exc:
            raise StoreError(
                f"what models.dev answered could not be kept: {exc.strerror or exc}",
                hint=f"check {self._file.parent}; until then what was known before goes on counting",
            ) from None

    def _today(self) -> str:
        return time.strftime("%Y-%m-%d", time.gmtime(self._clock()))


def _conditions(copy: Copy, url: str) -> dict[str, str]:
    """Headers that let models.dev answer "nothing new", when the copy came from there."""
    if copy.head.get("url") != url:
        return {}
    named = {"if-none-match": copy.head.get("etag"), "if-modified-since": copy.head.get("last_modified")}
    return {name: value for name, value in named.items() if isinstance(value, str) and value}


# ---------------------------------------------------------------- whose models


def their_id(provider: ProviderConfig) -> str | None:
    """What models.dev calls the service at the row's address; None: not known there.

    The address decides, as it does for a key: a row that was moved to another origin is somebody else's server,
    whatever it is called, and a row of the user's own that points at a known address is that service.
    """
    if provider.local or provider.gguf or provider.kind == "demo":
        return None
    ids = _by_address().get(provider.base_url, ())
    if provider.id in ids or (not ids and _is_at_home(provider)):
        return _THEIR_IDS.get(provider.id, provider.id)
    theirs = {_THEIR_IDS.get(id, id) for id in ids}
    return theirs.pop() if len(theirs) == 1 else None


def _is_at_home(provider: ProviderConfig) -> bool:
    """Whether the row has the origin of the bundled one, or that one leaves the address to the user (Azure)."""
    row = bundled_rows().get(provider.id)
    if row is None:
        return False
    url = str(row.get("base_url") or "")
    return not url or "$" in url or "<" in url or "{" in url or origin_of(url) == origin_of(provider.base_url)


@functools.cache
def _by_address() -> Mapping[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for id, row in bundled_rows().items():
        if (url := str(row.get("base_url") or "")) and not row.get("local"):
            found[url] = (*found.get(url, ()), id)
    return found


_DATED = re.compile(r"-(?:20\d{6}|20\d\d-\d\d-\d\d)$")


class Book:
    """The models of one provider, found by their ids and by other spellings of them.

    An id is looked up as it is. Else as the same id spelled otherwise: without `models/` or a vendor in front, here
    or there, when only one model is called so. Else without a date at its end, which is another version of the
    model: its limits and abilities are taken, its prices are not.
    """

    def __init__(self, models: Mapping[str, Facts], date: str) -> None:
        self.models = models
        self.date = date
        self._bare: dict[str, str | None] | None = None

    def find(self, id: str) -> Match | None:
        """The model that an id of the provider means; None when it is not known."""
        if id in self.models:
            return self._match(id, same=True)
        if (found := self._spelled(id)) is not None:
            return self._match(found, same=True)
        undated = _DATED.sub("", id)
        if undated != id and (found := undated if undated in self.models else self._spelled(undated)) is not None:
            return self._match(found, same=False)
        return None

    def _match(self, id: str, *, same: bool) -> Match:
        facts = self.models[id]
        return Match(id, facts, str(facts.get("last_seen") or self.date), same)

    def _spelled(self, id: str) -> str | None:
        if self._bare is None:
            self._bare = _bare_names(self.models)
        found = self._bare.get(_bare(id))
        # Two vendors in front are two models.
        return None if found is None or (_vendor(id) and _vendor(found)) else found


def _bare_names(ids: Mapping[str, Facts]) -> dict[str, str | None]:
    """Ids by what they are without a vendor; None where two are."""
    found: dict[str, str | None] = {}
    for id in ids:
        name = _bare(id)
        found[name] = None if name in found else id
    return found


def _bare(id: str) -> str:
    return id.rpartition("/")[2]


def _vendor(id: str) -> str:
    vendor = id.rpartition("/")[0]
    return "" if vendor == "models" else vendor
