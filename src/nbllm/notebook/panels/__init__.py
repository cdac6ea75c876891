"""Widgets, each made when it is first asked for: ipywidgets and anywidget take 250 ms to import."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nbllm.catalog.table import ModelTable
    from nbllm.notebook.panels.models import ModelView


def view_models(table: ModelTable) -> ModelView:
    """The models of a table, to be sorted and filtered."""
    from nbllm.notebook.panels.models import ModelView  # noqa: PLC0415  (see above)

    return ModelView(table)
