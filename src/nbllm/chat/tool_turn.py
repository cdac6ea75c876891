"""Calls that the model asks for, made where the user's own functions run."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Mapping
from typing import Any

from nbllm import aio
from nbllm.chat.tools import BoundTool, failure_of, prepare, result_of
from nbllm.messages import ToolCall, ToolResult


class ToolTurn:
    """Calls that the model asks for, on their way to the calling thread and back."""

    def __init__(self, calls: tuple[ToolCall, ...], tools: Mapping[str, BoundTool]) -> None:
        self.calls = calls
        self._tools = tools
        self._loop = asyncio.get_running_loop()
        self._results: asyncio.Future[list[ToolResult]] = self._loop.create_future()

    async def results(self) -> list[ToolResult]:
        """The results, in the order of the calls."""
        return await self._results

    def execute(self) -> None:
        """Call the functions here, one after the other. What one raises becomes an error that the model is told."""
        results = [self._call(c) for c in self.calls]
        self._give(results)

    def _call(self, call: ToolCall) -> ToolResult:
        ready = prepare(call, self._tools)
        if isinstance(ready, ToolResult):
            return ready
        try:
            value = ready()
            return result_of(call, aio.run(_awaited(value)) if inspect.isawaitable(value) else value)
        except Exception as exc:  # noqa: BLE001  (any failure of the user's function is told to the model)
            return failure_of(call, exc)

    async def execute_async(self) -> None:
        """The same on the caller's own event loop, where coroutine functions are awaited."""
        results = []
        for call in self.calls:
            ready = prepare(call, self._tools)
            if isinstance(ready, ToolResult):
                results.append(ready)
                continue
            try:
                value = ready()
                results.append(result_of(call, await value if inspect.isawaitable(value) else value))
            except Exception as exc:  # noqa: BLE001  (any failure of the user's function is told to the model)
                results.append(failure_of(call, exc))
        self._give(results)

    def _give(self, results: list[ToolResult]) -> None:
        def settle() -> None:
            if not self._results.done():
                self._results.set_result(results)

        self._loop.call_soon_threadsafe(settle)


async def _awaited(value: Any) -> Any:
    return await value
