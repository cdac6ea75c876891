"""One cheap look at each model before the grid: a key that is refused is refused once, not N x M times."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from nbllm.compare.cells import CellSpec
from nbllm.connection.result import ConnectionCheck
from nbllm.errors import AuthenticationError, ModelNotFoundError, NbllmError, ProviderError, UnreachableError

Check = Callable[[str, str], Awaitable[ConnectionCheck]]
"""Asks a model one short question, and looks for the reason when it does not answer."""

_WAY = ("url", "dns", "connect", "tls")


async def preflight(specs: Sequence[CellSpec], check: Check) -> None:
    """Test every model of these cells, all at once.

    A provider that is busy now, or fails for a reason that may pass, is no reason to stop.

    Raises:
        NbllmError: One cannot be used; the grid is not started.
    """
    models = dict.fromkeys((s.request.provider, s.request.model) for s in specs)
    checks = await asyncio.gather(*(check(provider, model) for provider, model in models))
    for found in checks:
        if (problem := _problem(found)) is not None:
            raise problem


def _problem(found: ConnectionCheck) -> NbllmError | None:
    if found.ok:
        return None
    last = found.stages[-1]
    said = f"{found.provider}: {last.detail.removeprefix(f'{found.provider}: ')}"
    message = f"nothing was asked, since the test before the grid failed: {said}"
    if last.fix == "key":
        return AuthenticationError(message, hint=found.hint, provider=found.provider)
    if last.fix == "model":
        return ModelNotFoundError(message, hint=found.hint, provider=found.provider)
    if found.stage in _WAY:
        return UnreachableError(message, phase=found.stage, hint=found.hint, provider=found.provider)
    if last.fix == "url":
        return ProviderError(message, hint=found.hint, provider=found.provider)
    return None
