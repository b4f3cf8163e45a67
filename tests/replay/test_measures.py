"""Measures of a replay: expectations over what may become of people, and means over seeds."""

import itertools

import numpy as np
import pandas as pd
import pytest
from hrloop.evaluation import metrics
from hrloop.replay import measures
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

share = st.floats(0.01, 0.99)


@given(st.lists(st.tuples(share, share), min_size=1, max_size=6))
def test_the_brier_score_is_the_mean_over_everything_that_may_become_of_people(people):
    chance, said = np.array(people).T
    outcomes = np.array(list(itertools.product([0.0, 1.0], repeat=len(chance))))
    likely = np.prod(np.where(outcomes == 1, chance, 1 - chance), axis=1)
    mean = sum(p * metrics.brier(label, said) for p, label in zip(likely, outcomes, strict=True))
    assert measures.expected(chance, said)["brier"] == pytest.approx(mean)


@given(st.lists(st.tuples(st.sampled_from([0.0, 1.0]), share), min_size=2, max_size=40))
def test_where_the_truth_is_certain_it_is_what_an_outcome_would_say(people):
    chance, said = np.array(people).T
    found, told = measures.expected(chance, said), measures.seen(chance, said)
    assert found["brier"] == pytest.approx(told["brier"])
    assert found["auc"] == pytest.approx(told["auc"], nan_ok=True)


def test_expected_auc_is_that_of_many_draws_and_the_truth_is_calibrated():
    r = np.random.default_rng(4)
    chance = r.beta(1.2, 2.0, 4000)
    said = np.clip(chance + 0.2 * r.normal(size=4000), 0, 1)
    found = measures.expected(chance, said)
    drawn = [measures.seen((r.random(4000) < chance).astype(float), said) for _ in range(30)]
    for name in ("auc", "brier"):
        values = np.array([one[name] for one in drawn])
        assert abs(found[name] - values.mean()) < 4 * values.std() / np.sqrt(30)
    assert measures.expected(chance, chance)["calibration"] == pytest.approx(0, abs=1e-12)
    assert found["calibration"] > 0.02


def test_a_mean_over_seeds_has_students_interval():
    values = np.array([0.20, 0.23, 0.19, np.nan, 0.22])
    found = measures.over_seeds(values)
    low, high = stats.t.interval(0.95, 3, loc=np.nanmean(values), scale=stats.sem(values, nan_policy="omit"))
    assert (found.value, found.low, found.high, found.n) == pytest.approx((np.nanmean(values), low, high, 4))
    one, none = measures.over_seeds(np.array([0.2])), measures.over_seeds(np.array([]))
    assert one.value == 0.2
    assert np.isnan([one.low, one.high, none.value]).all()
    assert (one.n, none.n) == (1, 0)
    assert not one.is_above(0), "one seed shows nothing"


def test_the_lowest_ratio_of_months_together():
    # EEOC Uniform Guidelines, Q&A 1979: rates of 60, 45, 48 and 51 %, in two months
    first = {"a": [20, 40], "b": [25, 50], "c": [24, 50], "d": [26, 50]}
    second = {"a": [40, 60], "b": [20, 50], "c": [24, 50], "d": [25, 50], "few": [0, 5]}
    assert measures.lowest_ratio([first, second], minimum=30) == pytest.approx(0.75)
    assert measures.lowest_ratio([first, second], minimum=1) == 0
    assert np.isnan(measures.lowest_ratio([{"a": [1, 40]}], minimum=30))


def test_selections_are_counted_by_attribute_and_the_unknown_left_out():
    rows = pd.DataFrame({"gender": ["f", "m", None, "f"], "band": ["old", "old", "old", None]})
    counted = measures.selections(rows, np.array([True, False, True, False]), ("gender", "band"))
    assert counted == {"gender": {"f": [1, 2], "m": [0, 1]}, "band": {"old": [2, 3]}}
