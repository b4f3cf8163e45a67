"""What every DAG must have, and what no file in dags/ may do."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
DAG_FILES = sorted(file for file in (PROJECT / "dags").glob("*.py") if file.name != "conventions.py")
EXPECTED = {
    "ingest",
    "quality_gate",
    "warehouse",
    "decisions",
    "milestones",
    "daily_calibration",
    "weekly_retraining",
    "monthly_reweighting",
    "quarterly_champion_challenger",
    "release_watch",
    "reconcile_registry",
    "weekly_report",
}

# In a process of its own: Airflow reads its configuration when it is imported.
REPORT = """
import json, os, sys, time
folder = sys.argv[1]
import airflow.sdk, cosmos.airflow.task_group  # what the libraries cost is not the files' doing
from airflow.dag_processing.dagbag import BundleDagBag
bag = BundleDagBag(dag_folder=folder, bundle_path=folder, bundle_name="dags-folder")
engine = "hrloop.warehouse" in sys.modules
import conventions
from hrloop.rhythms.intake import GateFailed  # now that it is known that reading needed no engine
policy = conventions.DEFAULT_ARGS["retry_policy"]
class Garbled(OSError, ValueError): "as requests' JSONDecodeError is"
print(json.dumps({
    "errors": bag.import_errors,
    "seconds": {stat.file: stat.duration.total_seconds() for stat in bag.dagbag_stats},
    "tags": list(conventions.TAGS),
    "engine": engine,
    "retried": {kind.__name__: policy.evaluate(kind("x"), 1, 5).action.value
                for kind in (GateFailed, ValueError, ConnectionError, RuntimeError, Garbled)},
    "dags": {dag.dag_id: {
        "doc": dag.doc_md, "tags": sorted(dag.tags), "catchup": dag.catchup,
        "params": {name: dag.params.get_param(name).schema | {
            "description": dag.params.get_param(name).description} for name in dag.params},
        "timed": dag.timetable.can_be_scheduled, "max_active_runs": dag.max_active_runs,
        "tasks": {task.task_id: {
            "owner": task.owner, "retries": task.retries, "backoff": task.retry_exponential_backoff,
            "policy": task.retry_policy is not None, "callback": bool(task.on_failure_callback),
            "doc": task.doc_md or getattr(getattr(task, "python_callable", None), "__doc__", None),
            "dbt": type(task).__module__.startswith("cosmos"),
            "mapped": task.is_mapped or task.get_closest_mapped_task_group() is not None,
        } for task in dag.tasks},
    } for dag in bag.dags.values()},
}))
"""


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> dict:
    home = tmp_path_factory.mktemp("airflow")
    environment = {
        **os.environ,
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "false",
        "HRLOOP_HOME": str(home / "hrloop"),
    }
    done = subprocess.run(
        [sys.executable, "-c", REPORT, str(PROJECT / "dags")],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def test_all_dags_are_there_and_import_without_error_or_database(report):
    assert report["errors"] == {}
    assert set(report["dags"]) == EXPECTED
    assert not report["engine"], "reading DAG files must not load the engine"


def test_importing_a_dag_file_is_fast(report):
    slow = {file: seconds for file, seconds in report["seconds"].items() if seconds > 3}
    assert not slow


@pytest.mark.parametrize("dag_id", sorted(EXPECTED))
def test_a_dag_keeps_the_policy(report, dag_id):
    dag = report["dags"][dag_id]
    assert len(dag["doc"] or "") > 200
    assert "**When**" in dag["doc"]
    assert dag["tags"]
    assert set(dag["tags"]) <= set(report["tags"])
    assert dag["params"]["as_of"]["format"] == "date-time"
    assert dag["params"]["as_of"]["description"].startswith("The moment as of which")
    assert dag["timed"], "a lost wake-up event must be made good by the clock"
    assert not dag["catchup"], "switching a DAG on must not start a year of runs; backfills are asked for"
    for name, task in dag["tasks"].items():
        assert task["owner"] == "people-analytics", name
        assert task["callback"], name
        assert task["policy"], f"{name}: a refusal must not be retried"
        assert task["doc"] or task["dbt"], name
        if name not in ("verdict", "dbt_is_not_parsed"):  # these only say what is already certain
            assert task["retries"] >= 2, name
            assert task["backoff"] > 1, name


def test_a_refusal_is_not_retried_and_trouble_is(report):
    assert report["retried"] == {
        "GateFailed": "fail",
        "ValueError": "fail",
        "ConnectionError": "retry",
        "RuntimeError": "default",
        "Garbled": "retry",
    }


def test_each_use_case_has_a_branch_of_its_own_and_can_be_run_alone(report):
    by_use_case = {dag_id: dag for dag_id, dag in report["dags"].items() if "use-case" in dag["tags"]}
    assert {
        "daily_calibration",
        "weekly_retraining",
        "monthly_reweighting",
        "quarterly_champion_challenger",
        "release_watch",
        "reconcile_registry",
    } <= set(by_use_case)
    for dag_id, dag in by_use_case.items():
        assert "use_case" in dag["params"], dag_id
        assert {name for name, task in dag["tasks"].items() if not task["mapped"]} == {"use_cases"}, dag_id


def test_dags_that_write_state_run_one_at_a_time(report):
    for dag_id in EXPECTED - {"ingest", "milestones", "weekly_retraining"}:
        assert report["dags"][dag_id]["max_active_runs"] == 1


def imported(file: Path, everywhere: bool = True) -> set[str]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    nodes = ast.walk(tree) if everywhere else tree.body
    names = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("file", DAG_FILES, ids=lambda file: file.stem)
def test_a_dag_file_holds_no_logic(file):
    roots = {name.split(".")[0] for name in imported(file)}
    assert roots <= {"airflow", "cosmos", "conventions", "hrloop", "hrloop_approval", "gc", "os"}
    engine = {name for name in imported(file) if name.startswith("hrloop.")}
    rooms = {name.split(".")[1] for name in engine}
    assert rooms <= {"rhythms", "as_of", "settings", "transform"}, "steps are taken by rhythms"
    at_import = {name for name in imported(file, everywhere=False) if name.startswith("hrloop.")}
    assert at_import <= {"hrloop.settings"}, "the engine is for tasks, not for reading a file"


def test_the_engine_never_imports_airflow():
    offending = {
        str(file.relative_to(PROJECT)): names
        for file in (PROJECT / "plugins" / "hrloop").rglob("*.py")
        if (names := {name for name in imported(file) if name.split(".")[0] in ("airflow", "cosmos")})
    }
    assert not offending


def test_the_calendar_lists_every_dag():
    calendar = (PROJECT / "dags" / "README.md").read_text(encoding="utf-8")
    assert all(f"| `{dag_id}` |" in calendar for dag_id in EXPECTED)


def test_no_rhythm_asks_for_the_time_of_day():
    asks = {"now", "utcnow", "today"}
    for file in (PROJECT / "plugins" / "hrloop" / "rhythms").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                assert node.func.attr not in asks, f"{file.name}:{node.lineno}"
