"""The gate: every delivery is judged once, and what does not pass stops everything behind it.

Three steps, each of which may be killed and run again: rows that break a hard rule move to quarantine (one
transaction per table); Great Expectations judges the delivered rows, quarantined ones included; verdicts and
the batches' status are written in one transaction. Until that last one a batch stays ``loaded``, so whatever
goes wrong, nothing passes.

What a verdict rests on does not depend on when the gate runs: the delivered rows, and the keys that other
tables had delivered by the batch's arrival, or the hours after it that a reference allows. A batch with
unknown keys whose hours have not run out stays ``loaded`` and is judged by a later run.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import Connection, bindparam, delete, text, update
from sqlalchemy.dialects.postgresql import insert

from hrloop import as_of as moment
from hrloop import sources
from hrloop.quality.rules import broken, missing, trimmed
from hrloop.quality.suites import Suite, load_suites
from hrloop.settings import Settings
from hrloop.sources import contract, declaration
from hrloop.sources.contract import Table
from hrloop.sources.load import original_of
from hrloop.warehouse import Warehouse, tables

ROLE = "loader"
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
    never_delivered: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Batch:
    """A delivery that waits for its verdict."""

    batch_id: str
    table: str
    file_name: str
    arrived_at: datetime
    rows_in: int


@dataclass(frozen=True)
class Result:
    """A row of loop.gate_results. ``as_of`` is the time of which it speaks: a batch's arrival."""

    as_of: datetime
    table: str
    batch_id: str | None
    check_name: str
    field: str | None
    group_column: str | None
    group_value: str | None
    observed: float | None
    threshold: float | None
    rows: int | None
    passed: bool
    detail: str

    @property
    def gate_result_id(self) -> str:
        """Hash of what was checked; the group's value is part of it, as several groups may fail."""
        about = [self.table, self.batch_id, self.check_name, self.field, self.group_column]
        about += [self.group_value] if not self.passed else []
        about += [moment.text(self.as_of)] if self.batch_id is None else []
        return hashlib.sha256(json.dumps(about).encode()).hexdigest()[:32]


def gate(wh: Warehouse, settings: Settings, as_of: datetime) -> GateReport:
    """Judge all batches that arrived by ``as_of`` and have no verdict, and say whether the way is open.

    It is open when no failed batch that arrived by then is left without a corrected delivery, every source is
    fresh, and there is a passed row. Raises SuiteError for a suite that cannot be used, and whatever the
    database or Great Expectations raises; the batches then have no verdict and nothing behind may run.
    """
    as_of = moment.utc(as_of)
    suites = load_suites(settings.project)
    declared = declaration.load(settings)
    sources.ensure_tables(wh)
    with _alone(wh):
        batches = _loaded(wh, as_of)
        waiting = _quarantine(wh, suites, batches, as_of)
        judged = [batch for batch in batches if batch.batch_id not in waiting]
        if judged:
            results = _judge(wh, settings, suites, declared.absent, judged, as_of)
            _record(wh, judged, results, as_of)
        _supersede(wh, as_of)
        freshness = _freshness(wh, settings, suites, as_of)
        return _report(wh, suites, as_of, freshness, sorted(waiting))


@contextmanager
def _alone(wh: Warehouse):
    """One gate at a time: a second one waits, and then finds nothing left to do."""
    with wh.engine(ROLE).connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("select pg_advisory_lock(hashtext('hrloop.quality'))"))
        try:
            yield
        finally:
            connection.execute(text("select pg_advisory_unlock(hashtext('hrloop.quality'))"))


def _loaded(wh: Warehouse, as_of: datetime) -> list[Batch]:
    with wh.engine(ROLE).connect() as connection:
        rows = connection.execute(
            text(
                "select batch_id, system || '.' || table_name, file_name, arrived_at, rows_in"
                " from loop.batches where status = 'loaded' and arrived_at <= :as_of"
                " order by arrived_at, batch_id"
            ),
            {"as_of": as_of},
        )
        return [Batch(*row) for row in rows]


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
        with wh.engine(ROLE).begin() as connection:
            connection.execute(text("set local timezone = 'UTC'"))
            if undecided:
                held = _with_unknown_keys(connection, suite, undecided)
                waiting |= {batch.batch_id: batch for batch in undecided if batch.batch_id in held}
            ready = [batch.batch_id for batch in mine if batch.batch_id not in waiting]
            if ready:
                move(connection, contract.load()[name], suite, ready)
    return set(waiting)


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
            f"select distinct _batch_id from ({broken(table, suite, _rows(table))}) as b"  # noqa: S608
            " where rules && :unknown"
        ).bindparams(
            batches=[batch.batch_id for batch in batches],
            unknown=[reference.rule for reference in suite.references],
        )
    )
    return set(found)


def _rows(table: Table) -> str:
    return f"(select ctid as row_id, r.* from {table.raw} as r where _batch_id = any(:batches))"  # noqa: S608


def move(connection: Connection, table: Table, suite: Suite, batches: Sequence[str]) -> int:
    """Move the rows of these batches that break a rule from raw to quarantine; returns how many."""
    moved = connection.execute(
        text(
            f"""
            with broken as materialized ({broken(table, suite, _rows(table))}),
            moved as (
                delete from {table.raw} as r using broken
                where r.ctid = broken.row_id
                returning r._batch_id, r._row, broken.rules, broken.detail,
                    {original_of(table, "r")} as original, r._arrived_at
            )
            insert into {table.quarantine}
                (batch_id, row_number, rules, detail, original, quarantined_as_of)
            select _batch_id, _row, rules, detail, original, _arrived_at from moved
            on conflict (batch_id, row_number) do update set rules = excluded.rules,
                detail = excluded.detail, original = excluded.original,
                quarantined_as_of = excluded.quarantined_as_of, readmitted_as_of = null
            """  # noqa: S608
        ),
        {"batches": list(batches)},
    ).rowcount
    recount(connection, table, batches)
    return moved


def recount(connection: Connection, table: Table, batches: Sequence[str]) -> None:
    """Bring the counts of these batches into line with quarantine: rows in = rows passed + quarantined."""
    connection.execute(
        text(
            f"""
            update loop.batches as b
            set rows_quarantined = q.number, rows_passed = b.rows_in - q.number
            from (
                select i.batch_id, count(q.batch_id) as number
                from unnest(cast(:batches as text[])) as i (batch_id)
                left join {table.quarantine} as q
                    on q.batch_id = i.batch_id and q.readmitted_as_of is null
                group by 1
            ) as q
            where b.batch_id = q.batch_id and b.rows_quarantined <> q.number
            """  # noqa: S608
        ),
        {"batches": list(batches)},
    )


# Verdicts -----------------------------------------------------------------------------------------------


def _judge(wh, settings, suites, absent, batches: list[Batch], as_of: datetime) -> list[Result]:
    """Every check on every batch, through Great Expectations."""
    # Great Expectations takes seconds to import, and readers of this package's types need none of it.
    from hrloop.quality import checks, validation

    plans = [
        plan
        for name, suite in suites.items()
        if (mine := _of(batches, name))
        for plan in checks.plans(settings.project, contract.load()[name], suite, mine, absent(name))
    ]
    outcomes = validation.run(wh, settings, as_of, "gate", [plan.check for plan in plans])
    return [
        result
        for plan, outcome in zip(plans, outcomes, strict=True)
        for read, found in zip(plan.readers, outcome, strict=True)
        for result in read(found)
    ]


def _record(wh: Warehouse, batches: list[Batch], results: list[Result], as_of: datetime) -> None:
    """Write verdicts and status of the batches, all of them or none."""
    failed: dict[str, list[str]] = {}
    for result in results:
        if not result.passed:
            failed.setdefault(result.batch_id, []).append(result.detail)
    with wh.engine(ROLE).begin() as connection:
        _write(connection, results)
        connection.execute(
            update(tables.batches)
            .where(tables.batches.c.batch_id == bindparam("batch"), tables.batches.c.status == "loaded")
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


def _write(connection: Connection, results: list[Result]) -> None:
    """Write results; what an earlier run wrote about the same is replaced."""
    if not results:
        return
    rows = [
        {
            "gate_result_id": result.gate_result_id,
            "as_of": result.as_of,
            "system": result.table.partition(".")[0],
            "table_name": result.table.partition(".")[2],
            "batch_id": result.batch_id,
            "check_name": result.check_name,
            "field": result.field,
            "group_column": result.group_column,
            "group_value": result.group_value,
            "observed": result.observed,
            "threshold": result.threshold,
            "rows": result.rows,
            "passed": result.passed,
            "detail": result.detail,
        }
        for result in results
    ]
    insertion = insert(tables.gate_results)
    replaced = {column.name: column for column in insertion.excluded if column.name != "gate_result_id"}
    connection.execute(
        insertion.on_conflict_do_update(index_elements=["gate_result_id"], set_=replaced), rows
    )


def _supersede(wh: Warehouse, as_of: datetime) -> None:
    """A failed batch no longer stands in the way once later deliveries that passed brought all its keys.

    A batch without any key (an empty file) gives way to a later delivery that passed and whose file name
    begins with its own (``2024-05-01.csv`` to ``2024-05-01-corrected.csv``): any delivery would hold all of
    no keys, and the month that the empty file stands for would be lost unnoticed.
    """
    with wh.engine(ROLE).begin() as connection:
        rows = connection.execute(
            text(
                "select system || '.' || table_name as table, batch_id, file_name, arrived_at, status"
                " from loop.batches where status in ('failed', 'passed') and arrived_at <= :as_of"
            ),
            {"as_of": as_of},
        ).all()
        for failed in (row for row in rows if row.status == "failed"):
            later = [
                row
                for row in rows
                if row.status == "passed" and row.table == failed.table and _order(row) > _order(failed)
            ]
            if later and _replaced(connection, contract.load()[failed.table], failed, later):
                connection.execute(
                    update(tables.batches)
                    .where(tables.batches.c.batch_id == failed.batch_id)
                    .values(status="superseded")
                )


def _order(batch) -> tuple[datetime, str, str]:
    """Which of two deliveries is the later one, as sources tell it."""
    return batch.arrived_at, _stem(batch.file_name), batch.batch_id


def _stem(file_name: str) -> str:
    return re.sub(r"\.(csv|csv\.gz|parquet)$", "", file_name, flags=re.IGNORECASE)


def _replaced(connection: Connection, table: Table, failed, later: list) -> bool:
    """Whether the later deliveries hold every key of the failed one, or follow its name if it has none."""
    keys = f"select {', '.join(table.key)} from ({_keys(table)}) as k where batch_id"  # noqa: S608
    left, any_key = connection.execute(
        text(f"select exists ({keys} = :failed except {keys} = any(:later)), exists ({keys} = :failed)"),
        {"failed": failed.batch_id, "later": [row.batch_id for row in later]},
    ).one()
    if any_key:
        return not left
    return any(_stem(row.file_name).startswith(_stem(failed.file_name)) for row in later)


def _keys(table: Table) -> str:
    """SQL: (batch_id, key…) of every delivered row that has a key, in quarantine or not."""
    raw = ", ".join(f"{trimmed(column)} as {column}" for column in table.key)
    originals = {column: f"original->>'{column}'" for column in table.key}
    held = ", ".join(f"{trimmed(value)} as {column}" for column, value in originals.items())
    there = " and ".join(f"not {missing(value)}" for value in originals.values())
    return (
        f"select _batch_id as batch_id, {raw} from {table.raw} union all"  # noqa: S608
        f" select batch_id, {held} from {table.quarantine} where readmitted_as_of is null and {there}"
    )


def _freshness(wh, settings, suites: dict[str, Suite], as_of: datetime) -> list[Result]:
    """Judge and record how old the last good delivery of each table is."""
    from hrloop.quality import checks, validation

    plan = checks.freshness(suites, as_of)
    (outcome,) = validation.run(wh, settings, as_of, "freshness", [plan.check])
    results = [result for read, found in zip(plan.readers, outcome, strict=True) for result in read(found)]
    with wh.engine(ROLE).begin() as connection:
        connection.execute(
            delete(tables.gate_results).where(
                tables.gate_results.c.batch_id.is_(None), tables.gate_results.c.as_of == as_of
            )
        )
        _write(connection, results)
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
                    " where b.status = 'failed' and b.arrived_at <= :as_of and not r.passed"
                    " order by b.arrived_at, 1, b.batch_id, r.check_name, r.field,"
                    " r.group_column nulls first, r.group_value"
                ),
                {"as_of": as_of},
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
        never_delivered=sorted(set(suites) - {table for table, _ in good}),
    )
