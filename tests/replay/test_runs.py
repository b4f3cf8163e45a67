"""A replay: what it leaves, and that one which was cut short leaves the same."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hrloop import as_of as moments
from hrloop.release import Release
from hrloop.replay import runs
from hrloop.replay.registry import open_registry
from hrloop.replay.runs import Case, Run, Setting
from hrloop.rhythms import intake
from hrloop.warehouse.fingerprint import fingerprint
from mlflow.exceptions import MlflowException
from sqlalchemy import text

READ = ("features.feat_application", "outcomes.fct_decisions", "intermediate.int_outcome_milestone_versions")
pytestmark = pytest.mark.usefixtures("stores_in_process")


def without_seconds(rows: list[dict]) -> list[dict]:
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


@pytest.fixture(scope="module")
def builds() -> list[tuple[dict, dict]]:
    """What each build of the replay left, and what a build of all left in its place."""
    return []


@pytest.fixture(scope="module")
def replayed(stores_in_process, small_server, small, past, builds) -> list[dict]:
    """The months of the naive policy, lived through at once; behind each build all is built once more."""
    folder = past.parent / "whole" / "steady-1-naive"
    build = intake.build

    def twice(loop, *as_ofs, select):
        build(loop, *as_ofs, select=select)
        part = {table: fingerprint(loop.warehouse, table) for table in READ}
        build(loop, *as_ofs)
        builds.append((part, {table: fingerprint(loop.warehouse, table) for table in READ}))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(intake, "build", twice)
        runs.replay(small_server, small, Case("steady", 1, "naive"), past, folder)
    return runs.results(folder)


def test_what_is_built_of_the_warehouse_is_what_a_build_of_all_makes_of_it(replayed, builds):
    (first, all_of_first), (second, all_of_second) = builds
    assert first == all_of_first
    assert second == all_of_second
    assert not set(first.items()) & set(second.items()), "a month brings something new to each table"


def test_every_month_a_version_decides_on_everybody_and_is_measured(replayed):
    assert [row["month"] for row in replayed] == [0, 1]
    assert [row["version"] for row in replayed] == [1, 3], "two proposals a month, the first for the round"
    for row in replayed:
        assert row["refusals"] == []
        assert row["decided"] > 140
        assert 0.3 < row["true"]["auc"] < row["ceiling"]["auc"] < 1
        assert row["ceiling"]["brier"] < row["true"]["brier"] < 0.5
        assert row["hired"] > 0
        assert 0 < row["quality"] < 1
        assert row["hired_ceiling"]["brier"] < row["hired_true"]["brier"] < 0.5
        assert sum(n for _, n in row["selections"]["gender"].values()) <= row["decided"]
    promoted = [change for row in replayed for change in row["changes"]]
    assert [change["version"] for change in promoted] == [2, 3, 4]
    assert all(change["previous"] == change["version"] - 1 for change in promoted)
    # one month's last is the next month's version of before, on other people
    assert promoted[0]["after"] != promoted[1]["before"]
    assert not Path("mlflow.db").exists(), "MLflow opened a store of its own where the tests were called"


def test_cut_short_and_called_again_it_ends_as_it_would_have_ended(
    small_server, small, past, replayed, monkeypatch
):
    folder, case = past.parent / "cut" / "steady-1-naive", Case("steady", 1, "naive")
    second = runs.arrival(small, 1)

    def cut_short(at, step: str):
        """Replay until this step of the second month, at which the power fails."""
        whole = getattr(at, step)

        def torn(*given):
            if given[-1] == second:
                raise ConnectionError("the power fails")
            return whole(*given)

        with monkeypatch.context() as patch:
            patch.setattr(at, step, torn)
            with pytest.raises(ConnectionError):
                runs.replay(small_server, small, case, past, folder)

    cut_short(runs.release, "promote")  # approved, and not in charge yet
    cut_short(Run, "answer")
    with open(folder / runs.RESULTS, "a", encoding="utf-8") as file:
        file.write('{"month": 1, "as_of"')
    assert len(runs.results(folder)) == 1
    runs.replay(small_server, small, case, past, folder)
    assert without_seconds(runs.results(folder)) == without_seconds(replayed)


def test_a_finished_replay_leaves_its_results_alone_and_is_not_run_again(
    small_server, small, past, replayed, monkeypatch
):
    folder = past.parent / "whole" / "steady-1-naive"
    assert {path.name for path in folder.iterdir()} == {"begun", runs.RESULTS}
    with small_server.engine("admin").connect() as connection:
        names = connection.scalars(text("select datname from pg_database")).all()
    small_server.dispose()
    assert not [name for name in names if name.startswith(runs.database_of(folder))]
    monkeypatch.setattr(Run, "open", lambda *_: pytest.fail("it was run again"))
    runs.replay(small_server, small, Case("steady", 1, "naive"), past, folder)


def test_what_lost_its_database_begins_anew_and_what_is_finished_stays(small_server, small, past):
    folder = past.parent
    for name, months in (("steady-2-loop", 1), ("steady-3-loop", small.months)):
        (folder / name).mkdir()
        (folder / name / "begun").touch()
        (folder / name / runs.RESULTS).write_text("{}\n" * months, encoding="utf-8")
    (folder / "past-steady-2").mkdir()
    (folder / "past-steady-2" / "written").touch()
    runs.forget_lost(small_server, small, folder)
    left = {path.name for path in folder.iterdir()}
    assert {"steady-3-loop", past.name} <= left
    assert not {"steady-2-loop", "past-steady-2"} & left


def test_the_door_of_the_registry_is_the_servers(small_server, past, tmp_path):
    name = f"{runs.database_of(past.parent / 'template')}_mlflow"
    url = small_server.url("mlflow").set(database=name)
    service, owner = open_registry(url, tmp_path / "artefacts", "a_case")
    assert str(url.password) not in repr(service)
    asked = {"approval.requested_at": "2026-10-01T06:00:00Z", "approval.status": "requested"}
    with service.client() as client:
        client.create_registered_model("a_case")
        client.create_model_version("a_case", "file:///nowhere", tags=asked)
    with service.client() as client, pytest.raises(MlflowException, match="cannot judge a version"):
        client.set_model_version_tag("a_case", "1", "approval.status", "approved")
    with owner.client() as client:
        for key in ("approval.by", "approval.at"):
            with pytest.raises(MlflowException, match="is not for typing"):
                client.set_model_version_tag("a_case", "1", key, "ada")
        with pytest.raises(MlflowException, match="may not move the alias"):
            client.set_registered_model_alias("a_case", "champion", "1")
        client.set_model_version_tag("a_case", "1", "approval.reason", "It will do.")
        client.set_model_version_tag("a_case", "1", "approval.status", "approved")
    tags = service.version("a_case", 1).tags
    assert (tags["approval.status"], tags["approval.by"]) == ("approved", "owner")


def test_visible_accuracy_is_of_the_last_quarters_labels_that_nothing_in_charge_learnt_from():
    as_of = datetime(2026, 6, 1, 6, tzinfo=UTC)
    known = [as_of - timedelta(days=days) for days in (1, 30, 60, 80, 100)]
    frame = pd.DataFrame({"label_known_at": known, "label": [1.0, 0.0, 1.0, 0.0, 1.0]})
    frame = frame.assign(decided_at=frame["label_known_at"] - timedelta(days=90), selected=True)
    frame["label_status"] = "observed"
    champion = SimpleNamespace(
        as_of=moments.text(as_of - timedelta(days=70)),
        summary={"parts": {"calibration": {"decided_to": (as_of - timedelta(days=200)).isoformat()}}},
        probability=lambda rows: np.full(len(rows), 0.5),
    )
    calibrated = Release("c", "recruitment", as_of - timedelta(days=40), "calibrate", 1, None, "promote")
    learnt = champion.summary["parts"]["calibration"] | {"decided_to": as_of.isoformat()}
    newer = SimpleNamespace(**champion.__dict__ | {"summary": {"parts": {"calibration": learnt}}})
    assert runs._seen(frame, champion, None, as_of)["labels"] == 4, "of the last quarter"
    assert runs._seen(frame, newer, None, as_of)["labels"] == 3, "known after the version was learnt"
    assert runs._seen(frame, newer, calibrated, as_of)["labels"] == 2
    assert runs._seen(frame.iloc[3:], newer, calibrated, as_of) == {"labels": 0}


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"months": 0}, "months is 0; give 1 to"),
        ({"weeks": 5}, "weeks is 5"),
        ({"history": 0}, "history is 0"),
    ],
)
def test_a_setting_that_cannot_be_is_refused(small, wrong, says):
    with pytest.raises(ValueError, match=says):
        Setting(**{**small.__dict__, **wrong})


def test_a_case_that_is_not_known_is_refused():
    with pytest.raises(ValueError, match="no scenario 'stedy'; there are steady"):
        Case("stedy", 1, "loop")
    with pytest.raises(ValueError, match="no policy 'blind'; there are static"):
        Case("steady", 1, "blind")
