"""Selection weights: the selected stand for all who were decided on."""

import numpy as np
import pandas as pd
import pytest
from hrloop import learning
from hrloop.learning import propensity
from hrloop.learning.encoding import fit_encoder


def weights_of(frame: pd.DataFrame, use_case, **changes) -> propensity.Weights:
    selection = use_case.selection.model_copy(update=changes)
    encoder = fit_encoder(use_case.features, frame, range_tail=0.0)
    return propensity.weigh(frame, frame["selected"].to_numpy(), encoder, selection, seed=1)


@pytest.fixture
def hardly_floored(use_case):
    """The floor so low that weights can do what they are for where columns tell who is selected."""
    return use_case.selection.propensity_floor.model_copy(update={"value": 0.02})


def test_weights_recover_the_mean_of_everyone(company, use_case, hardly_floored):
    """Those selected are better than all; weighted, they are as good as all."""
    selected_bias, weighted_bias = [], []
    for seed in range(6):
        frame = company(8000, seed=seed, selectivity=1.5)
        selected = frame[frame["selected"]]
        weight = weights_of(frame, use_case, propensity_floor=hardly_floored).weight
        selected_bias.append(selected["truth"].mean() - frame["truth"].mean())
        weighted_bias.append(np.average(selected["truth"], weights=weight) - frame["truth"].mean())
    assert np.mean(selected_bias) > 0.05
    assert abs(np.mean(weighted_bias)) < 0.015


def test_logged_propensities_are_used_as_they_are(company, use_case, hardly_floored):
    frame = company(3000)
    frame["selection_propensity"] = frame["true_propensity"]
    weights = weights_of(frame, use_case, propensity_floor=hardly_floored)
    expected = 1 / frame.loc[frame["selected"], "true_propensity"].to_numpy()
    np.testing.assert_allclose(weights.weight, expected / expected.mean())
    assert (weights.logged, weights.estimated) == (int(frame["selected"].sum()), 0)


def test_the_estimate_is_near_the_truth(company, use_case):
    frame = company(8000)
    encoder = fit_encoder(use_case.features, frame, range_tail=0.0)
    estimated = propensity.estimate(frame, encoder, regularisation=0.1, folds=5, seed=1)
    assert np.corrcoef(estimated, frame["true_propensity"])[0, 1] > 0.95
    assert abs(estimated.mean() - frame["selected"].mean()) < 0.01


def test_a_row_has_no_say_in_its_own_propensity(company, use_case):
    """Cross-fitting by group: turning the selections of a group round leaves its propensities alone."""
    frame = company(1500)
    encoder = fit_encoder(use_case.features, frame, range_tail=0.0)
    before = propensity.estimate(frame, encoder, regularisation=0.1, folds=5, seed=1)
    group = frame["group_key"] == frame["group_key"].iloc[0]
    turned = frame.assign(selected=frame["selected"] ^ group)
    after = propensity.estimate(turned, encoder, regularisation=0.1, folds=5, seed=1)
    np.testing.assert_allclose(after[group], before[group], atol=1e-12)
    assert not np.allclose(after[~group], before[~group], atol=1e-12)


def test_the_floor_bounds_the_weights(company, use_case):
    frame = company(3000)
    frame["selection_propensity"] = frame["true_propensity"]
    frame.loc[frame.index[frame["selected"]][0], "selection_propensity"] = 1e-6
    floor = use_case.selection.propensity_floor
    tight = weights_of(frame, use_case, propensity_floor=floor.model_copy(update={"value": 0.1}))
    assert tight.floored >= 1
    assert tight.weight.max() / tight.weight.min() <= 1 / 0.1
    assert tight.weight.mean() == pytest.approx(1)
    loose = weights_of(frame, use_case, propensity_floor=floor.model_copy(update={"value": 1e-6}))
    assert loose.effective_labels < 2 < tight.effective_labels < len(tight.weight)


def test_all_selected_weigh_alike(company, use_case):
    frame = company(400).assign(selected=True)
    weights = weights_of(frame, use_case)
    np.testing.assert_array_equal(weights.weight, np.ones(400))
    assert weights.effective_labels == pytest.approx(400)


def test_whom_people_selected_against_the_loop_weighs_by_the_floor(company, use_case):
    frame = company(300).assign(selection_propensity=0.5)
    row = frame.index[frame["selected"]][0]
    frame.loc[row, "selection_propensity"] = 0.0
    weights = weights_of(frame, use_case)
    floor = use_case.selection.propensity_floor.value
    assert weights.floored == 1
    assert weights.weight.max() == pytest.approx(np.median(weights.weight) * 0.5 / floor)


@pytest.mark.parametrize("value", [-0.1, 1.5])
def test_an_impossible_logged_propensity_is_refused(company, use_case, value):
    frame = company(300)
    row = frame.index[frame["selected"]][0]
    frame.loc[row, "selection_propensity"] = value
    with pytest.raises(learning.LearningError, match=frame.loc[row, "decision_id"]):
        weights_of(frame, use_case)


def test_decisions_not_settled_yet_do_not_pass_for_rejections(company, use_case, as_of):
    """A later month in which nobody is selected yet must not lower anyone's propensity."""
    frame = company(3000)
    late = company(2000, seed=9)
    late["decision_id"] = "late" + late["decision_id"]
    late = late.assign(selected=False, label_status=None, label=np.nan, decided_at=pd.Timestamp(as_of))
    late["label_known_at"] = pd.Series(pd.NaT, index=late.index, dtype=frame["label_known_at"].dtype)
    alone = learning.fit(use_case, frame, as_of)
    together = learning.fit(use_case, pd.concat([frame, late]), as_of)
    assert together.model == alone.model
