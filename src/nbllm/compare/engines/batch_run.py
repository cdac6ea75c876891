"""One run of the batch engine: what was remembered, what is sent, and how each batch is followed to its end."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from nbllm.adapters import load_adapter
from nbllm.compare.cells import CellSpec, Outcome
from nbllm.compare.engines.base import Desk
from nbllm.compare.engines.batch_answers import Outcomes, PriceOf
from nbllm.compare.engines.batch_api import BatchState, Mark, custom_id
from nbllm.compare.engines.batch_create import Creation
from nbllm.compare.engines.batch_lane import Lane
from nbllm.compare.engines.batch_parts import Part, split
from nbllm.compare.engines.batch_wire import lines
from nbllm.compare.engines.batch_words import KEPT, Word, read_word
from nbllm.errors import AuthenticationError, BudgetError, NbllmError, ProviderError, StoreError, UnreachableError
from nbllm.transport.retry import Sleep

FIRST_S, LONGEST_S = 1.0, 60.0
"""The first wait between two looks at a batch, and the longest."""
_GROWTH = 1.5
_JITTER = 0.2
"""Each wait is up to this part shorter or longer, so that many batches are not looked at together."""
_PATIENCE = 30
"""Looks in a row that may fail, each after its own retries: more than half an hour at the longest wait."""
_NEW = 3
"""Looks in a row that may say that there is no such batch: a new one is not known everywhere at once."""


class Run:
    """See the module; `nbllm.compare.engines.batch.BatchEngine.run` says what it promises."""

    def __init__(
        self,
        specs: Sequence[CellSpec],
        desk: Desk,
        lanes: Mapping[str, Lane],
        *,
        news: Callable[[str], None],
        price: PriceOf,
        sleep: Sleep,
        random: Callable[[], float],
        now: Callable[[], datetime],
    ) -> None:
        self._specs = {spec.key: spec for spec in specs}
        self._desk = desk
        self._lanes = lanes
        self._news = news
        self._price = price
        self._sleep = sleep
        self._random = random
        self._now = now
        self._failures: list[NbllmError] = []
        self._stopped = False
        """Whether nothing more is to be sent, since the budget or the store said so."""
        self._words: dict[str, Word] = {}
        """By mark: all that is remembered, to tell our own batches apart."""

    async def through(self) -> None:
        """Everything, from the remembered words to the last answer."""
        mine = await self._recalled()
        under_way = {key for word in mine for key in word.keys}
        try:
            async with asyncio.TaskGroup() as group:
                for word in mine:
                    group.create_task(self._guarded(self._go_on(word, group)))
                for name, lane in self._lanes.items():
                    fresh = [s for s in self._specs.values() if s.request.provider == name and s.key not in under_way]
                    group.create_task(self._guarded(self._submit(lane, fresh, group)))
        except BaseExceptionGroup as several:
            failure: BaseException | None = _first(several)
        except asyncio.CancelledError:
            self._tell_what_goes_on()
            raise
        else:
            failure = self._failures[0] if self._failures else None
        for other in self._failures:
            if other is not failure:
                self._news(str(other))
        if failure is not None:
            self._tell_what_goes_on()
            raise failure

    async def _guarded(self, doing: Coroutine[Any, Any, None]) -> None:
        """One lane's failure does not end the others; a store that keeps nothing ends all."""
        try:
            await doing
        except StoreError:
            raise
        except NbllmError as error:
            self._failures.append(error)

    def _tell_what_goes_on(self) -> None:
        for word in self._words.values():
            if word.id is not None and self._of(word):
                self._news(f"batch {word.id} goes on at {word.provider}; run again with --resume to fetch its answers")

    # ------------------------------------------------------------ what is remembered

    async def _recalled(self) -> list[Word]:
        """Words of batches that hold some of our cells. Those that no vendor has any more are forgotten."""
        mine = []
        for name, text in (await self._desk.recall()).items():
            word = read_word(name, text)
            if word is None:
                continue
            if word.moment < self._now() - KEPT:
                await self._desk.remember(name, None)
                continue
            self._words[word.mark] = word
            lane = self._lanes.get(word.provider)
            if lane is not None and lane.origin == word.origin and any(key in self._specs for key in word.keys):
                mine.append(word)
        return mine

    async def _remember(self, word: Word) -> Word:
        self._words[word.mark] = word
        await self._desk.remember(word.name, word.to_json())
        return word

    async def _forget(self, word: Word) -> None:
        self._words.pop(word.mark, None)
        await self._desk.remember(word.name, None)

    def _of(self, word: Word) -> list[CellSpec]:
        return [self._specs[key] for key in word.keys if key in self._specs]

    async def _go_on(self, word: Word, group: asyncio.TaskGroup) -> None:
        """Go on with a remembered batch; look for it first, when its id was lost."""
        lane = self._lanes[word.provider]
        if word.id is None:
            mark = self._mark(word)
            found = await lane.wire.retried(lambda _: lane.api.find(mark))
            if found is None:  # it was never made: nothing is paid
                await self._submit(lane, self._of(word), group, instead_of=word)
                return
            word = await self._remember(replace(word, id=found.id, sure=found.sure))
        self._news(f"batch {word.id} at {lane.name} is gone on with: {len(self._of(word)):,} answers are awaited")
        await self._follow(lane, word, group)

    def _mark(self, word: Word) -> Mark:
        others = {w.id for w in self._words.values() if w.id is not None and w.mark != word.mark}
        return Mark(word.mark, word.moment, word.size, frozenset({*others, *word.not_these}))

    # ------------------------------------------------------------ sending

    async def _submit(
        self, lane: Lane, specs: Sequence[CellSpec], group: asyncio.TaskGroup, *, instead_of: Word | None = None,
        admitted: bool = False,
    ) -> None:  # fmt: skip
        """Send cells in as many batches as they need, each of which is followed from then on."""
        adapter = load_adapter(lane.endpoint.provider.kind)
        for part in split(specs, lane.api, lane.endpoint, adapter):
            if self._stopped and not admitted:
                return
            wanted = part if admitted else part.only(await self._admitted(part.all_specs))
            if instead_of is not None and wanted.all_specs:
                # Only now: while somebody else has these cells, the word may be his.
                await self._forget(instead_of)
                instead_of = None
            for spec, error in wanted.refused:
                await self._desk.settle(self._outcomes(lane).failed(spec, error))
            if wanted.specs:
                word = await self._send(lane, wanted)
                if word is None:
                    return
                group.create_task(self._guarded(self._follow(lane, word, group)))

    async def _admitted(self, specs: Sequence[CellSpec]) -> set[str]:
        """Keys of those that may be sent: as many as the budget has room for, found by halving."""
        keys: set[str] = set()
        start, size = 0, len(specs)
        while start < len(specs):
            some = specs[start : start + size]
            try:
                keys |= {spec.key for spec in await self._desk.admit(some)}
            except BudgetError as error:
                if size == 1 or len(some) == 1:
                    self._stopped = True
                    self._failures.append(error)
                    return keys
                size = len(some) // 2
                continue
            start += len(some)
        return keys

    async def _send(self, lane: Lane, part: Part) -> Word | None:
        """The word of the batch that was made of admitted cells; None when the key is refused, which is settled."""
        creation: Creation | None = None
        word: Word | None = None
        try:
            self._news(f"{lane.name}: {len(part.specs):,} requests are sent ({sum(map(len, part.lines)) / 1e6:.1f} MB)")
            prepared = await lane.api.prepare(part.lines)
            word = await self._remember(
                Word(uuid.uuid4().hex, lane.name, lane.origin, self._now().isoformat(),
                     tuple(s.key for s in part.specs), len(part.specs))
            )  # fmt: skip
            creation = Creation(lane.wire, lane.api, prepared, part.lines, self._mark(word))
            made = await creation.make()
        except (NbllmError, asyncio.CancelledError) as error:
            in_doubt = creation is not None and creation.in_doubt
            if word is not None and not in_doubt and not isinstance(error, StoreError):
                await self._forget(word)
            if not isinstance(error, AuthenticationError):
                await self._desk.release(part.specs)
                raise
            first, *others = part.specs
            await self._desk.settle(self._outcomes(lane).failed(first, error))
            await self._desk.release(others)
            return None
        lane.running.add(word.mark)
        word = await self._remember(replace(word, id=made.id, sure=made.sure))
        self._news(f"batch {word.id} at {lane.name} has {len(part.specs):,} requests")
        return word

    # ------------------------------------------------------------ following

    async def _follow(self, lane: Lane, word: Word, group: asyncio.TaskGroup) -> None:
        """From a batch that runs to all its cells being settled."""
        lane.running.add(word.mark)
        try:
            ours = await self._to_its_end(lane, word, group)
        finally:
            lane.running.discard(word.mark)
            async with lane.ended:
                lane.ended.notify_all()
        if not ours and word.id is not None:
            # It was somebody else's, so ours is another one, or none.
            word = replace(word, id=None, sure=True, not_these=(*word.not_these, word.id))
            await self._go_on(await self._remember(word), group)

    async def _to_its_end(self, lane: Lane, word: Word, group: asyncio.TaskGroup) -> bool:
        """Whether it was ours; then all its cells are settled, or sent once more."""
        try:
            state = await self._ended(lane, word)
        except ProviderError as error:
            if error.status != 404:
                raise
            outcomes = self._outcomes(lane, word)
            await self._settle_rest(word, [outcomes.gone(s) for s in self._of(word)])
            return True
        if state.queue_full and await self._sent_again(lane, word, group):
            return True
        if state.failure is None:
            return await self._collected(lane, word, state)
        await self._failed(lane, word, state)
        return True

    async def _ended(self, lane: Lane, word: Word) -> BatchState:
        """Its state once it has ended. A look that fails does not lose it."""
        wait, failed, told = FIRST_S, 0, -1
        assert word.id is not None
        while True:
            try:
                state = await lane.api.state(word.id)
            except ProviderError as error:
                failed += 1
                if failed > _patience(error):
                    raise
                self._news(f"batch {word.id} could not be looked at, which is tried again: {error.message}")
                wait = max(wait, min(LONGEST_S, error.retry_after_s or 0.0))
            else:
                failed = 0
                if state.done is not None and state.done != told:
                    told = state.done
                    total = word.size if state.total is None else state.total
                    self._news(f"batch {word.id}: {state.done:,} of {total:,} done")
                if state.end is not None:
                    return state
            await self._sleep(wait * (1 - _JITTER + 2 * _JITTER * self._random()))
            wait = min(LONGEST_S, wait * _GROWTH)

    async def _sent_again(self, lane: Lane, word: Word, group: asyncio.TaskGroup) -> bool:
        """Send cells for which the vendor's queue had no room once more: when a batch has ended, or in halves.

        False: it is a single request, and nothing else is waiting.
        """
        specs = self._of(word)
        lane.running.discard(word.mark)
        if len(specs) == 1 and not lane.running:
            return False
        await self._forget(word)
        half = len(specs) if lane.running else len(specs) // 2
        rest = [some for some in (specs[:half], specs[half:]) if some]
        try:
            async with lane.ended:
                if lane.running:
                    self._news(
                        f"{lane.name} lets no more requests wait: {len(specs):,} are sent when a batch has ended"
                    )
                    await lane.ended.wait()
            while rest:
                await self._submit(lane, rest.pop(0), group, admitted=True)
        except (NbllmError, asyncio.CancelledError):
            await self._desk.release([spec for some in rest for spec in some])
            raise
        return True

    # ------------------------------------------------------------ keeping

    async def _collected(self, lane: Lane, word: Word, state: BatchState) -> bool:
        """Settle its cells from its results; False when it turned out to be somebody else's batch."""
        outcomes = self._outcomes(lane, word)
        waiting = {custom_id(spec.key): spec for spec in self._of(word)}
        ours = {custom_id(key) for key in word.keys}
        recognised, gone = word.sure, False
        strange = unreadable = 0
        for url in state.files:
            try:
                async with lane.wire.results(url) as file:
                    for row in lines(file):
                        line = None if row is None else lane.api.read(row)
                        if line is None:
                            unreadable += 1
                        elif line.custom_id not in ours:
                            strange += 1
                        elif (spec := waiting.pop(line.custom_id, None)) is not None:
                            recognised = True
                            word = await self._kept_from_now(word)
                            await self._desk.settle(outcomes.of_line(line, spec))
            except ProviderError as error:
                if error.status != 404:
                    raise
                gone = True
        if not recognised:
            return False
        if strange or unreadable:
            self._news(f"batch {state.id}: {strange:,} results that nobody asked for, {unreadable:,} unreadable lines")
        rest = waiting.values()
        await self._settle_rest(word, [outcomes.without(s, state.end, gone=gone) for s in rest])
        return True

    async def _failed(self, lane: Lane, word: Word, state: BatchState) -> None:
        outcomes = self._outcomes(lane, word)
        await self._settle_rest(
            word,
            [outcomes.of_failed_batch(s, state.failure, queue_full=state.queue_full) for s in self._of(word)],
        )

    async def _settle_rest(self, word: Word, outcomes: Sequence[Outcome]) -> None:
        """Settle what the results did not say, and be done with the batch."""
        word = await self._kept_from_now(word)
        for outcome in outcomes:
            await self._desk.settle(outcome)
        await self._forget(word)

    async def _kept_from_now(self, word: Word) -> Word:
        """The word as it is while its cells are kept one by one.

        A cell that is not asked for any more after a crash in between was kept before it. Cells that this run does not
        ask for at all get a word of their own, so that their answers are not lost to a later one.
        """
        if word.collecting:
            return word
        others = tuple(key for key in word.keys if key not in self._specs)
        if others:
            await self._remember(replace(word, mark=uuid.uuid4().hex, keys=others, sure=True))
        mine = tuple(key for key in word.keys if key in self._specs)
        return await self._remember(replace(word, keys=mine, sure=True, collecting=True))

    def _outcomes(self, lane: Lane, word: Word | None = None) -> Outcomes:
        since = self._now().isoformat() if word is None else word.since
        id = "" if word is None else word.id or ""
        return Outcomes(lane.api, lane.endpoint.provider, id, since, self._price)


def _patience(error: ProviderError) -> int:
    """How many looks in a row may fail like this."""
    if error.status == 404:
        return _NEW
    return _PATIENCE if error.retryable or isinstance(error, UnreachableError) else 0


def _first(several: BaseExceptionGroup[BaseException]) -> BaseException:
    """What to raise of many: a store that keeps nothing before all else."""
    flat: list[BaseException] = []
    waiting: list[BaseException] = [several]
    while waiting:
        found = waiting.pop(0)
        if isinstance(found, BaseExceptionGroup):
            waiting.extend(found.exceptions)
        else:
            flat.append(found)
    return next((e for e in flat if isinstance(e, StoreError)), flat[0])
