"""A look at an experiment that dies half-way leaves, when it is run again, what one run leaves."""

from datetime import timedelta

import pytest
from hrloop import evaluation, release
from hrloop.evaluation.verdict import ExperimentSignals, Verdict
from hrloop.release import Finding, experiments
from hrloop.rhythms import Loop, candidates, matured
from hrloop.rhythms import experiments as rhythm
from hrloop.warehouse import steps

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
def looked(loop, small_case, end, monkeypatch):
    """Looks when the verdict is this one, and dies before the act that follows it; then looks again."""

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
        return rhythm.look(loop, small_case.name, end)

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
        release.request_approval(warehouse, registry, small_case, 2, FINDING, end)


def test_a_look_that_was_cut_short_spends_its_error_once(warehouse, loop, small_case, as_of):
    """The error of the second look counts the first, and not its own first try."""
    begun = experiments.latest(warehouse, small_case.name)
    days = [as_of + timedelta(days=day) for day in (14, 21)]
    for day, when, labels in ((14, days[0], 80), (21, days[1], 120)):
        begun = experiments.look(warehouse, begun, when, {"day": day, "labels": labels, "looked": True})
    alpha = evaluation.error_of_an_experiment(small_case.promotion.false_promotions_a_year)
    looks = evaluation.experiment.o_brien_fleming(alpha, [14 / 28, 21 / 28], [80, 120])
    assert rhythm._level(small_case, begun, days[1], 120) == pytest.approx(looks[1].level)
    assert rhythm._level(small_case, begun, days[1] + timedelta(days=1), 130) is None
