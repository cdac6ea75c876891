"""Words that were nearly typed: the vocabulary of model names, searched with a mistake or two.

A word is looked for by the pairs of letters that it shares with others, then by the count of its mistakes (a letter
that is missing, added, wrong, or has changed places with its neighbour). docs/adr/0018-search-of-our-own.md
"""

from __future__ import annotations

import heapq
import re
from collections import Counter
from collections.abc import Iterable, Sequence

_WORD = re.compile(r"[^\W_]+")
_CANDIDATES = 400
"""Words that are looked at closely, those with the most pairs in common: a bound on the time of one search."""


class Words:
    """The words of many texts, each with the texts that hold it.

    Args:
        texts: Lower case.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        self._places: dict[str, list[int]] = {}
        for place, text in enumerate(texts):
            for word in set(_WORD.findall(text)):
                self._places.setdefault(word, []).append(place)
        self._words = list(self._places)
        self._sharing: dict[tuple[str, int], list[int]] = {}
        """Words by a pair of letters and their length: only words about as long can be meant."""
        for number, word in enumerate(self._words):
            for pair in _pairs(word):
                self._sharing.setdefault((pair, len(word)), []).append(number)

    def near(self, typed: str) -> set[int]:
        """The texts that hold a word most like `typed`; none for words that are short or mostly digits."""
        found: set[int] = set()
        for word in self.alike(typed):
            found.update(self._places[word])
        return found

    def alike(self, typed: str) -> list[str]:
        """The words with the fewest mistakes: at most one in four letters, two from five on."""
        letters = sum(c.isalpha() for c in typed)
        if letters < 3 or letters * 2 < len(typed):
            return []
        allowed = 1 if len(typed) < 5 else 2
        best: dict[int, list[str]] = {}
        for word in self._candidates(typed, allowed):
            best.setdefault(_mistakes(typed, word, allowed), []).append(word)
        nearest = next((best[n] for n in range(allowed + 1) if n in best), [])
        return [word for word in nearest if word[0] == typed[0]] or nearest  # the first letter is seldom wrong

    def _candidates(self, typed: str, allowed: int) -> list[str]:
        shared: Counter[int] = Counter()
        for length in range(len(typed) - allowed, len(typed) + allowed + 1):
            for pair in _pairs(typed):
                shared.update(self._sharing.get((pair, length), ()))
        words = self._words
        # Of two words that are as much alike, the more usual one is more likely meant.
        best = heapq.nlargest(_CANDIDATES, shared, key=lambda n: (shared[n], len(self._places[words[n]])))
        return [words[n] for n in best]


def _pairs(word: str) -> set[str]:
    padded = f" {word} "
    return {padded[i : i + 2] for i in range(len(padded) - 1)}


def _mistakes(typed: str, word: str, allowed: int) -> int:
    """The optimal string alignment distance; more than `allowed` as soon as it cannot be less."""
    before: Sequence[int] = ()
    line: Sequence[int] = range(len(word) + 1)
    for i, letter in enumerate(typed, 1):
        following = [i]
        for j, other in enumerate(word, 1):
            cost = min(line[j] + 1, following[j - 1] + 1, line[j - 1] + (letter != other))
            if i > 1 and j > 1 and letter == word[j - 2] and typed[i - 2] == other:
                cost = min(cost, before[j - 2] + 1)
            following.append(cost)
        if min(following) > allowed:
            return allowed + 1
        before, line = line, following
    return line[-1]
