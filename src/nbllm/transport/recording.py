"""A recording: what was asked and what was answered, a line of JSON each, for people to review and to answer from.

A line begins with its format, the hash of its request, and the run that wrote it; so a file is opened by looking at
the beginnings of its lines, and a line is read in full when it is needed. Lines that cannot be used (broken, of a
newer format, marks of a merge) are told of and passed over; the others count.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nbllm.files import FILE_MODE, locked

FORMAT = 1
SUFFIX = ".replay.jsonl"
_LONG = 1000
"""A text of base64 this long is a picture or a file: its digest stands for it."""
_BASE64 = re.compile(r"(data:[\w./+-]+;base64,)?[A-Za-z0-9+/_-]+={0,2}")
_HEAD = re.compile(rb'\{"nbllm_replay":(\d+),"hash":"([0-9a-f]{64})","run":"([^"\\]*)","provider":"([^"\\]*)"')
_MARKS = (b"<<<<<<<", b"=======", b">>>>>>>", b"|||||||")


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as far as an answer depends on it: no key, no header, no host."""

    provider: str
    """The row's id. It is part of the hash, the address is not: servers of this machine change their ports."""
    method: str
    path: str
    """Behind the origin, with its query."""
    body: Any
    """JSON; what is long and base64 is replaced by its digest."""

    @property
    def hash(self) -> str:
        """SHA-256 over the canonical JSON."""
        return hashlib.sha256(canonical(self.as_json() | {"provider": self.provider}).encode()).hexdigest()

    def as_json(self) -> dict[str, Any]:
        """What stands under `request` in a line."""
        return {"method": self.method, "path": self.path, "body": self.body}


def canonical(value: Any) -> str:
    """JSON with sorted keys and without spaces: the same for equal values."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def asked(provider: str, method: str, path: str, content: bytes) -> Asked | None:
    """The request, or None when its body is no JSON object."""
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return Asked(provider, method, path, _shortened(body)) if isinstance(body, dict) else None


def _shortened(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _shortened(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_shortened(v) for v in value]
    if isinstance(value, str) and len(value) > _LONG and _BASE64.fullmatch(value):
        return f"base64, {len(value)} characters, sha256:{hashlib.sha256(value.encode()).hexdigest()}"
    return value


@dataclass(slots=True)
class Exchange:
    """One request and what came back."""

    asked: Asked
    run: str
    when: str
    """UTC, ISO 8601."""
    origin: str
    status: int
    headers: Mapping[str, str]
    chunks: list[tuple[float, bytes]] = field(default_factory=list)
    """Milliseconds since the request was sent, and the bytes that came then."""
    ends: str = "complete"
    """`complete`, `closed` (we had all and hung up), or `broken`."""
    failure: Mapping[str, str] | None = None
    """How a broken one broke: `error`, `message`, `hint`, `phase`."""
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def day(self) -> str:
        """When it was recorded, as it is shown."""
        return self.when[:10]

    def to_line(self) -> str:
        """The line, without its end."""
        return json.dumps(
            {
                "nbllm_replay": FORMAT,
                "hash": self.asked.hash,
                "run": self.run,
                "provider": self.asked.provider,
                "when": self.when,
                "origin": self.origin,
                "request": self.asked.as_json(),
                "status": self.status,
                "headers": dict(self.headers),
                "chunks": _as_text(self.chunks),
                "ends": self.ends,
                "failure": self.failure,
                "usage": usage_in(self.chunks),
                "versions": dict(self.versions),
            },
            separators=(",", ":"),
            ensure_ascii=False,
        )


def _as_text(chunks: list[tuple[float, bytes]]) -> list[Any]:
    """Pieces of text; where a piece ends inside a character, the bytes in hex, so that nothing is changed."""
    rows: list[Any] = []
    for at, piece in chunks:
        try:
            rows.append([round(at, 1), piece.decode()])
        except UnicodeDecodeError:
            rows.append([round(at, 1), {"hex": piece.hex()}])
    return rows


def _as_bytes(rows: Any) -> list[tuple[float, bytes]]:
    return [(float(at), bytes.fromhex(p["hex"]) if isinstance(p, dict) else p.encode()) for at, p in rows]


def events_in(chunks: list[tuple[float, bytes]]) -> Iterator[Any]:
    """The JSON values in a body, whichever way they are separated."""
    body = b"".join(piece for _, piece in chunks).decode(errors="replace")
    try:
        yield json.loads(body)
        return
    except (ValueError, RecursionError):
        pass
    for line in body.splitlines():
        try:
            yield json.loads(line.removeprefix("data:").strip())
        except (ValueError, RecursionError):
            continue


def usage_in(chunks: list[tuple[float, bytes]]) -> dict[str, Any] | None:
    """The last count of tokens in an answer, in the provider's own words; None when there is none."""
    found: dict[str, Any] = {}
    for event in events_in(chunks):
        if not isinstance(event, dict):
            continue
        inner = event.get("message")
        for holder in (inner if isinstance(inner, dict) else {}, event):
            for name in ("usage", "usageMetadata"):
                if isinstance(holder.get(name), dict):
                    found |= holder[name]
        found |= {k: event[k] for k in ("prompt_eval_count", "eval_count") if isinstance(event.get(k), int)}
    return found or None


def said_in(chunks: list[tuple[float, bytes]]) -> str:
    """What the events of an answer say when their texts are put together: a key may come in pieces."""
    texts: dict[str, list[str]] = {}
    for event in events_in(chunks):
        for path, text in _texts(event, ""):
            texts.setdefault(path, []).append(text)
    return "\n".join("".join(pieces) for pieces in texts.values() if len(pieces) > 1)


def _texts(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _texts(inner, f"{path}.{name}")
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner, path)
    elif isinstance(value, str):
        yield path, value


def from_line(line: str | bytes) -> Exchange:
    """The exchange in a line.

    Raises:
        ValueError: It is broken, or of another format; the message says which.
    """
    try:
        row = json.loads(line)
        if row["nbllm_replay"] != FORMAT:
            raise ValueError(_format_words(row["nbllm_replay"]))
        request = row["request"]
        return Exchange(
            asked=Asked(row["provider"], request["method"], request["path"], request["body"]),
            run=row["run"],
            when=row["when"],
            origin=row.get("origin", ""),
            status=int(row["status"]),
            headers={str(k): str(v) for k, v in row["headers"].items()},
            chunks=_as_bytes(row["chunks"]),
            ends=row["ends"],
            failure=row.get("failure"),
            versions=row.get("versions") or {},
        )
    except (KeyError, TypeError, AttributeError, RecursionError, json.JSONDecodeError):
        raise ValueError("is broken") from None


def _format_words(found: Any) -> str:
    return f"is of format {found!r}, and this version of nbllm reads {FORMAT}: update nbllm"


@dataclass(frozen=True, slots=True)
class Place:
    """Where an exchange stands in its file."""

    hash: str
    run: str
    provider: str
    number: int
    """Of the line, from 1."""
    line: bytes

    @property
    def scope(self) -> str:
        """Whose run it was, where several share the file; empty: anybody's. See `Recordings.scope`."""
        return self.run.rpartition(":")[0]


def newest_run(places: Sequence[Place], scope: str = "") -> str:
    """Of runs that asked the same, the one whose answers count: the newest of this scope or of none, else of all."""
    own = [place for place in places if place.scope in (scope, "")] if scope else places
    return (own or places)[-1].run


class Recording:
    """One file, opened lazily and read again when it changed.

    Args:
        path: The file; it need not exist.
        lock: A file whose lock keeps writers of this machine apart. It is not beside the notebook, so as not to
            litter the folder.
    """

    def __init__(self, path: Path, *, lock: Path) -> None:
        self.path = path
        self.lock = lock
        self._seen: tuple[int, int] | None = None
        self._places: list[Place] = []
        self._by_hash: dict[str, list[Place]] = {}
        self._problems: dict[int, str] = {}

    def places(self) -> list[Place]:
        """All usable lines, in order.

        Raises:
            OSError: The file is there and cannot be read.
        """
        try:
            stat = self.path.stat()
        except FileNotFoundError:
            self._seen, self._places, self._by_hash, self._problems = None, [], {}, {}
            return []
        if (state := (stat.st_mtime_ns, stat.st_size)) != self._seen:
            self._places, self._by_hash, self._problems = [], {}, {}
            for number, line in enumerate(self.path.read_bytes().split(b"\n"), 1):
                self._take(number, line.strip())
            self._seen = state
        return self._places

    def _take(self, number: int, line: bytes) -> None:
        if not line:
            return
        head = _HEAD.match(line)
        if line.startswith(_MARKS):
            self._problems[number] = "is a mark of a merge conflict; both sides are used"
        elif head and int(head[1]) != FORMAT:
            self._problems[number] = _format_words(int(head[1]))
        elif head and line.endswith(b"}"):
            self._add(Place(head[2].decode(), head[3].decode(), head[4].decode(), number, line))
        else:  # written by another program, perhaps: slower, and as good
            try:
                found = from_line(line)
            except ValueError as exc:
                self._problems[number] = str(exc)
            else:
                self._add(Place(found.asked.hash, found.run, found.asked.provider, number, line))

    def _add(self, place: Place) -> None:
        self._places.append(place)
        self._by_hash.setdefault(place.hash, []).append(place)

    def problems(self) -> list[str]:
        """What is wrong with the file, a line each with its number."""
        return [f"{self.path.name}, line {n} {words}" for n, words in sorted(self._problems.items())]

    def answers(self, wanted: Asked, scope: str = "") -> list[Exchange]:
        """The answers to a request, in order: those of the newest run that asked it."""
        self.places()
        places = self._by_hash.get(wanted.hash, [])
        run = newest_run(places, scope) if places else ""
        found: list[Exchange] = []
        for place in places:
            if place.run == run:
                found += filter(None, [self._read(place)])
        return found

    def _read(self, place: Place) -> Exchange | None:
        try:
            return from_line(place.line)
        except ValueError as exc:
            self._problems[place.number] = str(exc)
            return None

    def exchanges(self) -> Iterator[tuple[Place, Exchange]]:
        """All that can be read, in order."""
        for place in list(self.places()):
            if (found := self._read(place)) is not None:
                yield place, found

    def append(self, exchange: Exchange) -> None:
        """Add a line, whole or not at all; 0600 when the file is new.

        Raises:
            OSError: It cannot be written; the file is as it was.
            TimeoutError: Somebody else keeps it locked.
        """
        data = exchange.to_line().encode() + b"\n"
        with locked(self.lock):
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
            handle = os.open(self.path, flags, FILE_MODE)
            try:
                before = os.fstat(handle).st_size
                os.lseek(handle, max(0, before - 1), os.SEEK_SET)
                if before and os.read(handle, 1) != b"\n":
                    data = b"\n" + data  # a line that was cut stays a line of its own
                try:
                    if os.write(handle, data) != len(data):
                        raise OSError("the disk is full")
                except OSError:
                    os.ftruncate(handle, before)
                    raise
            finally:
                os.close(handle)
