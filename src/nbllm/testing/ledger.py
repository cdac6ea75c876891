"""What recordings did in one run of pytest: counted in many processes, told in one line.

Each process of pytest has a ledger with a folder of its own. Kernels and tests add lines to its tally
(`nbllm.transport.under_test`); a worker of pytest-xdist hands its entries to the process that writes the summary.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a tally."""

    test: str
    what: str
    """`answered`, `written`, `missed`, `lost` or `problem`."""
    file: str
    """The recording; empty where none was found."""
    words: str = ""


@dataclass
class Ledger:
    """The entries of this process, and of the workers that have reported."""

    reported: list[Entry] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)
    """Files of tests, and notebooks, whose recording is not there; and the command that makes it."""
    _folder: Path | None = None

    @property
    def folder(self) -> Path:
        """For what must not outlive the run; made when it is first asked for."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="nbllm-pytest-"))
        return self._folder

    @property
    def tally(self) -> Path:
        """The file that takes the lines; it is there."""
        path = self.folder / "tally.jsonl"
        path.touch()
        return path

    def home(self, name: str) -> Path:
        """A folder for the `NBLLM_HOME` of one test or notebook: what others keep there must not reach it."""
        return self.folder / hashlib.sha256(name.encode()).hexdigest()[:16]

    def entries(self) -> list[Entry]:
        """All that is known now."""
        return [*self.reported, *self._own()]

    def _own(self) -> Iterator[Entry]:
        if self._folder is None:
            return
        for line in self.tally.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                yield Entry(**json.loads(line))
            except (ValueError, TypeError):  # a process was killed while it wrote
                continue

    def report(self) -> dict[str, Any]:
        """For another process: plain values."""
        return {"entries": [list(astuple(entry)) for entry in self._own()], "missing": self.missing}

    def take(self, report: Mapping[str, Any]) -> None:
        """What another process reports."""
        self.reported += [Entry(*values) for values in report["entries"]]
        self.missing |= report["missing"]

    def close(self) -> None:
        """Remove the folder; a kernel that is still at its end must not fail the run."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None


def summary(entries: Sequence[Entry], missing: Mapping[str, str]) -> list[str]:
    """The lines at the end of the run; none when no recording had anything to do."""
    if not entries:
        return []
    lines = ["nbllm: " + ", ".join(_counts(entries))]
    missed = {entry.test.partition("::")[0] for entry in entries if entry.what == "missed"}
    told = dict.fromkeys(entry.words for entry in entries if entry.what in ("lost", "problem"))
    lines += [f"nbllm: {words}" for words in told]
    lines += [f"nbllm: {name} has no recording; make it: {how}" for name, how in missing.items() if name in missed]
    return lines


def _counts(entries: Sequence[Entry]) -> Iterator[str]:
    files: dict[str, list[str]] = {"answered": [], "written": []}
    for entry in entries:
        files.setdefault(entry.what, []).append(entry.file)
    if files["written"]:
        yield f"{_number(files['written'], 'exchange')} written into {_number(set(files['written']), 'recording')}"
    if files["answered"] or not files["written"]:
        yield f"{_number(files['answered'], 'answer')} from {_number(set(files['answered']), 'recording')}"
    missed = len(files.get("missed", ()))
    yield f"{missed} miss" if missed == 1 else f"{missed} misses"
    if lost := files.get("lost"):
        yield f"{len(lost)} not recorded"


def _number(things: Sequence[str] | set[str], name: str) -> str:
    return f"{len(things)} {name}" if len(things) == 1 else f"{len(things)} {name}s"


def is_bad(entries: Sequence[Entry]) -> bool:
    """Whether the summary has something that a person should see to."""
    return any(entry.what in ("missed", "lost", "problem") for entry in entries)
