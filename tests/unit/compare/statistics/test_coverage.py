"""Intervals hold the truth as often as they say. `--campaign` draws as many samples as the published figures."""

from __future__ import annotations

import pytest

from simulated_coverage import COVERAGES, ERROR_RATES, Simulation, share

QUICK = 40
"""Part of the samples that is drawn by default."""


def name(simulation: Simulation) -> str:
    return f"{simulation.name}, {simulation.conditions}"


@pytest.mark.campaign
@pytest.mark.parametrize("simulation", [s for s in COVERAGES if s.promised], ids=name)
def test_a_95_percent_interval_holds_the_truth_in_93_to_97_percent(simulation: Simulation, campaign: bool) -> None:
    samples = simulation.repetitions if campaign else simulation.repetitions // QUICK
    # Three standard errors of the share itself, so that few samples are not taken for many.
    slack = 0.0 if campaign else 3 * (0.95 * 0.05 / samples) ** 0.5
    assert 0.93 - slack <= share(simulation, samples, 1) <= 0.97 + slack


@pytest.mark.campaign
@pytest.mark.parametrize("simulation", ERROR_RATES, ids=name)
def test_a_test_at_5_percent_raises_no_more_false_alarms(simulation: Simulation, campaign: bool) -> None:
    samples = simulation.repetitions if campaign else simulation.repetitions // QUICK
    slack = 0.01 if campaign else 3 * (0.95 * 0.05 / samples) ** 0.5
    assert share(simulation, samples, 1) <= 0.05 + slack


def test_intervals_that_ignore_clusters_hold_the_truth_too_seldom() -> None:
    """What the cluster-robust interval is for; and a proof that these simulations can fail."""
    [ignored] = [s for s in COVERAGES if "ignored" in s.name]
    assert share(ignored, 300, 1) < 0.88
