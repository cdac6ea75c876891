"""Scores of answers that are there: made without asking anybody anything, and as often as one likes.

An error is not an answer and has no score. A scorer that raises, or returns what is no score, costs one score; the
reason is kept, and the others go on.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import math
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import Any

from nbllm import aio
from nbllm.compare.cells import Case, Row
from nbllm.compare.scorer_kinds import Score
from nbllm.compare.scorers import Scorer
from nbllm.credentials.redaction import redact
from nbllm.foreign import one_line
from nbllm.messages import FinishReason, Reply, Usage

Value = float | bool | None
_AT_ONCE = 16
"""Scores of an async scorer that are under way at the same time."""
_MOST_PARTS = 50
"""Columns that one scorer may make; more are a mistake, such as a word of the answer as a key."""
_FINISH_REASONS = {reason.value: reason for reason in FinishReason}


@dataclass(frozen=True, slots=True)
class ScoreProblem:
    """Why a cell has no score."""

    row: int | None
    """Its place among the rows; None: the scorer gives none at all."""
    cell_key: str | None
    scorer: str
    """The column that has a gap."""
    reason: str
    """One line, redacted."""


@dataclass(frozen=True, slots=True)
class Scores:
    """What scorers said of the rows of a comparison."""

    columns: Mapping[str, Sequence[Value]]
    """A value for each row and scorer, and for each key of one that returns a dict (`name.key`). None: no score."""
    reasons: Mapping[str, Sequence[str | None]]
    """Why, for scorers that say so: the reason of each row."""
    problems: Sequence[ScoreProblem] = ()
    versions: Mapping[str, str | None] = field(default_factory=dict)
    """Of each scorer."""

    def added_to(self, rows: Sequence[Row]) -> list[dict[str, Any]]:
        """The rows with these columns; earlier ones of the same names are replaced."""
        added = [dict(row) for row in rows]
        for name, values in self.columns.items():
            for row, value in zip(added, values, strict=True):
                row[name] = value
        return added

    @property
    def _count(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    def notes(self) -> list[str]:
        """For each scorer with gaps, how many and why the first: a sentence each."""
        by_scorer: dict[str, list[ScoreProblem]] = {}
        for problem in self.problems:
            by_scorer.setdefault(problem.scorer, []).append(problem)
        return [
            f"{one_line(name, 60)}: no score at all: {found[0].reason}"
            if found[0].row is None
            else f"{one_line(name, 60)}: {len(found)} of {self._count} cells have no score, "
            f"the first because: {found[0].reason}"
            for name, found in by_scorer.items()
        ]


def score_rows(
    rows: Sequence[Row],
    cases: Sequence[Case],
    scorers: Sequence[Scorer],
    *,
    progress: Callable[[int, int], object] | None = None,
) -> Scores:
    """Score every answer with every scorer.

    Functions run in the calling thread, so that Ctrl+C stops them; async ones run on nbllm's loop, sixteen cells at a
    time. Must not be called on that loop.

    Args:
        rows: Cells as in `Comparison.cells`.
        cases: What they were made of. A row whose prompt is not among them is its own case.
        scorers: From `nbllm.compare.scorers.scorers_of`.
        progress: Called with the scores made and those to make, after each.

    Raises:
        KeyboardInterrupt: It was interrupted; nothing is changed, and it can be done again.
    """
    book = {case.prompt_id: case for case in cases}
    answers = [
        (place, reply_of(row), book.get(row.get("prompt_id", "")) or _case_of(row))
        for place, row in enumerate(rows)
        if row.get("status") == "ok"
    ]
    clock = _Clock(len(answers) * len(scorers), progress)
    sheets = [_sheet(scorer, answers, rows, clock) for scorer in scorers]
    return Scores(
        columns={name: values for sheet in sheets for name, values in sheet.columns.items()},
        reasons={sheet.name: sheet.reasons for sheet in sheets if any(sheet.reasons)},
        problems=tuple(problem for sheet in sheets for problem in sheet.problems),
        versions={scorer.name: scorer.version for scorer in scorers},
    )


# ---------------------------------------------------------------- what scorers see


def reply_of(row: Row) -> Reply:
    """The answer of a cell as a `Reply`, so that a scorer can be tried on the answer of `nbllm.chat` as well."""
    provider, _, model = str(row.get("model") or "").partition("/")
    cost = row.get("cost_usd")
    return Reply(
        text=row.get("text") or "",
        provider=provider,
        model=model,
        finish_reason=_FINISH_REASONS.get(str(row.get("finish_reason")), FinishReason.OTHER),
        model_reported=row.get("model_reported"),
        usage=Usage(
            input_tokens=row.get("input_tokens"),
            cached_input_tokens=row.get("cached_input_tokens"),
            output_tokens=row.get("output_tokens"),
            reasoning_tokens=row.get("reasoning_tokens"),
            source="estimate" if row.get("usage_source") == "estimate" else "provider",
        ),
        cost_usd=None if cost is None else Decimal(str(cost)),
        latency_ms=row.get("latency_ms"),
        ttft_ms=row.get("ttft_ms"),
        params=as_mapping(row.get("params")),
        request_id=row.get("request_id"),
    )


def as_mapping(value: Any) -> Mapping[str, Any]:
    """A column that holds an object, also where it is written as JSON."""
    if isinstance(value, str):
        value = json.loads(value)
    return value if isinstance(value, Mapping) else {}


def _case_of(row: Row) -> Case:
    return Case(str(row.get("prompt_id") or ""), str(row.get("prompt") or ""), as_mapping(row.get("vars")))


# ---------------------------------------------------------------- calling

_Answer = tuple[int, Reply, Case]


@dataclass(frozen=True, slots=True)
class _Raised:
    """What a scorer raised in the place of a result."""

    error: BaseException


class _Clock:
    """Tells the progress of everything that is to do."""

    def __init__(self, total: int, tell: Callable[[int, int], object] | None) -> None:
        self._done, self._total, self._tell = 0, total, tell

    def tick(self) -> None:
        self._done += 1
        if self._tell is not None:
            self._tell(self._done, self._total)


def _sheet(scorer: Scorer, answers: Sequence[_Answer], rows: Sequence[Row], clock: _Clock) -> _Sheet:
    sheet = _Sheet(scorer.name, rows)
    if scorer.note is not None:
        sheet.fail(None, scorer.note)
        return sheet.finish()
    results = _awaited_results(scorer, answers, clock) if scorer.is_async else _results(scorer, answers, clock)
    try:
        for place, result in results:
            sheet.take(place, result)
    finally:
        scorer.close()
    return sheet.finish()


def _results(scorer: Scorer, answers: Sequence[_Answer], clock: _Clock) -> Iterator[tuple[int, Any]]:
    for place, reply, case in answers:
        yield place, _call(scorer, reply, case)
        clock.tick()


def _call(scorer: Scorer, reply: Reply, case: Case) -> Any:
    try:
        result = scorer.function(reply, case)
        return aio.run(_await(result)) if inspect.isawaitable(result) else result
    except (Exception, SystemExit) as exc:  # noqa: BLE001  (foreign code; its reason is kept, the others go on)
        return _Raised(exc)


async def _await(result: Awaitable[Any]) -> Any:
    return await result


def _awaited_results(scorer: Scorer, answers: Sequence[_Answer], clock: _Clock) -> Iterator[tuple[int, Any]]:
    results = aio.run(_gather(scorer, answers, clock))
    return zip((place for place, _, _ in answers), results, strict=True)


async def _gather(scorer: Scorer, answers: Sequence[_Answer], clock: _Clock) -> list[Any]:
    room = asyncio.Semaphore(_AT_ONCE)

    async def one(reply: Reply, case: Case) -> Any:
        async with room:
            try:
                return await scorer.function(reply, case)
            except (Exception, SystemExit) as exc:  # noqa: BLE001  (as above)
                return _Raised(exc)
            finally:
                clock.tick()

    return await asyncio.gather(*(one(reply, case) for _, reply, case in answers))


# ---------------------------------------------------------------- reading what came


class _Sheet:
    """The columns of one scorer while they are filled."""

    def __init__(self, name: str, rows: Sequence[Row]) -> None:
        self.name = name
        self.columns: dict[str, list[Value]] = {}
        self.reasons: list[str | None] = [None] * len(rows)
        self.problems: list[ScoreProblem] = []
        self._rows = rows

    def take(self, place: int, result: Any) -> None:
        """Put down what the scorer returned for a row."""
        if isinstance(result, _Raised):
            self.fail(place, reason_of(result.error))
            return
        reason = None
        if isinstance(result, Score):
            result, reason = result.value, result.reason
        if isinstance(result, Mapping):
            self._take_parts(place, result)
        elif result is None and reason is not None:
            self.fail(place, reason)
            return
        else:
            self._put(self.name, place, result)
        if reason is not None:
            self.reasons[place] = _line(reason)

    def fail(self, place: int | None, reason: str) -> None:
        """No score for this row, and why."""
        self._problem(self.name, place, reason)

    def finish(self) -> _Sheet:
        """A scorer that gave no score at all has its column too."""
        if not self.columns:
            self._column(self.name)
        return self

    def _take_parts(self, place: int, parts: Mapping[Any, Any]) -> None:
        for key, value in parts.items():
            column = f"{self.name}.{one_line(key, 60)}"
            if key == "reason" and (value is None or isinstance(value, str)):
                self.reasons[place] = None if value is None else _line(value)
            elif column not in self.columns and len(self.columns) >= _MOST_PARTS:
                self._problem(self.name, place, f"more than {_MOST_PARTS} keys")
                return
            else:
                self._put(column, place, value)

    def _put(self, column: str, place: int, value: Any) -> None:
        values = self._column(column)
        try:
            values[place] = _plain(value)
        except (ValueError, OverflowError) as exc:
            self._problem(column, place, str(exc))

    def _column(self, name: str) -> list[Value]:
        if name not in self.columns:
            self.columns[name] = [None] * len(self._rows)
        return self.columns[name]

    def _problem(self, column: str, place: int | None, reason: str) -> None:
        key = None if place is None else self._rows[place].get("cell_key")
        self.problems.append(ScoreProblem(place, key, column, _line(reason)))


def reason_of(error: BaseException) -> str:
    """`type: message` on one line, without keys."""
    return _line(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)


def _line(text: str) -> str:
    return one_line(redact(str(text)))


def _plain(value: Any) -> Value:
    """A number or a bool; those of numpy, of torch and of `decimal` too.

    Raises:
        ValueError: It is neither.
    """
    if value is None or isinstance(value, bool):
        return value
    if not isinstance(value, (int, float, Decimal, Fraction)):
        value = _item(value)
    if isinstance(value, bool):
        return value
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"it returned {number}, which is not a score")
    return number


def _item(value: Any) -> Any:
    try:
        item = None if isinstance(value, (str, bytes)) else value.item()
    except (AttributeError, TypeError, ValueError, RuntimeError):  # no scalar, or several at once
        item = None
    if not isinstance(item, (bool, int, float)):
        raise ValueError(f"it returned {one_line(repr(value), 60)} of type {type(value).__name__}, not a number")
    return item
