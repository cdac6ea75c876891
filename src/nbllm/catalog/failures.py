"""`failed.json`: which providers failed when they were last asked for their models, why, and when they last did not.

`{id: {failed, kind, status, error, hint, last_attempt, last_success, age_s}}`; times are UTC in ISO form. It says
nothing of providers that were not asked.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nbllm.errors import NbllmError
from nbllm.files import locked, write_atomic
from nbllm.foreign import one_line

FILE_NAME = "failed.json"
_TEXT = 500
"""Characters of an error that are kept: it may hold what a server said."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """How asking one provider went."""

    provider: str
    at: float
    """Seconds since 1970."""
    error: NbllmError | None = None
    """None: it answered."""
    age_s: float | None = None
    """Of the list that is kept from before, when this attempt failed."""


class Failures:
    """The memory of one folder.

    Args:
        folder: Where `failed.json` is. Made when it is first written.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE_NAME

    def read(self) -> dict[str, dict[str, Any]]:
        """What is remembered, by provider; nothing when the file cannot be read."""
        try:
            content = json.loads(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return {}
        if not isinstance(content, Mapping):
            return {}
        return {str(id): dict(entry) for id, entry in content.items() if isinstance(entry, Mapping)}

    def failed_ids(self) -> list[str]:
        """The providers whose last attempt failed, in the order of the file."""
        return [id for id, entry in self.read().items() if entry.get("failed") is True]

    def record(self, attempts: Sequence[Attempt]) -> None:
        """Remember how these went, beside what other processes wrote meanwhile. The newer attempt counts.

        Raises:
            OSError: The file stays as it was.
        """
        if not attempts:
            return
        with locked(self.path):
            known = self.read()
            for attempt in attempts:
                known[attempt.provider] = _entry(attempt, known.get(attempt.provider, {}))
            write_atomic(self.path, json.dumps(dict(sorted(known.items())), indent=2) + "\n")


def _entry(attempt: Attempt, before: Mapping[str, Any]) -> dict[str, Any]:
    when = datetime.fromtimestamp(attempt.at, UTC).isoformat(timespec="seconds")
    error = attempt.error
    return {
        "failed": error is not None,
        "kind": None if error is None else type(error).__name__,
        "status": getattr(error, "status", None),
        "error": None if error is None else one_line(error.message, _TEXT),
        "hint": None if error is None or error.hint is None else one_line(error.hint, _TEXT),
        "last_attempt": when,
        "last_success": when if error is None else before.get("last_success"),
        "age_s": None if error is None or attempt.age_s is None else round(attempt.age_s),
    }
