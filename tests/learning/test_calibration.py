"""Calibration that is right when there are few labels."""

import numpy as np
import pytest
from hrloop.learning import calibration
from hrloop.learning.calibration import Platt, confidence, fit_platt
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit

STRENGTH = 5.0  # as the recruitment use case declares


def expected_log_loss(truth: np.ndarray, probability: np.ndarray) -> float:
    return float(-np.mean(truth * np.log(probability) + (1 - truth) * np.log1p(-probability)))


def mean_regret(n: int, slope: float, intercept: float, runs: int = 300) -> tuple[float, float]:
    """Expected log loss of (identity, calibrated) above the best possible, averaged over simulations.

    Scores are such that logit(truth) = slope * logit(score) + intercept.
    """
    r = np.random.default_rng(11)
    fresh = r.normal(-0.3, 1.0, 4000)
    truth = expit(slope * fresh + intercept)
    floor = expected_log_loss(truth, truth)
    losses = []
    for _ in range(runs):
        margin = r.normal(-0.3, 1.0, n)
        label = (r.random(n) < expit(slope * margin + intercept)).astype(float)
        fitted = fit_platt(expit(margin), label, prior_strength=STRENGTH)
        losses.append(expected_log_loss(truth, fitted.probability(expit(fresh))) - floor)
    return expected_log_loss(truth, expit(fresh)) - floor, float(np.mean(losses))


@pytest.mark.parametrize("n", [60, 100, 200])
def test_a_calibrated_score_is_hardly_harmed(n):
    identity, calibrated = mean_regret(n, slope=1.0, intercept=0.0)
    assert identity == pytest.approx(0, abs=1e-9)
    assert calibrated < 0.0025 + 0.35 / n


@pytest.mark.parametrize("n", [60, 100, 200])
@pytest.mark.parametrize(("slope", "intercept"), [(0.4, 0.0), (1.0, -0.8), (2.0, 0.5), (0.5, 0.7)])
def test_a_score_that_is_off_is_improved(n, slope, intercept):
    identity, calibrated = mean_regret(n, slope, intercept)
    assert calibrated < 0.6 * identity


def test_the_prior_decides_without_labels_and_labels_decide_in_the_end():
    assert fit_platt(np.array([]), np.array([]), prior_strength=5).slope == 1.0
    r = np.random.default_rng(0)
    margin = r.normal(0, 1.5, 100_000)
    label = (r.random(len(margin)) < expit(0.5 * margin - 1)).astype(float)
    fitted = fit_platt(expit(margin), label, prior_strength=5)
    assert fitted.slope == pytest.approx(0.5, abs=0.02)
    assert fitted.intercept == pytest.approx(-1, abs=0.03)
    held = fit_platt(expit(margin[:50]), label[:50], prior_strength=1e9)
    assert (held.slope, held.intercept) == pytest.approx((1, 0), abs=1e-6)


def test_weights_count_as_their_effective_number():
    r = np.random.default_rng(4)
    margin = r.normal(size=80)
    label = (r.random(80) < expit(margin - 1)).astype(float)
    score = expit(margin)
    plain = fit_platt(score, label, prior_strength=5)
    scaled = fit_platt(score, label, np.full(80, 1000.0), prior_strength=5)
    assert (scaled.slope, scaled.intercept) == pytest.approx((plain.slope, plain.intercept), abs=1e-9)
    heavy = np.ones(80)
    heavy[0] = 1e6
    assert fit_platt(score, label, heavy, prior_strength=5).effective_labels == pytest.approx(1, abs=1e-3)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 1), st.booleans()), max_size=60),
    st.lists(st.floats(0, 1), min_size=2, max_size=50),
)
def test_ranks_stay_and_probabilities_are_probabilities(labels, scores):
    score = np.array([s for s, _ in labels])
    label = np.array([float(y) for _, y in labels])
    fitted = fit_platt(score, label, prior_strength=STRENGTH)
    assert fitted.slope >= calibration.SMALLEST_SLOPE
    probability = fitted.probability(np.sort(scores))
    assert np.isfinite(probability).all()
    assert ((probability >= 0) & (probability <= 1)).all()
    assert (np.diff(probability) >= 0).all()


def test_a_score_that_points_the_wrong_way_is_flattened_not_reversed():
    r = np.random.default_rng(1)
    margin = r.normal(size=2000)
    label = (r.random(2000) < expit(-2 * margin)).astype(float)
    fitted = fit_platt(expit(margin), label, prior_strength=5)
    assert fitted.slope == calibration.SMALLEST_SLOPE
    assert fitted.probability(np.array([0.5]))[0] == pytest.approx(label.mean(), abs=0.02)


def test_the_fit_is_the_minimum():
    """Against a general optimiser."""
    from scipy.optimize import minimize

    r = np.random.default_rng(2)
    margin = r.normal(size=90)
    label = (r.random(90) < expit(0.6 * margin + 0.4)).astype(float)
    fitted = fit_platt(expit(margin), label, prior_strength=3)

    def loss(at):
        m = at[0] * logit(expit(margin)) + at[1]
        return np.sum(np.logaddexp(0, m) - label * m) + 1.5 * ((at[0] - 1) ** 2 + at[1] ** 2)

    best = minimize(loss, [1.0, 0.0], tol=1e-12).x
    assert (fitted.slope, fitted.intercept) == pytest.approx(tuple(best), abs=1e-5)


def test_parameters_are_plain_and_come_back():
    fitted = Platt(0.7, -0.2, 5.0, 80, 61.5)
    assert calibration.from_dict(fitted.as_dict()) == fitted
    with pytest.raises(ValueError, match="isotonic"):
        calibration.from_dict({"kind": "isotonic"})


def test_confidence_is_in_the_recommended_action():
    """The worked case: 0.8 advanced is 0.8 sure, 0.8 declined is 0.2 sure, whatever max(p, 1-p) says."""
    probability = np.array([0.8, 0.8, 0.3, 0.3])
    positive = np.array([True, False, True, False])
    np.testing.assert_allclose(confidence(probability, positive), [0.8, 0.2, 0.3, 0.7])
