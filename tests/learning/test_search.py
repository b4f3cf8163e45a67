"""The search: it sees the development part alone, tries every family, and finds what there is to find."""

import time

import numpy as np
import pytest
from hrloop import learning
from hrloop.learning import architecture
from hrloop.learning.search import search
from hrloop.usecase import UseCase
from scipy.special import expit


def trying(use_case: UseCase, number: int) -> UseCase:
    trials = use_case.search.trials.model_copy(update={"value": number})
    return use_case.model_copy(update={"search": use_case.search.model_copy(update={"trials": trials})})


@pytest.fixture(scope="module")
def frame(company):
    return company(3000)


@pytest.fixture(scope="module")
def small(use_case):
    return trying(use_case, 9)


@pytest.fixture(scope="module")
def found(small, frame, as_of):
    return search(small, frame, as_of)


def test_the_same_frame_in_any_order_gives_the_same_search(small, frame, as_of, found):
    again = search(small, frame.sample(frac=1.0, random_state=4), as_of)
    assert again.winner == found.winner
    assert again.trials.to_dict("records") == found.trials.to_dict("records")


def test_calibration_and_evaluation_labels_are_not_looked_at(small, frame, as_of, found):
    bounds = learning.fit(small, frame, as_of).summary["parts"]["calibration"]
    later = (frame["decided_at"] >= bounds["decided_from"]) & (frame["label_status"] == "observed")
    turned = frame.assign(label=frame["label"].mask(later, 1 - frame["label"]))
    assert search(small, turned, as_of).trials.equals(found.trials)
    earlier = (frame["decided_at"] < bounds["decided_from"]) & (frame["label_status"] == "observed")
    turned = frame.assign(label=frame["label"].mask(earlier, 1 - frame["label"]))
    assert not search(small, turned, as_of).trials["log_loss"].equals(found.trials["log_loss"])


def test_every_family_gets_its_part_of_the_trials(use_case, small, frame, as_of, found):
    tried = found.trials["family"].value_counts().to_dict()
    assert tried == {"declared": 1, "linear": 3, "depthwise": 3, "lossguide": 3}
    assert found.notes == ("monotone trees were not tried: no feature is declared monotone",)
    features = [
        f.model_copy(update={"monotone": "increasing"}) if f.name == "match" else f for f in small.features
    ]
    held = search(trying(use_case.model_copy(update={"features": tuple(features)}), 8), frame, as_of)
    assert held.notes == ()
    assert (held.trials["family"].value_counts()[["linear", "depthwise", "lossguide", "monotone"]] == 2).all()
    for row in held.trials.itertuples():
        assert row.architecture.monotone == (row.family in ("monotone", "declared", "linear"))


def test_the_winner_lost_least_and_the_declared_one_was_among_them(small, frame, as_of, found):
    assert found.trials["log_loss"].is_monotonic_increasing
    assert found.winner == found.trials["architecture"].iloc[0]
    declared = found.trials[found.trials["family"] == "declared"].iloc[0]
    assert declared["architecture"] == architecture.declared(small)
    losses = [fold["log_loss"] for fold in learning.fit(small, frame, as_of).summary["folds"]]
    assert declared["log_loss"] == pytest.approx(np.mean(losses))
    assert declared["spread"] == pytest.approx(np.std(losses))


def test_the_winner_is_learnt_like_any_other(small, frame, as_of, found):
    fitted = learning.fit(small, frame, as_of, found.winner)
    assert fitted.architecture == found.winner
    assert np.mean([fold["log_loss"] for fold in fitted.summary["folds"]]) == pytest.approx(
        found.trials["log_loss"].iloc[0]
    )


def test_it_finds_the_family_that_fits_the_truth(small, company, as_of):
    """A sum of terms is best learnt as one; what turns round by family is learnt by trees."""
    frame = company(4000, seed=3)
    r = np.random.default_rng(3)
    match, family = frame["match"] - 0.5, frame["family"].isin(["sales", "finance"])
    truths = {"linear": 4 * match + family, "xgboost": 8 * match * np.where(family, 1, -1)}
    for kind, margin in truths.items():
        label = (r.random(len(frame)) < expit(margin)).astype(float)
        known = frame.assign(label=label.where(frame["label_status"] == "observed"))
        assert search(small, known, as_of).winner.kind == kind


def test_too_few_labels_are_told_as_in_training(small, frame, as_of):
    with pytest.raises(learning.InsufficientLabels):
        search(small, frame.head(200), as_of)


def test_nothing_is_printed_and_the_declared_number_of_trials_takes_seconds(
    recruitment, use_case, company, as_of, capfd
):
    full = trying(use_case, recruitment.search.trials.value)
    frame = company(9000, seed=6)
    assert (frame["label_status"] == "observed").sum() > 1500
    start = time.process_time()
    assert len(search(full, frame, as_of).trials) == recruitment.search.trials.value + 1
    assert time.process_time() - start < 60
    assert capfd.readouterr() == ("", "")
