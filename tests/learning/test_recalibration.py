"""Daily calibration: chosen on the past, judged on what came after, and no change without need."""

from datetime import timedelta

import numpy as np
import pandas as pd
import pytest
from hrloop.learning import InsufficientHistory, LearningError, MissingColumn, recalibration
from hrloop.learning.calibration import Beta, Platt, fit_beta, fit_platt, fit_venn_abers
from hrloop.learning.recalibration import TODAY, choose, comes_off
from scipy.special import expit

RUNS = 20
SHIFT = -1.2  # in log-odds: a base rate of 48 % becomes one of 23 %
SHIFTED_DAYS = 170


@pytest.fixture(scope="module")
def declared(recruitment):
    return recruitment.calibration


@pytest.fixture(scope="module")
def scored(as_of):
    """Makes n matured decisions of the last so many days; the base rate shifted in the newest of them."""

    def make(n: int, seed: int = 0, shift: float = 0.0, days: int = 240) -> pd.DataFrame:
        r = np.random.default_rng(seed)
        age = np.sort(r.uniform(0, days, n))[::-1]
        margin = r.normal(-0.1, 1.1, n)
        truth = expit(margin + np.where(age < SHIFTED_DAYS, shift, 0.0))
        return pd.DataFrame(
            {
                "decision_id": [f"d{i:05d}" for i in range(n)],
                "group_key": [f"r{i // 2:05d}" for i in range(n)],
                "label_known_at": pd.Timestamp(as_of) - pd.to_timedelta(age, unit="D").round("s"),
                "label": (r.random(n) < truth).astype(float),
                "weight": r.choice([0.6, 1.0, 1.8], n),
                "score": expit(margin),
            }
        )

    return make


@pytest.fixture(scope="module")
def choices(scored, declared, as_of):
    """RUNS simulated choices at 150 and 600 labels, steady and after a shift; today's is the identity."""
    return {
        (n, shift): [choose(scored(n, seed, shift), Platt(), declared, as_of) for seed in range(RUNS)]
        for n in (150, 600)
        for shift in (0.0, SHIFT)
    }


def better(judged: pd.DataFrame) -> bool:
    """Whether the candidate's Brier score is lower than today's, by a one-sided paired z-test at 5 %."""
    less = (judged["reference"] - judged["label"]) ** 2 - (judged["probability"] - judged["label"]) ** 2
    mean = np.average(less, weights=judged["weight"])
    error = np.sqrt(np.square(judged["weight"] * (less - mean)).sum()) / judged["weight"].sum()
    return bool(mean > 1.645 * error)


def gained(calibrator, shift: float) -> float:
    """Expected log loss, on new cases, below that of no calibration."""
    margin = np.random.default_rng(99).normal(-0.1, 1.1, 4000)
    truth = expit(margin + shift)

    def loss(p):
        return -np.mean(truth * np.log(p) + (1 - truth) * np.log1p(-p))

    return float(loss(expit(margin)) - loss(calibrator.probability(expit(margin))))


def test_after_a_shift_the_newest_labels_are_listened_to(choices):
    for n, share in ((150, 0.4), (600, 0.9)):
        memory = [choice.name.split()[-1] for choice in choices[n, SHIFT]]
        assert np.mean(np.isin(memory, ["window", "decay"])) >= share
    losses = pd.DataFrame([choice.prequential for choice in choices[600, SHIFT]]).mean()
    for kind in ("platt", "beta"):
        assert losses[f"{kind} decay"] < losses[f"{kind} all"] < losses[TODAY]


@pytest.mark.parametrize("n", [150, 600])
def test_in_a_steady_state_todays_stays(choices, n):
    names = [choice.name for choice in choices[n, 0.0]]
    assert max(names, key=names.count) == TODAY
    assert sum(better(choice.judged) for choice in choices[n, 0.0]) <= 0.1 * RUNS


@pytest.mark.parametrize(("n", "power", "gain"), [(150, 0.4, 0.03), (600, 0.75, 0.08)])
def test_what_goes_live_is_no_worse_than_no_calibration(choices, n, power, gain):
    """Together with the test on the newest labels: gains after a shift, and hardly a loss without one."""
    gains = {
        shift: [gained(c.calibrator, shift) if better(c.judged) else 0.0 for c in choices[n, shift]]
        for shift in (0.0, SHIFT)
    }
    assert np.mean(np.array(gains[SHIFT]) != 0) >= power
    assert np.mean(gains[SHIFT]) >= gain
    assert min(gains[SHIFT]) > -0.01
    assert np.mean(gains[0.0]) > -0.002


def test_ranks_stay(choices):
    score = np.linspace(0, 1, 500)
    for some in choices.values():
        for choice in some:
            assert (np.diff(choice.calibrator.probability(score)) >= 0).all()


def test_rows_in_any_order_give_the_same_choice(scored, declared, as_of):
    frame = scored(300, 3, SHIFT)
    choice = choose(frame, Platt(), declared, as_of)
    shuffled = choose(frame.sample(frac=1, random_state=1), Platt(), declared, as_of)
    assert (shuffled.name, shuffled.calibrator) == (choice.name, choice.calibrator)
    pd.testing.assert_series_equal(shuffled.prequential, choice.prequential)
    pd.testing.assert_frame_equal(shuffled.judged, choice.judged)


def test_labels_to_judge_by_have_no_say_in_the_choice(scored, declared, as_of):
    frame = scored(300, 4, SHIFT)
    choice = choose(frame, Platt(), declared, as_of)
    later = frame["label_known_at"] >= choice.judged_from
    assert choice.fitted_on == (~later).sum()
    assert len(choice.judged) == later.sum() >= declared.daily.minimum_labels.value
    turned = frame.assign(label=frame["label"].where(~later, 1 - frame["label"]))
    again = choose(turned, Platt(), declared, as_of)
    assert (again.name, again.calibrator) == (choice.name, choice.calibrator)
    pd.testing.assert_series_equal(again.prequential, choice.prequential)
    assert (again.judged["label"] == 1 - choice.judged["label"]).all()


def test_the_judged_are_scored_by_both(scored, declared, as_of):
    frame, today = scored(600, 5, SHIFT), Beta(0.9, 1.1, 0.2)
    choice = choose(frame, today, declared, as_of)
    newest = frame.sort_values("label_known_at").tail(len(choice.judged))
    np.testing.assert_array_equal(choice.judged["group_key"], newest["group_key"])
    np.testing.assert_array_equal(choice.judged["reference"], today.probability(newest["score"]))
    np.testing.assert_array_equal(
        choice.judged["probability"], choice.calibrator.probability(newest["score"])
    )


def test_the_prequential_loss_is_that_of_going_forward_by_hand(scored, declared, as_of):
    """Each label of a block is predicted from the labels known before the block, and from no other."""
    frame = scored(200, 6, SHIFT)
    # labels arrive in deliveries, many at one moment
    frame["label_known_at"] = frame["label_known_at"].dt.ceil("10D").clip(upper=as_of)
    choice = choose(frame, Platt(), declared, as_of)
    past = frame[frame["label_known_at"] < choice.judged_from]
    assert len(past) == choice.fitted_on
    starts = past["label_known_at"].iloc[np.linspace(0.4, 1, 11)[:-1].dot(len(past)).round().astype(int)]
    strength = declared.prior_strength.value
    lost = {"platt all": [], "platt window": [], "platt decay": [], "venn_abers window": []}
    scored_rows = past[past["label_known_at"] >= starts.min()]
    for row in scored_rows.itertuples():
        start = max(moment for moment in starts if moment <= row.label_known_at)
        known = past[past["label_known_at"] < start]
        age = (start - known["label_known_at"]).dt.total_seconds() / 86_400
        recent = known[age <= declared.daily.window_days.value]
        decayed = known["weight"] * 0.5 ** (age / declared.daily.half_life_days.value)
        given = {
            "platt all": fit_platt(known["score"], known["label"], known["weight"], strength),
            "platt window": fit_platt(recent["score"], recent["label"], recent["weight"], strength),
            "platt decay": fit_platt(known["score"], known["label"], decayed, strength),
            "venn_abers window": fit_venn_abers(recent["score"], recent["label"]),
        }
        for name, calibrator in given.items():
            p = calibrator.probability(np.array([row.score]))[0]
            lost[name].append(-np.log(p if row.label == 1 else 1 - p))
    for name, losses in lost.items():
        by_hand = np.average(losses, weights=scored_rows["weight"])
        assert choice.prequential[name] == pytest.approx(by_hand, abs=2e-6)


def test_labels_of_one_moment_stay_together(scored, declared, as_of):
    frame = scored(300, 7)
    frame["label_known_at"] = frame["label_known_at"].dt.ceil("30D").clip(upper=as_of)
    choice = choose(frame, Platt(), declared, as_of)
    assert choice.judged_from in set(frame["label_known_at"])
    assert len(choice.judged) == (frame["label_known_at"] >= choice.judged_from).sum()


def test_of_equals_the_simplest_is_chosen(scored, declared, as_of):
    """With a prior that nothing moves, each Platt and each beta is the identity, and so is today's."""
    stiff = declared.model_copy(
        update={"prior_strength": declared.prior_strength.model_copy(update={"value": 1e9})}
    )
    choice = choose(scored(600, 8), Platt(), stiff, as_of)
    equals = [name for name in choice.prequential.index if not name.startswith("venn_abers")]
    assert choice.prequential[equals].nunique() == 1
    assert choice.name == TODAY
    assert choice.calibrator == Platt()
    assert (choice.judged["probability"] == choice.judged["reference"]).all()


def test_no_calibration_is_chosen_when_todays_is_wrong_and_scores_are_right(scored, declared, as_of):
    stiff = declared.model_copy(
        update={"prior_strength": declared.prior_strength.model_copy(update={"value": 1e9})}
    )
    choice = choose(scored(600, 8), Platt(0.5, 1.0), stiff, as_of)
    assert choice.name == "identity"
    assert better(choice.judged)


@pytest.mark.parametrize("n", [0, 1, 60, 119])
def test_too_few_labels_are_no_history(scored, declared, as_of, n):
    with pytest.raises(InsufficientHistory, match="each needs 60") as refused:
        choose(scored(n), Platt(), declared, as_of)
    assert refused.value.past + refused.value.newest == n


def test_a_calibrator_that_was_sure_and_wrong_is_not_chosen(scored, declared, as_of):
    """Its loss is infinite, which is no reason to stop."""
    sure = Platt(slope=1e6)
    choice = choose(scored(150), sure, declared, as_of)
    assert choice.prequential[TODAY] == np.inf
    assert choice.name != TODAY


def test_two_times_the_minimum_will_do(scored, declared, as_of):
    choice = choose(scored(120), Platt(), declared, as_of)
    assert (choice.fitted_on, len(choice.judged)) == (60, 60)


@pytest.mark.parametrize("moments", [1, 2])
def test_labels_that_became_known_all_at_once_are_no_history(scored, declared, as_of, moments):
    frame = scored(400)
    frame["label_known_at"] = pd.Timestamp(as_of) - pd.to_timedelta(np.arange(400) % moments, unit="D")
    with pytest.raises(InsufficientHistory, match="at more than one moment"):
        choose(frame, Platt(), declared, as_of)


def test_what_nothing_can_be_learnt_from_is_refused(scored, declared, as_of):
    frame = scored(150)
    problems = [
        (frame.drop(columns="weight"), "no column weight"),
        (frame.assign(decision_id="d00000"), "twice"),
        (frame.assign(label=frame["label"].where(frame.index != 7)), "d00007 has no label of 0 or 1"),
        (frame.assign(score=frame["score"].where(frame.index != 7)), "d00007 has no score from 0 to 1"),
        (frame.assign(weight=frame["weight"].where(frame.index != 7, 0.0)), "d00007 has no weight above 0"),
        (frame.assign(weight=frame["weight"].where(frame.index != 7, np.inf)), "no weight above 0"),
        (frame.assign(label_known_at=frame["label_known_at"].dt.tz_localize(None)), "no UTC time"),
        (frame.assign(label_known_at=frame["label_known_at"].where(frame.index != 7)), "was not known by"),
        (frame.assign(label_known_at=frame["label_known_at"] + timedelta(days=1)), "was not known by"),
    ]
    for bad, words in problems:
        with pytest.raises(LearningError, match=words):
            choose(bad, Platt(), declared, as_of)
        with pytest.raises(LearningError, match=words):
            comes_off(bad, as_of - timedelta(days=30), Platt(), Platt(), as_of)
    with pytest.raises(MissingColumn, match="weight"):
        choose(problems[0][0], Platt(), declared, as_of)


def test_a_calibrator_that_worsens_comes_off_by_later_labels_alone(scored, as_of):
    """The live calibrator fitted the time before the base rate shifted back."""
    since = as_of - timedelta(days=SHIFTED_DAYS)
    frame = scored(600, 9)
    live, before = Platt(intercept=-1.2), Platt()
    judged = comes_off(frame, since, live, before, as_of)
    later = frame[frame["label_known_at"] > since]
    assert len(judged) == len(later) > 200
    np.testing.assert_array_equal(judged["probability"], before.probability(later["score"]))
    np.testing.assert_array_equal(judged["reference"], live.probability(later["score"]))
    assert better(judged)
    assert not better(comes_off(frame, since, before, live, as_of))
    assert len(comes_off(frame, as_of, live, before, as_of)) == 0


def test_what_goes_live_is_fitted_on_the_whole_past(scored, declared, as_of):
    """As of the moment from which it is judged, with labels that have decayed until then."""
    frame = scored(600, 10, SHIFT)
    choice = choose(frame, Platt(), declared, as_of)
    kind, memory = choice.name.split()
    assert memory == "decay"
    past = frame[frame["label_known_at"] < choice.judged_from]
    age = (choice.judged_from - past["label_known_at"]).dt.total_seconds() / 86_400
    weight = past["weight"] * 0.5 ** (age / declared.daily.half_life_days.value)
    fit = {"platt": fit_platt, "beta": fit_beta}[kind]
    by_hand = fit(past["score"], past["label"], weight, declared.prior_strength.value)
    assert type(choice.calibrator) is type(by_hand)
    assert vars(choice.calibrator) == pytest.approx(vars(by_hand), rel=1e-6)
    assert choice.calibrator.effective_labels < choice.calibrator.labels == len(past)


def test_every_kind_and_memory_is_offered_the_simplest_first(declared):
    names = list(recalibration.candidates(Platt(), declared))
    assert names[:3] == [TODAY, "identity", "platt all"]
    assert len(names) == 10
    assert "venn_abers decay" not in names
