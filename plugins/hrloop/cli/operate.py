"""Set up, start and stop, run a step by hand, and see where the loop stands."""

import json
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from hrloop import services, sources, transform
from hrloop.cli.app import AsOf, UseCaseName, loop
from hrloop.rhythms import (
    Loop,
    calibration,
    decisions,
    experiments,
    intake,
    milestones,
    reconcile,
    retraining,
    reweighting,
    watch,
)
from hrloop.rhythms.status import status as read_status
from hrloop.warehouse import EmbeddedServer

console = Console()
steps = typer.Typer(no_args_is_help=True, help="Run one step of the loop by hand, as its DAG would.")


def register(app: typer.Typer) -> None:
    """Add these commands to the root."""
    app.add_typer(steps, name="run")
    for command in (setup, up, down, status):
        app.command()(command)


def prepare(current: Loop) -> None:
    """What every start needs: databases, roles, tables, and the dbt project read for Airflow."""
    sources.ensure_tables(current.warehouse)
    transform.parse(current.settings)


def setup() -> None:
    """Make databases, roles and tables, and read the dbt project; safe to repeat."""
    current = loop()
    prepare(current)
    console.print(f"Warehouse at {current.warehouse.host}:{current.warehouse.port}; the loop is set up.")


def up() -> None:
    """Keep Postgres, MLflow and Airflow running, and print where they are and how to log in."""
    setup()
    current = loop()
    pages = services.start_all(current.settings, current.warehouse, report=console.print)
    table = Table("page", "address", "user", "password")
    for page in pages:
        table.add_row(page.name, page.url, page.user, page.password)
    analyst = current.warehouse.url("analyst", "postgresql")
    table.add_row(
        "Postgres",
        f"{analyst.host}:{analyst.port}/{analyst.database}",
        str(analyst.username),
        str(analyst.password),
    )
    Console(width=max(console.width, 130)).print(table)
    console.print("`make down` stops all of it.")


def down() -> None:
    """Stop every process that was started here, and no other."""
    current = loop()
    stopped = services.stop(current.settings)
    if not current.settings.database_url and EmbeddedServer.of(current.settings).stop():
        stopped.append("postgres")
    console.print(f"Stopped: {', '.join(stopped)}." if stopped else "Nothing was running.")


def status(
    as_json: Annotated[bool, typer.Option("--json", help="All figures as JSON.")] = False,
) -> None:
    """What came in, what was decided, what became of it, and who is champion."""
    figures = read_status(loop().warehouse)
    if as_json:
        print(json.dumps(figures, indent=2, default=str))
    else:
        show(figures, console)


def show(figures: dict, to: Console) -> None:
    """Print the figures of ``status`` as tables."""
    rows = Table("table", "rows in", "passed", "quarantined", "batches failed", "files refused", title="Rows")
    for row in figures["rows"]:
        rows.add_row(
            row["table_name"],
            *(f"{row[name]:,}" for name in ("rows_in", "rows_passed", "rows_quarantined")),
            str(row["batches_failed"]),
            str(row["files_refused"]),
        )
    to.print(rows)

    outcomes = Table(
        "use case", "milestone", "observed", "missing", "pending", "censored", "rate", "feedback complete",
        title="Outcomes at their milestones",
    )  # fmt: skip
    for row in figures["milestones"]:
        outcomes.add_row(
            row["use_case"],
            f"{row['months']} months",
            *(f"{row[name]:,}" for name in ("observed", "missing", "pending", "censored")),
            _percent(row["rate"]),
            _percent(row["feedback_completeness"]),
        )
    to.print(outcomes)

    champions = Table("use case", "version", "since", "approved by", "reason", title="Champions")
    for row in figures["champions"]:
        champions.add_row(
            row["use_case"], str(row["version"]), f"{row['as_of']:%Y-%m-%d}", row["approved_by"],
            row["approval_reason"],
        )  # fmt: skip
    to.print(champions)

    metrics = Table(
        "use case", "metric", "value", "95 % interval", "n", title="Measured on held-out outcomes"
    )
    for row in figures["metrics"]:
        metrics.add_row(
            row["use_case"],
            row["metric"],
            f"{row['value']:.4f}",
            f"{row['low']:.4f} to {row['high']:.4f}",
            f"{row['n']:,}",
        )
    to.print(metrics)

    routes = Table("use case", "as of", "route", "decisions", "explored", title="Decisions by route")
    for row in figures["decisions"]:
        routes.add_row(
            row["use_case"], f"{row['as_of']:%Y-%m-%d}", row["route"], f"{row['decisions']:,}",
            f"{row['explored']:,}",
        )  # fmt: skip
    to.print(routes)

    alarms = Table("use case", "as of", "seen by", "today's cases", title="Drift alarms")
    for row in figures["alarms"]:
        alarms.add_row(row["use_case"], f"{row['as_of']:%Y-%m-%d}", row["step"], row["words"])
    if figures["alarms"]:
        to.print(alarms)

    failures = Table(
        "as of", "table", "check", "field", "group", "rows", "observed", "asked for",
        title="Last failures at the gate",
    )  # fmt: skip
    for row in figures["gate_failures"]:
        failures.add_row(
            f"{row['as_of']:%Y-%m-%d}", row["table_name"], row["check_name"], row["field"] or "",
            f"{row['group_column']}={row['group_value']}" if row["group_column"] else "whole batch",
            f"{row['rows']:,}" if row["rows"] is not None else "",
            *(f"{row[name]:.4g}" if row[name] is not None else "" for name in ("observed", "threshold")),
        )  # fmt: skip
    if figures["gate_failures"]:
        to.print(failures)


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.1%}"


def _print(summary: dict) -> None:
    print(json.dumps(summary, indent=2, default=str))


@steps.command()
def ingest(as_of: AsOf) -> None:
    """Take the files that arrived by then into raw."""
    _print(intake.ingest(loop(), as_of))


@steps.command()
def gate(as_of: AsOf) -> None:
    """Judge the batches that arrived by then."""
    _print(intake.gate(loop(), as_of))


@steps.command()
def build(as_of: AsOf) -> None:
    """Build the warehouse with dbt."""
    _print(intake.build(loop(), as_of))


@steps.command()
def retrain(use_case: UseCaseName, as_of: AsOf) -> None:
    """Weekly: learn the newest labels, propose the version if it convinces."""
    _print(retraining.retrain(loop(), use_case, as_of))


@steps.command()
def calibrate(use_case: UseCaseName, as_of: AsOf) -> None:
    """Daily: read probabilities off a better scale, if the newest labels ask for one."""
    _print(calibration.calibrate(loop(), use_case, as_of))


@steps.command()
def reweight(use_case: UseCaseName, as_of: AsOf) -> None:
    """Monthly: weigh the features anew, propose the version if it convinces."""
    _print(reweighting.reweight(loop(), use_case, as_of))


@steps.command()
def challenge(use_case: UseCaseName, as_of: AsOf) -> None:
    """Quarterly: search for a better architecture, and begin an experiment with it."""
    _print(experiments.start(loop(), use_case, as_of))


@steps.command()
def look(use_case: UseCaseName, as_of: AsOf) -> None:
    """Look at the experiment that runs."""
    _print(experiments.look(loop(), use_case, as_of))


@steps.command("watch")
def watch_release(use_case: UseCaseName, as_of: AsOf) -> None:
    """Look at the newest release, and roll it back if a guardrail is broken."""
    _print(watch.watch(loop(), use_case, as_of))


@steps.command("reconcile")
def reconcile_registry(use_case: UseCaseName, as_of: AsOf) -> None:
    """Bring registry and ledger together."""
    _print(reconcile.reconcile(loop(), use_case, as_of))


@steps.command()
def decide(use_case: UseCaseName, as_of: AsOf) -> None:
    """Score, rank, route and record the open cases."""
    _print(decisions.decide(loop(), use_case, as_of))


@steps.command("milestones")
def report(use_case: UseCaseName, as_of: AsOf) -> None:
    """Count the outcomes that came due."""
    _print(milestones.report(loop(), use_case, as_of))
