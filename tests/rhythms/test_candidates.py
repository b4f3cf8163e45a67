"""The error that a comparison may spend, by the labels that are new to it and by what is on record."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hrloop import as_of as moment
from hrloop import usecase
from hrloop.learning import TooEarly
from hrloop.rhythms import Loop, candidates, recorded, retraining
from hrloop.settings import PROJECT
from hrloop.usecase import UseCase

START = datetime(2026, 1, 1, 6, tzinfo=UTC)
CHAMPION = SimpleNamespace(as_of=moment.text(START))


def labels(days: list[int]) -> pd.DataFrame:
    """A training frame with a label that became known on each of these days after the champion was learnt."""
    known = [START + timedelta(days=int(day)) for day in days]
    frame = pd.DataFrame({"label_known_at": known, "label_status": "observed", "selected": True})
    rejected = pd.DataFrame({"label_known_at": known, "label_status": "observed", "selected": False})
    return pd.concat([frame, rejected], ignore_index=True)


@pytest.fixture(scope="module")
def use_case() -> UseCase:
    return usecase.load("recruitment", PROJECT)


@pytest.fixture
def error(settings, warehouse, use_case):
    """The error of a weekly run at a day; what was spent is put on record as the rhythm does."""
    loop = Loop(settings, warehouse)

    def run(day: int, frame: pd.DataFrame, compares: bool = True) -> float:
        as_of = START + timedelta(days=day)
        known = frame[frame["label_known_at"] <= as_of]
        found = candidates.error_of_a_run(loop, use_case, known, CHAMPION, as_of, retraining.STEP, "weekly")
        with recorded(loop, retraining.STEP, as_of, use_case.name) as summary:
            summary.update({"alpha": found} if compares else {"verdict": "insufficient_evidence"})
        return found

    return run


def test_the_run_that_meets_new_labels_has_a_months_part_and_those_between_next_to_nothing(error, use_case):
    weekly = use_case.promotion.false_promotions_a_year.weekly.value
    monthly = [day for month in range(-11, 3) for day in [30 * month] * 100]  # a hundred on every thirtieth
    frame = labels([*monthly, 37])  # and one a week later
    assert error(30, frame) == pytest.approx(weekly * 100 / 1300)
    assert error(37, frame) == pytest.approx(weekly * 1 / 1201)
    with pytest.raises(TooEarly, match="no outcome became known since 2026-02-07"):
        error(44, frame)
    assert error(60, frame) == pytest.approx(weekly * 100 / 1301)


def test_a_run_that_compared_nothing_spent_nothing(error):
    frame = labels([-200] * 1900 + [5] * 50 + [12] * 50)
    assert error(7, frame, compares=False) == pytest.approx(0.26 * 50 / 1950)
    assert error(14, frame) == pytest.approx(0.26 * 100 / 2000), "of those before, too"


def test_no_year_has_more_than_its_budget(error):
    days = np.random.default_rng(3).integers(-365, 700, 4000)
    spent = {}
    for day in range(7, 700, 7):
        try:
            spent[day] = error(day, labels(days))
        except TooEarly:
            spent[day] = 0.0
    assert max(sum(e for d, e in spent.items() if last - 365 < d <= last) for last in spent) <= 0.26 + 1e-9
    assert sum(spent.values()) > 0.4


def test_where_nothing_became_known_for_a_year_there_is_nothing_to_compare(error):
    with pytest.raises(TooEarly, match="no outcome became known since 2026-02-05"):
        error(400, labels([10, 20]))
