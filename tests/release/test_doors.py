"""The one door: what may become champion, how it is undone, and that ledger, alias and scoring agree."""

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hrloop import release
from hrloop.learning.calibration import Platt
from hrloop.release import (
    Finding,
    NoChampion,
    Release,
    ReleaseRefused,
    Standing,
    UnreadableModel,
    experiments,
)
from hrloop.rhythms import Loop, retraining
from mlflow.exceptions import MlflowException
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError

WHY = "Measured well, and explained well."


@pytest.fixture
def propose(warehouse, registry, small_case, decided, fitted, as_of):
    def make(seed=1, compared_with=None, approve_as=None, rhythm="training"):
        finding = Finding("promote", "words", ("better",), compared_with=compared_with)
        version = release.propose(
            warehouse, registry, small_case, fitted(seed), finding, decided(seed=seed), as_of, rhythm
        )
        if approve_as:
            release.approve(approve_as, small_case, version, WHY)
        return version

    return make


@pytest.fixture
def two(propose, warehouse, registry, small_case, owner, as_of):
    """Version 1 was champion, version 2 is."""
    release.promote(warehouse, registry, small_case, propose(1, approve_as=owner), as_of)
    second = propose(2, compared_with=1, approve_as=owner, rhythm="weekly")
    release.promote(warehouse, registry, small_case, second, as_of)


def row(kind, version, **more):
    return Release("id", "u", None, kind, version, None, "promote", **more)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([], Standing(None, None)),
        ([row("first", 1)], Standing(1, None, frozenset({1}))),
        ([row("first", 1), row("promote", 3)], Standing(3, 1, frozenset({1, 3}))),
        ([row("first", 1), row("reject", 2), row("keep", 1)], Standing(1, None, frozenset({1, 2}))),
        ([row("first", 1), row("promote", 2), row("roll_back", 1)], Standing(1, None, frozenset({1, 2}))),
        (
            [row("first", 1), row("promote", 2), row("promote", 3), row("roll_back", 2)],
            Standing(2, 1, frozenset({1, 2, 3})),
        ),
        (
            [row("first", 1), row("promote", 2), row("roll_back", 1), row("promote", 4)],
            Standing(4, 1, frozenset({1, 2, 4})),
        ),
    ],
)
def test_standing(rows, expected):
    assert release.standing(rows) == expected


def test_the_first_champion(propose, warehouse, registry, small_case, owner, as_of, fitted, cases):
    version = propose(approve_as=owner)
    written = release.promote(warehouse, registry, small_case, version, as_of)
    assert (written.kind, written.version, written.previous_version) == ("first", 1, None)
    assert (written.approved_by, written.approval_reason) == ("owner", WHY)
    assert abs(datetime.now(UTC) - written.approved_at) < timedelta(minutes=2), "the server's clock, not ours"
    assert written.evidence["words"] == "words"
    assert release.read(warehouse, small_case.name) == [written]
    assert registry.aliases(small_case.name) == {"champion": 1}
    number, model = release.champion(registry, small_case)
    assert number == 1
    assert list(model.probability(cases())) == list(fitted().probability(cases()))
    # again, as a DAG run that is repeated
    assert release.promote(warehouse, registry, small_case, version, as_of) == written
    assert release.read(warehouse, small_case.name) == [written]
    with pytest.raises(ReleaseRefused, match="roll it back"):
        release.reject(warehouse, owner, small_case, version, "Too late.", as_of)
    with pytest.raises(ReleaseRefused, match="version 1 and none to go back to"):
        release.rollback(warehouse, registry, small_case, "Ada", "Complaints.", as_of)
    with pytest.raises(ReleaseRefused, match="version 9 is not in charge, version 1 is"):
        release.rollback(warehouse, registry, small_case, "Ada", "Complaints.", as_of, version=9)


def test_without_a_person_s_approval_nothing_is_promoted(
    propose, warehouse, registry, small_case, owner, as_of, tampered
):
    version = propose()

    def refused(why):
        with pytest.raises(ReleaseRefused, match=why):
            release.promote(warehouse, registry, small_case, version, as_of)

    refused("version 1 is requested, not approved")
    with pytest.raises(ReleaseRefused, match="give one"):
        release.approve(owner, small_case, version, "  ")
    with pytest.raises(ReleaseRefused, match="log in as a person"):
        release.approve(registry, small_case, version, WHY)
    refused("version 1 is requested, not approved")
    # Tags put there behind the server's back, a name, a time or a reason missing, or the service account's
    typed = {"approval.by": "owner", "approval.at": "2026-10-01T06:00:00Z", "approval.reason": "fine"}
    for wrong in (
        {"approval.by": " "},
        {"approval.at": " "},
        {"approval.reason": " "},
        {"approval.by": "hrloop"},
    ):
        tampered(small_case.name, version, {**typed, **wrong, "approval.status": "approved"})
        refused("without the name of a person, a time or a reason")
    assert release.read(warehouse, small_case.name) == []
    assert registry.aliases(small_case.name) == {"challenger": 1}


def test_the_owner_cannot_move_an_alias(propose, warehouse, owner, small_case, as_of):
    version = propose(approve_as=owner)
    with pytest.raises(MlflowException, match="Permission denied"):
        owner.set_alias(small_case.name, "champion", version)
    with pytest.raises(ReleaseRefused, match="alone, not by 'owner'"):
        release.promote(warehouse, owner, small_case, version, as_of)
    with pytest.raises(ReleaseRefused, match="alone, not by 'owner'"):
        release.rollback(warehouse, owner, small_case, "owner", "worse", as_of)
    assert release.read(warehouse, small_case.name) == []


def test_a_wrong_verdict_and_an_unreadable_model_are_refused(
    propose, warehouse, registry, small_case, owner, as_of, monkeypatch, tampered
):
    version = propose(approve_as=owner)
    kept = registry.load(small_case.name, version)
    other = replace(kept, evidence={**kept.evidence, "verdict": "keep"})
    with monkeypatch.context() as patch:
        patch.setattr(registry, "load", lambda *_: other)
        with pytest.raises(ReleaseRefused, match="has the verdict keep, not promote"):
            release.promote(warehouse, registry, small_case, version, as_of)
    tampered(small_case.name, version, {"artefact.sha256": "0" * 64})
    with pytest.raises(UnreadableModel, match="0000"):
        release.promote(warehouse, registry, small_case, version, as_of)
    assert release.read(warehouse, small_case.name) == []
    assert "champion" not in registry.aliases(small_case.name)


def test_a_version_measured_against_another_champion_is_refused(
    two, propose, warehouse, registry, small_case, owner, as_of
):
    late = propose(3, compared_with=1, approve_as=owner, rhythm="monthly")
    with pytest.raises(ReleaseRefused, match="measured against version 1, and today's is version 2"):
        release.promote(warehouse, registry, small_case, late, as_of)
    assert registry.aliases(small_case.name)["champion"] == 2


def test_of_two_approved_together_the_newer_is_released_and_the_other_passed_over(
    propose, warehouse, registry, settings, small_case, owner, as_of, monkeypatch
):
    monkeypatch.setattr(Loop, "use_case", lambda *_: small_case)
    loop, name = Loop(settings, warehouse, registry), small_case.name
    assert retraining.release_if_approved(loop, name) is None
    release.promote(warehouse, registry, small_case, propose(1, approve_as=owner), as_of)
    for seed, rhythm in ((2, "weekly"), (3, "monthly")):
        propose(seed, compared_with=1, approve_as=owner, rhythm=rhythm)
    assert retraining.release_if_approved(loop, name)["version"] == 3
    assert retraining.release_if_approved(loop, name) is None
    release.rollback(warehouse, registry, small_case, "owner", "worse", as_of)
    assert retraining.release_if_approved(loop, name) is None  # nor does a roll-back bring it back
    assert registry.aliases(name)["champion"] == 1


def test_a_rejection_is_on_file_and_final(propose, warehouse, registry, small_case, owner, as_of, tampered):
    version = propose()
    written = release.reject(warehouse, owner, small_case, version, "Hurts part-time staff.", as_of)
    assert (written.kind, written.version, written.verdict) == ("reject", 1, "keep")
    assert (written.approved_by, written.approval_reason) == ("owner", "Hurts part-time staff.")
    assert registry.version(small_case.name, version).tags["approval.status"] == "rejected"
    assert release.reject(warehouse, owner, small_case, version, "Something else.", as_of) == written
    assert registry.version(small_case.name, version).tags["approval.reason"] == "Hurts part-time staff."
    assert len(release.read(warehouse, small_case.name)) == 1
    assert release.reconcile(warehouse, registry, small_case)  # it is no challenger any more
    assert registry.aliases(small_case.name) == {}
    with pytest.raises(ReleaseRefused, match="is rejected: it cannot be approved now"):
        release.approve(owner, small_case, version, WHY)
    tampered(small_case.name, version, {"approval.status": "approved"})
    with pytest.raises(ReleaseRefused, match="it was rejected by owner: Hurts"):
        release.promote(warehouse, registry, small_case, version, as_of)


def test_what_was_judged_in_mlflow_reaches_the_ledger(propose, warehouse, registry, small_case, owner, as_of):
    rejected, waiting, approved = (
        propose(1, rhythm="weekly"),
        propose(2, rhythm="monthly"),
        propose(3, approve_as=owner, rhythm="training"),
    )
    by_hand = {"approval.reason": "Hurts part-time staff.", "approval.status": "rejected"}
    owner.tag(small_case.name, rejected, by_hand)
    later = as_of + timedelta(days=small_case.promotion.approval_days.value)
    just_before = later - timedelta(seconds=1)
    (row,) = release.record_judgements(warehouse, registry, small_case, just_before)
    stamps = registry.version(small_case.name, rejected).tags
    assert (row.kind, row.version, row.verdict, row.as_of) == ("reject", rejected, "keep", just_before)
    assert (row.approved_by, row.approval_reason) == ("owner", "Hurts part-time staff.")
    assert row.approved_at == datetime.fromisoformat(stamps["approval.at"])
    assert release.record_judgements(warehouse, registry, small_case, just_before) == []
    # said once more through the door it is the rejection that is on file
    assert release.reject(warehouse, owner, small_case, rejected, "Again.", as_of) == row

    (row,) = release.record_judgements(warehouse, registry, small_case, later)
    assert (row.kind, row.version, row.approved_by, row.approved_at) == ("time_out", waiting, None, None)
    assert row.reasons == ["timed out: nobody answered within 28 days"]
    assert release.record_judgements(warehouse, registry, small_case, later) == []
    with pytest.raises(ReleaseRefused, match="is timed_out: it cannot be approved now"):
        release.approve(owner, small_case, waiting, "Better late than never.")
    with pytest.raises(ReleaseRefused, match="it was timed out: nobody answered within 28 days"):
        release.promote(warehouse, registry, small_case, waiting, later)

    # An approval waits for its promotion; what was promoted is not looked at again.
    assert release.promote(warehouse, registry, small_case, approved, later).kind == "first"
    assert release.record_judgements(warehouse, registry, small_case, later + timedelta(days=99)) == []
    assert release.reconcile(warehouse, registry, small_case) == []
    assert registry.aliases(small_case.name) == {"champion": approved}
    with pytest.raises(ReleaseRefused, match="alone, not by 'owner'"):
        release.record_judgements(warehouse, owner, small_case, later)


def test_a_time_out_that_was_killed_half_way_is_finished(propose, warehouse, registry, small_case, as_of):
    version = propose()
    registry.tag(small_case.name, version, {"approval.status": "timed_out"})
    (row,) = release.record_judgements(warehouse, registry, small_case, as_of)
    assert (row.kind, row.version) == ("time_out", version)
    assert release.reconcile(warehouse, registry, small_case)  # it is no challenger any more
    assert registry.aliases(small_case.name) == {}


def test_a_rejection_typed_in_mlflow_stands_when_the_door_is_used_next(
    propose, warehouse, registry, small_case, owner, as_of
):
    version = propose()
    by_hand = {"approval.reason": "Hurts part-time staff.", "approval.status": "rejected"}
    owner.tag(small_case.name, version, by_hand)
    row = release.reject(warehouse, owner, small_case, version, "Something else.", as_of)
    assert (row.kind, row.approval_reason) == ("reject", "Hurts part-time staff.")


def test_who_may_not_approve_is_told_so(propose, viewer, small_case):
    with pytest.raises(ReleaseRefused, match=r"cannot be approved by 'viewer': .*Permission denied"):
        release.approve(viewer, small_case, propose(), WHY)


def test_an_approval_can_be_taken_back_until_the_promotion(
    propose, warehouse, registry, small_case, owner, as_of
):
    version = propose(approve_as=owner)
    release.reject(warehouse, owner, small_case, version, "On second thoughts.", as_of)
    with pytest.raises(ReleaseRefused):
        release.promote(warehouse, registry, small_case, version, as_of)


def test_a_verdict_that_changes_nothing_is_on_file(warehouse, small_case, as_of):
    finding = Finding("insufficient_evidence", "Too few labels.", ("12 of 75 labels",))
    written = release.keep(warehouse, small_case, finding, as_of)
    assert release.keep(warehouse, small_case, finding, as_of) == written
    rows = release.read(warehouse, small_case.name)
    assert [(r.kind, r.reasons) for r in rows] == [("insufficient_evidence", ["12 of 75 labels"])]
    assert release.standing(rows).champion is None
    with pytest.raises(ReleaseRefused, match="propose the version"):
        release.keep(warehouse, small_case, replace(finding, verdict="promote"), as_of)


def test_roll_back(two, warehouse, registry, small_case, as_of):
    written = release.rollback(warehouse, registry, small_case, "Ada", "Complaints.", as_of, version=2)
    assert (written.kind, written.version, written.previous_version) == ("roll_back", 1, 2)
    assert (written.approved_by, written.approval_reason) == ("Ada", "Complaints.")
    assert registry.aliases(small_case.name) == {"champion": 1}
    assert release.serving(warehouse, registry, small_case).version == 1
    # said again it is the same roll-back, and does not go one further
    assert release.rollback(warehouse, registry, small_case, "Ada", "Complaints.", as_of, 2) == written
    # and a promotion that is repeated does not bring the version back
    assert release.promote(warehouse, registry, small_case, 2, as_of).kind == "promote"
    assert registry.aliases(small_case.name) == {"champion": 1}
    assert len(release.read(warehouse, small_case.name)) == 3


def test_roll_backs_that_are_refused(warehouse, registry, small_case, as_of):
    with pytest.raises(ReleaseRefused, match="no champion and none to go back to"):
        release.rollback(warehouse, registry, small_case, "Ada", "Complaints.", as_of)
    for by, reason in (("", "x"), ("x", " ")):
        with pytest.raises(ReleaseRefused, match="a name and a reason"):
            release.rollback(warehouse, registry, small_case, by, reason, as_of)


def test_the_next_champion_keeps_the_previous_one_and_no_hand_moves_them(
    two, warehouse, registry, small_case, fitted, cases
):
    after = {"champion": 2, "previous": 1}
    assert registry.aliases(small_case.name) == after
    _, second = release.read(warehouse, small_case.name)
    assert (second.kind, second.version, second.previous_version) == ("promote", 2, 1)

    registry.set_alias(small_case.name, "champion", 1)
    registry.set_alias(small_case.name, "previous", None)
    assert release.reconcile(warehouse, registry, small_case) == [
        "previous was nobody, the ledger says 1",
        "champion was 1, the ledger says 2",
    ]
    assert registry.aliases(small_case.name) == after
    assert release.reconcile(warehouse, registry, small_case) == []

    registry.set_alias(small_case.name, "champion", 1)
    served = release.serving(warehouse, registry, small_case)
    assert (served.version, served.repaired) == (2, ("champion was 1, the ledger says 2",))
    assert list(served.fitted.score(cases())) == list(fitted(2).score(cases()))


def test_the_champion_under_the_calibrator_of_then(
    two, warehouse, registry, small_case, fitted, as_of, cases
):
    for day, slope in ((1, 2.0), (5, 3.0)):
        finding = Finding("promote", "words", details={"calibrator": Platt(slope=slope).as_dict()})
        release.calibrate(warehouse, registry, small_case, 2, finding, as_of + timedelta(days=day))
    served = release.serving(warehouse, registry, small_case)
    assert served.own == fitted(2).calibrator
    for day, then in ((1, served.own), (5, Platt(slope=2.0)), (6, Platt(slope=3.0))):
        before = release.calibrated_before(warehouse, small_case, served, as_of + timedelta(days=day))
        assert (before.version, before.fitted.calibrator) == (2, then)
        assert (before.calibration_id is None) == (then == served.own)
        expected = fitted(2).recalibrated(then).probability(cases())
        assert list(before.fitted.probability(cases())) == list(expected)


def test_an_alias_moved_in_mlflow_s_database_is_put_back(two, warehouse, registry, small_case, server):
    engine = create_engine(server.url("mlflow"))
    with engine.begin() as connection:
        statement = (
            "update registered_model_aliases set version = 1 where alias = 'champion' and name = :name"
        )
        assert connection.execute(text(statement), {"name": small_case.name}).rowcount == 1
    engine.dispose()
    assert release.reconcile(warehouse, registry, small_case) == ["champion was 1, the ledger says 2"]
    assert registry.aliases(small_case.name) == {"champion": 2, "previous": 1}


def test_the_alias_challenger_goes_when_its_experiment_ends_against_it(
    two, propose, warehouse, registry, small_case, as_of
):
    tried = propose(3, compared_with=2, rhythm="quarterly")
    begun = experiments.begin(warehouse, small_case, tried, as_of)
    assert release.reconcile(warehouse, registry, small_case) == []
    assert registry.aliases(small_case.name)["challenger"] == tried, "it is being tried"
    experiments.look(warehouse, begun, as_of + timedelta(days=14), {}, "keep", ["No better."])
    assert release.reconcile(warehouse, registry, small_case) == [
        f"challenger was {tried}, on which a verdict has fallen"
    ]
    assert registry.aliases(small_case.name) == {"champion": 2, "previous": 1}


def test_an_alias_given_without_any_release_is_taken_away(propose, warehouse, registry, small_case):
    registry.set_alias(small_case.name, "champion", propose())
    with pytest.raises(NoChampion):
        release.serving(warehouse, registry, small_case)
    assert "champion" not in registry.aliases(small_case.name)


def test_fifty_promoters(propose, warehouse, registry, small_case, owner, as_of):
    """Of two versions, both approved and both measured against no champion: one winner, one row."""
    versions = [propose(seed, approve_as=owner, rhythm=f"rhythm {seed}") for seed in (1, 2)]
    rows, errors = _at_once(
        50, lambda n: release.promote(warehouse, registry, small_case, versions[n % 2], as_of)
    )
    (written,) = release.read(warehouse, small_case.name)
    assert rows == [written] * 25  # those who asked for the winner, all but one of them again
    assert all(f"today's is version {written.version}" in str(error) for error in errors)
    assert registry.aliases(small_case.name)["champion"] == written.version


def test_the_ledger_is_append_only(warehouse, small_case, as_of):
    release.keep(warehouse, small_case, Finding("keep", "No better."), as_of)
    for role, refusal in (("admin", "append-only"), ("engine", "permission denied")):
        for statement in ("delete from loop.releases", "update loop.releases set version = 9"):
            with warehouse.engine(role).connect() as connection, pytest.raises(DBAPIError, match=refusal):
                connection.execute(text(statement))


def _at_once(n, do):
    """What n threads that start together give: results and errors."""
    results, errors, together = [], [], threading.Barrier(n)

    def run(number):
        together.wait()
        try:
            results.append(do(number))
        except ReleaseRefused as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results, errors
