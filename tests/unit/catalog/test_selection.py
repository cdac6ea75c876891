"""Whom `fetch --all` asks of the rows that come along, and why the others are left out."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from nbllm.catalog.selection import Selection, select
from nbllm.workspace import Workspace


@pytest.fixture
def workspace() -> Iterator[Workspace]:
    made = Workspace()
    yield made
    made.close()


def _every(workspace: Workspace) -> Selection:
    return select(workspace.registry, workspace.credentials, every=True)


def test_all_are_the_live_and_the_unverified_and_none_is_lost(workspace: Workspace) -> None:
    chosen = _every(workspace)
    asked = {p.id for p in chosen.asked}

    assert asked | set(chosen.skipped) == {
        row.id for row in workspace.registry.all() if row.status in ("live", "unverified")
    }
    assert asked & set(chosen.skipped) == set()
    assert {"lambda", "nineteenai", "amazon-bedrock", "gitlab"}.isdisjoint(asked | set(chosen.skipped))
    assert {"openrouter", "huggingface", "ovhcloud", "litellm"} <= asked  # public listings
    assert {p.id for p in chosen.asked if p.local} >= {"ollama", "llamacpp"}
    assert all(chosen.skipped.values())


def test_a_key_is_not_all_that_a_row_may_lack(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AZURE_API_KEY", "GITHUB_TOKEN", "PERPLEXITY_API_KEY", "GROQ_API_KEY", "DATABRICKS_TOKEN"):
        monkeypatch.setenv(name, "abcdefghijkl1234")
    chosen = _every(workspace)

    assert "lacks AZURE_RESOURCE_NAME" in chosen.skipped["azure"]
    assert "lacks DATABRICKS_HOST" in chosen.skipped["databricks"]
    assert "lacks header Editor-Version" in chosen.skipped["github-copilot"]
    assert "no model listing" in chosen.skipped["perplexity"]
    assert {"groq", "github-models", "perplexity-agent"} <= {p.id for p in chosen.asked}

    monkeypatch.setenv("DATABRICKS_HOST", "https://adb-1.2.example.net")
    assert "databricks" in {p.id for p in _every(workspace).asked}


def test_who_is_named_and_cannot_be_asked_says_what_it_would_take(workspace: Workspace) -> None:
    chosen = select(workspace.registry, workspace.credentials, ("gitlab", "lambda"))

    assert chosen.skipped["gitlab"].startswith("would need")
    assert "LAMBDA_API_KEY" in chosen.skipped["lambda"]  # retired ones are asked when named
