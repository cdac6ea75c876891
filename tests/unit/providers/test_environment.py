"""Addresses, model lists and whole providers from the environment."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from nbllm.errors import UnknownProviderError
from nbllm.providers import environment
from nbllm.providers.environment import fingerprint, id_of
from nbllm.providers.registry import ModelRef
from nbllm.providers.rows import bundled_rows
from nbllm.providers.spec import env_id

ADDRESSES = {
    # id: (provider, variable, value, base URL that counts)
    "vendor form of openai": ("openai", "OPENAI_BASE_URL", "https://api.openai.com", "https://api.openai.com/v1"),
    "full form of openai": ("openai", "OPENAI_BASE_URL", "https://api.openai.com/v1", "https://api.openai.com/v1"),
    "older name": ("openai", "OPENAI_API_BASE", "http://127.0.0.1:4000", "http://127.0.0.1:4000/v1"),
    "vendor form of groq": ("groq", "GROQ_BASE_URL", "https://api.groq.com/", "https://api.groq.com/openai/v1"),
    "half a path": ("groq", "GROQ_BASE_URL", "https://api.groq.com/openai", "https://api.groq.com/openai/v1"),
    "a proxy's own path": ("groq", "GROQ_BASE_URL", "https://p.example/groq/v1", "https://p.example/groq/v1"),
    "bare anthropic": ("anthropic", "ANTHROPIC_BASE_URL", "https://api.anthropic.com", "https://api.anthropic.com"),
    "anthropic with version": ("anthropic", "ANTHROPIC_BASE_URL", "https://p.example/v1", "https://p.example"),
    "gemini, OpenAI format": (
        "gemini",
        "GOOGLE_GEMINI_BASE_URL",
        "https://g.example",
        "https://g.example/v1beta/openai",
    ),
    "gemini, native": ("google", "GOOGLE_GEMINI_BASE_URL", "https://g.example", "https://g.example/v1beta"),
    "by its id": ("xai", "XAI_BASE_URL", "https://p.example/v1", "https://p.example/v1"),
    "dump_models' name": ("chutes", "CHUTES_API_OPENAI", "https://p.example/v1/models", "https://p.example/v1"),
    "no scheme": ("deepseek", "DEEPSEEK_BASE_URL", "p.example", "https://p.example/v1"),
    "Ollama, host and port": ("ollama", "OLLAMA_HOST", "127.0.0.1:11500", "http://127.0.0.1:11500"),
    "Ollama, every address": ("ollama", "OLLAMA_HOST", "0.0.0.0", "http://127.0.0.1:11434"),
    "Ollama, every address and port": ("ollama", "OLLAMA_HOST", "0.0.0.0:11500", "http://127.0.0.1:11500"),
    "Ollama, port only": ("ollama", "OLLAMA_HOST", ":11500", "http://127.0.0.1:11500"),
    "Ollama, in the LAN": ("ollama", "OLLAMA_HOST", "gpu-box", "http://gpu-box:11434"),
    "Ollama, IPv6": ("ollama", "OLLAMA_HOST", "[::1]:11434", "http://[::1]:11434"),
    "Ollama, full": ("ollama", "OLLAMA_HOST", "https://ollama.example/", "https://ollama.example"),
    "the demo stays": ("demo", "DEMO_BASE_URL", "https://evil.example", "http://demo.invalid/v1"),
}


@pytest.mark.parametrize("case", ADDRESSES.values(), ids=list(ADDRESSES))
def test_an_address_from_the_environment(bench, case):
    provider, variable, value, expected = case
    bench.environ[variable] = value

    assert bench.registry().get(provider).base_url == expected


def test_a_completed_address_is_said(bench):
    bench.environ["GROQ_BASE_URL"] = "https://api.groq.com"

    assert any("added /openai/v1" in r for r in bench.registry().remarks("groq"))


def test_a_proxys_address_does_not_move_the_price_list(bench):
    bench.environ |= {"LITELLM_BASE_URL": "http://127.0.0.1:4000", "LITELLM_API_KEY": "x"}

    assert bench.registry().get("litellm").base_url.startswith("https://raw.githubusercontent.com/")


@pytest.mark.parametrize(
    "more",
    [{}, {"ACME_API_KEY": ""}, {"ACME_TOKEN": "x"}, {"ACME_MODELS": " "}],
    ids=["alone", "empty", "other", "blank"],
)
def test_an_address_alone_makes_no_provider(bench, more):
    bench.environ |= {"ACME_BASE_URL": "https://a.example/v1", **more}

    with pytest.raises(UnknownProviderError):
        bench.registry().get("acme")


@pytest.mark.parametrize("more", ["ACME_API_KEY", "ACME_API_KEY_FILE", "ACME_MODELS"])
def test_an_address_and_a_key_or_models_make_a_provider(bench, more):
    bench.environ |= {"ACME_BASE_URL": "https://a.example/v1", more: "x"}

    row = bench.registry().get("acme")
    assert row.needs_key is (more != "ACME_MODELS")


def test_names_of_a_known_provider_make_no_second_one(bench):
    bench.environ |= {"GOOGLE_GEMINI_BASE_URL": "https://g.example", "GOOGLE_GEMINI_API_KEY": "x"}

    assert "google-gemini" not in bench.registry().ids()


def test_a_digit_first(bench):
    bench.environ |= {"LLM_3ACME_BASE_URL": "https://a.example/v1", "LLM_3ACME_API_KEY": "x"}

    assert bench.registry().key_variables("3acme") == ("LLM_3ACME_API_KEY",)


@pytest.mark.parametrize("provider", ["groq", "z-ai", "302ai", "openai-compatible"])
def test_ids_and_variables_lead_to_each_other(provider):
    assert id_of(env_id(provider)) == provider


@pytest.mark.parametrize("stem", ["", "_X", "X_", "9X", "x"])
def test_what_is_no_id(stem):
    assert id_of(stem) is None


def test_openai_compatible_needs_no_file(bench):
    bench.environ |= {
        "OPENAI_COMPATIBLE_BASE_URL": "http://127.0.0.1:18080/v1/",
        "OPENAI_COMPATIBLE_API_KEY": "x",
        "OPENAI_COMPATIBLE_MODEL_NAME": "tiny",
    }
    registry = bench.registry()

    assert registry.get("openai-compatible").base_url == "http://127.0.0.1:18080/v1"
    assert registry.key_variables("openai-compatible") == ("OPENAI_COMPATIBLE_API_KEY",)
    assert registry.resolve("tiny").ref == "openai-compatible/tiny"
    assert registry.default_model(lambda id: True) == "openai-compatible/tiny"


def test_openai_compatible_may_have_no_key(bench):
    bench.environ["OPENAI_COMPATIBLE_BASE_URL"] = "http://192.168.1.5:8000/v1"

    row = bench.registry().get("openai-compatible")
    assert not row.needs_key


LISTS = {
    "commas": "groq/llama, openai/gpt-x,,",
    "strings": '["groq/llama", "openai/gpt-x"]',
    "objects": '[{"provider": "groq", "model": "llama", "name": "L", "more": 1}, "openai/gpt-x"]',
}


@pytest.mark.parametrize("text", LISTS.values(), ids=list(LISTS))
@pytest.mark.parametrize("variable", ["NBLLM_MODELS", "MODELS"])
def test_the_unified_list(bench, variable, text):
    bench.environ[variable] = text

    assert bench.registry().model_list() == [ModelRef("groq", "llama"), ModelRef("openai", "gpt-x")]


def test_our_own_name_comes_before_the_common_one(bench):
    bench.environ |= {"MODELS": "groq/a", "NBLLM_MODELS": "groq/b", "OPENAI_MODELS": "c"}

    assert [r.ref for r in bench.registry().model_list()] == ["groq/b"]


def test_the_older_variables_count_without_a_unified_list(bench):
    bench.environ |= {"OPENAI_MODELS": "gpt-x, gpt-y", "ANTHROPIC_MODELS": '["opus"]', "OPENROUTER_MODELS": "a/b"}

    refs = {r.ref for r in bench.registry().model_list()}
    assert refs == {"openai/gpt-x", "openai/gpt-y", "anthropic/opus", "openrouter/a/b"}


def test_the_list_may_stand_in_the_file(bench):
    bench.write('[settings]\nmodels = ["groq/a", {provider = "openai", model = "b"}]\n')

    assert [r.ref for r in bench.registry().model_list()] == ["groq/a", "openai/b"]


@pytest.mark.parametrize(
    "text", ["[", "[" * 100_000, "/data/models", '[1, null, {"provider": 1}, "x"]', "nowhere/x", '{"a": 1}']
)
def test_a_list_that_is_none_is_logged_and_harmless(bench, caplog, text):
    bench.environ["MODELS"] = text
    registry = bench.registry()
    caplog.set_level(logging.INFO, logger="nbllm.providers")

    assert registry.model_list() == []
    assert registry.default_model(lambda id: True) == "demo/guide"
    first = len(caplog.records)
    assert first
    registry.model_list()
    assert len(caplog.records) == first


def test_models_without_a_key_are_left_out_and_said_once(bench, caplog):
    bench.environ["MODELS"] = json.dumps(["groq/a", "openai/b", "demo/echo"])
    registry = bench.registry()
    registry.set_enabled("openai", False)
    caplog.set_level(logging.INFO, logger="nbllm.providers")

    for _ in range(2):
        assert [r.ref for r in registry.choices(lambda id: id != "groq")] == ["demo/echo"]
    assert registry.default_model(lambda id: id != "groq") == "demo/echo"
    said = [r.getMessage() for r in caplog.records if "left out" in r.getMessage()]
    assert said == [
        "model groq/a is left out: provider groq has no key",
        "model openai/b is left out: provider openai is disabled",
    ]


def test_the_setting_model_comes_first(bench):
    bench.environ |= {"NBLLM_MODEL": "xai/grok", "MODELS": "groq/a"}

    assert bench.registry().default_model(lambda id: True) == "xai/grok"


def test_no_value_of_a_key_is_kept(bench):
    before = fingerprint({"GROQ_API_KEY": "sk-canary"}, ())
    after = fingerprint({"GROQ_API_KEY": "sk-other"}, ())

    assert before == after
    assert before != fingerprint({}, ())
    assert "canary" not in repr(before)


def _moves() -> Iterator[tuple[str, str, str]]:
    for id, row in bundled_rows().items():
        if row.get("kind") != "url" and (address := row.get("base_url")):
            for name in environment.address_variables(id, row):
                yield id, name, address


@pytest.mark.parametrize(("id", "name", "address"), list(_moves()))
def test_every_address_variable_is_read_with_and_without_the_path(bench, id, name, address):
    """Vendors' own libraries add /v1 or /openai/v1, so their variables lack it."""
    path = urlsplit(address).path
    registry = bench.registry()
    for value in (f"https://proxy.example.org{path}", f"https://proxy.example.org{path}/", "https://proxy.example.org"):
        bench.environ[name] = value
        assert registry.get(id).base_url == f"https://proxy.example.org{path}", value


def test_one_variable_may_serve_several_providers_and_moves_none(bench):
    bench.environ |= {"ZHIPU_API_KEY": "x", "GITHUB_TOKEN": "x", "MINIMAX_API_KEY": "x", "XIAOMI_API_KEY": "x"}
    registry = bench.registry()
    readers = {n: [r.id for r in registry.all() if n in registry.key_variables(r.id)] for n in bench.environ}

    assert readers["ZHIPU_API_KEY"] == ["zai", "zai-coding-plan", "zhipuai", "zhipuai-coding-plan"]
    assert readers["GITHUB_TOKEN"] == ["github-copilot", "github-models"]
    assert len(readers["MINIMAX_API_KEY"]) == len(readers["XIAOMI_API_KEY"]) == 4
    assert registry.default_model(lambda id: True) == "demo/guide"
    assert all(registry.sources(id)["base_url"] == "bundled" for ids in readers.values() for id in ids)


def test_metas_key_does_not_go_to_a_server_on_this_machine(bench):
    registry = bench.registry()

    assert "LLAMA_API_KEY" in registry.key_variables("llama")
    assert [r.id for r in registry.all() if "LLAMA_API_KEY" in registry.key_variables(r.id)] == ["llama"]
