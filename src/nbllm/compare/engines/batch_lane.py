"""One provider, as a run of the batch engine uses it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from nbllm.adapters.base import Endpoint
from nbllm.compare.engines.batch_api import BatchApi
from nbllm.compare.engines.batch_wire import Wire


@dataclass(slots=True)
class Lane:
    """One provider."""

    endpoint: Endpoint
    wire: Wire
    api: BatchApi
    origin: str
    running: set[str] = field(default_factory=set)
    """Marks of the batches that are being followed."""
    ended: asyncio.Condition = field(default_factory=asyncio.Condition)
    """Told whenever one is not any more."""

    @property
    def name(self) -> str:
        """The provider's id."""
        return self.endpoint.provider.id
