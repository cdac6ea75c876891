"""Which recording counts now, and in which way: modes, files, order, and what people should know of them."""

from __future__ import annotations

import asyncio
import hashlib
import os
import threading
import uuid
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from nbllm.errors import ReplayMissError, SettingsError
from nbllm.settings import Settings
from nbllm.transport.difference import first_difference
from nbllm.transport.recording import Asked, Exchange, canonical, said_in
from nbllm.transport.recording_file import SUFFIX, Recording
from nbllm.transport.under_test import UnderTest, scope_of, under_test

REPLAYED = "nbllm.replayed"
"""Under this name a response that comes from a recording says so."""


@dataclass(slots=True)
class Witness:
    """What one question had to do with recordings."""

    recorded: str | None = None
    """The day of the recording that the answer stands in, or comes from."""
    replayed: str | None = None
    """The same, when it comes from there."""
    lost: bool = False
    """Whether a part of it could not be recorded."""
    at_ms: float | None = None
    """The recorded time of what arrived last: the same while it is recorded and when it is replayed."""

    def records(self, exchange: Exchange, *, kept: bool) -> None:
        """An exchange was written, or could not be."""
        self.lost = self.lost or not kept
        self.recorded = None if self.lost else exchange.day

    def replays(self, exchange: Exchange) -> None:
        """An exchange came from a recording."""
        self.recorded = self.replayed = exchange.day


class Opened(NamedTuple):
    """A recording, and what knows a key."""

    recording: Recording
    holds_key: Callable[[str], bool]


WITNESS: ContextVar[Witness] = ContextVar("nbllm.witness", default=Witness())  # noqa: B039  (nobody reads the default)


class Recordings:
    """The recording of this kernel.

    Args:
        settings: `replay` and `replay_pace` count.
        locks: A folder for the locks of writers.
        holds_key: Whether a text has anything like a key in it.
    """

    def __init__(self, settings: Settings, *, locks: Path, holds_key: Callable[[str], bool]) -> None:
        self._settings = settings
        self._locks = locks
        self._holds_key = holds_key
        self._lock = threading.RLock()
        self._files: dict[Path, Recording] = {}
        self._given: dict[tuple[Path, str], int] = {}
        self._notices: dict[str, None] = {}
        self.notebook: Callable[[], str | None] = lambda: None
        """What the front end says of the notebook's file, beside the environment."""
        self._begun = uuid.uuid4().hex[:12]
        self.written = 0
        self.answered = 0

    def begin(self) -> None:
        """Start a new run: the next answers are the first ones again.

        Raises:
            SettingsError: There is no file to record into or to answer from.
        """
        if (mode := self.mode) != "off":
            path = self.path()
            if mode == "record" and not _writable(path):
                raise SettingsError(
                    f"{path} cannot be written", hint="name another place: `%llm_replay record PATH`", key="replay"
                )
            if mode == "replay" and not path.is_file():
                how = self.test.again if self.test else "%llm_replay record"
                raise SettingsError(f"there is no recording {path}", hint=f"make one with `{how}`", key="replay")
        with self._lock:
            self._begun = uuid.uuid4().hex[:12]
            self._given.clear()
            self.written = self.answered = 0

    # ------------------------------------------------------------ what is asked for

    @property
    def test(self) -> UnderTest | None:
        """The test that this process is part of, if it is."""
        return under_test(self._settings.environ)

    @property
    def mode(self) -> str:
        """`off`, `record`, `replay` or `auto`. In a test its mode counts for all but `off`.

        Else a notebook that begins with `%llm_replay record` would record when it is tested.
        """
        mode = str(self._settings["replay"]).partition(":")[0]
        return self.test.mode if mode != "off" and self.test else mode

    @property
    def run(self) -> str:
        """Of the lines that are written now: a new one with each kernel and each `%llm_replay record`."""
        return f"{scope}:{self._begun}" if (scope := self.scope) else self._begun

    @property
    def scope(self) -> str:
        """Whose run it is, where several share a file: a test, a notebook whose recording has another name.

        Two of them may ask the same and get different answers, and what follows depends on which; so the answers
        of one's own runs come first.
        """
        if self.test and self.test.scope:
            return self.test.scope
        notebook = self._notebook()
        return scope_of(notebook.name) if notebook and self.path() != _beside(notebook) else ""

    def _notebook(self) -> Path | None:
        return notebook_file(self.notebook(), self._settings.environ)

    @property
    def pace(self) -> float:
        """How many times the recorded time an answer takes; 0: it comes at once."""
        return float(self._settings["replay_pace"])

    def path(self) -> Path:
        """The file that is meant.

        Raises:
            SettingsError: None is named, and which notebook this is cannot be known.
        """
        named = str(self._settings["replay"]).partition(":")[2]
        if named:
            return Path(named).expanduser().absolute()
        notebook = self._notebook()
        if notebook is None:
            raise SettingsError(
                f"which notebook this is cannot be known here, and so not where to {self.mode}",
                hint="name the recording: `%llm_replay auto PATH`, or NBLLM_REPLAY=replay:PATH",
                key="replay",
            )
        return _beside(notebook)

    def recording(self) -> Recording:
        """The file that is meant, open.

        Raises:
            SettingsError: As `path`.
        """
        return self._open(self.path())

    def open(self, path: Path) -> Opened:
        """A recording by its name, and what knows a key, for those who look after it.

        Raises:
            SettingsError: There is none.
        """
        if not path.is_file():
            raise SettingsError(f"there is no recording {path}", file=str(path))
        return Opened(self._open(path.absolute()), self._holds_key)

    def _open(self, path: Path) -> Recording:
        with self._lock:
            if path not in self._files:
                name = hashlib.sha256(str(path).encode()).hexdigest()[:16]
                self._files[path] = Recording(path, lock=self._locks / f"replay-{name}")
            return self._files[path]

    def status(self) -> str:
        """In one line: what is done, with which file."""
        mode = self.mode
        if mode == "off":
            return "recordings: off"
        recording = self._read()
        count = f"{len(recording.places())} exchanges in it"
        return f"recordings: {mode}, {recording.path} ({count}; now {self.written} written, {self.answered} answered)"

    def stands_in(self, provider_id: str, *, has_key: bool) -> bool:
        """Whether the recording answers for a provider, so that no key is needed."""
        mode = self.mode
        if mode == "replay":
            return True
        if mode != "auto" or has_key:
            return False
        try:
            return any(place.provider == provider_id for place in self._read().places())
        except SettingsError as exc:  # no recording, so a key is needed; why there is none is told beside it
            self._tell(exc.message)
            return False

    async def sleep(self, seconds: float) -> None:
        """A wait between two recorded attempts."""
        await asyncio.sleep(seconds * self.pace)

    # ------------------------------------------------------------ reading and writing

    def _read(self) -> Recording:
        recording = self.recording()
        try:
            recording.places()
        except OSError as exc:
            raise SettingsError(f"{recording.path} cannot be read: {exc.strerror}", key="replay") from None
        for problem in recording.problems():
            self._tell(problem)
        return recording

    def next_answer(self, question: Asked) -> Exchange:
        """The recorded answer whose turn it is. After the last one comes the first again, as in a second run.

        Raises:
            ReplayMissError: There is none.
        """
        with self._lock:
            recording = self._read()
            answers = recording.answers(question, self.scope)
            for problem in recording.problems():
                self._tell(problem)
            if not answers:
                raise self._miss(recording, question)
            at = (recording.path, question.hash)
            number = self._given.get(at, 0)
            self._given[at] = number + 1
            self.answered += 1
            self._count("answered", recording)
            return answers[number % len(answers)]

    def _miss(self, recording: Recording, question: Asked) -> ReplayMissError:
        again = "record again with `%llm_replay record`, or ask the provider with `%llm_replay off`"
        if self.test:
            again = f"record it with `{self.test.again}`"
        words = self._why_missed(recording, question)
        self._count("missed", recording, words)
        return ReplayMissError(words, hint=again)

    def _why_missed(self, recording: Recording, question: Asked) -> str:
        if not recording.path.exists():
            whose = f"{self.test.name} has no recording: there is no" if self.test else "there is no recording"
            return f"{whose} {recording.path}"
        wanted = canonical(question.body)
        nearest: tuple[tuple[bool, int], int, Asked] | None = None
        for place, other in recording.exchanges():
            text = canonical(other.asked.body)
            score = (other.asked.provider == question.provider, _alike(wanted, text))
            if nearest is None or score > nearest[0]:
                nearest = score, place.number, other.asked
        if nearest is None:
            return f"{recording.path.name} has no exchange in it"
        where = first_difference(nearest[2], question)
        words = (
            f"{recording.path.name} has no answer to this request; the nearest, line {nearest[1]}, differs in {where}"
        )
        if self._holds_key(words):
            words = f"{recording.path.name} has no answer to this request; the nearest is line {nearest[1]}"
        return words

    def keep(self, exchange: Exchange) -> bool:
        """Write an exchange; whether that was possible. Why not is told, and the answer itself goes on."""
        lost = f"an exchange with {exchange.asked.provider} was not recorded: "
        if self._holds_key(exchange.to_line()) or self._holds_key(said_in(exchange.chunks)):
            return self._lost(lost + "something in it looks like a key")
        try:
            recording = self.recording()
            recording.append(exchange)
        except SettingsError as exc:
            return self._lost(lost + exc.message)
        except OSError as exc:
            return self._lost(f"{lost}{recording.path}: {exc.strerror or exc}")
        with self._lock:
            self.written += 1
        self._count("written", recording)
        return True

    def _lost(self, words: str) -> bool:
        self._tell(words, "lost")
        return False

    def _tell(self, words: str, what: str = "problem") -> None:
        if self.test and words not in self._notices:
            self.test.told(what, "", words)
        self._notices[words] = None

    def _count(self, what: str, recording: Recording, words: str = "") -> None:
        if self.test:
            self.test.told(what, str(recording.path), words)

    def notices(self) -> list[str]:
        """What the user should know by now, a line each."""
        return list(self._notices)


def notebook_file(said: str | None, environ: Mapping[str, str]) -> Path | None:
    """The notebook of this kernel; None where nobody says.

    VS Code says it in the namespace (`said`), Jupyter's server in `JPY_SESSION_NAME`, nbval by what pytest leaves in
    the environment of the kernels that it starts. nbclient and nbconvert do not say.
    """
    test = environ.get("PYTEST_CURRENT_TEST", "").partition("::")[0]
    for name in (said, environ.get("JPY_SESSION_NAME"), test):
        if name and name.endswith(".ipynb"):
            for path in (Path(name), Path.cwd() / Path(name).name):
                if path.is_absolute() and path.is_file():
                    return path
    return None


def _beside(notebook: Path) -> Path:
    return notebook.with_name(notebook.stem + SUFFIX)


def _writable(path: Path) -> bool:
    """As far as can be seen without doing it."""
    return os.access(path if path.exists() else path.parent, os.W_OK)


def _alike(one: str, other: str) -> int:
    """Characters that two texts share at their beginnings and at their ends."""
    begin = _common(one, other)
    return begin + _common(one[begin:][::-1], other[begin:][::-1])


def _common(one: str, other: str) -> int:
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
