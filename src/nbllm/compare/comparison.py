"""`Comparison`: answers side by side, their scores and verdicts, and what may be concluded from them.

Everything that is worked out (tables, pictures, files) is made when it is asked for, and asks nobody. `judge`, `resume`
and `retry_errors` go back to the workspace that made the comparison, and may cost something.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from nbllm.compare import analysis, frames, page, page_text, reports
from nbllm.compare.ballots import Vote, ballots
from nbllm.compare.ballots import duels_of as duels_of_votes
from nbllm.compare.cells import Arm, Case, Duel, Outcome
from nbllm.compare.comparison_tables import (
    DifferenceTable,
    WideTable,
    cells_table,
    find_arm,
    ranking_table,
    stats_table,
    summary_table,
    win_rate_rows,
)
from nbllm.compare.design import Cell, Design
from nbllm.compare.judging import Judged
from nbllm.compare.llm_comparator import to_llm_comparator
from nbllm.compare.manifest import manifest
from nbllm.compare.origin import Facts, Origin
from nbllm.compare.pictures import PICTURES, Svg
from nbllm.compare.preferences import preferences
from nbllm.compare.rows import tidy_rows
from nbllm.compare.scorers import Scorer, scorers_of
from nbllm.compare.scoring import Scores, score_rows
from nbllm.errors import UnsupportedError, UsageError
from nbllm.tables import Table

UNNAMED = "unnamed-"
"""How the name of a comparison begins that nobody named."""
_NO_ANSWERS = "no answers were scored: name a scorer (`score`), a judge (`judge`), or vote (`view`)"


class Comparison:
    """Answers of several models to the same prompts.

    Attributes:
        name: Under which it is kept; `nbllm.comparison(name)` gives it again.
        arms: What is compared: models, each with one setting of parameters.
        cases: The prompts.
        notes: Sentences that a reader must know: what was not asked, what stopped it, what the judge has in common.
    """

    def __init__(
        self,
        name: str,
        design: Design,
        cells: Sequence[Cell],
        outcomes: Mapping[str, Outcome],
        *,
        fresh: frozenset[str] = frozenset(),
        origin: Origin | None = None,
        facts: Facts | None = None,
        judged: Judged | None = None,
    ) -> None:
        self.name, self.design = name, design
        self.arms: tuple[Arm, ...] = design.arms
        self.cases: tuple[Case, ...] = design.cases
        self._facts = facts or Facts()
        self._origin = origin
        self._cells = cells
        self._plain = tidy_rows(cells, outcomes, fresh=fresh)
        self._rows: list[dict[str, Any]] = self._plain
        self._scores: Scores | None = None
        self._judged = judged
        self._with_columns()

    # ------------------------------------------------------------ cells

    @property
    def cells(self) -> Table:
        """One row a cell that was asked, with the fixed columns, then one for each scorer, and the judge\'s.

        A few columns and the first 200 rows are shown; all of them are there.
        """
        return cells_table(self._rows)

    @property
    def scored_by(self) -> tuple[Scorer, ...]:
        """The scorers that were used last."""
        return self._facts.scorers

    @property
    def scorers(self) -> tuple[str, ...]:
        """The columns that hold scores, the judge\'s among them."""
        found = tuple(self._scores.columns) if self._scores is not None else ()
        return (*found, "judge") if self._judged is not None and self._judged.duels else found

    @property
    def notes(self) -> list[str]:
        """See the class."""
        return [*self._facts.notes, *self._unasked(), *self._score_notes(), *self._judge_notes()]

    @property
    def n_unasked(self) -> int:
        """Cells of the grid that nobody has answered yet."""
        return len(self._cells) - len(self._plain)

    def _unasked(self) -> list[str]:
        missing = self.n_unasked
        return [f"{missing:,} of {len(self._cells):,} cells were not asked; `resume()` asks them"] if missing else []

    def _score_notes(self) -> list[str]:
        if self._scores is None or not self._scores.problems:
            return []
        first = self._scores.problems[0]
        more = f" and {len(self._scores.problems) - 1:,} more" if len(self._scores.problems) > 1 else ""
        return [f"no score by {first.scorer}: {first.reason}{more}; see `score_problems`"]

    def _judge_notes(self) -> list[str]:
        return [] if self._judged is None else self._judged.report.sentences()

    @property
    def score_problems(self) -> list[dict[str, Any]]:
        """Cells that a scorer gave no score, with the reason."""
        if self._scores is None:
            return []
        return [{"cell_key": p.cell_key, "scorer": p.scorer, "reason": p.reason} for p in self._scores.problems]

    def __len__(self) -> int:
        return len(self._rows)

    def pivot(self, value: str = "text") -> Table:
        """A row for each prompt and repeat, a column for each arm.

        Args:
            value: A column of `cells`.

        Raises:
            UsageError: There is no such column.
        """
        if self._rows and value not in self._rows[0]:
            raise UsageError(f"there is no column {value!r}", hint=f"there are {', '.join(self._rows[0])}")
        found: dict[tuple[str, int], dict[str, Any]] = {}
        for row in self._rows:
            at = (row["prompt_id"], row["repeat"])
            line = found.setdefault(at, {"prompt_id": at[0], "repeat": at[1]} | {a.label: None for a in self.arms})
            line[self._label(row)] = row[value]
        return WideTable(list(found.values()), columns=["prompt_id", "repeat", *(a.label for a in self.arms)])

    def _label(self, row: Mapping[str, Any]) -> str:
        return next(a.label for a in self.arms if a.model == row["model"] and dict(a.params) == row["params"])

    # ------------------------------------------------------------ figures

    def summary(self, *, group: str | None = None) -> Table:
        """A row for each arm and scorer: prompts, errors, mean with interval, cost, latency.

        Args:
            group: A column of the data: prompts with the same value there are no independent ones.
        """
        return summary_table(self._summary_rows(group))

    def _summary_rows(self, group: str | None = None) -> list[dict[str, Any]]:
        return analysis.summary_rows(self._rows, self.arms, self.scorers, seed=self.design.seed, group=group)

    def stats(
        self, a: str | None = None, b: str | None = None, *, scorer: str | None = None, group: str | None = None
    ) -> Table:
        """The paired difference of two arms, or of every pair with Holm's correction; faster with the extra `stats`.

        Args:
            a: A model or the label of an arm; None: every pair.
            b: The other one.
            scorer: One column of scores; None: each.
            group: As in `summary`.

        Raises:
            UsageError: There is no such arm or scorer, or nothing was scored.
            UnsupportedError: Nothing can be said of these arms.
        """
        if (a is None) != (b is None):
            raise UsageError("stats takes two models, or none for every pair")
        pairs = None if a is None or b is None else [(find_arm(self.arms, a).label, find_arm(self.arms, b).label)]
        found: list[dict[str, Any]] = []
        for name in self._chosen(scorer):
            found += analysis.stats_rows(self._rows, self.arms, name, pairs, group=group, seed=self.design.seed)
        return stats_table(found)

    def ranking(self, by: str | None = None) -> Table:
        """Bradley\u2013Terry: who beats whom, with rank intervals. Needs the extra `stats`.

        Args:
            by: `judge`, `votes`, or a column of scores; None: the judge, else votes, else the first column.

        Raises:
            UsageError: There is nothing of this kind to rank by.
            UnsupportedError: Not every arm can be compared with every other one; or numpy is not installed.
        """
        duels = self.duels(by)
        return ranking_table(analysis.ranking_rows(duels, self.arms, seed=self.design.seed), duels)

    def consistency(self, scorer: str | None = None, ks: Sequence[int] = (1,)) -> Table:
        """pass@k and pass^k of a yes-or-no score; needs at least k repeats."""
        found: list[dict[str, Any]] = []
        for name in self._chosen(scorer):
            found += analysis.consistency_rows(self._rows, self.arms, name, ks)
        return WideTable(found)

    def latency(self) -> Table:
        """p50 and p95 with intervals, of answers that did not come from the store."""
        return WideTable(analysis.latency_rows(self._rows, self.arms))

    def _chosen(self, scorer: str | None) -> tuple[str, ...]:
        if not self.scorers:
            raise UsageError(_NO_ANSWERS)
        return self.scorers if scorer is None else (scorer,)

    def duels(self, by: str | None = None) -> list[Duel]:
        """Pairs of answers and which was better; see `ranking` for `by`."""
        if by is None:
            by = "judge" if self._judged is not None and self._judged.duels else "votes" if self.votes() else None
        if by == "judge" and self._judged is not None:
            return list(self._judged.duels)
        if by == "votes":
            return duels_of_votes(self.votes(), ballots(self._rows, self.arms, seed=self.design.seed))
        names = self._chosen(by)
        return analysis.duels_from_scores(self._rows, self.arms, names[0])

    # ------------------------------------------------------------ scoring

    def score(self, *scorers: Any, namespace: Mapping[str, Any] | None = None) -> Comparison:
        """Score the answers that are there, in the place of earlier scores. Asks nobody.

        Args:
            scorers: Words (`exact:COLUMN`, `contains:COLUMN`, `regex:COLUMN`, `numeric:COLUMN`, `json:SCHEMA`),
                functions `(reply, case) -> float | bool | dict`, or a dict of names to these.
            namespace: Where the name in `json:SCHEMA` is looked up.

        Raises:
            UsageError: One of them cannot be used.
        """
        columns = list(self.cases[0].vars) if self.cases else []
        found = scorers_of(scorers[0] if len(scorers) == 1 else list(scorers), namespace=namespace, columns=columns)
        self._facts = Facts(self._facts.engine, self._facts.hosts, self._facts.notes, tuple(found))
        self._scores = score_rows(self._plain, self.cases, found) if found else None
        self._with_columns()
        return self

    def judge(self, ref: str | None = None, rubric: str | None = None) -> Comparison:
        """Ask a model which answers are better, each pair in both orders. Verdicts that are there cost nothing.

        Args:
            ref: The judge; None: the one of the run.
            rubric: What it is to look at; None: that of the run.

        Raises:
            NbllmError: The judge cannot be asked.
        """
        self._judged = self._asked_origin().judge(self, ref, rubric)
        self._with_columns()
        return self

    @property
    def judged(self) -> Judged | None:
        """What the judge said, with its consistency and its leanings; None when none was asked."""
        return self._judged

    def _with_columns(self) -> None:
        rows = self._plain if self._scores is None else self._scores.added_to(self._plain)
        if self._judged is not None:
            column = self._judged.column(rows, self.arms)
            rows = [row | {"judge": value} for row, value in zip(rows, column, strict=True)]
        self._rows = rows

    def votes(self) -> list[Vote]:
        """The blind votes that are kept with the comparison."""
        return [] if self._origin is None else self._origin.votes(self.name)

    def vote(self, vote: Vote) -> None:
        """Keep a vote.

        Raises:
            StoreError: It cannot be kept.
        """
        self._asked_origin().keep_vote(self.name, vote)

    # ------------------------------------------------------------ going on

    def resume(self) -> Comparison:
        """Ask the cells that are missing; the result is a new comparison.

        Raises:
            NbllmError: They cannot be asked.
        """
        return self._asked_origin().again(self, retry_errors=False)

    def retry_errors(self) -> Comparison:
        """Ask those again that failed, and those that are missing; the result is a new comparison."""
        return self._asked_origin().again(self, retry_errors=True)

    def _asked_origin(self) -> Origin:
        if self._origin is None:
            raise UnsupportedError("this comparison has no workspace to go on in", hint="make it with nbllm.compare")
        return self._origin

    # ------------------------------------------------------------ for people

    def diff(self, a: str, b: str) -> DifferenceTable:
        """The answers of two arms, word by word: what the second left out and what it added."""
        return DifferenceTable(self._rows, find_arm(self.arms, a), find_arm(self.arms, b))

    def plot(self, kind: str = "scores", *, scorer: str | None = None, width: int = 640) -> Svg:
        """A picture: `scores`, `differences`, `latency`, `cost`, or `wins`.

        Raises:
            UsageError: There is no such picture, or nothing was scored.
            UnsupportedError: It needs the extra `stats`.
        """
        if kind not in PICTURES:
            raise UsageError(f"there is no picture {kind!r}", hint=f"there are {', '.join(PICTURES)}")
        return PICTURES[kind](self._drawn[kind](self, scorer), width=width)

    _drawn: Mapping[str, Callable[[Comparison, str | None], list[dict[str, Any]]]] = {
        "scores": lambda self, scorer: self._labelled(scorer),
        "differences": lambda self, scorer: list(map(dict, self.stats(scorer=scorer))),
        "latency": lambda self, scorer: [dict(row) | {"label": row["arm"]} for row in self.latency()],
        "cost": lambda self, scorer: self._labelled(scorer),
        "wins": lambda self, scorer: win_rate_rows(self.duels(scorer), self.arms),
    }

    def _labelled(self, scorer: str | None) -> list[dict[str, Any]]:
        names = self._chosen(scorer)
        return [row | {"label": row["arm"]} for row in self._summary_rows() if row["scorer"] in names]

    def view(self, *, blind: bool = False, voter: str | None = None) -> Any:
        """A widget that sorts and filters the answers, or takes blind votes on pairs of them.

        Args:
            blind: Vote, without seeing whose answer is whose; the votes are kept, and `ranking("votes")` counts them.
            voter: Who votes, where several do.

        Raises:
            UnsupportedError: There is no notebook.
        """
        return self._asked_origin().view(self, blind=blind, voter=voter)

    def __repr__(self) -> str:
        return page_text.comparison_text(self._rows, self.arms, self.cases, **self._shown())

    def _repr_html_(self) -> str:
        return page.comparison_html(self._rows, self.arms, self.cases, **self._shown())

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(repr(self))

    def _shown(self) -> dict[str, Any]:
        # Times are those of the cells, wherever they come from: loaded again, the comparison gives the same page.
        measured = [row | {"from_store": False} for row in self._rows]
        summary = analysis.summary_rows(measured, self.arms, self.scorers, seed=self.design.seed)
        return {"scorers": self.scorers, "summary": summary, "notes": self.notes, "title": self._title()}

    def _title(self) -> str:
        return "Comparison" if self.name.startswith(UNNAMED) else self.name

    # ------------------------------------------------------------ files and frames

    @property
    def manifest(self) -> dict[str, Any]:
        """What a reviewer needs: versions, grid, hashes, seed, hosts, prices, counts. Never a key."""
        design = self.design
        found = manifest(
            rows=self._plain, arms=self.arms, name=self.name, repeats=design.repeats, seed=design.seed,
            engine=self._facts.engine, system=design.system, base_urls=self._facts.hosts, judge=design.judge,
            rubric=design.rubric, scorers={s.name: (s.word, s.version) for s in self.scored_by},
            n_planned=len(self._cells),
        )  # fmt: skip
        return found | {"data_sha256": design.data_sha256, "template_sha256": design.template_sha256}

    def to_pandas(self) -> Any:
        """The cells as a pandas DataFrame; `vars` and `params` are JSON text."""
        return frames.to_pandas(self._rows, self.scorers)

    def to_polars(self) -> Any:
        """The cells as a polars DataFrame; `vars` and `params` are JSON text."""
        return frames.to_polars(self._rows, self.scorers)

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        return frames.arrow_stream(self._rows, self.scorers, requested_schema)

    def to_csv(self, path: str | Path, *, safe: bool = False) -> Path:
        """Write the cells as CSV; `safe` keeps a spreadsheet from taking text for formulas."""
        return reports.to_csv(path, self._rows, self.scorers, safe=safe)

    def to_jsonl(self, path: str | Path) -> Path:
        """Write the cells as JSON lines."""
        return reports.to_jsonl(path, self._rows, self.scorers)

    def to_parquet(self, path: str | Path) -> Path:
        """Write the cells as Parquet. Needs polars or pyarrow."""
        return reports.to_parquet(path, self._rows, self.scorers)

    def to_html(self, path: str | Path, *, pictures: Sequence[str] = ("scores",)) -> Path:
        """Write a page that stands by itself: summary, pictures, every answer, the manifest."""
        drawn = [self.plot(kind).to_svg() for kind in pictures if self.scorers or kind == "latency"]
        return reports.to_html(
            path, self._rows, self.arms, self.cases, pictures=drawn, manifest=self.manifest, **self._shown()
        )

    def to_preferences(self, path: str | Path, by: str | None = None) -> Path:
        """Write preference rows (`prompt`, `chosen`, `rejected`) as TRL reads them; ties are left out."""
        return preferences(self.duels(by), self._rows, self.arms, system=self.design.system).to_jsonl(path)

    def to_llm_comparator(self, path: str | Path, a: str | None = None, b: str | None = None) -> Path:
        """Write the file that PAIR\'s LLM Comparator opens: exactly two arms."""
        arms = self.arms if a is None or b is None else (find_arm(self.arms, a), find_arm(self.arms, b))
        duels = self._judged.duels if self._judged is not None else ()
        return to_llm_comparator(path, self._rows, arms, self.cases, duels=duels, scorers=self.scorers)
