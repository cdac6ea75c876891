"""What a model reference means."""

from __future__ import annotations

import pytest

from nbllm.errors import RegistryError, UnknownModelError, UnknownProviderError

OFFERED = {"groq": {"llama-3.3-70b", "shared"}, "openai": ["gpt-x", "shared"], "openrouter": {"meta/llama"}}

MEANT = {
    "provider and model": ("groq/llama-3.3-70b", "groq/llama-3.3-70b"),
    "the first slash splits": ("openrouter/meta-llama/llama-3.3-70b:free", "openrouter/meta-llama/llama-3.3-70b:free"),
    "an id that is not listed": ("openai/gpt-99", "openai/gpt-99"),
    "blanks around": ("  groq/x ", "groq/x"),
    "a bare id": ("gpt-x", "openai/gpt-x"),
    "a bare id with a slash": ("meta/llama", "openrouter/meta/llama"),
    "a bare id of the bundled row": ("guide", "demo/guide"),
    "an alias": ("fast", "groq/llama-3.3-70b"),
    "an alias of an alias": ("faster", "groq/llama-3.3-70b"),
    "an alias of a bare id": ("bare", "openai/gpt-x"),
}


@pytest.fixture
def aliased(bench):
    bench.write('[aliases]\nfast = "groq/llama-3.3-70b"\nfaster = "fast"\nbare = "gpt-x"\nround = "round"\nodd = 3\n')
    return bench.registry()


@pytest.mark.parametrize("case", MEANT.values(), ids=list(MEANT))
def test_a_reference_is_resolved(aliased, case):
    text, expected = case

    assert aliased.resolve(text, offered=OFFERED).ref == expected


REFUSED = {
    "nothing": ("", UnknownModelError, "no model is named", "demo/guide"),
    "no model": ("groq/", UnknownModelError, "behind groq/", "e.g. groq/llama-3.3-70b"),
    "only a provider": ("groq", UnknownModelError, "groq is a provider", "e.g. groq/llama-3.3-70b"),
    "a provider nobody listed": ("xai", UnknownModelError, "xai is a provider", "e.g. xai/MODEL"),
    "two offer it": ("shared", UnknownModelError, "2 providers offer 'shared'", "groq/shared, openai/shared"),
    "nearly a model": ("gpt-xx", UnknownModelError, "'gpt-xx'", "openai/gpt-x"),
    "nearly a provider": ("opnai", UnknownModelError, "'opnai'", "openai/MODEL"),
    "nothing like it": ("qqqqq", UnknownModelError, "'qqqqq'", "provider/model"),
    "unknown provider": ("grok/x", UnknownProviderError, "no provider 'grok'", "did you mean groq, "),
    "no provider": ("/x", UnknownProviderError, "no provider ''", "did you mean"),
    "a circle": ("round", UnknownModelError, "circle", "[aliases]"),
    "hidden characters": ("gr\u202eq/x", UnknownProviderError, "<U+202E>", "groq"),
}


@pytest.mark.parametrize("case", REFUSED.values(), ids=list(REFUSED))
def test_a_reference_that_means_nothing(aliased, case):
    text, error, said, hint = case
    with pytest.raises(error) as caught:
        aliased.resolve(text, offered=OFFERED)

    assert said in caught.value.message
    assert hint in (caught.value.hint or "")


def test_a_disabled_provider_offers_nothing(bench):
    registry = bench.registry()
    registry.set_enabled("openai", False)

    assert registry.resolve("shared", offered=OFFERED).ref == "groq/shared"
    with pytest.raises(UnknownModelError):
        registry.resolve("gpt-x", offered=OFFERED)
    with pytest.raises(RegistryError, match="disabled"):
        registry.resolve("openai/gpt-x", offered=OFFERED)


def test_a_very_long_reference_is_refused_quickly(registry):
    with pytest.raises(UnknownProviderError) as caught:
        registry.resolve("x" * 100_000 + "/y")
    assert len(str(caught.value)) < 500
