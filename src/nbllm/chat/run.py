"""One question while it is being answered.

    with workspace.ask("...", options) as run:
        for delta in run.deltas():
            ...
    run.reply

Everything that waits happens on the background loop, in one asynchronous generator: attempts, rounds of tool calls,
the turn that repairs an answer without the right shape. Functions of the user run on the calling thread. What arrived
is kept whatever happens: complete, interrupted or broken off.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from dataclasses import replace
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from nbllm import aio
from nbllm.chat.plan import Plan, Services, in_prompt
from nbllm.chat.reckoning import tokens_for_limit, usage_of
from nbllm.chat.tool_turn import ToolTurn
from nbllm.errors import (
    NbllmError,
    ProviderError,
    SchemaMismatchError,
    StreamBrokenError,
    UnsupportedError,
)
from nbllm.messages import (
    ChatRequest,
    Delta,
    FinishReason,
    Message,
    Reply,
    Role,
    ToolCall,
    ToolResult,
    Usage,
)
from nbllm.reply_builder import ReplyBuilder
from nbllm.transport.recordings import WITNESS, Witness
from nbllm.transport.retry import RetryPolicy, retrying
from nbllm.usage import Cost, cost


class ChatRun:
    """A question that is being answered; a context manager.

    Attributes:
        reply: The answer; set at the end, also when it was interrupted or broke off after some text.
        plan: What is sent.
    """

    def __init__(self, plan: Plan, services: Services) -> None:
        self.plan = plan
        self.reply: Reply | None = None
        self._services = services
        self._builder = ReplyBuilder()
        self._earlier: list[ReplyBuilder] = []
        self._sent: list[Message] = [plan.question]
        self._rounds: list[tuple[ToolCall, ToolResult]] = []
        self._warnings: list[str] = []
        self._parsed: Any = None
        self._waiting: tuple[float, str] | None = None
        self._began = time.perf_counter()
        self._first_at: float | None = None
        self._attempts = 0
        self._cost: Cost | None = None
        self._final_request = plan.request
        self._witness = Witness()
        self._stream: Generator[Delta] | None = None
        self._started = False
        self._settled = False
        self._reason: FinishReason | None = None

    # ------------------------------------------------------------ the two ways to read it

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._stream is not None:
            self._stream.close()  # nothing is added to the answer from here on, and the connection is closed
        if not self._settled and self._started:
            self._keep(FinishReason.INTERRUPTED)

    def deltas(self, *, on_tick: Callable[[], None] | None = None) -> Iterator[Delta]:
        """The answer as it arrives, on an ordinary thread.

        Args:
            on_tick: Called about ten times a second while nothing arrives; see `notice`.

        Raises:
            NbllmError: The question could not be answered; `reply` holds what arrived, if anything did.
        """
        self._stream = self._deltas(on_tick)
        return self._stream

    def _deltas(self, on_tick: Callable[[], None] | None) -> Generator[Delta]:
        self._started = True
        failure: NbllmError | None = None
        try:
            for item in aio.iterate(self._events(), on_tick=on_tick):
                if isinstance(item, ToolTurn):
                    item.execute()
                else:
                    yield item
        except NbllmError as exc:
            self._failed(exc)
            failure = exc
        if failure is not None:
            raise _without_frames(failure)
        self._finish()

    async def adeltas(self) -> AsyncIterator[Delta]:
        """The answer as it arrives, on the caller's own event loop."""
        self._started = True
        failure: NbllmError | None = None
        try:
            async for item in aio.stream_in_caller(self._events()):
                if isinstance(item, ToolTurn):
                    await item.execute_async()
                else:
                    yield item
        except NbllmError as exc:
            await asyncio.to_thread(self._failed, exc)
            failure = exc
        except (asyncio.CancelledError, GeneratorExit):
            self._keep(FinishReason.INTERRUPTED)
            raise
        if failure is not None:
            raise _without_frames(failure)
        await asyncio.to_thread(self._finish)

    def notice(self) -> str | None:
        """What is being waited for at this moment, in words, with the seconds left; None when nothing is."""
        if self._waiting is None:
            return None
        until, why = self._waiting
        left = until - time.monotonic()
        return None if left <= 0 else f"{why}; trying again in {left:.0f} s"

    @property
    def text(self) -> str:
        """The text so far."""
        return _joined([b.text for b in (*self._earlier, self._builder)])

    # ------------------------------------------------------------ on the background loop

    async def _events(self) -> AsyncIterator[Delta | ToolTurn]:
        endpoint = self.plan.endpoint
        if endpoint.provider.gguf:
            endpoint = await self._services.serve(endpoint)
        plan = replace(self.plan, endpoint=endpoint)
        request = plan.request
        if plan.shape and not (plan.adapter.native_schema and not endpoint.provider.quirk("no_schema")):
            request = in_prompt(request, plan.shape)
        repaired = False
        while True:
            self._final_request = request
            try:
                async for item in self._round(request, plan):
                    yield item
            except UnsupportedError:
                if plan.shape is None or request.schema is None:
                    raise
                request = in_prompt(request, plan.shape)  # the server has no structured output
                continue
            calls = self._builder.tool_calls
            if calls and plan.tools and self._may_go_on(plan):
                turn = ToolTurn(calls, plan.tools)
                yield turn
                request = self._with_results(request, calls, await turn.results())
                continue
            if plan.shape is None:
                return
            self._parsed, problems = plan.shape.read(self._builder.text)
            if not problems:
                return
            if repaired:
                raise self._mismatch(problems)
            repaired = True
            yield Delta(notice="the answer did not fit the schema; asking once more")
            request = self._with_complaint(request, plan.shape.complaint(problems))

    async def _round(self, request: ChatRequest, plan: Plan) -> AsyncIterator[Delta]:
        """One answer of the model, retried until its first token."""
        separator = "\n\n" if any(b.text for b in self._earlier) else ""

        def attempt(number: int) -> AsyncIterator[Delta]:
            self._waiting = None
            self._attempts += 1
            if not self._earlier:
                self._began = time.perf_counter()  # the waits before a retry are not the model's time
            self._builder = ReplyBuilder()
            return plan.adapter.stream(request, plan.endpoint)

        def on_wait(seconds: float, error: ProviderError, number: int) -> None:
            # Waiting for a limit of the user's own is no attempt.
            which = f" (attempt {number} of {policy.attempts})" if number else ""
            self._waiting = (time.monotonic() + seconds, f"{error.message}{which}")

        replays = self._replays()
        WITNESS.set(self._witness)
        policy = RetryPolicy(max_wait_s=float(self._services.settings["max_wait_s"]))
        gate = self._services.gate(plan.endpoint.provider)
        answer = retrying(
            attempt,
            policy=policy,
            gate=gate,
            on_wait=on_wait,
            tokens=tokens_for_limit(request, plan.endpoint.provider),
            bypass=replays,
            sleep=self._services.recordings.sleep if replays else asyncio.sleep,
        )
        async with contextlib.aclosing(answer) as deltas:
            async for delta in deltas:
                if self._first_at is None and (delta.text or delta.reasoning):
                    self._first_at = time.perf_counter()
                self._builder.add(delta)
                if separator and delta.text:
                    delta, separator = replace(delta, text=separator + delta.text), ""
                yield delta

    def _replays(self) -> bool:
        """Whether a recording answers, and nobody is asked."""
        provider, recordings = self.plan.endpoint.provider, self._services.recordings
        return recordings.stands_in(provider.id, has_key=self.plan.endpoint.key is not None or not provider.needs_key)

    def _may_go_on(self, plan: Plan) -> bool:
        calls = self._builder.tool_calls
        if self._builder.finish_reason is FinishReason.LENGTH and not all(c.complete and c.arguments for c in calls):
            self._warnings.append("the answer ended inside a tool call; the function was not called")
            return False
        if len(self._earlier) >= plan.max_rounds:
            self._warnings.append(f"stopped after {plan.max_rounds} rounds of tool calls")
            return False
        return True

    def _with_results(
        self, request: ChatRequest, calls: tuple[ToolCall, ...], results: list[ToolResult]
    ) -> ChatRequest:
        answered = list(zip(calls, results, strict=True))
        self._rounds.extend(answered)
        told = tuple(result for call, result in answered if call.complete)
        # No format can carry a call whose arguments are no object, so its error is told in words.
        broken = [f"Your call of {call.name}: {result.content}" for call, result in answered if not call.complete]
        turn = [Message(Role.TOOL, told)] if told else []
        return self._with_turn(request, *turn, *([Message.user("\n".join(broken))] if broken else []))

    def _with_complaint(self, request: ChatRequest, complaint: str) -> ChatRequest:
        request = self._with_turn(request, Message.user(complaint))
        self._warnings.append("the first answer did not fit the schema; this is the second")
        return request

    def _with_turn(self, request: ChatRequest, *turn: Message) -> ChatRequest:
        answer = self._builder.message()
        self._earlier.append(self._builder)
        self._builder = ReplyBuilder()
        self._sent += [answer, *turn]
        return replace(request, messages=(*request.messages, answer, *turn))

    def _mismatch(self, problems: list[str]) -> SchemaMismatchError:
        return SchemaMismatchError(
            f"the answer of {self.plan.request.ref} does not fit the schema: {problems[0]}",
            reply=self._build(self._builder.finish_reason or FinishReason.STOP),
            problems=problems,
            hint="look at `error.reply.text`, simplify the schema, or ask another model",
        )

    # ------------------------------------------------------------ the end

    def _finish(self) -> None:
        self._keep(self._builder.finish_reason or FinishReason.OTHER)

    def _failed(self, error: NbllmError) -> None:
        """Keep what arrived before an error; an error before any text is only counted."""
        if isinstance(error, SchemaMismatchError):
            self._keep(self._builder.finish_reason or FinishReason.STOP)
        elif self._has_content():
            self._keep(FinishReason.BROKEN)
            if isinstance(error, StreamBrokenError) and not error.partial:
                error.partial = self.text
        elif not self._settled:
            self._settled = True
            self._services.conversations().record_failure(self.plan.turn, self._final_request, error)

    def _has_content(self) -> bool:
        return bool(self._earlier or self._builder.text or self._builder.reasoning or self._builder.tool_calls)

    def _keep(self, reason: FinishReason) -> None:
        """Commit the exchange, once; what was interrupted before anything arrived leaves no trace."""
        if self._settled:
            return
        self._reason = self._reason or reason
        reply = self._build(self._reason)  # interrupted in here, it is built again when the run is left
        self._settled = True
        self.reply = reply  # also when the commit below is interrupted
        if reply.finish_reason is FinishReason.INTERRUPTED and not self._has_content():
            return
        messages = (*self._sent, self._builder.message())
        message_id = self._services.conversations().commit(
            self.plan.turn,
            self._final_request,
            messages,
            reply,
            attempts=self._attempts,
            price_source=self._cost.source if self._cost else None,
        )
        self.reply = replace(reply, message_id=message_id)

    def _build(self, reason: FinishReason) -> Reply:
        now = time.perf_counter()
        usage = self._usage()
        request, provider = self.plan.request, self.plan.endpoint.provider
        self._cost = cost(provider, request.model, usage, known=self._services.prices(provider, request.model))
        schema_repair = self.plan.shape is not None
        text = self._builder.text if schema_repair else self.text
        warnings = [*self._warnings, *self._judged(reason, text)]
        return Reply(
            text=text,
            reasoning=_joined([b.reasoning for b in (*self._earlier, self._builder)]),
            parsed=self._parsed,
            tool_calls=self._builder.tool_calls,
            tool_rounds=tuple(self._rounds),
            provider=request.provider,
            model=request.model,
            model_reported=self._builder.model_reported,
            usage=usage,
            cost_usd=None if self._cost is None else self._cost.usd,
            latency_ms=(now - self._began) * 1000,
            ttft_ms=None if self._first_at is None else (self._first_at - self._began) * 1000,
            finish_reason=reason,
            params=dict(self.plan.shown_params),
            conversation=self.plan.turn.name,
            request_id=self._builder.request_id,
            replayed=self._witness.replayed,
            recorded=None if reason is FinishReason.INTERRUPTED else self._witness.recorded,
            base_url_host=urlsplit(provider.base_url).hostname,
            warnings=tuple(dict.fromkeys(warnings)),
        )

    def _judged(self, reason: FinishReason, text: str) -> Iterator[str]:
        yield from self._builder.notices
        if reason is FinishReason.LENGTH:
            yield "the answer was cut: the limit of tokens was reached"
        if reason is FinishReason.CONTENT_FILTER:
            yield "the provider's content filter ended the answer"
        if reason is FinishReason.STOP and not text and not self._builder.tool_calls and not self._builder.notices:
            yield "empty answer"

    def _usage(self) -> Usage:
        """What the provider counted, over all rounds; where it did not count, an estimate that says so."""
        total: Usage | None = None
        for builder in (*self._earlier, self._builder):
            used = usage_of(builder, self._final_request)
            total = used if total is None else total + used
        assert total is not None
        return total


def _without_frames(error: NbllmError) -> NbllmError:
    """The error without the frames below, whose local values hold what the server sent: it may have echoed the key.

    IPython's `%xmode Verbose` shows those when the error is the context of another.
    """
    return error if os.environ.get("NBLLM_DEBUG") == "1" else error.with_traceback(None)


def _joined(texts: list[str]) -> str:
    return "\n\n".join(filter(None, texts))
