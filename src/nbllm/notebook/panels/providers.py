"""The provider panel: a widget around `ProviderDesk`. It has no trait that could hold a key, or anything else."""

from __future__ import annotations

import weakref
from datetime import datetime
from typing import Any

import anywidget
from IPython.display import display

from nbllm.notebook.panels.assets import module, style
from nbllm.notebook.panels.provider_desk import Message, ProviderDesk
from nbllm.workspace import Workspace, current


class ProviderPanel(anywidget.AnyWidget):
    """Every provider, its key, its address, its models, and whether it answers.

    Args:
        workspace: What it stands for; None: that of this process.

    Shown in a notebook it is two outputs: the table of providers as it was then, which the saved notebook keeps and
    which a living panel hides, and the panel itself.
    """

    _esm = module("providers.js")
    _css = style("providers.css")

    def __init__(self, workspace: Workspace | None = None) -> None:
        super().__init__()
        self._workspace = workspace or current()
        mine = weakref.ref(self)
        self._desk = ProviderDesk(self._workspace, lambda message: _send(mine(), message))
        self.on_msg(_receive)

    def close(self) -> None:
        """Stop what is under way, and leave the page."""
        self._desk.close()
        super().close()

    def __repr__(self) -> str:
        return "ProviderPanel()"

    def _ipython_display_(self) -> None:
        table = self._workspace.providers()
        moment = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z")
        html = f'<div class="nbllm-static"><p>Providers on {moment}</p>{table._repr_html_()}</div>'
        display({"text/html": html, "text/plain": f"Providers on {moment}\n{table!r}"}, raw=True)
        bundle = self._repr_mimebundle_()
        data = bundle[0] if isinstance(bundle, tuple) else bundle
        display({**(data or {}), "text/plain": repr(self)}, raw=True)


def _receive(panel: ProviderPanel, content: Any, buffers: Any) -> None:
    panel._desk.receive(content)


def _send(panel: ProviderPanel | None, message: Message) -> None:
    if panel is not None and panel.comm is not None:
        panel.send(message)
