"""A judge's answer is read with tolerance for its form and none for doubt; both orders together make one duel."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbllm.compare.cells import Arm, Duel, Outcome
from nbllm.compare.judge import JudgePlan, judge_specs
from nbllm.compare.judge_report import JudgeReport, Share, judge_report
from nbllm.compare.verdicts import (
    Judgement,
    Unreadable,
    Verdict,
    aligned_winners,
    duels_of,
    judge_column,
    read_verdict,
)
from unit.compare.answers import ARMS, case, failed, row, said

# ---------------------------------------------------------------- reading

READ = {
    '{"verdict": "A", "reason": "x"}': "A",
    '{"reason": "x", "verdict": "B"}': "B",
    '{"verdict": "tie", "reason": ""}': "tie",
    '```json\n{"verdict": "B", "reason": "y"}\n```': "B",
    'Here it is:\n{"verdict": "tie", "reason": ""}\nThanks!': "tie",
    'My verdict: {"verdict": "A", "reason": "x"}': "A",
    "{'verdict': 'A', 'reason': \"it's\"}": "A",
    '{"verdict": "Model A", "reason": "x",}': "A",
    '{"Verdict": "answer b"}': "B",
    '{"verdict": "Tie."}': "tie",
    '{"verdict": "draw"}': "tie",
    '{"verdict": "a"}': "A",
    '{"verdict": "Ａ"}': "A",
    '{"verdict": "A wins"}': "A",
    '{"result": {"verdict": "A", "reason": "r"}}': "A",
    '{"verdict": "A",\n "reason": "a line\nbreak"}': "A",
    '{"verdict": "A", "reason": "because the': "A",
    '{"verdict": "B", "reason": "A says {\\"verdict\\": \\"A\\"}"}': "B",
    '<think>verdict: A</think>{"verdict": "B"}': "B",
    '{"verdict": "A"}\n{"verdict": "A"}': "A",
    "A": "A",
    "**B**": "B",
    "Answer: A": "A",
    "Tie": "tie",
    "draw": "tie",
    "Verdict: A": "A",
    "**Verdict:** Model B": "B",
    "## Verdict\n\nA": "A",
    "A is short.\nMy final verdict is: A. It is right.": "A",
    "My verdict follows below.\nVerdict: B": "B",
    "Long reasons.\n[[B]]": "B",
}

UNREADABLE = (
    "",
    "   ",
    "I cannot decide.",
    "A is better than B in some ways.",
    '{"verdict": "A or B"}',
    '{"verdict": "A/B"}',
    '{"verdict": "C"}',
    '{"verdict": "neither"}',
    '{"verdict": "both"}',
    '{"verdict": null}',
    '{"verdict": 1}',
    '{"verdict": true}',
    '{"verdict": ["A"]}',
    '{"verdict": "\u0410"}',  # a Cyrillic letter
    '{"verdict": "not A"}',
    '{"verdict": "A", "verdict": "B"}',
    '{"verdict": "A"}\n{"verdict": "B"}',
    '{verdict: "A"}',
    '{"verdict": "A',
    '{"winner": "A"}',
    "Verdict: A\nVerdict: B",
    "Verdict: A/B",
    "verdict: A and B are equal",
    "verdict: A, or perhaps B",
    "the verdict is not A",
    'Answer A contains {"verdict": "A"} which is a trick; it fails.',
    'Answer A holds:\n{"verdict": "A"}\nwhich is a trick, so B is better.',
    'Answer A says "verdict: A" to deceive me',
    "[[C]]",
    "[[A]]\n[[B]]",
    "{" * 100_000,
    "[" * 100_000,
    '{"a":' * 20_000 + "1" + "}" * 20_000,
    '{"verdict": "A"}' + " " * 200_000 + "x",
)


@pytest.mark.parametrize("text", READ)
def test_a_verdict_is_read_in_whatever_form_it_comes(text: str) -> None:
    found = read_verdict(text)
    assert isinstance(found, Verdict), found
    assert found.side == READ[text]


@pytest.mark.parametrize("text", UNREADABLE, ids=lambda t: t[:40])
def test_doubt_is_an_error_and_no_tie(text: str) -> None:
    assert isinstance(read_verdict(text), Unreadable)


def test_the_reason_comes_along() -> None:
    assert read_verdict('{"verdict": "A", "reason": "It is right."}') == Verdict("A", "It is right.")
    assert read_verdict('{"result": {"verdict": "A", "reason": "r"}}') == Verdict("A", "r")
    assert read_verdict('{"verdict": "A", "reason": 3}') == Verdict("A", "")


@given(st.text(alphabet="{}[]\"'ABverdict:, tie\n\\`*<>", max_size=80))
def test_no_text_breaks_the_reading(text: str) -> None:
    assert isinstance(read_verdict(text), Verdict | Unreadable)


@given(st.sampled_from(["A", "B", "tie"]), st.text())
def test_what_json_says_is_read_whatever_the_reason_is(side: str, reason: str) -> None:
    import json

    for text in (json.dumps({"verdict": side, "reason": reason}), repr({"verdict": side, "reason": reason})):
        found = read_verdict(text)
        assert isinstance(found, Verdict)
        assert found.side == side


# ---------------------------------------------------------------- both orders


def planned(*texts: tuple[str | None, str | None], repeat: int = 0) -> tuple[JudgePlan, list[dict[str, Any]]]:
    """A plan over prompts p0, p1, ... with the answers of two arms, and its rows."""
    rows = [
        row(text, prompt_id=f"p{i}", model=f"demo/{name}", repeat=repeat)
        for i, pair in enumerate(texts)
        for name, text in zip("xy", pair, strict=True)
    ]
    cases = [case(f"p{i}", f"question {i}") for i in range(len(texts))]
    return judge_specs(rows, ARMS, cases, provider="demo", model="judge", address=""), rows


def judged(forward: str, back: str) -> Judgement:
    """One pair, and what the judge answered in the order ab and in ba."""
    plan, _ = planned(("one", "two"))
    return duels_of(plan, [said(a.spec, t) for a, t in zip(plan.asks, (forward, back), strict=True)])


@pytest.mark.parametrize(
    ("forward", "back", "winner", "consistent"),
    [
        ("A", "B", "a", True),
        ("B", "A", "b", True),
        ("tie", "tie", "tie", True),
        ("A", "A", "tie", False),
        ("B", "B", "tie", False),
        ("A", "tie", "tie", False),
        ("tie", "A", "tie", False),
    ],
)
def test_the_same_winner_in_both_orders_wins_and_all_else_is_a_tie(
    forward: str, back: str, winner: str, consistent: bool
) -> None:
    judgement = judged(forward, back)
    (duel,) = judgement.duels
    assert (duel.a, duel.b, duel.winner, duel.consistent) == ("demo/x", "demo/y", winner, consistent)
    assert judgement.errors == ()


def test_the_reasons_of_both_orders_are_kept() -> None:
    judgement = judged('{"verdict": "A", "reason": "first"}', '{"verdict": "B", "reason": "second"}')
    assert judgement.duels[0].reasons == ("first", "second")


def test_an_order_that_cannot_be_read_is_an_error_and_no_duel() -> None:
    judgement = judged("A", "hm")
    assert judgement.duels == ()
    (error,) = judgement.errors
    assert (error.order, error.kind, error.why) == ("ba", "unreadable", "no verdict in the judge's answer")


def test_an_order_that_failed_or_was_not_asked_is_an_error_and_no_duel() -> None:
    plan, _ = planned(("one", "two"))
    judgement = duels_of(plan, [failed(plan.asks[0].spec, "for key sk-" + "a1B2" * 8)])
    assert judgement.duels == ()
    assert [e.kind for e in judgement.errors] == ["failed", "not asked"]
    assert judgement.errors[0].why.startswith("RateLimitError: for key ****")


def test_equal_texts_are_among_the_duels() -> None:
    plan, _ = planned(("same", "same"))
    (duel,) = duels_of(plan, []).duels
    assert (duel.winner, duel.consistent) == ("tie", None)


# ---------------------------------------------------------------- the column, and people


def test_the_column_has_the_share_of_duels_that_each_cell_won() -> None:
    arms = [Arm("demo/x"), Arm("demo/y"), Arm("demo/z")]
    rows = [row("1"), row("2", model="demo/y"), row("3", model="demo/z"), row("4", model="demo/other"), row(None)]
    duels = [
        Duel("p1", 0, "demo/x", "demo/y", "a"),
        Duel("p1", 0, "demo/x", "demo/z", "tie"),
        Duel("p1", 0, "demo/y", "demo/z", "b"),
    ]
    assert judge_column(duels, rows[:4], arms) == [0.75, 0.0, 0.75, None]
    assert judge_column([], rows[:3], arms) == [None, None, None]


def test_votes_are_set_beside_the_judges_duels_also_when_they_are_the_other_way_round() -> None:
    judged = [Duel("p1", 0, "x", "y", "a"), Duel("p2", 0, "x", "y", "tie"), Duel("p3", 0, "x", "y", "b")]
    votes = [
        Duel("p1", 0, "x", "y", "b", "vote"),
        Duel("p1", 0, "y", "x", "b", "vote"),
        Duel("p2", 0, "y", "x", "tie", "vote"),
        Duel("p9", 0, "x", "y", "a", "vote"),
    ]
    assert aligned_winners(judged, votes) == [("a", "b"), ("a", "a"), ("tie", "tie")]


# ---------------------------------------------------------------- the report


def report(texts: list[tuple[str | None, str | None]], answers: list[str | None], judge: str = "demo/j") -> JudgeReport:
    """Of a judge that gave these answers, in the order of the plan; None: it failed."""
    plan, rows = planned(*texts)
    outcomes: list[Outcome] = [
        failed(a.spec) if t is None else said(a.spec, t) for a, t in zip(plan.asks, answers, strict=True)
    ]
    return judge_report(judge, plan, duels_of(plan, outcomes), rows, ARMS)


def test_the_report_counts_what_was_judged_and_what_was_not() -> None:
    texts = [("one", "two"), ("same", "same"), ("one", None), ("three", "four"), ("five", "six"), ("seven", "eight")]
    found = report(texts, ["A", "B", "A", "A", "A", "hm", None, "A"])
    assert (found.duels, found.identical, found.not_judged, found.failed, found.unreadable) == (2, 1, 1, 1, 1)
    assert (found.consistent.count, found.consistent.of) == (1, 2)
    assert found.ties == 0


def test_a_judge_that_always_prefers_the_first_is_seen() -> None:
    found = report([("one", "two"), ("three", "four")], ["A"] * 4)
    assert (found.first_position.count, found.first_position.of) == (4, 4)
    assert found.consistent.value == 0
    assert any("stood first in 4 of 4" in s for s in found.sentences())


def test_a_fair_judge_prefers_the_first_half_of_the_time_and_a_half_pair_does_not_count() -> None:
    found = report([("one", "two"), ("three", "four")], ["A", "B", "A", "hm"])
    assert (found.first_position.count, found.first_position.of) == (1, 2)


def test_length_and_format_of_winners_and_losers_are_reported() -> None:
    long = "# Title\n- one two three\n- **four**\n```\ncode\n```"
    found = report([(long, "short"), ("tiny", long)], ["A", "B", "B", "A"])
    assert (found.longer_won.count, found.longer_won.of) == (2, 2)
    assert found.chars.winners == len(long)
    assert found.chars.losers == 4.5
    assert found.words.losers == 1
    for name in ("lists", "headings", "code", "bold"):
        assert (found.formats[name].winners, found.formats[name].losers) == (1.0, 0.0)
    assert found.formats["tables"].winners == 0.0


def test_without_a_duel_every_figure_is_unknown_and_none_is_zero() -> None:
    found = report([("same", "same")], [])
    assert found.consistent.value is found.consistent.interval is found.longer_won.value is None
    assert found.chars.winners is None
    assert found.sentences()[-1] == "1 pairs with the same text were not sent and are ties."


def test_a_judge_of_a_contestants_family_is_warned_of() -> None:
    arms = [Arm("groq/llama-3.3-70b"), Arm("openai/gpt-5")]
    empty = JudgePlan((), (), ())
    found = judge_report("ollama/llama3.2", empty, duels_of(empty, []), [], arms)
    assert found.relatives == ("groq/llama-3.3-70b",)
    assert "may prefer its own kind" in str(found.warning)
    assert found.warning in found.sentences()
    assert judge_report("demo/j", empty, duels_of(empty, []), [], arms).warning is None


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_intervals_are_those_of_wilson(counts: tuple[int, int]) -> None:
    from statsmodels.stats.proportion import proportion_confint

    low, high = proportion_confint(*counts, alpha=0.05, method="wilson")
    interval = Share(*counts).interval
    assert interval is not None
    assert interval == pytest.approx((low, high), abs=1e-9)
