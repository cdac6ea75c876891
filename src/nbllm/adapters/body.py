"""From the bytes of an answer's body to deltas, as far as wire formats have it in common."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nbllm.adapters.bodies import error_from_payload, error_in_body
from nbllm.errors import NbllmError, ProviderError, StreamBrokenError
from nbllm.messages import ChatRequest, Delta, FinishReason
from nbllm.transport.sse import Event, SseDecoder, parse_object

if TYPE_CHECKING:
    from nbllm.adapters.reading import Arrival
    from nbllm.providers.spec import ProviderConfig


EMPTY = "the answer is empty"
CUT_REASONING = "the answer ended inside the reasoning: raise --max-tokens"


class BodyReader:
    """Fed with the bytes of an answer's body, gives out deltas: what wire formats of events have in common.

    A subclass says what the events mean (`_events`), what a whole document looks like (`_is_document`, `_take`), and
    what the end is (`_end`). Content types are not believed: servers send JSON where a stream was asked for, a
    stream where JSON was, and either under `text/plain`.
    """

    __slots__ = (
        "_arrival", "_body", "_decoder", "_form", "_head", "_model", "_opened", "_out", "_provider", "_texts",
        "done", "failure",
    )  # fmt: skip

    def __init__(self, request: ChatRequest, provider: ProviderConfig, arrival: Arrival) -> None:
        self.done = False
        """Whether nothing more is expected: the end event came, or an error."""
        self._provider = provider.id
        self._model = request.model
        self._arrival = arrival
        self._decoder = SseDecoder()
        self._form: str | None = None
        self._head = b""
        self._body: list[bytes] = []
        self._out: list[Delta] = []
        """Deltas that were not given out yet; text waits in `_texts`, so that adjacent pieces become one."""
        self._texts: list[str] = []
        self.failure: NbllmError | None = None
        """What to raise after the deltas that came before it."""
        self._opened = False
        """Whether the model and the request id were passed on."""

    def feed(self, chunk: bytes) -> list[Delta]:
        """What one piece of the network adds. An error in it becomes `failure`."""
        try:
            if self._form == "stream":
                self._events(self._decoder.feed(chunk))
            else:
                self._begin(chunk)
        except NbllmError as error:
            self._fail(error)
        return self._given()

    def finish(self) -> list[Delta]:
        """What is left at the end of the body: either the last delta has the finish reason, or `failure` is set.

        `failure` is a ProviderError when the answer is an error or no answer at all, a StreamBrokenError when it
        ended without a finish reason and without `[DONE]`, or cannot be read.
        """
        try:
            if self.failure is None:
                if self._form in ("json", "page"):
                    self._document(b"".join(self._body))
                elif not self.done:
                    self._events(self._decoder.finish())
                self._end()
        except NbllmError as error:
            self._fail(error)
        return self._given()

    def _given(self) -> list[Delta]:
        out, self._out = self._out, []
        if len(out) > 1 and out[0].model_reported and not out[0].text and out[1].model_reported is None:
            # One delta less on the way to the first token, each of which wakes another thread.
            out[:2] = [replace(out[1], model_reported=out[0].model_reported, request_id=out[0].request_id)]
        return out

    def _fail(self, error: NbllmError) -> None:
        self._flush()
        if isinstance(error, StreamBrokenError) and not error.partial:
            error = self._arrival.broken_by(error)
        self.failure = error
        self.done = True

    def _begin(self, chunk: bytes) -> None:
        """The first bytes decide what the body is."""
        if self._form is not None:
            self._body.append(chunk)
            return
        self._head += chunk
        self._form = _form(self._head)
        if self._form == "stream":
            self._events(self._decoder.feed(self._head))
        elif self._form is not None:
            self._body.append(self._head)

    def _document(self, body: bytes) -> None:
        """A body that is no event stream: JSON, also where a stream was asked for, or a web page."""
        if self._form == "page":
            raise self._arrival.no_answer("a web page")
        payload = _json(body)
        if payload is None:
            raise self._arrival.broken("sent JSON that is cut or broken")
        if error_in_body(payload):
            raise self._error(payload)
        if not self._is_document(payload):
            raise self._arrival.no_answer("other JSON")
        self._take(payload)
        self._flush()
        self.done = True

    def _error(self, payload: Any) -> ProviderError:
        return error_from_payload(payload, provider=self._provider, headers=self._arrival.headers, model=self._model)

    def _flush(self) -> None:
        if self._texts:
            text = "".join(self._texts)
            self._texts.clear()
            if text:
                self._arrival.partial.append(text)
                self._out.append(Delta(text=text))

    def _notice(self, finish: FinishReason, called: bool, reasoned: bool) -> str | None:
        """What there is to say about an answer without text."""
        if self._arrival.partial or called:
            return None
        if finish is FinishReason.LENGTH and reasoned:
            return CUT_REASONING
        return EMPTY if finish in (FinishReason.STOP, FinishReason.OTHER) else None

    # ------------------------------------------------------------ what a wire format adds

    def _events(self, events: list[Event]) -> None:
        raise NotImplementedError

    def _is_document(self, payload: Any) -> bool:
        raise NotImplementedError

    def _take(self, payload: dict[str, Any]) -> None:
        raise NotImplementedError

    def _end(self) -> None:
        raise NotImplementedError


def _form(head: bytes) -> str | None:
    """What the first bytes are the beginning of: `stream`, `json`, `page`; None when they do not say yet.

    Content types are not believed: servers send JSON where a stream was asked for, a stream where JSON was, and
    either under `text/plain`.
    """
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not start:
        return None if len(head) < 4096 else "stream"
    return {b"{": "json", b"[": "json", b"<": "page"}.get(start[:1], "stream")


def _json(body: bytes) -> Any:
    """The document; None when it is none. Half a surrogate pair is made whole by `parse_object`."""
    text = body.decode("utf-8-sig", "replace")
    try:
        value = json.loads(text)
        return parse_object(text, provider="") if isinstance(value, dict) else value
    except (ValueError, RecursionError, StreamBrokenError):
        return None
