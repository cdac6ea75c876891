"""The batch engine: cells go to the vendor by the thousand, at half the price, and come back within a day.

    for each provider and model: requests are split by the vendor's limits, admitted, uploaded
    before a batch is made, a word is kept that one is to be; once it is made, the word has its id
    it is looked at, less and less often, until it has ended
    its results are fetched, matched by the cells' keys, kept one by one; then the word is forgotten

So the process may end at any moment. The next one reads the words, and goes on with what runs; cells of a batch that
runs are not sent again. docs/adr/0025-batches.md has the gaps that are left.
"""

from __future__ import annotations

import asyncio
import random as random_
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

from nbllm import usage
from nbllm.adapters.base import Endpoint
from nbllm.compare.cells import CellSpec
from nbllm.compare.engines.base import Desk
from nbllm.compare.engines.batch_answers import PriceOf, discount
from nbllm.compare.engines.batch_anthropic import HEADERS, AnthropicBatches
from nbllm.compare.engines.batch_api import BatchApi, Mark
from nbllm.compare.engines.batch_lane import Lane
from nbllm.compare.engines.batch_openai import OpenAIBatches
from nbllm.compare.engines.batch_run import Run
from nbllm.compare.engines.batch_wire import Wire
from nbllm.compare.engines.batch_words import Word, read_word
from nbllm.errors import ProviderError, UnsupportedError
from nbllm.providers.urls import origin_of
from nbllm.transport.retry import Sleep

__all__ = ["BatchEngine", "discount"]

_VENDORS: Mapping[str, Callable[[Wire], BatchApi]] = {
    "openai": OpenAIBatches,
    "url": OpenAIBatches,
    "anthropic": AnthropicBatches,
}
"""Kinds of rows whose wire format has batches."""


class BatchEngine:
    """Asks through the batch APIs of OpenAI, those who follow it, and Anthropic.

    Outcomes have no times, since nobody waited for a single answer. Their cost is the vendor's batch price, with
    `batch 0.5` in `price_version`, where the vendor documents one, and otherwise unknown.

    Args:
        endpoints: From a provider's id to its row, key and way there. What it raises comes through.
        on_news: Called with a sentence for people whenever there is something to tell.
        price: The list price of an answer; the batch's part of it is taken here.
        sleep: How to wait.
        random: From 0 to 1.
        now: The time, with its zone.
    """

    def __init__(
        self,
        endpoints: Callable[[str], Endpoint],
        *,
        on_news: Callable[[str], None] | None = None,
        price: PriceOf = usage.cost,
        sleep: Sleep = asyncio.sleep,
        random: Callable[[], float] = random_.random,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._endpoints = endpoints
        self._on_news = on_news or (lambda sentence: None)
        self._price = price
        self._sleep = sleep
        self._random = random
        self._now = now

    async def run(self, specs: Sequence[CellSpec], desk: Desk) -> None:
        """Ask until each of `specs` is settled, or left out by the desk.

        Batches of an earlier process that hold some of `specs` are gone on with; those cells are settled without being
        admitted again, since they are paid for. When it is cancelled, batches that run go on at the vendor and stay
        remembered; only cells that were not sent are released.

        Raises:
            UnsupportedError: A provider has no batches; nothing was sent to it.
            AuthenticationError: A key is refused for batches that run; they stay remembered.
            ProviderError: A batch could not be made; its cells are released, and all that ran is settled.
            BudgetError: As the desk said, after all that ran is settled.
            StoreError: As the desk said, at once; batches that run stay remembered.
        """
        lanes = {name: self._lane(name) for name in dict.fromkeys(s.request.provider for s in specs)}
        await Run(
            specs, desk, lanes, news=self._on_news, price=self._price, sleep=self._sleep, random=self._random,
            now=self._now,
        ).through()  # fmt: skip

    async def cancel(self, desk: Desk) -> list[str]:
        """Stop all batches that the desk remembers, at the vendor; gives their ids.

        Answers that are there by then are paid, and `run` still fetches them; the other cells become errors. A batch
        that has ended already is left as it is.

        Raises:
            ProviderError: One could not be stopped, after all were tried.
        """
        stopped: list[str] = []
        failure: ProviderError | None = None
        for name, text in (await desk.recall()).items():
            word = read_word(name, text)
            if word is None:
                continue
            try:
                if (id := await self._stop(word)) is not None:
                    stopped.append(id)
                    self._on_news(f"batch {id} was cancelled; what it has answered can still be fetched")
            except ProviderError as exc:
                failure = failure or exc
        if failure is not None:
            raise failure
        return stopped

    async def _stop(self, word: Word) -> str | None:
        """The id of the batch, if it ran; one that was found by its size alone is not ours to stop."""
        lane = self._lane(word.provider)
        id = word.id if word.sure else None
        if word.id is None:
            mark = Mark(word.mark, word.moment, word.size, frozenset(word.not_these))
            found = await lane.wire.retried(lambda _: lane.api.find(mark))
            id = found.id if found is not None and found.sure else None
        if id is None or lane.origin != word.origin or (await lane.api.state(id)).end is not None:
            return None
        await lane.api.cancel(id)
        return id

    def _lane(self, provider: str) -> Lane:
        endpoint = self._endpoints(provider)
        row = endpoint.provider
        vendor = _VENDORS.get(row.kind)
        if vendor is None:
            raise UnsupportedError(
                f"{provider} has no batches that nbllm knows",
                hint="ask it with the local engine: `--engine local`",
                provider=provider,
            )
        headers = HEADERS if row.kind == "anthropic" else None
        wire = Wire(endpoint, headers=headers, sleep=self._sleep, random=self._random)
        return Lane(endpoint, wire, vendor(wire), origin_of(row.base_url))
