"""llm 0.36: `extra-openai-models.yaml`, a list of models.

llm.datasette.io/en/stable/other-models.html and llm/default_plugins/openai_models.py of 0.36, read 2026-11-21.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nbllm.exporters.base import Exported, Merged, Places, Strategy
from nbllm.exporters.entries import Container, Entry
from nbllm.exporters.offered import with_version
from nbllm.exporters.shared import (
    first_of_each,
    headers_step,
    keyless,
    known,
    merge_models,
    models_of,
    refusal,
    sees_images,
    sequence_text,
)
from nbllm.providers.spec import ModelInfo

_FIELDS = frozenset(
    ("model_id", "model_name", "api_base", "api_key_name", "vision", "supports_tools", "supports_schema")
)
_MODELS = Container(None, "sequence", ("model_id",), ("model_name",), fields=_FIELDS)
_PLUGINS = {"anthropic": "llm-anthropic", "google": "llm-gemini"}
"""Provider to the package that has llm speak to it."""
_HEAD = ("# Written by nbllm. No key stands here: `llm keys set NAME` asks for it, the names are under api_key_name.",)


class Llm:
    """The exporter of llm."""

    tool = "llm"
    extension = ".yaml"
    legacy: str | None = None

    def refuses(self, provider: Exported) -> str | None:
        """Why llm cannot have it in this file."""
        if plugin := _PLUGINS.get(provider.config.id):
            return (
                f"this file of llm is for OpenAI's wire format; `llm install {plugin}` brings {provider.config.title}"
            )
        return refusal(provider, self.tool, ("openai", "ollama"))

    def render(self, providers: Sequence[Exported]) -> str:
        """A new file."""
        return sequence_text(_HEAD, None, self._entries(providers))

    def locate(self, places: Places) -> Path:
        """`extra-openai-models.yaml` in `LLM_USER_PATH` or the platform's folder io.datasette.llm."""
        folder = places.environ.get("LLM_USER_PATH")
        own = places.config_home("io.datasette.llm", xdg_everywhere=False)
        return (Path(folder) if folder else own) / "extra-openai-models.yaml"

    def merge(self, text: str, providers: Sequence[Exported], strategy: Strategy = "add") -> Merged:
        """The user's file; a model of ours is told by its `model_id`, which is `provider/model`."""
        entries = self._entries(providers)
        if not text.strip():
            return Merged(text + self.render(providers), tuple(e.label for e in entries)) if entries else Merged(text)
        return merge_models(text, entries, self._taken(providers), strategy, _MODELS)

    def next_steps(self, providers: Sequence[Exported]) -> list[str]:
        """Which keys llm has to be given."""
        taken = self._taken(providers)
        return [
            *(f"give llm the key of {p.config.id}: llm keys set {p.config.id}" for p in taken if not keyless(p)),
            *headers_step(taken),
        ]

    def _taken(self, providers: Sequence[Exported]) -> list[Exported]:
        return [p for p in providers if self.refuses(p) is None]

    def _entries(self, providers: Sequence[Exported]) -> list[Entry]:
        return first_of_each([_entry(p, m) for p in self._taken(providers) for m in models_of(p)])


def _entry(provider: Exported, model: ModelInfo) -> Entry:
    fields: dict[str, Any] = known(
        model_id=f"{provider.config.id}/{model.id}",
        model_name=model.id,
        api_base=with_version(provider),
        api_key_name=None if keyless(provider) else provider.config.id,
        vision=sees_images(model) or None,
        supports_tools=model.tools or None,
        supports_schema=model.structured_output or None,
    )
    return Entry(model.ref, fields, once=frozenset({"api_key_name"}))
