"""A word with a mistake finds the word that was meant."""

from __future__ import annotations

import pytest

from nbllm.catalog.words import Words

TEXTS = [
    "groq/llama-3.3-70b",
    "openai/gpt-5 GPT 5",
    "alibaba/qwen3-coder",
    "deepseek/deepseek-chat",
    "ai21/jamba-large",
    "google/gemma-3",
    "mistral/mistral-large",
    "mistral/mixtral-8x7b",
]


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("lamma", "llama"),
        ("gtp", "gpt"),
        ("deepsek", "deepseek"),
        ("mistrall", "mistral"),
        ("gema", "gemma"),
        ("chta", "chat"),
        ("lagre", "large"),
        ("wqen3", "qwen3"),
    ],
)
def test_the_word_that_was_meant_is_found(typed: str, meant: str) -> None:
    assert Words(t.casefold() for t in TEXTS).alike(typed) == [meant]


@pytest.mark.parametrize("typed", ["zzzzzz", "70", "3.3", "qq", "4x7", ""])
def test_numbers_and_nonsense_are_not_guessed_at(typed: str) -> None:
    assert Words(TEXTS).alike(typed) == []


def test_a_word_leads_to_its_texts() -> None:
    assert Words(TEXTS).near("lagre") == {4, 6}
