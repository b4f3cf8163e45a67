"""The live calibrator on the ledger: put on, taken off, and bound to the version that it was fitted for."""

from datetime import timedelta

import pytest
from hrloop import release
from hrloop.learning.calibration import Platt
from hrloop.release import Finding, ReleaseRefused, ledger
from hrloop.release.ledger import Release


@pytest.fixture
def enter(warehouse, registry, small_case, decided, fitted, as_of):
    for seed in (1, 2):
        finding = Finding("promote", "In words.")
        rhythm = f"rhythm {seed}"
        release.propose(warehouse, registry, small_case, fitted(seed), finding, decided(), as_of, rhythm)

    def make(kind, version, previous, verdict="promote"):
        row = Release(f"{kind}{version}", small_case.name, as_of, kind, version, previous, verdict)
        with ledger.locked(warehouse, small_case.name) as connection:
            return ledger.record(connection, row)

    make("first", 1, None)
    return make


@pytest.fixture
def calibrate(warehouse, registry, small_case, as_of):
    def make(day, slope=2.0, verdict="promote", version=1):
        details = {"calibrator": Platt(slope=slope).as_dict()} if verdict == "promote" else {}
        finding = Finding(verdict, "In words.", details=details)
        return release.calibrate(
            warehouse, registry, small_case, version, finding, as_of + timedelta(days=day)
        )

    return make


@pytest.fixture
def live(warehouse, small_case):
    def slope():
        row = release.standing(release.read(warehouse, small_case.name)).calibration
        return row and row.evidence["details"]["calibrator"]["slope"]

    return slope


def test_on_and_off_again(enter, calibrate, live):
    assert live() is None
    calibrate(1, slope=2.0)
    calibrate(2, slope=3.0)
    assert live() == 3.0
    calibrate(3, verdict="roll_back")
    assert live() == 2.0
    calibrate(4, verdict="roll_back")
    assert live() is None
    with pytest.raises(ReleaseRefused, match="none to take off"):
        calibrate(5, verdict="roll_back")


def test_a_day_that_is_made_up_for_changes_nothing_of_a_later_one(enter, calibrate, live):
    calibrate(2, slope=2.0)
    for verdict in ("promote", "roll_back"):
        with pytest.raises(ReleaseRefused, match=r"what decides was changed at .* calibrate at a later time"):
            calibrate(1, slope=3.0, verdict=verdict)
    assert live() == 2.0


def test_once_for_an_as_of(enter, calibrate, warehouse, small_case):
    assert calibrate(1, slope=2.0) == calibrate(1, slope=9.0)
    assert [row.kind for row in release.read(warehouse, small_case.name)] == ["first", "calibrate"]


def test_a_new_champion_begins_with_its_own_and_a_roll_back_brings_the_old_one_back(enter, calibrate, live):
    calibrate(1, slope=2.0)
    enter("promote", 2, 1)
    assert live() is None
    with pytest.raises(ReleaseRefused, match="version 1 is not in charge, version 2 is"):
        calibrate(2)
    enter("roll_back", 1, 2, verdict="roll_back")
    assert live() == 2.0


def test_as_it_stood_before_a_time(enter, calibrate, warehouse, small_case, as_of):
    calibrate(1, slope=2.0)
    calibrate(5, slope=3.0)
    rows = release.read(warehouse, small_case.name)
    assert ledger.live_calibration(rows, 1, before=as_of + timedelta(days=1)) is None
    before = ledger.live_calibration(rows, 1, before=as_of + timedelta(days=5))
    assert before.evidence["details"]["calibrator"]["slope"] == 2.0


def test_a_calibrator_that_cannot_be_read_never_goes_live(
    enter, warehouse, registry, small_case, as_of, live
):
    finding = Finding("promote", "In words.", details={"calibrator": {"kind": "magic"}})
    with pytest.raises(ValueError, match="magic"):
        release.calibrate(warehouse, registry, small_case, 1, finding, as_of)
    assert live() is None
