"""The verdict on a first champion: only what is shown is believed."""

import json
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hrloop import usecase
from hrloop.evaluation import Evidence, Interval, assess, first
from hrloop.evaluation.verdict import REQUIRED
from hrloop.settings import PROJECT
from scipy.special import expit

NAN = math.nan


@pytest.fixture(scope="module")
def promotion():
    return usecase.load("recruitment", PROJECT).promotion


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
