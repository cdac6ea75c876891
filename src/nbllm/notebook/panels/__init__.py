"""Widgets, each made when it is first asked for: ipywidgets and anywidget take 250 ms to import."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nbllm.catalog.table import ModelTable
    from nbllm.compare.comparison import Comparison
    from nbllm.notebook.panels.comparison import ComparisonView
    from nbllm.notebook.panels.models import ModelView


def view_models(table: ModelTable) -> ModelView:
    """The models of a table, to be sorted and filtered."""
    from nbllm.notebook.panels.models import ModelView  # noqa: PLC0415  (see above)

    return ModelView(table)


def view_comparison(comparison: Comparison) -> ComparisonView:
    """The answers of a comparison, to be sorted, filtered and voted on."""
    from nbllm.notebook.panels.comparison import ComparisonView  # noqa: PLC0415  (see above)

    return ComparisonView(
        comparison.cells.rows, comparison.arms, comparison.cases, comparison.scorers,
        summary_rows=comparison.summary().rows, seed=comparison.design.seed, html=comparison._repr_html_(),
    )  # fmt: skip


def view_ballots(comparison: Comparison, voter: str | None = None) -> ComparisonView:
    """A blind vote on the answers of a comparison; the votes are kept with it."""
    from nbllm.notebook.panels.comparison import ComparisonView  # noqa: PLC0415  (see above)

    return ComparisonView(
        comparison.cells.rows, comparison.arms, comparison.cases, comparison.scorers,
        votes=comparison.votes, keep=comparison.vote, seed=comparison.design.seed, voter=voter,
    )  # fmt: skip


def comparison_viewer(comparison: Comparison, blind: bool, voter: str | None) -> ComparisonView:
    """The widget of a comparison: for a blind vote, or to look at."""
    return view_ballots(comparison, voter) if blind else view_comparison(comparison)
