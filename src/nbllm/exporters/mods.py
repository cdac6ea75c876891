"""mods 1.8.1: `mods.yml`, a mapping of APIs; archived on 2026-03-09 in favour of crush.

github.com/charmbracelet/mods, config.go, mods.go and config_template.yml, read 2026-11-21. The name of an API decides
its wire format. The first API that has a model wins, so ours go to the end and each model gets an alias of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nbllm.exporters.base import PLACEHOLDER, Exported, Merged, Places, Strategy
from nbllm.exporters.entries import Container, Entry, merge_entries
from nbllm.exporters.shared import (
    first_of_each,
    headers_step,
    keyless,
    known,
    mapping_text,
    models_of,
    refusal,
)
from nbllm.providers.spec import ModelInfo

_NATIVE = {"anthropic": "anthropic", "gemini": "google", "ollama": "ollama"}
"""Kind to the one API name under which mods speaks it."""
_TAKEN = frozenset({"anthropic", "azure", "azure-ad", "cohere", "copilot", "google", "ollama"})
"""Names under which mods speaks something else than OpenAI's format."""
_GOOGLE = "https://generativelanguage.googleapis.com/v1beta"
_APIS = Container("apis", "mapping", fields=frozenset({"aliases", "max-input-chars"}))
_CHARS_PER_TOKEN = 3
"""Four characters are about a token; a quarter stays free for the answer, as in the file that mods itself writes."""


class Mods:
    """The exporter of mods."""

    tool = "mods"
    extension = ".yml"
    legacy: str | None = "mods is archived since 2026-03-09 and gets no more corrections; crush follows it"

    def refuses(self, provider: Exported) -> str | None:
        """Why mods cannot have it."""
        row = provider.config
        if reason := refusal(provider, self.tool, ("openai", *_NATIVE)):
            return reason
        native = _NATIVE.get(row.kind)
        if native is not None and row.id != native:
            return f"mods speaks its wire format ({row.kind}) only to an API of the name {native}"
        if row.kind == "openai" and row.id in _TAKEN:
            return f"mods speaks another format to an API of the name {row.id}"
        if row.kind == "gemini" and row.base_url != _GOOGLE:
            return "mods asks Google at no other address than its own"
        return None

    def render(self, providers: Sequence[Exported]) -> str:
        """A new file."""
        head = ("# Written by nbllm. No key stands here, only the variables that hold them.", f"# {self.legacy}.")
        return mapping_text(head, "apis", self._entries(providers))

    def locate(self, places: Places) -> Path:
        """`mods/mods.yml` where the platform keeps configuration."""
        return places.config_home("mods", windows="LOCALAPPDATA") / "mods.yml"

    def merge(self, text: str, providers: Sequence[Exported], strategy: Strategy = "add") -> Merged:
        """The user's file; an API of ours is told by its key."""
        entries = self._entries(providers)
        if not text.strip():
            return Merged(text + self.render(providers), tuple(e.label for e in entries)) if entries else Merged(text)
        return merge_entries(text, entries, strategy, _APIS)

    def next_steps(self, providers: Sequence[Exported]) -> list[str]:
        """What to know before a key is sent to the wrong place."""
        taken = [p for p in providers if self.refuses(p) is None]
        variables = dict.fromkeys(p.key_env for p in taken if p.key_env and p.config.kind == "openai")
        named = [name for name in variables if name != "OPENAI_API_KEY"]
        warning = [f"set {', '.join(named)} before you ask: mods sends OPENAI_API_KEY where the variable is empty"]
        return [self.legacy or "", *(warning if named else []), *headers_step(taken)]

    def _entries(self, providers: Sequence[Exported]) -> list[Entry]:
        return first_of_each([_entry(p) for p in providers if self.refuses(p) is None])


def _entry(provider: Exported) -> Entry:
    row = provider.config
    fields = known(
        base_url_=None if row.kind == "gemini" else _address(provider),
        api_key_=PLACEHOLDER if keyless(provider) and row.kind == "openai" else None,
        api_key_env_=provider.key_env,
        models={m.id: _model(m, row.id) for m in models_of(provider)} or None,
    )
    fields = {name.replace("_", "-"): value for name, value in fields.items()}
    return Entry(row.id, fields, once=frozenset({"api-key", "api-key-env"}), models="models")


def _address(provider: Exported) -> str:
    base = provider.config.base_url
    return {"anthropic": f"{base}/v1", "ollama": f"{base}/api"}.get(provider.config.kind, base)


def _model(model: ModelInfo, provider_id: str) -> dict[str, Any]:
    tokens = model.max_input or model.context
    chars = tokens * _CHARS_PER_TOKEN if tokens else None
    return {"aliases": [f"{provider_id}/{model.id}"], **({"max-input-chars": chars} if chars else {})}
