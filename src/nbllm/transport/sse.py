"""Bytes to events: server-sent events and JSON lines.

This runs once a token, so it works on whole chunks: text is cut at line ends in bulk, and only lines that are no
plain `data: ...` are looked at one by one. What comes out does not depend on where the network cut the stream.

Server-sent events: https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
(read 2026-11-20). Departures, each for a server that was seen: an event whose blank line is missing at the end of
the body still counts (a cut one is no JSON and is refused by `parse_object`), and an unnamed event without data is
a sign of life, not an event.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from nbllm.errors import StreamBrokenError

EVENT_CAP = 1_000_000
"""Bytes of one event, or of one JSON line."""
ANSWER_CAP = 64_000_000
"""Bytes of one answer, after decompression."""
ERROR_CAP = 1_000_000
"""Bytes of an error's body that are read; the rest is left."""
LISTING_CAP = 50_000_000
"""Bytes of a model listing."""

_BOM = "\ufeff"
_SURELY_SHORT = EVENT_CAP // 4
"""Characters of a line that cannot have too many bytes: UTF-8 needs at most 4 for each."""


class Event(NamedTuple):
    """One event. A named tuple, since making a frozen dataclass costs three times as much and this runs per token."""

    event: str
    """The event's name; `message` when the server gave none."""
    data: str
    """Its data lines, joined by line feeds."""


class _Lines:
    """Complete lines out of chunks of bytes: LF, CR and CRLF, also mixed, also when a chunk ends between CR and LF.

    Bytes that are no UTF-8 become U+FFFD, as the specification has it. Since chunks are decoded up to their last
    line end only, a character is never cut.
    """

    __slots__ = ("_after_cr", "_cap", "_pending", "_size", "_started", "_total", "_what")

    def __init__(self, *, cap: int, what: str) -> None:
        self._cap = cap
        self._what = what
        self._pending: list[bytes] = []
        self._size = 0
        self._total = 0
        self._after_cr = False
        self._started = False

    def feed(self, chunk: bytes) -> str | None:
        """The text up to the last line end, without that line end; None when no line is complete yet."""
        self._total += len(chunk)
        if self._total > ANSWER_CAP:
            raise StreamBrokenError(
                f"the answer is longer than {ANSWER_CAP // 1_000_000} MB", hint="ask for a shorter answer"
            )
        if self._after_cr or b"\r" in chunk:
            chunk = self._without_cr(chunk)
        head, end, tail = chunk.rpartition(b"\n")
        if not end:
            # Collected in a list: joining at every chunk would take quadratic time for a server that drips.
            self._keep(chunk)
            return None
        if self._pending:
            self._pending.append(head)
            head = b"".join(self._pending)
            self._pending.clear()
            self._size = 0
        self._keep(tail)
        text = head.decode("utf-8", "replace")
        if not self._started:
            self._started = True
            text = text.removeprefix(_BOM)
        return text

    def _without_cr(self, chunk: bytes) -> bytes:
        if self._after_cr and chunk:
            chunk = chunk.removeprefix(b"\n")
            self._after_cr = False
        if chunk.endswith(b"\r"):
            self._after_cr = True
        return chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _keep(self, tail: bytes) -> None:
        if tail:
            self._pending.append(tail)
            self._size += len(tail)
            if self._size > self._cap:
                raise _too_long(self._what, self._cap)

    def finish(self) -> str:
        """What stands after the last line end."""
        text = b"".join(self._pending).decode("utf-8", "replace")
        self._pending.clear()
        self._size = 0
        return text if self._started else text.removeprefix(_BOM)


class SseDecoder:
    """Server-sent events out of chunks of bytes. One for each response.

    Raises:
        StreamBrokenError: An event is longer than `EVENT_CAP`, or the whole longer than `ANSWER_CAP`.
    """

    __slots__ = ("_data", "_lines", "_name", "_size")

    def __init__(self) -> None:
        self._lines = _Lines(cap=EVENT_CAP + len(b"data: "), what="an event")
        self._data: list[str] = []
        self._name = ""
        self._size = 0

    def feed(self, chunk: bytes) -> list[Event]:
        """The events that `chunk` completes."""
        text = self._lines.feed(chunk)
        if text is None:
            return []
        events: list[Event] = []
        data = self._data
        only: str | None = None
        for line in text.split("\n"):
            if not line:
                # Most events are one short line of data: that way is kept short.
                if only is not None:
                    if only or self._name:
                        events.append(Event(self._name or "message", only))
                    only = None
                elif data:
                    events += self._take()
                self._name = ""
            elif only is None and not data and len(line) <= _SURELY_SHORT and line.startswith("data: "):
                only = line[6:]
            else:
                if only is not None:
                    self._add(only)
                    only = None
                self._field(line)
        if only is not None:
            self._add(only)
        return events

    def _take(self) -> list[Event]:
        """The event that is open, in a list; an unnamed one without data is none."""
        value = "\n".join(self._data)
        self._data.clear()
        self._size = 0
        return [Event(self._name or "message", value)] if value or self._name else []

    def finish(self) -> list[Event]:
        """The event that stood open when the body ended, if there is one."""
        rest = self._lines.finish()
        if rest:
            self._field(rest)
        events = self._take() if self._data else []
        self._name = ""
        return events

    def _add(self, value: str) -> None:
        # Bytes are counted; for ASCII, which Python knows of each string, they are the characters.
        self._size += (len(value) if value.isascii() else len(value.encode())) + bool(self._data)
        if self._size > EVENT_CAP:
            raise _too_long("an event", EVENT_CAP)
        self._data.append(value)

    def _field(self, line: str) -> None:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._add(value)
        elif name == "event":
            self._name = value
        # Comments (an empty name), `id`, `retry` and unknown fields say nothing that is used here.


class JsonLinesDecoder:
    """One JSON text a line, as Ollama streams them. Empty lines are left out.

    Raises:
        StreamBrokenError: A line is longer than `EVENT_CAP`, or the whole longer than `ANSWER_CAP`.
    """

    __slots__ = ("_lines",)

    def __init__(self) -> None:
        self._lines = _Lines(cap=EVENT_CAP, what="a line")

    def feed(self, chunk: bytes) -> list[str]:
        """The lines that `chunk` completes."""
        text = self._lines.feed(chunk)
        if text is None:
            return []
        lines = [line for line in text.split("\n") if line and not line.isspace()]
        if len(text) > _SURELY_SHORT and any(len(line.encode()) > EVENT_CAP for line in lines):
            raise _too_long("a line", EVENT_CAP)
        return lines

    def finish(self) -> list[str]:
        """The line that had no line end when the body ended."""
        rest = self._lines.finish()
        return [rest] if rest.strip() else []


def _too_long(what: str, cap: int) -> StreamBrokenError:
    return StreamBrokenError(f"{what} of the answer is longer than {cap // 1_000_000} MB")


def parse_object(data: str, *, provider: str) -> dict[str, Any]:
    """One event's data as a JSON object.

    Half of a surrogate pair (`\\ud83d` alone) becomes U+FFFD: it is no character, and neither the store nor a
    terminal could write it.

    Raises:
        StreamBrokenError: It is no JSON, too deeply nested, or not an object.
    """
    value = _parse(data)
    # Raised out here: an exception of json holds the whole text.
    if not isinstance(value, dict):
        raise StreamBrokenError(
            f"{provider} sent something that is not a JSON object",
            hint="the answer is incomplete; ask again",
            provider=provider,
        )
    if "\\u" in data and ("\\ud" in data or "\\uD" in data):
        whole: dict[str, Any] = _whole_characters(value)
        return whole
    return value


_scan = json.JSONDecoder().raw_decode
"""`json.loads` without its looking for blanks, which takes a fifth of the time of a short text."""


def _parse(data: str) -> Any:
    """The value, or None when it is no JSON."""
    try:
        value, end = _scan(data)
        return value if end == len(data) else json.loads(data)
    except ValueError:
        pass
    except RecursionError:
        return None
    try:
        return json.loads(data)  # blanks in front
    except (ValueError, RecursionError):
        return None


def _whole_characters(value: Any) -> Any:
    if isinstance(value, str):
        return value if _encodes(value) else value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_whole_characters(item) for item in value]
    if isinstance(value, dict):
        return {_whole_characters(key): _whole_characters(item) for key, item in value.items()}
    return value


def _encodes(text: str) -> bool:
    return not any("\ud800" <= char <= "\udfff" for char in text)
