"""Reweighting: what was measured and what reviewers said moves weights, in bounds and with reasons; noise
does not."""

import json
import math
from functools import cache, partial

import numpy as np
import pandas as pd
import pytest
from hrloop import learning
from hrloop.evaluation import metrics
from hrloop.evaluation.metrics import Interval
from hrloop.learning import reweighting
from hrloop.learning.architecture import Architecture, declared
from hrloop.usecase import UseCase
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit
from scipy.stats import binomtest, fisher_exact, ttest_1samp

FAMILIES = ["engineering", "data", "sales", "support", "finance", "operations", "marketing", "legal"]
CUSTOMER_FACING = ["sales", "support"]
OTHERS = [f"other_{i}" for i in range(10)]
NUMBERS = ["communication", "assessment", "experience", *OTHERS]


@pytest.fixture(scope="module")
def case(recruitment) -> UseCase:
    """A use case in which communication is one of many features, and reviewers may speak of it."""
    data = recruitment.model_dump()
    data["features"] = [
        {"name": name, "type": "number", "description": "A measured number."} for name in NUMBERS
    ] + [
        {"name": "family", "type": "category", "description": "Job family."},
        {"name": "channel", "type": "category", "description": "Where from."},
    ]
    data["volume"]["segment"] = "family"
    data["learner"]["parameters"]["eta"] = 0.1
    data["learner"] |= {"folds": 3}
    data["reviews"]["about"] = {
        "communication": {"features": ["communication"], "counts": "more"},
        "skill_underrated": {"features": ["other_1", "other_2"], "counts": "more"},
        "skill_overrated": {"features": ["other_1"], "counts": "less"},
        "role_changed": {"features": ["family"], "counts": "less"},
    }
    return UseCase.model_validate(data)


def people(n: int, seed: int) -> pd.DataFrame:
    """n decided cases, all selected; communication counts in customer-facing families and nowhere else."""
    r = np.random.default_rng(seed)
    frame = pd.DataFrame({name: r.normal(size=n) for name in NUMBERS})
    frame["family"], frame["channel"] = r.choice(FAMILIES, n), r.choice(["board", "referral"], n)
    counts = np.where(frame["family"].isin(CUSTOMER_FACING), 1.5, 0.0)
    frame["truth"] = expit(counts * frame["communication"] + 0.5 * frame["assessment"])
    decided_at = pd.Timestamp("2023-10-01T00:00:00Z") + pd.to_timedelta(np.sort(r.uniform(0, 600, n)), "D")
    return frame.assign(
        decision_id=[f"d{seed}-{i:06d}" for i in range(n)],
        case_key=[f"a{seed}-{i:06d}" for i in range(n)],
        group_key=[f"r{group:05d}" for group in r.integers(0, max(1, n // 3), n)],
        decided_at=decided_at,
        selected=True,
        selection_propensity=1.0,
        label_status="observed",
        follow_up=12.0,
        label=(r.random(n) < frame["truth"]).astype(float),
        label_known_at=decided_at + pd.Timedelta(days=365),
    )


some = cache(partial(people, seed=50_000))  # cases of which only family, channel and code matter


def overrules(case: UseCase, n: int, seed: int, told: bool) -> pd.DataFrame:
    """n overrules with codes at random; where told, communication is given for two in five of the
    customer-facing ones besides."""
    r = np.random.default_rng([seed, n])
    frame = some(n).assign(verdict="overrule", action="advance", family=r.choice(FAMILIES, n))
    code = r.choice(list(case.reviews.reason_codes), n).astype(object)
    if told:
        code[frame["family"].isin(CUSTOMER_FACING).to_numpy() & (r.random(n) < 0.4)] = "communication"
    return frame.assign(reason_code=code)


def silent(case: UseCase) -> tuple[dict[str, Interval], dict[str, float]]:
    """Performance and drift that say nothing."""
    nothing = Interval(0.0, -0.01, 0.01, 300)
    return dict.fromkeys(case.feature_names, nothing), dict.fromkeys(case.feature_names, 0.01)


# --- what weights do ----------------------------------------------------------------------------------


def test_a_few_hundred_overrules_make_a_better_model_and_noise_makes_none_worse(case):
    """Paired over seeds, on fresh cases whose truth is known: the same labels, with weights and without."""
    fresh = people(4000, seed=999)
    truth, equal = fresh["truth"], declared(case)

    def loss(frame: pd.DataFrame, one: Architecture) -> float:
        probability = learning.fit(case, frame, frame["label_known_at"].max(), one).probability(fresh)
        return float(-np.mean(truth * np.log(probability) + (1 - truth) * np.log1p(-probability)))

    gains = {True: [], False: []}
    for seed in range(24):
        frame = people(1000, seed)
        before = loss(frame, equal)
        for told, gained in gains.items():
            weights = reweighting.feature_weights(case, *silent(case), overrules(case, 300, seed, told))
            after = reweighting.reweighted(case, equal, weights)
            # the same architecture gives the same model
            gained.append(before - loss(frame, after) if after.weights(case.feature_names) else 0.0)
    assert np.mean(gains[True]) > 0.001
    assert ttest_1samp(gains[True], 0.0, alternative="greater").pvalue < 0.01
    noise = np.array(gains[False])
    assert np.mean(noise == 0) > 0.8  # chance is seldom heard
    assert noise.mean() >= -2 * noise.std(ddof=1) / np.sqrt(len(noise))


def test_a_tree_model_draws_by_weights_and_a_linear_one_needs_nothing_more(case):
    weights = reweighting.Weights({"communication": 4.0, "family": 1.0}, {})
    trees = reweighting.reweighted(case, declared(case), weights)
    assert trees.parameters["colsample_bynode"] == case.reweighting.drawn.value
    assert trees.feature_weights == weights.weight
    linear = reweighting.reweighted(case, Architecture("linear", {"C": 1.0}, {"other_1": 2.0}), weights)
    assert linear == Architecture("linear", {"C": 1.0}, weights.weight)


def test_equal_weights_leave_the_parameters_as_they_are(case):
    weights = reweighting.Weights(dict.fromkeys(case.feature_names, 1.0), {})
    same = reweighting.reweighted(case, declared(case), weights)
    assert same.parameters == declared(case).parameters


# --- overrules ----------------------------------------------------------------------------------------


def test_communication_in_customer_facing_roles_is_learnt_from_three_hundred(case):
    weights = reweighting.feature_weights(case, *silent(case), overrules(case, 300, 4, told=True))
    raised = {name for name, weight in weights.weight.items() if weight != 1}
    assert raised == {"communication", "family"}
    assert weights.weight["communication"] == case.reweighting.strongest.value
    words = " ".join(weights.reasons["family"])
    frame = overrules(case, 300, 4, told=True)
    inside = frame["family"].isin(CUSTOMER_FACING)
    said = frame["reason_code"] == "communication"
    assert (
        f"communication: {said[inside].sum()} of {inside.sum()} overrules in sales, support (family), "
        f"{said[~inside].sum()} of {(~inside).sum()} elsewhere"
    ) in words


def counted(case: UseCase, cells: dict[tuple[str, str], int]) -> pd.DataFrame:
    """Overrules with so many of each (family, code)."""
    rows = [key for key, number in cells.items() for _ in range(number)]
    frame = some(len(rows)).assign(verdict="overrule", action="decline", channel="board")
    return frame.assign(family=[family for family, _ in rows], reason_code=[code for _, code in rows])


def test_a_context_is_told_in_figures(case):
    cells = {
        ("sales", "communication"): 62,
        ("sales", "other"): 68,
        ("finance", "communication"): 9,
        ("finance", "other"): 161,
    }
    found = [said for said in reweighting.heard(case, counted(case, cells)) if said.context]
    assert [said.words for said in found] == [
        "communication: 62 of 130 overrules in sales (family), 9 of 170 elsewhere"
    ]
    assert found[0].ratio == pytest.approx((62.5 / 131) / (9.5 / 171))


def test_a_code_given_too_often_everywhere_has_no_context(case):
    cells = {(family, "communication"): 12 for family in FAMILIES} | {
        (family, "other"): 12 for family in FAMILIES
    }
    (said,) = reweighting.heard(case, counted(case, cells))
    assert (said.code, said.context, said.ratio) == ("communication", None, 4.0)
    assert said.words == "communication: 96 of 192 overrules, where 12% would be even"


def test_a_code_that_lowers_lowers_and_two_that_contradict_cancel(case):
    cells = {(family, "skill_overrated"): 10 for family in FAMILIES}
    cells |= {(family, "other"): 15 for family in FAMILIES}
    lowered = reweighting.feature_weights(case, *silent(case), counted(case, cells)).weight
    assert lowered["other_1"] == pytest.approx(1 / 3.2, abs=1e-4)
    assert lowered["other_2"] == 1
    cells |= {(family, "skill_underrated"): 10 for family in FAMILIES}
    both = reweighting.feature_weights(case, *silent(case), counted(case, cells))
    assert both.weight["other_1"] == 1
    assert len(both.reasons["other_1"]) == 2
    assert both.weight["other_2"] > 1


def test_a_context_in_which_a_code_lowers_raises_the_context_alone(case):
    cells = {("sales", "skill_overrated"): 30, ("sales", "other"): 10} | {
        (family, "other"): 60 for family in FAMILIES if family != "sales"
    }
    weight = reweighting.feature_weights(case, *silent(case), counted(case, cells)).weight
    assert weight["family"] == case.reweighting.strongest.value
    assert {name for name, value in weight.items() if value != 1} == {"family"}


@pytest.mark.parametrize(("number", "expected"), [(29, []), (30, ["communication"])])
def test_a_code_is_heard_from_the_declared_number_on(case, number, expected):
    assert case.reweighting.minimum_overrides.value == 30
    frame = counted(case, {("sales", "communication"): number, ("finance", "other"): 40})
    frame["family"] = frame["channel"] = None  # no context
    assert [said.code for said in reweighting.heard(case, frame)] == expected


def test_a_case_counts_once_for_a_code_and_agreement_not_at_all(case):
    frame = counted(case, {("sales", "communication"): 20, ("finance", "other"): 20})
    twice = pd.concat([frame, frame], ignore_index=True)
    assert reweighting.heard(case, twice) == []
    many = counted(case, {("sales", "communication"): 60, ("finance", "other"): 60})
    assert reweighting.heard(case, many) != []
    assert reweighting.heard(case, many.assign(verdict="agree")) == []
    assert reweighting.heard(case, many.head(0)) == []


def test_chance_alone_is_heard_as_rarely_as_declared(case):
    """250 months of codes at random: Holm holds the error over all codes and contexts together."""
    false = sum(bool(reweighting.heard(case, overrules(case, 300, seed, told=False))) for seed in range(250))
    declared_error = case.reweighting.significance.value
    assert binomtest(false, 250, declared_error, alternative="greater").pvalue > 0.01


def test_two_hundred_overrules_nearly_always_tell_the_context(case):
    heard = 0
    for seed in range(60):
        said = reweighting.heard(case, overrules(case, 200, seed, told=True))
        heard += any((one.code, one.context) == ("communication", "family") for one in said)
    assert heard >= 50


def test_the_p_value_is_that_of_fishers_exact_test(case):
    frame = overrules(case, 300, 4, told=True)
    given_ = (frame["reason_code"] == "communication").to_numpy()
    for family, p in reweighting._more_often(frame["family"], given_).items():
        inside = (frame["family"] == family).to_numpy()
        table = [[(given_ & inside).sum(), (~given_ & inside).sum()]]
        table.append([(given_ & ~inside).sum(), (~given_ & ~inside).sum()])
        assert p == pytest.approx(fisher_exact(table, alternative="greater").pvalue)


def test_holm_worked_by_hand():
    """4 · 0.005, 3 · 0.01, 2 · 0.03, and 0.04 no lower than the one before it."""
    adjusted = reweighting._holm(np.array([0.01, 0.04, 0.03, 0.005]))
    np.testing.assert_allclose(adjusted, [0.03, 0.06, 0.06, 0.02])


# --- performance and drift ----------------------------------------------------------------------------


def one(case: UseCase, loss: Interval, psi: float) -> tuple[float, str]:
    """Weight and words of a feature with this performance and drift."""
    performance, drift = silent(case)
    weights = reweighting.feature_weights(
        case, performance | {"assessment": loss}, drift | {"assessment": psi}, overrules(case, 10, 1, False)
    )
    return weights.weight["assessment"], "; ".join(weights.reasons["assessment"])


HOLDS, UNSURE, HARMS = (
    Interval(0.02, 0.01, 0.03, 300),
    Interval(0.02, -0.01, 0.05, 300),
    Interval(-0.02, -0.03, -0.01, 300),
)
UNKNOWN = Interval(0.02, math.nan, math.nan, 1)


@pytest.mark.parametrize(
    ("loss", "psi", "weight", "words"),
    [
        (HOLDS, 0.01, 2.0, "+0.0200 worse (0.0100 to 0.0300): used more"),
        (UNSURE, 0.01, 1.0, ""),
        (HARMS, 0.01, 0.5, "used less"),
        (HARMS, 0.40, 0.25, "trusted less"),
        (UNSURE, 0.249, 1.0, ""),
        (UNSURE, 0.25, 0.5, "shifted since training (PSI 0.25): trusted less"),
        (UNKNOWN, 0.30, 0.5, "trusted less"),
        (HOLDS, 0.30, 2.0, "and still holds on newer outcomes"),
    ],
)
def test_what_was_measured_moves_a_weight(case, loss, psi, weight, words):
    found, told = one(case, loss, psi)
    assert found == weight
    assert words in told
    assert bool(told) == (bool(words))


def test_what_was_not_measured_is_never_passed_over(case):
    performance, drift = silent(case)
    some = overrules(case, 10, 1, told=False)
    without = {name: loss for name, loss in performance.items() if name != "family"}
    with pytest.raises(learning.LearningError, match="drift of family was not measured"):
        reweighting.feature_weights(case, without, drift, some)
    with pytest.raises(learning.LearningError, match="drift of family was not measured"):
        reweighting.feature_weights(
            case, performance, {n: p for n, p in drift.items() if n != "family"}, some
        )
    with pytest.raises(ValueError, match="PSI is missing"):
        reweighting.feature_weights(case, performance, drift | {"family": math.nan}, some)
    with pytest.raises(learning.MissingColumn, match="reason_code"):
        reweighting.feature_weights(case, performance, drift, some.drop(columns="reason_code"))


@settings(max_examples=50)
@given(
    losses=st.lists(st.sampled_from([HOLDS, UNSURE, HARMS, UNKNOWN]), min_size=15, max_size=15),
    drifts=st.lists(st.floats(0, 3), min_size=15, max_size=15),
    cells=st.lists(
        st.tuples(
            st.sampled_from(FAMILIES),
            st.sampled_from(["communication", "skill_overrated", "skill_underrated", "other"]),
            st.integers(1, 60),
        ),
        max_size=8,
    ),
)
def test_weights_stay_in_bounds_and_each_has_its_reasons(case, losses, drifts, cells):
    said = counted(case, {(family, code): n for family, code, n in cells} or {("sales", "other"): 1})
    names = case.feature_names
    weights = reweighting.feature_weights(
        case, dict(zip(names, losses, strict=True)), dict(zip(names, drifts, strict=True)), said
    )
    strongest = case.reweighting.strongest.value
    assert set(weights.weight) == set(names)
    for name, weight in weights.weight.items():
        assert 1 / strongest <= weight <= strongest
        assert weight == 1 or weights.reasons[name]
    assert json.loads(json.dumps(weights.weight)) == weights.weight


@pytest.fixture(scope="module")
def fitted(case):
    frame = people(3000, seed=1)
    return learning.fit(case, frame, frame["label_known_at"].max())


def test_performance_tells_what_is_used_from_what_is_not(case, fitted):
    newer = people(1200, seed=2)
    found = reweighting.feature_performance(
        fitted, newer, newer["label"].to_numpy(), np.ones(len(newer)), seed=1
    )
    assert list(found) == case.feature_names
    for name in ("communication", "assessment", "family"):
        assert found[name].is_above(0.0)
        assert found[name].n == 1200
    # at 95 % a feature that says nothing is taken to help in one of forty
    assert sum(found[name].is_above(0.0) for name in OTHERS) <= 2
    again = reweighting.feature_performance(
        fitted, newer, newer["label"].to_numpy(), np.ones(len(newer)), seed=1
    )
    assert again == found


def test_performance_is_the_rise_in_loss_under_permutation(fitted):
    """Each case a group of its own: plain permutation importance, here once more by hand."""
    newer = people(600, seed=3)
    newer["group_key"] = newer["decision_id"]
    label, weight = newer["label"].to_numpy(), np.linspace(0.5, 1.5, 600)
    found = reweighting.feature_performance(fitted, newer, label, weight, seed=2)
    r = np.random.default_rng(5)
    before = metrics.log_loss(label, fitted.probability(newer), weight)
    rises = [
        metrics.log_loss(
            label,
            fitted.probability(newer.assign(assessment=r.permutation(newer["assessment"].to_numpy()))),
            weight,
        )
        - before
        for _ in range(60)
    ]
    assert found["assessment"].value == pytest.approx(np.mean(rises), abs=4 * np.std(rises) / np.sqrt(15))


def test_what_a_group_shares_is_shuffled_between_groups(fitted):
    """A family that is the same for a whole group stays the same for it."""
    groups = pd.Series(np.repeat(["a", "b", "c", "d", "e"], [1, 4, 2, 7, 3]))
    family = groups.map(dict(zip("abcde", range(5), strict=True))).to_numpy()
    donors = reweighting._donors(groups, reweighting.SHUFFLES, seed=1).reshape(reweighting.SHUFFLES, -1)
    given_to = family[donors]
    for shuffled in given_to:
        assert pd.Series(shuffled).groupby(groups.to_numpy()).nunique().max() == 1
    assert len(np.unique(given_to, axis=0)) > reweighting.SHUFFLES / 2


def test_too_few_outcomes_leave_performance_undetermined(fitted):
    newer = people(3, seed=4).assign(group_key="one")
    found = reweighting.feature_performance(fitted, newer, newer["label"].to_numpy(), np.ones(3), seed=1)
    assert not any(loss.is_above(0.0) or loss.is_below(0.0) for loss in found.values())
    with pytest.raises(learning.LearningError, match="no matured decisions"):
        reweighting.feature_performance(fitted, newer.head(0), np.empty(0), np.empty(0), seed=1)


def test_drift_names_the_feature_that_moved(case):
    before, now = people(800, seed=5), people(800, seed=6)
    moved = reweighting.feature_drift(case, before, now.assign(assessment=now["assessment"] + 1.0))
    assert {name for name, psi in moved.items() if psi >= 0.25} == {"assessment"}
    with pytest.raises(ValueError, match="no rows"):
        reweighting.feature_drift(case, before, now.head(0))
    with pytest.raises(learning.MissingColumn, match="channel"):
        reweighting.feature_drift(case, before, now.drop(columns="channel"))
