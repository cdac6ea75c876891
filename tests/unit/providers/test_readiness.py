"""Rows that something is missing from: the registry fills what it can, and says the rest."""

from __future__ import annotations

import pytest

from nbllm.providers.readiness import hindrance, lacking, no_listing


def test_an_address_with_gaps_is_empty_until_the_variable_is_set(bench):
    registry = bench.registry()
    row = registry.get("azure")

    assert (row.base_url, registry.key_variables("azure")) == ("", ())
    assert lacking(row) == ("AZURE_RESOURCE_NAME",)
    assert "`%llm_providers edit azure --base-url URL --env AZURE_API_KEY`" in str(hindrance(row))

    bench.environ["AZURE_RESOURCE_NAME"] = "mine"
    row = registry.get("azure")
    assert row.base_url == "https://mine.openai.azure.com/openai/v1"
    assert (lacking(row), hindrance(row)) == ((), None)
    assert registry.sources("azure")["base_url"] == "environment AZURE_RESOURCE_NAME"
    assert registry.key_variables("azure")[0] == "AZURE_API_KEY"

    del bench.environ["AZURE_RESOURCE_NAME"]
    assert registry.get("azure").base_url == ""


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AZURE_OPENAI_ENDPOINT", "https://other.openai.azure.com/"),
        ("AZURE_OPENAI_ENDPOINT", "https://other.openai.azure.com/openai/v1"),
        ("AZURE_BASE_URL", "https://other.openai.azure.com"),
    ],
)
def test_a_whole_address_wins_over_the_gap(bench, name, value):
    bench.environ |= {"AZURE_RESOURCE_NAME": "mine", name: value}

    assert bench.registry().get("azure").base_url == "https://other.openai.azure.com/openai/v1"


def test_the_users_own_address_fills_the_gap_too(bench):
    registry = bench.registry()
    registry.edit("azure", base_url="https://eu.openai.azure.com/openai/v1", env=["AZURE_API_KEY"])

    assert hindrance(registry.get("azure")) is None
    assert registry.key_variables("azure") == ("AZURE_API_KEY",)
    bench.environ["AZURE_RESOURCE_NAME"] = "mine"
    assert registry.get("azure").base_url == "https://eu.openai.azure.com/openai/v1"


def test_without_its_variable_named_the_users_own_address_gets_no_key(bench):
    registry = bench.registry()
    registry.edit("azure", base_url="https://eu.example.org/openai/v1")

    assert registry.key_variables("azure") == ()


def test_a_value_that_does_not_fit_puts_only_its_row_out_of_use(bench):
    bench.environ["AZURE_RESOURCE_NAME"] = "evil.example/"
    registry = bench.registry()

    assert "azure" not in registry.ids()
    assert [p for p in registry.problems() if "AZURE_RESOURCE_NAME does not fit" in p]
    assert "evil" not in " ".join(registry.problems())
    assert registry.get("groq")


def test_a_header_to_be_filled_in_holds_the_row_back(bench):
    registry = bench.registry()
    row = registry.get("github-copilot")
    assert lacking(row) == ("header Editor-Version",)
    assert "--header Editor-Version=VALUE" in str(hindrance(row))

    registry.edit("github-copilot", headers={"Editor-Version": "nbllm/1"})
    row = registry.get("github-copilot")
    assert hindrance(row) is None
    assert row.headers == {"Copilot-Integration-Id": "vscode-chat", "Editor-Version": "nbllm/1"}


def test_a_format_that_is_not_spoken_here(bench):
    bench.environ |= {"AWS_REGION": "eu-west-1", "AWS_ACCESS_KEY_ID": "x"}
    registry = bench.registry()
    row = registry.get("amazon-bedrock")

    assert "wire format" in str(hindrance(row))
    assert (lacking(row), row.base_url, row.kind) == ((), "", "other")
    assert registry.key_variables("amazon-bedrock") == ()


def test_a_row_may_say_that_it_has_no_listing(registry):
    assert no_listing(registry.get("perplexity")) == "it has no model listing (404 at /models, recorded, 2025-08-07)"
    assert no_listing(registry.get("groq")) is None


def test_a_row_of_ones_own_may_have_gaps(bench):
    bench.write(
        '[providers.lab]\nbase_url_template = "https://${LAB_NAME}.llm.example.org/v1"\nenv = ["LAB_KEY"]\n'
        '[providers.bad]\nbase_url_template = "https://llm.example.org/v1"\n'
        '[providers.worse]\nbase_url_template = "ftp://${LAB_NAME}.example.org"\n'
        '[providers.none]\nname = "nowhere"\n'
    )
    registry = bench.registry()

    assert lacking(registry.get("lab")) == ("LAB_NAME",)
    assert {"bad", "worse", "none"}.isdisjoint(registry.ids())
    bench.environ["LAB_NAME"] = "physics"
    assert registry.get("lab").base_url == "https://physics.llm.example.org/v1"
    assert registry.key_variables("lab") == ("LAB_KEY", "LAB_API_KEY")
