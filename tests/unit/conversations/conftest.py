"""A store in the test's own home, and the conversations of one kernel in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from nbllm.conversations import Conversations
from nbllm.settings import Paths
from nbllm.store import Store


@pytest.fixture
def paths(home: Path) -> Paths:
    return Paths.from_environment({"NBLLM_HOME": str(home)})


@pytest.fixture
def store(paths: Paths) -> Iterator[Store]:
    opened = Store.open(paths, None)
    assert opened.warning is None
    yield opened
    opened.close()


@pytest.fixture
def conversations(store: Store) -> Conversations:
    return Conversations(store, kernel="kernel-1")
