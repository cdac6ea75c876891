"""A clock for the gates before providers: time passes when somebody waits there, and then at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from nbllm.transport import http
from nbllm.transport.limits import Gate


class Clock:
    """Attributes: `now`: seconds. `passed`: when each request went through a gate that it had to wait for."""

    def __init__(self) -> None:
        self.now = 0.0
        self.passed: list[float] = []

    async def sleep(self, seconds: float) -> None:
        """Waits by this clock. Others go first, so that what is ready does not miss its moment."""
        for _ in range(20):
            await asyncio.sleep(0)
        self.now += seconds

    def stands_before_every_gate(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Every gate that is made from now on goes by this clock."""
        clock = self

        class Noted(Gate):
            def __init__(self, **options: Any) -> None:
                super().__init__(clock=lambda: clock.now, sleep=clock.sleep, **options)

            @asynccontextmanager
            async def pass_(self, *args: Any, bypass: bool = False, **options: Any) -> AsyncIterator[Any]:
                async with super().pass_(*args, bypass=bypass, **options) as spent:
                    if not bypass:
                        clock.passed.append(clock.now)
                    yield spent

        monkeypatch.setattr(http, "Gate", Noted)
