"""Our statistics give what scipy, statsmodels and evalica give, on random data: 200 sets each."""

from __future__ import annotations

import gc
import math
import random
from collections.abc import Iterator
from itertools import combinations
from types import SimpleNamespace
from typing import Any

import evalica
import numpy as np
import pytest
from scipy import stats
from scipy.optimize import brentq
from scipy.special import betainc
from statsmodels.api import OLS
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.inter_rater import cohens_kappa, to_table
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import NormalIndPower
from statsmodels.stats.proportion import proportion_confint

from nbllm.compare import statistics as ours
from nbllm.compare.statistics.distributions import (
    fair_coin_p_value,
    incomplete_beta,
    student_t_p_value,
    student_t_quantile,
)
from nbllm.compare.statistics.resampling import resample_sums

SETS = 200
CLOSE = 1e-3


def random_sets() -> Iterator[random.Random]:
    return (random.Random(seed) for seed in range(SETS))


def scores(source: random.Random, n: int) -> list[float]:
    """Of one of the kinds that scorers give: yes or no, quarters, a skewed share, any number."""
    kind = source.randrange(4)
    if kind == 0:
        return [float(source.random() < 0.6) for _ in range(n)]
    if kind == 1:
        return [source.randrange(5) / 4 for _ in range(n)]
    if kind == 2:
        return [source.betavariate(4, 1) for _ in range(n)]
    return [source.gauss(10, 3) for _ in range(n)]


def test_the_incomplete_beta_function_is_scipys() -> None:
    for source in random_sets():
        a, b, x = 10 ** source.uniform(-1, 4), 10 ** source.uniform(-1, 4), source.random()
        assert incomplete_beta(x, a, b) == pytest.approx(betainc(a, b, x), abs=1e-9)


@pytest.mark.parametrize("degrees", [1, 2, 3, 7.5, 29, 199, 5000, 1e6])
def test_students_t_is_scipys(degrees: float) -> None:
    for probability in (0.005, 0.3, 0.5, 0.9, 0.975, 0.9995):
        expected = stats.t.ppf(probability, degrees)
        assert student_t_quantile(probability, degrees) == pytest.approx(expected, rel=1e-8, abs=1e-9)
    for t in (0.0, 0.01, 1.0, -2.5, 40.0):
        assert student_t_p_value(t, degrees) == pytest.approx(2 * stats.t.sf(abs(t), degrees), rel=1e-6, abs=1e-12)


def test_a_fair_coin_is_scipys_binomial() -> None:
    for source in random_sets():
        tosses = source.randint(1, 3000)
        heads = min(tosses, max(0, round(source.gauss(tosses / 2, math.sqrt(tosses)))))
        expected = stats.binomtest(heads, tosses).pvalue
        assert fair_coin_p_value(heads, tosses) == pytest.approx(expected, abs=1e-9)


def test_wilson_is_that_of_statsmodels() -> None:
    for source in random_sets():
        n = source.randint(1, 2000)
        k = source.randint(0, n)
        expected = proportion_confint(k, n, method="wilson")
        assert ours.wilson_interval(k, n) == pytest.approx(expected, abs=1e-9)


def test_the_t_interval_is_scipys() -> None:
    for source in random_sets():
        values = scores(source, source.randint(3, 300))
        interval = ours.mean_interval(values)
        if interval.low is not None:
            expected = stats.ttest_1samp(values, 0).confidence_interval()
            assert (interval.low, interval.high) == pytest.approx(tuple(expected), abs=CLOSE)
            assert interval.standard_error == pytest.approx(stats.sem(values), abs=1e-9)


def test_the_cluster_robust_interval_is_that_of_statsmodels() -> None:
    for source in random_sets():
        n = source.randint(20, 300)
        values, clusters = scores(source, n), [source.randrange(8) for _ in range(n)]
        interval = ours.mean_interval(values, clusters=clusters)
        fit = OLS(values, np.ones(n)).fit(cov_type="cluster", cov_kwds={"groups": clusters}, use_t=True)
        assert (interval.low, interval.high) == pytest.approx(tuple(fit.conf_int()[0]), abs=CLOSE)
        assert interval.standard_error == pytest.approx(fit.bse[0], rel=1e-6)


def test_the_paired_difference_is_scipys_paired_t() -> None:
    for source in random_sets():
        n = source.randint(10, 300)
        a, b = [source.gauss(0.1, 1) for _ in range(n)], [source.gauss(0, 1) for _ in range(n)]
        found, expected = ours.paired_difference(a, b, resamples=0), stats.ttest_rel(a, b)
        assert found.test is not None
        assert found.test.name == "paired t"
        assert found.test.p_value == pytest.approx(expected.pvalue, abs=CLOSE)
        assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval()), abs=CLOSE)


def test_the_clustered_test_is_that_of_statsmodels() -> None:
    for source in random_sets():
        n = source.randint(20, 200)
        a, b = [source.gauss(0.1, 1) for _ in range(n)], [source.gauss(0, 1) for _ in range(n)]
        clusters = [source.randrange(12) for _ in range(n)]
        test = ours.paired_test(a, b, clusters=clusters)
        fit = OLS(np.subtract(a, b), np.ones(n)).fit(cov_type="cluster", cov_kwds={"groups": clusters}, use_t=True)
        assert test is not None
        assert test.name == "cluster-robust t"
        assert test.p_value == pytest.approx(fit.pvalues[0], abs=CLOSE)


def test_mcnemar_is_that_of_statsmodels() -> None:
    for source in random_sets():
        n = source.randint(10, 400)
        a, b = ([float(source.random() < rate) for _ in range(n)] for rate in (0.6, source.uniform(0.4, 0.8)))
        table = [[sum(x == i and y == j for x, y in zip(a, b, strict=True)) for j in (1, 0)] for i in (1, 0)]
        test = ours.paired_test(a, b)
        assert test is not None
        assert test.name == "exact McNemar"
        assert test.p_value == pytest.approx(mcnemar(table, exact=True).pvalue, abs=1e-9)


def test_holm_is_that_of_statsmodels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gc, "collect", lambda: 0)  # statsmodels collects at each call, which takes all the time
    for source in random_sets():
        p_values = [source.random() ** 4 for _ in range(source.randint(1, 45))]
        assert ours.holm(p_values) == pytest.approx(list(multipletests(p_values, method="holm")[1]), abs=1e-12)


def expanded_by_scipy(n: int) -> float:
    """What Hesterberg (2015) looks up in a bootstrap of n units in place of 0.95."""
    return 1 - 2 * stats.norm.cdf(-math.sqrt(n / (n - 1)) * stats.t.ppf(0.975, n - 1))


@pytest.mark.campaign
def test_the_bootstrap_interval_is_scipys_bca_of_the_same_resamples(campaign: bool) -> None:
    for seed in range(SETS if campaign else 60):
        source = random.Random(seed)
        values = scores(source, source.randint(12, 120))
        [(low, high)] = ours.bootstrap_means([values], resamples=999, seed=seed)
        means = np.array(resample_sums([values], resamples=999, seed=seed)[0]) / len(values)
        same: Any = SimpleNamespace(bootstrap_distribution=means)
        level = expanded_by_scipy(len(values))
        expected = stats.bootstrap(
            (values,), np.mean, n_resamples=0, method="BCa", bootstrap_result=same, confidence_level=level
        )
        assert (low, high) == pytest.approx(tuple(expected.confidence_interval), abs=CLOSE)


def test_strengths_are_those_of_evalica() -> None:
    for source in random_sets():
        n = source.randint(2, 8)
        skill = [source.gauss(0, 0.7) for _ in range(n)]
        duels = [(i, j, w) for i, j in combinations(range(n), 2) for w in outcomes(source, skill[i] - skill[j])]
        matrix = [[0.0] * n for _ in range(n)]
        for i, j, won in duels:
            matrix[i][j] += won
            matrix[j][i] += 1 - won
        assert ours.split(matrix) is None
        name = {1.0: evalica.Winner.X, 0.0: evalica.Winner.Y, 0.5: evalica.Winner.Draw}
        xs, ys, winners = zip(*((i, j, name[w]) for i, j, w in duels), strict=True)
        fit = evalica.bradley_terry(xs, ys, winners, tolerance=1e-10, limit=10_000).scores
        expected = [fit[i] for i in range(n)]
        assert ours.strengths(matrix) == pytest.approx(expected, rel=CLOSE)


def outcomes(source: random.Random, gap: float) -> list[float]:
    """Some duels of one pair; one win each way keeps them comparable."""
    found = [1.0, 0.0]
    for _ in range(source.randint(0, 30)):
        noise = gap + source.gauss(0, 1)
        found.append(0.5 if abs(noise) < 0.3 else float(noise > 0))
    return found


def test_kappa_is_that_of_statsmodels() -> None:
    for source in random_sets():
        n = source.randint(30, 300)
        a = [source.choice("abt") for _ in range(n)]
        b = [x if source.random() < 0.5 else source.choice("abt") for x in a]
        found, expected = ours.cohen_kappa(a, b), cohens_kappa(to_table(np.array([a, b]).T)[0])
        assert found.kappa == pytest.approx(expected.kappa, abs=CLOSE)
        half = stats.t.ppf(0.975, n - 1) * expected.std_kappa / (1 - expected.kappa**2)
        bounds = np.tanh(np.arctanh(expected.kappa) + np.array([-half, half]))
        assert (found.low, found.high) == pytest.approx(tuple(bounds), abs=CLOSE)


def test_the_number_of_prompts_is_that_of_statsmodels() -> None:
    for source in random_sets():
        effect, deviation, power = source.uniform(0.01, 0.2), source.uniform(0.2, 0.8), source.uniform(0.6, 0.95)
        # One sample against 0: the second group has no variance, which is what ratio=0 means there.
        needed = NormalIndPower().solve_power(effect / deviation, power=power, alpha=0.05, ratio=0)
        assert ours.required_prompts(effect, deviation, power=power) == pytest.approx(math.ceil(needed), abs=1)


def test_quantiles_are_numpys() -> None:
    for source in random_sets():
        values = [source.lognormvariate(6, 1) for _ in range(source.randint(1, 300))]
        probability = source.random()
        assert ours.quantile(values, probability) == pytest.approx(np.quantile(values, probability), rel=1e-9)


def between_order_statistics(values: list[float], p: float, size: float) -> tuple[float, float]:
    """The bounds by scipy's beta function, between the order statistics of a sample that counts as `size` values."""
    places = [brentq(lambda k, s=s: betainc(k, size + 1 - k, p) - s, 1, size) for s in (0.975, 0.025)]
    stretched = [k * (len(values) + 1) / (size + 1) for k in places]
    low, high = np.interp(stretched, np.arange(1, len(values) + 1), np.sort(values))
    return float(low), float(high)


def test_the_interval_of_a_quantile_lies_between_order_statistics_as_scipy_finds_them() -> None:
    for source in random_sets():
        values = [source.lognormvariate(6, 1) for _ in range(source.randint(72, 400))]
        for found in ours.quantile_intervals(values):
            expected = between_order_statistics(values, found.probability, len(values))
            assert (found.low, found.high) == pytest.approx(expected, rel=CLOSE)


def test_cells_of_one_prompt_count_as_few_as_the_cluster_robust_variance_of_statsmodels_says() -> None:
    for source in random_sets():
        n, repeats = source.randint(80, 150), source.randint(2, 6)
        slow = [source.gauss(6, 0.5) for _ in range(n)]
        cells = [(math.exp(m + source.gauss(0, 0.4)), i) for i, m in enumerate(slow) for _ in range(repeats)]
        values, prompts = [v for v, _ in cells], [i for _, i in cells]
        for found in ours.quantile_intervals(values, prompts=prompts):
            below = (np.array(values) <= found.value).astype(float)
            groups = {"groups": prompts, "use_correction": False}
            fit = OLS(below, np.ones(len(below))).fit(cov_type="cluster", cov_kwds=groups)
            alone = below.var() / len(below)
            caution = (stats.t.ppf(0.975, n - 1) / stats.norm.ppf(0.975)) ** 2
            effect = min(max(1.0, caution * fit.bse[0] ** 2 / alone), repeats)
            expected = between_order_statistics(values, found.probability, len(values) / effect)
            assert (found.low, found.high) == pytest.approx(expected, rel=CLOSE)


def test_pass_at_k_is_the_share_of_all_choices_of_k_answers() -> None:
    for source in random_sets():
        answers = [source.random() < 0.5 for _ in range(source.randint(1, 9))]
        k = source.randint(1, len(answers))
        chosen = list(combinations(answers, k))
        n, correct = len(answers), sum(answers)
        assert ours.pass_at_k(n, correct, k) == pytest.approx(sum(map(any, chosen)) / len(chosen))
        assert ours.pass_hat_k(n, correct, k) == pytest.approx(sum(map(all, chosen)) / len(chosen))
