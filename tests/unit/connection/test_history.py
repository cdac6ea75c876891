"""The newest test of each provider."""

from __future__ import annotations

from pathlib import Path

import pytest

from nbllm.connection.history import LastCheck, LastChecks
from nbllm.connection.result import ConnectionCheck
from nbllm.providers.spec import ProviderConfig

ROW = ProviderConfig(id="there", base_url="https://api.example.com/v1")
FAILED = ConnectionCheck("there", ok=False, stage="auth", latency_ms=12.5, error="there refused the key (401)")


def test_the_last_check_is_kept_for_its_origin(tmp_path: Path) -> None:
    checks = LastChecks(tmp_path / "checks", clock=lambda: 99.0)
    checks.save(ROW, FAILED)

    assert checks.last(ROW) == LastCheck(False, "auth", 99.0, 12.5, "there refused the key (401)")
    assert checks.last(ROW.model_copy(update={"base_url": "https://elsewhere.example/v1"})) is None
    assert checks.last(ROW.model_copy(update={"id": "another"})) is None


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"place": "https://api.example.com:443", "stage": "?"}'])
def test_a_damaged_file_counts_as_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "there.json").write_text(content)

    assert LastChecks(tmp_path).last(ROW) is None


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "checks").write_text("a file where the folder should be")

    LastChecks(tmp_path / "checks").save(ROW, FAILED)


def test_a_model_file_is_the_same_at_every_port(tmp_path: Path) -> None:
    row = ProviderConfig(id="mine", gguf="/m/tiny.gguf")
    checks = LastChecks(tmp_path / "checks")
    checks.save(row.model_copy(update={"base_url": "http://127.0.0.1:4711/v1"}), FAILED)

    assert checks.last(row) is not None
    assert checks.last(row.model_copy(update={"gguf": "/m/other.gguf"})) is None


def test_a_row_without_an_address_has_no_check(tmp_path: Path) -> None:
    assert LastChecks(tmp_path).last(ProviderConfig(id="bare")) is None
