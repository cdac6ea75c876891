"""A catalogue in the test's own home."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from nbllm.catalog.marks import Marks
from nbllm.settings import Paths
from nbllm.store import Store


@pytest.fixture
def paths(home: Path) -> Paths:
    return Paths.from_environment({"NBLLM_HOME": str(home)})


@pytest.fixture
def store(paths: Paths) -> Iterator[Store]:
    opened = Store.open(paths)
    yield opened
    opened.close()


@pytest.fixture
def marks(store: Store) -> Marks:
    return Marks(lambda: store)
