"""What the labels say of the live calibrator, day after day: it changes when it must, and back."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from hrloop import usecase
from hrloop.learning.calibration import Platt
from hrloop.rhythms.calibration import Live, look
from hrloop.settings import PROJECT
from scipy.special import expit

AS_OF = datetime(2026, 9, 1, 6, tzinfo=UTC)


@pytest.fixture(scope="module")
def declared():
    return usecase.load("recruitment", PROJECT).calibration


def scored(truth: Platt, n: int = 1200, days: int = 300) -> pd.DataFrame:
    """Matured decisions of the last so many days whose score is right under this calibrator."""
    r = np.random.default_rng(4)
    score = expit(r.normal(-0.1, 1.1, n))
    return pd.DataFrame(
        {
            "decision_id": [f"d{i:05d}" for i in range(n)],
            "group_key": [f"r{i // 2:05d}" for i in range(n)],
            "label_known_at": pd.Timestamp(AS_OF) - pd.to_timedelta(np.linspace(days, 0, n), unit="D"),
            "label": (r.random(n) < truth.probability(score)).astype(float),
            "weight": 1.0,
            "score": score,
        }
    )


def test_what_beats_todays_goes_live_and_is_what_was_judged(declared):
    truth = Platt(intercept=-1.5)
    found = look(scored(truth), Live(Platt()), declared, AS_OF)
    assert found.kind == "promote"
    assert found.calibrator.probability(np.array([0.3, 0.5, 0.8])) == pytest.approx(
        truth.probability(np.array([0.3, 0.5, 0.8])), abs=0.08
    )
    assert found.judged["reference"].mean() > found.judged["probability"].mean() + 0.15


def test_what_is_right_stays(declared):
    found = look(scored(Platt()), Live(Platt()), declared, AS_OF)
    assert found.kind != "promote"
    assert (found.calibrator, found.judged) == (None, None)


def test_what_worsened_gives_way_to_the_one_before_it(declared):
    since = AS_OF - timedelta(days=100)
    found = look(scored(Platt()), Live(Platt(intercept=-1.5), since, Platt()), declared, AS_OF)
    assert (found.kind, found.calibrator) == ("roll_back", Platt())
    assert len(found.judged) == 400  # labels known since it took over, and no others


def test_one_that_serves_is_not_taken_off(declared):
    live = Live(Platt(), AS_OF - timedelta(days=100), Platt(intercept=-1.5))
    assert look(scored(Platt()), live, declared, AS_OF).calibrator is None
