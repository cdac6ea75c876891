"""What pytest says to the recordings in the processes of one of its tests, and what they say back.

A kernel that a test started shares nothing with pytest but its environment. So the order is one variable with JSON in
it, and the answer is a file to which each process adds lines. `nbllm.testing` writes the one and reads the other.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import lru_cache

VARIABLE = "NBLLM_REPLAY_TEST"
_SCOPE_LENGTH = 80


@dataclass(frozen=True, slots=True)
class UnderTest:
    """One test, or one notebook that is run as a test."""

    name: str
    """As people know it: `tests/test_story.py::test_end`, `notebooks/story.ipynb`."""
    mode: str
    """`record`, `replay` or `auto`; counts for whatever else the code says but `off`."""
    again: str
    """The command that records it."""
    tally: str
    """The file that takes the lines of `told`."""
    scope: str = ""
    """Whose answers come first, where several tests asked the same; see `Recordings.scope`."""

    def to_text(self) -> str:
        """For the variable."""
        return json.dumps(asdict(self))

    def told(self, what: str, file: str, words: str = "") -> None:
        """Add a line to the tally: `answered`, `written`, `missed`, `lost` or `problem`, and of which recording."""
        line = json.dumps({"test": self.name, "what": what, "file": file, "words": words}) + "\n"
        with suppress(OSError):  # who counts may be gone; the answer that is counted matters more
            handle = os.open(self.tally, os.O_WRONLY | os.O_APPEND)
            try:
                os.write(handle, line.encode())
            finally:
                os.close(handle)


def under_test(environ: Mapping[str, str]) -> UnderTest | None:
    """The test that this process is part of; None in everyday use."""
    text = environ.get(VARIABLE)
    return _read(text) if text else None


@lru_cache(maxsize=8)
def _read(text: str) -> UnderTest | None:
    try:
        return UnderTest(**json.loads(text))
    except (ValueError, TypeError):  # of another version of nbllm than that of this process
        return None


def scope_of(name: str) -> str:
    """A name as it can stand in a line's `run`: short, without quotes, and still another for another name."""
    plain = re.sub(r"[^A-Za-z0-9_.\[\]-]+", "_", name)
    if plain == name and len(name) <= _SCOPE_LENGTH:
        return name
    return f"{plain[:_SCOPE_LENGTH]}-{hashlib.sha256(name.encode(errors='replace')).hexdigest()[:8]}"
