"""Which cell stands where: a line for each prompt, a place for each arm, in it the repeats.

Shared by everything that shows or exports a comparison, so that all of them agree on what belongs together.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nbllm.compare.cells import Arm, Case, Row


@dataclass(frozen=True, slots=True)
class Line:
    """One prompt, and what came of it."""

    case: Case
    places: tuple[tuple[Row, ...], ...]
    """For each arm its cells, by repeat; empty where nothing was asked."""


@dataclass(frozen=True, slots=True)
class Layout:
    """All prompts of a comparison in order."""

    arms: tuple[Arm, ...]
    lines: tuple[Line, ...]
    n_cells: int
    """Cells that have a place."""
    n_errors: int
    n_repeats: int
    """The most repeats that one place has."""
    n_unasked: int
    """Places times repeats that no cell stands in."""
    n_strays: int
    """Cells of an arm that is not shown; they are in none of the other counts."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Repeats of one place that came out the same, to the letter."""

    rows: tuple[Row, ...]

    @property
    def row(self) -> Row:
        """The first of them."""
        return self.rows[0]

    @property
    def is_error(self) -> bool:
        """Whether there is an error in the answer's place."""
        return bool(self.row.get("status") == "error")

    @property
    def text(self) -> str:
        """What the model wrote."""
        return str(self.row.get("text") or "")


def lay_out(rows: Iterable[Row], arms: Sequence[Arm], cases: Sequence[Case]) -> Layout:
    """Put each cell in its place. Prompts that `cases` does not know follow in the order of their cells."""
    find = ArmFinder(arms)
    known = {case.prompt_id: case for case in cases}
    places: dict[str, list[list[Row]]] = {prompt_id: [[] for _ in arms] for prompt_id in known}
    strays = 0
    for row in rows:
        at = find(row)
        if at is None:
            strays += 1
            continue
        prompt_id = str(row["prompt_id"])
        if prompt_id not in known:
            known[prompt_id] = Case(prompt_id, str(row.get("prompt") or ""), _mapping(row.get("vars")))
            places[prompt_id] = [[] for _ in arms]
        places[prompt_id][at].append(row)
    lines = [Line(case, tuple(_by_repeat(cells) for cells in places[name])) for name, case in known.items()]
    return _counted(tuple(arms), tuple(lines), strays)


def _counted(arms: tuple[Arm, ...], lines: tuple[Line, ...], strays: int) -> Layout:
    groups = [cells for line in lines for cells in line.places]
    n_cells = sum(map(len, groups))
    n_errors = sum(row.get("status") == "error" for cells in groups for row in cells)
    repeats = max(map(len, groups), default=0)
    return Layout(arms, lines, n_cells, n_errors, repeats, repeats * len(groups) - n_cells, strays)


class ArmFinder:
    """Says to which arm a row belongs: the place in `arms`, or None.

    An arm is a model and its parameters. Where a model is in one arm only, its parameters need not fit: a summary may
    leave out what is the same everywhere.
    """

    def __init__(self, arms: Sequence[Arm]) -> None:
        self._exact = {(arm.model, canonical(arm.params)): place for place, arm in enumerate(arms)}
        models = [arm.model for arm in arms]
        self._single = {model: place for place, model in enumerate(models) if models.count(model) == 1}

    def __call__(self, row: Row) -> int | None:
        model = str(row["model"])
        if (place := self._single.get(model)) is not None:
            return place
        return self._exact.get((model, canonical(row.get("params"))))


def canonical(params: Any) -> str:
    """Parameters as JSON with a fixed shape; what is JSON text already is read first. None is the same as `{}`."""
    return json.dumps(_mapping(params), sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)


def _mapping(value: Any) -> Mapping[str, Any]:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return {}
    return dict(value) if isinstance(value, Mapping) else {}


def _by_repeat(cells: list[Row]) -> tuple[Row, ...]:
    return tuple(sorted(cells, key=lambda row: row.get("repeat") or 0))


def answers(cells: Sequence[Row]) -> list[Answer]:
    """The cells of one place, those that are equal together, in the order in which each first came up."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in cells:
        if row.get("status") == "error":
            key: tuple[Any, ...] = ("error", row.get("error_type"), row.get("error"))
        else:
            key = ("ok", row.get("text"), row.get("finish_reason"))
        groups.setdefault(key, []).append(row)
    return [Answer(tuple(group)) for group in groups.values()]
