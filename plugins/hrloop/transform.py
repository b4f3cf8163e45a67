"""The outcome warehouse: dbt, run in this process.

The parsed project is kept for the life of the process: parsing takes longer than building a small warehouse.
State (compiled SQL, logs, ``manifest.json``) lies under ``home/dbt``, never in the checkout.
"""

import hashlib
import json
import os
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from dbt.artifacts.schemas.results import NodeResult
from dbt.cli.main import dbtRunner, dbtRunnerResult
from dbt.contracts.graph.manifest import Manifest
from dbt_common.behavior_flags import BehaviorFlagRendered

from hrloop import as_of as moment
from hrloop.settings import Settings
from hrloop.warehouse import Warehouse

END = "stg_loop__build_done"  # the model that is built last of all
_one_at_a_time = threading.Lock()  # dbt reads its connection from this process's environment
_manifests: dict[tuple[Path, str], Manifest] = {}  # by project and database: its name is parsed in


def name_flag_sources_once() -> None:
    """Spare dbt a walk over the whole call stack, and for each frame over all loaded modules, per flag.

    dbt names the source of each behaviour flag so, for a warning that nobody reads: five seconds a model in
    an Airflow task, whose stack is deep and whose modules are thousands. It is called before dbt is.
    """
    BehaviorFlagRendered._default_source = staticmethod(lambda: "dbt")


class TransformError(RuntimeError):
    """dbt did not come through. The message names each model or test, what is wrong, and what to do."""


def build(
    warehouse: Warehouse,
    settings: Settings,
    variables: Mapping[str, object],
    select: Sequence[str] = (),
    full_refresh: bool = False,
) -> dict[str, object]:
    """Build the warehouse and test it: seeds, models and data tests, in the order of their dependencies.

    It grows where what was known before stands unchanged (docs/warehouse.md), and is built anew where not, or
    with ``full_refresh``.

    ``variables``: ``as_of`` (text with an offset), ``use_cases``, what each declares by name, and
    ``project``, which tells one dbt project from another (``digest``).
    ``select``: dbt's selectors, such as ``source:loop.decisions+`` after new decisions; empty for all. A part
    is built for the as_of that the whole was begun for, and does not bring a build to its end, unless it
    names ``END``: a part that is built again and again grows as the whole does.
    Returns {"as_of", "seeds", "models", "tests"}: as of when the warehouse stands, and how many were built.
    Raises TransformError when a model or a test fails; what depends on it is then left as it was, and
    ``outcomes.warehouse_standing``, which is written last, still tells the as_of before.
    """
    arguments = ["build", "--exclude-resource-type", "unit_test"]
    arguments += ["--full-refresh"] if full_refresh else []
    return _work(warehouse, settings, variables, arguments, select)


def unit_test(warehouse: Warehouse, settings: Settings, variables: Mapping[str, object]) -> dict[str, object]:
    """Run dbt's unit tests of the models' arithmetic. They need the tables of a build, and change nothing.

    Returns and raises as ``build`` does.
    """
    return _work(warehouse, settings, variables, ["test"], ["test_type:unit"])


def _work(
    warehouse: Warehouse,
    settings: Settings,
    variables: Mapping[str, object],
    arguments: list[str],
    select: Sequence[str],
) -> dict[str, object]:
    as_of = moment.text(moment.parse(str(variables.get("as_of") or "(none)")))
    given = {**variables, "as_of": as_of, "part": " ".join(select)}
    arguments = [*arguments, "--vars", json.dumps(given), "--no-write-json"]
    if select:  # a test that also reads tables outside the selection would meet older ones there
        arguments += ["--select", *select, "--indirect-selection", "cautious"]
        arguments += [] if END in select else ["--exclude", END]
    kept = settings.project, warehouse.database
    with _one_at_a_time, _environment(warehouse.environment()):
        if kept not in _manifests:
            _manifests[kept] = _parsed(settings)
        answer = _run(arguments, settings, _manifests[kept])
    results = list(getattr(answer.result, "results", ()))
    if not answer.success:
        raise TransformError(_explain(answer, results, settings))
    built = Counter(str(result.node.resource_type) for result in results)
    if not built:
        raise TransformError(f"dbt found nothing to build for {', '.join(select)}; correct the selection.")
    return {
        "as_of": as_of,
        "seeds": built["seed"],
        "models": built["model"],
        "tests": built["test"] + built["unit_test"],
    }


def digest(settings: Settings) -> str:
    """SHA-256 over the files of the dbt project and their names, in hexadecimal digits."""
    project = settings.project / "dbt"
    files = sorted(path for path in project.rglob("*") if path.suffix in (".sql", ".yml", ".md", ".csv"))
    content = hashlib.sha256()
    for path in files:
        content.update(
            f"{path.relative_to(project)}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode()
        )
    return content.hexdigest()


def parse(settings: Settings) -> Path:
    """Parse the project and write its ``manifest.json``, from which Airflow draws the models as tasks.

    Needs no database. Returns the path. Raises TransformError when the project does not parse.
    """
    with _one_at_a_time:
        _parsed(settings)
    return _state(settings) / "manifest.json"


def _parsed(settings: Settings) -> Manifest:
    answer = _run(["parse"], settings)
    if not answer.success:
        raise TransformError(_explain(answer, [], settings))
    return answer.result


def _run(arguments: list[str], settings: Settings, manifest: Manifest | None = None) -> dbtRunnerResult:
    project, state = str(settings.project / "dbt"), _state(settings)
    state.mkdir(parents=True, exist_ok=True)
    name_flag_sources_once()
    places = ["--project-dir", project, "--profiles-dir", project]
    places += ["--target-path", str(state), "--log-path", str(state / "logs")]
    manner = ["--log-level", "none", "--log-level-file", "info", "--no-use-colors", "--no-partial-parse"]
    return dbtRunner(manifest=manifest).invoke([*arguments, *places, *manner])


def _state(settings: Settings) -> Path:
    return settings.home / "dbt"


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _explain(answer: dbtRunnerResult, results: list[NodeResult], settings: Settings) -> str:
    failed = [result for result in results if str(result.status) in ("error", "fail", "runtime error")]
    if not failed:
        return f"dbt did not run: {answer.exception}. Its log is {_state(settings) / 'logs' / 'dbt.log'}."
    skipped = sum(str(result.status) == "skipped" for result in results)
    lines = [f"dbt: {len(failed)} of {len(results)} nodes failed, {skipped} behind them were skipped."]
    lines += [_explain_one(result, settings) for result in failed]
    lines.append("What depends on these is as it was. Put right what failed and build the same as_of again.")
    return "\n".join(lines)


def _explain_one(result: NodeResult, settings: Settings) -> str:
    node = result.node
    kind = str(node.resource_type)
    message = " ".join((result.message or "no message").split())
    compiled = getattr(node, "compiled_path", None)
    where = f" Its SQL is {settings.project / 'dbt' / compiled}." if compiled else ""
    if kind == "test" and str(result.status) == "fail":
        model = node.attached_node.split(".")[-1] if node.attached_node else "several models"
        return (
            f"- test {node.name} on {model} ({node.original_file_path}) found {result.failures} row(s) that"
            f" break it.{where} Run it to see them; the rows come from raw, or the model is wrong."
        )
    return f"- {kind} {node.name} ({node.original_file_path}): {message}{where}"
