"""A month through the DAGs, on a real MLflow server, and the same month replayed: identical tables."""

import os
import re
import shutil
from pathlib import Path

import pytest
from hrloop import as_of as moment
from hrloop import practice, release
from hrloop.release import Release
from hrloop.replay import runs
from hrloop.replay.company import decided, reviewed
from hrloop.replay.policies import POLICIES
from hrloop.replay.registry import open_registry
from hrloop.replay.runs import Run, Setting
from hrloop.rhythms import Loop
from hrloop.settings import PROJECT
from hrloop.warehouse import copy, drop
from hrloop.warehouse.fingerprint import fingerprint
from hrloop.warehouse.tables import metadata
from sqlalchemy import text

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
NAME = "recruitment"
SETTING = Setting(NAME, 200, history=9, months=1, change=1, milestone=3, weeks=1)
SEED = 2  # a company of which so few labels tell enough for a first version, and for an experiment
AS_OF = runs.arrival(SETTING, 0)
SCHEMAS = ("raw", "quarantine", "staging", "intermediate", "outcomes", "features", "kpi")
BY_CHANCE = {"run_id", "approved_at"}  # MLflow's name of a run, and the time of day of an approval
BEFORE = ("ingest", "quality_gate", "warehouse", "reconcile_registry", "daily_calibration", "release_watch")


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """The project, with a use case that learns from the first milestone and asks for little evidence."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("dags", "dbt", "expectations", "plugins"):
        os.symlink(PROJECT / name, folder / name)
    declaration = (PROJECT / "models" / NAME / "use_case.yaml").read_text(encoding="utf-8")
    values = {
        "minimum_labels": "40",
        "minimum_evaluation_labels": "8",
        "confidence_level": "0.10",
        "trials": "2",
    }
    for key, value in values.items():
        declaration = re.sub(rf"(\b{key}:\n\s+value: )\S+", rf"\g<1>{value}", declaration)
    target = folder / "models" / NAME / "use_case.yaml"
    target.parent.mkdir(parents=True)
    target.write_text(re.sub(r"label_milestone: \d+", "label_milestone: 3", declaration), encoding="utf-8")
    return folder


@pytest.fixture
def company(tmp_path) -> Path:
    """A company's past."""
    practice.history(
        tmp_path / "company",
        SETTING.history,
        SEED,
        applications_per_month=SETTING.applications,
        start=runs.START,
    )
    return tmp_path / "company"


@pytest.fixture
def live(runner, make_loop, company, project, registry, owner, tmp_path) -> tuple[Loop, Path]:
    """The month through the DAGs, and where the company's files are."""
    folder = shutil.copytree(company, tmp_path / "live")
    loop = make_loop(folder / "landing", project=project)
    declaration = loop.use_case(NAME)

    def run(*dags: str) -> None:
        for dag in dags:
            # ingest and its followers serve all use cases
            done = runner.run(dag, loop.settings, as_of=moment.text(AS_OF), wait=False)
            assert done["state"] == "success", done

    def answered() -> None:
        waiting = owner.requested(NAME)
        for version in waiting:
            release.approve(owner, declaration, version, runs.APPROVAL)
        if waiting:
            run("weekly_retraining")  # says what it said, and releases

    run(*BEFORE)
    for dag in ("weekly_retraining", "monthly_reweighting", "quarterly_champion_challenger"):
        run(dag)
        answered()
    run("decisions", "milestones")
    reviewed(loop.warehouse, declaration, AS_OF, runs.REVIEWED)
    practice.answer(folder, f"{AS_OF - runs.DAY:%Y-%m}", decided(loop.warehouse, [declaration]))
    return loop, folder


@pytest.fixture
def replayed(server, make_loop, company, project, live, stores_in_process, tmp_path) -> tuple[Loop, Path]:
    """The month replayed with the same secrets, and where the company's files are."""
    folder = shutil.copytree(company, tmp_path / "replayed")
    shutil.copytree(server.settings.home / "secrets", folder / "secrets")
    loop = make_loop(folder / "landing", project=project, home=folder)
    name = f"{loop.settings.database}_mlflow"
    copy(server, "template1", name, owner="mlflow")
    registry, owner = open_registry(server.url("mlflow").set(database=name), folder / "artefacts", NAME)
    loop = Loop(loop.settings, loop.warehouse, registry)
    row = Run(SETTING, POLICIES["loop"], loop, owner, loop.use_case(NAME)).month(0)
    assert row["decided"] > 150, row
    assert row["refusals"] == []
    yield loop, folder
    drop(server, name)


def content(loop: Loop) -> dict[str, object]:
    """What every table holds, but for what chance and the clock put there."""
    with loop.warehouse.engine("admin").connect() as connection:
        found = connection.scalars(
            text(
                "select table_schema || '.' || table_name from information_schema.tables"
                " where table_schema = any(:schemas) order by 1"
            ),
            {"schemas": list(SCHEMAS)},
        ).all()
        names = [name for name in Release.__dataclass_fields__ if name not in BY_CHANCE]
        ledger = connection.execute(
            text(f"select {', '.join(names)} from loop.releases order by sequence")
        ).all()
    tables = [*found, *(name for name in metadata.tables if name != "loop.releases")]
    return {name: fingerprint(loop.warehouse, name) for name in tables} | {"loop.releases": ledger}


def test_a_month_live_and_the_month_replayed_leave_identical_tables(live, replayed):
    (loop, folder), (again, elsewhere) = live, replayed
    before, after = content(loop), content(again)
    assert before.keys() == after.keys()
    assert {name for name in before if before[name] != after[name]} == set()
    assert before["loop.releases"], "nothing was released, so nothing was shown"
    files = {path.relative_to(folder): path.read_bytes() for path in (folder / "landing").rglob("*.*")}
    assert files == {
        path.relative_to(elsewhere): path.read_bytes() for path in (elsewhere / "landing").rglob("*.*")
    }, "the company answers the same decisions alike"
