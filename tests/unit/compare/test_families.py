"""The family of a model is read from its id, and never guessed."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from nbllm.catalog.models_dev import bundled_copy
from nbllm.compare.families import families_of, family_of, shares_family

KNOWN = {
    "openai/gpt-5.4-mini": ("openai",),
    "openai/o3": ("openai",),
    "azure/o4-mini": ("openai",),
    "digitalocean/openai-o1": ("openai",),
    "openai/chatgpt-4o-latest": ("openai",),
    "openai/gpt-oss-120b": ("openai",),
    "openai/codex-mini-latest": ("openai",),
    "groq/openai/gpt-oss-20b": ("openai",),
    "anthropic/claude-sonnet-4-6": ("claude",),
    "amazon-bedrock/us.anthropic.claude-haiku-4-5-20251001-v1:0": ("claude",),
    "gitlab/duo-chat-opus-4-7": ("claude",),
    "google/gemini-2.5-pro": ("google",),
    "ollama/gemma3:27b": ("google",),
    "hf/google/medgemma-4b-it": ("google",),
    "groq/llama-3.3-70b-versatile": ("llama",),
    "hf/codellama/CodeLlama-7b": ("llama",),
    "x/sao10k/l3.3-euryale-70b": ("llama",),
    "mistral/open-mixtral-8x22b": ("mistral",),
    "mistral/codestral-latest": ("mistral",),
    "mistral/ministral-8b-latest": ("mistral",),
    "alibaba/qwen3-max": ("qwen",),
    "x/qwq-32b": ("qwen",),
    "deepseek/deepseek-chat": ("deepseek",),
    "groq/deepseek-r1-distill-llama-70b": ("deepseek", "llama"),
    "x/deepseek-ai/DeepSeek-R1-Distill-Qwen-32B": ("deepseek", "qwen"),
    "nvidia/nvidia/llama-3.3-nemotron-super-49b-v1.5": ("llama", "nemotron"),
    "x/gemma-4-31b-claude-4.6-opus-reasoning-distilled": ("google", "claude"),
    "zai/glm-4.7": ("glm",),
    "moonshot/kimi-k2-thinking": ("kimi",),
    "xai/grok-4-fast": ("grok",),
    "cohere/command-r-plus-08-2024": ("command",),
    "azure/phi-4-mini-reasoning": ("phi",),
    "amazon-bedrock/amazon.nova-lite-v1:0": ("nova",),
    "x/ibm-granite/granite-4.0-h-micro": ("granite",),
    "x/nvidia-nemotron-3-nano-30b": ("nemotron",),
    "writer/palmyra-x5": ("palmyra",),
    "gpt-4o": ("openai",),
}


@pytest.mark.parametrize("reference", KNOWN)
def test_the_family_of_a_known_name_is_known(reference: str) -> None:
    assert families_of(reference) == KNOWN[reference]
    assert family_of(reference) == KNOWN[reference][0]


@pytest.mark.parametrize(
    "reference",
    [
        "groq/compound", "ollama/my-model", "openai/my-finetune", "x/dolphin-2.9", "x/gpt-j-6b",
        "x/gpt-neox-20b", "x/model-7b-gptq", "x/route-llm", "x/lucidnova-rf1", "deepgram/nova-3", "demo/guide",
        "x/auto", "x/io1", "x/supernova-lite", "x/foo-o1b", "", "/", "openrouter/auto",
    ],
)  # fmt: skip
def test_what_the_name_does_not_say_is_unknown(reference: str) -> None:
    assert families_of(reference) == ()
    assert family_of(reference) is None


def test_the_provider_says_nothing_of_the_family() -> None:
    assert family_of("mistral/labs-thing") is None
    assert family_of("deepseek/other") is None


def test_a_judge_shares_its_family_with_distillations_and_with_itself() -> None:
    contestants = ["groq/deepseek-r1-distill-llama-70b", "ollama/llama3.2", "openai/gpt-5", "ollama/llama3.2"]
    assert shares_family("groq/llama-3.3-70b", contestants) == contestants[:2]
    assert shares_family("anthropic/claude-opus-4-6", contestants) == []
    assert shares_family("x/secret", ["x/secret", "x/other"]) == ["x/secret"]


SAME = {
    "gpt": "openai", "o": "openai", "claude": "claude", "gemini": "google", "gemma": "google", "llama": "llama",
    "mistral": "mistral", "ministral": "mistral", "devstral": "mistral", "codestral": "mistral", "magistral": "mistral",
    "pixtral": "mistral", "mixtral": "mistral", "voxtral": "mistral", "qwen": "qwen", "qvq": "qwen",
    "deepseek": "deepseek", "glm": "glm", "glmv": "glm", "kimi": "kimi", "grok": "grok", "command": "command",
    "phi": "phi", "granite": "granite", "nemotron": "nemotron", "minimax": "minimax", "mimo": "mimo", "ernie": "ernie",
    "hunyuan": "hunyuan", "step": "step", "jamba": "jamba", "sonar": "sonar", "palmyra": "palmyra",
}  # fmt: skip
"""Families of models.dev that are one of ours."""


def test_the_table_agrees_with_models_dev_on_nearly_every_model(shared: Path) -> None:
    """Where it does not, it knows more than the name says, or is wrong (`alibaba/wan-v2.6` is of family `o`)."""
    payload = json.loads((shared / "data" / "models_dev_api.json").read_text(encoding="utf-8"))
    rows = [(id, str(m.get("family"))) for provider in payload.values() for id, m in provider["models"].items()]
    known = [(id, SAME[word]) for id, family in rows if (word := re.split(r"[-\d.]", family)[0]) in SAME]
    wrong = [(id, family) for id, family in known if family not in families_of(f"x/{id}")]
    assert len(known) > 3000
    assert len(wrong) < 0.02 * len(known), wrong


def test_nearly_every_text_model_of_the_bundled_catalogue_has_a_family() -> None:
    copy = bundled_copy()
    refs = [f"{provider}/{id}" for provider in copy.providers for id in copy.models(provider)]
    assert sum(bool(families_of(ref)) for ref in refs) > 0.85 * len(refs)
