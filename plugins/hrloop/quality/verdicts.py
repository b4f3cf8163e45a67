"""Verdicts on record: rows of ``loop.gate_results``, and failed batches that a later delivery replaces."""

import hashlib
import json
import re
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text, update
from sqlalchemy.dialects.postgresql import insert

from hrloop import as_of as moment
from hrloop.quality.rules import missing, trimmed
from hrloop.sources import contract
from hrloop.sources.contract import Table
from hrloop.warehouse import tables


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


def write(connection: Connection, results: list[Result]) -> None:
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


def supersede(connection: Connection, as_of: datetime) -> None:
    """A failed batch no longer stands in the way once later deliveries that passed brought all its keys.

    A batch without any key (an empty file) gives way to a later delivery that passed and whose file name
    begins with its own (``2024-05-01.csv`` to ``2024-05-01-corrected.csv``): any delivery would hold all of
    no keys, and the month that the empty file stands for would be lost unnoticed.
    """
    connection.execute(
        update(tables.batches)
        .where(tables.batches.c.status == "failed", tables.batches.c.arrived_at <= as_of)
        .where(tables.batches.c.batch_id.not_in(in_the_way(connection, as_of)))
        .values(status="superseded")
    )


def in_the_way(connection: Connection, as_of: datetime) -> list[str]:
    """The failed batches that no delivery had replaced by ``as_of``, whatever has come since."""
    rows = connection.execute(
        text(
            "select system || '.' || table_name as table, batch_id, file_name, arrived_at, status"
            " from loop.batches where status in ('failed', 'superseded', 'passed') and arrived_at <= :as_of"
            " and gated_as_of is not null"  # a file that was refused was never judged
        ),
        {"as_of": as_of},
    ).all()
    found = []
    for failed in (row for row in rows if row.status != "passed"):
        later = [
            row
            for row in rows
            if row.status == "passed" and row.table == failed.table and _order(row) > _order(failed)
        ]
        if not (later and _replaced(connection, contract.load()[failed.table], failed, later)):
            found.append(failed.batch_id)
    return found


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
