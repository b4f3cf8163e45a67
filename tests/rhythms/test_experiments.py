"""A look at an experiment that dies half-way leaves, when it is run again, what one run leaves."""

from datetime import UTC, datetime, timedelta

import pytest
import small_company as company
from hrloop import evaluation, release
from hrloop.evaluation.verdict import ExperimentSignals, Verdict
from hrloop.release import Finding, experiments
from hrloop.rhythms import Loop, candidates, matured
from hrloop.rhythms import experiments as rhythm
from hrloop.warehouse import steps
from hrloop.warehouse.tables import decisions, shadow_scores
from sqlalchemy import insert

FINDING = Finding("promote", "It came through its experiment.", ("better",), compared_with=1)


@pytest.fixture
def end(as_of):
    return as_of + timedelta(days=28)


@pytest.fixture
def loop(warehouse, registry, settings, owner, small_case, fitted, decided, as_of, end, monkeypatch) -> Loop:
    """Version 1 is in charge, and version 2 has been tried against it for four weeks."""
    first = Finding("promote", "The first.")
    release.propose(warehouse, registry, small_case, fitted(1), first, decided(), as_of, "first")
    release.approve(owner, small_case, 1, "Good.")
    release.promote(warehouse, registry, small_case, 1, as_of)
    trying = Finding("insufficient_evidence", "To be tried.", compared_with=1)
    release.challenge(warehouse, registry, small_case, fitted(2), trying, decided(seed=2), as_of, rhythm.STEP)
    experiments.begin(warehouse, small_case, 2, as_of)
    with warehouse.engine("engine").begin() as connection:
        steps.finish(connection, "warehouse", steps.EVERY_USE_CASE, end, {})
    monkeypatch.setattr(Loop, "use_case", lambda *_: small_case)
    for name in ("training_frame", "labelled"):
        monkeypatch.setattr(matured, name, lambda *_: decided())
    monkeypatch.setattr(candidates, "drift", lambda *_: None)
    signals = ExperimentSignals(28, None, None, None, None)
    monkeypatch.setattr(rhythm, "_signals", lambda *_: (signals, FINDING))
    return Loop(settings, warehouse, registry)


@pytest.fixture
def looked(looked_once, loop, small_case, end):
    """Looks when the verdict is this one, and dies before the act that follows it; then looks again."""

    def make(kind, act):
        looked_once(kind, act)
        return rhythm.look(loop, small_case.name, end)

    return make


@pytest.fixture
def looked_once(loop, small_case, end, monkeypatch):
    """Looks when the verdict is this one, and dies before the act that follows it."""

    def make(kind, act):
        def dies(*given):
            raise ConnectionError("the power went")

        fallen = Verdict(kind, ("told",), "id")
        monkeypatch.setattr(evaluation.verdict, "experiment", lambda *_: fallen)
        with monkeypatch.context() as patched:
            patched.setattr(release, act, dies)
            with pytest.raises(ConnectionError, match="the power went"):
                rhythm.look(loop, small_case.name, end)
        assert experiments.latest(loop.warehouse, small_case.name).verdict == kind

    return make


def test_who_won_is_proposed_and_once_approved_in_charge(
    looked, loop, warehouse, registry, owner, small_case, end
):
    found = looked("promote", "request_approval")
    assert (found["verdict"], found["reasons"]) == ("promote", ["told"])
    assert registry.requested(small_case.name) == [2]
    assert registry.version(small_case.name, 2).description == FINDING.words
    with pytest.raises(release.ReleaseRefused, match="is requested, not approved"):
        release.promote(warehouse, registry, small_case, 2, end)
    release.approve(owner, small_case, 2, "It came through.")
    row = release.promote(warehouse, registry, small_case, 2, end)
    assert (row.kind, row.version, row.previous_version, row.reasons) == ("promote", 2, 1, ["told"])
    assert registry.aliases(small_case.name) == {"champion": 2, "previous": 1}
    assert rhythm.look(loop, small_case.name, end) == found


@pytest.mark.parametrize("kind", ["keep", "insufficient_evidence"])
def test_who_did_not_win_is_on_file_and_never_in_charge(
    looked, warehouse, registry, owner, small_case, end, kind
):
    assert looked(kind, "keep")["verdict"] == kind
    assert [row.kind for row in release.read(warehouse, small_case.name)] == ["first", kind]
    assert registry.requested(small_case.name) == []
    with pytest.raises(release.ReleaseRefused, match="is not proposed, not approved"):
        release.promote(warehouse, registry, small_case, 2, end)
    with pytest.raises(release.ReleaseRefused, match="has come through no experiment"):
        release.request_approval(warehouse, registry, small_case, 2, "Told.", end)


def test_a_look_that_was_cut_short_spends_its_error_once(warehouse, loop, small_case, as_of):
    """The error of the second look counts the first, and not its own first try."""
    begun = experiments.latest(warehouse, small_case.name)
    days = [as_of + timedelta(days=day) for day in (14, 21)]
    for day, when, labels in ((14, days[0], 80), (21, days[1], 120)):
        begun = experiments.look(warehouse, begun, when, {"day": day, "labels": labels, "looked": True})
    alpha = evaluation.error_of_an_experiment(small_case.promotion.false_promotions_a_year)
    looks = evaluation.experiment.o_brien_fleming(alpha, [14 / 28, 21 / 28], [80, 120])
    assert rhythm._level(small_case, begun, 21, days[1], 120) == pytest.approx(looks[1].level)
    assert rhythm._level(small_case, begun, 22, days[1] + timedelta(days=1), 130) is None


def test_who_won_is_asked_for_on_a_later_day_when_its_own_look_died(
    looked_once, loop, warehouse, registry, small_case, end
):
    looked_once("promote", "request_approval")
    with warehouse.engine("engine").begin() as connection:
        steps.finish(connection, "warehouse", steps.EVERY_USE_CASE, end + timedelta(days=2), {})
    found = rhythm.look(loop, small_case.name, end + timedelta(days=1))
    assert found["verdict"] is None
    assert registry.requested(small_case.name) == [2]
    assert registry.version(small_case.name, 2).description == FINDING.words
    asked = registry.version(small_case.name, 2).tags["approval.requested_at"]
    rhythm.look(loop, small_case.name, end + timedelta(days=2))
    assert registry.version(small_case.name, 2).tags["approval.requested_at"] == asked


def decide(warehouse, use_case, as_of, groups, drawn=True) -> None:
    """A round of one case in each (group, arm); drawn ones are scored by the other version, too."""
    rows = company.random_staff(seed=5, employees=20).decisions
    for row, (group, arm) in zip(rows, groups, strict=False):
        version = 2 if arm == "challenger" else 1
        row |= {"use_case": use_case.name, "case_key": group, "decision_id": group, "group_key": group}
        row |= {"as_of": as_of, "arm": arm, "model_version": version}
    rows = rows[: len(groups)]
    scores = [
        {"decision_id": row["decision_id"], "model_version": 3 - row["model_version"], "as_of": as_of}
        | {"score": 0.5, "probability": 0.5}
        for row in rows
    ]
    with warehouse.engine("admin").begin() as connection:
        connection.execute(insert(decisions), rows)
        if drawn:
            connection.execute(insert(shadow_scores), scores)


def test_a_look_counts_what_the_experiment_drew(warehouse, loop, small_case, as_of):
    """The round of the day on which it began was the champion's alone; its clock starts with the next."""
    begun, later = experiments.latest(warehouse, small_case.name), as_of + timedelta(days=31)
    assert rhythm._drawn(loop, begun, later) == rhythm.Drawn({"champion": 0, "challenger": 0}, None)
    decide(warehouse, small_case, as_of, [("a", "champion"), ("b", "champion")], drawn=False)
    decide(warehouse, small_case, later, [("c", "champion"), ("d", "challenger"), ("e", "champion")])
    drawn = rhythm._drawn(loop, begun, later)
    assert drawn == rhythm.Drawn({"champion": 2, "challenger": 1}, later)
    assert drawn.day(later + timedelta(days=14, hours=1)) == 14
    assert rhythm._drawn(loop, begun, later - timedelta(days=1)).day(later) == 0


def test_a_quarter_is_searched_once_and_a_day_without_a_search_does_not_count(warehouse, loop, small_case):
    day = datetime(2026, 5, 20, 6, tzinfo=UTC)
    with warehouse.engine("engine").begin() as connection:
        for at, summary in (
            (datetime(2026, 3, 31, 6, tzinfo=UTC), {"trials": []}),
            (datetime(2026, 4, 1, 6, tzinfo=UTC), {"reasons": ["there is no champion to challenge"]}),
        ):
            steps.finish(connection, rhythm.STEP, small_case.name, at, summary)
    assert rhythm.is_due(loop, small_case.name, day)
    with warehouse.engine("engine").begin() as connection:
        steps.finish(connection, rhythm.STEP, small_case.name, day, {"trials": []})
    assert not rhythm.is_due(loop, small_case.name, day + timedelta(days=1))
    assert rhythm.is_due(loop, small_case.name, datetime(2026, 7, 1, 6, tzinfo=UTC))
