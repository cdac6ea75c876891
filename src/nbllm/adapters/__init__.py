"""Wire formats: one module each, loaded when first asked for."""

from __future__ import annotations

import importlib
from functools import cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from nbllm.errors import RegistryError

if TYPE_CHECKING:
    from nbllm.adapters.base import Adapter

ENTRY_POINT_GROUP = "nbllm.adapters"
"""Name of the entry point: the kind. Object: a class that has the protocol `nbllm.adapters.base.Adapter`."""

BUNDLED = {
    "openai": "nbllm.adapters.openai:OpenAIAdapter",
    "demo": "nbllm.adapters.openai:OpenAIAdapter",  # the demo provider speaks OpenAI's wire format
    "url": "nbllm.adapters.openai:OpenAIAdapter",  # a plain URL is taken for an OpenAI-compatible server
    "anthropic": "nbllm.adapters.anthropic:AnthropicAdapter",
    "gemini": "nbllm.adapters.gemini:GeminiAdapter",
    "ollama": "nbllm.adapters.ollama:OllamaAdapter",
}
"""Kind to `module:class`, for the kinds that come with nbllm."""


@cache
def load_adapter(kind: str) -> Adapter:
    """The adapter of a kind; the same object each time, since adapters keep no state.

    A bundled kind cannot be replaced by an entry point.

    Raises:
        RegistryError: No adapter has this kind, or it cannot be loaded.
    """
    if kind in BUNDLED:
        module, _, name = BUNDLED[kind].partition(":")
        adapter: Adapter = getattr(importlib.import_module(module), name)()
        return adapter
    return _from_entry_point(kind)


def _from_entry_point(kind: str) -> Adapter:
    for entry in entry_points(group=ENTRY_POINT_GROUP, name=kind):
        try:
            adapter: Adapter = entry.load()()
        except Exception as exc:  # foreign code: whatever it raises, this kind is unusable
            problem = f"the adapter {kind!r} of {entry.value!r} cannot be loaded: {type(exc).__name__}: {exc}"
            raise RegistryError(problem, hint="update or uninstall the package that brings it") from exc
        return adapter
    known = ", ".join(kinds())
    raise RegistryError(f"no adapter for the kind {kind!r}", hint=f"known kinds: {known}")


def kinds() -> tuple[str, ...]:
    """Every kind that can be loaded, bundled first."""
    added = {entry.name for entry in entry_points(group=ENTRY_POINT_GROUP)}
    return (*BUNDLED, *sorted(added - BUNDLED.keys()))
