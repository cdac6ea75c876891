"""The judge of a comparison: which questions it is asked, and what came of them. The asking is the session's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nbllm.compare.cells import Arm, Case, Duel, Outcome, Row
from nbllm.compare.judge import JudgePlan, judge_specs
from nbllm.compare.judge_report import JudgeReport, judge_report
from nbllm.compare.verdicts import Judgement, duels_of, judge_column


@dataclass(frozen=True, slots=True)
class Judged:
    """What a judge said of the answers of a comparison."""

    ref: str
    """The judge's reference."""
    rubric: str | None
    """None: the usual one."""
    plan: JudgePlan
    outcomes: Mapping[str, Outcome]
    """What came of the judge's questions, by key; those not asked are not here."""
    judgement: Judgement
    report: JudgeReport

    @property
    def duels(self) -> Sequence[Duel]:
        """Who won: both orders together."""
        return self.judgement.duels

    def column(self, rows: Sequence[Row], arms: Sequence[Arm]) -> list[float | None]:
        """For each cell the share of its duels that it won, a tie as half; None: it was in none."""
        return judge_column(self.duels, rows, arms)

    @property
    def raw(self) -> list[dict[str, Any]]:
        """Every judgement as it came: who was A, who was B, what was said."""
        return [
            {
                "prompt_id": ask.prompt_id,
                "repeat": ask.repeat,
                "A": ask.a if ask.order == "ab" else ask.b,
                "B": ask.b if ask.order == "ab" else ask.a,
                **_said(self.outcomes.get(ask.spec.key)),
            }
            for ask in self.plan.asks
        ]


def _said(outcome: Outcome | None) -> dict[str, Any]:
    if outcome is None:
        return {"status": None, "text": None, "error": None, "cost_usd": None}
    cost = None if outcome.cost_usd is None else float(outcome.cost_usd)
    text = outcome.text if outcome.status == "ok" else None
    return {"status": outcome.status, "text": text, "error": outcome.error, "cost_usd": cost}


def plan_of(
    rows: Sequence[Row],
    arms: Sequence[Arm],
    cases: Sequence[Case],
    *,
    ref: str,
    rubric: str | None,
    address: Callable[[str], str],
) -> JudgePlan:
    """Everything that the judge is to be asked: each pair of answers to the same prompt, in both orders."""
    provider, _, model = ref.partition("/")
    return judge_specs(rows, arms, cases, provider=provider, model=model, address=address(provider), rubric=rubric)


def judged(
    plan: JudgePlan, outcomes: Mapping[str, Outcome], rows: Sequence[Row], arms: Sequence[Arm], *, ref: str,
    rubric: str | None,
) -> Judged:  # fmt: skip
    """What the judge's answers make together."""
    mine = {spec.key: outcomes[spec.key] for spec in plan.specs if spec.key in outcomes}
    found = duels_of(plan, mine.values())
    return Judged(ref, rubric, plan, mine, found, judge_report(ref, plan, found, rows, arms))
