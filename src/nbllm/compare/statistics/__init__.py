"""What numbers say about arms, and how surely: intervals, tests, rankings.

Each module has one topic and works on plain sequences of numbers; it knows no cells. None of it needs more than the
standard library; with numpy the resampling is faster and gives the same figures. Sources of the formulas stand with the
functions; docs/explanation/statistics.md says what each number means.
"""

from nbllm.compare.statistics.agreement import Agreement, cohen_kappa
from nbllm.compare.statistics.bradley_terry import split, strengths
from nbllm.compare.statistics.intervals import (
    MeanInterval,
    mean_interval,
    rate_interval,
    standard_error,
    wilson_interval,
)
from nbllm.compare.statistics.latency import QuantileInterval, quantile_intervals
from nbllm.compare.statistics.multiplicity import holm
from nbllm.compare.statistics.paired import (
    FEWEST_PROMPTS,
    PairedDifference,
    Test,
    mcnemar_p_value,
    paired_difference,
    paired_test,
    sign_test_p_value,
)
from nbllm.compare.statistics.power import minimum_detectable_effect, required_prompts
from nbllm.compare.statistics.quantiles import quantile
from nbllm.compare.statistics.ranking import Standing, standings, win_matrix, win_rate
from nbllm.compare.statistics.repeats import pass_at_k, pass_hat_k
from nbllm.compare.statistics.resampling import bootstrap_means
from nbllm.compare.statistics.style import StyleReport, markdown_marks, style_report

__all__ = [
    "FEWEST_PROMPTS",
    "Agreement",
    "MeanInterval",
    "PairedDifference",
    "QuantileInterval",
    "Standing",
    "StyleReport",
    "Test",
    "bootstrap_means",
    "cohen_kappa",
    "holm",
    "markdown_marks",
    "mcnemar_p_value",
    "mean_interval",
    "minimum_detectable_effect",
    "paired_difference",
    "paired_test",
    "pass_at_k",
    "pass_hat_k",
    "quantile",
    "quantile_intervals",
    "rate_interval",
    "required_prompts",
    "sign_test_p_value",
    "split",
    "standard_error",
    "standings",
    "strengths",
    "style_report",
    "wilson_interval",
    "win_matrix",
    "win_rate",
]
