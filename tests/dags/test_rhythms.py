"""The rhythms through DAGs: what convinces is promoted once approved, what harms goes, and all is on file.

One company, one real MLflow server. Champions are made good or bad on purpose; what the rhythms make of it is
theirs. Each test begins with an empty ledger and registry.
"""

import os
import re
import shutil
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hrloop import as_of as moment
from hrloop import learning, practice, release
from hrloop.cli import app
from hrloop.cli import report as commands
from hrloop.learning import Architecture
from hrloop.learning.calibration import Platt
from hrloop.release import Finding, experiments
from hrloop.rhythms import (
    Loop,
    calibration,
    candidates,
    intake,
    matured,
    milestones,
    retraining,
    reweighting,
    verdict_of,
    watch,
)
from hrloop.rhythms import experiments as challengers
from hrloop.rhythms.status import status
from hrloop.settings import PROJECT
from hrloop.warehouse import steps
from hrloop.warehouse.tables import APPEND_ONLY, metadata
from sqlalchemy import text
from typer.testing import CliRunner

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
AS_OF = datetime(2024, 12, 1, 6, tzinfo=UTC)  # the first of the month after the last one below
DAY = timedelta(days=1)
NAME = "recruitment"


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """The project, with a use case that learns from the first milestone and asks for little evidence."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("dags", "dbt", "expectations", "plugins"):
        os.symlink(PROJECT / name, folder / name)
    declaration = (PROJECT / "models" / "recruitment" / "use_case.yaml").read_text(encoding="utf-8")
    values = {
        "minimum_labels": "60",
        "minimum_evaluation_labels": "15",
        "confidence_level": "0.50",
        "confidence_below": "0.40",
        "minimum_cases": "500",
        "labels_a_month": "10",
        "trials": "3",
        "share": "0.50",
        "group_margin": "0.5",
        "minimum_group": "5000",
        "weekly": "10",  # an error of 0.19 a run: a hundred labels of a small company show no less
        "quarterly": "0.8",
        "days": "200",  # of a watch: some dozen labels mature a month
    }
    for key, value in values.items():
        declaration = re.sub(rf"(\b{key}:\n\s+value: )\S+", rf"\g<1>{value}", declaration)
    declaration = re.sub(r"label_milestone: \d+", "label_milestone: 3", declaration)
    target = folder / "models" / "recruitment" / "use_case.yaml"
    target.parent.mkdir(parents=True)
    target.write_text(declaration, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def loop(make_loop, project, tmp_path_factory) -> Loop:
    folder = tmp_path_factory.mktemp("company")
    practice.history(folder, months=14, applications_per_month=600)
    loop = make_loop(folder / "landing", project=project)
    intake.ingest(loop, AS_OF)
    intake.gate(loop, AS_OF)
    intake.build(loop, AS_OF)
    return loop


@pytest.fixture(autouse=True)
def empty(loop, registry):
    """A test leaves its ledger, decisions and verdicts to no other."""
    yield
    tables = [f"loop.{table.name}" for table in (*APPEND_ONLY, metadata.tables["loop.experiments"])]
    with loop.warehouse.engine("admin").begin() as connection:
        connection.execute(text("set session_replication_role = replica"))  # append-only but for this
        for table in tables:
            connection.execute(text(f"delete from {table}"))
        connection.execute(text("delete from loop.steps where use_case = :name"), {"name": NAME})


@pytest.fixture
def use_case(loop):
    return loop.use_case(NAME)


@pytest.fixture
def learnt(loop, use_case):
    """Makes a model of the labels known at an as_of; ``wrong``: of labels turned round."""

    def make(as_of, wrong=False):
        frame = matured.training_frame(loop, use_case, as_of)
        if not wrong:
            return learning.fit(use_case, frame, as_of), frame
        turned = frame.assign(label=1 - frame["label"])
        # an architecture that nobody would choose, so that any search finds another
        return learning.fit(use_case, turned, as_of, Architecture("linear", {"C": 50.0})), frame

    return make


@pytest.fixture
def release_by_force(loop, use_case, registry, owner):
    """Puts this model in charge, past any comparison, as of a time; its number."""

    def make(fitted, frame, as_of, rhythm):
        before = release.standing(release.read(loop.warehouse, NAME)).champion
        finding = Finding("promote", "By force.", ("for a test",), compared_with=before)
        version = release.propose(loop.warehouse, registry, use_case, fitted, finding, frame, as_of, rhythm)
        release.approve(owner, use_case, version, "For a test.")
        release.promote(loop.warehouse, registry, use_case, version, as_of)
        return version

    return make


@pytest.fixture
def put_in_charge(learnt, release_by_force):
    """Learns a model as of a time and puts it in charge by force; its number."""

    def make(as_of, wrong=False):
        return release_by_force(*learnt(as_of, wrong), as_of, f"by force {wrong}")

    return make


@pytest.fixture
def calibrate_by_force(loop, use_case, registry):
    """Puts this calibrator of a version in force as of a time."""

    def make(version, calibrator, as_of):
        finding = Finding("promote", "By force.", details={"calibrator": calibrator.as_dict()})
        release.calibrate(loop.warehouse, registry, use_case, version, finding, as_of)

    return make


def test_a_version_decides_once_its_owner_approved_it_and_not_before(runner, loop, use_case, registry, owner):
    as_of = moment.text(AS_OF)
    run = runner.run("weekly_retraining", loop.settings)  # no as_of: the newest of the warehouse
    assert run["tasks"] == {
        "use_cases": "success",
        "model.train[0]": "success",
        "model.wait_for_approval[0]": "success",
        "model.release[0]": "skipped",
    }
    (version,) = registry.versions(NAME)
    assert version.tags["as_of"] == as_of
    assert version.tags["approval.status"] == "requested"
    assert "it was not fitted on" in version.description
    assert releases(loop) == []

    assert runner.run("decisions", loop.settings)["state"] == "success"
    assert status(loop.warehouse)["decisions"] == [], "people decide alone"

    release.approve(owner, use_case, version.number, "It does better than the base rate.")
    run = runner.run("weekly_retraining", loop.settings)
    assert run["tasks"]["model.train[0]"] == "skipped", "nothing new to learn from"
    assert run["tasks"]["model.release[0]"] == "success"
    assert releases(loop) == ["first"]
    tags = registry.version(NAME, version.number).tags
    assert "Approved by owner" in tags["change_note.en"]

    # The round of this as_of was done without a champion, and now has one.
    assert runner.run("decisions", loop.settings, as_of=as_of)["state"] == "success"
    decided = status(loop.warehouse)["decisions"]
    assert {row["route"] for row in decided} == {"automatic", "review"}
    assert sum(row["decisions"] for row in decided) > 100

    for dag in ("weekly_retraining", "decisions"):
        assert runner.run(dag, loop.settings, as_of=as_of)["state"] == "success"
    assert status(loop.warehouse)["decisions"] == decided
    assert [found.number for found in registry.versions(NAME)] == [version.number]
    assert releases(loop) == ["first"]


def test_a_better_candidate_is_promoted_after_approval(
    runner, loop, use_case, registry, owner, put_in_charge
):
    bad = put_in_charge(AS_OF - 90 * DAY, wrong=True)
    runner.run("weekly_retraining", loop.settings, as_of=moment.text(AS_OF))
    found = summary(loop, "weekly_retraining")
    assert found["verdict"] == "promote", "\n".join(found["reasons"])
    better = registry.versions(NAME)[-1]
    assert better.number != bad
    assert better.tags["evidence.compared_with"] == str(bad)
    assert registry.aliases(NAME)["champion"] == bad, "not without approval"

    release.approve(owner, use_case, better.number, "Much better.")
    assert runner.run("release_watch", loop.settings, as_of=moment.text(AS_OF))["state"] == "success"
    assert registry.aliases(NAME) == {"champion": better.number, "previous": bad}
    assert releases(loop) == ["first", "promote"]


def test_a_feature_taken_out_of_the_declaration_leaves_with_the_next_version(
    loop, use_case, registry, owner, put_in_charge, monkeypatch
):
    """Until then the champion that learnt from it is calibrated and compared, and watched as the previous."""
    bad = put_in_charge(AS_OF - 90 * DAY, wrong=True)
    out = registry.load(NAME, bad).fitted.feature_names[0]
    kept = tuple(one for one in use_case.features if one.name != out)
    fewer = use_case.model_copy(update={"features": kept})
    monkeypatch.setattr(Loop, "use_case", lambda self, name: fewer)

    assert calibration.calibrate(loop, NAME, AS_OF)["verdict"] in ("keep", "promote", "insufficient_evidence")
    assert reweighting.reweight(loop, NAME, AS_OF)["weights"].keys() == set(fewer.feature_names)
    found = retraining.retrain(loop, NAME, AS_OF)
    assert found["verdict"] == "promote", "\n".join(found["reasons"])
    learnt = registry.load(NAME, found["version"]).fitted
    assert sorted(learnt.feature_names) == sorted(fewer.feature_names)

    release.approve(owner, fewer, found["version"], "It does without.")
    assert retraining.release_if_approved(loop, NAME)["version"] == found["version"]
    frame = matured.training_frame(loop, fewer, AS_OF)
    assert out in frame, "for the previous champion"
    rows = matured.labelled(fewer, frame, AS_OF)
    served = release.serving(loop.warehouse, registry, fewer)
    previous = release.served_by(registry, fewer, release.read(loop.warehouse, NAME), bad)
    assert matured.harm(loop, fewer, rows, served.fitted, previous, 0.05) is not None
    assert watch.watch(loop, NAME, AS_OF)["version"] == found["version"]


def test_a_version_is_compared_with_the_champion_as_it_decides_today_too(
    loop, use_case, registry, learnt, put_in_charge, calibrate_by_force
):
    champion = put_in_charge(AS_OF - 120 * DAY)
    fitted, frame = learnt(AS_OF - 60 * DAY)
    rows = matured.labelled(use_case, matured.training_frame(loop, use_case, AS_OF), AS_OF)

    def compared():
        served = release.serving(loop.warehouse, registry, use_case)
        found = candidates.compare(loop, use_case, frame, rows, fitted, served, AS_OF, alpha=0.05)
        return found, served

    before, _ = compared()
    assert before.improvement_over_today is None, "it decides as it is compared"
    calibrate_by_force(champion, Platt(intercept=-1.0), AS_OF - DAY)
    found, served = compared()
    assert found.improvement == before.improvement, "no calibrator has seen the labels compared on"
    seen = matured.unseen(matured.unseen(rows, served.fitted), fitted)
    today, mine = served.fitted.probability(seen), fitted.probability(seen)
    gained = np.average((today - seen["label"]) ** 2 - (mine - seen["label"]) ** 2, weights=seen["weight"])
    assert found.improvement_over_today["brier"].value == pytest.approx(gained)


def test_a_run_waits_for_the_owner_and_then_releases(runner, loop, use_case, registry, owner):
    runner.begin("weekly_retraining", loop.settings, as_of=moment.text(AS_OF), wait=True)
    deadline = time.monotonic() + 120
    while not registry.requested(NAME):
        assert time.monotonic() < deadline, "nothing was proposed"
        time.sleep(0.5)
    assert releases(loop) == []
    release.approve(owner, use_case, registry.requested(NAME)[0], "It does better than the base rate.")
    run = runner.end()
    assert (run["state"], run["tasks"]["model.release[0]"]) == ("success", "success")
    assert releases(loop) == ["first"]


def test_killed_when_it_has_proposed_and_run_again_there_is_one_version(runner, loop, registry):
    as_of = moment.text(AS_OF)
    runner.begin("weekly_retraining", loop.settings, as_of=as_of)
    deadline = time.monotonic() + 300
    while not registry.versions(NAME):
        assert time.monotonic() < deadline, runner.log.read_text()[-4000:]
        time.sleep(0.01)
    runner.kill()
    (proposed,) = registry.versions(NAME)
    assert summary(loop, "weekly_retraining") is None, "came too late"
    run = runner.run("weekly_retraining", loop.settings, as_of=as_of)
    assert run["state"] == "success"
    assert registry.versions(NAME) == [proposed]
    assert registry.aliases(NAME) == {"challenger": proposed.number}
    found = summary(loop, "weekly_retraining")
    assert (found["version"], found["model"]) == (
        proposed.number,
        registry.load(NAME, proposed.number).fitted.identity,
    )
    assert releases(loop) == []


@pytest.fixture
def leaking(loop, project, registry, tmp_path) -> Iterator[Loop]:
    """The loop with a feature that is filled in when somebody is hired."""
    folder = tmp_path / "project"
    shutil.copytree(project, folder, symlinks=True)
    path = folder / "models" / NAME / "use_case.yaml"
    planted = "features:\n  - name: interview_score\n    type: number\n    description: A planted leak.\n"
    declaration = path.read_text(encoding="utf-8").replace("features:\n", planted, 1)
    few = r"(?s)(\nleaks:.*?\bminimum_cases:\n\s+value: )\S+"  # a small company has no more labels
    path.write_text(re.sub(few, r"\g<1>50", declaration), encoding="utf-8")
    with loop.warehouse.engine("transformer").begin() as connection:
        connection.execute(text("alter table features.feat_application add column interview_score integer"))
        connection.execute(
            text(
                "update features.feat_application set interview_score = 3 where application_id in"
                " (select case_key from outcomes.fct_decisions where selected)"
            )
        )
    yield Loop(loop.settings.model_copy(update={"project": folder}), loop.warehouse, registry)
    with loop.warehouse.engine("transformer").begin() as connection:
        connection.execute(text("alter table features.feat_application drop column interview_score"))


@pytest.mark.parametrize("learn", [retraining.retrain, reweighting.reweight, challengers.start])
def test_a_planted_leak_is_refused_by_name_whichever_rhythm_learns(
    leaking, loop, registry, put_in_charge, learn
):
    honest = put_in_charge(AS_OF - 90 * DAY)
    with pytest.raises(learning.LeakError) as caught:
        learn(leaking, NAME, AS_OF)
    assert list(caught.value.findings) == ["interview_score"]
    assert [version.number for version in registry.versions(NAME)] == [honest]


def test_a_worse_candidate_is_never_proposed(runner, loop, project, registry, put_in_charge, tmp_path):
    """The same labels, and a learner that is held to one small tree."""
    good = put_in_charge(AS_OF - 30 * DAY)
    crippled = tmp_path / "project"
    shutil.copytree(project, crippled, symlinks=True)
    path = crippled / "models" / NAME / "use_case.yaml"
    declaration = path.read_text(encoding="utf-8")
    path.write_text(re.sub(r"\n  rounds: \d+", "\n  rounds: 1", declaration), encoding="utf-8")
    settings = loop.settings.model_copy(update={"project": crippled})
    runner.run("weekly_retraining", settings, as_of=moment.text(AS_OF))
    found = summary(loop, "weekly_retraining")
    assert found["verdict"] in ("keep", "insufficient_evidence")
    assert [version.number for version in registry.versions(NAME)] == [good]
    assert releases(loop) == ["first", found["verdict"]]
    assert registry.aliases(NAME)["champion"] == good


def test_a_rejection_given_in_mlflow_is_on_file_and_the_version_never_promoted(
    runner, loop, use_case, registry, owner
):
    runner.run("weekly_retraining", loop.settings, as_of=moment.text(AS_OF))
    (version,) = registry.versions(NAME)
    owner.tag(NAME, version.number, {"approval.reason": "Too few nurses.", "approval.status": "rejected"})
    assert runner.run("reconcile_registry", loop.settings, as_of=moment.text(AS_OF))["state"] == "success"
    (row,) = release.read(loop.warehouse, NAME)
    assert (row.kind, row.approved_by, row.approval_reason) == ("reject", "owner", "Too few nurses.")
    assert runner.run("release_watch", loop.settings, as_of=moment.text(AS_OF))["state"] == "success"
    assert releases(loop) == ["reject"]
    assert "champion" not in registry.aliases(NAME)


def test_a_release_that_harms_is_rolled_back_by_one_run_of_the_watch(
    runner, loop, registry, put_in_charge, monkeypatch
):
    """Its outcomes show the harm; the next decisions are scored by the version before.

    A first run dies with the roll-back done and not on record.
    """
    good = put_in_charge(AS_OF - 90 * DAY)
    bad = put_in_charge(AS_OF - 80 * DAY, wrong=True)
    rollback = release.rollback

    def dies(*given, **named):
        rollback(*given, **named)
        raise ConnectionError("the power went")

    with monkeypatch.context() as patched:
        patched.setattr(release, "rollback", dies)
        with pytest.raises(ConnectionError, match="the power went"):
            watch.watch(loop, NAME, AS_OF)
    assert runner.run("release_watch", loop.settings, as_of=moment.text(AS_OF))["state"] == "success"
    found = summary(loop, "release_watch")
    assert (found["verdict"], found["version"]) == ("roll_back", bad), found
    assert "it has shown harm" in found["reasons"][0]
    assert releases(loop) == ["first", "promote", "roll_back"]
    assert registry.aliases(NAME)["champion"] == good
    assert runner.run("decisions", loop.settings, as_of=moment.text(AS_OF))["state"] == "success"
    with loop.warehouse.engine("engine").connect() as connection:
        scored_by = connection.scalars(text("select distinct model_version from loop.decisions")).all()
    assert scored_by == [good]


def test_a_release_that_took_a_good_calibrator_off_has_shown_harm(
    loop, use_case, registry, learnt, release_by_force, calibrate_by_force
):
    """Both versions say too little by themselves; the one before was set right while it was in charge."""
    fitted, frame = learnt(AS_OF - 90 * DAY)
    good, low = fitted.calibrator, fitted.recalibrated(Platt(intercept=-4.0))

    def harm():
        watched = release.read(loop.warehouse, NAME)
        (watched,) = (row for row in watched if row.version == second and row.kind == "promote")
        served = release.serving(loop.warehouse, registry, use_case)
        return watch._harm(loop, use_case, watched, served, AS_OF, 0.05)

    first = release_by_force(low, frame, AS_OF - 89 * DAY, "the first")
    calibrate_by_force(first, good, AS_OF - 85 * DAY)
    second = release_by_force(low, frame, AS_OF - 80 * DAY, "the second")
    found = harm()
    assert found.shown, found
    calibrate_by_force(second, good, AS_OF)
    assert harm() == found, "this calibrator may have learnt from the labels that show the harm"


def test_a_release_that_cannot_be_read_any_more_is_rolled_back(
    runner, loop, registry, put_in_charge, tampered
):
    good = put_in_charge(AS_OF - 90 * DAY)
    broken = put_in_charge(AS_OF - 80 * DAY, wrong=True)
    tampered(NAME, broken, {"artefact.sha256": "0" * 64})
    runner.run("release_watch", loop.settings, as_of=moment.text(AS_OF))
    assert summary(loop, "release_watch")["reasons"] == ["the model in charge cannot be read"]
    assert registry.aliases(NAME)["champion"] == good


def test_an_alias_moved_by_hand_is_put_back_and_reported(runner, loop, registry, put_in_charge):
    good = put_in_charge(AS_OF - 90 * DAY)
    other = put_in_charge(AS_OF - 60 * DAY, wrong=True)
    registry.set_alias(NAME, "champion", good)
    assert runner.run("reconcile_registry", loop.settings, as_of=moment.text(AS_OF))["state"] == "success"
    assert summary(loop, "reconcile_registry")["moved"] == [f"champion was {good}, the ledger says {other}"]
    assert registry.aliases(NAME)["champion"] == other


def test_a_calibrator_that_worsened_comes_off_by_itself_and_a_better_one_goes_live(
    runner, loop, use_case, registry, put_in_charge
):
    version = put_in_charge(AS_OF - 120 * DAY)
    off = Platt(slope=1.0, intercept=-4.0).as_dict()
    finding = Finding("promote", "By force.", details={"calibrator": off})
    release.calibrate(loop.warehouse, registry, use_case, version, finding, AS_OF - 110 * DAY)
    for day in (1, 0):
        as_of = moment.text(AS_OF - day * DAY)
        assert runner.run("daily_calibration", loop.settings, as_of=as_of)["state"] == "success"
    first, second = (summary(loop, "daily_calibration", AS_OF - day * DAY) for day in (1, 0))
    assert first["verdict"] == "roll_back", first
    assert second["verdict"] in ("promote", "keep", "insufficient_evidence")
    rows = [row for row in release.read(loop.warehouse, NAME) if row.kind == "calibrate"]
    assert [row.verdict for row in rows][:2] == ["promote", "roll_back"]
    served = release.serving(loop.warehouse, registry, use_case)
    if second["verdict"] != "promote":
        assert served.calibration_id is None


def test_the_report_of_drift_is_of_the_newest_cases_beside_those_learnt_from(
    loop, use_case, put_in_charge, monkeypatch
):
    monkeypatch.setattr(commands, "loop", lambda: loop)
    command = ("report", "drift", NAME, "--as-of", moment.text(AS_OF))
    assert "has no champion" in str(CliRunner().invoke(app, command).exception)
    put_in_charge(AS_OF - 90 * DAY)
    told = CliRunner().invoke(app, command)
    assert told.exit_code == 0, told.exception
    for name in use_case.feature_names:
        (line,) = (line for line in told.output.splitlines() if f" {name} " in line)
        assert any(band in line for band in ("stable", "shifting", "shifted"))
    assert not any(name in told.output for name in use_case.protected.attributes)
    (page,) = (loop.settings.home / "reports").glob("drift-*.html")
    assert page.stat().st_size > 1_000_000


def test_the_report_of_the_week_is_written_where_the_calendar_says(runner, loop, put_in_charge):
    put_in_charge(AS_OF - 2 * DAY)
    assert runner.run("weekly_report", loop.settings, as_of=moment.text(AS_OF))["state"] == "success"
    page = (loop.settings.home / "reports" / f"week-{AS_OF:%Y-%m-%d}.html").read_text(encoding="utf-8")
    assert "Approved by owner" in page
    assert "Godkänt av owner" in page


def test_the_monthly_weights_follow_what_was_measured_and_said(
    runner, loop, use_case, registry, put_in_charge
):
    put_in_charge(AS_OF - 90 * DAY)
    run = runner.run("monthly_reweighting", loop.settings, as_of=moment.text(AS_OF))
    assert run["state"] == "success"
    found = summary(loop, "monthly_reweighting")
    assert set(found["weights"]) == set(use_case.feature_names)
    strongest = use_case.reweighting.strongest.value
    assert all(1 / strongest <= weight <= strongest for weight in found["weights"].values())
    assert found["verdict"] in ("promote", "keep", "insufficient_evidence")
    assert len(found["told"]) == sum(weight != 1 for weight in found["weights"].values())


def test_an_experiment_runs_its_course(runner, loop, use_case, registry, owner, put_in_charge):
    """Against a champion that ranks the wrong way round any architecture wins, once its labels are in."""
    started = AS_OF - 60 * DAY
    champion = put_in_charge(AS_OF - 120 * DAY, wrong=True)
    first = moment.text(started)
    with loop.warehouse.engine("engine").begin() as connection:  # it stands later, and knows this time, too
        steps.finish(connection, "warehouse", steps.EVERY_USE_CASE, started, {})
    assert runner.run("quarterly_champion_challenger", loop.settings, as_of=first)["state"] == "success"
    begun = summary(loop, "quarterly_champion_challenger", started)
    assert begun["verdict"] == "experiment", begun
    experiment = experiments.running(loop.warehouse, NAME, started)
    assert (experiment.champion, experiment.challenger) == (champion, begun["version"])
    assert registry.aliases(NAME)["challenger"] == begun["version"]
    assert "approval.status" not in registry.version(NAME, begun["version"]).tags

    assert runner.run("decisions", loop.settings, as_of=first)["state"] == "success"
    arms = loop.warehouse.read(
        "engine", "select arm, count(*) as n from loop.decisions group by 1 order by 1"
    )
    assert arms["arm"].to_pylist() == ["challenger", "champion"]
    scored = loop.warehouse.read("engine", "select count(*) as n from loop.shadow_scores")["n"][0].as_py()
    assert scored == sum(arms["n"].to_pylist())

    for day in (1, 28):
        as_of = moment.text(started + day * DAY)
        run = runner.run("quarterly_champion_challenger", loop.settings, as_of=as_of)
        assert run["tasks"]["experiment.look[0]"] == "success"
        assert run["tasks"]["experiment.start[0]"] == "skipped", "once a quarter"
    early = summary(loop, "experiment_look", started + DAY)
    assert (early["verdict"], early["looked"]) == (None, False)
    late = summary(loop, "experiment_look", started + 28 * DAY)
    assert late["looked"]
    assert late["verdict"] in ("promote", "insufficient_evidence"), late
    ended = experiments.latest(loop.warehouse, NAME)
    assert (ended.verdict, ended.ended_at) == (late["verdict"], started + 28 * DAY)
    assert experiments.running(loop.warehouse, NAME, started + 28 * DAY) is None


def releases(loop: Loop) -> list[str]:
    return [row.kind for row in release.read(loop.warehouse, NAME)]


def summary(loop: Loop, step: str, as_of: datetime = AS_OF) -> dict:
    return verdict_of(loop, step, as_of, NAME)


def test_the_report_of_milestones_agrees_with_the_mart(loop):
    report = milestones.report(loop, NAME, AS_OF)["milestones"]
    with loop.warehouse.engine("engine").connect() as connection:
        expected = connection.execute(
            text(
                "select milestone_months, status, count(*), avg(value) from outcomes.fct_outcome_milestones"
                " group by 1, 2"
            )
        ).all()
    assert sum(figures["observed"] for figures in report) > 100
    for months, state, number, rate in expected:
        (figures,) = (one for one in report if one["months"] == months)
        assert figures[state] == number
        if state == "observed":
            assert figures["rate"] == pytest.approx(float(rate), abs=1e-4)
            reached = figures["observed"] + figures["missing"]
            assert figures["feedback_completeness"] == pytest.approx(number / reached, abs=1e-4)
    assert 0 < report[0]["newly_due"] < report[0]["observed"]
