"""Published figures, reproduced to the digits shown."""

import numpy as np
import pytest
from hrloop.cli import app
from hrloop.evaluation import drift, fairness, metrics, power
from hrloop.evaluation.returns import Returns
from scipy.stats import norm
from typer.testing import CliRunner


def test_psi_of_siddiqi():
    expected, actual = np.array([0.25, 0.25, 0.25, 0.25]), np.array([0.10, 0.20, 0.30, 0.40])
    terms = (actual - expected) * np.log(actual / expected)
    assert [round(term, 5) for term in terms] == [0.13744, 0.01116, 0.00912, 0.07050]
    assert round(drift.psi(expected, actual), 5) == 0.22822
    assert drift.band(drift.psi(expected, actual)) == "shifting"
    assert [drift.band(value) for value in (0.0999, 0.10, 0.2499, 0.25)] == [
        "stable",
        "shifting",
        "shifting",
        "shifted",
    ]


def test_four_fifths_of_the_uniform_guidelines():
    decided = dict.fromkeys(["a", "b", "c", "d"], 1000)
    found = {i.group: i for i in fairness.impact_ratios({"a": 600, "b": 450, "c": 480, "d": 510}, decided)}
    assert {group: round(i.ratio.value, 2) for group, i in found.items()} == {"b": 0.75, "c": 0.8, "d": 0.85}
    assert {group: i.below for group, i in found.items()} == {"b": True, "c": False, "d": False}
    assert {group: i.finding for group, i in found.items()} == {"b": "adverse", "c": "none", "d": "none"}
    assert all(i.reference == "a" for i in found.values())


def test_small_numbers_are_no_finding_and_larger_ones_are():
    (small,) = fairness.impact_ratios({"a": 5, "b": 3}, {"a": 10, "b": 10})
    assert round(small.ratio.value, 2) == 0.60
    assert round(small.p_value, 2) == 0.65
    assert small.finding == "undetermined"
    (small,) = fairness.impact_ratios({"a": 5, "b": 3}, {"a": 10, "b": 10}, minimum=1)
    assert small.finding == "none"
    (large,) = fairness.impact_ratios({"a": 48, "b": 12}, {"a": 80, "b": 40})
    assert round(large.ratio.value, 2) == 0.50
    assert round(large.p_value, 4) == 0.0034
    assert large.finding == "adverse"


def test_brier_score_of_scikit_learn():
    assert metrics.brier(np.array([0, 1, 1, 0]), np.array([0.1, 0.9, 0.8, 0.3])) == pytest.approx(0.0375)


def test_sample_sizes_of_miller():
    assert power.sample_size(0.20, 0.25) == 1030
    assert power.sample_sizes(0.20, 0.25, share=0.20) == (2679, 670)


def test_peeking_daily_at_a_fixed_test():
    """28 daily looks at a two-sided 5 % z-test on data without any effect."""
    days = np.random.default_rng(0).normal(size=(40_000, 28)).cumsum(axis=1) / np.sqrt(np.arange(1, 29))
    alarms = (np.abs(days) > norm.isf(0.025)).any(axis=1).mean()
    assert alarms == pytest.approx(0.27, abs=0.01)


def test_savings_by_cost_and_the_return_on_investment():
    """450,000 + 250,000 + 600,000 SEK a year at a cost of 350,000: 371 % gross, 271 % net."""
    found = Returns(450_000 + 250_000 + 600_000, 350_000)
    assert (round(100 * found.gross_ratio), round(100 * found.net_roi)) == (371, 271)
    saved = [word for amount in ("450000", "250000", "600000") for word in ("--saved", amount)]
    told = CliRunner().invoke(app, ["roi", *saved, "--cost", "350000"])
    gross, net = (line for line in told.output.splitlines() if "%" in line)
    assert ("gross ratio" in gross, "371%" in gross) == (True, True)
    assert ("net ROI" in net, "271%" in net) == (True, True)


@pytest.mark.parametrize(
    ("saved", "cost"), [(1.0, 0.0), (1.0, -1.0), (float("nan"), 1.0), (1.0, float("inf"))]
)
def test_returns_that_cannot_be_are_refused(saved, cost):
    with pytest.raises(ValueError, match="a cost above 0"):
        Returns(saved, cost)
