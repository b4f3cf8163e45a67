"""Drift, selection rates and sample sizes: by simulation, and closed on what is missing."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from hrloop.evaluation import drift, fairness, power
from hrloop.usecase import Drift
from scipy.stats import norm


def test_no_drift_is_small_and_drift_is_not():
    r = np.random.default_rng(0)
    before = pd.Series(r.normal(size=5000))
    assert drift.psi_of_values(before, pd.Series(r.normal(size=2000))) < 0.02
    assert drift.psi_of_values(before, pd.Series(r.normal(1, 1, size=2000))) > 0.25
    texts = pd.Series(r.choice(["a", "b", "c"], 3000))
    assert drift.psi_of_values(texts, pd.Series(r.choice(["a", "b", "c"], 3000))) < 0.02
    assert drift.psi_of_values(texts, pd.Series(["d"] * 500)) > 0.25


def test_values_that_go_missing_are_drift():
    before = pd.Series(np.arange(1000.0))
    now = before.where(before % 3 > 0)
    assert drift.psi_of_values(before, now) > 0.25
    flags = pd.Series([True, False] * 500)
    assert drift.psi_of_values(flags, pd.Series([True, None] * 500, dtype="boolean")) > 0.25
    nothing = pd.Series([np.nan] * 100)
    assert drift.psi_of_values(nothing, nothing) == pytest.approx(0)


@pytest.mark.parametrize("heavy", [0.0, 5.0, 9.0])
def test_drift_shows_where_most_rows_have_one_value(heavy):
    """Nine in ten hold the smallest, a middle or the largest value; then six in ten do."""
    r = np.random.default_rng(0)

    def sample(share):
        return pd.Series(np.where(r.random(4000) < share, heavy, r.integers(0, 10, 4000)))

    before = sample(0.9)
    assert drift.psi_of_values(before, sample(0.9)) < 0.02
    assert drift.psi_of_values(before, sample(0.6)) > 0.25
    assert drift.psi_of_values(pd.Series([heavy] * 500), sample(0.6)) > 0.25


def declared(share: float = 0.10, minimum: int = 300) -> Drift:
    return Drift(
        shifted_share={"value": share, "reason": "for the tests"},
        broken={"value": 2.0, "reason": "for the tests"},
        minimum_cases={"value": minimum, "reason": "for the tests"},
    )


def test_an_alarm_is_raised_by_more_features_than_declared():
    r = np.random.default_rng(0)
    before = pd.DataFrame(r.normal(size=(4000, 20)), columns=[f"f{i}" for i in range(20)])
    now = pd.DataFrame(r.normal(size=(1500, 20)), columns=before.columns)
    quiet = drift.alarm(before, now, declared())
    assert (quiet.raised, quiet.shifted, quiet.features) == (False, (), 20)
    two = drift.alarm(before, now.assign(f1=now["f1"] + 0.8, f2=now["f2"] + 1), declared())
    assert [name for name, _ in two.shifted] == ["f2", "f1"]
    assert not two.raised, "two of twenty are a tenth, and not more"
    far = drift.alarm(before, now.assign(f1=now["f1"] + 2), declared())
    assert far.raised, "one is enough where it has moved by two standard deviations"
    three = drift.alarm(before, now.assign(f1=np.nan, f2=now["f2"] * 9, f3=7.0), declared())
    assert three.raised
    assert "3 of 20 features have shifted: " in str(three)


def test_an_alarm_of_too_few_cases_is_none_and_chance_alone_raises_none():
    r = np.random.default_rng(1)
    before = pd.DataFrame(r.normal(size=(3000, 16)))
    few = pd.DataFrame(r.normal(size=(299, 16)))
    assert drift.alarm(before, few, declared()) is None
    assert drift.alarm(few, before, declared()) is None
    for _ in range(20):
        now = pd.DataFrame(r.normal(size=(300, 16)))
        assert not drift.alarm(before, now, declared(share=0.0)).raised


def test_each_feature_by_how_far_it_moved():
    r = np.random.default_rng(0)
    steady, moved = r.normal(size=3000), r.normal(size=3000)
    before = pd.DataFrame({"steady": steady, "moved": moved, "kind": ["a"] * 3000, "lost": steady})
    now = pd.DataFrame(
        {
            "steady": r.normal(size=2000),
            "moved": r.normal(1, 1, size=2000),
            "kind": np.where(r.random(2000) < 0.002, "b", "a"),
            "lost": np.nan,
        }
    )
    found = drift.by_feature(before, now)
    assert list(found["feature"][:2]) == ["lost", "moved"]
    found = found.set_index("feature")
    assert found["band"].to_dict() == {
        "lost": "shifted",
        "moved": "shifted",
        "steady": "stable",
        "kind": "stable",
    }
    assert found.loc["moved", "psi"] == drift.psi_of_values(before["moved"], now["moved"])
    assert tuple(found.loc["moved", ["ks", "p_value"]]) == drift.ks(moved, now["moved"])
    assert found.loc["moved", "ks"] == pytest.approx(2 * norm.cdf(0.5) - 1, abs=0.05)
    assert found.loc[["kind", "lost"], ["ks", "p_value"]].isna().all(axis=None)
    with pytest.raises(ValueError, match="no rows"):
        drift.by_feature(before, now[:0])


def test_what_cannot_be_compared_is_refused_and_never_zero():
    with pytest.raises(ValueError, match="no rows on one side"):
        drift.psi_of_values(pd.Series([1.0, 2.0]), pd.Series([], dtype=float))
    with pytest.raises(ValueError, match="empty on one side"):
        drift.psi(np.array([0.5, 0.5]), np.array([1.0, 0.0]))
    with pytest.raises(ValueError, match="sum to 1"):
        drift.psi(np.array([0.5, 0.4]), np.array([0.5, 0.5]))
    with pytest.raises(ValueError, match="same bins"):
        drift.psi(np.array([1.0]), np.array([0.5, 0.5]))
    with pytest.raises(ValueError, match="not small"):
        drift.band(float("nan"))


def test_kolmogorov_and_smirnov_by_hand_and_by_simulation():
    distance, _ = drift.ks(np.array([1.0, 2.0, 3.0, 4.0, np.nan]), np.array([3.0, 4.0, 5.0, 6.0]))
    assert distance == pytest.approx(0.5)
    r = np.random.default_rng(0)
    p_values = [drift.ks(r.normal(size=150), r.normal(size=150))[1] for _ in range(300)]
    assert np.mean(np.array(p_values) < 0.05) <= 0.05 + 2.6 * np.sqrt(0.05 * 0.95 / 300)
    assert drift.ks(r.normal(size=300), r.normal(0.6, 1, size=300))[1] < 1e-4
    with pytest.raises(ValueError, match="no values on one side"):
        drift.ks(np.array([1.0]), np.array([np.nan]))


def test_exact_ratio_intervals_cover_in_small_groups():
    """True ratio 0.6 / 0.4 seen from 25 and 20 people; at least the level they promise."""
    r = np.random.default_rng(0)
    covered, runs = 0, 400
    for _ in range(runs):
        selected = {"a": int(r.binomial(25, 0.6)), "b": int(r.binomial(20, 0.4))}
        found = fairness.impact_ratios(selected, {"a": 25, "b": 20})
        truth = {"b": 0.4 / 0.6, "a": 0.6 / 0.4}
        covered += all(i.ratio.low <= truth[i.group] <= i.ratio.high for i in found)
    assert covered / runs >= 0.95


def test_a_group_of_two_is_no_measure_for_the_others():
    found = fairness.impact_ratios({"a": 2, "b": 50, "c": 20}, {"a": 2, "b": 100, "c": 100})
    assert {i.group: (i.reference, i.finding) for i in found} == {
        "a": ("b", "undetermined"),
        "c": ("b", "adverse"),
    }


def test_one_group_or_none_has_nothing_to_compare():
    assert fairness.impact_ratios({}, {}) == []
    assert fairness.impact_ratios({"a": 3}, {"a": 50}) == []


def test_the_design_effect_is_that_of_a_variance_clustered_by_person():
    r = np.random.default_rng(3)
    person = r.integers(0, 40, 600)
    selected = r.random(600) < r.beta(1, 4, 40)[person]
    theirs = sm.OLS(selected.astype(float), np.ones(600)).fit(cov_type="cluster", cov_kwds={"groups": person})
    rate = selected.mean()
    expected = theirs.bse[0] ** 2 * 600 / (rate * (1 - rate))
    assert expected > 2
    assert fairness.design_effect(selected, person) == pytest.approx(expected)


@pytest.mark.parametrize("selected", [0, 1])
def test_who_recurs_counts_once_where_nothing_else_can_be_told(selected):
    always = np.full(60, selected)
    assert fairness.design_effect(always, np.arange(60)) == 1
    assert fairness.design_effect(always, np.repeat(np.arange(5), 12)) == 12
    assert fairness.design_effect(np.arange(12) % 2, np.zeros(12)) == 12


def test_a_dozen_decisions_on_a_person_are_no_dozen_people():
    """Two groups alike, people warned of often or hardly ever: chance is found about as rarely as it may."""
    r = np.random.default_rng(9)
    group, person = np.repeat(["a", "b"], 60 * 12), np.repeat(np.arange(120), 12)
    naive, ours, runs = 0, 0, 300
    for _ in range(runs):
        selected = r.random(len(person)) < r.beta(0.5, 4.5, 120)[person]
        limits = {"threshold": 0.8, "significance": 0.05, "minimum": 5}
        (one,) = fairness.impacts(selected, group, person, **limits)
        (other,) = fairness.impacts(selected, group, np.arange(len(person)), **limits)
        ours, naive = ours + (one.finding == "adverse"), naive + (other.finding == "adverse")
    assert ours / runs <= 0.08  # a variance between sixty people is itself uncertain
    assert naive / runs > 0.2


def test_nobody_selected_is_no_finding():
    (only,) = fairness.impact_ratios({"a": 0, "b": 0}, {"a": 50, "b": 50})
    assert np.isnan(only.ratio.value)
    assert only.finding == "none"


@pytest.mark.parametrize(
    ("selected", "decided"),
    [({"a": 1}, {"b": 1}), ({"a": 3}, {"a": 2}), ({"a": 0}, {"a": 0}), ({"a": 0.5}, {"a": 2})],
)
def test_numbers_that_cannot_be_are_refused(selected, decided):
    with pytest.raises(ValueError, match="group"):
        fairness.impact_ratios(selected, decided)


def test_the_sample_size_has_the_power_it_promises():
    r = np.random.default_rng(1)
    a, b = power.sample_sizes(0.20, 0.25, share=0.2)
    one, other = r.binomial(a, 0.20, 4000), r.binomial(b, 0.25, 4000)
    pooled = (one + other) / (a + b)
    z = (other / b - one / a) / np.sqrt(pooled * (1 - pooled) * (1 / a + 1 / b))
    assert np.mean(np.abs(z) > norm.ppf(0.975)) == pytest.approx(0.80, abs=0.025)


@pytest.mark.parametrize(("base", "other", "share"), [(0.2, 0.2, 0.5), (0, 0.2, 0.5), (0.2, 0.3, 1.0)])
def test_rates_that_cannot_be_compared_are_refused(base, other, share):
    with pytest.raises(ValueError, match="between 0 and 1"):
        power.sample_sizes(base, other, share=share)
