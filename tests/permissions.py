"""Processes for which the modes of files and folders count, as they do not for root."""

from __future__ import annotations

import os
import shutil

import pytest


def as_somebody() -> list[str]:
    """Words to put before a command. A test that would need them, where they are not to be had, is skipped."""
    if getattr(os, "getuid", lambda: 1)() != 0:
        return []
    if shutil.which("setpriv") is None:
        pytest.skip("root may write everywhere, and setpriv is not there to take that away")
    return ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all"]
