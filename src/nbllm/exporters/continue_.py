"""Continue: `config.yaml`, schema v1, a list of models.

github.com/continuedev/continue, packages/config-yaml/src/schemas/models.ts, and docs.continue.dev, read 2026-11-21.
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
    is_embedding,
    known,
    merge_models,
    models_of,
    refusal,
    sequence_text,
)
from nbllm.providers.spec import ModelInfo

_PROVIDERS = {"openai": "openai", "anthropic": "anthropic", "gemini": "gemini", "ollama": "ollama"}
_FIELDS = frozenset(
    (
        "name",
        "provider",
        "model",
        "apiBase",
        "apiKey",
        "roles",
        "defaultCompletionOptions",
        "contextLength",
        "maxTokens",
    )
)
_MODELS = Container("models", "sequence", ("name",), ("model",), fields=_FIELDS)
_HEAD = (
    "# Written by nbllm. No key stands here, only the names of secrets, which Continue looks up in ~/.continue/.env.",
    "name: nbllm",
    "version: 1.0.0",
    "schema: v1",
)


class Continue:
    """The exporter of Continue."""

    tool = "continue"
    extension = ".yaml"
    legacy: str | None = None

    def refuses(self, provider: Exported) -> str | None:
        """Why Continue cannot have it."""
        return refusal(provider, self.tool, _PROVIDERS)

    def render(self, providers: Sequence[Exported]) -> str:
        """A new file."""
        return sequence_text(_HEAD, "models", self._entries(providers))

    def locate(self, places: Places) -> Path:
        """`config.yaml` in `CONTINUE_GLOBAL_DIR` or `~/.continue`."""
        folder = places.environ.get("CONTINUE_GLOBAL_DIR")
        return (Path(folder) if folder else places.home / ".continue") / "config.yaml"

    def merge(self, text: str, providers: Sequence[Exported], strategy: Strategy = "add") -> Merged:
        """The user's file; a model of ours is told by its `name`, which is `provider/model`."""
        entries = self._entries(providers)
        if not text.strip():
            return Merged(text + self.render(providers), tuple(e.label for e in entries)) if entries else Merged(text)
        return merge_models(text, entries, self._taken(providers), strategy, _MODELS)

    def next_steps(self, providers: Sequence[Exported]) -> list[str]:
        """Where Continue looks for keys."""
        taken = self._taken(providers)
        names = list(dict.fromkeys(p.key_env for p in taken if p.key_env))
        return [
            *([f"put {', '.join(names)} into ~/.continue/.env, where Continue looks for secrets"] if names else []),
            *headers_step(taken),
        ]

    def _taken(self, providers: Sequence[Exported]) -> list[Exported]:
        return [p for p in providers if self.refuses(p) is None]

    def _entries(self, providers: Sequence[Exported]) -> list[Entry]:
        # An id with ${{ would have Continue fill in a secret and send it as the name of a model.
        return first_of_each(
            [
                _entry(p, m)
                for p in self._taken(providers)
                for m in models_of(p, embeddings=p.config.kind != "anthropic")
                if "{{" not in m.id
            ]
        )


def _entry(provider: Exported, model: ModelInfo) -> Entry:
    row = provider.config
    fields: dict[str, Any] = known(
        name=model.ref,
        provider=_PROVIDERS[row.kind],
        model=model.id,
        apiBase=row.base_url if row.kind == "ollama" else with_version(provider),
        apiKey=f"${{{{ secrets.{provider.key_env} }}}}" if provider.key_env else None,
        roles=["embed"] if is_embedding(model) else ["chat", "edit", "apply"],
        defaultCompletionOptions=known(contextLength=model.context, maxTokens=model.max_output) or None,
    )
    return Entry(model.ref, fields, once=frozenset({"apiKey", "roles"}))
