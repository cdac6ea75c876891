"""The proxy of litellm: a file named by `litellm --config`, with a `model_list`.

docs.litellm.ai/docs/proxy/configs and litellm 1.106, read 2026-11-21. Prices are USD per token there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nbllm.exporters.base import PLACEHOLDER, Exported, Merged, Places, Strategy
from nbllm.exporters.entries import Container, Entry
from nbllm.exporters.shared import (
    first_of_each,
    headers_step,
    is_embedding,
    known,
    merge_models,
    models_of,
    per_token,
    refusal,
    sees_images,
    sequence_text,
)
from nbllm.providers.spec import ModelInfo

_PREFIXES = {"openai": "openai", "anthropic": "anthropic", "gemini": "gemini", "ollama": "ollama_chat"}
"""Kind to the word before the first slash by which litellm knows the wire format."""
_GOOGLE = "https://generativelanguage.googleapis.com/v1beta"
_FIELDS = frozenset(
    ("model_name", "litellm_params", "model", "api_base", "api_key", "model_info", "mode", "max_input_tokens",
     "max_output_tokens", "input_cost_per_token", "output_cost_per_token", "cache_read_input_token_cost",
     "cache_creation_input_token_cost", "supports_vision", "supports_function_calling", "supports_reasoning",
     "supports_response_schema")
)  # fmt: skip
_MODELS = Container("model_list", "sequence", ("model_name",), ("litellm_params", "model"), _FIELDS)
_HEAD = ("# Written by nbllm. No key stands here, only the variables that hold them.",)


class Litellm:
    """The exporter of litellm's proxy."""

    tool = "litellm"
    extension = ".yaml"
    legacy: str | None = None

    def refuses(self, provider: Exported) -> str | None:
        """Why litellm cannot have it."""
        return refusal(provider, self.tool, _PREFIXES)

    def render(self, providers: Sequence[Exported]) -> str:
        """A new file."""
        return sequence_text(_HEAD, "model_list", self._entries(providers))

    def locate(self, places: Places) -> None:
        """None: `litellm --config FILE` names it each time."""

    def merge(self, text: str, providers: Sequence[Exported], strategy: Strategy = "add") -> Merged:
        """The user's file; a model of ours is told by its `model_name`, which is `provider/model`."""
        entries = self._entries(providers)
        if not text.strip():
            return Merged(text + self.render(providers), tuple(e.label for e in entries)) if entries else Merged(text)
        return merge_models(text, entries, self._taken(providers), strategy, _MODELS)

    def next_steps(self, providers: Sequence[Exported]) -> list[str]:
        """Which variables the proxy has to be started with."""
        taken = self._taken(providers)
        names = list(dict.fromkeys(p.key_env for p in taken if p.key_env))
        return [
            *([f"start the proxy where {', '.join(names)} are set: litellm --config FILE"] if names else []),
            *headers_step(taken),
        ]

    def _taken(self, providers: Sequence[Exported]) -> list[Exported]:
        return [p for p in providers if self.refuses(p) is None]

    def _entries(self, providers: Sequence[Exported]) -> list[Entry]:
        # A star in a name makes litellm send every model there.
        return first_of_each(
            [
                _entry(p, m)
                for p in self._taken(providers)
                for m in models_of(p, embeddings=p.config.kind != "anthropic")
                if "*" not in m.id
            ]
        )


def _entry(provider: Exported, model: ModelInfo) -> Entry:
    row = provider.config
    params = known(
        model=f"{_PREFIXES[row.kind]}/{model.id}",
        # litellm puts `models/ID:...` behind the address of Google on its own, with its own version path.
        api_base=None if row.base_url == _GOOGLE else row.base_url,
        api_key=f"os.environ/{provider.key_env}" if provider.key_env else PLACEHOLDER,
    )
    info = known(
        mode="embedding" if is_embedding(model) else "chat",
        max_input_tokens=model.max_input or model.context,
        max_output_tokens=model.max_output,
        input_cost_per_token=per_token(model.input_price),
        output_cost_per_token=per_token(model.output_price),
        cache_read_input_token_cost=per_token(model.cached_input_price),
        cache_creation_input_token_cost=per_token(model.cache_write_price),
        supports_vision=sees_images(model),
        supports_function_calling=model.tools,
        supports_reasoning=model.reasoning,
        supports_response_schema=model.structured_output,
    )
    fields: dict[str, Any] = {"model_name": model.ref, "litellm_params": params, "model_info": info}
    return Entry(model.ref, fields, once=frozenset({"api_key"}))
