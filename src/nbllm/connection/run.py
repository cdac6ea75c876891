"""One connection test under way: its state, and the questions that the adapter asks."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from nbllm.adapters import load_adapter
from nbllm.adapters.base import Adapter, Endpoint
from nbllm.connection import advice
from nbllm.connection.advice import Failure
from nbllm.connection.result import StageResult
from nbllm.connection.way import Stop, Way
from nbllm.credentials.secret import Secret
from nbllm.errors import (
    AuthenticationError,
    BadRequestError,
    ModelNotFoundError,
    NbllmError,
    ProviderError,
    RedirectError,
    RegistryError,
    UnreachableError,
)
from nbllm.foreign import one_line
from nbllm.messages import ChatRequest, FinishReason, Message
from nbllm.providers.spec import ModelInfo, ProviderConfig
from nbllm.transport.http import Http

_LIMITS = (1, 32)
"""`max_tokens` of the question, one after the other: some servers refuse the smallest (OpenAI's reasoning models)."""
_PROMPT = "Answer with one word: yes."

_Do = Callable[[], Awaitable[str | None]]
_Step = tuple[str, _Do]


@dataclass(frozen=True, slots=True)
class Target:
    """Whom to test."""

    provider: ProviderConfig
    http: Http
    key: Callable[[], Secret | None] = lambda: None
    """Finds the key when it is wanted, in a thread of its own; raises CredentialError when there is none."""
    adapter: Adapter | None = None
    """None: the adapter of the row's kind."""
    serve: Callable[[Endpoint], Awaitable[Endpoint]] | None = None
    """For a row with `gguf`: starts its server, and gives where it is and the key for it."""


class Run:
    """One test under way."""

    def __init__(self, target: Target, model: str | None, timeout_s: float) -> None:
        self._row = target.provider
        self._http = target.http
        self._find_key = target.key
        self._serve = target.serve
        self._adapter = target.adapter
        self._model = model
        self._timeout_s = timeout_s
        self._stage = "url"
        self._endpoint = Endpoint(self._row, None, self._http)
        self._way = Way(self._row, self._http, timeout_s)
        self._offered: list[ModelInfo] | None = None
        self._listing_error: ProviderError | None = None

    async def all(self) -> AsyncGenerator[StageResult, None]:
        """Every stage that applies, until one fails; `done` when none did."""
        started = time.perf_counter()
        try:
            for stage, step in (*self._steps_before(), *self._questions()):
                self._stage = stage
                result = await self._try(stage, step)
                if result is not None:
                    yield result
                    if not result.ok:
                        return
        finally:
            self._way.close()
        yield StageResult("done", True, ms_since(started), self._summary())

    async def answers(self) -> bool:
        """Whether the model answers: the last stage alone, for a way that is most likely good."""
        if self._row.gguf:
            return False  # its server has to be started first
        self._stage = "model"
        result = await self._try("model", self._ask_at_once)
        return result is not None and result.ok

    async def _ask_at_once(self) -> str:
        await self._prepare()
        return await self._ask()

    def lost(self, why: str, hint: str) -> StageResult:
        """The stage under way, given up from outside."""
        return StageResult(self._stage, False, None, one_line(f"{self._row.id}: {why}"), hint)

    def _summary(self) -> str:
        parts = [] if self._offered is None else [_count(self._offered)]
        return "; ".join([*parts, f"{one_line(self._model)} answers"] if self._model else parts) or "answers"

    def _steps_before(self) -> list[_Step]:
        if self._is_mounted():
            return []
        # Looked up late: `url` may start a server, and then the way leads there.
        return [
            ("url", self._url),
            ("dns", lambda: self._way.dns()),
            ("connect", lambda: self._way.connect()),
            ("tls", lambda: self._way.tls()),
        ]

    async def _url(self) -> str:
        if self._row.gguf and self._serve is not None:
            served = await self._serve(self._endpoint)
            self._row, self._find_key = served.provider, lambda: served.key
            self._way = Way(self._row, self._http, self._timeout_s)
        return await self._way.url()

    def _is_mounted(self) -> bool:
        with contextlib.suppress(RegistryError):  # a bad address: the stage `url` says so
            return self._http.is_mounted(self._row.base_url)
        return False

    def _questions(self) -> list[_Step]:
        return [("auth", self._auth), ("models", self._models), *([("model", self._ask)] if self._model else [])]

    async def _try(self, stage: str, step: _Do) -> StageResult | None:
        """The stage's result; None when it does not apply."""
        started = time.perf_counter()
        try:
            detail = await step()
        except Stop as stop:
            failure = stop.failure
        except NbllmError as exc:
            if isinstance(exc, UnreachableError) and exc.phase == "tls":
                stage = "tls"  # behind a proxy it is tried here for the first time
            failure = advice.from_error(exc, self._row, stage=stage, with_key=self._endpoint.key is not None)
        else:
            if detail is None:
                return None
            ms = None if stage == "models" else ms_since(started)  # it came with the answer of `auth`
            count = len(self._offered) if stage == "models" and self._offered is not None else None
            return StageResult(stage, True, ms, detail, model_count=count)
        return StageResult(
            failure.stage, False, ms_since(started), failure.error, failure.hint,
            fix=failure.fix, retry_after_s=failure.retry_after_s,
        )  # fmt: skip

    async def _auth(self) -> str | None:
        """Ask for the listing: was it answered, or was the key refused? What else went wrong is for `models`."""
        adapter, key = await self._prepare()
        try:
            async with self._in_time(self._timeout_s):
                self._offered = await adapter.list_models(self._endpoint)
        except ProviderError as exc:
            if not self._goes_on(exc):
                raise
            self._listing_error = exc
        if self._is_mounted() or self._offered is None:
            return None
        if key is None:
            return "answers without a key"
        if await self._is_open_to_all():
            return "answers, but this listing is open to all: only --model proves the key"
        return "the key is accepted"

    async def _prepare(self) -> tuple[Adapter, Secret | None]:
        """What asks, and the key for it."""
        self._adapter = self._adapter or load_adapter(self._row.kind)
        key = await asyncio.to_thread(self._find_key)
        self._endpoint = Endpoint(self._row, key, self._http)
        return self._adapter, key

    def _goes_on(self, exc: ProviderError) -> bool:
        """Whether there is more to find out after this answer to the question for the listing."""
        if isinstance(exc, (UnreachableError, RedirectError)):
            return False
        if isinstance(exc, AuthenticationError):
            return exc.status == 403 and self._model is not None  # a key may be good for chats only
        return advice.is_wrong_path(exc) or self._model is not None

    @contextlib.asynccontextmanager
    async def _in_time(self, seconds: float) -> AsyncIterator[None]:
        late = False
        try:
            async with asyncio.timeout(seconds):
                yield
        except TimeoutError:
            late = True
        if late:
            raise UnreachableError(
                f"{self._row.id} did not answer within {seconds:g} s",
                phase="timeout",
                hint="try again; a model that is being loaded, or a busy server, needs longer",
                provider=self._row.id,
            )

    async def _is_open_to_all(self) -> bool:
        """Whether the listing also comes without the key, so that it says nothing about it."""
        if self._row.models_need_key is not None:
            return not self._row.models_need_key
        if self._row.kind not in ("openai", "url", "gemini", "anthropic") or self._row.auth == "none":
            return False
        bare = self._row.model_copy(update={"auth": "none", "headers": {}})
        with contextlib.suppress(NbllmError, TimeoutError):
            async with asyncio.timeout(self._timeout_s / 2):
                async with self._http.stream("GET", self._row.listing_url, provider=bare, key=None) as response:
                    return bool(200 <= response.status_code < 300)
        return False

    async def _models(self) -> str:
        added = {m.id for m in self._row.models} - {m.id for m in self._offered or ()}
        by_hand = f", {len(added)} added by hand" if added else ""
        if self._offered is not None:
            return _count(self._offered) + by_hand
        assert self._listing_error is not None
        if self._model:
            status = self._listing_error.status
            return f"no listing here ({status or self._listing_error.message}){by_hand}"
        raise Stop(advice.wrong_path(self._row, self._listing_error, await self._better_path()))

    async def _better_path(self) -> str | None:
        """Another path of the same origin where a model listing is; the key goes there too, since it is the same."""
        assert self._adapter is not None
        for url in _other_paths(self._row):
            endpoint = replace(
                self._endpoint, provider=self._row.model_copy(update={"base_url": url, "models_url": None})
            )
            with contextlib.suppress(NbllmError):
                async with self._in_time(self._timeout_s / 2):
                    await self._adapter.list_models(endpoint)
                return url
        return None

    async def _ask(self) -> str:
        """One token of the model."""
        assert self._model is not None
        assert self._adapter is not None
        offered = None if self._offered is None else {m.id for m in self._offered} | {m.id for m in self._row.models}
        try:
            reported = await self._one_token()
        except ProviderError as exc:
            raise Stop(await self._model_failure(exc, offered)) from None
        named = f", reported as {one_line(reported, 80)}" if reported and reported != self._model else ""
        return f"{one_line(self._model)} answers{named}{advice.not_in_listing(self._model, offered)}"

    async def _model_failure(self, exc: ProviderError, offered: set[str] | None) -> Failure:
        failure = advice.from_error(exc, self._row, stage="model", with_key=self._endpoint.key is not None)
        if not isinstance(exc, ModelNotFoundError):
            return failure
        better = await self._better_path() if self._offered is None else None
        if better is not None:
            return replace(advice.wrong_path(self._row, exc, better), stage="model")
        return advice.missing_model(failure, self._model or "", offered or ())

    async def _one_token(self) -> str | None:
        """Ask until an answer is through; the model that the server says it used."""
        assert self._model is not None
        for limit in _LIMITS:
            request = ChatRequest(self._row.id, self._model, (Message.user(_PROMPT),), max_tokens=limit)
            try:
                return await self._answer(request)
            except BadRequestError as exc:
                if type(exc) is not BadRequestError or limit == _LIMITS[-1]:
                    raise
        raise AssertionError("there is at least one limit")

    async def _answer(self, request: ChatRequest) -> str | None:
        assert self._adapter is not None
        reported: str | None = None
        finish: FinishReason | None = None
        async with self._in_time(max(self._timeout_s, self._row.timeout.first_token_s)):
            deltas = self._adapter.stream(request, self._endpoint)
            try:
                async for delta in deltas:
                    reported = delta.model_reported or reported
                    finish = delta.finish_reason or finish
            finally:
                if hasattr(deltas, "aclose"):
                    await deltas.aclose()
        if finish is None:
            raise ProviderError(
                f"{self._row.id}: the answer has no end", hint="is this an API for chat?", provider=self._row.id
            )
        return reported


def _count(models: list[ModelInfo]) -> str:
    return "no models" if not models else "1 model" if len(models) == 1 else f"{len(models)} models"


def _other_paths(row: ProviderConfig) -> list[str]:
    """Base URLs of the same origin under which model servers usually are, without the row's own."""
    base = row.base_url.rstrip("/")
    parts = urlsplit(base)
    origin = f"{parts.scheme}://{parts.netloc}"
    if row.kind in ("anthropic", "ollama"):
        candidates = [origin]
    elif row.kind == "gemini":
        candidates = [f"{origin}/v1beta"]
    else:
        candidates = [f"{base}/v1", base.removesuffix("/v1"), f"{origin}/v1", f"{origin}/api/v1"]
    return [url for url in dict.fromkeys(candidates) if url != base]


def ms_since(started: float) -> float:
    """Milliseconds since a `perf_counter` reading."""
    return (time.perf_counter() - started) * 1000
