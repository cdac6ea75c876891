"""Regular expressions on texts of others, with a time limit that holds.

A pattern such as `(a+)+$` takes hours on forty letters and years on fifty, and `re` has no limit: it holds the
interpreter, and a thread cannot be stopped. No check of the pattern itself is sound, since harmless ones are slow on
long texts too. So a child process does the matching, and is killed when it takes too long. Only patterns without
repetition and alternatives, whose time is bounded by their length, are matched here.
"""

from __future__ import annotations

import contextlib
import json
import queue
import re
import subprocess
import sys
import threading
import weakref
from collections import Counter
from pathlib import Path

from nbllm.compare import pattern_child

LIMIT_S = 2.0
"""Seconds of one match; ordinary ones take microseconds."""
_START_S = 30.0
_GIVE_UP = 3
"""A pattern that was too slow so often is not tried again, so that a table of thousands does not take hours."""
_BRANCHING = frozenset("*+?{|(")


class Matcher:
    """Matches patterns, in a child process that starts with the first that needs one.

    Args:
        limit_s: Seconds that one match may take.
    """

    def __init__(self, *, limit_s: float = LIMIT_S) -> None:
        self.limit_s = limit_s
        self._child: _Child | None = None
        self._slow: Counter[str] = Counter()

    def search(self, pattern: str, text: str) -> bool:
        """Whether `pattern` is found anywhere in `text`.

        Raises:
            ValueError: It is not a regular expression.
            TimeoutError: It took too long, or has done so before.
            OSError: No child process can be started here.
        """
        if not _BRANCHING.intersection(pattern):
            return _here(pattern, text)
        if self._slow[pattern] >= _GIVE_UP:
            raise TimeoutError(f"the pattern was too slow on {_GIVE_UP} answers and is given up")
        found = self._ask(pattern, text)
        if isinstance(found, str):
            raise ValueError(found)
        return found

    def close(self) -> None:
        """End the child process; the next search starts another."""
        child, self._child = self._child, None
        if child is not None:
            child.end()

    def _ask(self, pattern: str, text: str) -> bool | str:
        try:
            if self._child is None:
                self._child = _Child()
            return self._child.ask(pattern, text, self.limit_s)
        except TimeoutError:
            self.close()
            self._slow[pattern] += 1
            raise TimeoutError(f"the pattern took longer than {self.limit_s:g} s") from None
        except BaseException:  # interrupted, or the child has died: what it still says belongs to no question
            self.close()
            raise


def _here(pattern: str, text: str) -> bool:
    try:
        return re.search(pattern, text) is not None
    except re.error as exc:
        raise ValueError(f"error: {exc}") from None


def problem_of(pattern: str) -> str | None:
    """What is wrong with a pattern; None: it is a regular expression."""
    try:
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as exc:
        return str(exc)
    return None


class _Child:
    """The process, and a thread that hands over what it says: pipes have no time limit of their own."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(  # noqa: S603  (this Python, our own file)
            [sys.executable, "-I", "-S", "-X", "utf8", str(Path(pattern_child.__file__))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            encoding="utf-8",
            start_new_session=True,  # Ctrl+C is for this process
        )
        self._said: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._listener = threading.Thread(
            target=_listen, args=(self._process, self._said), name="nbllm-patterns", daemon=True
        )
        self._listener.start()
        self._end = weakref.finalize(self, _end, self._process)
        try:
            self._hear(_START_S)
        except BaseException:
            self.end()
            raise

    def ask(self, pattern: str, text: str, limit_s: float) -> bool | str:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([pattern, text]) + "\n")  # ASCII, also for half characters
        self._process.stdin.flush()
        answer: bool | str = json.loads(self._hear(limit_s))
        return answer

    def end(self) -> None:
        self._end()
        self._listener.join(1.0)  # it hears the end at once

    def _hear(self, limit_s: float) -> str:
        try:
            line = self._said.get(timeout=limit_s)
        except queue.Empty:
            raise TimeoutError from None
        if not line:
            raise OSError("the process that matches patterns has ended")
        return line


def _listen(process: subprocess.Popen[str], said: queue.SimpleQueue[str]) -> None:
    assert process.stdout is not None
    with process.stdout as lines:
        for line in lines:
            said.put(line)
    said.put("")


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    if process.stdin is not None:
        with contextlib.suppress(OSError):  # what was not written yet has nobody to read it
            process.stdin.close()
