"""Architectures: plain data that says how is learnt; trees and a linear model, kept and explained alike."""

import json
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest
import xgboost
from hrloop import learning
from hrloop.evaluation import metrics
from hrloop.learning import Architecture, Fitted, architecture, folds, training, trees
from hrloop.learning.encoding import Column, Encoder
from hrloop.learning.linear import Linear, Term
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from threadpoolctl import threadpool_limits

LINEAR = Architecture("linear", {"C": 0.5})
KINDS = {
    "depthwise": Architecture("xgboost", {"eta": 0.1, "max_depth": 3, "colsample_bytree": 0.8}),
    "lossguide": Architecture(
        "xgboost", {"eta": 0.1, "grow_policy": "lossguide", "max_depth": 0, "max_leaves": 6}, monotone=False
    ),
    "linear": LINEAR,
}


@pytest.fixture(scope="module")
def frame(company):
    return company(2500, seed=5)


@pytest.fixture(scope="module")
def models(use_case, frame, as_of):
    return {name: learning.fit(use_case, frame, as_of, one) for name, one in KINDS.items()}


@pytest.fixture(scope="module", params=list(KINDS))
def fitted(request, models):
    return models[request.param]


@pytest.fixture(scope="module")
def development(frame, models):
    """The rows that the models learnt from, in the order of their decisions."""
    observed = frame[frame["label_status"] == "observed"].sort_values(["decided_at", "decision_id"])
    return observed.head(models["linear"].summary["parts"]["development"]["labels"])


# --- plain data ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("one", [*KINDS.values(), Architecture("linear", {"C": 1.0}, {"match": 2.0})])
def test_an_architecture_is_kept_as_json(one):
    assert architecture.from_dict(json.loads(json.dumps(one.as_dict()))) == one


def test_a_kind_that_is_not_known_is_refused():
    with pytest.raises(learning.LearningError, match="'forest' is not known here; known are xgboost, linear"):
        architecture.from_dict({"kind": "forest", "parameters": {}})


@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan"), float("inf")])
def test_a_weight_that_is_none_is_refused(weight):
    with pytest.raises(learning.LearningError, match="feature match has the weight"):
        Architecture("linear", {"C": 1.0}, {"match": weight})


def test_no_architecture_is_the_declared_one(use_case, frame, as_of):
    plain = learning.fit(use_case, frame, as_of)
    named = learning.fit(use_case, frame, as_of, architecture.declared(use_case))
    assert plain.identity == named.identity
    assert plain.architecture == architecture.declared(use_case)


def test_a_model_says_what_it_was_learnt_with(models):
    assert {name: fitted.architecture for name, fitted in models.items()} == KINDS


# --- any kind -----------------------------------------------------------------------------------------


def test_the_same_rows_give_the_same_bytes(use_case, frame, as_of, fitted):
    shuffled = frame.sample(frac=1.0, random_state=3)
    again = learning.fit(use_case, shuffled, as_of, fitted.architecture)
    assert again.identity == fitted.identity
    pd.testing.assert_frame_equal(again.held_out, fitted.held_out)


def test_the_newest_labels_do_not_reach_the_model(use_case, frame, as_of, fitted):
    bounds = fitted.summary["parts"]["calibration"]
    newest = (frame["decided_at"] >= bounds["decided_from"]) & (frame["label_status"] == "observed")
    turned = frame.assign(label=frame["label"].mask(newest, 1 - frame["label"]))
    again = learning.fit(use_case, turned, as_of, fitted.architecture)
    assert again.model == fitted.model
    assert again.calibrator != fitted.calibrator


def test_it_beats_the_base_rate_on_everyone(fitted, frame):
    assert metrics.auc(frame["truth"], fitted.probability(frame)) > 0.6
    assert metrics.brier(frame["truth"], fitted.probability(frame)) < frame["truth"].var(ddof=0) - 0.005


def test_a_round_trip_is_exact(fitted, frame, tmp_path):
    fitted.save(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["fitted.json", fitted.learnt.file]
    loaded = Fitted.load(tmp_path)
    assert (loaded.identity, loaded.architecture) == (fitted.identity, fitted.architecture)
    for method in ("score", "probability", "contributions"):
        np.testing.assert_array_equal(getattr(loaded, method)(frame), getattr(fitted, method)(frame))
    (tmp_path / fitted.learnt.file).unlink()
    with pytest.raises(learning.LearningError, match="no whole model"):
        Fitted.load(tmp_path)


def test_contributions_and_one_constant_are_the_margin(fitted, frame):
    rest = fitted.margin(frame) - fitted.contributions(frame).sum(axis=1)
    assert np.ptp(rest) < 1e-4


def test_a_row_is_scored_alike_in_any_company(fitted, frame):
    whole = fitted.margin(frame)
    np.testing.assert_array_equal(fitted.margin(frame.iloc[100:200]), whole[100:200])
    np.testing.assert_array_equal(fitted.margin(frame.iloc[[7]]), whole[[7]])
    assert fitted.margin(frame.head(0)).shape == (0,)


def test_an_unseen_category_counts_as_missing_and_is_an_edge_case(fitted, frame):
    rows = frame.head(3)
    unseen = rows.assign(family="astrology")
    np.testing.assert_array_equal(fitted.score(unseen), fitted.score(rows.assign(family=None)))
    rows, words = fitted.edge_cases(unseen)
    told = zip(rows, words, strict=True)
    assert {row for row, why in told if why == "family 'astrology' was not seen in training"} == {0, 1, 2}


def test_the_losses_of_the_folds_are_those_of_the_next_blocks(use_case, frame, as_of, models):
    encoder, matrix, label, weight = training.prepare(use_case, frame, as_of).learnt("label")
    ways = folds.forward_folds(len(label), use_case.learner.folds)
    for fitted in models.values():
        assert len(fitted.summary["folds"]) == len(ways)
    for number, (learn, after) in enumerate(ways):
        line, _ = Linear.fit(LINEAR, use_case.learner, encoder, matrix[learn], label[learn], weight[learn])
        loss = metrics.log_loss(label[after], expit(line.margin(matrix[after])), weight[after])
        assert models["linear"].summary["folds"][number]["log_loss"] == pytest.approx(loss, abs=1e-6)
    for name in ("depthwise", "lossguide"):
        summary = models[name].summary
        # of the last fold, which no early stop cut short of the rounds chosen
        rows = trees.dmatrix(encoder, matrix[learn], label[learn], weight[learn])
        booster = xgboost.train(summary["parameters"], rows, num_boost_round=summary["rounds"])
        loss = metrics.log_loss(label[after], booster.inplace_predict(matrix[after]), weight[after])
        assert summary["folds"][-1]["log_loss"] == pytest.approx(loss, abs=1e-5)


# --- folders of other versions ------------------------------------------------------------------------


def test_a_folder_of_format_1_still_loads_as_what_it_was(models, frame, tmp_path):
    trees = models["depthwise"]
    trees.save(tmp_path)
    data = json.loads((tmp_path / "fitted.json").read_text())
    del data["summary"]["architecture"]
    text = json.dumps(data | {"format": 1}, indent=1, sort_keys=True)
    (tmp_path / "fitted.json").write_text(text)
    loaded = Fitted.load(tmp_path)
    assert loaded.architecture is None
    np.testing.assert_array_equal(loaded.probability(frame), trees.probability(frame))
    loaded.save(tmp_path)
    assert (tmp_path / "fitted.json").read_text() == text


def test_a_folder_of_a_kind_to_come_is_refused(models, tmp_path):
    models["linear"].save(tmp_path)
    data = json.loads((tmp_path / "fitted.json").read_text())
    data["summary"]["architecture"]["kind"] = "forest"
    (tmp_path / "fitted.json").write_text(json.dumps(data))
    with pytest.raises(learning.LearningError, match="kind 'forest' is not known here"):
        Fitted.load(tmp_path)


def test_a_linear_model_that_was_changed_is_refused(models, tmp_path):
    models["linear"].save(tmp_path)
    data = json.loads((tmp_path / "model.json").read_text())
    (tmp_path / "model.json").write_text(json.dumps(data | {"constant": data["constant"] + 1}))
    with pytest.raises(learning.LearningError, match="SHA-256 differs"):
        Fitted.load(tmp_path)


# --- trees --------------------------------------------------------------------------------------------


def test_trees_grow_as_they_are_told(models):
    depthwise, lossguide = (models[name].learnt.booster for name in ("depthwise", "lossguide"))
    leaves = lossguide.trees_to_dataframe().query("Feature == 'Leaf'").groupby("Tree").size()
    assert leaves.max() == 6
    assert all(line.count("\t") <= 3 for tree in depthwise.get_dump() for line in tree.splitlines())
    assert any(line.count("\t") > 3 for tree in lossguide.get_dump() for line in tree.splitlines())


def test_directions_hold_unless_they_are_left_out(company, use_case, as_of):
    features = [
        f.model_copy(update={"monotone": "decreasing"}) if f.name == "match" else f for f in use_case.features
    ]
    declared = use_case.model_copy(update={"features": tuple(features)})
    frame = company(2500, seed=5)
    rows = pd.concat([frame.iloc[[5]]] * 50, ignore_index=True).assign(match=np.linspace(0, 1, 50))
    parameters = KINDS["depthwise"].parameters
    held = learning.fit(declared, frame, as_of, Architecture("xgboost", parameters))
    free = learning.fit(declared, frame, as_of, Architecture("xgboost", parameters, monotone=False))
    assert (np.diff(held.score(rows)) <= 1e-7).all()
    assert (np.diff(free.score(rows)) > 1e-7).any()


def test_columns_are_drawn_in_proportion_to_their_weights(company, use_case, as_of):
    """One column of five is drawn for each root: with weights 8, 1, 1, 1, 1 the first in two of three."""
    parameters = {"eta": 0.01, "max_depth": 1, "colsample_bynode": 0.2}
    many = use_case.model_copy(update={"learner": use_case.learner.model_copy(update={"rounds": 600})})
    roots = {}
    for name in ("match", "abroad"):
        told = Architecture("xgboost", parameters, {name: 8.0})
        booster = learning.fit(many, company(1500, seed=8), as_of, told).learnt.booster
        tree = booster.trees_to_dataframe().query("Node == 0")
        roots[name] = (tree["Feature"] == name).mean(), len(tree)
    for share, number in roots.values():
        assert share == pytest.approx(8 / 12, abs=4 * np.sqrt(8 / 12 * 4 / 12 / number))


def test_weights_that_are_all_alike_change_nothing(use_case, frame, as_of, models):
    alike = Architecture("xgboost", KINDS["depthwise"].parameters, dict.fromkeys(use_case.feature_names, 2.0))
    assert learning.fit(use_case, frame, as_of, alike).model == models["depthwise"].model


def test_weights_that_could_have_no_effect_are_refused(use_case, frame, as_of):
    with pytest.raises(learning.LearningError, match="all columns are drawn: set one of colsample_bytree"):
        learning.fit(use_case, frame, as_of, Architecture("xgboost", {"eta": 0.1}, {"match": 2.0}))


# --- the linear model ---------------------------------------------------------------------------------


def test_it_is_the_logistic_regression_of_scikit_learn(models, development, use_case, frame, as_of):
    """The same design made by scikit-learn's own encoders, solved by another solver."""
    weight = training.prepare(use_case, frame, as_of).learnt("label")[3]
    numbers = development[["experience", "match", "abroad"]].astype(float)
    scaler = StandardScaler().fit(numbers[["match", "abroad"]], sample_weight=weight)
    present = numbers["experience"].notna().to_numpy()
    years = StandardScaler().fit(numbers.loc[present, ["experience"]], sample_weight=weight[present])
    design = np.column_stack(
        [
            np.where(present[:, None], years.transform(numbers[["experience"]]), 0.0),
            ~present,
            scaler.transform(numbers[["match", "abroad"]]),
            ColumnTransformer([("one", OneHotEncoder(sparse_output=False), [0, 1])]).fit_transform(
                development[["family", "channel"]].astype(object).fillna("missing").to_numpy()
            ),
        ]
    )
    reference = LogisticRegression(C=0.5, tol=1e-10, max_iter=5000)
    reference.fit(design, development["label"], sample_weight=weight)
    np.testing.assert_allclose(
        models["linear"].margin(development), reference.decision_function(design), atol=1e-4
    )


def test_contributions_average_to_nothing_over_the_rows_learnt_from(
    models, development, use_case, frame, as_of
):
    weight = training.prepare(use_case, frame, as_of).learnt("label")[3]
    contributions = models["linear"].contributions(development)
    np.testing.assert_allclose(np.average(contributions, weights=weight, axis=0), 0.0, atol=1e-6)
    assert (np.abs(contributions).max(axis=0) > 0.01).all()


def test_it_does_not_depend_on_the_number_of_cores(use_case, frame, as_of, models):
    for threads in (1, 2):
        with threadpool_limits(limits=threads, user_api="blas"):
            assert learning.fit(use_case, frame, as_of, LINEAR).model == models["linear"].model


def test_a_feature_of_small_weight_is_held_to_nothing(use_case, frame, as_of, models):
    held = learning.fit(use_case, frame, as_of, Architecture("linear", {"C": 0.5}, {"match": 0.01}))
    match = use_case.feature_names.index("match")
    before, after = models["linear"].contributions(frame), held.contributions(frame)
    assert np.ptp(after[:, match]) < np.ptp(before[:, match]) / 20
    others = [i for i in range(before.shape[1]) if i != match]
    assert (np.ptp(after[:, others], axis=0) > np.ptp(before[:, others], axis=0) / 2).all()


def test_a_column_that_says_nothing_is_no_harm(use_case, frame, as_of):
    dull = frame.assign(match=0.1, experience=np.nan)
    fitted = learning.fit(use_case, dull, as_of, LINEAR)
    assert np.isfinite(fitted.margin(frame)).all()
    index = [use_case.feature_names.index(name) for name in ("match", "experience")]
    np.testing.assert_allclose(fitted.contributions(dull)[:, index], 0.0, atol=1e-12)


@given(
    constant=st.floats(-3, 3),
    terms=st.lists(
        st.tuples(st.floats(-5, 5), st.floats(-50, 50), st.floats(-2, 2), st.floats(-2, 2)),
        min_size=1,
        max_size=6,
    ),
    data=st.data(),
)
def test_any_linear_model_says_what_its_terms_say(constant, terms, data):
    columns = tuple(Column(f"x{i}", "number") for i in range(len(terms)))
    model = Linear(
        Encoder(columns),
        constant,
        tuple(Term(f"x{i}", slope, mean, levels) for i, (slope, mean, *levels) in enumerate(terms)),
    )
    row = data.draw(st.lists(st.none() | st.floats(-100, 100), min_size=len(terms), max_size=len(terms)))
    expected = constant + sum(
        missing if value is None else slope * (value - mean) + level
        for value, (slope, mean, level, missing) in zip(row, terms, strict=True)
    )
    matrix = np.array([row], dtype=float)
    kept = Linear.load(model.as_bytes(), model.encoder)
    assert kept.margin(matrix)[0] == pytest.approx(expected, abs=1e-6)
    assert kept.as_bytes() == model.as_bytes()


def test_labels_of_one_class_in_every_fold_are_refused(use_case, frame, as_of):
    """The only bad outcomes are the newest of the development part: no fold has them to learn from."""
    observed = frame[frame["label_status"] == "observed"].sort_values("decided_at")
    cut = observed["decided_at"].iloc[round(0.6 * len(observed))]
    late = observed["decided_at"].between(cut - timedelta(days=3), cut)
    label = frame["label"].where(frame["label"].isna(), 1.0)
    label.loc[observed.index[late]] = 0.0
    for one in KINDS.values():
        with pytest.raises(learning.LearningError, match="no forward fold"):
            learning.fit(use_case, frame.assign(label=label), as_of, one)
