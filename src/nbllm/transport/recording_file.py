"""A file of exchanges, which is opened by looking at the beginnings of its lines and read where it is needed.

Lines that cannot be used (broken, of a newer format, marks of a merge) are told of and passed over; the others count.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from io import FileIO
from pathlib import Path
from typing import NamedTuple

from nbllm.files import FILE_MODE, locked
from nbllm.transport.recording import FORMAT, Asked, Exchange, format_words, from_line

SUFFIX = ".replay.jsonl"
_HEAD = re.compile(rb'\{"nbllm_replay":(\d+),"hash":"([0-9a-f]{64})","run":"([^"\\]*)","provider":"([^"\\]*)"')
_HEAD_LENGTH = 512
_MARKS = (b"<<<<<<<", b"=======", b">>>>>>>", b"|||||||")
_BLOCK = 1 << 20


class Line(NamedTuple):  # a recording has thousands, and a dataclass takes five times as long to make
    """Where a line of the file is, and what it looks like at its ends."""

    number: int
    """From 1."""
    start: int
    """Byte of the file at which it begins."""
    length: int
    """Bytes, without the end of the line."""
    head: bytes
    tail: bytes
    """The last two bytes, or fewer."""


class Place(NamedTuple):
    """Where an exchange stands in its file."""

    hash: str
    run: str
    provider: str
    number: int
    """Of the line, from 1."""
    start: int
    length: int

    @property
    def scope(self) -> str:
        """Whose run it was, where several share the file; empty: anybody's. See `Recordings.scope`."""
        return self.run.rpartition(":")[0]


def newest_run(places: Sequence[Place], scope: str = "") -> str:
    """Of runs that asked the same, the one whose answers count: the newest of this scope or of none, else of all."""
    own = [place for place in places if place.scope in (scope, "")] if scope else places
    return (own or places)[-1].run


class Recording:
    """One file, opened lazily and looked through again when it changed.

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
            with self.path.open("rb", buffering=0) as file:
                for line in _lines(file):
                    self._take(line)
            self._seen = state
        return self._places

    def _take(self, line: Line) -> None:
        head = line.head.lstrip()
        found = _HEAD.match(head)
        if head.startswith(_MARKS):
            self._problems[line.number] = "is a mark of a merge conflict; both sides are used"
        elif found and int(found[1]) != FORMAT:
            self._problems[line.number] = format_words(int(found[1]))
        elif found and line.tail.rstrip().endswith(b"}"):
            hash, run, provider = (part.decode(errors="replace") for part in found.groups()[1:])
            self._add(Place(hash, run, provider, line.number, line.start, line.length))
        elif head or line.length > len(line.head):
            self._take_whole(line)

    def _take_whole(self, line: Line) -> None:
        """A line that was written by another program, perhaps: slower, and as good."""
        place = Place("", "", "", line.number, line.start, line.length)
        try:
            found = from_line(self.line(place))
        except ValueError as exc:
            self._problems[line.number] = str(exc)
        else:
            self._add(Place(found.asked.hash, found.run, found.asked.provider, line.number, line.start, line.length))

    def _add(self, place: Place) -> None:
        self._places.append(place)
        self._by_hash.setdefault(place.hash, []).append(place)

    def problems(self) -> list[str]:
        """What is wrong with the file, a line each with its number."""
        return [f"{self.path.name}, line {n} {words}" for n, words in sorted(self._problems.items())]

    def line(self, place: Place) -> bytes:
        """The line itself."""
        with self.path.open("rb", buffering=0) as file:
            return _read_line(file, place)

    def answers(self, wanted: Asked, scope: str = "") -> list[Exchange]:
        """The answers to a request, in order: those of the newest run that asked it."""
        self.places()
        places = self._by_hash.get(wanted.hash, [])
        run = newest_run(places, scope) if places else ""
        return [found for _, found in self._read([place for place in places if place.run == run])]

    def exchanges(self) -> Iterator[tuple[Place, Exchange]]:
        """All that can be read, in order."""
        return self._read(list(self.places()))

    def _read(self, places: Sequence[Place]) -> Iterator[tuple[Place, Exchange]]:
        if not places:
            return
        with self.path.open("rb", buffering=0) as file:
            for place in places:
                try:
                    yield place, from_line(_read_line(file, place))
                except ValueError as exc:
                    self._problems[place.number] = str(exc)

    def append(self, exchange: Exchange) -> None:
        """Add a line, whole or not at all; 0600 when the file is new.

        Raises:
            OSError: It cannot be written; the file is as it was.
            TimeoutError: Somebody else keeps it locked.
        """
        data = exchange.to_line().encode() + b"\n"
        with self._writing():
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

    def _writing(self) -> AbstractContextManager[object]:
        """The lock. Where it cannot be made (a home that is read-only), one writer is likely, and goes without."""
        with ExitStack() as held:
            try:
                held.enter_context(locked(self.lock))
            except TimeoutError:
                raise
            except OSError:
                pass
            return held.pop_all()


def _read_line(file: FileIO, place: Place) -> bytes:
    file.seek(place.start)
    found = file.read(place.length)
    while len(found) < place.length and (more := file.read(place.length - len(found))):
        found += more
    return found


def _lines(file: FileIO) -> Iterator[Line]:
    """The lines of a file, of which no more than the ends is kept: a recording may be larger than memory is free."""
    buffer = bytearray(_BLOCK)
    view = memoryview(buffer)
    number, start, at = 1, 0, 0
    head = tail = b""
    while size := file.readinto(view):
        begin = 0
        while begin < size:
            end = buffer.find(b"\n", begin, size)
            stop = size if end < 0 else end
            head += bytes(view[begin : min(stop, begin + _HEAD_LENGTH - len(head))])
            tail = (tail + bytes(view[max(begin, stop - 2) : stop]))[-2:]
            begin = stop + 1
            if end >= 0:
                yield Line(number, start, at + stop - start, head, tail)
                number, start = number + 1, at + begin
                head = tail = b""
        at += size
    if at > start:
        yield Line(number, start, at - start, head, tail)
