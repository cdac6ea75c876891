"""What a fetch brought, one provider a row."""

from __future__ import annotations

from collections import Counter
from typing import Any

from nbllm.catalog.fetch import FetchResult, Outcome
from nbllm.catalog.fetching import Fetching
from nbllm.tables import Table

OUTCOMES: tuple[Outcome, ...] = ("skipped", "cached", "unchanged", "ok", "failed")
"""The order of the rows: what failed stands next to the summary, where the eye is when the command ends."""
INTERRUPTED = "no answer yet when it was interrupted"
_NAMED = 5


class FetchTable(Table):
    """Who answered, with how many models, and why the others did not."""

    columns = ("provider", "outcome", "models", "seconds", "reason")

    def __init__(self, fetching: Fetching) -> None:
        results = [*fetching.results, *(FetchResult(i, "skipped", reason=INTERRUPTED) for i in fetching.waiting)]
        results.sort(key=lambda r: (OUTCOMES.index(r.outcome), r.provider))
        super().__init__([_row(r) for r in results], note="\n".join(_notes(fetching, results)))

    def as_json(self) -> list[dict[str, Any]]:
        """The rows for programs."""
        return [dict(row) for row in self.rows]

    def shown_rows(self) -> list[dict[str, Any]]:
        """The rows as a person reads them."""
        return [{**row, "seconds": _seconds(row["seconds"])} for row in self.rows]


def _row(result: FetchResult) -> dict[str, Any]:
    error = result.error
    return {
        "provider": result.provider,
        "outcome": result.outcome,
        "models": result.model_count,
        "seconds": None if result.seconds is None else round(result.seconds, 3),
        "reason": result.reason,
        "kind": None if error is None else type(error).__name__,
        "status": getattr(error, "status", None),
        "hint": None if error is None else error.hint,
        "age_s": None if result.age_s is None else round(result.age_s),
    }


def _seconds(value: float | None) -> str | None:
    return None if value is None else f"{value:.1f}"


def _notes(fetching: Fetching, results: list[FetchResult]) -> list[str]:
    counts = Counter(r.outcome for r in results)
    models = sum(r.model_count or 0 for r in results)
    said = ", ".join(f"{counts[o]} {o}" for o in reversed(OUTCOMES) if counts[o])
    lines = [f"{said}; {models} models" if said else "nobody was to be asked: nothing failed last time"]
    if fetching.silent:
        lines.append(f"On this machine, when they run: {', '.join(sorted(fetching.silent))}.")
    return [*lines, *problems(fetching)]


def problems(fetching: Fetching) -> list[str]:
    """What could not be written, or not as it came, a line each."""
    lines = [*fetching.remarks, *(error.message for error in fetching.unwritten[:_NAMED])]
    if len(fetching.unwritten) > _NAMED:
        lines.append(f"and {len(fetching.unwritten) - _NAMED} more files were not written")
    unsaved = [r for r in fetching.results if r.unsaved is not None]
    if unsaved:
        names = [r.provider for r in unsaved]
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        lines.append(f"not kept in the cache: the lists of {', '.join(names[:_NAMED])}{more}: {unsaved[0].unsaved}")
    if fetching.unremembered is not None:
        lines.append(f"{fetching.memory.path} stays as it was: {fetching.unremembered}")
    return lines
