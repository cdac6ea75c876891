"""What is remembered of a batch, so that another process can go on with it. No key of a provider is in it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

PREFIX = "batch:"
"""What the names of these words begin with."""

KEPT = timedelta(days=30)
"""After that no vendor has the results any more: OpenAI keeps files of batches for 30 days, Anthropic for 29."""

_VERSION = 1


@dataclass(frozen=True, slots=True)
class Word:
    """One batch."""

    mark: str
    """Ours, made before the batch; also in its metadata where the vendor has such."""
    provider: str
    origin: str
    """Where it runs; a row that was moved since does not lead there."""
    since: str
    """Just before it was made: ISO, UTC."""
    keys: tuple[str, ...]
    """Of the cells in it."""
    size: int
    """Requests in it; more than `keys` when some of its cells are done with."""
    id: str | None = None
    """None: it was about to be made, and perhaps it was."""
    sure: bool = True
    """False: it was found by its size, and may be somebody else's."""
    not_these: tuple[str, ...] = ()
    """Ids that were taken for it and are not."""
    collecting: bool = False
    """Whether its results were being kept already: then cells that are not asked for any more are done with."""

    @property
    def name(self) -> str:
        """Under which it is remembered."""
        return PREFIX + self.mark

    @property
    def moment(self) -> datetime:
        """`since` as a moment."""
        return datetime.fromisoformat(self.since).astimezone(UTC)

    def to_json(self) -> str:
        """As text."""
        return json.dumps({"version": _VERSION, **asdict(self)}, separators=(",", ":"))


def read_word(name: str, text: str) -> Word | None:
    """The reverse of `Word.to_json`; None for anything else, also for a word of a later version."""
    if not name.startswith(PREFIX):
        return None
    try:
        shape: Mapping[str, Any] = json.loads(text)
        if shape["version"] != _VERSION:
            return None
        fields = {field: shape[field] for field in Word.__dataclass_fields__}
        word = Word(**fields | {"keys": tuple(fields["keys"]), "not_these": tuple(fields["not_these"])})
        return word if word.moment and word.name == name else None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
