"""Trees of the time until an event: their law, how they explain it, and what cases cut short teach them."""

import json

import numpy as np
import optuna
import pandas as pd
import pytest
import xgboost
from hrloop import learning
from hrloop.evaluation import metrics
from hrloop.learning import Architecture, Fitted, censoring, folds, reweighting, search, trees
from hrloop.learning.calibration import Platt
from hrloop.learning.encoding import fit_encoder
from hrloop.learning.survival import Survival
from lifelines import LogLogisticAFTFitter
from scipy.special import expit

HORIZON = 6.0
SCALE = 0.8
GIVEN = Architecture(
    "survival",
    {"eta": 0.1, "max_depth": 2, "min_child_weight": 5, "scale": SCALE, "horizon": HORIZON},
    monotone=False,
)


def people(n: int, seed: int) -> pd.DataFrame:
    """Months until leaving after a log-logistic law, cut by a window of six months and by being lost before.

    Who is abroad is lost sooner and leaves sooner, as a layoff of a site that is unhappy besides.
    """
    r = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "experience": r.gamma(4, 2, n).round(1),
            "match": r.beta(2, 2, n).round(2),
            "family": r.choice(["engineering", "nursing", "sales"], n),
            "channel": None,
            "abroad": r.random(n) < 0.3,
        }
    )
    frame.loc[r.random(n) < 0.05, "experience"] = np.nan
    middle = np.log(14) + 1.6 * (frame["match"] - 0.5) - 0.7 * frame["abroad"]
    middle += 0.4 * np.where(frame["family"] == "sales", -1, 1)
    lost = r.exponential(np.where(frame["abroad"], 5, 25))
    leaves = np.exp(middle + SCALE * r.logistic(size=n))
    cut = np.minimum(lost, HORIZON)
    frame["middle"], frame["left"], frame["month"] = middle, leaves <= cut, np.minimum(leaves, cut)
    frame["truth"] = (leaves <= HORIZON).astype(float)
    label = np.where(frame["left"], 1.0, np.where(frame["month"] == HORIZON, 0.0, np.nan))
    frame["label"] = label
    return frame


@pytest.fixture(scope="module")
def rows():
    return people(4000, seed=2)


@pytest.fixture(scope="module")
def encoder(use_case, rows):
    return fit_encoder(use_case.features, rows, range_tail=0.0)


@pytest.fixture(scope="module")
def known(rows, encoder):
    """What a model learns from: matrix, bounds, weights."""
    bounds = censoring.bounds(rows["month"].to_numpy(), rows["label"].to_numpy(), HORIZON)
    return encoder.matrix(rows), bounds, np.random.default_rng(4).uniform(0.5, 1.5, len(rows))


@pytest.fixture(scope="module")
def fitted(use_case, encoder, known):
    return Survival.fit(GIVEN, use_case.learner, encoder, *known)


@pytest.fixture(scope="module")
def model(fitted):
    return fitted[0]


@pytest.fixture(scope="module")
def fresh():
    return people(8000, seed=3)


# --- the law ------------------------------------------------------------------------------------------


def test_the_margin_is_the_log_odds_of_the_event_by_the_horizon(model, known):
    months = np.array([0.5, 1, 3, HORIZON, 24])
    risk = model.risk(known[0], months)
    np.testing.assert_allclose(risk[:, 3], expit(model.margin(known[0])), atol=1e-12)
    assert (np.diff(risk, axis=1) > 0).all()
    median = np.exp(model.predicted(known[0]))
    half = [model.risk(known[0][[row]], [median[row]])[0, 0] for row in range(5)]
    np.testing.assert_allclose(half, 0.5, atol=1e-6)
    with pytest.raises(learning.LearningError, match="a month is above 0"):
        model.risk(known[0], [0.0, 1.0])


def test_it_finds_the_law_of_people_it_never_saw(model, encoder, fresh):
    months = np.array([2.0, HORIZON])
    truth = expit((np.log(months) - fresh["middle"].to_numpy()[:, None]) / SCALE)
    found = model.risk(encoder.matrix(fresh), months)
    assert np.abs(found - truth).mean(axis=0).max() < 0.04
    assert np.abs(found.mean(axis=0) - truth.mean(axis=0)).max() < 0.02


def test_it_is_near_the_log_logistic_regression_of_lifelines(use_case, model, encoder, rows, fresh):
    """Where the logarithm of the time is a sum of terms, a regression of this form is the right model."""

    def design(frame):
        numbers = pd.get_dummies(frame[["family"]], drop_first=True, dtype=float)
        return numbers.assign(match=frame["match"], abroad=frame["abroad"].astype(float))

    regression = LogLogisticAFTFitter().fit(
        design(rows).assign(month=rows["month"], left=rows["left"]), "month", "left"
    )
    theirs = 1 - regression.predict_survival_function(design(fresh), times=[HORIZON]).to_numpy()[0]
    ours = model.risk(encoder.matrix(fresh), [HORIZON])[:, 0]
    assert np.corrcoef(ours, theirs)[0, 1] > 0.95
    assert np.abs(ours - theirs).mean() < 0.04


def test_who_was_cut_short_is_neither_dropped_nor_taken_for_staying(
    use_case, model, encoder, known, rows, fresh
):
    """Half of those abroad are lost before they could leave: labels alone say too much or too little."""
    tree = Architecture("xgboost", {name: GIVEN.parameters[name] for name in ("eta", "max_depth")})
    seen = rows["label"].notna().to_numpy()
    abroad = fresh["abroad"].to_numpy()
    matrix, truth = encoder.matrix(fresh), fresh["truth"][abroad].mean()

    def said(label, which):
        labelled, _ = trees.Trees.fit(
            tree, use_case.learner, encoder, known[0][which], label[which], known[2][which]
        )
        return expit(labelled.margin(matrix))[abroad].mean()

    every = np.ones(len(rows), dtype=bool)
    assert expit(model.margin(matrix))[abroad].mean() == pytest.approx(truth, abs=0.03)
    assert said(rows["label"].to_numpy(), seen) > truth + 0.1
    assert said(rows["left"].to_numpy(dtype=float), every) < truth - 0.1


def test_where_features_say_nothing_it_says_what_kaplan_and_meier_say(use_case, encoder, known):
    matrix, bounds, weight = known
    shuffled = matrix[np.random.default_rng(5).permutation(len(matrix))]
    dull, _ = Survival.fit(GIVEN, use_case.learner, encoder, shuffled, bounds, weight)
    lower, upper = bounds.T
    together = 1 - censoring.without_event(lower, lower == upper, weight).at(HORIZON)
    assert expit(dull.margin(shuffled)).mean() == pytest.approx(together, abs=0.02)


# --- explained and kept -------------------------------------------------------------------------------


def test_contributions_and_one_constant_are_the_margin(model, known, use_case):
    contributions = model.contributions(known[0])
    assert np.ptp(model.margin(known[0]) - contributions.sum(axis=1)) < 1e-4
    match, abroad = (use_case.feature_names.index(name) for name in ("match", "abroad"))
    assert np.corrcoef(known[0][:, match], contributions[:, match])[0, 1] < -0.9
    assert np.corrcoef(known[0][:, abroad], contributions[:, abroad])[0, 1] > 0.9


def test_the_same_rows_give_the_same_bytes(use_case, encoder, known, model):
    again, _ = Survival.fit(GIVEN, use_case.learner, encoder, *known)
    assert again.as_bytes() == model.as_bytes()


def test_a_folder_holds_all_of_it(use_case, encoder, known, fitted, rows, tmp_path):
    model, figures = fitted
    summary = json.loads(json.dumps({"architecture": GIVEN.as_dict(), **figures}, allow_nan=False))
    whole = Fitted("small", "2026-10-01T06:00:00Z", encoder, Platt(0.9, -0.1), model.as_bytes(), summary)
    whole.save(tmp_path)
    loaded = Fitted.load(tmp_path)
    assert (loaded.identity, loaded.architecture) == (whole.identity, GIVEN)
    assert (loaded.learnt.scale, loaded.learnt.horizon) == (SCALE, HORIZON)
    np.testing.assert_array_equal(loaded.margin(rows), model.margin(known[0]))
    np.testing.assert_array_equal(loaded.contributions(rows), model.contributions(known[0]))
    months = [1.0, 3.0]
    np.testing.assert_array_equal(loaded.learnt.risk(known[0], months), model.risk(known[0], months))


# --- learning -----------------------------------------------------------------------------------------


def test_the_losses_of_the_folds_are_those_of_the_next_blocks(use_case, encoder, known, fitted):
    matrix, bounds, weight = known
    figures = fitted[1]
    ways = folds.forward_folds(np.flatnonzero(bounds[:, 0] >= HORIZON)[-1] + 1, use_case.learner.folds)
    assert [fold["learnt_from"] for fold in figures["folds"]] == [learn.stop for learn, _ in ways]
    learn, after = ways[-1]
    _, alone = Survival.fit(GIVEN, use_case.learner, encoder, matrix[learn], bounds[learn], weight[learn])
    rows = trees.dmatrix(encoder, matrix[learn], bounds[learn], weight[learn])
    booster = xgboost.train(alone["parameters"], rows, num_boost_round=figures["rounds"])
    said = expit((np.log(HORIZON) - booster.inplace_predict(matrix[after], predict_type="margin")) / SCALE)
    lower, upper = bounds[after].T
    by = censoring.weights(lower, lower == upper, HORIZON, weight[after]) * weight[after]
    loss = metrics.log_loss(upper <= HORIZON, said, by)
    assert figures["folds"][-1]["log_loss"] == pytest.approx(loss, abs=1e-5)
    base = metrics.log_loss(
        upper <= HORIZON, np.full(len(lower), np.average(upper <= HORIZON, weights=by)), by
    )
    assert all(fold["log_loss"] < base for fold in figures["folds"])


def test_rows_that_nobody_has_followed_long_enough_are_learnt_from_and_not_measured_on(
    use_case, encoder, known
):
    """The newest rows of a panel: cut at three months, they show events alone."""
    matrix, bounds, weight = known
    newest = np.arange(len(bounds)) >= 3000
    short = np.where(newest[:, None] & (bounds[:, :1] > 3), [3.0, np.inf], bounds)
    model, figures = Survival.fit(GIVEN, use_case.learner, encoder, matrix, short, weight)
    last = figures["folds"][-1]
    assert last["learnt_from"] + last["validated_on"] == np.flatnonzero(short[:, 0] >= HORIZON)[-1] + 1
    old, _ = Survival.fit(GIVEN, use_case.learner, encoder, matrix[~newest], short[~newest], weight[~newest])
    assert old.as_bytes() != model.as_bytes()
    assert expit(model.margin(matrix)).mean() == pytest.approx(expit(old.margin(matrix)).mean(), abs=0.03)


def test_directions_are_those_of_the_risk(company, use_case, rows, known):
    features = [
        f.model_copy(update={"monotone": "increasing"}) if f.name == "match" else f for f in use_case.features
    ]
    encoder = fit_encoder(features, rows, range_tail=0.0)
    row = pd.concat([rows.iloc[[5]]] * 50, ignore_index=True).assign(match=np.linspace(0, 1, 50))
    held = Architecture("survival", GIVEN.parameters)
    risen = {}
    for one in (held, GIVEN):
        model, _ = Survival.fit(one, use_case.learner, encoder, *known)
        risen[one.monotone] = np.diff(model.margin(encoder.matrix(row)))
    assert (risen[True] >= -1e-6).all()  # against the truth, in which more of it is less risk
    assert (risen[False] < -1e-3).any()


def test_columns_are_drawn_in_proportion_to_their_weights(use_case, encoder, known):
    parameters = {**GIVEN.parameters, "eta": 0.01, "max_depth": 1, "colsample_bynode": 0.2}
    many = use_case.learner.model_copy(update={"rounds": 150})
    told = Architecture("survival", parameters, {"match": 8.0}, monotone=False)
    model, _ = Survival.fit(told, many, encoder, *known)
    tree = model.booster.trees_to_dataframe().query("Node == 0")
    share = (tree["Feature"] == "match").mean()
    assert share == pytest.approx(8 / 12, abs=4 * np.sqrt(8 / 12 * 4 / 12 / len(tree)))
    with pytest.raises(learning.LearningError, match="all columns are drawn: set one of colsample_bytree"):
        Survival.fit(Architecture("survival", GIVEN.parameters, {"match": 8.0}), many, encoder, *known)


def test_reweighted_it_draws_columns_and_keeps_its_law(use_case, encoder, known):
    weights = reweighting.Weights({"match": 4.0, "family": 1.0}, {})
    told = reweighting.reweighted(use_case, GIVEN, weights)
    assert told.parameters == {**GIVEN.parameters, "colsample_bynode": use_case.reweighting.drawn.value}
    model, _ = Survival.fit(told, use_case.learner, encoder, *known)
    assert (model.scale, model.horizon) == (SCALE, HORIZON)


def test_an_event_on_the_first_day_is_one(use_case, encoder, known):
    matrix, bounds, weight = known
    first = bounds.copy()
    first[:50] = 0.0
    first[50:60, 0], first[50:60, 1] = 0.0, np.inf
    model, _ = Survival.fit(GIVEN, use_case.learner, encoder, matrix, first, weight)
    assert np.isfinite(model.margin(matrix)).all()


@pytest.mark.parametrize("lacking", [{"scale": 0.0}, {"horizon": 0.0}, {"horizon": float("nan")}])
def test_a_law_without_scale_or_horizon_is_refused(use_case, encoder, known, lacking):
    told = Architecture("survival", {**GIVEN.parameters, **lacking})
    with pytest.raises(learning.LearningError, match="a scale and a horizon above 0"):
        Survival.fit(told, use_case.learner, encoder, *known)


def test_what_cannot_be_measured_is_refused(use_case, encoder, known):
    matrix, bounds, weight = known
    short = np.where(bounds[:, :1] > 3, [3.0, np.inf], bounds)
    with pytest.raises(learning.NobodyFollowed, match=r"none of 4000 cases was followed to month 6 .*3\.0"):
        Survival.fit(GIVEN, use_case.learner, encoder, matrix, short, weight)
    nobody = np.tile([HORIZON, np.inf], (len(bounds), 1))
    with pytest.raises(learning.LearningError, match="no forward fold"):
        Survival.fit(GIVEN, use_case.learner, encoder, matrix, nobody, weight)


# --- the search ---------------------------------------------------------------------------------------


def test_the_search_proposes_laws_that_can_be_learnt(use_case, encoder, known):
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    proposed = [search.survival(study.ask(), HORIZON) for _ in range(2)]
    assert {one.kind for one in proposed} == {"survival"}
    assert {one.parameters["horizon"] for one in proposed} == {HORIZON}
    assert len({one.parameters["scale"] for one in proposed}) == 2
    for one in proposed:
        found = Survival.forward(one, use_case.learner, encoder, *known)
        assert len(found) == use_case.learner.folds
        assert all(np.isfinite(fold["log_loss"]) for fold in found)
