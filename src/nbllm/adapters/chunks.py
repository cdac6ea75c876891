"""A Chat Completions answer, decoded: a stream of chunks, or one JSON document, whichever came.

Servers depart from the format in many ways (docs/explanation/wire-formats.md lists those that were seen), so what
counts is what is there: unknown keys are ignored, missing ones are not missed.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Iterator
from typing import TYPE_CHECKING, Any

from nbllm.adapters.bodies import error_from_payload, error_in_body, request_id
from nbllm.adapters.calls import CallIndex
from nbllm.adapters.think import ThinkTags
from nbllm.adapters.usage import openai_usage
from nbllm.errors import ProviderError, StreamBrokenError
from nbllm.messages import ChatRequest, Delta, FinishReason, ToolCallDelta, Usage
from nbllm.transport.sse import Event, SseDecoder, parse_object

if TYPE_CHECKING:
    from nbllm.adapters.reading import Arrival
    from nbllm.providers.spec import ProviderConfig

FINISH = {
    "stop": FinishReason.STOP,
    "eos": FinishReason.STOP,
    "eos_token": FinishReason.STOP,
    "end_turn": FinishReason.STOP,
    "stop_sequence": FinishReason.STOP,
    "length": FinishReason.LENGTH,
    "max_tokens": FinishReason.LENGTH,
    "model_length": FinishReason.LENGTH,
    "tool_calls": FinishReason.TOOL_CALLS,
    "tool_use": FinishReason.TOOL_CALLS,
    "function_call": FinishReason.TOOL_CALLS,
    "content_filter": FinishReason.CONTENT_FILTER,
    "safety": FinishReason.CONTENT_FILTER,
}
"""Finish reasons of OpenAI and of those who follow it; anything else is OTHER."""

EMPTY = "empty answer"
CUT_REASONING = "the answer ended inside the reasoning: raise --max-tokens"


class Answer:
    """One answer. Use it once."""

    __slots__ = (
        "_arrival", "_calls", "_done", "_finish", "_model", "_opened",
        "_provider", "_said", "_tags", "_texts", "_usage",
    )  # fmt: skip

    def __init__(self, request: ChatRequest, provider: ProviderConfig, arrival: Arrival) -> None:
        self._provider = provider
        self._model = request.model
        self._arrival = arrival
        self._calls = CallIndex()
        self._tags = ThinkTags(opened=provider.quirk("think_tags") == "open") if provider.quirk("think_tags") else None
        self._texts: list[str] = []
        """Text of this piece of the network that was not yielded yet."""
        self._usage: Usage | None = None
        self._finish: FinishReason | None = None
        self._done = False
        self._opened = False
        """Whether the model and the request id were passed on."""
        self._said = False
        """Whether there was reasoning or a tool call."""

    async def deltas(self) -> AsyncGenerator[Delta, None]:
        """What arrives, and at last one delta with the finish reason.

        Raises:
            ProviderError: The answer is an error, or no answer at all.
            StreamBrokenError: It ended without a finish reason and without `[DONE]`.
        """
        decoder: SseDecoder | None = None
        head = b""
        chunks = self._arrival.chunks()
        try:
            async for chunk in chunks:
                if decoder is None:
                    head += chunk
                    form = _form(head)
                    if form is None:
                        continue
                    if form != "stream":
                        body = head + b"".join([c async for c in chunks])
                        for delta in self._document(body, form):
                            yield delta
                        return
                    decoder, chunk = SseDecoder(), head
                for delta in self._events(self._decoded(decoder.feed, chunk)):
                    yield delta
                if self._done:
                    break
            else:
                if decoder is not None:
                    for delta in self._events(self._decoded(decoder.finish)):
                        yield delta
        finally:
            await chunks.aclose()
        for delta in self._ending():
            yield delta

    def _decoded(self, step: Any, *chunk: bytes) -> list[Event]:
        try:
            events: list[Event] = step(*chunk)
        except StreamBrokenError as error:
            words = error.message
        else:
            return events
        raise self._arrival.broken(f"cannot be read: {words}")

    # ------------------------------------------------------------ events of a stream

    def _events(self, events: list[Event]) -> Iterator[Delta]:
        """The deltas of the events that one piece of the network held. Adjacent text is joined into one."""
        texts = self._texts
        opened = self._opened
        tags = self._tags
        usage = self._usage
        for event in events:
            data = event.data
            if data == "[DONE]":
                self._done = self._arrival.settled = True
                break
            # The way of nearly every token, so it is written out here: one choice that adds text and nothing else.
            # Whatever looks different takes the long way below.
            if opened and tags is None and "\\u" not in data:
                try:
                    payload = json.loads(data)
                    (choice,) = payload["choices"]
                    ((name, text),) = choice["delta"].items()
                    if (
                        name == "content"
                        and type(text) is str
                        and choice.get("finish_reason") is None
                        and not choice.get("index")
                        and payload.get("usage") is None
                        and "error" not in payload
                    ):
                        texts.append(text)
                        continue
                except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
                    pass
            if event.event == "ping" or not data:
                continue
            yield from self._take(self._object(data), named_error=event.event == "error")
            opened = self._opened
        yield from self._flush()
        if self._usage is not usage and self._usage is not None:
            yield Delta(usage=self._usage)

    def _object(self, data: str) -> dict[str, Any]:
        try:
            return parse_object(data, provider=self._provider.id)
        except StreamBrokenError:
            pass
        raise self._arrival.broken("sent something that is not a JSON object")

    def _flush(self) -> Iterator[Delta]:
        if self._texts:
            text = "".join(self._texts)
            self._texts.clear()
            if text:
                self._arrival.partial.append(text)
                yield Delta(text=text)

    # ------------------------------------------------------------ one chunk, whatever is in it

    def _take(self, payload: dict[str, Any], *, named_error: bool = False) -> Iterator[Delta]:
        if named_error or error_in_body(payload):
            yield from self._flush()
            raise self._error(payload)
        if not self._opened:
            self._opened = True
            yield self._opening(payload)
        usage = openai_usage(payload)
        if usage is not None:
            self._usage = usage
        choices = payload.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            if isinstance(choice, dict) and not choice.get("index"):  # n > 1: only the first answer counts
                yield from self._choice(choice)

    def _opening(self, payload: dict[str, Any]) -> Delta:
        model = payload.get("model")
        return Delta(
            model_reported=model if isinstance(model, str) and model else None,
            request_id=request_id(self._arrival.headers),
        )

    def _error(self, payload: Any) -> ProviderError:
        return error_from_payload(payload, provider=self._provider.id, headers=self._arrival.headers, model=self._model)

    def _choice(self, choice: dict[str, Any]) -> Iterator[Delta]:
        delta = choice.get("delta")
        whole = not isinstance(delta, dict)
        if whole:
            delta = choice.get("message")
        if isinstance(delta, dict):
            yield from self._message(delta, whole=whole)
        elif isinstance(choice.get("text"), str):  # the older completions format
            self._texts.append(choice["text"])
        if choice.get("error"):
            yield from self._flush()
            raise self._error(choice)
        finish = choice.get("finish_reason")
        if isinstance(finish, str) and finish:
            self._finish = FINISH.get(finish.lower(), FinishReason.OTHER)
            self._arrival.settled = True

    def _message(self, delta: dict[str, Any], *, whole: bool) -> Iterator[Delta]:
        content = delta.get("content")
        reasoning = _plain(delta.get("reasoning_content")) or _plain(delta.get("reasoning"))
        if reasoning:
            yield from self._reason(reasoning)
        if content:
            for kind, text in _pieces(content):
                if kind == "reasoning":
                    yield from self._reason(text)
                else:
                    yield from self._write(text)
        refusal = delta.get("refusal")
        if isinstance(refusal, str) and refusal:
            yield from self._write(refusal)
        for piece in self._tool_calls(delta, whole=whole):
            yield from self._flush()
            self._said = True
            yield Delta(tool_call=piece)

    def _reason(self, text: str) -> Iterator[Delta]:
        yield from self._flush()
        self._said = True
        yield Delta(reasoning=text)

    def _write(self, text: str) -> Iterator[Delta]:
        if self._tags is None:
            self._texts.append(text)
            return
        for kind, piece in self._tags.feed(text):
            if kind == "reasoning":
                yield from self._reason(piece)
            else:
                self._texts.append(piece)

    def _tool_calls(self, delta: dict[str, Any], *, whole: bool) -> Iterator[ToolCallDelta]:
        calls = delta.get("tool_calls")
        if isinstance(calls, list):
            for position, call in enumerate(calls):
                if isinstance(call, dict):
                    yield self._calls.piece(call, position=position, whole=whole)
        legacy = delta.get("function_call")
        if isinstance(legacy, dict):
            yield self._calls.piece({"index": 0, "function": legacy}, position=0, whole=whole)

    # ------------------------------------------------------------ a whole document, and the end

    def _document(self, body: bytes, form: str) -> Iterator[Delta]:
        """A body that is no event stream: JSON, also where a stream was asked for, or a web page."""
        if form == "page":
            raise self._arrival.no_answer("a web page")
        payload = self._json(body)
        if not isinstance(payload, dict) or not payload.get("choices"):
            raise self._error(payload) if error_in_body(payload) else self._arrival.no_answer("other JSON")
        yield from self._take(payload)
        yield from self._flush()
        self._done = True
        yield from self._ending()

    def _json(self, body: bytes) -> Any:
        text = body.decode("utf-8-sig", "replace")
        try:
            if text.lstrip().startswith("["):
                return json.loads(text)
        except (ValueError, RecursionError):
            pass
        return self._object(text)

    def _ending(self) -> Iterator[Delta]:
        """What was held back, and the delta with the finish reason and what there is to say about the answer."""
        if self._tags is not None:
            kind, rest = self._tags.finish()
            yield from self._reason(rest) if rest and kind == "reasoning" else ()
            self._texts += [rest] if kind == "text" else []
            yield from self._flush()
        if self._finish is None and not self._done:
            raise self._arrival.unfinished()
        finish = self._finish or FinishReason.OTHER
        yield Delta(usage=self._usage, finish_reason=finish, notice=self._notice(finish))

    def _notice(self, finish: FinishReason) -> str | None:
        if self._arrival.partial or self._calls.any:
            return None
        if finish is FinishReason.LENGTH and self._said:
            return CUT_REASONING
        return EMPTY if finish in (FinishReason.STOP, FinishReason.OTHER) else None


# ---------------------------------------------------------------- small readings


def _form(head: bytes) -> str | None:
    """What the first bytes are the beginning of: `stream`, `json`, `page`; None when they do not say yet.

    Content types are not believed: servers send JSON where a stream was asked for, a stream where JSON was, and
    either under `text/plain`.
    """
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not start:
        return None if len(head) < 4096 else "stream"
    return {b"{": "json", b"[": "json", b"<": "page"}.get(start[:1], "stream")


def _plain(value: Any) -> str:
    """Reasoning as text; some servers have an object with the text inside."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return _plain(value.get("text") or value.get("content"))
    return ""


def _pieces(content: Any) -> Iterator[tuple[str, str]]:
    """Content as (`text` or `reasoning`, text); Mistral sends a list of typed parts."""
    if isinstance(content, str):
        yield "text", content
    elif isinstance(content, list):
        for part in content:
            if isinstance(part, str):
                yield "text", part
            elif isinstance(part, dict) and part.get("type") == "thinking":
                inner = part.get("thinking")
                for _, text in _pieces(inner):
                    yield "reasoning", text
            elif isinstance(part, dict) and isinstance(part.get("text"), str):
                yield "text", part["text"]
