"""What `demo/guide` knows: short topics from `guide.md`, found by the words of the question.

A topic is a heading, a comment with the words people use for it, and a text. The score of a topic is the sum,
over the question's words, of how rare the word is among the topics, three times that where it stands in the
heading or the comment. A topic with none of the words there, or with fewer than a third of them in all, does
not count. There is no model, and none is imitated: when nothing fits, the guide says so.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

_TOPIC = re.compile(r"^## (?P<title>[^\n]+)\n<!-- (?P<words>[^\n]*) -->\n(?P<text>.*?)(?=^## |\Z)", re.M | re.S)
_ENOUGH = 2.0
"""A question whose best topic scores less is answered with the list of topics."""

_STOPWORDS = frozenset(
    """
    a about again all also am an and any are as at be but by can could did do does for from get give go has have how
    i if in into is it its just like may me more much my need no not now of on one or our out over please question say
    see should show so some still tell than thank that the their them then there these they thing this to too up us
    use using want was we well what when where which why will with work would yes you your
    """.split()  # noqa: SIM905  (a word a line would be ninety lines)
)


@dataclass(frozen=True, slots=True)
class Topic:
    """One piece of the guide."""

    title: str
    text: str
    heading: frozenset[str]
    titled: frozenset[str]
    """Words of the heading and the comment."""
    written: frozenset[str]
    """Words of the text."""


def reply_from_guide(questions: list[str]) -> str:
    """The topic that fits the last question.

    A question without a word of its own ("and then?") is answered with the next best topic of the one before.
    """
    last = questions[-1] if questions else ""
    ranked = _rank(last)
    if not _words(last) and len(questions) > 1:
        ranked = _rank(questions[-2])[1:]
    if not ranked:
        return _nothing_fits() if _words(last) else _overview()
    best, *others = ranked
    more = f"\n\nSee also: {', '.join(f'*{t.title}*' for t in others[:3])}." if others else ""
    return f"### {best.title}\n\n{best.text}{more}"


@lru_cache(maxsize=1)
def topics() -> tuple[Topic, ...]:
    """All topics, in the order of the file."""
    source = files("nbllm.transport.demo").joinpath("guide.md").read_text(encoding="utf-8")
    return tuple(
        Topic(
            m["title"], m["text"].strip(), _words(m["title"]), _words(f"{m['title']} {m['words']}"), _words(m["text"])
        )
        for m in _TOPIC.finditer(source)
    )


def _words(text: str) -> frozenset[str]:
    found = re.findall(r"[a-z0-9]+", text.lower())
    words = [_stem(w) for w in found if w not in _STOPWORDS]
    # Short numbers beside words are the user's data; 401 and 429 are topics.
    return frozenset(w for w in words if len(w) > 2 or not w.isdigit()) or frozenset(words)


def _stem(word: str) -> str:
    """`keys`, `streaming` and `attached` meet `key`, `stream` and `attach`."""
    for ending in ("ing", "ed", "es", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 3 and not word.endswith("ss"):
            return word.removesuffix(ending)
    return word


def _rank(question: str) -> list[Topic]:
    asked = _words(question)
    scored = [(_score(asked, topic), -place, topic) for place, topic in enumerate(topics())]
    return [topic for score, _, topic in sorted(scored, key=lambda s: s[:2], reverse=True) if score >= _ENOUGH]


def _score(asked: frozenset[str], topic: Topic) -> float:
    known = asked & (topic.titled | topic.written)
    if not asked & topic.titled or 3 * len(known) <= len(asked):
        return 0.0
    return sum(_rarity(word) * _weight(word, topic) for word in known)


def _weight(word: str, topic: Topic) -> int:
    return 4 if word in topic.heading else 3 if word in topic.titled else 1


def _rarity(word: str) -> float:
    having = sum(1 for t in topics() if word in t.titled or word in t.written)
    return math.log(1 + len(topics()) / having) if having else 0.0


def _overview() -> str:
    return f"### {topics()[0].title}\n\n{topics()[0].text}\n\nAsk about one of these, in your own words:\n\n{_listed()}"


def _nothing_fits() -> str:
    return (
        "The guide knows about nbllm only, and nothing in it fits your question. It is not a model, so it cannot "
        f"think of an answer either. Ask about one of these, in your own words:\n\n{_listed()}\n\n"
        "For anything else choose a real model: `%llm_providers` shows which providers you can use."
    )


def _listed() -> str:
    return "\n".join(f"- {t.title}" for t in topics())
