"""`Comparison.view()`: answers to be sorted, filtered and read beside each other, and a blind vote on pairs of them.

What is shown comes in messages when it is asked for, and votes go out as one message each. Traits hold only how the
view is set (which tab, sorted by what, filtered by what), so that a second view of the widget shows the same; no trait
holds an answer, a vote or a name.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any

import anywidget
import traitlets

from nbllm.compare.ballots import Vote
from nbllm.compare.cells import Arm, Case, Row
from nbllm.notebook.panels.assets import module, style
from nbllm.notebook.panels.comparison_desk import ComparisonDesk, Message


class ComparisonView(anywidget.AnyWidget):
    """The answers of a comparison, and a blind vote on them.

    With `keep` the view opens at the vote, and nothing that names an arm leaves the kernel before the vote has ended:
    neither in a message nor in a trait, nor in the static HTML of the same output. Without, it opens at the answers.

    Args:
        rows: Cells.
        arms: What is compared.
        cases: The prompts.
        scorers: Names of the columns with scores.
        summary_rows: Rows of `Comparison.summary()`, shown beside the votes.
        votes: Reads the votes kept so far, of all voters. Called in a thread.
        keep: Keeps a vote, or raises `NbllmError`. Called in a thread, one vote at a time.
        seed: Draws the order and sides of the ballots.
        pairs: Labels of the arms to be voted on; None: each with each.
        voter: Who votes here; None: whoever sits at this notebook.
        html: The comparison as static HTML, for where no widget can be shown.

    Raises:
        UsageError: `pairs` names an arm that is not there, or two arms have one label.
    """

    _esm = module("comparison.js")
    _css = style("comparison.css")
    tab = traitlets.Unicode("answers").tag(sync=True)
    sort = traitlets.List().tag(sync=True)
    filters = traitlets.Dict().tag(sync=True)

    def __init__(
        self, rows: Sequence[Row], arms: Sequence[Arm], cases: Sequence[Case], scorers: Sequence[str], *,
        summary_rows: Sequence[Row] = (), votes: Callable[[], list[Vote]] | None = None,
        keep: Callable[[Vote], None] | None = None, seed: int = 0, pairs: Sequence[tuple[str, str]] | None = None,
        voter: str | None = None, html: str | None = None,
    ) -> None:  # fmt: skip
        mine: weakref.ref[ComparisonView] = weakref.ref(self)
        self._desk = ComparisonDesk(
            rows, arms, cases, scorers, summary_rows=summary_rows, votes=votes, keep=keep, seed=seed, pairs=pairs,
            voter=voter, post=lambda message: _send(mine(), message),
        )  # fmt: skip
        self._html = html
        self._words = (
            f"{_counted(len(arms), 'model')}, {_counted(len(cases), 'prompt')}, {_counted(len(rows), 'answer')}"
        )
        super().__init__(tab="vote" if self._desk.is_blind else "answers")
        self.on_msg(_receive)

    def __repr__(self) -> str:
        return f"ComparisonView({self._words})"

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        # One output with both: a front end that knows the widget shows it, every other one the static page.
        bundle = super()._repr_mimebundle_(**kwargs)
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
        shown = {**(data or {}), "text/plain": repr(self)}
        if self._desk.is_blind:  # the page names arms, and would lie in the notebook that the voter looks at
            shown["text/html"] = (
                f"<p>A blind vote on {_counted(self._desk.n_ballots, 'pair')} of answers: {self._words}.</p>"
            )
        elif self._html is not None:
            shown["text/html"] = self._html
        return shown, metadata


def _counted(count: int, word: str) -> str:
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def _receive(view: ComparisonView, content: Any, buffers: Any) -> None:
    view._desk.receive(content)


def _send(view: ComparisonView | None, message: Message) -> None:
    if view is not None and view.comm is not None:
        view.send(message)
