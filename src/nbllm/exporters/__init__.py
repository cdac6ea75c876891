"""The catalogue in other tools' configuration files: one module a tool, loaded when first asked for."""

from __future__ import annotations

import difflib
import importlib
from functools import cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from nbllm.errors import ExportError, UsageError
from nbllm.foreign import one_line

if TYPE_CHECKING:
    from nbllm.exporters.base import Exporter

ENTRY_POINT_GROUP = "nbllm.exporters"
"""Name of the entry point: the tool. Object: a class that has the protocol `nbllm.exporters.base.Exporter`."""

BUNDLED = {
    "aichat": "nbllm.exporters.aichat:Aichat",
    "codex": "nbllm.exporters.codex:Codex",
    "mods": "nbllm.exporters.mods:Mods",
    "llm": "nbllm.exporters.llm:Llm",
    "opencode": "nbllm.exporters.opencode:Opencode",
    "litellm": "nbllm.exporters.litellm:Litellm",
    "continue": "nbllm.exporters.continue_:Continue",
    "aider": "nbllm.exporters.aider:Aider",
    "crush": "nbllm.exporters.crush:Crush",
}
"""Tool to `module:class`, for the tools that come with nbllm."""

TOOLS = tuple(BUNDLED)
"""The tools that come with nbllm."""


@cache
def exporter(tool: str) -> Exporter:
    """The exporter of a tool; the same object each time, since exporters keep no state.

    A bundled tool cannot be replaced by an entry point.

    Raises:
        UsageError: No exporter has this name; the hint names the nearest.
        ExportError: It comes with another package and cannot be loaded.
    """
    if tool in BUNDLED:
        module, _, name = BUNDLED[tool].partition(":")
        found: Exporter = getattr(importlib.import_module(module), name)()
        return found
    for entry in entry_points(group=ENTRY_POINT_GROUP, name=tool):
        try:
            loaded: Exporter = entry.load()()
        except Exception as exc:  # foreign code: whatever it raises, this tool is unusable
            problem = f"the exporter {tool!r} of {entry.value!r} cannot be loaded: {type(exc).__name__}: {exc}"
            raise ExportError(problem, hint="update or uninstall the package that brings it") from exc
        return loaded
    raise _unknown(tool)


def tools() -> tuple[str, ...]:
    """Every tool that has an exporter, bundled first."""
    added = {entry.name for entry in entry_points(group=ENTRY_POINT_GROUP)}
    return (*BUNDLED, *sorted(added - BUNDLED.keys()))


def _unknown(tool: str) -> UsageError:
    known = tools()
    close = difflib.get_close_matches(tool.lower(), known, n=3, cutoff=0.5)
    said = f"did you mean {', '.join(close)}? " if close else ""
    return UsageError(f"there is no exporter for {one_line(tool, 80)!r}", hint=f"{said}known tools: {', '.join(known)}")
