"""Censoring: curves as lifelines draws them, and weights that make those known stand for all."""

import warnings

import numpy as np
import pytest
from hrloop.learning import LearningError, censoring
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from lifelines import KaplanMeierFitter

MONTHS = 6.0


@st.composite
def followed(draw):
    """Months (many of them tied), whether the event ended them, and how many each case stands for, in
    quarters: lifelines takes weights off one by one, and what is left of other ones would not be nothing."""
    rows = draw(
        st.lists(st.tuples(st.integers(0, 9), st.booleans(), st.integers(1, 80)), min_size=1, max_size=60)
    )
    month, happened, weight = zip(*rows, strict=True)
    return np.array(month, dtype=float), np.array(happened), np.array(weight) / 4


def lifelines_share(month, happened, weight, at):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that weights are no counts: only the variance would mind
        # a month later, as lifelines begins at 0 and takes no step there
        fitter = KaplanMeierFitter().fit(month + 1, happened, weights=weight)
        return fitter.survival_function_at_times(at + 1).to_numpy()


def test_five_cases_by_hand():
    """At month 2 one leaves and one is lost: four are at risk of leaving, three of being lost."""
    month, left = np.array([1.0, 2, 2, 3, 4]), np.array([True, True, False, False, True])
    staying = censoring.without_event(month, left)
    np.testing.assert_allclose(staying.at(np.array([0.5, 1, 2, 3.9, 4])), [1, 0.8, 0.6, 0.6, 0])
    np.testing.assert_allclose(staying.before(np.array([1.0, 2, 4])), [1, 0.8, 0.6])
    np.testing.assert_allclose(censoring.weights(month, left, 3.0), [1, 1, 0, 1.5, 1.5])


@settings(max_examples=30)
@given(followed())
def test_the_curve_is_that_of_lifelines(cases):
    month, happened, weight = cases
    at = np.arange(10.0)
    expected = lifelines_share(month, happened, weight, at)
    np.testing.assert_allclose(censoring.without_event(*cases).at(at), expected, atol=1e-9)


@settings(max_examples=30)
@given(followed())
def test_the_weights_are_the_inverse_of_lifelines_curve_of_censoring(cases):
    """Lifelines has no order within a moment: there events are put just before it."""
    month, happened, weight = cases
    assume((month >= MONTHS).any())
    known = happened | (month >= MONTHS)
    just_before = np.minimum(month, MONTHS) - 0.2
    staying = lifelines_share(np.where(happened, month - 0.1, month), ~happened, weight, just_before)
    expected = np.where(known, 1 / np.where(known, staying, 1), 0)
    np.testing.assert_allclose(censoring.weights(*cases[:2], MONTHS, weight), expected, rtol=1e-9)


@given(followed())
def test_those_known_stand_for_all(cases):
    month, happened, weight = cases
    assume((month >= MONTHS).any())
    found = censoring.weights(month, happened, MONTHS, weight)
    assert ((found == 0) == (~happened & (month < MONTHS))).all()
    assert np.dot(found, weight) == pytest.approx(weight.sum())
    came = happened & (month <= MONTHS)
    risk = 1 - censoring.without_event(month, happened, weight).at(MONTHS)
    assert np.average(came, weights=found * weight) == pytest.approx(risk, abs=1e-9)


def test_to_drop_the_censored_and_to_count_them_as_staying_are_both_wrong():
    r = np.random.default_rng(7)
    leaves, lost = r.weibull(1.5, 20_000) * 9, r.exponential(6, 20_000)
    month, happened = np.minimum(leaves, lost), leaves <= lost
    came = happened & (month <= MONTHS)
    known = came | (month >= MONTHS)
    weighted = np.average(came, weights=censoring.weights(month, happened, MONTHS))
    truth = (leaves <= MONTHS).mean()
    assert weighted == pytest.approx(truth, abs=0.012)
    assert came[known].mean() > truth + 0.02
    assert came.mean() < truth - 0.1


def test_nothing_is_known_where_nobody_was_followed_so_far():
    with pytest.raises(LearningError, match=r"none of 3 cases was followed to month 6 .*month 5\.0"):
        censoring.weights(np.array([1.0, 2, 5]), np.array([True, False, False]), MONTHS)
    everyone = censoring.weights(np.array([1.0, 2, 5]), np.array([True, True, True]), MONTHS)
    np.testing.assert_array_equal(everyone, 1.0)


@pytest.mark.parametrize("month", [-0.1, np.nan])
def test_a_follow_up_that_is_none_is_refused(month):
    months = np.array([1.0, month])
    with pytest.raises(LearningError, match="row 1 was followed for"):
        censoring.weights(months, np.array([True, True]), MONTHS)
    with pytest.raises(LearningError, match="row 1 was followed for"):
        censoring.bounds(months, np.array([1.0, 1.0]), MONTHS)


def test_bounds_follow_the_label_and_not_the_length_of_calendar_months():
    """Half a year is 181 to 184 days: 5.95 to 6.05 months."""
    month = np.array([5.95, 6.05, 6.05, 2.0, 2.0, 0.0])
    label = np.array([0.0, 0.0, 1.0, 1.0, np.nan, 1.0])
    expected = [[6, np.inf], [6, np.inf], [6, 6], [2, 2], [2, np.inf], [0, 0]]
    np.testing.assert_array_equal(censoring.bounds(month, label, MONTHS), expected)
