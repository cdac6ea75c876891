"""Broken streams, made from good ones: seeded, so that a failure can be had again."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Broken:
    """A stream that something was done to."""

    seed: int
    how: tuple[str, ...]
    data: bytes
    cuts: tuple[int, ...]
    """Where the network cuts it."""
    good: bytes
    """What it was made from."""

    @property
    def chunks(self) -> list[bytes]:
        """The pieces in which it arrives."""
        edges = [0, *self.cuts, len(self.data)]
        return [self.data[a:b] for a, b in itertools.pairwise(edges)]


def mutate(good: Sequence[bytes], seed: int) -> Broken:
    """One of the good streams with one to four faults, cut into chunks at random."""
    rng = random.Random(seed)
    start = rng.choice(good)
    data, how = start, []
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 4))):
        name = rng.choice(sorted(FAULTS))
        data = FAULTS[name](data, rng)
        how.append(name)
    count = rng.choice((0, 1, 3, 10, 40))
    cuts = sorted(rng.randrange(len(data) + 1) for _ in range(count)) if data else []
    return Broken(seed, tuple(how), data, tuple(cuts), start)


def _spot(data: bytes, rng: random.Random) -> int:
    return rng.randrange(len(data) + 1)


def _truncate(data: bytes, rng: random.Random) -> bytes:
    return data[: _spot(data, rng)]


def _flip(data: bytes, rng: random.Random) -> bytes:
    broken = bytearray(data)
    for _ in range(rng.randint(1, 8)):
        if broken:
            broken[rng.randrange(len(broken))] = rng.randrange(256)
    return bytes(broken)


def _delete(data: bytes, rng: random.Random) -> bytes:
    at = _spot(data, rng)
    return data[:at] + data[at + rng.randint(1, 60) :]


def _insert(data: bytes, rng: random.Random) -> bytes:
    at = _spot(data, rng)
    return data[:at] + rng.choice(_JUNK) + data[at:]


def _events(data: bytes) -> list[bytes]:
    return data.split(b"\n\n")


def _drop_event(data: bytes, rng: random.Random) -> bytes:
    events = _events(data)
    del events[rng.randrange(len(events))]
    return b"\n\n".join(events)


def _repeat_event(data: bytes, rng: random.Random) -> bytes:
    events = _events(data)
    at = rng.randrange(len(events))
    return b"\n\n".join(events[: at + 1] + events[at:])


def _swap_events(data: bytes, rng: random.Random) -> bytes:
    events = _events(data)
    a, b = rng.randrange(len(events)), rng.randrange(len(events))
    events[a], events[b] = events[b], events[a]
    return b"\n\n".join(events)


def _odd_event(data: bytes, rng: random.Random) -> bytes:
    events = _events(data)
    events.insert(rng.randrange(len(events) + 1), rng.choice(_ODD))
    return b"\n\n".join(events)


def _no_end(data: bytes, rng: random.Random) -> bytes:
    return data.replace(b"data: [DONE]", b"").replace(b'"stop"', b"null").replace(b"message_stop", b"message_stap")


def _line_ends(data: bytes, rng: random.Random) -> bytes:
    return data.replace(b"\n", rng.choice((b"\r", b"\r\n", b"\n\r", b"")))


def _value(data: bytes, rng: random.Random) -> bytes:
    old = rng.choice((b'"choices":[', b'"delta":{', b'"content":"', b"null", b'"index":0', b'"usage":{', b"true"))
    new = rng.choice((b'"choices":null,"x":[', b'"delta":[{', b'"content":["', b"-1", b"1e999", b'"', b"[]", b"{}"))
    return data.replace(old, new, rng.choice((1, -1)))


def _other(data: bytes, rng: random.Random) -> bytes:
    return rng.choice((b"", b"<html><body>502</body></html>", b"{}", b"[]", b"null", b"\x00" * 300, b"\xff\xfe" * 40,
                       b'{"error":{"message":"no"}}', b"data:", b"\n" * 500, b"data: [DONE]\n\n"))  # fmt: skip


_JUNK = (
    b"\xff", b"\xc3", b"\xe2\x82", b"\xf0\x9f\x98", b"\xed\xa0\xbd", b"\x00", b"\r", b"\n", b"\n\n", b"\r\n\r\n",
    b"\xef\xbb\xbf", b'"', b"{", b"}", b"[" * 50, b"\\", b"\\ud83d", b":", b"data: ", b"event: error\n",
    b"\xe2\x80\xa8",
)  # fmt: skip

_ODD = (
    b"data: null", b"data: 7", b'data: "text"', b"data: []", b"data: {}", b"data: true", b"data: [DONE]", b"data",
    b"data:", b":", b": ping", b"event: ping\ndata: {}", b"event: error\ndata: {}", b"event:", b"id: 1\nretry: 5",
    b'data: {"error": {"message": "overloaded", "code": 529}}', b'data: {"error": "text"}', b'data: {"choices": null}',
    b'data: {"choices": [null]}', b'data: {"choices": [{"delta": null}]}',
    b'data: {"choices": [{"delta": {"content": 7}}]}',
    b'data: {"choices": [{"index": "x", "delta": {"tool_calls": [{}]}}]}', b'data: {"usage": []}',
    b'data: {"usage": "x"}',
    b'data: {"choices": [{"finish_reason": 3}]}', b"data: " + b"[" * 3000, b'data: {"a":' * 200, b"data: 1e400",
    b'data: {"choices": [{"delta": {"content": "\\ud83d"}}]}', b"data: {\ndata: }", b"data: " + b"9" * 5000,
    b'data: {"type": "content_block_delta", "index": 99, "delta": {}}', b'data: {"type": 3}',
)  # fmt: skip

FAULTS: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "truncate": _truncate,
    "flip": _flip,
    "delete": _delete,
    "insert": _insert,
    "drop event": _drop_event,
    "repeat event": _repeat_event,
    "swap events": _swap_events,
    "odd event": _odd_event,
    "no end": _no_end,
    "line ends": _line_ends,
    "value": _value,
    "other": _other,
}
