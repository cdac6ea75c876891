"""The comparisons of a workspace: made, resumed, judged, loaded again. What magics, commands and functions call."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, select

from nbllm import aio
from nbllm.compare import ledger as ledgers
from nbllm.compare.ballots import Vote
from nbllm.compare.cells import CellSpec, Outcome
from nbllm.compare.comparison import UNNAMED, Comparison
from nbllm.compare.design import Asked, Design, make_design
from nbllm.compare.estimate import Estimate
from nbllm.compare.judge import JudgePlan
from nbllm.compare.judging import Judged, judged, plan_of
from nbllm.compare.options import ENGINES, CompareOptions
from nbllm.compare.origin import Facts
from nbllm.compare.progress import Progress
from nbllm.compare.resuming import not_asked
from nbllm.compare.rows import tidy_rows
from nbllm.compare.scorers import Scorer, check_cases, scorers_of
from nbllm.compare.session import Parts, Plan, Session, address_of, in_asking_order, plan_cells
from nbllm.conversations import rows as store_rows
from nbllm.errors import PromptError, StoreError, UnsupportedError, UsageError
from nbllm.foreign import one_line
from nbllm.providers.registry import ModelRef
from nbllm.store import Changes, schema

Viewer = Callable[[Comparison, bool, str | None], Any]
"""Makes the widget of a comparison: whether the votes are blind, and who votes."""
OnProgress = Callable[[Progress], object]
_NAME = re.compile(r"[^\x00-\x1f\x7f]{1,200}")


class Comparisons:
    """Makes comparisons, and finds those that were made.

    Args:
        parts: What they need of the workspace.
        resolve: A model reference, an alias or a bare id as provider and model.
        viewer: Gives what makes the widget of a comparison; None where there is no notebook.
    """

    def __init__(
        self, parts: Parts, resolve: Callable[[str], ModelRef], *, viewer: Callable[[], Viewer | None] = lambda: None
    ) -> None:
        self._parts, self._resolve, self._viewer = parts, resolve, viewer

    # ------------------------------------------------------------ making

    def open(self, options: CompareOptions) -> Making:
        """Lay out a comparison and check that it can be made. Nothing is sent.

        Raises:
            NbllmError: It cannot be made as it was asked for.
        """
        plan = self._plan(options)
        notes: list[str] = []
        if options.resume and not options.scorers:
            scorers, notes = self._scorers_again(options, plan.design)
        else:
            scorers = list(self._scorers(options, plan.design))
            plan.design = replace(plan.design, scorers=tuple(s.word or s.name for s in scorers))
        check_cases(scorers, plan.design.cases)
        making = Making(self, plan, self._parts, scorers)
        if options.resume:
            making.session.news += [*notes, *not_asked(options, plan.design, self._resolve)]
        return making

    def dry_run(self, options: CompareOptions) -> Estimate:
        """What a run would send and cost. Sends nothing, needs no key."""
        plan = self._plan(options)
        self._scorers(options, plan.design)
        return Session(plan, self._parts).estimate(judged=self._likely_asks(plan))

    def run(self, options: CompareOptions, on_progress: OnProgress | None = None) -> Comparison:
        """Make a comparison and wait for it."""
        making = self.open(options)
        making.complete(on_progress)
        return making.comparison()

    async def arun(self, options: CompareOptions, on_progress: OnProgress | None = None) -> Comparison:
        """`run`, awaited on the caller's own event loop."""
        making = await asyncio.to_thread(self.open, options)
        await making.acomplete(on_progress)
        return await asyncio.to_thread(making.comparison)

    def _plan(self, options: CompareOptions) -> Plan:
        if options.engine not in ENGINES:
            raise UsageError(f"there is no engine {options.engine!r}", hint=f"there are {', '.join(ENGINES)}")
        name = _name(options)
        design = self._stored(name) if options.resume else self._asked(options)
        design = replace(design, judge=self._judge(options) or design.judge, rubric=options.rubric or design.rubric)
        if design.judge is not None and len(design.arms) < 2:
            raise UsageError("a judge compares two answers, and there is one model", hint="name another model")
        cells = plan_cells(design, self._parts.services)
        known = ledgers.outcomes_of(self._parts.store(), name) if options.name or options.resume else {}
        return Plan(name, design, cells, known, options)

    def _judge(self, options: CompareOptions) -> str | None:
        return None if options.judge is None else self._resolve(options.judge).ref

    def _asked(self, options: CompareOptions) -> Design:
        if options.prompts is None:
            raise PromptError("there is no prompt", hint="give one, or go on with a comparison by its name")
        asked = Asked(
            prompts=options.prompts, models=options.models, repeats=options.repeats, data=options.data,
            params=options.params, system=options.system, seed=options.seed, rubric=options.rubric,
        )  # fmt: skip
        return make_design(asked, self._resolve)

    def _stored(self, name: str) -> Design:
        found = ledgers.newest_design(self._parts.store(), name)
        if found is None:
            close = ", ".join(one_line(n, 40) for n in self.names()[:5])
            raise StoreError(
                f"there is no comparison of the name {one_line(name, 60)!r}",
                hint=f"there are {close}" if close else "none was made here yet",
            )
        return Design.from_json(found)

    def _scorers(self, options: CompareOptions, design: Design) -> tuple[Scorer, ...]:
        given = list(options.scorers) if not isinstance(options.scorers, Mapping) else options.scorers
        if not given:
            return ()
        columns = list(design.cases[0].vars)
        return tuple(scorers_of(given, namespace=options.namespace, columns=columns, folder=options.folder))

    def _scorers_again(self, options: CompareOptions, design: Design) -> tuple[list[Scorer], list[str]]:
        """The scorers of an earlier run, as far as their words say what they are, and a note on each of the others."""
        known: list[str] = []
        notes: list[str] = []
        for word in design.scorers:
            try:
                known += [s.word or s.name for s in self._scorers(replace(options, scorers=[word]), design)]
            except (UsageError, PromptError):
                notes.append(f"the scores by {one_line(word, 60)} are not here: `score()` makes them again")
        # All at once: what a column is called depends on the others.
        return list(self._scorers(replace(options, scorers=known), design)), notes

    def _likely_asks(self, plan: Plan) -> list[CellSpec]:
        """The judge's questions as they would be if every answer were as long as its prompt."""
        design = plan.design
        if design.judge is None:
            return []
        stand_ins = {
            c.spec.key: plan.known.get(c.spec.key)
            or Outcome(c.spec.key, "ok", "", text=f"{c.arm.label}: {c.case.prompt}")
            for c in plan.cells
        }
        rows = tidy_rows(plan.cells, stand_ins, fresh=())
        found = plan_of(rows, design.arms, design.cases, ref=design.judge, rubric=design.rubric, address=self.address)
        return [spec for spec in found.specs if spec.key not in plan.known]

    @property
    def address(self) -> Callable[[str], str]:
        """What says who answers for a provider."""
        return address_of(self._parts.services)

    # ------------------------------------------------------------ finding

    def names(self) -> list[str]:
        """The comparisons that are kept, the newest first."""
        return ledgers.names(self._parts.store())

    def load(self, name: str) -> Comparison:
        """A comparison as far as it came. Asks nobody.

        Raises:
            StoreError: There is none of this name.
        """
        making = self.open(CompareOptions(name=name, resume=True))
        return making.comparison()

    # ------------------------------------------------------------ what a comparison may want

    def judge(self, comparison: Comparison, ref: str | None, rubric: str | None) -> Judged:
        """See `Origin`."""
        if ref is None and comparison.design.judge is None:
            raise UsageError("which model is the judge?", hint="name it: `.judge('provider/model')`")
        options = CompareOptions(name=comparison.name, resume=True, judge=ref, rubric=rubric)
        making = self.open(options)
        making.judge_only()
        found = making.comparison().judged
        assert found is not None
        return found

    def again(self, comparison: Comparison, *, retry_errors: bool) -> Comparison:
        """See `Origin`."""
        options = CompareOptions(name=comparison.name, resume=True, retry_errors=retry_errors)
        making = self.open(options)
        making.scorers = comparison.scored_by
        making.complete()
        return making.comparison()

    def votes(self, name: str) -> list[Vote]:
        """See `Origin`."""
        table = schema.votes

        def look(connection: Connection) -> list[Any]:
            found = select(table.c.vote).where(table.c.comparison_id == ledgers.comparison_id(name))
            return list(connection.scalars(found.order_by(table.c.created_at)))

        return [Vote(**shape) for shape in self._parts.store().read(look)]

    def keep_vote(self, name: str, vote: Vote) -> None:
        """See `Origin`.

        Raises:
            StoreError: It is in memory only.
        """
        store = self._parts.store()
        durable = store.durable
        row = {"id": store_rows.new_id(), "comparison_id": ledgers.comparison_id(name), "created_at": schema.now()}
        store.write(lambda _: Changes({"votes": [row | {"vote": asdict(vote)}]}))
        if durable and not store.durable:
            raise StoreError(f"the vote could not be kept: {store.warning}", hint="free some space, and vote again")

    def view(self, comparison: Comparison, *, blind: bool, voter: str | None) -> Any:
        """See `Origin`."""
        make = self._viewer()
        if make is None:
            raise UnsupportedError("there is no notebook to show it in", hint="`to_html(PATH)` writes a page")
        return make(comparison, blind, voter)


def _name(options: CompareOptions) -> str:
    if options.name is not None:
        if not isinstance(options.name, str) or not options.name.strip() or not _NAME.fullmatch(options.name):
            raise UsageError("a comparison's name has 1 to 200 characters that can be shown")
        return options.name
    if options.resume:
        raise UsageError("which comparison is to go on?", hint="give its name")
    return f"{UNNAMED}{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


class Making:
    """A comparison while it is made.

    Attributes:
        begun: Whether there is anything to show.
        unnamed: Whether nobody gave it a name.
    """

    def __init__(self, home: Comparisons, plan: Plan, parts: Parts, scorers: Sequence[Scorer]) -> None:
        self._home, self.plan = home, plan
        self.scorers = tuple(scorers)
        self.session = Session(plan, parts)
        self.begun = False
        self.unnamed = plan.name.startswith(UNNAMED)

    def complete(self, on_progress: OnProgress | None = None) -> None:
        """Ask everything, on an ordinary thread.

        Raises:
            NbllmError: It could not be finished; `comparison()` has what was answered.
            KeyboardInterrupt: Likewise.
        """
        self.session.refuse()
        with self.session:
            for progress in aio.iterate(self._steps()):
                if on_progress is not None:
                    on_progress(progress)

    async def acomplete(self, on_progress: OnProgress | None = None) -> None:
        """`complete`, awaited on the caller's own event loop."""
        await asyncio.to_thread(self.session.refuse)
        with self.session:
            async for progress in aio.stream_in_caller(self._steps()):
                if on_progress is not None:
                    on_progress(progress)

    def judge_only(self) -> None:
        """Ask the judge about what is there."""
        with self.session:
            for _ in aio.iterate(self._judging()):
                pass

    async def _steps(self) -> AsyncGenerator[Progress, None]:
        self.begun = True
        await asyncio.to_thread(self.session.refuse_running_batches)
        lost = await asyncio.to_thread(self.session.begin)
        if lost:
            self.session.news.append(
                f"{lost} cell{'s were' if lost != 1 else ' was'} taken by a process that ended before an answer was "
                "written down; they are asked again, and those that were sent may have been paid for twice"
            )
        async for progress in self.session.drive(in_asking_order(self.plan), "asking"):
            yield progress
        if self.plan.design.judge is not None:
            async for progress in self._judging():
                yield progress

    async def _judging(self) -> AsyncGenerator[Progress, None]:
        self.begun = True
        plan = await asyncio.to_thread(self._judge_plan)
        async for progress in self.session.drive(plan.specs, "judging"):
            yield progress

    def _judge_plan(self) -> JudgePlan:
        design = self.plan.design
        assert design.judge is not None
        return plan_of(
            self._rows(), design.arms, design.cases, ref=design.judge, rubric=design.rubric, address=self._home.address
        )

    def _rows(self) -> list[dict[str, Any]]:
        return tidy_rows(self.plan.cells, self.session.answers, fresh=())

    def comparison(self) -> Comparison:
        """What there is by now."""
        design, session = self.plan.design, self.session
        hosts = {o.host for o in session.answers.values() if o.host}
        facts = Facts(self.plan.options.engine, tuple(sorted(hosts)), tuple(dict.fromkeys(session.news)))
        said = None
        if design.judge is not None:
            said = judged(
                self._judge_plan(), session.verdicts, self._rows(), design.arms, ref=design.judge, rubric=design.rubric
            )
        found = Comparison(
            self.plan.name, design, self.plan.cells, session.answers, fresh=frozenset(session.fresh),
            origin=self._home, facts=facts, judged=said,
        )  # fmt: skip
        return found.score(*self.scorers) if self.scorers else found
