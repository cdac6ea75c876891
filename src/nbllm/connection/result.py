"""What a connection test found. Data only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from nbllm.tables import Table

STAGES = ("url", "dns", "connect", "tls", "auth", "models", "model", "done")
"""In the order in which they are tried. Those that do not apply are left out."""


Fix = Literal["key", "url", "model", "wait"]
"""What a person can do about a failure: give a key, correct the address, choose another model, try again later."""


@dataclass(frozen=True, slots=True)
class StageResult:
    """One stage of a test, finished."""

    stage: str
    """A name of `STAGES`."""
    ok: bool
    ms: float | None
    """Milliseconds it took; None where it came with the stage before."""
    detail: str
    """What was found, or what failed: one line for people."""
    hint: str | None = None
    """What to do next, when it failed."""
    model_count: int | None = None
    """After `models`: how many models the listing has."""
    fix: Fix | None = None
    """What to do next, for a program that offers it."""
    retry_after_s: float | None = None
    """Seconds after which the server wants to be asked again, where it said so."""


@dataclass(frozen=True, slots=True, repr=False)
class ConnectionCheck:
    """Whether a provider answers, and if not, where it stopped and what to do.

    `bool(check)` is `ok`.
    """

    provider: str
    ok: bool
    stage: str
    """`done`, or the stage that failed: url, dns, connect, tls, auth, models, model."""
    latency_ms: float
    """Milliseconds of the whole test."""
    model_count: int | None = None
    """None: there is no listing, or the test did not come so far."""
    model: str | None = None
    """The model that was asked, if one was."""
    error: str | None = None
    hint: str | None = None
    stages: tuple[StageResult, ...] = ()

    def __bool__(self) -> bool:
        return self.ok

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        verdict = "ok" if self.ok else f"failed at {self.stage}"
        rows = [{"": "✓" if s.ok else "✗", "stage": s.stage, "ms": _ms(s), "found": s.detail} for s in self._told()]
        note = f"what to do: {self.hint}" if self.hint else None
        title = f"{self.provider}: {verdict} ({self.latency_ms:.0f} ms)"
        return Table(rows, columns=("", "stage", "ms", "found"), title=title, note=note)._repr_html_()

    def _told(self) -> list[StageResult]:
        return [s for s in self.stages if s.stage != "done"]

    def __str__(self) -> str:
        lines = [f"{self.provider}: {'ok' if self.ok else 'failed at ' + self.stage} ({self.latency_ms:.0f} ms)"]
        lines += [_line(s) for s in self._told()]
        return "\n".join([*lines, f"  hint: {self.hint}"] if self.hint else lines)


def _ms(stage: StageResult) -> str:
    return "" if stage.ms is None else f"{stage.ms:.0f} ms"


def _line(stage: StageResult) -> str:
    ms = _ms(stage)
    return f"  {'ok' if stage.ok else 'FAILED':6} {stage.stage:8}{ms:>9}  {stage.detail}"


def summarize(provider: str, model: str | None, stages: tuple[StageResult, ...], latency_ms: float) -> ConnectionCheck:
    """The test as one line: the last stage decides."""
    last = stages[-1]
    count = next((s.model_count for s in stages if s.model_count is not None), None)
    return ConnectionCheck(
        provider=provider,
        ok=last.ok and last.stage == "done",
        stage=last.stage,
        latency_ms=latency_ms,
        model_count=count,
        model=model,
        error=None if last.ok else last.detail,
        hint=last.hint,
        stages=stages,
    )
