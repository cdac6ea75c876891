"""One fetch, from who is asked to what is said, written and remembered of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nbllm import aio
from nbllm.catalog.failures import Attempt, Failures
from nbllm.catalog.fetch import Fetcher, FetchOptions, FetchResult
from nbllm.catalog.outputs import Writer
from nbllm.catalog.selection import Selection, select
from nbllm.errors import ExportError, UnreachableError


@dataclass(frozen=True, slots=True)
class FetchOrder:
    """What a user asks for."""

    ids: Sequence[str] = ()
    """Providers by name."""
    every: bool = False
    """Each live or unverified provider that has a key or needs none."""
    failed: bool = False
    """Only those that failed last time, whatever the age of their lists."""
    options: FetchOptions | None = None
    """How to ask; None: with the defaults."""
    out: Path | None = None
    """Folder of `failed.json`. None: the cache."""
    writer: Writer | None = None
    """Writes what comes to files."""
    beside: Callable[[], Coroutine[Any, Any, str | None]] | None = None
    """What is done meanwhile, and gives a sentence for the user when it failed."""


def begin(
    fetcher: Fetcher, order: FetchOrder, *, cache_dir: Path, on_tick: Callable[[], None] | None = None
) -> Fetching:
    """Choose whom to ask. Nobody is asked before the first result is taken.

    Raises:
        UnknownProviderError: An id that nobody has.
        UsageError: Nobody is named.
    """
    writer, options = order.writer, order.options or FetchOptions()
    memory = Failures(order.out or cache_dir)
    failed_ids, needless = memory.failed_ids, None
    force = options.force or order.failed
    whole = options.whole
    if writer is not None and writer.whole:  # a layout with a memory of its own, that leaves alone what is there
        memory = Failures(cache_dir)
        failed_ids, whole = writer.failed_ids, True
        needless = None if force else writer.needless
    selection = select(
        fetcher.registry,
        fetcher.credentials,
        order.ids,
        every=order.every,
        failed=failed_ids() if order.failed else None,
        needless=needless,
    )
    options = replace(options, force=force, whole=whole)
    return Fetching(fetcher, selection, options, memory, writer=writer, on_tick=on_tick, beside=order.beside)


class Fetching(Iterator[FetchResult]):
    """One fetch under way: its results as they come, then what is to be said about all of it.

    The memory of failures is written when the last result has been taken, or when the iteration is given up.

    Args:
        fetcher: Asks.
        selection: Whom.
        options: How.
        memory: Where failures are remembered.
        writer: Writes each answer to files.
        on_tick: Called about ten times a second while nothing comes.
        beside: Done meanwhile.
    """

    def __init__(
        self,
        fetcher: Fetcher,
        selection: Selection,
        options: FetchOptions,
        memory: Failures,
        *,
        writer: Writer | None = None,
        on_tick: Callable[[], None] | None = None,
        clock: Callable[[], float] = time.time,
        beside: Callable[[], Coroutine[Any, Any, str | None]] | None = None,
    ) -> None:
        self.selection = selection
        self.memory = memory
        self.results: list[FetchResult] = []
        """What has come, without the lists themselves."""
        self.waiting: dict[str, None] = dict.fromkeys(p.id for p in selection.asked)
        """Ids of which nothing has come."""
        self.silent: list[str] = []
        """Servers of this machine that do not answer and were not named: nothing else is said of them."""
        self.unremembered: OSError | None = None
        """Why the memory of failures could not be written."""
        self.remarks: list[str] = []
        """What was left out of the files, and why what was done beside it failed, a sentence each."""
        self.unwritten: list[ExportError] = []
        """Files that could not be written."""
        self._beside = beside
        self._writer = writer
        self._clock = clock
        self._attempts: list[Attempt] = []
        self._items = self._iterate(fetcher, options, on_tick)

    @property
    def total(self) -> int:
        """How many are asked."""
        return len(self.selection.asked)

    @property
    def ok(self) -> bool:
        """Whether nobody failed, each that was named could be asked, and all files were written."""
        named = self.selection.named
        bad = any(r.outcome == "failed" or (r.outcome == "skipped" and r.provider in named) for r in self.results)
        return not (bad or self.waiting or self.unwritten)

    def __iter__(self) -> Fetching:
        return self

    def __next__(self) -> FetchResult:
        return next(self._items)

    def close(self) -> None:
        """Give up what has not come. Done by itself when the iteration is interrupted."""
        self._items.close()

    def _iterate(
        self, fetcher: Fetcher, options: FetchOptions, on_tick: Callable[[], None] | None
    ) -> Generator[FetchResult]:
        beside = None if self._beside is None else aio.submit(self._beside())
        try:
            for id, reason in self.selection.skipped.items():
                result = FetchResult(id, "skipped", reason=reason)
                self.results.append(result)
                yield result
            source = fetcher.each(self.selection.asked, options, self._note)
            for result in aio.iterate(source, on_tick=on_tick):
                if result.provider not in self.silent:
                    self._write(result)
                    yield result
            if beside is not None and (told := beside.result()):
                self.remarks.append(told)
        finally:
            if beside is not None:
                beside.cancel()
            self._remember()

    def _note(self, result: FetchResult) -> None:
        self.waiting.pop(result.provider, None)
        if result.provider in self.selection.silent and isinstance(result.error, UnreachableError):
            self.silent.append(result.provider)
            return
        self.results.append(replace(result, listed=None, models=()))
        if result.seconds is not None:
            self._attempts.append(Attempt(result.provider, self._clock(), result.error, result.age_s))

    def _write(self, result: FetchResult) -> None:
        if self._writer is None:
            return
        try:
            written = self._writer.write(result)
        except ExportError as exc:
            self.unwritten.append(exc)
        else:
            self.remarks += [f"{result.provider}: {remark}" for remark in written.remarks]

    def _remember(self) -> None:
        if self._writer is not None:
            try:
                self._writer.finish()
            except ExportError as exc:
                self.unwritten.append(exc)
        try:
            self.memory.record(self._attempts)
        except OSError as exc:
            self.unremembered = exc
