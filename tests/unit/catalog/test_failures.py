"""What is remembered of providers that failed."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from nbllm.catalog.failures import Attempt, Failures
from nbllm.errors import ServerError, UnreachableError

AT = 1_795_000_000.0


def test_a_failure_keeps_the_last_success_and_its_reason(tmp_path: Path) -> None:
    memory = Failures(tmp_path / "new")
    memory.record([Attempt("groq", AT)])
    error = ServerError("groq: down", hint="wait", status=503, provider="groq")
    memory.record([Attempt("groq", AT + 3600, error, age_s=3600.4)])

    assert memory.read() == {
        "groq": {
            "failed": True, "kind": "ServerError", "status": 503, "error": "groq: down", "hint": "wait",
            "last_attempt": "2026-11-18T12:06:40+00:00", "last_success": "2026-11-18T11:06:40+00:00", "age_s": 3600,
        }
    }  # fmt: skip
    assert memory.failed_ids() == ["groq"]
    assert stat.S_IMODE(memory.path.stat().st_mode) == 0o600


def test_what_is_not_told_of_stays(tmp_path: Path) -> None:
    memory = Failures(tmp_path)
    memory.record([Attempt("a", AT, UnreachableError("a: gone", phase="dns")), Attempt("b", AT)])
    memory.record([Attempt("b", AT + 1)])
    memory.record([])

    assert list(memory.read()) == ["a", "b"]
    assert memory.failed_ids() == ["a"]


def test_foreign_words_are_cut_and_on_one_line(tmp_path: Path) -> None:
    memory = Failures(tmp_path)
    memory.record([Attempt("a", AT, ServerError("a: \x1b[31m\u202e" + "x" * 5000))])

    said = memory.read()["a"]["error"]
    assert len(said) <= 500
    assert "\x1b" not in said
    assert "\u202e" not in said


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b'{"a": 3}', b"\xff", b"[" * 100_000])
def test_a_damaged_file_remembers_nothing_and_is_written_anew(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "failed.json").write_bytes(content)
    memory = Failures(tmp_path)

    assert memory.failed_ids() == []
    memory.record([Attempt("b", AT)])
    assert json.loads((tmp_path / "failed.json").read_text())["b"]["failed"] is False


MANY = """
import sys
from pathlib import Path
from nbllm.catalog.failures import Attempt, Failures
for i in range(20):
    Failures(Path(sys.argv[1])).record([Attempt(f"{sys.argv[2]}-{i}", 1.8e9)])
"""


def test_processes_at_once_lose_no_entry(tmp_path: Path) -> None:
    words = [sys.executable, "-c", MANY, str(tmp_path)]
    processes = [subprocess.Popen([*words, f"p{i}"]) for i in range(3)]

    assert [process.wait(60) for process in processes] == [0, 0, 0]
    assert len(Failures(tmp_path).read()) == 60
