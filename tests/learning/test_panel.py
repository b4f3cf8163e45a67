"""Subjects that come back: one event is the outcome of several decisions, and no part knows of another's."""

from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest
from hrloop import learning
from hrloop.evaluation import metrics
from hrloop.learning import training
from hrloop.usecase import UseCase
from hypothesis import given
from hypothesis import strategies as st

AS_OF = datetime(2026, 10, 1, 6, tzinfo=UTC)
MONTHS, WINDOW = 36, 6


@pytest.fixture(scope="module", params=["xgboost", "survival"])
def panel_case(recruitment: UseCase, request) -> UseCase:
    """Two features, a case a month, an outcome within six months; learnt as labels and as times."""
    data = recruitment.model_dump()
    data["features"] = [
        {"name": "strain", "type": "number", "description": "Raises the risk."},
        {"name": "team", "type": "category", "description": "Has nothing to do with it."},
    ]
    data["decision"]["period"] = {"key": "month", "weeks": {"value": 4.35, "reason": "weeks of a month"}}
    data["outcome"] |= {"milestones": [3, WINDOW], "label_milestone": WINDOW}
    data["learner"] |= {"kind": request.param, "rounds": 40, "folds": 2}
    if request.param == "survival":
        data["learner"]["time_scale"] = {"value": 0.6, "reason": "near that of the simulation"}
    data["volume"]["segment"], data["reviews"]["about"] = "team", {}
    return UseCase.model_validate(data)


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return panel(400, seed=1)


def panel(people: int, seed: int, laid_off: float = 0.01) -> pd.DataFrame:
    """A case for each person and month until they resign or are laid off; strain lasts for months."""
    r = np.random.default_rng(seed)
    strain = np.repeat(r.normal(size=(people, MONTHS // 6)), 6, axis=1) + 0.3 * r.normal(
        size=(people, MONTHS)
    )
    resigns = r.random((people, MONTHS)) < 0.015 * np.exp(strain)
    leaves = r.random((people, MONTHS)) < laid_off
    month = np.arange(MONTHS)
    first = np.where((resigns | leaves).any(axis=1), (resigns | leaves).argmax(axis=1), MONTHS + 99)
    event = np.where(first < MONTHS, resigns[np.arange(people), np.minimum(first, MONTHS - 1)], False)
    who, when = np.nonzero(month[None, :] <= first[:, None])
    ahead = first[who] - when + 0.5
    resigned = event[who] & (ahead <= WINDOW)
    censored = ~event[who] & (ahead <= WINDOW)
    started = pd.Timestamp("2023-06-01T06:00:00Z")
    decided_at = pd.Series(started + pd.to_timedelta(when * 30.4375, unit="D").round("s"))
    known = decided_at + WINDOW * training.MONTH + pd.Timedelta(days=45)
    open_ = (known > pd.Timestamp(AS_OF)).to_numpy()
    status = np.select([open_, censored], ["pending", "censored"], "observed")
    return pd.DataFrame(
        {
            "decision_id": [f"d{w:04d}-{m:02d}" for w, m in zip(who, when, strict=True)],
            "case_key": [f"e{w:04d}:{m:02d}" for w, m in zip(who, when, strict=True)],
            "subject_key": [f"e{w:04d}" for w in who],
            "group_key": [f"area{w % 12}" for w in who],
            "decided_at": decided_at,
            "strain": strain[who, when],
            "team": r.choice(["a", "b", "c"], len(who)),
            "selected": True,
            "selection_propensity": np.nan,
            "label_status": status,
            "label": np.where(status == "observed", resigned.astype(float), np.nan),
            "follow_up": np.where(open_, np.nan, np.minimum(ahead, WINDOW)),
            "label_known_at": known.where(~open_),
        }
    )


def test_a_part_ends_a_window_before_the_next_begins(panel_case, frame):
    ready = training.prepare(panel_case, frame, AS_OF)
    decided = ready.rows["decided_at"]
    assert decided.iloc[ready.calibrating.stop - 1] + ready.window < decided.iloc[ready.evaluating.start]
    fitted = learning.fit(panel_case, frame, AS_OF)
    over = pd.Timestamp(fitted.summary["parts"]["calibration"]["outcomes_to"])
    assert over <= fitted.held_out["decided_at"].min()
    assert fitted.held_out["label"].sum() > 20


def test_nothing_that_happened_after_a_part_began_reaches_the_one_before(panel_case, frame):
    """Whoever resigned after the calibration part began did not, and the model is the same."""
    ready = training.prepare(panel_case, frame, AS_OF)
    cut = ready.rows["decided_at"].iloc[ready.calibrating.start]
    left_at = frame["decided_at"] + pd.to_timedelta(frame["follow_up"] * 30.4375, unit="D")
    before = frame["decided_at"] < cut
    later = before & (frame["label"] == 1) & (left_at > cut)
    assert later.sum() > 20
    unknown = frame.copy()
    unknown.loc[later, ["label", "follow_up"]] = [0.0, float(WINDOW)]
    one, other = (training.prepare(panel_case, rows, AS_OF) for rows in (frame, unknown))
    for mine, theirs in zip(one.learnt("time")[1:], other.learnt("time")[1:], strict=True):
        np.testing.assert_array_equal(mine, theirs)
    for mine, theirs in zip(one.learnt("label")[1:3], other.learnt("label")[1:3], strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_what_was_learnt_holds_on_later_decisions(panel_case, frame):
    fitted = learning.fit(panel_case, frame, AS_OF)
    held = fitted.held_out
    assert metrics.auc(held["label"], held["probability"], held["weight"]) > 0.62
    assert abs(np.average(held["probability"], weights=held["weight"]) - held["label"].mean()) < 0.06


def test_bounds_of_times(panel_case, frame):
    _, matrix, bounds, weight = training.prepare(panel_case, frame, AS_OF).learnt("time")
    assert len(matrix) == len(bounds) == len(weight)
    assert (bounds[:, 0] > 0).all()
    assert (bounds[:, 0] <= WINDOW).all()
    assert (np.isinf(bounds[:, 1]) | (bounds[:, 0] == bounds[:, 1])).all()
    assert 0.01 < np.isfinite(bounds[:, 1]).mean() < 0.2


def test_rare_outcomes_are_all_kept_and_the_rest_weighed_up(panel_case, frame):
    share = {"value": 0.25, "reason": "a quarter of those who stay"}
    data = panel_case.model_dump()
    data["learner"]["negatives_kept"] = share
    few = training.prepare(UseCase.model_validate(data), frame, AS_OF)
    all_ = training.prepare(panel_case, frame, AS_OF)
    assert few.label.sum() == all_.label.sum()
    assert len(few.label) < 0.4 * len(all_.label)
    rate = [np.average(ready.label, weights=ready.weight) for ready in (few, all_)]
    assert rate[0] == pytest.approx(rate[1], rel=0.06)
    again = training.prepare(UseCase.model_validate(data), frame.sample(frac=1, random_state=2), AS_OF)
    assert again.rows["decision_id"].tolist() == few.rows["decision_id"].tolist()


def test_censored_is_neither_stayed_nor_left_out(panel_case):
    """Against the truth of a company where layoffs are common: only weighted is the rate right."""
    frame = panel(4000, seed=5, laid_off=0.06)
    ready = training.prepare(panel_case, frame, AS_OF)
    closed = frame[frame["label_status"] != "pending"]
    uncensored = panel(4000, seed=5, laid_off=0.0)
    truth = uncensored[uncensored["label_status"] == "observed"]["label"].mean()
    weighted = np.average(ready.label, weights=ready.weight)
    dropped, stayed = ready.label.mean(), (closed["label"] == 1).mean()
    assert abs(weighted - truth) < 0.012
    assert stayed < weighted < dropped
    assert dropped - truth > abs(weighted - truth)


@given(st.lists(st.integers(0, 40), min_size=8, max_size=60), st.integers(0, 8))
def test_split_leaves_the_window_out(months, window):
    moments = pd.Series(pd.Timestamp("2024-01-01", tz="UTC") + pd.to_timedelta(sorted(months), unit="D"))
    gap = pd.Timedelta(days=window)
    try:
        development, calibrating, evaluating = training.split(moments, 0.2, 0.3, gap)
    except learning.LearningError:
        return
    assert moments[development].max() < moments[calibrating].min()
    assert moments[calibrating].max() + gap < moments[evaluating].min() + pd.Timedelta(1)
    assert evaluating.stop == len(moments)
