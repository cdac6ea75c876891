"""Scoring is apart from asking: a failing scorer costs one score, never the run, and it can be done again."""

from __future__ import annotations

import asyncio
import threading
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbllm.compare.cells import Case
from nbllm.compare.scorer_kinds import Score
from nbllm.compare.scorers import scorers_of
from nbllm.compare.scoring import Scores, reply_of, score_rows
from nbllm.messages import FinishReason, Reply
from unit.compare.answers import case, row


def scored(function: Any, *texts: str | None) -> Scores:
    """What one function says of answers to one prompt."""
    return score_rows([row(t) for t in texts], [case()], scorers_of({"s": function}))


def test_every_answer_has_a_value_and_an_error_none() -> None:
    rows = [row("Rome", prompt_id="p1"), row(None, prompt_id="p1"), row("Oslo", prompt_id="p2")]
    cases = [case("p1", answer="Rome"), case("p2", answer="Bern")]
    scores = score_rows(rows, cases, scorers_of("exact:answer"))
    assert scores.columns == {"exact": [True, None, False]}
    assert scores.problems == ()
    assert scores.versions == {"exact": "1"}


def test_scoring_again_gives_the_same_and_changes_no_row() -> None:
    rows = [row("Rome")]
    before = [dict(r) for r in rows]
    scorers = scorers_of(["regex:answer", "numeric:n"])
    cases = [case(answer="R.*e", n=1)]
    assert score_rows(rows, cases, scorers) == score_rows(rows, cases, scorers)
    assert rows == before


def test_a_scorer_sees_the_answer_as_a_reply_with_the_facts_of_the_cell_and_the_row_of_data() -> None:
    seen: list[tuple[Reply, Case]] = []
    cell = row(
        "hi", params={"temperature": 0.5}, input_tokens=3, output_tokens=4, usage_source="estimate",
        latency_ms=12.5, cost_usd="0.25", finish_reason="length",
    )  # fmt: skip
    score_rows([cell], [case(city="Rome")], scorers_of(lambda r, c: seen.append((r, c))))
    answer, asked = seen[0]
    assert (answer.text, answer.provider, answer.model, answer.ref) == ("hi", "demo", "x", "demo/x")
    assert (answer.params, answer.usage.input_tokens, answer.usage.output_tokens) == ({"temperature": 0.5}, 3, 4)
    assert (answer.usage.source, answer.latency_ms, answer.cost_usd) == ("estimate", 12.5, Decimal("0.25"))
    assert answer.finish_reason is FinishReason.LENGTH
    assert asked["city"] == "Rome"


def test_what_is_unknown_of_a_cell_is_none_for_the_scorer() -> None:
    answer = reply_of({"model": "demo/x", "text": None, "status": "ok", "finish_reason": "novel"})
    assert (answer.text, answer.cost_usd, answer.latency_ms, answer.usage.output_tokens) == ("", None, None, None)
    assert answer.finish_reason is FinishReason.OTHER


def test_params_and_vars_may_be_written_as_json_and_a_row_may_be_its_own_case() -> None:
    cell = row("Rome", prompt_id="unknown", params='{"n": 1}', vars='{"answer": "Rome"}')
    assert score_rows([cell], [], scorers_of("exact:answer")).columns == {"exact": [True]}
    assert reply_of(cell).params == {"n": 1}


def test_a_scorer_that_raises_leaves_a_gap_with_its_reason_and_the_others_go_on() -> None:
    def touchy(answer: Reply, asked: Case) -> bool:
        if answer.text == "bad":
            raise KeyError("nothing\nhere")
        return True

    scores = score_rows([row("ok"), row("bad"), row("ok")], [case()], scorers_of([touchy, ("other", lambda r, c: 1)]))
    assert scores.columns == {"touchy": [True, None, True], "other": [1.0, 1.0, 1.0]}
    assert [(p.row, p.scorer, p.reason) for p in scores.problems] == [(1, "touchy", "KeyError: 'nothing\\nhere'")]
    assert scores.problems[0].cell_key == "p1-demo/x-0"
    assert scores.notes() == ["touchy: 1 of 3 cells have no score, the first because: KeyError: 'nothing\\nhere'"]


def test_a_scorer_that_wants_to_end_the_program_is_one_that_raises() -> None:
    def leave(answer: Reply, asked: Case) -> None:
        raise SystemExit(3)

    assert scored(leave, "x").problems[0].reason == "SystemExit: 3"


def test_no_key_stands_in_a_reason() -> None:
    key = "sk-" + "a1B2" * 8

    def leaky(answer: Reply, asked: Case) -> None:
        raise RuntimeError(f"401 for {key}")

    scores = scored(leaky, "x")
    assert key not in repr(scores)
    assert "****" in scores.problems[0].reason


def test_an_interrupt_stops_scoring() -> None:
    def interrupted(answer: Reply, asked: Case) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scored(interrupted, "x")


NONSENSE = [
    "yes",
    b"1",
    float("nan"),
    float("inf"),
    10**400,
    [1],
    object(),
    Score("yes"),
    {"a": "yes"},
    {"a": {"b": 1}},
]


@pytest.mark.parametrize("result", NONSENSE, ids=lambda r: repr(r)[:20])
def test_nonsense_is_a_gap_with_a_reason(result: Any) -> None:
    scores = scored(lambda r, c: result, "x")
    assert list(scores.columns.values()) == [[None]]
    assert len(scores.problems) == 1
    assert scores.notes()


def test_numbers_and_bools_of_numpy_and_others_are_plain_ones() -> None:
    import numpy as np

    for value in (np.float32(0.5), np.float64(0.5), Decimal("0.5"), np.array(0.5), np.array([0.5])):
        assert scored(lambda r, c, value=value: value, "x").columns == {"s": [0.5]}
    for value in (np.int64(2), 2):
        found = scored(lambda r, c, value=value: value, "x").columns["s"][0]
        assert found == 2.0
        assert type(found) is float
    assert scored(lambda r, c: np.bool_(True), "x").columns["s"][0] is True
    assert scored(lambda r, c: np.array([1, 2]), "x").columns == {"s": [None]}


def test_none_is_no_score_and_no_problem() -> None:
    scores = scored(lambda r, c: None, "x")
    assert scores.columns == {"s": [None]}
    assert scores.problems == ()


def test_a_dict_makes_a_column_for_each_key_and_its_reason_is_kept() -> None:
    def both(answer: Reply, asked: Case) -> dict[str, Any]:
        return {"length": len(answer.text), "polite": "please" in answer.text, "reason": f"it says {answer.text}"}

    scores = scored(both, "please", None, "no")
    assert scores.columns == {"s.length": [6.0, None, 2.0], "s.polite": [True, None, False]}
    assert scores.reasons == {"s": ["it says please", None, "it says no"]}


def test_a_dict_scorer_that_raises_once_has_the_columns_of_its_keys_only() -> None:
    scores = scored(lambda r, c: {"a": 1 / len(r.text)}, "", "x")
    assert scores.columns == {"s.a": [None, 1.0]}
    assert scores.notes() == ["s: 1 of 2 cells have no score, the first because: ZeroDivisionError: division by zero"]


def test_keys_that_come_and_go_leave_gaps_and_too_many_are_refused() -> None:
    scores = scored(lambda r, c: {r.text: 1}, *(f"word{i}" for i in range(60)))
    assert len(scores.columns) == 50
    assert all(sum(v is not None for v in values) == 1 for values in scores.columns.values())
    assert len(scores.problems) == 10


def test_a_score_with_a_reason_is_the_score_and_the_reason() -> None:
    scores = scored(lambda r, c: Score(0.5, "half"), "x")
    assert scores.columns == {"s": [0.5]}
    assert scores.reasons == {"s": ["half"]}


def test_async_functions_are_awaited_several_at_a_time_and_their_errors_kept() -> None:
    together: list[int] = []
    running = 0

    async def remote(answer: Reply, asked: Case) -> float:
        nonlocal running
        running += 1
        together.append(running)
        await asyncio.sleep(0.01)
        running -= 1
        if answer.text == "5":
            raise ValueError("no five")
        return float(answer.text)

    scores = scored(remote, *map(str, range(40)))
    assert scores.columns["s"] == [None if i == 5 else float(i) for i in range(40)]
    assert [p.reason for p in scores.problems] == ["ValueError: no five"]
    assert 1 < max(together) <= 16


def test_an_awaitable_of_an_ordinary_function_is_awaited_too() -> None:
    async def later() -> float:
        return 0.25

    assert scored(lambda r, c: later(), "x").columns == {"s": [0.25]}


def test_async_functions_are_awaited_also_where_a_loop_is_running() -> None:
    async def remote(answer: Reply, asked: Case) -> float:
        return 1.0

    async def cell() -> Scores:
        return scored(remote, "x")

    assert asyncio.run(cell()).columns == {"s": [1.0]}


def test_ordinary_functions_run_in_the_calling_thread() -> None:
    seen: list[threading.Thread] = []
    scored(lambda r, c: seen.append(threading.current_thread()), "x")
    assert seen == [threading.current_thread()]


def test_a_pattern_that_never_ends_costs_its_own_scores_only() -> None:
    scorers = scorers_of("regex:pattern")
    scorers[0].function.matcher.limit_s = 0.2  # type: ignore[attr-defined]
    rows = [row("a" * 60 + "b", prompt_id="slow"), row("a" * 60 + "b", prompt_id="quick")]
    scores = score_rows(rows, [case("slow", pattern="(a+)+$"), case("quick", pattern="a+b")], scorers)
    assert scores.columns == {"regex": [None, True]}
    assert "TimeoutError: the pattern took longer" in scores.problems[0].reason


def test_a_scorer_that_cannot_be_loaded_is_a_column_of_gaps_with_one_note() -> None:
    from dataclasses import replace

    broken = replace(scorers_of({"s": lambda r, c: 1})[0], note="it cannot be loaded")
    scores = score_rows([row("x"), row("y")], [case()], [broken])
    assert scores.columns == {"s": [None, None]}
    assert scores.notes() == ["s: no score at all: it cannot be loaded"]


def test_a_scorer_that_always_fails_still_has_its_column() -> None:
    assert scored(lambda r, c: 1 / 0, "x", "y").columns == {"s": [None, None]}


def test_progress_counts_every_score_to_the_end() -> None:
    told: list[tuple[int, int]] = []
    scorers = scorers_of([("a", lambda r, c: 1), ("b", lambda r, c: 1)])
    score_rows([row("x"), row(None), row("y")], [case()], scorers, progress=lambda *n: told.append(n))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_scores_are_added_to_rows_and_replace_older_ones() -> None:
    rows = [row("x", s=0.0), row("y", s=0.0)]
    added = scored(lambda r, c: r.text == "y", "x", "y").added_to(rows)
    assert [r["s"] for r in added] == [False, True]
    assert [r["s"] for r in rows] == [0.0, 0.0]


def test_no_rows_and_no_scorers_are_no_scores() -> None:
    assert score_rows([], [], scorers_of("exact:a")).columns == {"exact": []}
    assert score_rows([row("x")], [case()], ()).columns == {}


@given(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.dictionaries(st.text(), st.floats()))
)
def test_whatever_comes_back_every_value_is_a_finite_number_a_bool_or_nothing(result: Any) -> None:
    scores = scored(lambda r, c: result, "x")
    values = [v for column in scores.columns.values() for v in column]
    assert all(v is None or isinstance(v, bool) or (type(v) is float and abs(v) < float("inf")) for v in values)
