"""The models of all providers, ready to be searched. Built once, changed never: a new catalogue is a new index."""

from __future__ import annotations

import heapq
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from nbllm.catalog.wanted import Wanted, tests
from nbllm.catalog.words import Words
from nbllm.providers.spec import ModelInfo

_FEW = 5
"""Fewer hits of a word than these, and words with a mistake in them count as well."""
_SEPARATORS = str.maketrans("", "", " -_.:/@")


@dataclass(frozen=True, slots=True)
class Hits:
    """What a search found."""

    models: tuple[ModelInfo, ...]
    """The best, at most as many as asked for."""
    total: int


class Index:
    """Models in the order in which they are shown when nothing else orders them.

    Args:
        models: Each reference once.
    """

    def __init__(self, models: Iterable[ModelInfo]) -> None:
        self._models = list(models)
        self._place = {m.ref: i for i, m in enumerate(self._models)}
        self._texts = [_text(m) for m in self._models]
        self._folded = {m.ref.casefold(): i for i, m in enumerate(self._models)}
        self._providers = [m.provider for m in self._models]
        self._lock = threading.Lock()
        self._ranks: dict[str, list[int]] = {}
        self._words: Words | None = None
        self._squeezed: list[str] | None = None

    def __len__(self) -> int:
        return len(self._models)

    def get(self, ref: str) -> ModelInfo | None:
        """The model of that reference."""
        place = self._place.get(ref)
        return None if place is None else self._models[place]

    @cached_property
    def refs(self) -> tuple[str, ...]:
        """All references, in order."""
        return tuple(self._place)

    def with_models(self, changed: Iterable[ModelInfo]) -> Index:
        """A new index with these models in the place of their earlier selves, new ones at the end."""
        models = {m.ref: m for m in self._models}
        models.update((m.ref, m) for m in changed)
        return Index(models.values())

    def search(self, wanted: Wanted, *, first: Collection[str] = (), only: Collection[str] | None = None) -> Hits:
        """The models that are wanted.

        Args:
            first: Providers whose models come before others that fit as well.
            only: References to choose from; None: all.
        """
        places: Sequence[int] = range(len(self._models))
        if only is not None:
            places = sorted(self._place[ref] for ref in only if ref in self._place)
        if wanted.providers:
            among = frozenset(wanted.providers)
            places = [i for i in places if self._providers[i] in among]
        for test in tests(wanted):
            places = [i for i in places if test(self._models[i])]
        query = wanted.query.casefold()
        sure, likely = places, places
        for word in query.split():
            sure, likely = self._holding(word, sure, likely)
        total = len(likely)
        limit = total if wanted.limit is None else wanted.limit
        if wanted.sort:
            chosen = self._sorted(likely, wanted.sort, limit)
        else:
            chosen = self._best(self._graded(query.split(), sure, likely), frozenset(first), limit)
        return Hits(tuple(self._models[i] for i in chosen), total)

    # ------------------------------------------------------------ words

    def _holding(self, word: str, sure: Sequence[int], likely: Sequence[int]) -> tuple[Sequence[int], Sequence[int]]:
        """`sure` and `likely` as far as they have the word; `likely` also in other spelling."""
        texts = self._texts
        exact = [i for i in sure if word in texts[i]]
        loose = exact if len(likely) == len(sure) else [i for i in likely if word in texts[i]]
        if len(loose) >= _FEW:
            return exact, loose
        plain, squeezed = word.translate(_SEPARATORS), self._without_separators()
        near = self._vocabulary().near(word)
        other = set(loose)
        more = [i for i in likely if i not in other and ((plain and plain in squeezed[i]) or i in near)]
        return exact, [*loose, *more]

    def _graded(self, words: Sequence[str], sure: Sequence[int], likely: Sequence[int]) -> Iterator[Sequence[int]]:
        """The better matches before the others; what was given once may come again.

        The reference, id or last part of it; those that have a part that starts so; all that have the words; all.
        """
        if words:
            texts, query, start = self._texts, " ".join(words), f"/{words[0]}"
            starting = [i for i in sure if start in texts[i]]
            whole = self._folded.get(query)
            yield [whole] if whole is not None and whole in sure else []
            yield [i for i in starting if f"/{query} " in texts[i]]
            yield starting
        yield sure
        yield likely

    def _vocabulary(self) -> Words:
        with self._lock:
            if self._words is None:
                self._words = Words(self._texts)
            return self._words

    def _without_separators(self) -> list[str]:
        with self._lock:
            if self._squeezed is None:
                self._squeezed = [text.translate(_SEPARATORS) for text in self._texts]
            return self._squeezed

    # ------------------------------------------------------------ order

    def _best(self, parts: Iterable[Sequence[int]], first: frozenset[str], limit: int) -> list[int]:
        chosen: dict[int, None] = {}
        whose = self._providers
        for part in parts:
            if len(chosen) >= limit:
                break
            chosen.update(dict.fromkeys(i for i in part if whose[i] in first))
            if len(chosen) < limit:
                chosen.update(dict.fromkeys(part))
        return list(chosen)[:limit]

    def _sorted(self, places: Sequence[int], sort: str, limit: int) -> list[int]:
        rank = self._rank(sort)
        if limit >= len(places):
            return sorted(places, key=rank.__getitem__)
        return heapq.nsmallest(limit, places, key=rank.__getitem__)

    def _rank(self, sort: str) -> list[int]:
        """Place to its rank in that order; made once for each order."""
        with self._lock:
            if sort not in self._ranks:
                self._ranks[sort] = _ranks(self._models, sort)
            return self._ranks[sort]


def _text(model: ModelInfo) -> str:
    """What a search looks at."""
    return f"{model.ref} {model.name or ''}".casefold()


def _ranks(models: Sequence[ModelInfo], sort: str) -> list[int]:
    column = sort.removeprefix("-")
    value: Callable[[int], Any] = lambda i: getattr(models[i], column)  # noqa: E731
    known = [i for i in range(len(models)) if value(i) is not None]
    known.sort(key=lambda i: _comparable(value(i)), reverse=sort.startswith("-"))
    ranks = [len(models)] * len(models)
    for rank, place in enumerate(known):
        ranks[place] = rank
    return ranks


def _comparable(value: Any) -> Any:
    return value.casefold() if isinstance(value, str) else value


def laid_over(model: ModelInfo, facts: Mapping[str, Any], *, date: str) -> ModelInfo:
    """`model` with what the user said of it, which counts above all other sources."""
    source = f"yours {date}"
    return replace(model, **facts, sources={**model.sources, **dict.fromkeys(facts or ("id",), source)})
