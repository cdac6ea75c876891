"""The tables of a comparison, from rows of cells."""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Any

import pytest

from nbllm.compare.analysis import (
    consistency_rows,
    duel_agreement,
    duels_from_scores,
    judge_style,
    latency_rows,
    ranking_rows,
    stats_rows,
    summary_rows,
)
from nbllm.compare.cells import Arm, Duel
from nbllm.errors import UnsupportedError, UsageError

A, B, C = Arm("demo/a"), Arm("demo/b"), Arm("demo/c")


def cell(arm: Arm, prompt: int, score: Any = None, repeat: int = 0, **other: Any) -> dict[str, Any]:
    row = {
        "prompt_id": f"p{prompt:03}", "vars": {"topic": prompt // 4}, "model": arm.model, "params": dict(arm.params),
        "repeat": repeat, "status": "ok", "error_type": None, "text": "answer", "latency_ms": 100.0,
        "cost_usd": Decimal("0.01"), "from_store": False, "exact": score,
    }  # fmt: skip
    return row | other


def failed(arm: Arm, prompt: int, repeat: int = 0, error: str = "ServerError") -> dict[str, Any]:
    return cell(arm, prompt, None, repeat, status="error", error_type=error, text="", cost_usd=None, latency_ms=7.0)


def answers(arm: Arm, scores: list[Any]) -> list[dict[str, Any]]:
    return [cell(arm, i, score) for i, score in enumerate(scores)]


# ---------------------------------------------------------------- summary


def test_a_summary_has_the_columns_that_others_rely_on() -> None:
    [row] = summary_rows(answers(A, [True, False]), [A], ["exact"])
    assert list(row)[:13] == [
        "model", "params", "scorer", "n_prompts", "n_cells", "n_errors", "mean", "ci_low", "ci_high", "cost_usd",
        "cost_per_correct_usd", "latency_p50_ms", "latency_p95_ms",
    ]  # fmt: skip


def test_repeats_are_averaged_within_their_prompt() -> None:
    """Nine repeats of an easy prompt weigh as much as one of a hard prompt."""
    rows = [cell(A, 0, 1, r) for r in range(9)] + [cell(A, 1, 0)]
    [row] = summary_rows(rows, [A], ["exact"])
    assert (row["mean"], row["n_prompts"], row["n_cells"]) == (0.5, 2, 10)


def test_repeats_do_not_narrow_the_interval_of_a_rate() -> None:
    once = answers(A, [1] * 15 + [0] * 5)
    [single] = summary_rows(once, [A], ["exact"])
    [many] = summary_rows([row | {"repeat": r} for r in range(8) for row in once], [A], ["exact"])
    assert single["interval"] == "wilson"
    assert (many["ci_low"], many["ci_high"]) == (single["ci_low"], single["ci_high"])


def test_errors_are_counted_and_shown_both_ways() -> None:
    [row] = summary_rows([*answers(A, [1, 1, 0]), failed(A, 3)], [A], ["exact"])
    assert (row["n_errors"], row["n_cells"], row["n_prompts"]) == (1, 4, 3)
    assert (row["mean"], row["mean_errors_as_0"]) == (pytest.approx(2 / 3), 0.5)


def test_a_missing_score_is_not_a_zero() -> None:
    [row] = summary_rows(answers(A, [1, None, float("nan"), 1]), [A], ["exact"])
    assert (row["mean"], row["mean_errors_as_0"], row["n_scored"]) == (1, 1, 2)


def test_without_a_scorer_there_is_a_row_for_each_arm() -> None:
    rows = summary_rows(answers(A, [None]) + answers(B, [None]), [A, B], [])
    assert [(r["model"], r["scorer"], r["mean"], r["n_prompts"]) for r in rows] == [
        ("demo/a", None, None, 1),
        ("demo/b", None, None, 1),
    ]


def test_an_unknown_cost_makes_the_sum_unknown() -> None:
    [row] = summary_rows([cell(A, 0, 1), cell(A, 1, 1, cost_usd=None)], [A], ["exact"])
    assert (row["cost_usd"], row["cost_per_correct_usd"]) == (None, None)


@pytest.mark.parametrize(("error", "cost"), [("RateLimitError", 0.02), ("StreamBrokenError", None)])
def test_an_error_in_place_of_an_answer_costs_nothing(error: str, cost: float | None) -> None:
    [row] = summary_rows([*answers(A, [1, 0]), failed(A, 2, error=error)], [A], ["exact"])
    assert row["cost_usd"] == cost


def test_cost_per_correct_is_for_yes_and_no_only() -> None:
    rows = answers(A, [True, True, False, False]) + answers(B, [0.5, 1, 1, 1]) + answers(C, [0, 0, 0, 0])
    assert [r["cost_per_correct_usd"] for r in summary_rows(rows, [A, B, C], ["exact"])] == [0.02, None, None]


def test_latency_leaves_out_what_came_from_the_store_and_errors() -> None:
    rows = [cell(A, i, 1, latency_ms=float(i)) for i in range(1, 12)]
    rows += [cell(A, 20, 1, latency_ms=9e9, from_store=True), failed(A, 21), cell(A, 22, 1, latency_ms=None)]
    [row] = summary_rows(rows, [A], ["exact"])
    assert (row["latency_p50_ms"], row["latency_p95_ms"]) == (6.0, 10.5)
    [intervals] = latency_rows(rows, [A])
    assert intervals["p50_low_ms"] <= 6.0 <= intervals["p50_high_ms"]
    assert (intervals["n_cells"], intervals["p95_low_ms"]) == (11, None)


def test_an_arm_without_cells_has_a_row_of_nothing() -> None:
    [_, row] = summary_rows(answers(A, [1]), [A, B], ["exact"])
    assert (row["n_cells"], row["mean"], row["cost_usd"], row["latency_p50_ms"]) == (0, None, None, None)
    assert latency_rows(answers(A, [1]), [B])[0]["latency_p50_ms"] is None


def test_arms_of_one_model_are_told_apart_by_their_parameters() -> None:
    cold, warm = Arm("demo/a", {"temperature": 0, "stop": ["x"]}, "cold"), Arm("demo/a", {"temperature": 1}, "warm")
    rows = [cell(cold, 0, 1, params={"stop": ["x"], "temperature": 0.0}), cell(warm, 0, 0, params='{"temperature": 1}')]
    assert [(r["arm"], r["mean"]) for r in summary_rows(rows, [cold, warm], ["exact"])] == [("cold", 1), ("warm", 0)]


def test_an_interval_of_a_rate_stays_within_0_and_1() -> None:
    rows = [cell(A, p, p > 0 or r > 0, r) for p in range(6) for r in range(2)]
    [row] = summary_rows(rows, [A], ["exact"])
    assert row["interval"] == "t"
    assert row["ci_high"] == 1.0


def test_prompts_of_a_group_widen_the_interval() -> None:
    rows = answers(A, [float(i // 4 % 2) for i in range(40)])
    [plain] = summary_rows(rows, [A], ["exact"])
    [grouped] = summary_rows(rows, [A], ["exact"], group="topic")
    assert grouped["interval"] == "cluster t"
    assert grouped["ci_high"] - grouped["ci_low"] > 1.5 * (plain["ci_high"] - plain["ci_low"])


# ---------------------------------------------------------------- bad input


def test_two_arms_that_are_the_same_are_refused() -> None:
    with pytest.raises(UsageError, match="two arms are the same"):
        summary_rows([], [A, Arm("demo/a", {}, "again")], [])


def test_an_unknown_scorer_is_refused_and_so_is_a_score_that_is_no_number() -> None:
    with pytest.raises(UsageError, match="no scorer 'exakt'"):
        summary_rows(answers(A, [1]), [A], ["exakt"])
    with pytest.raises(UsageError, match="score 'exact' of prompt p000 is 'good'"):
        summary_rows(answers(A, ["good"]), [A], ["exact"])


def test_an_unknown_group_names_the_columns_that_there_are() -> None:
    rows = answers(A, [1] * 12) + answers(B, [0] * 12)
    with pytest.raises(UsageError, match="no column 'theme'") as caught:
        stats_rows(rows, [A, B], "exact", group="theme")
    assert "topic" in str(caught.value)


@pytest.mark.parametrize(("pair", "words"), [(("demo/a", "demo/z"), "no arm"), (("demo/a", "demo/a"), "with itself")])
def test_a_pair_that_is_none_is_refused(pair: tuple[str, str], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        stats_rows(answers(A, [1]) + answers(B, [1]), [A, B], "exact", [pair])


# ---------------------------------------------------------------- pairs


def noisy(n: int, repeats: int = 1) -> list[dict[str, Any]]:
    """A and B are alike, C is far better; prompts differ."""
    source = random.Random(5)
    rows = []
    for prompt in range(n):
        easy = source.random()
        for arm, extra in ((A, 0.0), (B, 0.02), (C, 0.4)):
            rows += [cell(arm, prompt, easy + extra + source.gauss(0, 0.2), r) for r in range(repeats)]
    return rows


def test_stats_have_the_columns_that_others_rely_on() -> None:
    [row] = stats_rows(noisy(20), [A, B, C], "exact", [("demo/a", "demo/b")])
    assert list(row)[:16] == [
        "a", "b", "scorer", "n_prompts", "mean_a", "mean_b", "difference", "ci_low", "ci_high", "bootstrap_low",
        "bootstrap_high", "test", "p_value", "p_adjusted", "mde", "sentence",
    ]  # fmt: skip


def test_without_pairs_every_pair_is_compared_and_holm_counts_them() -> None:
    rows = stats_rows(noisy(60), [A, B, C], "exact")
    assert [(r["a"], r["b"]) for r in rows] == [("demo/a", "demo/b"), ("demo/a", "demo/c"), ("demo/b", "demo/c")]
    assert rows[0]["sentence"].endswith("not distinguishable")
    assert "demo/c scores higher (paired t, p < 0.001 after Holm over 3 pairs)" in rows[1]["sentence"]
    assert min(r["p_value"] for r in rows) * 3 == pytest.approx(min(r["p_adjusted"] for r in rows))


def test_one_pair_out_of_a_family_is_adjusted_for_all_of_it() -> None:
    rows = noisy(60)
    every = stats_rows(rows, [A, B, C], "exact")
    family = [("demo/c", "demo/b"), ("demo/a", "demo/b"), ("demo/a", "demo/c")]
    [one] = stats_rows(rows, [A, B, C], "exact", [("demo/b", "demo/c")], family=family)
    [alone] = stats_rows(rows, [A, B, C], "exact", [("demo/b", "demo/c")])
    assert one["p_adjusted"] == every[2]["p_adjusted"]
    assert alone["p_adjusted"] == alone["p_value"]


def test_a_sentence_can_be_quoted() -> None:
    rows = answers(A, [1, 0] * 50) + answers(B, [1, 0, 0, 1] * 25)
    [row] = stats_rows(rows, [A, B], "exact")
    assert row["sentence"] == (
        "demo/a - demo/b = 0.00 [-0.14, +0.14], n = 100 paired prompts, MDE 0.20 at 80 % power: not distinguishable"
    )
    assert row["test"] == "exact McNemar"


def test_few_prompts_only_describe_and_one_has_no_winner() -> None:
    for n, words in ((9, "descriptive only"), (1, "no winner")):
        [row] = stats_rows(answers(A, [1] * n) + answers(B, [0] * n), [A, B], "exact")
        assert (row["p_value"], row["p_adjusted"], row["test"]) == (None, None, None)
        assert words in row["sentence"]
        assert "higher" not in row["sentence"]


def test_differences_without_spread_have_no_interval() -> None:
    [row] = stats_rows(answers(A, [1] * 20) + answers(B, [1] * 20), [A, B], "exact")
    assert (row["difference"], row["ci_low"], row["bootstrap_low"], row["mde"]) == (0, None, None, None)
    assert row["sentence"].endswith("the same score on every prompt")


def test_incomplete_pairs_are_left_out_with_their_number() -> None:
    rows = [*answers(A, [1] * 12), *answers(B, [0] * 10), failed(B, 10), cell(B, 11, None)]
    [row] = stats_rows(rows, [A, B], "exact")
    assert (row["n_prompts"], row["n_incomplete"], row["difference"]) == (10, 2, 1)
    assert row["difference_errors_as_0"] == 1
    assert "(2 left out, a score is missing)" in row["sentence"]


def test_arms_without_a_common_prompt_are_not_compared() -> None:
    [row] = stats_rows([cell(A, 0, 1), cell(B, 1, 1)], [A, B], "exact")
    assert (row["n_prompts"], row["difference"], row["p_value"]) == (0, None, None)
    assert "nothing to compare" in row["sentence"]


def test_groups_are_named_and_tested_by_cluster() -> None:
    [row] = stats_rows(noisy(40), [A, B, C], "exact", [("demo/a", "demo/c")], group="topic")
    assert (row["test"], row["n_clusters"]) == ("cluster-robust t", 10)
    assert "n = 40 paired prompts in 10 groups" in row["sentence"]


def test_the_order_of_rows_changes_nothing() -> None:
    rows = noisy(30, repeats=3)
    mixed = random.Random(1).sample(rows, len(rows))
    assert stats_rows(rows, [A, B, C], "exact", seed=3) == stats_rows(mixed, [A, B, C], "exact", seed=3)
    duels = duels_from_scores(rows, [A, B, C], "exact")
    mixed_duels = random.Random(1).sample(duels, len(duels))
    assert ranking_rows(duels, [A, B, C], seed=3) == ranking_rows(mixed_duels, [A, B, C], seed=3)


# ---------------------------------------------------------------- ranking


def test_a_ranking_has_the_columns_that_others_rely_on_and_the_best_first() -> None:
    rows = ranking_rows(duels_from_scores(noisy(60), [A, B, C], "exact"), [A, B, C], seed=9)
    assert list(rows[0])[:9] == [
        "model", "rank", "rank_low", "rank_high", "strength", "ci_low", "ci_high", "win_rate", "n",
    ]  # fmt: skip
    assert (rows[0]["model"], rows[0]["rank"], rows[0]["rank_high"], rows[0]["n"]) == ("demo/c", 1, 1, 60)
    assert rows[0]["ci_low"] < rows[0]["strength"] < rows[0]["ci_high"]
    assert rows[0]["seed"] == 9


def test_many_duels_on_one_prompt_count_once() -> None:
    duels = [Duel("easy", r, "demo/a", "demo/b", "a") for r in range(9)] + [Duel("hard", 0, "demo/a", "demo/b", "b")]
    rows = ranking_rows(duels, [A, B])
    assert [(r["win_rate"], r["n"], r["n_duels"]) for r in rows] == [(0.5, 2, 10)] * 2


def test_a_tie_is_half_a_win() -> None:
    duels = [Duel(f"p{i}", 0, "demo/a", "demo/b", w) for i, w in enumerate(["a", "tie", "a", "b"])]  # type: ignore[arg-type]
    first, second = ranking_rows(duels, [A, B])
    assert (first["model"], first["win_rate"]) == ("demo/a", 0.625)
    assert first["strength"] / (first["strength"] + second["strength"]) == pytest.approx(0.625)
    assert first["ci_low"] is None  # under 10 prompts


def test_scores_that_are_equal_but_for_rounding_tie() -> None:
    rows = [cell(A, 0, s, r) for r, s in enumerate((0.1, 0.2, 0.3))] + [cell(B, 0, 0.2, r) for r in range(3)]
    assert [d.winner for d in duels_from_scores(rows, [A, B], "exact")] == ["tie"]


def test_one_prompt_ranks_nobody() -> None:
    rows = ranking_rows([Duel("p", 0, "demo/a", "demo/b", "a")], [A, B])
    assert [(r["model"], r["rank"], r["win_rate"]) for r in rows] == [("demo/a", None, 1.0), ("demo/b", None, 0.0)]


def test_a_ranking_that_cannot_be_is_refused_with_names() -> None:
    won = [Duel(f"p{i}", 0, "demo/a", "demo/b", "a") for i in range(12)]
    with pytest.raises(UnsupportedError, match="demo/a never lost to demo/b"):
        ranking_rows(won, [A, B])
    mixed = [*won, Duel("q", 0, "demo/a", "demo/b", "b")]
    with pytest.raises(UnsupportedError, match="demo/c never met demo/a, demo/b"):
        ranking_rows(mixed, [A, B, C])
    with pytest.raises(UnsupportedError, match="no duels"):
        ranking_rows([], [A, B])


# ---------------------------------------------------------------- consistency, judges


def test_consistency_tells_ever_right_from_always_right() -> None:
    rows = [cell(A, p, r < 2, r) for p in range(5) for r in range(4)] + [failed(A, 5)]
    one, two = consistency_rows(rows, [A], "exact", [1, 2])
    assert (one["pass_at_k"], one["pass_hat_k"]) == (0.5, 0.5)
    assert (two["pass_at_k"], two["pass_hat_k"]) == (pytest.approx(5 / 6), pytest.approx(1 / 6))
    assert (two["n_prompts"], two["n_too_few"]) == (5, 1)
    assert one["pass_at_k_errors_as_0"] == pytest.approx(2.5 / 6)


def test_too_few_repeats_give_nothing_and_other_scores_are_refused() -> None:
    [row] = consistency_rows(answers(A, [1, 1]), [A], "exact", [2])
    assert (row["n_prompts"], row["pass_at_k"]) == (0, None)
    with pytest.raises(UsageError, match="not yes or no"):
        consistency_rows(answers(A, [0.5, 1]), [A], "exact", [1])
    with pytest.raises(UsageError, match="at least 1"):
        consistency_rows(answers(A, [1]), [A], "exact", [0])


def test_a_judge_that_likes_length_is_seen() -> None:
    rows = [cell(A, p, text="long " * 20) for p in range(9)] + [cell(B, p, text="short") for p in range(9)]
    duels = [Duel(f"p{p:03}", 0, "demo/b", "demo/a", "b") for p in range(8)] + [
        Duel("p008", 0, "demo/a", "demo/b", "tie")
    ]
    report = judge_style(duels, rows, [A, B])
    assert (report.n, report.longer_won.share, report.length_difference) == (8, 1.0, 95.0)


def test_a_judge_and_people_are_compared_whichever_arm_stood_first() -> None:
    judged = [Duel(f"p{i}", 0, "demo/a", "demo/b", "a" if i % 2 else "b") for i in range(12)]
    voted = [Duel(f"p{i}", 0, "demo/b", "demo/a", "b" if i % 2 else "a", source="vote") for i in range(12)]
    found = duel_agreement(judged, voted)
    assert found is not None
    assert (found.n, found.kappa) == (12, 1.0)
    assert duel_agreement(judged, []) is None
