"""What a judge said: read with tolerance for form and none for doubt, and both orders put together.

A judge that cannot be read has not judged: that is an error, never a tie. In prose only what stands on a line of its
own counts, since judges quote the answers that they judge, and answers may hold verdicts.
"""

from __future__ import annotations

import ast
import json
import re
import unicodedata
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from nbllm.compare.cells import Arm, Duel, Outcome, Row
from nbllm.compare.judge import JudgeAsk, JudgePlan, cells_by_arm
from nbllm.credentials.redaction import redact
from nbllm.foreign import one_line

Side = Literal["A", "B", "tie"]

_READ_MOST = 100_000
"""A longer answer of a judge is not read."""
_OBJECTS_MOST = 20
_WHO = r"(?:the\s+)?(?:answer|model|response|assistant|candidate|option|text|output)[\s_:-]*"
_VALUE = re.compile(
    rf"(?:{_WHO})?(?P<side>[ab])(?:\s+(?:wins|is\s+better|is\s+the\s+winner))?"
    r"|(?P<tie>(?:it'?s\s+)?(?:a\s+)?(?:tie|draw)|equal|tied)",
    re.IGNORECASE,
)
_THINKING = re.compile(r"\A\s*<think>.*?</think>", re.DOTALL)
_LINE = re.compile(
    r"^[ \t>#*_`-]*(?:(?:my|the|final|overall|so|therefore)[ \t,]+){0,3}verdict[ \t*_`\"']*"
    r"(?:(?:is\b|[:=]|-)\s*|\n\s*)(?P<value>[^\n]*)$",
    re.IGNORECASE | re.MULTILINE,
)
_CUT = re.compile(
    r"\A\s*(?:```\w*\s*)?\{\s*[\"']verdict[\"']\s*:\s*[\"'](?P<value>[^\"'\n]{1,40})[\"']\s*,", re.IGNORECASE
)
_CLAIM = re.compile(
    r"\b(A|B)\s+(?:wins\b|(?:is|was)\s+(?:\w+ly\s+|much\s+)?(?:the\s+)?(?:better|winner|superior|stronger)\b)"
    r"|\b(?:winner|verdict)\s*(?:is|:)\s*(?:answer\s+)?(A|B)\b"
)
_TRAILING_COMMA = re.compile(r",(?=\s*[}\]])")
_DECORATION = " \t\r\n*_`\"'“”‘’«»[](){}<>.:,;!"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the judge said of the answers as they were called in the question."""

    side: Side
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """The judge's answer says nothing, or two things."""

    problem: str
    """One line."""


def read_verdict(text: str) -> Verdict | Unreadable:
    """Read the judge's answer: JSON with a `verdict`, also in a fence or behind prose, or a line `Verdict: A`.

    Never guesses: several verdicts that differ, a value such as `A or B` or `C`, and no verdict at all are unreadable.
    """
    if len(text) > _READ_MOST:
        return Unreadable(f"the judge's answer has more than {_READ_MOST} characters")
    text = _THINKING.sub("", text).strip()
    if not text:
        return Unreadable("the judge's answer is empty")
    objects, prose = _in_objects(text)
    verdicts = objects or _in_lines(text)
    if not verdicts:
        return Unreadable("no verdict in the judge's answer")
    bad = next((v for v in verdicts if isinstance(v, Unreadable)), None)
    if bad is not None:
        return bad
    sides = {v.side for v in verdicts if isinstance(v, Verdict)} | (_claimed(prose) if objects else set())
    return verdicts[-1] if len(sides) == 1 else Unreadable(f"several verdicts: {', '.join(sorted(sides))}")


def _reading(value: Any, reason: Any = "") -> Verdict | Unreadable:
    side = _side(value)
    if side is None:
        return Unreadable(f"the verdict is {one_line(repr(value), 60)}, not A, B or tie")
    return Verdict(side, one_line(reason, 1000) if isinstance(reason, str) else "")


def _side(value: Any) -> Side | None:
    if not isinstance(value, str):
        return None
    match = _VALUE.fullmatch(unicodedata.normalize("NFKC", value).strip(_DECORATION))
    if match is None:
        return None
    if match["tie"]:
        return "tie"
    return "A" if match["side"].upper() == "A" else "B"


# ---------------------------------------------------------------- as JSON


def _in_objects(text: str) -> tuple[list[Verdict | Unreadable], str]:
    """The verdicts of the JSON objects that stand by themselves, not inside a sentence; and what else is said."""
    found: list[Verdict | Unreadable] = []
    prose, last = [], 0
    for start, end in _objects(text):
        prose.append(text[last:start])
        last = end
        if _stands_alone(text, start, end):
            found += _of_object(text[start:end])
    prose.append(text[last:])
    if not found and (match := _CUT.match(text)):  # the reason was cut off; the verdict before it was not
        return [_reading(match["value"])], ""
    return found, "\n".join(prose)


def _claimed(prose: str) -> set[Side]:
    """Sides that the words around an object call better: if another than the object's, it was perhaps a quotation."""
    sides: set[Side] = set()
    for match in _CLAIM.finditer(prose):
        sides.add("A" if "A" in match.groups() else "B")
    return sides


def _stands_alone(text: str, start: int, end: int) -> bool:
    before = text[:start].rpartition("\n")[2].strip(" \t*_`>")
    after = text[end:].partition("\n")[0].strip(" \t*_`.")
    return not after and (not before or before.endswith(":") or before.casefold() == "json")


def _objects(text: str) -> Iterator[tuple[int, int]]:
    """Where the outermost objects begin and end; braces inside of strings do not count."""
    start = text.find("{")
    for _ in range(_OBJECTS_MOST):
        if start < 0:
            return
        end = _end_of_object(text, start)
        if end is not None:
            yield start, end
        start = text.find("{", start + 1 if end is None else end)


def _end_of_object(text: str, start: int) -> int | None:
    depth, quote, place = 0, "", start
    while place < len(text):
        char = text[place]
        if quote:
            if char == "\\":
                place += 1
            elif char == quote and not (quote == "'" and text[place + 1 : place + 2].isalnum()):  # it's
                quote = ""
        elif char == '"' or (char == "'" and text[place - 1] in " \t\n{[:,"):
            quote = char
        elif char in "{}":
            depth += 1 if char == "{" else -1
            if depth == 0:
                return place + 1
        place += 1
    return None


def _of_object(text: str) -> list[Verdict | Unreadable]:
    pairs = _pairs(text)
    if pairs is None:
        return [Unreadable("the JSON of the verdict is broken")] if "verdict" in text.casefold() else []
    inner = [value for _, value in pairs if isinstance(value, _Pairs)]  # {"result": {"verdict": "A"}}
    return _of_pairs(pairs) or [verdict for nested in inner for verdict in _of_pairs(nested)]


def _of_pairs(pairs: _Pairs) -> list[Verdict | Unreadable]:
    reasons = [value for name, value in pairs if _is_name(name, "reason")]
    return [_reading(value, *reasons[:1]) for name, value in pairs if _is_name(name, "verdict")]


def _is_name(name: Any, wanted: str) -> bool:
    return isinstance(name, str) and name.strip().casefold() == wanted


class _Pairs(list[tuple[str, Any]]):
    """An object of JSON with the names that come twice."""


def _pairs(text: str) -> _Pairs | None:
    for candidate in (text, _TRAILING_COMMA.sub("", text)):
        try:
            found = json.loads(candidate, object_pairs_hook=_Pairs, strict=False)
        except (ValueError, RecursionError):
            continue
        return found if isinstance(found, _Pairs) else None
    return _python_pairs(text)


def _python_pairs(text: str) -> _Pairs | None:
    """`{'verdict': 'A'}`, as Python writes it."""
    try:
        with warnings.catch_warnings(action="ignore"):  # of backslashes in what is no Python
            tree = ast.parse(text.strip(), mode="eval").body
        if not isinstance(tree, ast.Dict):
            return None
        return _Pairs(
            (str(ast.literal_eval(name)), ast.literal_eval(value))
            for name, value in zip(tree.keys, tree.values, strict=True)
            if name is not None
        )
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


# ---------------------------------------------------------------- as prose


def _in_lines(text: str) -> list[Verdict | Unreadable]:
    """`Verdict: A` on lines of its own, `[[A]]` as some judges were taught, or nothing but the word."""
    if _side(text) is not None:
        return [_reading(text)]
    found = [_reading(_first_sentence(m["value"])) for m in _LINE.finditer(text)]
    found += [_reading(m[1]) for m in re.finditer(r"^\W*\[\[([ABCabc]|tie)\]\]\W*$", text, re.MULTILINE)]
    return found


def _first_sentence(line: str) -> str:
    return re.split(r"[.;]\s", line.strip(_DECORATION + "=-"), maxsplit=1)[0]


# ---------------------------------------------------------------- both orders together


@dataclass(frozen=True, slots=True)
class JudgeError:
    """A question to the judge that brought no verdict."""

    prompt_id: str
    repeat: int
    a: str
    b: str
    order: str
    kind: Literal["unreadable", "failed", "not asked"]
    why: str
    """One line, redacted."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What came of a plan: duels, and what went wrong."""

    duels: Sequence[Duel]
    """In the order of the plan; equal texts are among them, `consistent` None."""
    errors: Sequence[JudgeError]
    verdicts: Sequence[tuple[JudgeAsk, Verdict]]
    """The raw verdicts, as far as they could be read."""


def duels_of(plan: JudgePlan, outcomes: Iterable[Outcome]) -> Judgement:
    """Put both orders of each pair together.

    The same winner in both orders wins; anything else is a tie that is not `consistent`, unless both said tie. A pair
    of which one order failed or cannot be read is no duel.
    """
    came = {outcome.key: outcome for outcome in outcomes}
    verdicts: list[tuple[JudgeAsk, Verdict]] = []
    errors: list[JudgeError] = []
    by_pair: dict[tuple[str, int, str, str], dict[str, Verdict]] = {}
    for ask in plan.asks:
        said = _said(ask, came.get(ask.spec.key))
        if isinstance(said, JudgeError):
            errors.append(said)
        else:
            verdicts.append((ask, said))
            by_pair.setdefault((ask.prompt_id, ask.repeat, ask.a, ask.b), {})[ask.order] = said
    duels = [_duel(*pair, said) for pair, said in by_pair.items() if len(said) == 2]
    return Judgement((*duels, *plan.identical), tuple(errors), tuple(verdicts))


def _said(ask: JudgeAsk, outcome: Outcome | None) -> Verdict | JudgeError:
    if outcome is None:
        return _error(ask, "not asked", "the judge was not asked")
    if outcome.status != "ok":
        return _error(ask, "failed", f"{outcome.error_type or 'error'}: {outcome.error or ''}")
    said = read_verdict(outcome.text)
    return _error(ask, "unreadable", said.problem) if isinstance(said, Unreadable) else said


def _error(ask: JudgeAsk, kind: Literal["unreadable", "failed", "not asked"], why: str) -> JudgeError:
    return JudgeError(ask.prompt_id, ask.repeat, ask.a, ask.b, ask.order, kind, one_line(redact(why)))


def _duel(prompt_id: str, repeat: int, a: str, b: str, said: Mapping[str, Verdict]) -> Duel:
    winners = {winner_of(order, verdict) for order, verdict in said.items()}
    consistent = len(winners) == 1
    return Duel(
        prompt_id,
        repeat,
        a,
        b,
        winners.pop() if consistent else "tie",
        "judge",
        consistent,
        tuple(said[order].reason for order in ("ab", "ba")),
    )


def winner_of(order: str, verdict: Verdict) -> Literal["a", "b", "tie"]:
    """Which of a duel's arms a verdict is for: in the order `ba` the first answer is that of `b`."""
    if verdict.side == "tie":
        return "tie"
    return "a" if (verdict.side == "A") == (order == "ab") else "b"


# ---------------------------------------------------------------- into the table, and beside people


def judge_column(duels: Iterable[Duel], rows: Sequence[Row], arms: Sequence[Arm]) -> list[float | None]:
    """For each row the share of its duels that it won, a tie being half of one; None: it was in none."""
    points: dict[tuple[str, int, str], list[float]] = {}
    for duel in duels:
        won = {"a": 1.0, "b": 0.0, "tie": 0.5}[duel.winner]
        points.setdefault((duel.prompt_id, duel.repeat, duel.a), []).append(won)
        points.setdefault((duel.prompt_id, duel.repeat, duel.b), []).append(1 - won)
    places = {id(row): place for place, row in cells_by_arm(rows, arms).items()}
    return [_mean(points.get(places.get(id(row), ("", -1, "")), ())) for row in rows]


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def aligned_winners(judged: Iterable[Duel], votes: Iterable[Duel]) -> list[tuple[str, str]]:
    """What the judge and what a person said of the same pair of answers, as `a`, `b` or `tie` of the judge's duel.

    A pair on which several people voted is there once for each; one that only one side knows is left out.
    """
    said = {(duel.prompt_id, duel.repeat, duel.a, duel.b): duel.winner for duel in judged}
    swapped = {"a": "b", "b": "a", "tie": "tie"}
    pairs: list[tuple[str, str]] = []
    for vote in votes:
        if (vote.prompt_id, vote.repeat, vote.a, vote.b) in said:
            pairs.append((said[vote.prompt_id, vote.repeat, vote.a, vote.b], vote.winner))
        elif (vote.prompt_id, vote.repeat, vote.b, vote.a) in said:
            pairs.append((said[vote.prompt_id, vote.repeat, vote.b, vote.a], swapped[vote.winner]))
    return pairs
