"""Metrics against scikit-learn and by hand, and intervals that hold what they promise."""

import math
import time

import numpy as np
import pytest
from hrloop.evaluation import metrics
from hrloop.evaluation.metrics import Interval
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit
from sklearn import metrics as reference


def sample(seed: int, groups: int, size: int, spread: float, alike: bool = False) -> tuple[np.ndarray, ...]:
    """Calibrated probabilities whose errors are alike within a group: (label, probability, group).

    ``alike``: the probabilities are so too.
    """
    r = np.random.default_rng(seed)
    group = np.repeat(np.arange(groups), size)
    margin = r.normal(0, 1, groups)[group] if alike else r.normal(0, 1, groups * size)
    shift = spread * r.normal(0, 1, groups)[group]
    label = (r.random(len(group)) < expit(margin + shift)).astype(float)
    return label, expit(margin), group.astype(str)


rows = st.lists(
    st.tuples(st.booleans(), st.sampled_from([0.05, 0.2, 0.4, 0.5, 0.8, 0.95]), st.floats(0.1, 5)),
    min_size=2,
    max_size=60,
).filter(lambda found: len({label for label, _, _ in found}) == 2)


@settings(deadline=None)
@given(rows)
def test_weighted_metrics_agree_with_scikit_learn(found):
    label, probability, weight = (np.array(column, dtype=float) for column in zip(*found, strict=True))
    ours = [f(label, probability, weight) for f in (metrics.log_loss, metrics.brier, metrics.auc)]
    theirs = [
        reference.log_loss(label, probability, sample_weight=weight),
        reference.brier_score_loss(label, probability, sample_weight=weight),
        reference.roc_auc_score(label, probability, sample_weight=weight),
    ]
    np.testing.assert_allclose(ours, theirs, rtol=1e-9)


@settings(deadline=None)
@given(rows)
def test_ndcg_agrees_with_scikit_learn(found):
    label, probability, _ = (np.array(column, dtype=float) for column in zip(*found, strict=True))
    group = np.zeros(len(label))
    expected = reference.ndcg_score(label[None, :], probability[None, :])
    assert metrics.ndcg(label, probability, group) == pytest.approx(expected)


def test_ndcg_is_the_mean_of_groups_that_could_be_wrong():
    label = np.array([1, 0, 0, 1, 1, 1, 0.0])
    probability = np.array([0.9, 0.1, 0.8, 0.2, 0.5, 0.6, 0.4])
    group = np.array(["right", "right", "wrong", "wrong", "all good", "all good", "single"])
    assert metrics.ndcg(label, probability, group) == pytest.approx((1 + 1 / np.log2(3)) / 2)
    assert metrics.intervals(label, probability, group)["ndcg"].n == 2


def test_the_two_calibration_errors_differ_as_they_should():
    """Ten of 100 come true at p = 0.3: the event is off by 0.2, and so is the confidence in 'no', 0.7
    against 0.9 right. Recommending 'yes' all the same is 0.3 sure and 0.1 right."""
    label, probability = np.r_[np.ones(10), np.zeros(90)], np.full(100, 0.3)
    assert metrics.calibration_error_event_rate(label, probability) == pytest.approx(0.2)
    assert metrics.calibration_error_accuracy(label, probability) == pytest.approx(0.2)
    mixed_label = np.r_[np.ones(50), np.zeros(50)]
    mixed = np.r_[np.full(50, 0.6), np.full(50, 0.4)]  # right always, but only 0.6 sure
    assert metrics.calibration_error_event_rate(mixed_label, mixed) == pytest.approx(0.4)
    cancelling = np.r_[np.full(50, 0.9), np.full(50, 0.1)]
    half_right = np.r_[np.ones(40), np.zeros(10), np.ones(10), np.zeros(40)]
    assert metrics.calibration_error_event_rate(half_right, cancelling) == pytest.approx(0.1)
    everyone = np.ones(100, dtype=bool)
    event = metrics.calibration_error_event_rate(half_right, cancelling)
    assert metrics.calibration_error_accuracy(half_right, cancelling, positive=everyone) == pytest.approx(
        event
    )


def test_event_rate_and_accuracy_form_can_disagree():
    """Two groups off in opposite directions around one half look right in the accuracy form."""
    probability = np.r_[np.full(100, 0.8), np.full(100, 0.2)]
    label = np.r_[np.ones(90), np.zeros(10), np.ones(30), np.zeros(70)]
    assert metrics.calibration_error_event_rate(label, probability) == pytest.approx(0.1)
    assert metrics.calibration_error_accuracy(label, probability) == pytest.approx(0.0)


def test_a_weight_of_two_is_the_row_twice():
    label, probability, _ = sample(1, 40, 5, 0.5)
    weight = np.where(np.arange(len(label)) % 3 == 0, 2.0, 1.0)
    twice = np.repeat(np.arange(len(label)), weight.astype(int))
    for metric in (metrics.log_loss, metrics.brier, metrics.auc):
        assert metric(label, probability, weight) == pytest.approx(metric(label[twice], probability[twice]))


def test_intervals_hold_the_point_metrics():
    label, probability, group = sample(3, 60, 5, 0.5)
    weight = np.random.default_rng(0).gamma(2, 1, len(label))
    found = metrics.intervals(label, probability, group, weight, resamples=200)
    assert found["brier"].value == pytest.approx(metrics.brier(label, probability, weight))
    assert found["log_loss"].value == pytest.approx(metrics.log_loss(label, probability, weight))
    assert found["auc"].value == pytest.approx(metrics.auc(label, probability, weight))
    assert found["ndcg"].value == pytest.approx(metrics.ndcg(label, probability, group))
    for name in ("calibration_error_event_rate", "calibration_error_accuracy"):
        assert found[name].value == pytest.approx(getattr(metrics, name)(label, probability, weight))
    for interval in found.values():
        assert 0 <= interval.low <= interval.value <= interval.high


def test_intervals_do_not_depend_on_the_order_of_rows_but_on_the_seed():
    label, probability, group = sample(4, 50, 4, 0.3)
    order = np.random.default_rng(0).permutation(len(label))
    one = metrics.intervals(label, probability, group, resamples=100, seed=5)
    two = metrics.intervals(label[order], probability[order], group[order], resamples=100, seed=5)
    for name in one:
        assert (one[name].low, one[name].high) == pytest.approx((two[name].low, two[name].high), rel=1e-9)
    other = metrics.intervals(label, probability, group, resamples=100, seed=6)
    assert other["brier"].low != one["brier"].low


def test_clustered_intervals_cover_where_plain_ones_do_not():
    """The true gain over a coin, by a large sample; groups with a common shift."""
    label, probability, _ = sample(99, 60_000, 8, 1.5, alike=True)
    truth = 0.25 - metrics.brier(label, probability)
    covered = {"clustered": 0, "plain": 0}
    runs = 300
    for seed in range(runs):
        label, probability, group = sample(seed, 80, 8, 1.5, alike=True)
        for name, clusters in (("clustered", group), ("plain", np.arange(len(label)))):
            gain = metrics.improvement(label, probability, 0.5, clusters, resamples=200)["brier"]
            covered[name] += gain.low <= truth <= gain.high
    assert covered["clustered"] / runs >= 0.91
    assert covered["plain"] / runs <= 0.80


def test_pairing_sees_a_difference_that_two_intervals_hide():
    label, probability, group = sample(7, 200, 3, 0.0)
    worse = expit(np.log(probability / (1 - probability)) + 0.8)
    paired = metrics.improvement(label, probability, worse, group, resamples=500)
    assert paired["brier"].is_above(0)
    assert paired["log_loss"].is_above(0)
    good = metrics.intervals(label, probability, group, resamples=500)["brier"]
    bad = metrics.intervals(label, worse, group, resamples=500)["brier"]
    assert good.high > bad.low
    back = metrics.improvement(label, worse, probability, group, resamples=500)
    assert back["brier"].value == pytest.approx(-paired["brier"].value)
    assert back["brier"].is_below(0)


def test_the_base_rate_itself_is_no_improvement():
    label, _, group = sample(8, 50, 4, 0.0)
    same = metrics.improvement(label, np.full(len(label), 0.4), 0.4, group, resamples=50)
    assert same["brier"] == Interval(0.0, 0.0, 0.0, 200)
    assert not same["brier"].is_above(0)


def test_false_improvements_over_the_base_rate_are_rare():
    """A model of pure noise is 'measurably better' in no more than its share of simulations."""
    found = 0
    for seed in range(200):
        r = np.random.default_rng(seed)
        label = (r.random(240) < 0.4).astype(float)
        noise = expit(np.log(0.4 / 0.6) + r.normal(0, 0.15, 240))
        gain = metrics.improvement(label, noise, 0.4, r.integers(0, 80, 240), resamples=300)
        found += gain["brier"].is_above(0)
    assert found / 200 <= 0.05


def test_what_is_not_defined_is_nan_and_never_zero():
    empty = np.array([])
    for metric in (metrics.log_loss, metrics.brier, metrics.auc, metrics.calibration_error_event_rate):
        assert math.isnan(metric(empty, empty))
    assert math.isnan(metrics.ndcg(empty, empty, empty))
    assert math.isnan(metrics.auc(np.ones(5), np.linspace(0.1, 0.9, 5)))
    nothing = metrics.intervals(empty, empty, empty)
    assert all(math.isnan(i.value) and i.n == 0 for i in nothing.values())
    one_group = metrics.intervals(np.array([0.0, 1]), np.array([0.2, 0.9]), np.array(["a", "a"]))
    assert one_group["brier"].value > 0
    assert math.isnan(one_group["brier"].low)
    assert not one_group["brier"].is_above(-1)
    assert not one_group["brier"].is_below(1)
    assert one_group["brier"].as_dict()["low"] is None


def test_a_rare_class_leaves_auc_without_an_interval():
    """One positive in forty groups: over a third of the resamples have none."""
    label = np.r_[1.0, np.zeros(39)]
    found = metrics.intervals(label, np.linspace(0.9, 0.1, 40), np.arange(40), resamples=300)["auc"]
    assert found.value == 1.0
    assert math.isnan(found.low)


@pytest.mark.parametrize(
    ("label", "probability", "weight", "words"),
    [
        ([0, 1], [0.5], None, "one length"),
        ([0, 2], [0.5, 0.5], None, "neither 0 nor 1"),
        ([0, np.nan], [0.5, 0.5], None, "neither 0 nor 1"),
        ([0, 1], [0.5, np.nan], None, "missing or outside"),
        ([0, 1], [0.5, 1.1], None, "missing or outside"),
        ([0, 1], [0.5, 0.5], [1, np.nan], "a weight is missing"),
        ([0, 1], [0.5, 0.5], [1, -1], "negative"),
    ],
)
def test_what_cannot_be_measured_is_refused(label, probability, weight, words):
    weight = None if weight is None else np.array(weight)
    with pytest.raises(ValueError, match=words):
        metrics.brier(np.array(label), np.array(probability), weight)


def test_groups_of_another_length_are_refused():
    with pytest.raises(ValueError, match="3 groups for 2 labels"):
        metrics.intervals(np.array([0, 1]), np.array([0.1, 0.9]), np.array(["a", "b", "c"]))


def test_a_thousand_resamples_of_five_thousand_rows_are_quick():
    label, probability, group = sample(1, 1000, 5, 0.3)
    start = time.process_time()
    metrics.intervals(label, probability, group, resamples=1000)
    assert time.process_time() - start < 4  # 2 s aimed at, doubled for a busy machine
