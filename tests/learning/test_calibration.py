"""Calibration that is right when there are few labels."""

import json
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
import venn_abers
from hrloop.learning import calibration
from hrloop.learning.calibration import (
    Beta,
    Platt,
    VennAbers,
    confidence,
    fit_beta,
    fit_platt,
    fit_venn_abers,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import betaln, expit, logit
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

STRENGTH = 5.0  # as the recruitment use case declares


def expected_log_loss(truth: np.ndarray, probability: np.ndarray) -> float:
    return float(-np.mean(truth * np.log(probability) + (1 - truth) * np.log1p(-probability)))


def mean_regret(fit, n: int, slope: float, intercept: float, runs: int = 300) -> tuple[float, float]:
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
        fitted = fit(expit(margin), label, prior_strength=STRENGTH)
        losses.append(expected_log_loss(truth, fitted.probability(expit(fresh))) - floor)
    return expected_log_loss(truth, expit(fresh)) - floor, float(np.mean(losses))


@pytest.mark.parametrize("fit", [fit_platt, fit_beta])
@pytest.mark.parametrize("n", [60, 100, 200])
def test_a_calibrated_score_is_hardly_harmed(n, fit):
    identity, calibrated = mean_regret(fit, n, slope=1.0, intercept=0.0)
    assert identity == pytest.approx(0, abs=1e-9)
    assert calibrated < 0.0025 + 0.35 / n


@pytest.mark.parametrize("n", [60, 100, 200])
@pytest.mark.parametrize(("slope", "intercept"), [(0.4, 0.0), (1.0, -0.8), (2.0, 0.5), (0.5, 0.7)])
def test_a_score_that_is_off_is_improved(n, slope, intercept):
    identity, calibrated = mean_regret(fit_platt, n, slope, intercept)
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


FITS = {
    "platt": partial(fit_platt, prior_strength=STRENGTH),
    "beta": partial(fit_beta, prior_strength=STRENGTH),
    "venn_abers": fit_venn_abers,
}


@pytest.mark.parametrize("kind", FITS)
@settings(deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 1), st.booleans()), max_size=60),
    st.lists(st.floats(0, 1), min_size=2, max_size=50),
)
def test_ranks_stay_and_probabilities_are_probabilities(kind, labels, scores):
    score = np.array([s for s, _ in labels])
    label = np.array([float(y) for _, y in labels])
    fitted = FITS[kind](score, label)
    probability = fitted.probability(np.sort(scores))
    assert np.isfinite(probability).all()
    assert ((probability >= 0) & (probability <= 1)).all()
    assert (np.diff(probability) >= 0).all()
    assert calibration.from_dict(json.loads(json.dumps(fitted.as_dict()))) == fitted


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), max_size=60))
def test_slopes_stay_above_zero(labels):
    score = np.array([s for s, _ in labels])
    label = np.array([float(y) for _, y in labels])
    beta = fit_beta(score, label, prior_strength=STRENGTH)
    slopes = [fit_platt(score, label, prior_strength=STRENGTH).slope, beta.a, beta.b]
    assert min(slopes) >= calibration.SMALLEST_SLOPE


def test_a_score_that_points_the_wrong_way_is_flattened_not_reversed():
    r = np.random.default_rng(1)
    margin = r.normal(size=2000)
    label = (r.random(2000) < expit(-2 * margin)).astype(float)
    fitted = fit_platt(expit(margin), label, prior_strength=5)
    assert fitted.slope == calibration.SMALLEST_SLOPE
    assert fitted.probability(np.array([0.5]))[0] == pytest.approx(label.mean(), abs=0.02)


def test_the_fit_is_the_minimum():
    """Against a general optimiser."""
    r = np.random.default_rng(2)
    margin = r.normal(size=90)
    label = (r.random(90) < expit(0.6 * margin + 0.4)).astype(float)
    fitted = fit_platt(expit(margin), label, prior_strength=3)

    def loss(at):
        m = at[0] * logit(expit(margin)) + at[1]
        return np.sum(np.logaddexp(0, m) - label * m) + 1.5 * ((at[0] - 1) ** 2 + at[1] ** 2)

    best = minimize(loss, [1.0, 0.0], tol=1e-12).x
    assert (fitted.slope, fitted.intercept) == pytest.approx(tuple(best), abs=1e-5)


def test_beta_calibration_of_beta_scores_is_the_one_of_its_paper():
    """Kull et al. 2017: scores that are Beta(5, 2) among the good and Beta(2, 4) among the others, as many of
    each, have a = 5 - 2, b = 4 - 2 and c = ln B(2, 4) - ln B(5, 2)."""
    r = np.random.default_rng(8)
    score = np.r_[r.beta(5, 2, 100_000), r.beta(2, 4, 100_000)]
    label = np.r_[np.ones(100_000), np.zeros(100_000)]
    fitted = fit_beta(score, label, prior_strength=0)
    expected = (3, 2, betaln(2, 4) - betaln(5, 2))
    assert (fitted.a, fitted.b, fitted.c) == pytest.approx(expected, abs=0.06)


def test_beta_calibration_leaves_calibrated_scores_alone():
    r = np.random.default_rng(9)
    score = r.random(200_000)
    fitted = fit_beta(score, (r.random(len(score)) < score).astype(float), prior_strength=STRENGTH)
    assert (fitted.a, fitted.b, fitted.c) == pytest.approx((1, 1, 0), abs=0.03)
    assert fit_beta(np.array([]), np.array([]), prior_strength=STRENGTH) == Beta(prior_strength=STRENGTH)
    np.testing.assert_allclose(Beta().probability(score[:100]), score[:100], rtol=1e-9)


def test_beta_calibration_without_a_prior_is_logistic_regression():
    r = np.random.default_rng(10)
    score = r.beta(2, 2, 500)
    label = (r.random(500) < score**2).astype(float)
    weight = r.choice([1.0, 3.0], 500)
    fitted = fit_beta(score, label, weight, prior_strength=0)
    design = np.column_stack([np.log(score), -np.log1p(-score)])
    other = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(design, label, weight)
    assert (fitted.a, fitted.b, fitted.c) == pytest.approx((*other.coef_[0], *other.intercept_), abs=1e-4)


@pytest.mark.parametrize("turned", [(1, -2), (-2, 1), (-1, -1)])
def test_beta_calibration_within_its_bounds_is_the_minimum(turned):
    """Against a general optimiser with bounds, where one slope or both would be negative without."""
    r = np.random.default_rng(12)
    score = r.beta(2, 2, 300)
    logs = np.column_stack([np.log(score), -np.log1p(-score), np.ones(300)])
    label = (r.random(300) < expit(logs @ [*turned, 0.3])).astype(float)
    fitted = fit_beta(score, label, prior_strength=STRENGTH)

    def loss(at):
        m = logs @ at
        return (
            np.sum(np.logaddexp(0, m) - label * m)
            + STRENGTH / 2 * np.square(np.subtract(at, [1, 1, 0])).sum()
        )

    smallest = calibration.SMALLEST_SLOPE
    best = minimize(
        loss, [1, 1, 0], bounds=[(smallest, None), (smallest, None), (None, None)], options={"ftol": 1e-14}
    )
    assert min(fitted.a, fitted.b) == smallest
    assert loss([fitted.a, fitted.b, fitted.c]) <= best.fun + 1e-9
    assert (fitted.a, fitted.b, fitted.c) == pytest.approx(tuple(best.x), abs=1e-3)


@pytest.mark.parametrize(("ones", "n"), [(0, 1), (3, 4), (5, 5), (7, 30)])
def test_venn_abers_of_one_score_is_laplaces_rule(ones, n):
    """Nothing to order by: p0 and p1 are the rates with one label more, and merge to (k + 1) / (n + 2)."""
    label = np.r_[np.ones(ones), np.zeros(n - ones)]
    fitted = fit_venn_abers(np.full(n, 0.4), label)
    assert fitted.pair(np.array([0.4])) == pytest.approx([ones / (n + 1), (ones + 1) / (n + 1)], abs=1e-6)
    assert fitted.probability(np.array([0.4]))[0] == pytest.approx((ones + 1) / (n + 2), abs=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_venn_abers_is_what_its_definition_says(seed):
    """p0 and p1 are isotonic regressions with the score itself added, once as a 0 and once as a 1."""
    r = np.random.default_rng(seed)
    score = r.integers(0, 40, 80) / 40
    label = (r.random(80) < 0.8 * score).astype(float)
    asked = np.r_[np.linspace(0, 1, 23), score[:10]]
    found = fit_venn_abers(score, label).pair(asked)
    for value, p in enumerate(found):
        expected = [
            IsotonicRegression().fit(np.r_[score, s], np.r_[label, value]).predict([s])[0] for s in asked
        ]
        np.testing.assert_allclose(p, expected, atol=1e-6)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # the package divides by zero on its way
@pytest.mark.parametrize("n", [1, 60, 600, 20_000])
def test_venn_abers_kept_as_data_is_the_package(n):
    r = np.random.default_rng(n)
    score = r.random(n)
    label = (r.random(n) < expit(3 * score - 2)).astype(float)
    fitted = fit_venn_abers(score, label)
    asked = np.r_[0, r.random(300), score[:100], 1]
    package = venn_abers.VennAbers().fit(np.column_stack([1 - score, score]), label, precision=3)
    expected, pair = package.predict_proba(np.column_stack([1 - asked, asked]))
    np.testing.assert_allclose(fitted.probability(asked), expected[:, 1], atol=2e-6)
    np.testing.assert_allclose(np.column_stack(fitted.pair(asked)), pair, atol=1e-6)
    assert len(fitted.score) <= 200


def test_venn_abers_without_labels_says_that_it_does_not_know():
    nothing = fit_venn_abers(np.array([]), np.array([]))
    assert nothing == VennAbers()
    assert nothing.probability(np.array([0.1, 0.9])) == pytest.approx([0.5, 0.5])


def test_divisions_by_zero_are_still_reported():
    """The package for Venn-Abers silences them in the whole process when it is imported."""
    told = "import numpy as np; import hrloop.learning.calibration; print(np.geterr() == before)"
    run = subprocess.run(  # a process of its own: what else a test session imported does not count
        [sys.executable, "-c", "import numpy; before = numpy.geterr(); " + told],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert run.stdout.strip() == "True"


def test_parameters_are_plain_and_come_back():
    for fitted in (
        Platt(0.7, -0.2, 5.0, 80, 61.5),
        Beta(0.7, 1.2, -0.2, 5.0, 80, 61.5),
        VennAbers((0.3, 0.6), (0.0, 0.25, 0.5), (0.5, 0.75, 1.0), 6),
    ):
        assert calibration.from_dict(json.loads(json.dumps(fitted.as_dict()))) == fitted
    with pytest.raises(ValueError, match="isotonic"):
        calibration.from_dict({"kind": "isotonic"})


def test_confidence_is_in_the_recommended_action():
    """The worked case: 0.8 advanced is 0.8 sure, 0.8 declined is 0.2 sure, whatever max(p, 1-p) says."""
    probability = np.array([0.8, 0.8, 0.3, 0.3])
    positive = np.array([True, False, True, False])
    np.testing.assert_allclose(confidence(probability, positive), [0.8, 0.2, 0.3, 0.7])
