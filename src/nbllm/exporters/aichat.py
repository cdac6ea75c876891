"""aichat 0.30: `config.yaml`, a list of clients.

github.com/sigoden/aichat, config.example.yaml and src/client/*.rs, read 2026-11-21. A client's own list of models takes
the place of the one that aichat brings along.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nbllm.exporters.base import Exported, Merged, Places, Strategy
from nbllm.exporters.entries import Container, Entry, merge_entries
from nbllm.exporters.offered import with_version
from nbllm.exporters.shared import (
    first_of_each,
    headers_step,
    is_embedding,
    keyless,
    known,
    models_of,
    refusal,
    sees_images,
    sequence_text,
)
from nbllm.providers.spec import ModelInfo, env_id

_TYPES = {"openai": "openai-compatible", "ollama": "openai-compatible", "anthropic": "claude", "gemini": "gemini"}
"""Kind to client type. aichat 0.30 has no client for Ollama's own format; Ollama answers OpenAI's below /v1."""
_MODEL_FIELDS = frozenset(
    ("name", "type", "max_input_tokens", "max_output_tokens", "require_max_tokens", "input_price", "output_price",
     "supports_vision", "supports_function_calling")
)  # fmt: skip
_CLIENTS = Container("clients", "sequence", ("type", "name"), fields=_MODEL_FIELDS)
_HEAD = ("# Written by nbllm. No key stands here: aichat reads each from the variable named in upper case",)


class Aichat:
    """The exporter of aichat."""

    tool = "aichat"
    extension = ".yaml"
    legacy: str | None = None

    def refuses(self, provider: Exported) -> str | None:
        """Why aichat cannot have it."""
        return refusal(provider, self.tool, _TYPES)

    def render(self, providers: Sequence[Exported]) -> str:
        """A new file."""
        taken = self._taken(providers)
        head = [*_HEAD, *(f"# {client_name(p)}: {_variable(p)}" for p in taken if not keyless(p))]
        return sequence_text(head, "clients", _entries(taken))

    def locate(self, places: Places) -> Path:
        """`AICHAT_CONFIG_FILE`, else `config.yaml` in `AICHAT_CONFIG_DIR` or the platform's folder."""
        if named := places.environ.get("AICHAT_CONFIG_FILE"):
            return Path(named)
        folder = places.environ.get("AICHAT_CONFIG_DIR")
        return (Path(folder) if folder else places.config_home("aichat")) / "config.yaml"

    def merge(self, text: str, providers: Sequence[Exported], strategy: Strategy = "add") -> Merged:
        """The user's file; a client of ours is told by type and name, its models by their names."""
        entries = _entries(self._taken(providers))
        if not text.strip():
            return Merged(text + self.render(providers), tuple(e.label for e in entries)) if entries else Merged(text)
        return merge_entries(text, entries, strategy, _CLIENTS)

    def next_steps(self, providers: Sequence[Exported]) -> list[str]:
        """The variables that aichat reads, where ours have other names."""
        taken = self._taken(providers)
        steps = [
            f"aichat reads the key of {p.config.id} from {_variable(p)}"
            + (f"; it stands in {p.key_env} now" if p.key_env else "")
            for p in taken
            if not keyless(p) and p.key_env != _variable(p)
        ]
        return [*steps, *headers_step(taken)]

    def _taken(self, providers: Sequence[Exported]) -> list[Exported]:
        return [p for p in providers if self.refuses(p) is None]


def client_name(provider: Exported) -> str:
    """The name of the client: the id without hyphens, so that a shell can set the variable made from it."""
    return env_id(provider.config.id).lower()


def _variable(provider: Exported) -> str:
    return f"{client_name(provider).upper()}_API_KEY"


def _entries(providers: Sequence[Exported]) -> list[Entry]:
    return first_of_each([_entry(p) for p in providers])


def _entry(provider: Exported) -> Entry:
    kind = provider.config.kind
    models = [m for m in (_model(m, kind) for m in models_of(provider, embeddings=kind != "anthropic")) if m]
    fields: dict[str, Any] = {
        "type": _TYPES[kind],
        "name": client_name(provider),
        "api_base": with_version(provider),
    }
    if models:
        fields["models"] = models
    return Entry(client_name(provider), fields, models="models")


def _model(model: ModelInfo, kind: str) -> dict[str, Any] | None:
    """None for a model that aichat could not ask: Anthropic wants a longest answer, and it is not known."""
    if kind == "anthropic" and not model.max_output:
        return None
    return known(
        name=model.id,
        type="embedding" if is_embedding(model) else None,
        max_input_tokens=model.max_input or model.context,
        max_output_tokens=model.max_output,
        require_max_tokens=True if kind == "anthropic" else None,
        input_price=model.input_price,
        output_price=model.output_price,
        supports_vision=sees_images(model) or None,
        supports_function_calling=model.tools or None,
    )
