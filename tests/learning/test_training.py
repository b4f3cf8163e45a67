"""Training: only what was observed and known, forward in time, and the same bytes whatever the order."""

import json
from datetime import timedelta
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hrloop import learning
from hrloop.evaluation import metrics
from hrloop.learning import folds, training
from hrloop.usecase import UseCase
from hypothesis import assume, given
from hypothesis import strategies as st


@pytest.fixture(scope="module")
def frame(company):
    return company(3000)


@pytest.fixture(scope="module")
def fitted(use_case, frame, as_of):
    return learning.fit(use_case, frame, as_of)


def with_learner(use_case: UseCase, **changes) -> UseCase:
    return use_case.model_copy(update={"learner": use_case.learner.model_copy(update=changes)})


def test_the_order_of_the_rows_does_not_matter(use_case, frame, as_of, fitted, tmp_path):
    shuffled = frame.sample(frac=1.0, random_state=3)
    again = learning.fit(use_case, shuffled, as_of)
    assert again.model == fitted.model
    assert again.identity == fitted.identity
    fitted.save(tmp_path / "one")
    again.save(tmp_path / "two")
    for name in ("model.ubj", "fitted.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    pd.testing.assert_frame_equal(again.held_out, fitted.held_out)


def test_another_seed_gives_another_model(use_case, frame, as_of, fitted):
    assert learning.fit(with_learner(use_case, seed=7), frame, as_of).model != fitted.model


def test_only_observed_labels_of_the_selected_count(use_case, frame, as_of, fitted):
    noisy = frame.copy()
    elsewhere = noisy["label_status"] != "observed"
    noisy.loc[elsewhere, "label"] = 1.0
    assert learning.fit(use_case, noisy, as_of).model == fitted.model
    observed = int((frame["label_status"] == "observed").sum())
    assert fitted.summary["labels"]["observed"] == observed
    assert sum(part["labels"] for part in fitted.summary["parts"].values()) == observed


def test_the_parts_follow_one_another_in_time(frame, fitted):
    parts = fitted.summary["parts"]
    assert parts["development"]["decided_to"] < parts["calibration"]["decided_from"]
    assert parts["calibration"]["decided_to"] < parts["evaluation"]["decided_from"]
    held_out = fitted.held_out
    assert len(held_out) == parts["evaluation"]["labels"]
    newest = frame[frame["label_status"] == "observed"]["decided_at"].nlargest(len(held_out))
    assert held_out["decided_at"].min() == newest.min()


def test_nothing_of_the_evaluation_part_reaches_the_model(use_case, frame, as_of, fitted):
    """Turning every label of the evaluation part round changes neither trees nor calibrator."""
    turned = frame.copy()
    held = turned["decision_id"].isin(fitted.held_out["decision_id"])
    turned.loc[held, "label"] = 1 - turned.loc[held, "label"]
    again = learning.fit(use_case, turned, as_of)
    assert again.model == fitted.model
    assert again.calibrator == fitted.calibrator
    assert again.summary["base_rate"] == fitted.summary["base_rate"]


def test_calibration_labels_do_not_reach_the_trees(use_case, frame, as_of, fitted):
    bounds = fitted.summary["parts"]["calibration"]
    turned = frame.copy()
    inside = turned["decided_at"].between(bounds["decided_from"], bounds["decided_to"])
    inside &= turned["label_status"] == "observed"
    turned.loc[inside, "label"] = 1 - turned.loc[inside, "label"]
    again = learning.fit(use_case, turned, as_of)
    assert again.model == fitted.model
    assert again.calibrator != fitted.calibrator


def test_it_learns_what_there_is_to_learn(company, use_case, as_of):
    """On everyone, selected or not, it comes near the best possible and beats the base rate."""
    frame = company(12000, seed=2)
    fitted = learning.fit(use_case, frame, as_of)
    probability = fitted.probability(frame)
    brier = np.mean((frame["truth"] - probability) ** 2)
    base = frame["truth"].mean() * (1 - frame["truth"].mean())
    assert brier < base - 0.025
    # the level is the calibrator's, which has 300 labels
    assert abs(probability.mean() - frame["truth"].mean()) < 2 * 0.5 / np.sqrt(300)


def test_however_many_labels_there_are_the_newest_beyond_the_bounds_are_learnt_from(company, use_case, as_of):
    fitted = learning.fit(use_case, company(12000, seed=2), as_of)
    parts = fitted.summary["parts"]
    assert parts["evaluation"]["labels"] == use_case.learner.evaluation_labels.value
    assert parts["calibration"]["labels"] == use_case.learner.calibration_labels.value
    assert parts["development"]["labels"] > 600


def test_what_changed_is_learnt_sooner_with_a_half_life(company, use_case, as_of):
    """Outcomes turn round late in development: with a half-life the newest of its labels say more."""
    frame = company(12000, seed=2)
    frame = frame.sort_values("decided_at", ignore_index=True)
    observed = frame["label_status"] == "observed"
    late = frame["decided_at"] >= frame.loc[observed, "decided_at"].iloc[-1400]
    frame.loc[observed & late, "label"] = 1 - frame.loc[observed & late, "label"]
    newest = frame[late]

    def separation(half_life) -> float:
        fitted = learning.fit(with_learner(use_case, half_life_months=half_life), frame, as_of)
        return metrics.auc(1 - newest["truth"].to_numpy(), fitted.probability(newest), np.ones(len(newest)))

    short = use_case.learner.half_life_months.model_copy(update={"value": 3.0})
    assert separation(short) > separation(None) + 0.02


def test_folds_go_forward_only():
    for learn, validate in folds.forward_folds(100, 4):
        assert learn.start == 0
        assert learn.stop == validate.start < validate.stop
    assert folds.forward_folds(100, 4)[-1][1].stop == 100


@given(
    days=st.lists(st.integers(0, 60), min_size=4, max_size=200),
    calibration=st.floats(0.05, 0.4),
    evaluation=st.floats(0.05, 0.4),
)
def test_a_split_keeps_time_order_and_every_row(days, calibration, evaluation):
    moments = pd.Series(pd.to_datetime(sorted(days), unit="D", utc=True))
    try:
        parts = training.split(moments, calibration, evaluation)
    except learning.LearningError:
        assume(False)
    assert parts[0].start == 0
    assert parts[-1].stop == len(moments)
    for earlier, later in pairwise(parts):
        assert earlier.stop == later.start
        assert moments[earlier].max() < moments[later].min()


def test_labels_of_too_few_moments_are_refused():
    moments = pd.Series(pd.to_datetime([0] * 50 + [1] * 50, unit="D", utc=True))
    with pytest.raises(learning.LearningError, match="only 2 moments"):
        training.split(moments, 0.15, 0.25)


def test_monotone_features_are_held_to_their_direction(company, use_case, as_of):
    features = [
        f.model_copy(update={"monotone": "decreasing"}) if f.name == "match" else f for f in use_case.features
    ]
    constrained = use_case.model_copy(update={"features": tuple(features)})
    frame = company(3000)
    fitted = learning.fit(constrained, frame, as_of)
    rows = pd.concat([frame.iloc[[5]]] * 50, ignore_index=True).assign(match=np.linspace(0, 1, 50))
    assert (np.diff(fitted.score(rows)) <= 1e-7).all()
    free = learning.fit(use_case, frame, as_of)
    assert (np.diff(free.score(rows)) > 1e-7).any()


def test_too_few_labels_are_told_with_their_counts(use_case, frame, as_of):
    few = frame.head(200)
    with pytest.raises(learning.InsufficientLabels) as caught:
        learning.fit(use_case, few, as_of)
    assert caught.value.counts["observed"] == int((few["label_status"] == "observed").sum())
    assert caught.value.needed == 200
    assert "observed" in str(caught.value)
    with pytest.raises(learning.InsufficientLabels, match="0 observed"):
        learning.fit(use_case, frame.head(0), as_of)


def test_labels_of_one_class_are_refused(use_case, frame, as_of):
    same = frame.assign(label=frame["label"].where(frame["label"].isna(), 1.0))
    with pytest.raises(learning.OneClassOnly, match="are 1"):
        learning.fit(use_case, same, as_of)


@pytest.mark.parametrize("column", ["match", "label_status", "selection_propensity"])
def test_a_missing_column_is_named(use_case, frame, as_of, column):
    with pytest.raises(learning.MissingColumn, match=column):
        learning.fit(use_case, frame.drop(columns=column), as_of)


@pytest.mark.parametrize("column", ["decided_at", "label_known_at"])
def test_a_frame_that_knows_the_future_is_refused(use_case, frame, as_of, column):
    row = frame.index[frame["label_status"] == "observed"][0]
    late = frame.copy()
    late.loc[row, column] = pd.Timestamp(as_of) + timedelta(seconds=1)
    with pytest.raises(learning.LearningError, match=frame.loc[row, "decision_id"]):
        learning.fit(use_case, late, as_of)


def test_naive_times_are_refused(use_case, frame, as_of):
    naive = frame.assign(decided_at=frame["decided_at"].dt.tz_localize(None))
    with pytest.raises(learning.LearningError, match="decided_at"):
        learning.fit(use_case, naive, as_of)


def test_a_decision_twice_is_refused(use_case, frame, as_of):
    with pytest.raises(learning.LearningError, match=r"d0000007 .* twice"):
        learning.fit(use_case, pd.concat([frame, frame.iloc[[7]]]), as_of)


def test_an_observed_label_that_is_none_is_refused(use_case, frame, as_of):
    broken = frame.copy()
    broken.loc[broken.index[broken["label_status"] == "observed"][0], "label"] = np.nan
    with pytest.raises(learning.LearningError, match="0 or 1"):
        learning.fit(use_case, broken, as_of)


def test_a_category_that_holds_numbers_is_refused(use_case, frame, as_of):
    with pytest.raises(learning.LearningError, match="family is declared a category"):
        learning.fit(use_case, frame.assign(family=1), as_of)


def test_a_number_that_is_none_is_refused(use_case, frame, as_of):
    with pytest.raises(learning.LearningError, match="match is declared a number"):
        learning.fit(use_case, frame.assign(match="much"), as_of)


def test_frames_as_the_warehouse_gives_them(use_case, frame, as_of, fitted):
    """Nullable and Arrow-backed columns, nulls for NaN: the same model."""
    arrow = frame.convert_dtypes(dtype_backend="pyarrow").assign(
        decided_at=frame["decided_at"], label_known_at=frame["label_known_at"]
    )
    assert learning.fit(use_case, arrow, as_of).model == fitted.model
    objects = frame.astype({"abroad": object, "family": object, "channel": object, "selected": object})
    assert learning.fit(use_case, objects, as_of).model == fitted.model


def test_the_summary_is_plain_data(fitted):
    assert json.loads(json.dumps(fitted.summary, allow_nan=False)) == fitted.summary
    assert 0 < fitted.summary["base_rate"] < 1
