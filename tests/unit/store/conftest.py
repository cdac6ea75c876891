"""A store in the test's own home."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nbllm.settings import Paths
from nbllm.store import Store

OpenStore = Callable[..., Store]


@pytest.fixture
def paths(home: Path) -> Paths:
    return Paths.from_environment({"NBLLM_HOME": str(home)})


@pytest.fixture
def open_store(paths: Paths) -> Iterator[OpenStore]:
    """Opens stores like kernels do, and closes them at the end of the test."""
    opened: list[Store] = []

    def make(url: str | None = None, at: Paths = paths) -> Store:
        opened.append(Store.open(at, url))
        return opened[-1]

    yield make
    for store in opened:
        store.close()
