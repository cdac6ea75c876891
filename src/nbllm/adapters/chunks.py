"""A Chat Completions answer, decoded: a stream of chunks, or one JSON document, whichever came.

Servers depart from the format in many ways (docs/explanation/wire-formats.md lists those that were seen), so what
counts is what is there: unknown keys are ignored, missing ones are not missed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from nbllm.adapters.bodies import error_in_body, request_id
from nbllm.adapters.body import CUT_REASONING, EMPTY, BodyReader
from nbllm.adapters.calls import CallIndex
from nbllm.adapters.think import ThinkTags
from nbllm.adapters.usage import openai_usage
from nbllm.messages import ChatRequest, Delta, FinishReason, ToolCallDelta, Usage
from nbllm.transport.sse import Event, parse_object

if TYPE_CHECKING:
    from nbllm.adapters.reading import Arrival
    from nbllm.providers.spec import ProviderConfig

__all__ = ["CUT_REASONING", "EMPTY", "FINISH", "Answer"]

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

_json_decoder: Any = json.JSONDecoder()
_scan = _json_decoder.scan_once
"""What `json.loads` calls in the end, without the four calls around it: half its time on a chunk of this size."""
_OTHERWISE = (LookupError, TypeError, ValueError, AttributeError, RecursionError, StopIteration)
"""What the short way meets when a chunk is not as it expects."""


class Answer(BodyReader):
    """One answer, fed with the bytes of its body. Use it once."""

    __slots__ = ("_calls", "_finish", "_said", "_tags", "_usage")

    def __init__(self, request: ChatRequest, provider: ProviderConfig, arrival: Arrival) -> None:
        super().__init__(request, provider, arrival)
        self._calls = CallIndex()
        tags = provider.quirk("think_tags")
        self._tags = ThinkTags(opened=tags == "open") if tags else None
        self._usage: Usage | None = None
        self._finish: FinishReason | None = None
        self._said = False
        """Whether there was reasoning."""

    # ------------------------------------------------------------ events of a stream

    def _events(self, events: list[Event]) -> None:
        usage = self._usage
        texts = self._texts
        # Never opened with tags: then every chunk goes the long way.
        plain = self._opened and self._tags is None
        for event in events:
            data = event.data
            if plain and "\\u" not in data:
                # The way of nearly every token, so it is written out here: one choice that adds text and nothing
                # else. Whatever looks different takes the long way below.
                try:
                    payload, end = _scan(data, 0)
                    (choice,) = payload["choices"]
                    delta = choice["delta"]
                    text = delta["content"]
                    if (
                        text.__class__ is str
                        and len(delta) == 1
                        and choice.get("finish_reason") is None
                        and not choice["index"]
                        and payload.get("usage") is None
                        and "error" not in payload
                        and end == len(data)
                    ):
                        texts.append(text)
                        continue
                except _OTHERWISE:
                    pass
            if data == "[DONE]":
                self.done = self._arrival.settled = True
                break
            if event.event == "ping" or not data:
                continue
            self._take(parse_object(data, provider=self._provider), named_error=event.event == "error")
            plain = self._tags is None
        self._flush()
        if self._usage is not usage:
            self._out.append(Delta(usage=self._usage))

    # ------------------------------------------------------------ one chunk, whatever is in it

    def _take(self, payload: dict[str, Any], *, named_error: bool = False) -> None:
        if named_error or error_in_body(payload):
            raise self._error(payload)
        if not self._opened:
            self._opened = True
            self._out.append(self._opening(payload))
        self._usage = openai_usage(payload) or self._usage
        choices = payload.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            if isinstance(choice, dict) and not choice.get("index"):  # n > 1: only the first answer counts
                self._choice(choice)

    def _opening(self, payload: dict[str, Any]) -> Delta:
        model = payload.get("model")
        return Delta(
            model_reported=model if isinstance(model, str) and model else None,
            request_id=request_id(self._arrival.headers),
        )

    def _choice(self, choice: dict[str, Any]) -> None:
        delta = choice.get("delta")
        whole = not isinstance(delta, dict)
        if whole:
            delta = choice.get("message")
        if isinstance(delta, dict):
            self._message(delta, whole=whole)
        elif isinstance(choice.get("text"), str):  # the older completions format
            self._texts.append(choice["text"])
        if choice.get("error"):
            raise self._error(choice)
        finish = choice.get("finish_reason")
        if isinstance(finish, str) and finish:
            self._finish = FINISH.get(finish.lower(), FinishReason.OTHER)
            self._arrival.settled = True

    def _message(self, delta: dict[str, Any], *, whole: bool) -> None:
        content = delta.get("content")
        reasoning = _plain(delta.get("reasoning_content")) or _plain(delta.get("reasoning"))
        if reasoning:
            self._reason(reasoning)
        for kind, text in _pieces(content) if content else ():
            if kind == "reasoning":
                self._reason(text)
            else:
                self._write(text)
        refusal = delta.get("refusal")
        if isinstance(refusal, str) and refusal:
            self._write(refusal)
        for piece in self._tool_calls(delta, whole=whole):
            self._flush()
            self._out.append(Delta(tool_call=piece))

    def _reason(self, text: str) -> None:
        self._flush()
        self._said = True
        self._out.append(Delta(reasoning=text))

    def _write(self, text: str) -> None:
        if self._tags is None:
            self._texts.append(text)
            return
        for kind, piece in self._tags.feed(text):
            if kind == "reasoning":
                self._reason(piece)
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

    # ------------------------------------------------------------ the end

    def _is_document(self, payload: Any) -> bool:
        return isinstance(payload, dict) and bool(payload.get("choices"))

    def _end(self) -> None:
        """What was held back, and the delta with the finish reason and what there is to say about the answer."""
        if self._tags is not None:
            kind, rest = self._tags.finish()
            if rest:
                self._reason(rest) if kind == "reasoning" else self._texts.append(rest)
        self._flush()
        if self._finish is None and not self.done:
            raise self._arrival.unfinished()
        finish = self._finish or FinishReason.OTHER
        self._out.append(
            Delta(usage=self._usage, finish_reason=finish, notice=self._notice(finish, self._calls.any, self._said))
        )


# ---------------------------------------------------------------- small readings


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
