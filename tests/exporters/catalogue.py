"""A small catalogue made by hand, with what other tools' files stumble over."""

from __future__ import annotations

from typing import Any

from nbllm.exporters.base import Exported
from nbllm.providers.spec import ModelInfo, ProviderConfig

SECRET_HEADER = "s3cret-header-value"


def row(id: str, *models: ModelInfo, key_env: str | None = None, **fields: Any) -> Exported:
    """A provider as a tool shall have it."""
    fields.setdefault("base_url", f"https://api.{id}.example/v1")
    env = (key_env,) if key_env else ()
    config = ProviderConfig(id=id, env=env, headers={"X-Team": SECRET_HEADER}, **fields)
    return Exported(config, models, key_env)


def groq() -> Exported:
    """Speaks the Responses API. Of the first model everything is known, of others nothing."""
    full = ModelInfo(
        "groq",
        "meta-llama/llama-4-scout:free@v1",
        name="Llama 4 \"Scout\" 'free'",
        type="chat",
        context=131072,
        max_input=120000,
        max_output=8192,
        input_price=0.11,
        output_price=0.34,
        cached_input_price=0.055,
        input_modalities=("text", "image"),
        output_modalities=("text",),
        tools=True,
        reasoning=False,
    )
    return row(
        "groq",
        full,
        ModelInfo("groq", "größe-модель-模型", context=32768),
        ModelInfo("groq", "quote\"d 'and' \\ back$(id)`x`"),
        ModelInfo("groq", "unknown"),
        ModelInfo("groq", "unknown", name="the same id again"),
        ModelInfo("groq", "free", input_price=0.0, output_price=0.0, max_output=100, context=200),
        ModelInfo("groq", "tiny-price", input_price=0.00000015, output_price=1e-7, tools=False, reasoning=True),
        ModelInfo("groq", "text-embedding", type="embedding"),
        ModelInfo("groq", "painter", output_modalities=("image",)),
        ModelInfo("groq", "con\x00trol\nline"),
        ModelInfo("groq", "yes"),
        ModelInfo("groq", "1.10"),
        key_env="GROQ_API_KEY",
        name="Groq",
        base_url="https://api.groq.com/openai/v1",
    )


def catalogue() -> list[Exported]:
    """A provider of each kind that tools tell apart."""
    gpt = ModelInfo(
        "openai", "gpt-5", context=400000, max_output=128000, input_price=1.25, output_price=10.0, tools=True
    )
    return [
        groq(),
        row("openai", gpt, key_env="OPENAI_API_KEY", name="OpenAI", base_url="https://api.openai.com/v1"),
        row("chat-only", ModelInfo("chat-only", "m"), key_env="CHAT_ONLY_API_KEY", name="Chat: only # one"),
        row("anthropic", ModelInfo("anthropic", "claude-x", context=200000, max_output=64000), kind="anthropic",
            auth="x-api-key", base_url="https://api.anthropic.com", key_env="ANTHROPIC_API_KEY", name="Anthropic"),
        row("google", ModelInfo("google", "gemini-x"), kind="gemini", auth="x-goog-api-key",
            base_url="https://generativelanguage.googleapis.com/v1beta", key_env="GEMINI_API_KEY", name="Google"),
        row("ollama", ModelInfo("ollama", "llama3.2:1b"), kind="ollama", auth="none",
            base_url="http://127.0.0.1:11434", local=True, name="Ollama"),
        row("vllm", ModelInfo("vllm", "Qwen/Qwen3", context=32768), key_optional=True, local=True,
            base_url="http://127.0.0.1:8000/v1", name="vLLM"),
        row("azure", ModelInfo("azure", "deployed"), auth="api-key", key_env="AZURE_API_KEY", name="Azure"),
        row("baseten", ModelInfo("baseten", "b/c"), auth="Authorization: Api-Key {key}", key_env="BASETEN_API_KEY"),
        row("empty", key_env="EMPTY_API_KEY"),
        row("keyless-by-mistake", ModelInfo("keyless-by-mistake", "m")),
        row("half-address", ModelInfo("half-address", "m"), key_env="H_API_KEY", base_url="https://${HOST}/v1"),
        row("list-only", ModelInfo("list-only", "m"), kind="url", auth="none"),
    ]  # fmt: skip
