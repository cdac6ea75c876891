"""The rows that come along."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from nbllm.providers import templates
from nbllm.providers.readiness import hindrance, lacking
from nbllm.providers.registry import Registry
from nbllm.providers.rows import bundled_rows
from nbllm.providers.spec import AUTH_SCHEMES
from nbllm.providers.urls import check_listing_url, check_url, is_loopback, origin_of
from nbllm.transport.demo.models import MODELS

IDS = list(bundled_rows())
HERE = [id for id in IDS if "base_url" in bundled_rows()[id]]
GAPS = [id for id in IDS if "base_url_template" in bundled_rows()[id]]
UNSPOKEN = [id for id in IDS if bundled_rows()[id].get("status") == "unsupported"]

ORDER = ("name", "kind", "base_url", "base_url_template", "models_url", "env", "base_url_env", "auth", "headers",
         "key_optional", "models_need_key", "local", "timeout", "models", "listing", "doc", "status", "note",
         "quirks")  # fmt: skip
"""How a row is written, so that two of them can be compared by eye. Tables of their own come last."""


def test_all_rows_can_be_used(registry: Registry) -> None:
    assert registry.problems() == []
    assert registry.ids() == IDS
    assert [row.id for row in registry.all()] == IDS
    assert len(IDS) >= 173


@pytest.mark.parametrize("id", IDS)
def test_a_row_is_made_of_known_fields_in_one_order(id):
    inline = [name for name, value in bundled_rows()[id].items() if name not in ("listing", "quirks")]

    assert set(bundled_rows()[id]) <= set(ORDER)
    assert inline == sorted(inline, key=ORDER.index)


@pytest.mark.parametrize("id", HERE)
def test_a_row_is_written_as_it_counts(registry, id):
    row = registry.get(id)
    verdict = check_url(row.base_url, kind=row.kind)

    assert verdict.url == bundled_rows()[id]["base_url"] == row.base_url
    assert verdict.repairs == ()
    assert not verdict.needs_confirmation
    assert registry.remarks(id) == ()


@pytest.mark.parametrize("id", IDS)
def test_a_row_tells_people_what_they_must_know(registry, id):
    row = registry.get(id)

    assert row.name
    assert row.doc is None or row.doc.startswith("https://")
    assert row.status in ("live", "unverified") or row.note
    assert row.note is None or not (row.note[0].isupper() and row.note.endswith("."))
    for url in (row.models_url, row.listing.join_url):
        assert url is None or check_listing_url(url) == url


@pytest.mark.parametrize("id", [id for id in GAPS if id not in UNSPOKEN])
def test_an_address_with_gaps_is_one_when_they_are_filled(bench, id):
    gaps = templates.variables(bundled_rows()[id]["base_url_template"])
    whole = {"DATABRICKS_HOST": "https://adb-1.2.example.net/", "NEON_AI_GATEWAY_BASE_URL": "https://x.example.net"}
    bench.environ |= {gap: whole.get(gap, "mine-1") for gap in gaps}
    registry = bench.registry()
    row = registry.get(id)

    assert check_url(row.base_url, kind=row.kind).url == row.base_url
    assert check_url(row.base_url, kind=row.kind).repairs == ()
    assert registry.key_variables(id)[: len(row.env)] == row.env
    assert registry.sources(id)["base_url"] == f"environment {' '.join(gaps)}"
    assert lacking(row) == ()


@pytest.mark.parametrize("id", IDS)
def test_variables_have_the_names_of_variables(registry, id):
    row = registry.get(id)

    assert all(re.fullmatch(r"[A-Z0-9][A-Z0-9_]*", name) for name in (*row.env, *row.base_url_env))
    assert len(set(row.env)) == len(row.env)
    if row.needs_key and id in HERE:
        assert registry.key_variables(id)[: len(row.env)] == row.env
        assert row.env


@pytest.mark.parametrize("id", IDS)
def test_a_quirk_says_how_it_is_known(registry, id):
    for quirk in registry.get(id).quirks.values():
        assert quirk.source
        assert re.fullmatch(r"20\d\d-\d\d-\d\d", quirk.date)


def test_every_quirk_is_explained(registry):
    page = (Path(__file__).parents[3] / "docs/explanation/wire-formats.md").read_text(encoding="utf-8")

    assert {name for row in registry.all() for name in row.quirks if f"| `{name}` |" not in page} == set()


@pytest.mark.parametrize("id", UNSPOKEN)
def test_what_is_not_spoken_here_says_what_it_would_take(registry, id):
    row = registry.get(id)

    assert row.note
    assert row.note.startswith("would need ")
    assert hindrance(row).hint == row.note
    assert registry.key_variables(id) == ()


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


def _facts(shared: Path) -> list[dict[str, Any]]:
    facts: list[dict[str, Any]] = json.loads((shared / "data/providers.json").read_text(encoding="utf-8"))
    return facts


def test_every_known_provider_has_its_row(shared):
    assert {f["id"] for f in _facts(shared)} == set(IDS) - {"demo"}


def test_every_known_variable_is_read(registry, shared):
    for fact in _facts(shared):
        row = registry.get(fact["id"])
        assert set(fact["key_env"]) <= set(row.env), row.id
        assert set(fact["base_url_env"]) <= set(row.base_url_env), row.id


def test_rows_say_what_the_facts_say(registry, shared):
    for fact in _facts(shared):
        row = registry.get(fact["id"])
        if fact["kind"] == "other":
            assert (row.kind, row.status) == ("other", "unsupported"), row.id
            continue
        assert (row.kind, row.status) == (fact["kind"], fact["status"]), row.id
        assert row.auth == fact["auth"] or (fact["auth"] == "none" and row.key_optional), row.id
        assert dict(row.headers) == fact["headers"], row.id
        assert row.models_url == fact.get("models_url") or f"{row.base_url}/api/tags" == fact.get("models_url"), row.id
        # A server on this machine may have been started with a key, whatever others of its kind do.
        known = None if row.local or fact["models_need_key"] == "unknown" else fact["models_need_key"]
        assert row.models_need_key is known, row.id
        if fact["base_url"] is None or "${" in fact["base_url"]:
            assert fact["base_url"] in (None, row.base_url_template), row.id
        else:
            assert check_url(fact["base_url"], kind=row.kind).url == row.base_url, row.id


def test_every_disagreement_is_decided_in_the_row(registry, shared):
    for fact in _facts(shared):
        note = registry.get(fact["id"]).note or ""
        for found in fact["disagreements"]:
            if found["field"] == "key_env":
                assert registry.get(fact["id"]).env[0] in note, fact["id"]
            else:
                assert re.search(r"[Ss]ources have|[Oo]ne source has|taken is", note), fact["id"]


def test_the_demo_row_names_what_the_demo_serves(registry: Registry) -> None:
    assert [m.id for m in registry.get("demo").models] == list(MODELS)


def test_auth_is_by_name(registry: Registry) -> None:
    assert {row.auth for row in registry.all()} <= set(AUTH_SCHEMES)
