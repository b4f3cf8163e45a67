"""Experiments on record: begun once, one at a time, ended with a verdict that stands."""

from datetime import timedelta

import pytest
from hrloop.release import experiments, ledger
from hrloop.release.ledger import Release


@pytest.fixture
def champion(warehouse, small_case, as_of):
    row = Release("r1", small_case.name, as_of, "first", 1, None, "promote")
    with ledger.locked(warehouse, small_case.name) as connection:
        ledger.record(connection, row)
    return 1


def test_begun_twice_it_is_one(warehouse, small_case, champion, as_of):
    begun = experiments.begin(warehouse, small_case, 2, as_of)
    assert experiments.begin(warehouse, small_case, 2, as_of) == begun
    assert (begun.champion, begun.challenger, begun.share) == (1, 2, 0.2)
    assert list(begun.looks) == [14, 21, 28]


def test_one_at_a_time(warehouse, small_case, champion, as_of):
    begun = experiments.begin(warehouse, small_case, 2, as_of)
    with pytest.raises(ValueError, match=r"the experiment with version 2, begun .* still runs"):
        experiments.begin(warehouse, small_case, 3, as_of + timedelta(days=1))
    experiments.look(warehouse, begun, as_of + timedelta(days=14), {"p": 0.2}, "keep", ["No better."])
    later = experiments.begin(warehouse, small_case, 3, as_of + timedelta(days=15))
    assert experiments.latest(warehouse, small_case.name) == later


def test_it_runs_from_its_start_to_its_end_whenever_asked(warehouse, small_case, champion, as_of):
    begun = experiments.begin(warehouse, small_case, 2, as_of)
    end = as_of + timedelta(days=21)
    experiments.look(warehouse, begun, end, {}, "insufficient_evidence", ["Too few labels."])

    def runs(when):
        return experiments.running(warehouse, small_case.name, when) is not None

    assert [runs(as_of - timedelta(days=1)), runs(as_of), runs(end - timedelta(days=1)), runs(end)] == [
        False, True, True, False,
    ]  # fmt: skip


def test_a_verdict_stands_and_looks_are_kept(warehouse, small_case, champion, as_of):
    begun = experiments.begin(warehouse, small_case, 2, as_of)
    first, second = as_of + timedelta(days=14), as_of + timedelta(days=21)
    experiments.look(warehouse, begun, first, {"improvement": 0.01})
    ended = experiments.look(warehouse, begun, second, {"improvement": 0.02}, "promote", ["Better."])
    assert (ended.verdict, ended.ended_at, ended.reasons) == ("promote", second, ["Better."])
    assert [figures["improvement"] for figures in ended.evidence.values()] == [0.01, 0.02]
    assert experiments.look(warehouse, begun, second, {"improvement": 9}, "keep", ["Worse."]) == ended


def test_without_a_champion_there_is_none(warehouse, small_case, as_of):
    with pytest.raises(ValueError, match="has no champion"):
        experiments.begin(warehouse, small_case, 1, as_of)
