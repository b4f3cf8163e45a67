"""The gate: every delivery is judged, and what does not pass stops everything behind it.

Three steps, each of which may be killed and run again: rows that break a hard rule move to quarantine (one
transaction per table); Great Expectations judges the delivered rows, quarantined ones included; verdicts and
the batches' status are written in one transaction. Until that last one a batch stays ``loaded``, so whatever
goes wrong, nothing passes.

What a verdict rests on does not depend on when the gate runs: the delivered rows, and the keys that other
tables had delivered by the batch's arrival, or the hours after it that a reference allows. A batch with
unknown keys whose hours have not run out stays ``loaded`` and is judged by a later run. What has passed is
not judged again; what has failed is, once its suite has changed.
"""

from collections.abc import Iterable
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import Connection, bindparam, delete, text, update
from sqlalchemy.exc import DBAPIError

from hrloop import as_of as moment
from hrloop import sources
from hrloop.quality.quarantine import LOCK, ROLE, move, rows_of
from hrloop.quality.rules import broken
from hrloop.quality.suites import Suite, SuiteError, fingerprint, load_suites
from hrloop.quality.verdicts import Result, in_the_way, supersede, write
from hrloop.settings import Settings
from hrloop.sources import contract, declaration
from hrloop.warehouse import Warehouse, tables

SUITE = "suite"  # check_name of the row that says which version of the suite judged a batch
REMEDY = "The batch is held back; deliver a corrected file with the same keys."


@dataclass(frozen=True)
class Failure:
    """One reason why the gate does not open. ``detail`` is the finding in a sentence of its own."""

    table: str
    batch: str | None
    check: str
    field: str | None
    group: str | None
    observed: float | None
    threshold: float | None
    detail: str


@dataclass(frozen=True)
class GateReport:
    """What the gate found. ``batches`` are those judged at this as_of, in this run or an earlier one."""

    passed: bool
    batches: list[str]
    failures: list[Failure]
    quarantined: int
    waiting: list[str] = field(default_factory=list)
    not_yet_passed: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Batch:
    """A delivery that waits for its verdict."""

    batch_id: str
    table: str
    file_name: str
    arrived_at: datetime
    rows_in: int


def gate(wh: Warehouse, settings: Settings, as_of: datetime, data_docs: bool = True) -> GateReport:
    """Judge the batches that arrived by ``as_of`` and await a verdict, and say whether the way is open.

    It is open when no failed batch that arrived by then is left without a corrected delivery, every source is
    fresh, and there is a passed row. Raises SuiteError for a suite that cannot be used, and whatever the
    database or Great Expectations raises; the batches then have no verdict and nothing behind may run.

    ``data_docs``: whether to renew the pages that tell it to people, which takes as long as all else.
    """
    as_of = moment.utc(as_of)
    suites = load_suites(settings.project)
    declared = declaration.load(settings)
    sources.ensure_tables(wh)
    # Great Expectations takes seconds to import, and readers of this package's types need none of it.
    from hrloop.quality.validation import Session

    with _alone(wh), Session(wh, settings, as_of, data_docs) as session:
        versions = {
            name: fingerprint(settings.project, suite, declared.absent(name))
            for name, suite in suites.items()
        }
        batches = _undecided(wh, versions, as_of)
        waiting = _quarantine(wh, suites, batches, as_of)
        judged = [batch for batch in batches if batch.batch_id not in waiting]
        if judged:
            results = _judge(session, settings, suites, declared.absent, judged)
            _record(wh, judged, results, versions, as_of)
        with wh.engine(ROLE).begin() as connection:
            supersede(connection, as_of)
        freshness = _freshness(wh, session, suites, as_of)
        return _report(wh, suites, as_of, freshness, sorted(waiting))


@contextmanager
def _alone(wh: Warehouse):
    """One gate at a time: a second one waits, and then finds nothing left to do."""
    with wh.engine(ROLE).connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f"select pg_advisory_lock({LOCK})"))
        try:
            yield
        finally:
            connection.execute(text(f"select pg_advisory_unlock({LOCK})"))


def _undecided(wh: Warehouse, versions: dict[str, str], as_of: datetime) -> list[Batch]:
    """Batches without a verdict, and those that failed by another version of their suite."""
    with wh.engine(ROLE).connect() as connection:
        rows = connection.execute(
            text(
                "select b.batch_id, b.system || '.' || b.table_name, b.file_name, b.arrived_at, b.rows_in,"
                " b.status, g.detail"
                " from loop.batches as b left join loop.gate_results as g"
                " on g.batch_id = b.batch_id and g.check_name = :suite"
                " where b.status in ('loaded', 'failed') and b.arrived_at <= :as_of"
                " order by b.arrived_at, b.batch_id"
            ),
            {"as_of": as_of, "suite": SUITE},
        ).all()
    return [
        Batch(*known)
        for *known, status, version in rows
        if status == "loaded" or version != versions[known[1]]
    ]


def _of(batches: Iterable[Batch], table: str) -> list[Batch]:
    return [batch for batch in batches if batch.table == table]


# Rows ---------------------------------------------------------------------------------------------------


def _quarantine(wh: Warehouse, suites: dict[str, Suite], batches: list[Batch], as_of: datetime) -> set[str]:
    """Move rows that break a rule, table by table in the order of their references.

    Returns the ids of batches that must wait: they hold unknown keys that another table may still bring, or
    may have brought in a batch that waits itself.
    """
    waiting: dict[str, Batch] = {}
    for name, suite in suites.items():
        mine = _of(batches, name)
        undecided = [batch for batch in mine if _open(suite, batch, waiting.values(), as_of)]
        try:
            with wh.engine(ROLE).begin() as connection:
                connection.execute(text("set local timezone = 'UTC'"))
                if undecided:
                    held = _with_unknown_keys(connection, suite, undecided)
                    waiting |= {batch.batch_id: batch for batch in undecided if batch.batch_id in held}
                ready = [batch.batch_id for batch in mine if batch.batch_id not in waiting]
                if ready:
                    move(connection, contract.load()[name], suite, ready)
        except DBAPIError:
            _blame(wh, suite, mine)
            raise
    return set(waiting)


def _blame(wh: Warehouse, suite: Suite, batches: list[Batch]) -> None:
    """Raise SuiteError for the first rule of the suite whose condition Postgres cannot evaluate, if any."""
    for rule in suite.rules:
        alone = suite.model_copy(update={"rules": (rule,), "references": ()})
        table = contract.load()[suite.table]
        statement = f"select count(*) from ({broken(table, alone, rows_of(table))}) as b"  # noqa: S608
        try:
            with wh.engine(ROLE).connect() as connection:
                connection.execute(text(statement), {"batches": [batch.batch_id for batch in batches]})
        except DBAPIError as error:
            raise SuiteError(
                f"expectations/{table.system}/{table.name}.yaml: rules.{rule.name}.breaks:"
                f" {str(error.orig).strip()}; correct the condition"
            ) from error


def _open(suite: Suite, batch: Batch, waiting: Iterable[Batch], as_of: datetime) -> bool:
    """Whether a reference of this batch may still come in time."""
    for reference in suite.references:
        limit = batch.arrived_at + timedelta(hours=reference.within_hours)
        if as_of < limit:
            return True
        if any(other.table == reference.table and other.arrived_at <= limit for other in waiting):
            return True
    return False


def _with_unknown_keys(connection: Connection, suite: Suite, batches: list[Batch]) -> set[str]:
    table = contract.load()[suite.table]
    found = connection.scalars(
        text(
            f"select distinct _batch_id from ({broken(table, suite, rows_of(table))}) as b"  # noqa: S608
            " where rules && :unknown"
        ).bindparams(
            batches=[batch.batch_id for batch in batches],
            unknown=[reference.rule for reference in suite.references],
        )
    )
    return set(found)


# Verdicts -----------------------------------------------------------------------------------------------


def _judge(
    session, settings: Settings, suites: dict[str, Suite], absent, batches: list[Batch]
) -> list[Result]:
    """Every check on every batch, through Great Expectations."""
    from hrloop.quality import checks

    plans = [
        plan
        for name, suite in suites.items()
        if (mine := _of(batches, name))
        for plan in checks.plans(settings.project, contract.load()[name], suite, mine, absent(name))
    ]
    outcomes = session.run("gate", [plan.check for plan in plans])
    return [
        result
        for plan, outcome in zip(plans, outcomes, strict=True)
        for read, found in zip(plan.readers, outcome, strict=True)
        for result in read(found)
    ]


def _record(
    wh: Warehouse, batches: list[Batch], results: list[Result], versions: dict[str, str], as_of: datetime
) -> None:
    """Write verdicts and status of the batches, all of them or none."""
    results = results + [
        Result(
            batch.arrived_at, batch.table, batch.batch_id, SUITE, None, None, None, None, None, None, True,
            versions[batch.table],
        )
        for batch in batches
    ]  # fmt: skip
    failed: dict[str, list[str]] = {}
    for result in results:
        if not result.passed:
            failed.setdefault(result.batch_id, []).append(result.detail)
    with wh.engine(ROLE).begin() as connection:
        ids = [batch.batch_id for batch in batches]
        connection.execute(delete(tables.gate_results).where(tables.gate_results.c.batch_id.in_(ids)))
        write(connection, results)
        connection.execute(
            update(tables.batches)
            .where(tables.batches.c.batch_id == bindparam("batch"))
            .values(status=bindparam("verdict"), reason=bindparam("why"), gated_as_of=as_of),
            [
                {
                    "batch": batch.batch_id,
                    "verdict": "failed" if batch.batch_id in failed else "passed",
                    "why": "\n".join(failed.get(batch.batch_id, [])) or None,
                }
                for batch in batches
            ],
        )


def _freshness(wh: Warehouse, session, suites: dict[str, Suite], as_of: datetime) -> list[Result]:
    """Judge and record how old the last good delivery of each table is."""
    from hrloop.quality import checks

    plan = checks.freshness(suites, as_of)
    (outcome,) = session.run("freshness", [plan.check])
    results = [result for read, found in zip(plan.readers, outcome, strict=True) for result in read(found)]
    with wh.engine(ROLE).begin() as connection:
        connection.execute(
            delete(tables.gate_results).where(
                tables.gate_results.c.batch_id.is_(None), tables.gate_results.c.as_of == as_of
            )
        )
        write(connection, results)
    return results


def _report(
    wh: Warehouse, suites, as_of: datetime, freshness: list[Result], waiting: list[str]
) -> GateReport:
    with wh.engine(ROLE).connect() as connection:
        failures = [
            Failure(*row)
            for row in connection.execute(
                text(
                    "select r.system || '.' || r.table_name, b.file_name, r.check_name, r.field,"
                    " r.group_column || '=' || r.group_value, r.observed, r.threshold, r.detail"
                    " from loop.gate_results as r join loop.batches as b using (batch_id)"
                    " where b.batch_id = any(:failed) and not r.passed"
                    " order by b.arrived_at, 1, b.batch_id, r.check_name, r.field,"
                    " r.group_column nulls first, r.group_value"
                ),
                {"failed": in_the_way(connection, as_of)},
            )
        ]
        judged = connection.execute(
            text(
                "select batch_id, rows_quarantined from loop.batches where gated_as_of = :as_of"
                " order by arrived_at, batch_id"
            ),
            {"as_of": as_of},
        ).all()
        good = connection.execute(
            text(
                "select system || '.' || table_name, sum(rows_passed) from loop.batches"
                " where status = 'passed' and arrived_at <= :as_of group by 1"
            ),
            {"as_of": as_of},
        ).all()
    failures += [
        Failure(r.table, None, r.check_name, None, None, r.observed, r.threshold, r.detail)
        for r in freshness
        if not r.passed
    ]
    if not sum(rows for _, rows in good):
        failures.append(
            Failure(
                "all tables", None, "rows", None, None, 0, 1,
                f"No row has passed the gate by {moment.text(as_of)}: nothing was delivered, or all of it is"
                " held back. Deliver the exports and let them be taken.",
            )
        )  # fmt: skip
    return GateReport(
        passed=not failures,
        batches=[batch for batch, _ in judged],
        failures=failures,
        quarantined=sum(number for _, number in judged),
        waiting=waiting,
        not_yet_passed=sorted(set(suites) - {table for table, _ in good}),
    )
