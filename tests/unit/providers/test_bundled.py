"""The rows that come along."""

from __future__ import annotations

import json
import re

import pytest

from nbllm.providers.registry import Registry
from nbllm.providers.rows import bundled_rows
from nbllm.providers.spec import AUTH_SCHEMES
from nbllm.providers.urls import check_listing_url, check_url, is_loopback, origin_of
from nbllm.transport.demo.models import MODELS

IDS = list(bundled_rows())


def test_all_rows_can_be_used(registry: Registry) -> None:
    assert registry.problems() == []
    assert registry.ids() == IDS
    assert len(IDS) >= 49


@pytest.mark.parametrize("id", IDS)
def test_a_row_is_written_as_it_counts(registry, id):
    row = registry.get(id)
    verdict = check_url(row.base_url, kind=row.kind)

    assert verdict.url == bundled_rows()[id]["base_url"] == row.base_url
    assert verdict.repairs == ()
    assert not verdict.needs_confirmation
    assert registry.remarks(id) == ()
    assert row.name
    assert row.doc is None or row.doc.startswith("https://")
    assert row.status == "live" or row.status == "unverified" or row.note
    for url in (row.models_url, row.listing.join_url):
        assert url is None or check_listing_url(url) == url


@pytest.mark.parametrize("id", IDS)
def test_variables_have_the_names_of_variables(registry, id):
    row = registry.get(id)

    assert all(re.fullmatch(r"[A-Z][A-Z0-9_]*", name) for name in (*row.env, *row.base_url_env))
    assert len(set(row.env)) == len(row.env)
    if row.needs_key:
        assert registry.key_variables(id)[: len(row.env)] == row.env
        assert row.env


@pytest.mark.parametrize("id", IDS)
def test_a_quirk_says_how_it_is_known(registry, id):
    for quirk in registry.get(id).quirks.values():
        assert quirk.source
        assert re.fullmatch(r"20\d\d-\d\d-\d\d", quirk.date)


def test_servers_of_this_machine_ask_for_no_key(registry: Registry) -> None:
    local = [row for row in registry.all() if row.local]

    assert {"ollama", "llamacpp", "lmstudio", "vllm", "jan"} <= {row.id for row in local}
    assert not any(row.needs_key for row in local)
    assert all(row.kind == "demo" or is_loopback(origin_of(row.base_url)[7:].rpartition(":")[0]) for row in local)


def test_those_with_a_format_of_their_own(registry: Registry) -> None:
    kinds = {id: registry.get(id).kind for id in ("anthropic", "google", "ollama", "demo", "litellm", "gemini")}

    assert kinds == {
        "anthropic": "anthropic",
        "google": "gemini",
        "ollama": "ollama",
        "demo": "demo",
        "litellm": "url",
        "gemini": "openai",
    }
    assert registry.get("anthropic").base_url == "https://api.anthropic.com"
    assert registry.get("demo").base_url == "http://demo.invalid/v1"


def test_every_known_provider_has_its_row(registry, shared):
    facts = [f for f in json.loads((shared / "data/providers.json").read_text()) if f["tier"] in ("core", "local")]

    assert {f["id"] for f in facts} <= set(IDS)
    for fact in facts:
        row = registry.get(fact["id"])
        assert set(fact["key_env"]) <= set(row.env), row.id
        assert set(fact["base_url_env"]) <= set(row.base_url_env), row.id
        assert row.status == fact["status"], row.id
        assert fact["auth"] == "none" or row.auth == fact["auth"], row.id
        assert check_url(fact["base_url"], kind=row.kind).url == row.base_url, row.id
        if fact["disagreements"]:
            assert row.note or any(d["field"] == "key_env" for d in fact["disagreements"]), row.id


def test_the_demo_row_names_what_the_demo_serves(registry: Registry) -> None:
    assert [m.id for m in registry.get("demo").models] == list(MODELS)


def test_auth_is_by_name(registry: Registry) -> None:
    assert {row.auth for row in registry.all()} <= set(AUTH_SCHEMES)
