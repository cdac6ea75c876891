"""`nbllm` as a user starts it: a process of its own, with the test's home."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

SRC = Path(__file__).resolve().parents[2] / "src"


def environment(**more: str) -> dict[str, str]:
    """The test's environment, and the package of this checkout."""
    return {**os.environ, "PYTHONPATH": str(SRC), "PYTHONUNBUFFERED": "1", **more}


def nbllm(*words: str, env: dict[str, str] | None = None, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run one command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "nbllm", *words],
        env=environment(**(env or {})), capture_output=True, text=True, timeout=90, check=False, **options,
    )  # fmt: skip


def start(*words: str, env: dict[str, str] | None = None, **options: Any) -> subprocess.Popen[bytes]:
    """Start a command that is to be interrupted."""
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    return subprocess.Popen([sys.executable, "-m", "nbllm", *words], env=environment(**(env or {})), **options)


def in_terminal(*words: str, env: dict[str, str]) -> str:
    """What a terminal is sent."""
    leader, follower = pty.openpty()
    process = start(*words, env=env, stdout=follower, stderr=follower, stdin=follower)
    os.close(follower)
    shown = b""
    try:
        while piece := os.read(leader, 65536):
            shown += piece
    except OSError:  # the terminal's other end is closed
        pass
    process.wait(timeout=30)
    os.close(leader)
    return shown.decode()
