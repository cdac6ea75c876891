"""Does a provider answer: url, dns, connect, tls, auth, models, model; each tried, timed and reported by itself.

The first four are done on a connection of their own (`way`). From `auth` on, the requests are the adapter's (`run`),
so what is tested is what a chat will do.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Iterable

from nbllm.connection.result import ConnectionCheck, StageResult, summarize
from nbllm.connection.run import Run, Target, ms_since
from nbllm.credentials.redaction import redact
from nbllm.foreign import one_line

__all__ = ["ConnectionCheck", "StageResult", "Target", "check", "check_answer", "check_many", "stages"]

TIMEOUT_S = 10.0
"""Seconds for each stage, except the answer of a model, which gets the row's `timeout.first_token_s`."""
CONCURRENCY = 16


async def check(target: Target, *, model: str | None = None, timeout_s: float = TIMEOUT_S) -> ConnectionCheck:
    """Test a provider. A failure is a result, not an exception.

    Args:
        target: Whom.
        model: Also ask this model for one token; that may cost a fraction of a cent.
        timeout_s: Seconds for each stage but the model's answer.
    """
    started = time.perf_counter()
    found = [stage async for stage in stages(target, model=model, timeout_s=timeout_s)]
    return summarize(target.provider.id, model, tuple(found), ms_since(started))


async def check_answer(target: Target, model: str) -> ConnectionCheck | None:
    """Ask the model one short question and nothing else; None when it does not answer, and `check` would say why.

    One request, and no listing, which some providers take megabytes for.
    """
    started = time.perf_counter()
    if not await Run(target, model, TIMEOUT_S).answers():
        return None
    ms = ms_since(started)
    return summarize(target.provider.id, model, (StageResult("done", True, ms, f"{one_line(model)} answers"),), ms)


async def check_many(
    targets: Iterable[Target], *, model: str | None = None, timeout_s: float = 20.0, concurrency: int = CONCURRENCY
) -> AsyncGenerator[ConnectionCheck, None]:
    """Test providers at the same time; results come as they are ready.

    Args:
        targets: Whom; each provider once.
        model: As in `check`, the same id for all.
        timeout_s: Seconds for each provider, all stages together.
        concurrency: How many are tested at once.
    """
    lanes = asyncio.Semaphore(concurrency)
    tasks = [asyncio.create_task(_check_in_time(t, lanes, model=model, timeout_s=timeout_s)) for t in targets]
    try:
        for next_one in asyncio.as_completed(tasks):
            yield await next_one
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _check_in_time(
    target: Target, lanes: asyncio.Semaphore, *, model: str | None, timeout_s: float
) -> ConnectionCheck:
    found: list[StageResult] = []
    run = Run(target, model, TIMEOUT_S)
    provider = target.provider.id
    async with lanes:
        started = time.perf_counter()
        try:
            async with asyncio.timeout(timeout_s):
                async for stage in run.all():
                    found.append(stage)
        except TimeoutError:
            hint = f"test it alone: `%llm_providers test {provider}`"
            found.append(run.lost(f"no result within {timeout_s:g} s", hint))
        except Exception as exc:  # noqa: BLE001  (one provider's fault must not hide the others' results)
            said = f"the test itself failed: {type(exc).__name__}: {redact(str(exc))}"
            found.append(run.lost(said, f"please report this, with what `%llm_providers show {provider}` says"))
    return summarize(provider, model, tuple(found), ms_since(started))


async def stages(
    target: Target, *, model: str | None = None, timeout_s: float = TIMEOUT_S
) -> AsyncGenerator[StageResult, None]:
    """Test a provider; each stage as it finishes. The last one is `done`, or the one that failed."""
    async with contextlib.aclosing(Run(target, model, timeout_s).all()) as results:
        async for result in results:
            yield result
