"""What every tool asks of a provider before its own words begin: can it be reached, and which models chat."""

from __future__ import annotations

from nbllm.exporters.base import Exported
from nbllm.foreign import visible
from nbllm.providers.readiness import lacking
from nbllm.providers.spec import AUTH_SCHEMES, ModelInfo


def no_way(provider: Exported) -> str | None:
    """Why no tool can have this provider; None: nothing stands in the way."""
    row = provider.config
    if row.gguf:
        return "nbllm serves it itself, at an address that is another each time"
    if row.status == "unsupported":
        return "its wire format is not spoken here"
    if row.status == "retired":
        return "it is retired"
    if row.kind in ("url", "demo"):
        return "it lists models and answers nobody" if row.kind == "url" else "it is nbllm's own demonstration"
    if missing := lacking(row):
        return f"it lacks {', '.join(missing)}; `%llm_providers show {row.id}` says how to give it"
    if not row.base_url or any(c in row.base_url for c in "${}<>"):
        return f"its address is not complete: `base_url` of {row.id} has to be set first"
    if row.needs_key and provider.key_env is None:
        return "no variable is known that holds its key"
    return None


def chat_models(provider: Exported) -> list[ModelInfo]:
    """The models that answer in text, or may, in the provider's order, each id once.

    Ids with control characters are passed over: no tool could be asked for them.
    """
    found: dict[str, ModelInfo] = {}
    for model in provider.models:
        if _may_chat(model) and model.id.strip() and visible(model.id) == model.id and "\n" not in model.id:
            found.setdefault(model.id, model)
    return list(found.values())


def _may_chat(model: ModelInfo) -> bool:
    if model.type not in (None, "chat"):
        return False
    return model.output_modalities is None or "text" in model.output_modalities


def key_header(provider: Exported) -> tuple[str, str] | None:
    """Name and pattern (`Api-Key {key}`) of the header that carries the key; None when no key is sent."""
    template = AUTH_SCHEMES.get(provider.config.auth, provider.config.auth)
    if template is None:
        return None
    name, _, value = template.partition(": ")
    return name, value


def with_version(provider: Exported) -> str:
    """The address with its version path, for tools that add none: rows of Anthropic and Ollama have the bare origin."""
    base = provider.config.base_url
    return f"{base}/v1" if provider.config.kind in ("anthropic", "ollama") else base
