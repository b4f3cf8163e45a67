"""From training to decisions through DAGs, with a real MLflow server and an owner who approves."""

import os
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hrloop import as_of as moment
from hrloop import practice, release
from hrloop.rhythms import Loop, intake, milestones
from hrloop.rhythms.status import status
from hrloop.settings import PROJECT
from sqlalchemy import text

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
AS_OF = datetime(2024, 12, 1, 6, tzinfo=UTC)  # the first of the month after the last one below


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
        "confidence_level": "0.05",
        "confidence_below": "0.40",
        "minimum_cases": "500",
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


def releases(loop: Loop) -> list[str]:
    return [row.kind for row in release.read(loop.warehouse, "recruitment")]


def test_a_version_decides_once_its_owner_approved_it_and_not_before(runner, loop, registry, owner):
    use_case, as_of = loop.use_case("recruitment"), moment.text(AS_OF)
    run = runner.run("training", loop.settings)  # no as_of: the newest of the warehouse
    assert run["tasks"] == {
        "use_cases": "success",
        "model.train[0]": "success",
        "model.release[0]": "skipped",
    }
    (version,) = registry.versions("recruitment")
    assert version.tags["as_of"] == as_of
    assert version.tags["approval.status"] == "requested"
    assert "held-out decisions" in version.description
    assert releases(loop) == []

    assert runner.run("decisions", loop.settings)["state"] == "success"
    assert status(loop.warehouse)["decisions"] == [], "people decide alone"

    release.approve(owner, use_case, version.number, "It does better than the base rate.")
    run = runner.run("training", loop.settings)
    assert run["tasks"]["model.train[0]"] == "skipped", "nothing new to learn from"
    assert run["tasks"]["model.release[0]"] == "success"
    assert releases(loop) == ["first"]

    assert runner.run("decisions", loop.settings, as_of=as_of)["state"] == "success"
    decided = status(loop.warehouse)["decisions"]
    assert {row["route"] for row in decided} == {"automatic", "review"}
    assert sum(row["decisions"] for row in decided) > 100

    for dag in ("training", "decisions"):
        assert runner.run(dag, loop.settings, as_of=as_of)["state"] == "success"
    assert status(loop.warehouse)["decisions"] == decided
    assert [found.number for found in registry.versions("recruitment")] == [version.number]
    assert releases(loop) == ["first"]


def test_the_report_of_milestones_agrees_with_the_mart(loop):
    report = milestones.report(loop, "recruitment", AS_OF)["milestones"]
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
