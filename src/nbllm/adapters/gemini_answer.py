"""Reading Gemini's answer: events, or an array where a stream was asked for, into deltas."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from nbllm.adapters.bodies import error_from_payload, error_in_body, request_id
from nbllm.adapters.call_ids import arguments_text, made_id
from nbllm.adapters.chunks import CUT_REASONING, EMPTY
from nbllm.adapters.payloads import Decoder
from nbllm.adapters.reading import Arrival
from nbllm.adapters.usage import count
from nbllm.errors import ContentFilterError, StreamBrokenError
from nbllm.foreign import one_line
from nbllm.messages import Delta, FinishReason, ToolCallDelta, Usage
from nbllm.transport.sse import EVENT_CAP, SseDecoder

FINISH_REASONS: Mapping[str, FinishReason] = {
    "STOP": FinishReason.STOP,
    "MAX_TOKENS": FinishReason.LENGTH,
    "SAFETY": FinishReason.CONTENT_FILTER,
    "RECITATION": FinishReason.CONTENT_FILTER,
    "BLOCKLIST": FinishReason.CONTENT_FILTER,
    "PROHIBITED_CONTENT": FinishReason.CONTENT_FILTER,
    "SPII": FinishReason.CONTENT_FILTER,
    "MODEL_ARMOR": FinishReason.CONTENT_FILTER,
    "IMAGE_SAFETY": FinishReason.CONTENT_FILTER,
    "IMAGE_PROHIBITED_CONTENT": FinishReason.CONTENT_FILTER,
    "IMAGE_RECITATION": FinishReason.CONTENT_FILTER,
}
"""https://ai.google.dev/api/generate-content#FinishReason (read 2026-11-20); all others are `OTHER`."""

_SHOWN = frozenset({"text", "functionCall"})
_ASIDE = frozenset({"thought", "thoughtSignature", "partMetadata", "mediaResolution"})


class GeminiAnswer:
    """One answer, taken in payload by payload.

    A signature is kept with the call it came with. One that came with text is dropped: sending it back is
    optional there, and in a conversation that goes on with another model it would be refused as corrupt.
    """

    def __init__(self, arrival: Arrival, *, provider: str, model: str) -> None:
        self._arrival = arrival
        self._provider = provider
        self._model = model
        self._facts = Delta()  # what the last delta repeats
        self._calls = 0
        self._finish: FinishReason | None = None
        self._thought = False
        self._told: set[str] = set()

    def take(self, payload: Mapping[str, Any]) -> Iterator[Delta]:
        """The deltas of one payload.

        Raises:
            ProviderError: The payload is an error, or says that the prompt was blocked.
        """
        if error_in_body(payload):
            raise error_from_payload(payload, provider=self._provider, headers=self._arrival.headers, model=self._model)
        self._refuse_blocked(payload)
        candidate = _first(payload.get("candidates"))
        yield from self._note_facts(payload)
        for part in _parts(candidate):
            yield from self._part(part)
        yield from self._note_finish(candidate)

    def end(self) -> Delta:
        """The last delta, with the finish reason and the count.

        Raises:
            StreamBrokenError: No finish reason came.
        """
        if self._finish is None:
            raise self._arrival.unfinished()
        finish = self._finish
        if finish is FinishReason.STOP and self._calls:
            finish = FinishReason.TOOL_CALLS
        return replace(self._facts, finish_reason=finish, notice=self._notice(finish))

    def _notice(self, finish: FinishReason) -> str | None:
        if self._arrival.partial or self._calls:
            return None
        if finish is FinishReason.LENGTH and self._thought:
            return CUT_REASONING
        return EMPTY if finish is FinishReason.STOP else None

    def _refuse_blocked(self, payload: Mapping[str, Any]) -> None:
        feedback = payload.get("promptFeedback")
        reason = feedback.get("blockReason") if isinstance(feedback, dict) else None
        if not reason or payload.get("candidates"):
            return
        said = feedback.get("blockReasonMessage") if isinstance(feedback, dict) else None
        raise ContentFilterError(
            f"{self._provider} refused the prompt: {one_line(said or reason)}",
            hint="change the prompt, or use another model",
            provider=self._provider,
            status=200,
            request_id=self._request_id(payload),
        )

    def _request_id(self, payload: Mapping[str, Any]) -> str | None:
        given = payload.get("responseId")
        return one_line(given, 120) if isinstance(given, str) and given else request_id(self._arrival.headers)

    def _note_facts(self, payload: Mapping[str, Any]) -> Iterator[Delta]:
        """Who answers and what it counted so far, whenever that changes."""
        model = payload.get("modelVersion")
        facts = Delta(
            usage=read_usage(payload.get("usageMetadata")) or self._facts.usage,
            model_reported=model if isinstance(model, str) and model else self._facts.model_reported,
            request_id=self._facts.request_id or self._request_id(payload),
        )
        if facts != self._facts:
            self._facts = facts
            yield facts

    def _part(self, part: Mapping[str, Any]) -> Iterator[Delta]:
        text = part.get("text")
        if isinstance(text, str) and text:
            if part.get("thought") is True:
                self._thought = True
                yield Delta(reasoning=text)
            else:
                self._arrival.partial.append(text)
                yield Delta(text=text)
        if isinstance(part.get("functionCall"), dict):
            yield self._call(part["functionCall"], part.get("thoughtSignature"))
        # Unknown kinds are counted once each: code that ran on the server, pictures, audio.
        for kind in part.keys() - _SHOWN - _ASIDE - self._told:
            self._told.add(kind)
            yield Delta(notice=f"the answer also holds {one_line(kind, 40)!r}, which nbllm does not show")

    def _call(self, call: Mapping[str, Any], signature: Any) -> Delta:
        name, arguments = str(call.get("name") or ""), arguments_text(call.get("args"))
        given = call.get("id")
        made = made_id(self._facts.request_id, self._calls, name, arguments)
        piece = ToolCallDelta(
            index=self._calls,
            id=given if isinstance(given, str) and given else made,
            name=name,
            arguments=arguments,
            signature=signature if isinstance(signature, str) and signature else None,
        )
        self._calls += 1
        return Delta(tool_call=piece)

    def _note_finish(self, candidate: Mapping[str, Any]) -> Iterator[Delta]:
        reason = candidate.get("finishReason")
        if not isinstance(reason, str) or reason in ("", "FINISH_REASON_UNSPECIFIED"):
            return
        self._finish = FINISH_REASONS.get(reason, FinishReason.OTHER)
        self._arrival.settled = True
        if self._finish is FinishReason.OTHER:
            said = candidate.get("finishMessage")
            yield Delta(notice=f"{self._provider} ended the answer with {one_line(said or reason)}")


def _first(candidates: Any) -> Mapping[str, Any]:
    first = candidates[0] if isinstance(candidates, list) and candidates else None
    return first if isinstance(first, dict) else {}


def _parts(candidate: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    content = candidate.get("content")
    parts = content.get("parts") if isinstance(content, dict) else None
    return [p for p in parts if isinstance(p, dict)] if isinstance(parts, list) else []


def read_usage(counted: Any) -> Usage | None:
    """`usageMetadata` in classes that do not overlap; None when it says nothing.

    The prompt's count includes the cached tokens; thoughts are counted beside the candidates. Google's JSON leaves
    out counts of zero, so a missing output is what the total leaves.
    https://ai.google.dev/api/generate-content#UsageMetadata (read 2026-11-20)
    """
    if not isinstance(counted, Mapping):
        return None
    total, prompt = count(counted.get("totalTokenCount")), count(counted.get("promptTokenCount"))
    output, thoughts = count(counted.get("candidatesTokenCount")), count(counted.get("thoughtsTokenCount"))
    cached, by_tools = count(counted.get("cachedContentTokenCount")), count(counted.get("toolUsePromptTokenCount"))
    if not any((total, prompt, output, thoughts)):
        return None  # all zero or nothing: mock servers send that beside a text
    read = None if prompt is None else prompt + (by_tools or 0)
    if output is not None:
        output += thoughts or 0
    elif total is not None and read is not None:
        output = max(0, total - read)
    return Usage(
        input_tokens=None if read is None else max(0, read - (cached or 0)),
        cached_input_tokens=cached,
        output_tokens=output,
        reasoning_tokens=thoughts,
    )


# ---------------------------------------------------------------- bytes to payloads


def choose_decoder(head: bytes) -> Decoder:
    """Events, or the array that a server sends which does not know `alt=sse`."""
    return _Elements() if head[:1] in (b"[", b"{") else _Events()


class _Events:
    """The data of server-sent events."""

    def __init__(self) -> None:
        self._decoder = SseDecoder()

    def feed(self, chunk: bytes) -> list[str]:
        return [e.data for e in self._decoder.feed(chunk) if _has_payload(e.data)]

    def finish(self) -> list[str]:
        return [e.data for e in self._decoder.finish() if _has_payload(e.data)]


def _has_payload(data: str) -> bool:
    # Gemini has no end event; servers that imitate it borrow OpenAI's.
    return bool(data) and data != "[DONE]"


class _Elements:
    """The elements of one JSON array as they become complete, or a single object."""

    def __init__(self) -> None:
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._json = json.JSONDecoder()
        self._text = ""
        self._next_try = 0

    def feed(self, chunk: bytes) -> list[str]:
        self._text += self._decode(chunk)
        # Only a brace completes an element. After a try in vain the next one waits until the text has grown by an
        # eighth, so that a body that comes byte by byte is not read from its start each time.
        if b"}" not in chunk or len(self._text) < self._next_try:
            if len(self._text) > EVENT_CAP:
                raise StreamBrokenError("one element of the answer is longer than 1 MB")
            return []
        found = self._complete()
        self._next_try = len(self._text) * 9 // 8
        return found

    def finish(self) -> list[str]:
        found = self._complete()
        rest = self._text.strip("[], \r\n\t")
        return [*found, rest] if rest else found

    def _complete(self) -> list[str]:
        found: list[str] = []
        while True:
            text = self._text.lstrip("[, \r\n\t")
            if not text.startswith("{"):
                return found
            try:
                _, end = self._json.raw_decode(text)
            except (ValueError, RecursionError):
                return found
            found.append(text[:end])
            self._text = text[end:]
