"""What judges and people preferred, as training data: the preference format of TRL, with an explicit prompt.

https://huggingface.co/docs/trl/dataset_formats (read 2026-11-28): a row of a conversational preference dataset is
`{"prompt": [messages], "chosen": [messages], "rejected": [messages]}`, a message `{"role", "content"}`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nbllm.compare.cells import Arm, Duel, Row
from nbllm.compare.frames import without_halves
from nbllm.compare.pairs import PlaceKey, answered
from nbllm.compare.reports import write_report

REASONS = ("tie", "unanswered", "identical")
"""Why a duel gives no row: nobody won; one of the two answers is missing, empty or an error; both say the same."""


@dataclass(frozen=True, slots=True)
class Preferences:
    """Rows for training, and how many duels gave none."""

    rows: tuple[dict[str, Any], ...]
    left_out: dict[str, int] = field(default_factory=lambda: dict.fromkeys(REASONS, 0))
    """By reason; see `REASONS`."""

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.rows)

    @property
    def sentence(self) -> str:
        """For example `38 preferences from 45 duels; left out: 6 tie, 1 identical`."""
        duels = len(self.rows) + sum(self.left_out.values())
        missing = ", ".join(f"{count:,} {reason}" for reason, count in self.left_out.items() if count)
        said = f"{len(self.rows):,} preferences from {duels:,} duels"
        return f"{said}; left out: {missing}" if missing else said

    def to_jsonl(self, path: str | Path) -> Path:
        """Write the rows as JSON lines, which `datasets.load_dataset("json", ...)` reads.

        Raises:
            ExportError: The file cannot be written.
        """
        lines = (without_halves(json.dumps(row, ensure_ascii=False)) + "\n" for row in self.rows)
        return write_report(path, "".join(lines))


def preferences(
    duels: Sequence[Duel],
    rows: Sequence[Row],
    arms: Sequence[Arm],
    *,
    system: str | None = None,
    facts: bool = False,
) -> Preferences:
    """One row for each duel that somebody won, in the order of the duels.

    Args:
        duels: Who won; labels of arms.
        rows: The cells that hold the answers.
        arms: The arms that the labels belong to.
        system: The system prompt that was asked with; it goes into `prompt`.
        facts: Add `prompt_id, repeat, chosen_model, rejected_model, source`. TRL does not need them.
    """
    texts = answered(rows, arms)
    left_out = Counter(dict.fromkeys(REASONS, 0))
    found = []
    for duel in duels:
        shape = _shape(duel, texts, system, facts)
        if isinstance(shape, str):
            left_out[shape] += 1
        else:
            found.append(shape)
    return Preferences(tuple(found), dict(left_out))


def _shape(duel: Duel, texts: dict[PlaceKey, Row], system: str | None, facts: bool) -> dict[str, Any] | str:
    """The row, or the reason why there is none."""
    if duel.winner == "tie":
        return "tie"
    labels = (duel.a, duel.b) if duel.winner == "a" else (duel.b, duel.a)
    chosen, rejected = (texts.get((duel.prompt_id, duel.repeat, label)) for label in labels)
    if chosen is None or rejected is None:
        return "unanswered"
    if chosen["text"] == rejected["text"]:
        return "identical"
    before = [_message("system", system)] if system else []
    shape: dict[str, Any] = {
        "prompt": [*before, _message("user", str(chosen.get("prompt") or ""))],
        "chosen": [_message("assistant", chosen["text"])],
        "rejected": [_message("assistant", rejected["text"])],
    }
    return shape | (_facts(duel, labels) if facts else {})


def _facts(duel: Duel, labels: tuple[str, str]) -> dict[str, Any]:
    return {
        "prompt_id": duel.prompt_id,
        "repeat": duel.repeat,
        "chosen_model": labels[0],
        "rejected_model": labels[1],
        "source": duel.source,
    }


def _message(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}
