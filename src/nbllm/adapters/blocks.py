"""A Messages answer, decoded: a stream of events about content blocks, or one JSON document, whichever came."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nbllm.adapters.bodies import error_in_body, request_id
from nbllm.adapters.body import BodyReader
from nbllm.adapters.usage import anthropic_usage
from nbllm.messages import ChatRequest, Delta, FinishReason, ToolCallDelta
from nbllm.transport.sse import Event, parse_object

if TYPE_CHECKING:
    from nbllm.adapters.reading import Arrival
    from nbllm.providers.spec import ProviderConfig

FINISH = {
    "end_turn": FinishReason.STOP,
    "stop_sequence": FinishReason.STOP,
    "stop": FinishReason.STOP,
    "max_tokens": FinishReason.LENGTH,
    "model_context_window_exceeded": FinishReason.LENGTH,
    "tool_use": FinishReason.TOOL_CALLS,
    "refusal": FinishReason.CONTENT_FILTER,
}
"""https://docs.claude.com/en/api/handling-stop-reasons (read 2026-11-20); `pause_turn` and new ones are OTHER."""


class _Block:
    """A content block that is open, or was: servers close them late, or never."""

    __slots__ = ("call", "is_answer", "pieces", "whole")

    def __init__(self) -> None:
        self.call: int | None = None
        """Number of the tool call; None for blocks of other kinds."""
        self.is_answer = False
        """Whether it is the forced tool whose input is the answer itself."""
        self.whole = ""
        """Input that came at the start of the block; it counts when no pieces follow."""
        self.pieces = False


class Answer(BodyReader):
    """One answer, fed with the bytes of its body. Use it once."""

    __slots__ = ("_answer_tool", "_blocks", "_calls", "_counts", "_finish", "_last", "_reasoned")

    def __init__(self, request: ChatRequest, provider: ProviderConfig, arrival: Arrival) -> None:
        super().__init__(request, provider, arrival)
        self._answer_tool = request.schema_name if request.schema is not None else None
        self._blocks: dict[Any, _Block] = {}
        self._last: Any = None
        self._calls = 0
        self._counts: dict[str, Any] = {}
        self._finish: FinishReason | None = None
        self._reasoned = False

    def _events(self, events: list[Event]) -> None:
        for event in events:
            if event.data == "[DONE]":  # not of this format, and some servers send it all the same
                self.done = self._arrival.settled = True
                break
            if event.event == "ping" or not event.data:
                continue
            payload = parse_object(event.data, provider=self._provider)
            kind = payload.get("type") or event.event
            if kind == "content_block_delta":
                self._delta(payload)
            elif kind == "error" or event.event == "error" or error_in_body(payload):
                raise self._error(payload)
            elif kind == "message_stop":
                self.done = self._arrival.settled = True
                break
            else:
                self._step(str(kind), payload)
        self._flush()

    def _step(self, kind: str, payload: dict[str, Any]) -> None:
        if kind == "message_start":
            self._open(_mapping(payload.get("message")))
        elif kind == "content_block_start":
            self._start(payload.get("index"), _mapping(payload.get("content_block")))
        elif kind == "content_block_stop":
            self._stop(self._blocks.get(payload.get("index", self._last)))
        elif kind == "message_delta":
            self._count(payload.get("usage"))
            self._stopped(_mapping(payload.get("delta")).get("stop_reason"))
        elif "choices" in payload:
            raise self._arrival.no_answer("a stream of another wire format")

    # ------------------------------------------------------------ the message

    def _open(self, message: Mapping[str, Any]) -> None:
        model = message.get("model")
        model = model if isinstance(model, str) and model else None
        if not self._opened:
            self._opened = True
            self._out.append(Delta(model_reported=model, request_id=request_id(self._arrival.headers)))
        # The output count at the start is a placeholder; the true one comes with message_delta.
        self._count({k: v for k, v in _mapping(message.get("usage")).items() if k != "output_tokens"})

    def _count(self, usage: Any) -> None:
        self._counts |= {k: v for k, v in _mapping(usage).items() if v is not None}
        if counted := anthropic_usage(self._counts):
            self._out.append(Delta(usage=counted))

    def _stopped(self, reason: Any) -> None:
        if isinstance(reason, str) and reason:
            self._finish = FINISH.get(reason, FinishReason.OTHER)
            self._arrival.settled = True

    # ------------------------------------------------------------ blocks

    def _start(self, index: Any, shape: Mapping[str, Any]) -> None:
        block = self._blocks[_key(index)] = _Block()
        self._last = _key(index)
        kind = shape.get("type")
        if kind == "tool_use":
            self._start_call(block, shape)
        elif kind == "text":
            self._write(shape.get("text"))
        elif kind == "thinking":
            self._reason(shape.get("thinking"))
            self._sign(shape.get("signature"))
        elif kind == "redacted_thinking" and isinstance(shape.get("data"), str):
            self._flush()
            self._reasoned = True
            self._out.append(Delta(reasoning_redacted=shape["data"]))

    def _start_call(self, block: _Block, shape: Mapping[str, Any]) -> None:
        name = shape.get("name")
        input_ = shape.get("input")
        if input_:
            block.whole = input_ if isinstance(input_, str) else json.dumps(input_, ensure_ascii=False)
        if name == self._answer_tool and name is not None:
            block.is_answer = True
            return
        block.call = self._calls
        self._calls += 1
        self._flush()
        id_ = shape.get("id")
        piece = ToolCallDelta(
            index=block.call, id=id_ if isinstance(id_, str) else None, name=name if isinstance(name, str) else None
        )
        self._out.append(Delta(tool_call=piece))

    def _delta(self, payload: dict[str, Any]) -> None:
        delta = payload.get("delta")
        if not isinstance(delta, dict):
            return
        kind = delta.get("type")
        if kind == "text_delta":
            self._write(delta.get("text"))
        elif kind == "thinking_delta":
            self._reason(delta.get("thinking"))
        elif kind == "signature_delta":
            self._sign(delta.get("signature"))
        elif kind == "input_json_delta":
            self._input(self._blocks.get(_key(payload.get("index", self._last))), delta.get("partial_json"))

    def _input(self, block: _Block | None, text: Any) -> None:
        if block is None or not isinstance(text, str) or not text:
            return
        block.pieces = True
        if block.is_answer:
            self._texts.append(text)
        elif block.call is not None:
            self._flush()
            self._out.append(Delta(tool_call=ToolCallDelta(index=block.call, arguments=text)))

    def _stop(self, block: _Block | None) -> None:
        if block is not None and block.whole and not block.pieces:
            self._input(block, block.whole)

    def _write(self, text: Any) -> None:
        if isinstance(text, str):
            self._texts.append(text)

    def _reason(self, text: Any) -> None:
        if isinstance(text, str) and text:
            self._flush()
            self._reasoned = True
            self._out.append(Delta(reasoning=text))

    def _sign(self, signature: Any) -> None:
        if isinstance(signature, str) and signature:
            self._flush()
            self._out.append(Delta(reasoning_signature=signature))

    # ------------------------------------------------------------ a whole document, and the end

    def _is_document(self, payload: Any) -> bool:
        return isinstance(payload, dict) and isinstance(payload.get("content"), list)

    def _take(self, payload: dict[str, Any]) -> None:
        self._open(payload)
        for index, shape in enumerate(payload["content"]):
            self._start(index, _mapping(shape))
        self._count(payload.get("usage"))
        self._stopped(payload.get("stop_reason"))

    def _end(self) -> None:
        for block in self._blocks.values():  # those that nobody closed
            self._stop(block)
        self._flush()
        if self._finish is None and not self.done:
            raise self._arrival.unfinished()
        finish = self._finish or FinishReason.OTHER
        if finish is FinishReason.TOOL_CALLS and not self._calls:
            finish = FinishReason.STOP  # the only call was the answer itself
        self._out.append(
            Delta(
                usage=anthropic_usage(self._counts),
                finish_reason=finish,
                notice=self._notice(finish, self._calls > 0, self._reasoned),
            )
        )


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _key(index: Any) -> Any:
    """What blocks are found by: their number, or whatever stands in its place."""
    return index if isinstance(index, (int, str)) else None
