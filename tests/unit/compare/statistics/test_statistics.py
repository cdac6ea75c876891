"""What the statistics promise at their edges: little data, no spread, no numpy, no ranking."""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbllm.compare import statistics as ours

SCORES = st.floats(-1e6, 1e6, allow_nan=False)


@given(st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_its_rate_and_stays_within_0_and_1(case: tuple[int, int]) -> None:
    k, n = case
    low, high = ours.wilson_interval(k, n)
    assert 0 <= low <= k / n <= high <= 1
    assert low < high


@pytest.mark.parametrize(("k", "n"), [(0, 0), (-1, 5), (6, 5)])
def test_a_rate_that_is_none_is_refused(k: int, n: int) -> None:
    with pytest.raises(ValueError, match="no rate"):
        ours.wilson_interval(k, n)


def test_one_value_or_equal_values_have_a_mean_and_no_interval() -> None:
    for values in ([0.7], [0.1] * 30):
        interval = ours.mean_interval(values)
        assert interval.mean == pytest.approx(values[0])
        assert (interval.low, interval.high) == (None, None)


@given(st.lists(SCORES, min_size=2, max_size=40))
def test_a_cluster_for_each_item_is_no_clustering(values: list[float]) -> None:
    plain, clustered = ours.standard_error(values), ours.standard_error(values, clusters=range(len(values)))
    assert plain == clustered


def test_a_prompt_copied_into_its_cluster_adds_no_certainty() -> None:
    values = [0.1, 0.4, 0.5, 0.9, 0.3, 0.8]
    once = ours.mean_interval(values)
    copied = ours.mean_interval(values * 5, clusters=[*range(6)] * 5)
    assert (copied.low, copied.high) == pytest.approx((once.low, once.high))


@settings(max_examples=30)
@given(st.lists(st.tuples(SCORES, SCORES), min_size=2, max_size=20))
def test_a_difference_turned_round_is_its_negative(pairs: list[tuple[float, float]]) -> None:
    a, b = zip(*pairs, strict=True)
    there, back = ours.paired_difference(a, b, resamples=0), ours.paired_difference(b, a, resamples=0)
    assert there.difference == pytest.approx(-back.difference)
    assert there.test == back.test
    if there.low is not None and back.high is not None:
        assert there.low == pytest.approx(-back.high, abs=1e-6)


def test_under_ten_prompts_there_is_no_p_value() -> None:
    assert ours.paired_test([1.0] * 9, [0.0] * 9) is None
    assert ours.paired_test([1.0] * 10, [0.0] * 10) is not None


def test_means_of_repeats_are_not_put_to_mcnemar() -> None:
    test = ours.paired_test([1, 0.5, 1, 0, 1, 1, 0.5, 1, 0, 1], [0, 0.5, 1, 0, 0, 1, 0, 1, 0, 1])
    assert test is not None
    assert test.name == "paired t"


def test_the_same_gap_on_every_prompt_is_tested_by_signs() -> None:
    """A t of infinity would claim p = 0."""
    test = ours.paired_test([0.75] * 12, [0.5] * 12)
    assert test == ours.Test("exact sign test", pytest.approx(2 / 2**12))


def test_holm_leaves_out_what_has_no_p_value() -> None:
    assert ours.holm([0.01, None, 0.04, 0.03]) == [pytest.approx(0.03), None, pytest.approx(0.06), pytest.approx(0.06)]
    assert ours.holm([]) == []


def test_fewer_answers_than_k_are_refused() -> None:
    for estimate in (ours.pass_at_k, ours.pass_hat_k):
        with pytest.raises(ValueError, match="not possible"):
            estimate(2, 1, 3)


def test_needed_prompts_and_detectable_effect_are_each_others_reverse() -> None:
    n = ours.required_prompts(0.05, 0.52)
    assert ours.minimum_detectable_effect(0.52 / math.sqrt(n)) <= 0.05
    assert ours.minimum_detectable_effect(0.52 / math.sqrt(n - 1)) > 0.05
    with pytest.raises(ValueError, match="0 cannot be found"):
        ours.required_prompts(0, 1)


def test_raters_who_say_one_thing_only_have_no_kappa() -> None:
    found = ours.cohen_kappa(["a"] * 20, ["a"] * 20)
    assert (found.observed, found.kappa) == (1.0, None)


def test_a_longer_and_more_formatted_winner_is_seen() -> None:
    report = ours.style_report([("# Title\n- **a** b\n", "plain"), ("12345", "1"), ("x", "y")])
    assert report.longer_won.share == 1.0
    assert report.longer_won.n == 2
    assert report.more_formatted_won.n == 1
    assert report.length_difference == pytest.approx((14 + 4 + 0 - 1) / 3, abs=0.5)


def test_no_winner_gives_an_empty_report() -> None:
    report = ours.style_report([])
    assert (report.n, report.longer_won.share, report.length_difference) == (0, None, None)


# ---------------------------------------------------------------- strengths


def test_two_arms_have_the_strengths_of_their_win_rate_with_ties_as_halves() -> None:
    # 4 wins, 2 losses, 2 ties of 8: 5 points of 8.
    first, second = ours.strengths([[0, 5], [3, 0]])
    assert first / (first + second) == pytest.approx(5 / 8)
    assert first * second == pytest.approx(1)


@given(
    st.integers(2, 6).flatmap(
        lambda n: st.lists(st.lists(st.floats(0.1, 1000), min_size=n, max_size=n), min_size=n, max_size=n)
    )
)
def test_strengths_explain_the_wins_of_each(table: list[list[float]]) -> None:
    """At the maximum each arm's expected wins are its wins, however lopsided the duels are."""
    n = len(table)
    wins = [[0.0 if i == j else table[i][j] for j in range(n)] for i in range(n)]
    fitted = ours.strengths(wins)
    for i in range(n):
        expected = sum((wins[i][j] + wins[j][i]) * fitted[i] / (fitted[i] + fitted[j]) for j in range(n) if j != i)
        assert sum(wins[i]) == pytest.approx(expected, rel=1e-6)


def test_who_never_lost_and_who_never_met_is_named() -> None:
    assert ours.split([[0, 1], [0, 0]]) == ([0], True)
    assert ours.split([[0, 1, 0], [1, 0, 0], [0, 0, 0]]) == ([2], False)
    assert ours.split([[0, 1, 0], [0, 0, 1], [1, 0, 0]]) is None


def test_a_resample_without_a_loss_keeps_the_rank_and_a_finite_strength() -> None:
    wins = [{(0, 1): 1.0, (1, 0): 0.0}] * 19 + [{(0, 1): 0.0, (1, 0): 1.0}]
    best, worst = ours.standings(wins, 2, seed=1)
    assert (best.rank, best.rank_low, best.rank_high) == (1, 1, 1)
    assert best.high is not None
    assert math.isfinite(best.high)
    assert worst.rank == 2


def test_equal_arms_share_a_rank() -> None:
    wins = [{(0, 1): 0.5, (1, 0): 0.5}] * 12
    assert [s.rank for s in ours.standings(wins, 2)] == [1, 1]


# ---------------------------------------------------------------- draws


def differences() -> object:
    return ours.bootstrap_means([[0.1, 0.7, 0.4, 0.4, 0.9, 0.0] * 2, [1.0, 0.0, 0.0, 1.0, 1.0, 1.0] * 2], seed=7)


def clustered() -> object:
    return ours.bootstrap_means([[0.1, 0.7, 0.4, 0.4, 0.9, 0.0] * 3], clusters=[*"aabbcdeeffghiijjkl"], seed=7)


def places() -> object:
    cycle = [{(0, 1): 1.0, (1, 0): 0.0, (1, 2): 0.5, (2, 1): 0.5}, {(2, 0): 1.0, (0, 2): 0.0, (0, 1): 0.0, (1, 0): 1.0}]
    return [(s.strength, s.low, s.high, float(s.rank_high or 0)) for s in ours.standings(cycle * 8, 3, seed=7)]


@pytest.mark.parametrize("figures", [differences, clustered, places])
def test_figures_are_the_same_without_numpy(figures: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> None:
    with_numpy = figures()
    monkeypatch.setitem(sys.modules, "numpy", None)
    for ours_row, numpy_row in zip(figures(), with_numpy, strict=True):  # type: ignore[call-overload]
        assert ours_row == pytest.approx(numpy_row, rel=1e-7)


def test_a_bootstrap_interval_is_given_from_12_units() -> None:
    values = [float(i * i % 17) for i in range(24)]
    [fewer], [enough] = (ours.bootstrap_means([values[:n]]) for n in (11, 12))
    [fewer_clusters] = ours.bootstrap_means([values], clusters=[i % 11 for i in range(24)])
    assert fewer == fewer_clusters == (None, None)
    assert None not in enough


def test_a_seed_decides_the_draws() -> None:
    values = [float(i * i % 17) for i in range(30)]
    [first], [again], [other] = (ours.bootstrap_means([values], seed=s) for s in (1, 1, 2))
    assert first == again
    assert first != other


def test_many_prompts_are_drawn_in_pieces() -> None:
    """2,000 resamples of 5,000 prompts are more than is held at a time."""
    values = [float(i % 7) for i in range(5000)]
    [(low, high)] = ours.bootstrap_means([values], seed=3)
    interval = ours.mean_interval(values)
    assert low == pytest.approx(interval.low, abs=0.01)
    assert high == pytest.approx(interval.high, abs=0.01)


def test_one_prompt_has_a_quantile_and_no_interval() -> None:
    [found] = ours.quantile_intervals([1.0, 3.0], [0.5], prompts=["a", "a"])
    assert (found.value, found.low, found.high) == (2.0, None, None)


def test_a_quantile_has_an_interval_from_as_many_prompts_as_can_tell() -> None:
    """The largest of 71 values lies above the 95th percentile of all in 97.4 % of samples, of 72 in 97.5 %."""
    for number, known in ((5, (False, False)), (6, (True, False)), (71, (True, False)), (72, (True, True))):
        for repeats in (1, 4):
            prompts = [p for p in range(number) for _ in range(repeats)]
            values = [float(p * 31 % 97) for p in prompts]
            found = ours.quantile_intervals(values, prompts=prompts)
            assert tuple(q.low is not None for q in found) == known, (number, repeats)
            assert all(q.low <= q.value <= q.high for q in found if q.low is not None and q.high is not None)


def test_asking_again_what_answers_alike_tells_nothing_new() -> None:
    values = [float(n * n) for n in range(100)]
    once = ours.quantile_intervals(values)
    fourfold = ours.quantile_intervals(
        [v for v in values for _ in "abcd"], prompts=[n for n in range(100) for _ in "abcd"]
    )
    for one, four in zip(once, fourfold, strict=True):
        near = 2 * math.sqrt(one.value) + 1  # to the next value
        assert (four.low, four.high) == pytest.approx((one.low, one.high), abs=near)
    independent = ours.quantile_intervals([v for v in values for _ in "abcd"])
    assert independent[0].low - once[0].low > 400  # type: ignore[operator]


def test_times_that_are_all_the_same_have_that_as_their_interval() -> None:
    [found] = ours.quantile_intervals([7.0] * 30, [0.5], prompts=[*range(10)] * 3)
    assert (found.value, found.low, found.high) == (7.0, 7.0, 7.0)


def test_raters_who_always_agree_or_never_have_a_kappa_without_interval() -> None:
    for seed in range(300):
        source = random.Random(seed)
        a = [source.choice("abc"[: 2 + seed % 2]) for _ in range(source.randint(30, 400))]
        found = ours.cohen_kappa(a, a)
        assert found.kappa == pytest.approx(1)
        assert (found.low, found.high) == (None, None)
    found = ours.cohen_kappa([*"ab" * 20], [*"ba" * 20])
    assert found.kappa == pytest.approx(-1)
    assert (found.low, found.high) == (None, None)


def test_kappa_has_an_interval_from_30_ratings() -> None:
    a = [*"ab" * 15]
    b = [*"ab" * 12, *"ba" * 3]
    found, fewer = ours.cohen_kappa(a, b), ours.cohen_kappa(a[1:], b[1:])
    assert fewer.kappa is not None
    assert (fewer.low, fewer.high) == (None, None)
    assert found.low is not None
    assert found.high is not None
    assert -1 < found.low < found.kappa < found.high < 1  # type: ignore[operator]


def test_the_table_of_needed_prompts_in_the_documentation_is_ours() -> None:
    page = (Path(__file__).parents[4] / "docs" / "explanation" / "statistics.md").read_text(encoding="utf-8")
    for deviation in (0.2, 0.3, 0.4, 0.52, 0.6, 0.7):
        needed = [f"{ours.required_prompts(effect, deviation):,}" for effect in (0.1, 0.05, 0.03, 0.02, 0.01)]
        assert f"| {deviation:.2f} | {' | '.join(needed)} |" in page
