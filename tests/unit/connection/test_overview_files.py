"""A model file as a provider, seen from the workspace."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import tiny_gguf
from nbllm.chat.options import ChatOptions
from nbllm.errors import RegistryError
from nbllm.workspace import Workspace


@pytest.fixture
def workspace(home: Path) -> Iterator[Workspace]:
    made = Workspace()
    yield made
    made.close()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tiny_gguf.write(tmp_path / "tiny.gguf")


def test_added_listed_tested_asked_without_any_key(workspace: Workspace, file: Path) -> None:
    said = workspace.overview.add("local-gguf", {"gguf": str(file)})
    [row] = [r for r in workspace.providers().as_json() if r["id"] == "local-gguf"]
    listed = workspace.models("local-gguf")

    assert not any("key" in sentence for sentence in said)
    assert (row["key"], row["model_count"]) == ("not-needed", 1)
    assert [m.ref for m in listed.models] == ["local-gguf/tiny"]
    assert workspace.local.running() == {}  # nothing was started for any of it
    assert workspace.check("local-gguf", model="tiny").ok
    reply = workspace.chat("hello", ChatOptions(model="local-gguf/tiny", max_tokens=4))
    assert reply.finish_reason in ("stop", "length")  # the model is a random one, and may end without a word
    assert len(workspace.local.running()) == 1


def test_what_is_no_model_file_is_not_added(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "page.gguf").write_text("<html>not found</html>")

    for path in (tmp_path / "page.gguf", tmp_path / "missing.gguf"):
        with pytest.raises(RegistryError):
            workspace.overview.add("local-gguf", {"gguf": str(path)})

    assert "local-gguf" not in workspace.registry.ids()


def test_a_file_that_is_gone_is_a_failed_test_and_no_broken_table(workspace: Workspace, file: Path) -> None:
    workspace.overview.add("local-gguf", {"gguf": str(file)})
    file.unlink()

    checks = dict(workspace.check_many(["local-gguf", "demo"]))

    assert checks["demo"].ok
    assert not checks["local-gguf"].ok
    assert "there is no model file" in (checks["local-gguf"].error or "")
    [row] = [r for r in workspace.providers().as_json() if r["id"] == "local-gguf"]
    assert row["model_count"] is None
