"""A version beside the one in charge: the paired interval, protected groups, pooling, and the verdict."""

import json
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hrloop import usecase
from hrloop.evaluation import (
    Interval,
    clusters,
    compare,
    error_of_a_run,
    error_of_an_experiment,
    guard,
    metrics,
    pooling,
    successor,
)
from hrloop.settings import PROJECT
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit
from scipy.stats import ttest_1samp, ttest_ind

NAN = math.nan


@pytest.fixture(scope="module")
def use_case():
    return usecase.load("recruitment", PROJECT)


@pytest.fixture(scope="module")
def promotion(use_case):
    return use_case.promotion


def test_without_groups_and_weights_it_is_students_t():
    r = np.random.default_rng(0)
    values = r.normal(size=40)
    mean = clusters.mean(values, np.ones(40), np.arange(40))
    expected = ttest_1samp(values, 0).confidence_interval(0.95)
    assert replace(mean, skewness=0.0).ends(0.025) == pytest.approx((expected.low, expected.high))
    low, high = mean.ends(0.025)
    assert low <= expected.low
    assert high >= expected.high


def test_a_difference_of_means_is_welchs():
    r = np.random.default_rng(1)
    one, other = r.normal(0, 1, 30), r.normal(1, 3, 50)
    found = clusters.difference(*(clusters.mean(v, np.ones(len(v)), np.arange(len(v))) for v in (one, other)))
    expected = ttest_ind(one, other, equal_var=False)
    assert found.freedom == pytest.approx(expected.df)
    assert found.value / found.error == pytest.approx(expected.statistic)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.integers(3, 25))
def test_error_and_freedom_agree_with_their_matrices(seed, groups):
    """Leaving out one group at a time, and the moments of the quadratic form written out."""
    r = np.random.default_rng(seed)
    codes = np.repeat(np.arange(groups), r.integers(1, 4, groups))
    values, weight = r.normal(size=len(codes)), r.uniform(0.2, 5, len(codes))
    mean = clusters.mean(values, weight, codes)
    without = np.array([np.average(values[codes != g], weights=weight[codes != g]) for g in range(groups)])
    jackknife = (groups - 1) / groups * np.square(without - mean.value).sum()
    assert mean.error**2 == pytest.approx(jackknife)
    share = np.bincount(codes, weights=weight) / weight.sum()
    variances = np.bincount(codes, weights=weight**2)
    residuals = np.eye(groups) - np.outer(share, np.ones(groups))
    form = residuals.T @ np.diag((1 - share) ** -2.0) @ residuals @ np.diag(variances)
    assert mean.freedom == pytest.approx(max(1.0, np.trace(form) ** 2 / np.trace(form @ form)))


def test_paired_is_improvement_in_closed_form():
    r = np.random.default_rng(2)
    label = (r.random(300) < 0.6).astype(float)
    one, other = r.uniform(0.3, 0.9, 300), r.uniform(0.3, 0.9, 300)
    group, weight = np.array([f"r{g}" for g in r.integers(0, 140, 300)]), r.uniform(0.3, 3, 300)
    exact = metrics.paired(label, one, other, group, weight, alpha=0.025)
    boot = metrics.improvement(label, one, other, group, weight, resamples=2000)
    for name, gain in exact.items():
        assert gain.value == pytest.approx(boot[name].value)
        assert gain.high - gain.low == pytest.approx(boot[name].high - boot[name].low, rel=0.1)
    turned = metrics.paired(label, other, one, group, weight, alpha=0.025)
    assert turned["brier"].low == pytest.approx(-exact["brier"].high)
    same = metrics.paired(label, one, one, group, weight, alpha=0.005)
    assert same["brier"] == Interval(0.0, 0.0, 0.0, 300)


def test_one_group_or_none_gives_no_interval():
    nothing = metrics.paired(np.array([]), np.array([]), np.array([]), np.array([]), alpha=0.01)
    assert math.isnan(nothing["brier"].value)
    one = metrics.paired(np.array([0, 1]), np.array([0.1, 0.9]), 0.5, np.array(["a", "a"]), alpha=0.01)
    assert one["brier"].value > 0
    assert not one["brier"].is_above(-1)
    weightless = metrics.paired(
        np.array([0, 1.0]), np.array([0.1, 0.9]), 0.5, np.array(["a", "b"]), np.array([1.0, 0]), alpha=0.01
    )
    assert not weightless["brier"].is_above(-1)


def test_the_budget_of_a_year_is_spent_by_the_labels_that_are_new(promotion):
    budget = promotion.false_promotions_a_year
    assert budget.weekly.value + budget.monthly.value + budget.quarterly.value <= 1
    assert error_of_an_experiment(budget) == pytest.approx(0.03)
    assert error_of_a_run(0.26, new=10, a_year=520, spent=0.0, promotion=promotion) == pytest.approx(0.005)
    assert error_of_a_run(0.26, new=0, a_year=0, spent=0.0, promotion=promotion) == 0
    # a year's labels at once are no licence: the declared interval bounds a run, the budget the year
    assert error_of_a_run(0.26, new=520, a_year=520, spent=0.0, promotion=promotion) == pytest.approx(0.025)
    assert error_of_a_run(0.26, new=50, a_year=520, spent=0.25, promotion=promotion) == pytest.approx(0.01)
    assert error_of_a_run(0.26, new=50, a_year=520, spent=0.27, promotion=promotion) == 0


@pytest.mark.parametrize("runs", [365, 52, 12, 5])
def test_no_year_spends_more_than_its_budget_however_labels_come(promotion, runs):
    new = np.random.default_rng(runs).integers(0, 400, 3 * runs)  # three years, unevenly
    spent = []
    for number, labels in enumerate(new):
        a_year = int(new[max(0, number - runs + 1) : number + 1].sum())
        before = sum(spent[max(0, number - runs + 1) :])
        spent.append(error_of_a_run(0.26, int(labels), a_year, before, promotion))
    years = np.convolve(spent, np.ones(runs), "valid")
    assert years.max() <= 0.26 + 1e-9
    assert years[-1] > 0.1


def frame(better: float, n: int = 600, seed: int = 0) -> pd.DataFrame:
    """Matured labels; the version in charge sees the truth through noise, the other the better for less."""
    r = np.random.default_rng(seed)
    margin, noise = r.normal(0.4, 1.4, n), r.normal(0, 1.2, n)
    return pd.DataFrame(
        {
            "group_key": [f"r{g}" for g in r.integers(0, n // 2, n)],
            "label": (r.random(n) < expit(margin)).astype(float),
            "weight": r.gamma(4, 0.25, n),
            "probability": expit(0.6 * (margin + (1 - better) * noise)),
            "reference": expit(0.6 * (margin + noise)),
            "job_family": r.choice(["sales", "engineering", "finance"], n),
        }
    )


def compared(promotion, data, **how):
    given = {"base_rate": 0.58, "labels": 2400, "promotion": promotion, "alpha": 0.005, "seed": 1}
    return compare(data, **({"group_findings": ()} | given | how))


def test_from_matured_labels_to_a_verdict(promotion):
    good = compared(promotion, frame(0.9))
    verdict = successor(good, promotion)
    assert verdict.kind == "promote"
    assert "on 600 matured decisions in" in verdict.reasons[0]
    assert "99.0% interval" in verdict.reasons[0]
    worse = frame(0.9).rename(columns={"probability": "reference", "reference": "probability"})
    assert successor(compared(promotion, worse), promotion).kind == "keep"
    same = frame(0.9).assign(reference=lambda rows: rows["probability"])
    assert successor(compared(promotion, same), promotion).kind == "insufficient_evidence"
    few = compared(promotion, frame(0.9).head(70))
    assert successor(few, promotion).kind == "insufficient_evidence"
    assert successor(compared(promotion, frame(0.9).head(0)), promotion).kind == "insufficient_evidence"


def test_a_comparison_is_plain_data_and_repeatable(promotion):
    one = compared(promotion, frame(0.9))
    two = compared(promotion, frame(0.9).sample(frac=1, random_state=1))
    plain = json.loads(json.dumps(one.as_dict(), allow_nan=False))
    assert plain["improvement"]["brier"]["value"] == pytest.approx(two.improvement["brier"].value)
    assert 0 < plain["effective_labels"] < plain["evaluation_labels"]
    json.dumps(compared(promotion, frame(0.9).head(0)).as_dict(), allow_nan=False)
    with pytest.raises(ValueError, match="missing"):
        compared(promotion, frame(0.9), base_rate=NAN)


def groups(n: int, lost: float, selected: tuple[int, int] = (40, 40)) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Two genders of n labels, of which women lose so much certainty, and a hundred decided on of each."""
    r = np.random.default_rng(5)
    gender = np.repeat(["man", "woman", None], [n, n, 5])
    reference = np.clip(r.normal(0.6, 0.15, len(gender)), 0.05, 0.95)
    label = (r.random(len(gender)) < reference).astype(float)
    worse = expit(logit(reference) - lost * (2 * label - 1) + r.normal(0, 0.05, len(gender)))
    labelled = pd.DataFrame(
        {
            "group_key": [f"r{g}" for g in range(len(gender))],
            "label": label,
            "weight": 1.0,
            "reference": reference,
            "probability": np.where(gender == "woman", worse, reference + r.normal(0, 0.01, len(gender))),
            "gender": gender,
        }
    )
    decided = pd.DataFrame(
        {
            "gender": np.repeat(["man", "woman"], 100),
            "subject_key": [f"p{person}" for person in range(200)],
            "recommended": np.r_[np.arange(100) < selected[0], np.arange(100) < selected[1]],
            "reference_recommended": np.tile(np.arange(100) < 40, 2),
        }
    )
    return labelled.assign(probability=labelled["probability"].clip(0.01, 0.99)), decided


def test_protected_groups_are_compared_each_by_itself(use_case):
    def found(*given):
        findings = guard(*given, ("gender",), use_case.promotion, use_case.fairness)
        return {one.group: one.finding for one in findings}

    assert found(*groups(80, 0.0)) == {"man": "none", "woman": "none"}
    assert found(*groups(80, 0.5)) == {"man": "none", "woman": "hurt"}
    assert found(*groups(29, 0.5)) == {"man": "undetermined", "woman": "undetermined"}
    assert found(*groups(80, 0.0, (50, 25))) == {"man": "none", "woman": "hurt"}
    assert found(*groups(29, 0.0, (50, 25))) == {"man": "undetermined", "woman": "hurt"}


def test_adverse_impact_that_was_there_before_is_not_the_versions_doing(use_case):
    labelled, decided = groups(80, 0.0, (50, 25))
    before = decided.assign(reference_recommended=decided["recommended"])
    findings = guard(labelled, before, ("gender",), use_case.promotion, use_case.fairness)
    woman = next(one for one in findings if one.group == "woman")
    assert (woman.impact, woman.reference_impact, woman.finding) == ("adverse", "adverse", "none")
    assert (woman.labels, woman.people) == (80, 100)


# Thirteen trials of BCG vaccination (Colditz et al. 1994): log relative risks and their variances
BCG, BCG_VARIANCE = np.array(
    [
        (-0.8893, 0.3256), (-1.5854, 0.1946), (-1.3481, 0.4154), (-1.4416, 0.0200), (-0.2175, 0.0512),
        (-0.7861, 0.0069), (-1.6209, 0.2230), (0.0120, 0.0040), (-0.4694, 0.0564), (-1.3713, 0.0730),
        (-0.3394, 0.0124), (0.4459, 0.5325), (-0.0173, 0.0714),
    ]
).T  # fmt: skip


def test_random_effects_of_the_bcg_trials():
    """metafor, rma(yi, vi, data = dat.bcg, method = "DL"): 0.3088, -0.7141, standard error 0.1787."""
    found = pooling.random_effects(BCG, BCG_VARIANCE, 0.025)
    assert found.between == pytest.approx(0.3088, abs=5e-4)
    assert found.mean.value == pytest.approx(-0.7141, abs=5e-4)
    assert (found.mean.high - found.mean.low) / 2 / 2.1788 == pytest.approx(
        0.1787, abs=2e-3
    )  # t with 12 degrees of freedom
    for own, drawn in zip(BCG, found.shrunk, strict=True):
        assert min(own, found.mean.value) <= drawn.value <= max(own, found.mean.value)


def test_alike_segments_are_drawn_together_and_unlike_ones_are_not():
    alike = pooling.random_effects(np.full(5, 0.02), np.full(5, 1e-3), 0.025)
    assert alike.between == 0.0
    assert {round(one.value, 12) for one in alike.shrunk} == {0.02}
    unlike = np.array([-0.5, 0.5, -0.4, 0.4])
    apart = pooling.random_effects(unlike, np.full(4, 1e-6), 0.025)
    np.testing.assert_allclose([one.value for one in apart.shrunk], unlike, atol=1e-4)
    with pytest.raises(ValueError, match="at least two"):
        pooling.random_effects(np.array([0.1]), np.array([0.1]), 0.025)


def test_the_mean_over_segments_covers_the_truth():
    """Eight segments that differ as much as chance makes them."""
    r = np.random.default_rng(6)
    missed = 0
    for _ in range(1000):
        variance = r.uniform(0.5, 3, 8)
        value = r.normal(0, 1, 8) + r.normal(0, np.sqrt(variance))
        mean = pooling.random_effects(value, variance, 0.025).mean
        missed += mean.is_above(0) or mean.is_below(0)
    assert missed / 1000 <= 0.05 + 2.6 * math.sqrt(0.05 * 0.95 / 1000)


def pooled(use_case, data, a_month=60.0):
    return pooling.pool(data, use_case.promotion.metric, use_case.volume, a_month, 0.005)


def test_below_the_floor_segments_are_pooled_and_the_verdict_says_so(use_case):
    data = frame(0.9)
    found = pooled(use_case, data)
    assert sorted(found.segments) == ["engineering", "finance", "sales"]
    assert sum(one.n for one in found.segments.values()) == len(data)
    told = compared(use_case.promotion, data, pooled=found)
    words = successor(told, use_case.promotion).reasons
    assert any("60 a month, below the floor of 100" in reason for reason in words)
    json.dumps(told.as_dict(), allow_nan=False)
    assert pooled(use_case, data, a_month=100.0) is None
    with pytest.raises(ValueError, match="labels a month are missing"):
        pooled(use_case, data, a_month=NAN)


def test_a_single_segment_and_missing_ones_are_pooled_too(use_case):
    one = pooled(use_case, frame(0.9).assign(job_family="sales"))
    assert list(one.segments) == ["sales"]
    assert (
        one.mean
        == metrics.paired(
            *(frame(0.9)[n].to_numpy() for n in ("label", "probability", "reference", "group_key", "weight")),
            alpha=0.005,
        )["brier"]
    )
    json.dumps(one.as_dict(), allow_nan=False)
    apart = frame(0.9).assign(group_key=frame(0.9)["job_family"])
    assert (
        pooled(use_case, apart).mean
        == metrics.paired(
            *(apart[n].to_numpy() for n in ("label", "probability", "reference", "group_key", "weight")),
            alpha=0.005,
        )["brier"]
    ), "where each segment is a group of its own, nothing tells cases of a segment apart"
    json.dumps(pooled(use_case, apart).as_dict(), allow_nan=False)
    some = frame(0.9)
    some.loc[::2, "job_family"] = None
    assert "(missing)" in pooled(use_case, some).segments
