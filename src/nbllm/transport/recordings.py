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
from nbllm.transport.recording import SUFFIX, Asked, Exchange, Recording, canonical, said_in

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
        self.run = uuid.uuid4().hex[:12]
        """Of the lines that are written now: a new one with each kernel and each `%llm_replay record`."""
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
                raise SettingsError(
                    f"there is no recording {path}", hint="make one with `%llm_replay record`", key="replay"
                )
        with self._lock:
            self.run = uuid.uuid4().hex[:12]
            self._given.clear()
            self.written = self.answered = 0

    # ------------------------------------------------------------ what is asked for

    @property
    def mode(self) -> str:
        """`off`, `record`, `replay` or `auto`."""
        return str(self._settings["replay"]).partition(":")[0]

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
        notebook = notebook_file(self.notebook(), self._settings.environ)
        if notebook is None:
            raise SettingsError(
                f"which notebook this is cannot be known here, and so not where to {self.mode}",
                hint="name the recording: `%llm_replay auto PATH`, or NBLLM_REPLAY=replay:PATH",
                key="replay",
            )
        return notebook.with_name(notebook.stem + SUFFIX)

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
            answers = recording.answers(question)
            for problem in recording.problems():
                self._tell(problem)
            if not answers:
                raise self._miss(recording, question)
            at = (recording.path, question.hash)
            number = self._given.get(at, 0)
            self._given[at] = number + 1
            self.answered += 1
            return answers[number % len(answers)]

    def _miss(self, recording: Recording, question: Asked) -> ReplayMissError:
        again = "record again with `%llm_replay record`, or ask the provider with `%llm_replay off`"
        if not recording.path.exists():
            return ReplayMissError(f"there is no recording {recording.path}", hint=again)
        wanted = canonical(question.body)
        nearest: tuple[tuple[bool, int], int, Asked] | None = None
        for place, other in recording.exchanges():
            text = canonical(other.asked.body)
            score = (other.asked.provider == question.provider, _alike(wanted, text))
            if nearest is None or score > nearest[0]:
                nearest = score, place.number, other.asked
        if nearest is None:
            return ReplayMissError(f"{recording.path.name} has no exchange in it", hint=again)
        where = first_difference(nearest[2], question)
        words = (
            f"{recording.path.name} has no answer to this request; the nearest, line {nearest[1]}, differs in {where}"
        )
        if self._holds_key(words):
            words = f"{recording.path.name} has no answer to this request; the nearest is line {nearest[1]}"
        return ReplayMissError(words, hint=again)

    def keep(self, exchange: Exchange) -> bool:
        """Write an exchange; whether that was possible. Why not is told, and the answer itself goes on."""
        provider = exchange.asked.provider
        if self._holds_key(exchange.to_line()) or self._holds_key(said_in(exchange.chunks)):
            self._tell(f"an exchange with {provider} was not recorded: something in it looks like a key")
            return False
        try:
            recording = self.recording()
            recording.append(exchange)
        except SettingsError as exc:
            self._tell(f"an exchange with {provider} was not recorded: {exc.message}")
            return False
        except OSError as exc:
            self._tell(f"an exchange with {provider} was not recorded: {recording.path}: {exc.strerror or exc}")
            return False
        with self._lock:
            self.written += 1
        return True

    def _tell(self, words: str) -> None:
        self._notices[words] = None

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


def _writable(path: Path) -> bool:
    """As far as can be seen without doing it."""
    return os.access(path if path.exists() else path.parent, os.W_OK)


def _alike(one: str, other: str) -> int:
    """Characters that two texts share at their beginnings and at their ends."""
    begin = _common(one, other)
    return begin + _common(one[begin:][::-1], other[begin:][::-1])


def _common(one: str, other: str) -> int:
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
