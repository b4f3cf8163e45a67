"""The verdicts on versions, experiments, releases and calibrators: only what is shown is believed."""

import json
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hrloop import usecase
from hrloop.evaluation import (
    Comparison,
    Evidence,
    GroupFinding,
    Interval,
    assess,
    first,
    pooling,
    successor,
    verdict,
)
from hrloop.evaluation.drift import Alarm
from hrloop.evaluation.experiment import Sequential
from hrloop.evaluation.verdict import REQUIRED, ExperimentSignals, WatchSignals
from hrloop.settings import PROJECT
from scipy.special import expit

NAN = math.nan
NO_HARM = Sequential(0.6, 120, None)
HARM = Sequential(0.01, 120, 80)
FEW_OVERRULED = Interval(0.0, -0.05, 0.05, 300)


@pytest.fixture(scope="module")
def use_case():
    return usecase.load("recruitment", PROJECT)


@pytest.fixture(scope="module")
def promotion(use_case):
    return use_case.promotion


def evidence(low: float = 0.01, high: float = 0.05, **changes) -> Evidence:
    gain = Interval((low + high) / 2, low, high, 300)
    metric = Interval(0.21, 0.19, 0.23, 300)
    figures = dict.fromkeys((*REQUIRED, "ndcg"), metric)
    given = {
        "labels": 1200,
        "evaluation_labels": 300,
        "groups": 150,
        "base_rate": 0.42,
        "metrics": figures,
        "metrics_selected": figures,
        "improvement": {"brier": gain, "log_loss": gain},
    }
    return Evidence(**(given | changes))


def test_nothing_is_promoted_while_the_drift_alarm_stands(promotion):
    shown = first(evidence(), promotion)
    moved = Alarm(16, (("years_experience", 0.6), ("skills_count", 0.3)), raised=True)
    stopped = verdict.unless_shifted(shown, moved)
    assert stopped.kind == "insufficient_evidence"
    assert stopped.reasons[:-1] == shown.reasons
    assert "years_experience (PSI 0.60)" in stopped.reasons[-1]
    assert stopped.id != shown.id
    for quiet in (None, Alarm(16, (("years_experience", 0.6),), raised=False)):
        assert verdict.unless_shifted(shown, quiet) == shown
    worse = first(evidence(low=-0.05, high=-0.01), promotion)
    assert verdict.unless_shifted(worse, moved) == worse


def test_a_measurable_improvement_is_promoted(promotion):
    verdict = first(evidence(), promotion)
    assert verdict.kind == "promote"
    assert "on 300 matured decisions in 150 groups" in verdict.reasons[0]
    assert "base rate of 42.0%" in verdict.reasons[0]


def test_an_interval_that_touches_zero_is_not_enough(promotion):
    for low in (0.0, -0.001):
        verdict = first(evidence(low=low), promotion)
        assert verdict.kind == "insufficient_evidence"
        assert "may be chance" in verdict.reasons[-1]


def test_measurably_no_better_is_kept_out(promotion):
    assert first(evidence(low=-0.05, high=-0.01), promotion).kind == "keep"


def test_a_declared_minimum_counts(promotion):
    minimum = promotion.minimum_improvement.model_copy(update={"value": 0.02})
    strict = promotion.model_copy(update={"minimum_improvement": minimum})
    assert first(evidence(low=0.03, high=0.05), strict).kind == "promote"
    assert first(evidence(low=0.01, high=0.05), strict).kind == "insufficient_evidence"
    assert first(evidence(low=0.001, high=0.01), strict).kind == "keep"


def test_better_in_one_and_measurably_worse_in_the_other_is_not_promoted(promotion):
    mixed = {"brier": Interval(0.02, 0.01, 0.03, 300), "log_loss": Interval(-0.1, -0.2, -0.01, 300)}
    verdict = first(evidence(improvement=mixed), promotion)
    assert verdict.kind == "insufficient_evidence"
    assert "log loss" in verdict.reasons[-1]


@pytest.mark.parametrize("field", ["labels", "evaluation_labels"])
def test_too_few_labels_are_told(promotion, field):
    verdict = first(evidence(**{field: 74}), promotion)
    assert verdict.kind == "insufficient_evidence"
    assert any(reason.startswith("74 ") for reason in verdict.reasons)


@pytest.mark.parametrize("name", REQUIRED)
@pytest.mark.parametrize("broken", [None, Interval(NAN, NAN, NAN, 300), Interval(0.2, NAN, NAN, 300)])
def test_a_missing_metric_stops_promotion(promotion, name, broken):
    figures = dict(evidence().metrics)
    figures.pop(name)
    if broken is not None:
        figures[name] = broken
    verdict = first(evidence(metrics=figures), promotion)
    assert verdict.kind == "insufficient_evidence"
    assert any(name in reason for reason in verdict.reasons)


@pytest.mark.parametrize("name", ["brier", "log_loss"])
@pytest.mark.parametrize("broken", [None, Interval(0.03, NAN, 0.05, 300), Interval(math.inf, 1, 2, 300)])
def test_a_missing_improvement_stops_promotion(promotion, name, broken):
    gains = {k: v for k, v in evidence().improvement.items() if k != name}
    if broken is not None:
        gains[name] = broken
    assert first(evidence(improvement=gains), promotion).kind == "insufficient_evidence"


def test_a_missing_base_rate_stops_promotion(promotion):
    assert first(evidence(base_rate=NAN), promotion).kind == "insufficient_evidence"


def test_the_id_follows_from_evidence_and_policy(promotion):
    one = first(evidence(), promotion)
    assert one == first(evidence(), promotion)
    assert one.id != first(replace(evidence(), labels=1201), promotion).id
    level = promotion.confidence_level.model_copy(update={"value": 0.9})
    assert one.id != first(evidence(), promotion.model_copy(update={"confidence_level": level})).id


def held_out(signal: float, n: int = 400, seed: int = 0) -> pd.DataFrame:
    r = np.random.default_rng(seed)
    margin = r.normal(-0.4, 1, n)
    return pd.DataFrame(
        {
            "group_key": [f"r{g}" for g in r.integers(0, n // 3, n)],
            "label": (r.random(n) < expit(signal * (margin + 0.4) - 0.4)).astype(float),
            "weight": r.gamma(4, 0.25, n),
            "probability": expit(margin),
        }
    )


def test_from_held_out_labels_to_a_verdict(promotion):
    good = assess(held_out(1.0), base_rate=0.41, labels=1600, promotion=promotion, seed=1)
    assert first(good, promotion).kind == "promote"
    noise = assess(held_out(0.0), base_rate=0.41, labels=1600, promotion=promotion, seed=1)
    assert first(noise, promotion).kind == "keep"
    few = assess(held_out(1.0).head(20), base_rate=0.41, labels=1600, promotion=promotion, seed=1)
    assert first(few, promotion).kind == "insufficient_evidence"
    nobody = assess(held_out(1.0).head(0), base_rate=0.41, labels=1600, promotion=promotion, seed=1)
    assert first(nobody, promotion).kind == "insufficient_evidence"


def test_evidence_is_plain_data_and_repeatable(promotion):
    one = assess(held_out(1.0), base_rate=0.41, labels=1600, promotion=promotion, seed=1)
    two = assess(
        held_out(1.0).sample(frac=1, random_state=1), base_rate=0.41, labels=1600, promotion=promotion, seed=1
    )
    assert one.evaluation_labels == 400
    plain = json.loads(json.dumps(one.as_dict(), allow_nan=False))
    assert plain["metrics"]["brier"]["value"] == pytest.approx(two.metrics["brier"].value)
    nothing = assess(held_out(1.0).head(0), base_rate=NAN, labels=0, promotion=promotion, seed=1).as_dict()
    assert json.loads(json.dumps(nothing, allow_nan=False))["base_rate"] is None


def comparison(low: float = 0.002, high: float = 0.03, **changes) -> Comparison:
    gain = Interval((low + high) / 2, low, high, 300)
    figures = dict.fromkeys((*REQUIRED, "ndcg"), Interval(0.2, 0.18, 0.22, 300))
    given = {
        "labels": 1200,
        "evaluation_labels": 300,
        "groups": 150,
        "effective_labels": 210.0,
        "base_rate": 0.6,
        "alpha": 0.005,
        "metrics": figures,
        "reference_metrics": figures,
        "improvement": {"brier": gain, "log_loss": gain},
        "improvement_over_base_rate": {"brier": gain, "log_loss": gain},
        "group_findings": (),
    }
    return Comparison(**(given | changes))


def test_the_id_follows_from_comparison_and_policy(promotion):
    one = successor(comparison(), promotion)
    assert one == successor(comparison(), promotion)
    assert one.id != successor(comparison(alpha=0.01), promotion).id
    margin = promotion.group_margin.model_copy(update={"value": 0.5})
    assert one.id != successor(comparison(), promotion.model_copy(update={"group_margin": margin})).id


def test_only_an_interval_above_the_minimum_promotes(promotion):
    assert successor(comparison(), promotion).kind == "promote"
    assert successor(comparison(low=0.0), promotion).kind == "insufficient_evidence"
    assert successor(comparison(low=-0.03, high=-0.001), promotion).kind == "keep"
    minimum = promotion.minimum_improvement.model_copy(update={"value": 0.01})
    strict = promotion.model_copy(update={"minimum_improvement": minimum})
    assert successor(comparison(), strict).kind == "insufficient_evidence"
    assert successor(comparison(high=0.009), strict).kind == "keep"


@pytest.mark.parametrize("field", ["improvement", "improvement_over_base_rate"])
def test_measurably_worse_elsewhere_is_not_promoted(promotion, field):
    gains = getattr(comparison(), field) | {"log_loss": Interval(-0.1, -0.2, -0.01, 300)}
    verdict = successor(comparison(**{field: gains}), promotion)
    assert verdict.kind == "insufficient_evidence"
    assert "log loss" in verdict.reasons[-1]


@pytest.mark.parametrize(("gain", "kind"), [(0.001, "promote"), (0.0, None), (-0.011, None)])
def test_what_takes_the_live_calibrator_off_must_outweigh_it(promotion, gain, kind):
    today = dict.fromkeys(("brier", "log_loss"), Interval(gain, gain - 0.02, gain + 0.02, 300))
    verdict = successor(comparison(improvement_over_today=today), promotion)
    assert verdict.kind == (kind or "insufficient_evidence")
    told = f"the version in charge has the better Brier score by {abs(gain):.4f} on the same decisions"
    assert (told in verdict.reasons[-1]) == (kind is None)


@pytest.mark.parametrize(
    "field", ["metrics", "reference_metrics", "improvement", "improvement_over_base_rate"]
)
@pytest.mark.parametrize("broken", [None, Interval(NAN, NAN, NAN, 300), Interval(0.2, NAN, 0.3, 300)])
def test_a_missing_figure_stops_promotion(promotion, field, broken):
    figures = {name: found for name, found in getattr(comparison(), field).items() if name != "brier"}
    if broken is not None:
        figures["brier"] = broken
    verdict = successor(comparison(**{field: figures}), promotion)
    assert verdict.kind == "insufficient_evidence"
    assert "brier or its interval could not be computed" in verdict.reasons[0]


@pytest.mark.parametrize(
    ("lacking", "words"),
    [
        ({"labels": 299}, "299 observed labels"),
        ({"evaluation_labels": 74}, "74 labels to evaluate on"),
        ({"base_rate": NAN}, "base rate"),
        ({"group_findings": None}, "protected groups was not measured"),
    ],
)
def test_what_is_not_enough_or_not_measured_is_told(promotion, lacking, words):
    verdict = successor(comparison(**lacking), promotion)
    assert verdict.kind == "insufficient_evidence"
    assert words in verdict.reasons[0]


def finding(finding: str, **changes) -> GroupFinding:
    gain = Interval(-0.03, -0.05, -0.015, 60)
    return replace(GroupFinding("gender", "woman", 60, 200, gain, "none", "none", finding), **changes)


def test_a_group_that_is_hurt_keeps_the_champion(promotion):
    loses = successor(comparison(group_findings=(finding("hurt"),)), promotion)
    assert loses.kind == "keep"
    assert "gender woman would lose more than 0.01 Brier on 60 decisions" in loses.reasons[-1]
    adverse = successor(comparison(group_findings=(finding("hurt", impact="adverse"),)), promotion)
    assert "adversely selected" in adverse.reasons[-1]
    small = successor(comparison(group_findings=(finding("undetermined"),)), promotion)
    assert small.kind == "promote"
    assert "too few to tell for gender woman" in small.reasons[1]


def test_a_gain_that_segments_do_not_share_is_not_promoted(promotion):
    one_only = pooling.Pooled("job_family", 60.0, 100, Interval(0.01, -0.02, 0.04, 300), 0.03, {})
    assert successor(comparison(pooled=one_only), promotion).kind == "insufficient_evidence"
    unknown = replace(one_only, mean=Interval(0.01, NAN, NAN, 300))
    assert successor(comparison(pooled=unknown), promotion).kind == "insufficient_evidence"
    shared = replace(one_only, mean=Interval(0.01, 0.002, 0.018, 300))
    assert successor(comparison(pooled=shared), promotion).kind == "promote"


def signals(**changes) -> ExperimentSignals:
    given = {
        "day": 28,
        "sample_ratio": 0.4,
        "harm": NO_HARM,
        "overrules": FEW_OVERRULED,
        "comparison": comparison(),
    }
    return ExperimentSignals(**(given | changes))


def ended(use_case, **changes):
    found = verdict.experiment(signals(**changes), use_case.promotion, use_case.experiment)
    return found.kind if found else None


def test_an_experiment_ends_only_at_its_looks(use_case):
    for day in use_case.experiment.looks:
        assert ended(use_case, day=day) == "promote"
    assert ended(use_case, day=20, comparison=None) is None
    assert ended(use_case, day=3) is None  # before the first look, whatever it shows
    assert ended(use_case, day=28, comparison=None) == "insufficient_evidence"


def test_an_open_look_goes_on_and_the_last_one_ends(use_case):
    unclear = comparison(low=-0.001)
    assert ended(use_case, day=14, comparison=unclear) is None
    assert ended(use_case, day=28, comparison=unclear) == "insufficient_evidence"
    assert ended(use_case, day=14, comparison=comparison(low=-0.05, high=-0.01)) == "keep"


def test_a_broken_guardrail_ends_it_on_any_day(use_case):
    assert ended(use_case, day=3, comparison=None, harm=HARM) == "keep"
    assert ended(use_case, day=3, comparison=None, overrules=Interval(0.3, 0.2, 0.4, 90)) == "keep"
    assert ended(use_case, day=3, comparison=None, sample_ratio=0.0005) == "insufficient_evidence"
    assert ended(use_case, harm=HARM) == "keep"


@pytest.mark.parametrize(
    "missing",
    [
        {"sample_ratio": None},
        {"sample_ratio": NAN},
        {"harm": None},
        {"harm": Sequential(1.0, 0, None)},
        {"overrules": None},
        {"overrules": Interval(NAN, NAN, NAN, 0)},
        {"overrules": Interval(0.02, -0.05, 0.11, 60)},
    ],
)
def test_a_missing_signal_opens_no_gate(use_case, missing):
    assert ended(use_case, day=14, **missing) is None
    found = verdict.experiment(signals(**missing), use_case.promotion, use_case.experiment)
    assert found.kind == "insufficient_evidence"
    assert found.reasons[-1].endswith(("could not be measured", "is not shown"))


def test_an_experiments_id_follows_from_its_signals(use_case):
    one, two, other = (
        verdict.experiment(signals(day=day), use_case.promotion, use_case.experiment) for day in (28, 28, 29)
    )
    assert one == two
    assert one.id != other.id


def watched(use_case, **changes):
    given = WatchSignals(True, NO_HARM, FEW_OVERRULED, FEW_OVERRULED, ())
    return verdict.watch(replace(given, **changes), use_case.watch)


def test_a_watch_without_trouble_keeps(use_case):
    assert watched(use_case).kind == "keep"


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        ({"readable": False}, "cannot be read"),
        ({"harm": HARM}, "shown harm on 120 groups"),
        ({"overrules": Interval(0.3, 0.2, 0.4, 90)}, "people overrule has risen by 30.0%"),
        ({"reviews": Interval(0.4, 0.3, 0.5, 90)}, "a person must look at has risen"),
        ({"adverse": ("gender woman",)}, "gender woman"),
    ],
)
def test_one_broken_guardrail_rolls_back_whatever_is_missing(use_case, broken, words):
    found = watched(use_case, **broken)
    assert found.kind == "roll_back"
    assert words in found.reasons[0]
    unmeasured = {"harm": None, "overrules": None, "reviews": None, "adverse": None}
    assert watched(use_case, **(unmeasured | broken)).kind == "roll_back"


@pytest.mark.parametrize(
    "missing",
    [
        {"harm": None},
        {"harm": Sequential(1.0, 0, None)},
        {"overrules": None},
        {"reviews": Interval(0.0, NAN, NAN, 3)},
        {"adverse": None},
    ],
)
def test_a_watch_that_could_not_measure_says_so(use_case, missing):
    found = watched(use_case, **missing)
    assert found.kind == "insufficient_evidence"
    assert "could not be measured" in found.reasons[0]


def test_margins_are_beyond_chance(use_case):
    margin = use_case.watch.overrule_margin.value
    assert watched(use_case, overrules=Interval(margin + 0.1, margin - 0.01, 0.4, 90)).kind == "keep"


def gains(low: float, high: float, n: int = 100) -> dict[str, Interval]:
    return dict.fromkeys(("brier", "log_loss"), Interval((low + high) / 2, low, high, n))


def test_a_calibrator_goes_live_when_measurably_better(use_case):
    declared = use_case.calibration.daily

    def kind(gain):
        return verdict.calibrator(gain, declared).kind

    assert kind(gains(0.001, 0.02)) == "promote"
    assert kind(gains(-0.001, 0.02)) == "insufficient_evidence"
    assert kind(gains(-0.02, -0.001)) == "keep"
    assert kind(gains(0.001, 0.02) | {"brier": Interval(-0.1, -0.2, -0.01, 100)}) == "keep"
    assert kind(gains(0.001, 0.02, n=59)) == "insufficient_evidence"
    assert kind({"log_loss": gains(0.001, 0.02)["log_loss"]}) == "insufficient_evidence"
    assert kind(gains(NAN, NAN)) == "insufficient_evidence"


def test_a_calibrator_comes_off_when_the_one_before_is_measurably_better(use_case):
    declared = use_case.calibration.daily

    def kind(loss):
        return verdict.calibrator_in_use(loss, declared).kind

    assert kind(gains(0.001, 0.02)) == "roll_back"
    assert kind(gains(-0.001, 0.02) | {"brier": Interval(0.1, 0.01, 0.2, 100)}) == "roll_back"
    assert kind(gains(-0.001, 0.02)) == "keep"
    assert kind(gains(0.001, 0.02, n=59)) == "insufficient_evidence"
    assert kind({}) == "insufficient_evidence"
