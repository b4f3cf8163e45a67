"""Real DAG runs: twice the same, killed and run again the same, shuffled the same; a gate that stops."""

import csv
import gzip
import shutil
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
from hrloop import as_of as moment
from hrloop import features, practice
from hrloop.rhythms import Loop, decisions, due, intake, milestones
from hrloop.sources import contract
from hrloop.warehouse.fingerprint import fingerprint
from sqlalchemy import text

pytestmark = pytest.mark.timeout(1200)  # a model costs a second as a task, and several on a busy machine
AS_OFS = [datetime(*day, 6, tzinfo=UTC) for day in ((2023, 11, 1), (2023, 12, 1), (2024, 1, 1))]
SCHEMAS = ("raw", "quarantine", "staging", "intermediate", "outcomes", "features", "kpi")
LEDGERS = ("loop.batches", "loop.gate_results", "loop.steps")


@pytest.fixture(scope="module")
def exports(tmp_path_factory) -> Path:
    """Three months of a small company."""
    folder = tmp_path_factory.mktemp("company")
    practice.history(folder, months=len(AS_OFS), applications_per_month=150)
    return folder / "landing"


def rows(loop: Loop, sql: str, **values) -> list:
    with loop.warehouse.engine("admin").connect() as connection:
        return connection.execute(text(sql), values).all()


def fingerprints(loop: Loop, *ledgers: str) -> dict[str, str]:
    found = rows(
        loop,
        "select table_schema || '.' || table_name from information_schema.tables"
        " where table_schema = any(:schemas) order by 1",
        schemas=list(SCHEMAS),
    )
    return {name: fingerprint(loop.warehouse, name) for name in (*(name for (name,) in found), *ledgers)}


def states(loop: Loop) -> dict[tuple[str, str], str]:
    return {
        (step, moment.text(as_of)): state
        for step, as_of, state in rows(loop, "select step, as_of, state from loop.steps")
    }


@pytest.fixture(scope="module")
def reference(make_loop, exports) -> Loop:
    """The same steps in this process, without Airflow: each as_of in order, wholly, before the next."""
    loop = make_loop(exports)
    for as_of in AS_OFS:
        intake.ingest(loop, as_of)
        intake.gate(loop, as_of)
        intake.build(loop, as_of)
        for use_case in loop.use_cases():
            milestones.report(loop, use_case, as_of)
            decisions.decide(loop, use_case, as_of)
    return loop


def half_way(runner, dag: str, loop: Loop, reached: Callable[[], bool], **conf: str) -> None:
    """Run a DAG and kill it as soon as it has come so far."""
    runner.begin(dag, loop.settings, **conf)
    deadline = time.monotonic() + 400  # a dozen models of dbt come first, each a task
    while not reached():
        assert time.monotonic() < deadline, f"{dag} never came so far; see {runner.log}"
        time.sleep(0.02)
    runner.kill()


@pytest.fixture(scope="module")
def survivor(runner, make_loop, exports) -> Loop:
    """The same through DAGs: each killed half-way and run again, one sweep behind ingest for all as_ofs."""
    loop = make_loop(exports)
    last = moment.text(AS_OFS[-1])

    def batches() -> int:
        return rows(loop, "select count(*) from loop.batches")[0][0]

    def moved() -> int:
        return rows(loop, "select coalesce(sum(rows_quarantined), 0) from loop.batches")[0][0]

    def there(table: str) -> bool:
        return rows(loop, "select to_regclass(:name)", name=table)[0][0] is not None

    half_way(runner, "ingest", loop, lambda: batches() >= 3, as_of=last)
    assert batches() < len(list(exports.rglob("*.*"))), "came too late"
    assert states(loop) == {("ingest", last): "running"}
    for as_of in AS_OFS:
        assert runner.run("ingest", loop.settings, as_of=moment.text(as_of))["state"] == "success"

    before = moved()
    half_way(runner, "quality_gate", loop, lambda: moved() > before)
    assert states(loop)["gate", moment.text(AS_OFS[0])] == "running"
    assert due(loop, "warehouse", "gate") == [], "nothing passes a gate that was killed"
    assert runner.run("quality_gate", loop.settings)["tasks"] == {"judge": "success", "verdict": "success"}

    half_way(runner, "warehouse", loop, lambda: there("intermediate.int_decisions"))
    assert not there("outcomes.warehouse_standing")
    assert due(loop, "warehouse", "gate") == AS_OFS
    for dag in ("warehouse", "milestones", "decisions"):
        run = runner.run(dag, loop.settings)
        assert run["state"] == "success", run
    return loop


def test_a_sweep_works_off_everything_pending(survivor):
    steps = ("ingest", "gate", "warehouse", "milestones", "decisions")
    assert states(survivor) == {(step, moment.text(as_of)): "done" for step in steps for as_of in AS_OFS}
    assert rows(survivor, "select as_of from outcomes.warehouse_standing") == [(AS_OFS[-1],)]
    assert rows(survivor, "select count(*) from outcomes.fct_decisions")[0][0] > 50


def test_killed_half_way_and_run_again_it_is_as_if_nothing_had_been(survivor, reference):
    assert fingerprints(survivor, "loop.gate_results") == fingerprints(reference, "loop.gate_results")
    # A sweep at the end judges what single runs would have judged one by one, and nothing else differs.
    batches = (
        "select batch_id, status, rows_in, rows_quarantined, rows_passed, reason from loop.batches order by 1"
    )
    assert rows(survivor, batches) == rows(reference, batches)


def test_rows_in_are_rows_passed_and_quarantined_in_every_table(survivor):
    for table in contract.load().values():
        came, passed, held = rows(
            survivor,
            "select sum(rows_in), sum(rows_passed), sum(rows_quarantined) from loop.batches"
            " where system = :system and table_name = :name and status = 'passed'",
            system=table.system,
            name=table.name,
        )[0]
        assert came > 0, table.full_name
        assert came == passed + held, table.full_name
        assert passed == rows(survivor, f"select count(*) from {table.raw}")[0][0], table.full_name
        assert held == rows(survivor, f"select count(*) from {table.quarantine}")[0][0], table.full_name


def test_running_again_changes_nothing(runner, survivor):
    before = fingerprints(survivor, *LEDGERS)
    for dag in ("ingest", "quality_gate", "warehouse", "milestones", "decisions"):
        run = runner.run(dag, survivor.settings, as_of=moment.text(AS_OFS[1]))
        assert run["state"] == "success", run
        assert "skipped" not in run["tasks"].values(), "asked for by name, it is done again"
    assert fingerprints(survivor, *LEDGERS) == before


def test_every_model_of_dbt_is_a_task_and_all_are_skipped_when_nothing_is_pending(runner, survivor):
    models = {file.stem for file in (survivor.settings.project / "dbt" / "models").rglob("*.sql")}
    run = runner.run("warehouse", survivor.settings)
    assert run["state"] == "success"
    assert {f"dbt.{model}_run" for model in models} <= set(run["tasks"])
    assert {state for name, state in run["tasks"].items() if name != "which_as_of"} == {"skipped"}


def test_a_shuffled_backfill_is_the_same(reference, make_loop, exports):
    loop = make_loop(exports)
    for as_of in (AS_OFS[1], AS_OFS[2], AS_OFS[0]):
        intake.ingest(loop, as_of)
        intake.gate(loop, as_of)
        intake.build(loop, as_of)
    # Which as_of judged a batch is the one thing that the order decides; it stands in loop.batches.
    assert fingerprints(loop, "loop.gate_results") == fingerprints(reference, "loop.gate_results")
    declaration = loop.use_case("recruitment")
    for as_of in AS_OFS:
        for frame in (features.training_frame, features.scoring_frame):
            pd.testing.assert_frame_equal(
                frame(loop.warehouse, declaration, as_of), frame(reference.warehouse, declaration, as_of)
            )


def spoil(landing: Path) -> None:
    """Blank a field in a tenth of the second month's applications; the corrected file comes a day later."""
    (file,) = (landing / "ats" / "applications").glob("2023-12-01*")
    with gzip.open(file, "rt", encoding="utf-8", newline="") as source:
        lines = list(csv.DictReader(source))
    shutil.copy(file, file.with_name("2023-12-02-corrected.csv.gz"))  # the name says when it arrives
    for number, line in enumerate(lines):
        if number % 10 == 0:
            line["years_experience"] = ""
    with gzip.open(file, "wt", encoding="utf-8", newline="") as target:
        writer = csv.DictWriter(target, lines[0].keys())
        writer.writeheader()
        writer.writerows(lines)


def test_a_failed_gate_stops_what_is_behind_it_and_the_redelivery_goes_on(
    runner, make_loop, exports, tmp_path
):
    landing = tmp_path / "landing"
    shutil.copytree(exports, landing)
    spoil(landing)
    loop = make_loop(landing)
    first, second, corrected = AS_OFS[0], AS_OFS[1], AS_OFS[1] + timedelta(days=1)
    for as_of in (first, second):
        runner.run("ingest", loop.settings, as_of=moment.text(as_of))

    began = time.monotonic()
    run = runner.run("quality_gate", loop.settings)
    assert run["state"] == "failed"
    assert run["tasks"] == {"judge": "success", "verdict": "failed"}
    assert time.monotonic() - began < 60, "a refusal is not retried"
    assert due(loop, "warehouse", "gate") == [first], "the as_of before goes on, the one that failed does not"
    log = runner.log.read_text()
    assert "years_experience" in log
    assert "docs/runbooks/gate-failed.md" in log
    (failed,) = rows(loop, "select summary from loop.steps where state = 'failed'")
    assert "2023-12-01.csv.gz" in failed.summary["reason"]
    refused = runner.run("warehouse", loop.settings, as_of=moment.text(second))
    assert refused["tasks"]["which_as_of"] == "failed"
    assert "gate, is not done for this as_of" in runner.log.read_text()

    runner.run("ingest", loop.settings, as_of=moment.text(corrected))
    assert runner.run("quality_gate", loop.settings)["state"] == "success"
    assert due(loop, "warehouse", "gate") == [first, corrected]


def test_one_use_case_can_be_run_alone(runner, survivor):
    as_of = moment.text(AS_OFS[-1])
    assert len(runner.run("milestones", survivor.settings, as_of=as_of)["tasks"]) == 3, "the list, and two"
    alone = runner.run("milestones", survivor.settings, as_of=as_of, use_case="attrition")
    assert (alone["state"], len(alone["tasks"])) == ("success", 2), alone


def test_a_run_by_hand_says_what_it_needs(runner, survivor):
    run = runner.run("ingest", survivor.settings)
    assert run["tasks"] == {"take_files": "failed"}
    assert "needs the parameter as_of" in runner.log.read_text()
    run = runner.run("milestones", survivor.settings, use_case="payroll")
    assert run["state"] == "failed"
    assert (
        "There is no use case 'payroll' in models/; there are attrition, recruitment."
        in runner.log.read_text()
    )
