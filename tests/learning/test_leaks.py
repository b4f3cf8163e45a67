"""A planted leak is refused by its name, and an honest feature is not."""

import numpy as np
import pytest
from hrloop import learning
from hrloop.learning import leaks
from hrloop.usecase import Feature, UseCase


@pytest.fixture(scope="module")
def training(company):
    return company(3000)


@pytest.fixture(scope="module")
def scoring(company):
    return company(400, seed=77)


def plus(use_case: UseCase, name: str, kind: str = "number") -> UseCase:
    extra = Feature(name=name, type=kind, description="A planted feature.")
    return use_case.model_copy(update={"features": (*use_case.features, extra)})


def refused(use_case, training, scoring, snapshot=None) -> dict[str, str]:
    with pytest.raises(learning.LeakError) as caught:
        leaks.check(use_case, training, scoring, snapshot)
    for name, why in caught.value.findings.items():
        assert f"{name}: {why}" in str(caught.value)
        assert leaks.REMEDY in why
    return caught.value.findings


def test_honest_features_pass(use_case, training, scoring):
    leaks.check(use_case, training, scoring)
    leaks.check(use_case, training, scoring, training[["case_key", *use_case.feature_names]])


def test_a_feature_filled_in_after_the_decision_is_named(use_case, training, scoring):
    leaky = training.assign(interview_score=np.where(training["selected"], 3.5, np.nan))
    findings = refused(plus(use_case, "interview_score"), leaky, scoring.assign(interview_score=np.nan))
    assert list(findings) == ["interview_score"]
    assert "missing for 100% of 400 open cases" in findings["interview_score"]


def test_a_category_filled_in_after_the_decision_is_named(use_case, training, scoring):
    leaky = training.assign(offer_channel="mail")
    findings = refused(plus(use_case, "offer_channel", "category"), leaky, scoring.assign(offer_channel=None))
    assert list(findings) == ["offer_channel"]


def test_a_counter_that_only_counts_afterwards_is_named(use_case, training, scoring):
    r = np.random.default_rng(0)
    leaky = training.assign(interviews=r.integers(1, 5, len(training)) * training["selected"])
    findings = refused(plus(use_case, "interviews"), leaky, scoring.assign(interviews=0))
    assert "0 for every one of 400 open cases" in findings["interviews"]


def test_a_feature_that_knows_the_outcome_is_named(use_case, training, scoring):
    r = np.random.default_rng(0)
    leaky = training.assign(last_rating=training["truth"] * 2 + r.normal(3, 0.5, len(training)))
    open_ = scoring.assign(last_rating=r.normal(4, 1, len(scoring)))
    findings = refused(plus(use_case, "last_rating"), leaky, open_)
    assert list(findings) == ["last_rating"]
    assert "AUC of 0.99" in findings["last_rating"]


def test_so_is_one_that_falls_with_the_outcome_and_one_that_is_missing_with_it(use_case, training, scoring):
    r = np.random.default_rng(0)
    r_open = r.normal(size=len(scoring))
    falling = training.assign(notice_days=-training["truth"] + r.normal(0, 0.1, len(training)))
    assert "notice_days" in refused(
        plus(use_case, "notice_days"), falling, scoring.assign(notice_days=r_open)
    )
    absent = training.assign(exit_score=np.where(training["truth"] == 1, np.nan, 1.0))
    half = scoring.assign(exit_score=np.where(r_open > 0, np.nan, r_open))
    assert "exit_score" in refused(plus(use_case, "exit_score"), absent, half)


def test_a_category_that_knows_the_outcome_is_named(use_case, training, scoring):
    r = np.random.default_rng(0)
    codes = r.integers(0, 10, len(training)) + 10 * training["truth"].astype(int)
    leaky = training.assign(desk=[f"desk {c}" for c in codes])
    assert "desk" in refused(plus(use_case, "desk", "category"), leaky, scoring.assign(desk="desk 3"))


def test_a_category_of_single_rows_is_no_leak(use_case, training, scoring):
    """An identifier tells labels apart perfectly in the rows themselves; cross-fitted it says nothing."""
    leaks.check(
        plus(use_case, "case_key", "category"), training, scoring.assign(case_key=scoring["case_key"] + "x")
    )


def test_a_feature_that_changes_after_the_decision_is_named(use_case, training, scoring):
    snapshot = training[["case_key", *use_case.feature_names]].copy()
    snapshot.loc[snapshot.index[:200], "match"] += 0.2
    findings = refused(use_case, training, scoring, snapshot)
    assert list(findings) == ["match"]
    assert "7% of 3000 decided cases" in findings["match"]
    snapshot = training[["case_key", *use_case.feature_names]].copy()
    snapshot.loc[snapshot.index[:100], "family"] = "other"
    assert list(refused(use_case, training, scoring, snapshot)) == ["family"]


def test_all_leaks_are_named_at_once(use_case, training, scoring):
    leaky = training.assign(one=1.0 + training["truth"], two=1.0)
    open_ = scoring.assign(one=np.arange(400.0), two=np.nan)
    assert set(refused(plus(plus(use_case, "one"), "two"), leaky, open_)) == {"one", "two"}


def test_too_few_open_cases_are_not_judged(use_case, training, scoring):
    leaks.check(use_case, training, scoring.head(10).assign(match=np.nan))
    leaks.check(use_case, training, scoring.head(0))


def test_a_missing_column_is_named(use_case, training, scoring):
    with pytest.raises(learning.MissingColumn, match="match"):
        leaks.check(use_case, training, scoring.drop(columns="match"))
