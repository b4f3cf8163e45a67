"""One batch into the warehouse, in one transaction: all of it, once, or nothing.

Most batches bring keys and known-times that ``raw`` does not hold yet: they are copied straight into it.
Where the primary key says otherwise, the batch is copied beside the table and merged, so that of two rows
with one key and known-time the later delivery stays, whichever was loaded first.
"""

# ruff: noqa: S608 - names in statements are checked by the contract to be plain; values are bound

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

import adbc_driver_manager as driver
import pyarrow as pa
from adbc_driver_postgresql.dbapi import Connection, Cursor

from hrloop.sources.contract import Table
from hrloop.sources.rows import DETAILS, DUPLICATE_KEY, INTERNAL, Held, Prepared
from hrloop.warehouse.connections import UNIQUE_VIOLATION

# A batch that never came in: it was refused, and perhaps its file was replaced or removed since.
NEVER_TAKEN = "(b.status = 'refused' or b.status = 'superseded' and b.gated_as_of is null)"


@dataclass(frozen=True)
class Batch:
    """What is delivered together: a file, or a pull from a database or an API."""

    table: Table
    batch_id: str
    file_name: str
    content_sha256: str
    arrived_at: datetime

    @property
    def system(self) -> str:
        return self.table.system

    @property
    def table_name(self) -> str:
        return self.table.name


@dataclass(frozen=True)
class Loaded:
    """What became of the rows of a batch."""

    rows_in: int
    rows_quarantined: int


def original_of(table: Table, alias: str) -> str:
    """SQL for the whole original row (jsonb) of a row of the raw table, extra columns included."""
    internal = ", ".join([*table.keys_of_persons.values(), *INTERNAL])
    return f"(to_jsonb({alias}) - '{{{internal}}}'::text[] || coalesce({alias}._extra, '{{}}'))"


def load(connection: Connection, batch: Batch, prepared: Prepared) -> Loaded | None:
    """Load a batch; None when it has been taken before. A batch that was refused may be taken now.

    ``connection`` is the loader's, with nothing under way on it, and so it is left.
    """
    try:
        with _loading(connection, batch) as cursor:
            if cursor is None:
                return None
            _copy(cursor, prepared)
            _hold(cursor, batch, prepared.held)
            return _enter(cursor, batch, prepared.rows_in, prepared.extra_columns)
    except driver.IntegrityError as error:
        if error.sqlstate != UNIQUE_VIOLATION:
            raise
    with _loading(connection, batch) as cursor:
        if cursor is None:
            return None
        _stage(cursor, prepared)
        _merge(cursor, batch)
        _hold(cursor, batch, prepared.held)
        return _enter(cursor, batch, prepared.rows_in, prepared.extra_columns)


def load_pull(
    connection: Connection, batch: Batch, prepared: Prepared, watermark: datetime | None
) -> Loaded | None:
    """Load what a pull brought beyond the rows that are there already; None when nothing of it is new.

    ``watermark``, the last change that the pull delivered, is kept in the same transaction.
    """
    with _loading(connection, batch) as cursor:
        if cursor is None:
            return None
        _stage(cursor, prepared)
        _drop_known(cursor, batch.table)
        _hold(cursor, batch, prepared.held, only_new=True)
        rows_in = _scalar(cursor, "select count(*) from incoming") + _quarantined(cursor, batch)
        if watermark is not None:
            _advance(cursor, batch.table, watermark)
        if not rows_in:
            return None
        _merge(cursor, batch)
        return _enter(cursor, batch, rows_in, prepared.extra_columns)


@contextmanager
def _loading(connection: Connection, batch: Batch) -> Iterator[Cursor | None]:
    """A cursor in a transaction that has the table to itself; None when the batch has been taken."""
    with connection.cursor() as cursor:
        try:
            _scalar(
                cursor,
                "select pg_advisory_xact_lock(hashtext('hrloop.sources'), hashtext($1))::text",
                batch.table.raw,
            )
            taken = _scalar(
                cursor,
                f"select count(*) from loop.batches as b where batch_id = $1 and not {NEVER_TAKEN}",
                batch.batch_id,
            )
            yield None if taken else cursor
        except BaseException:
            connection.rollback()
            raise
        connection.commit()


def _scalar(cursor: Cursor, statement: str, *values):
    cursor.execute(statement, values or None)
    return cursor.fetchone()[0]


def _copy(cursor: Cursor, prepared: Prepared) -> None:
    cursor.adbc_ingest(prepared.table.relation, prepared.reader(), mode="append", db_schema_name="raw")


def _stage(cursor: Cursor, prepared: Prepared) -> None:
    cursor.execute(f"create temporary table incoming (like {prepared.table.raw}) on commit drop")
    cursor.adbc_ingest("incoming", prepared.reader(), mode="append", temporary=True)
    cursor.execute("analyze incoming")


def _drop_known(cursor: Cursor, table: Table) -> None:
    """Leave out of ``incoming`` what the latest version of its key, or a row in quarantine, says already.

    An extra column that is null says no more than one that is not there.
    """
    same_key = " and ".join(f"{{0}}.{name} = i.{name}" for name in table.key)
    old, new = (
        ", ".join(
            [f"{row}.{name}" for name in table.columns] + [f"nullif(jsonb_strip_nulls({row}._extra), '{{}}')"]
        )
        for row in "ri"
    )
    cursor.execute(
        f"""delete from incoming as i using {table.raw} as r
        where {same_key.format("r")} and ({old}) is not distinct from ({new})
          and r._known_at = (select max(l._known_at) from {table.raw} as l where {same_key.format("l")})"""
    )
    cursor.execute(
        f"""delete from incoming as i using {table.quarantine} as q
        where jsonb_strip_nulls(q.original) = jsonb_strip_nulls({original_of(table, "i")})"""
    )


def _merge(cursor: Cursor, batch: Batch) -> None:
    """``incoming`` into raw; where both hold a key and known-time, the earlier delivery is quarantined.

    The later delivery is the one that arrived later; of one arrival, the one whose file name sorts later
    without its suffix (``2024-01-31`` < ``2024-01-31-corrected``), then the one of the greater batch. A
    file of the very name of an earlier one has replaced it.
    """
    table = batch.table
    names = [*table.key, "_known_at"]
    cursor.execute(
        f"""create temporary table contested on commit drop as
        select {", ".join(f"i.{name}" for name in names)}, r._batch_id, r._row, false as later
        from incoming as i join {table.raw} as r using ({", ".join(names)})"""
    )
    cursor.execute(
        f"""update contested as c
        set later = b.file_name = $2::text
            or ($1::timestamptz, {_stem("$2::text")}, $3::text collate "C")
            > (r._arrived_at, {_stem("b.file_name")}, r._batch_id collate "C")
        from {table.raw} as r join loop.batches as b on b.batch_id = r._batch_id
        where {_same("c", "r", names)}""",
        [batch.arrived_at, batch.file_name, batch.batch_id],
    )
    for loser, beaten in ((table.raw, "c.later"), ("incoming", "not c.later")):
        cursor.execute(
            f"""insert into {table.quarantine} as q
                (batch_id, row_number, rules, detail, original, quarantined_as_of)
            select x._batch_id, x._row, array['{DUPLICATE_KEY}'], '{DETAILS[DUPLICATE_KEY]}',
                {original_of(table, "x")}, x._arrived_at
            from {loser} as x join contested as c on {beaten} and {_same("c", "x", names)}
            on conflict (batch_id, row_number) do update set rules = excluded.rules,
                detail = excluded.detail, quarantined_as_of = excluded.quarantined_as_of,
                readmitted_as_of = null"""
        )
        cursor.execute(
            f"delete from {loser} as x using contested as c where {beaten} and {_same('c', 'x', names)}"
        )
    cursor.execute(
        """update loop.batches as b
        set rows_quarantined = rows_quarantined + beaten, rows_passed = rows_passed - beaten
        from (select _batch_id, count(*) as beaten from contested where later group by _batch_id) as c
        where b.batch_id = c._batch_id"""
    )
    cursor.execute(f"insert into {table.raw} select * from incoming")


def _stem(file_name: str) -> str:
    return rf"""regexp_replace({file_name}, '\.(csv|csv\.gz|parquet)$', '', 'i') collate "C" """


def _same(left: str, right: str, names: list[str]) -> str:
    return " and ".join(f"{left}.{name} = {right}.{name}" for name in names)


def _hold(cursor: Cursor, batch: Batch, held: list[Held], only_new: bool = False) -> None:
    """Rows that cannot be keyed into quarantine; with ``only_new`` those that are not there already."""
    if not held:
        return
    rows = pa.table(
        {
            "row_number": pa.array([row.row for row in held], pa.int64()),
            "rule": [row.rule for row in held],
            "detail": [row.detail for row in held],
            "original": [json.dumps(row.original, ensure_ascii=False) for row in held],
        }
    )
    cursor.adbc_ingest("held", rows, mode="create", temporary=True)
    known = (
        f"exists (select from {batch.table.quarantine} as q"
        " where jsonb_strip_nulls(q.original) = jsonb_strip_nulls(held.original::jsonb))"
    )
    cursor.execute(
        f"""insert into {batch.table.quarantine}
            (batch_id, row_number, rules, detail, original, quarantined_as_of)
        select $1, row_number, array[rule], detail, original::jsonb, $2 from held
        {f"where not {known}" if only_new else ""}""",
        [batch.batch_id, batch.arrived_at],
    )
    cursor.execute("drop table held")


def _quarantined(cursor: Cursor, batch: Batch) -> int:
    return _scalar(
        cursor, f"select count(*) from {batch.table.quarantine} where batch_id = $1", batch.batch_id
    )


def _enter(cursor: Cursor, batch: Batch, rows_in: int, extra_columns: list[str]) -> Loaded:
    quarantined = _quarantined(cursor, batch)
    cursor.execute(
        """insert into loop.batches
            (batch_id, system, table_name, file_name, content_sha256, arrived_at, status,
             rows_in, rows_quarantined, rows_passed, extra_columns)
        values ($1, $2, $3, $4, $5, $6, 'loaded', $7, $8, $9, $10)
        on conflict (batch_id) do update set
            file_name = excluded.file_name, arrived_at = excluded.arrived_at,
            status = 'loaded', reason = null,
            rows_in = excluded.rows_in, rows_quarantined = excluded.rows_quarantined,
            rows_passed = excluded.rows_passed, extra_columns = excluded.extra_columns""",
        [
            batch.batch_id,
            batch.table.system,
            batch.table.name,
            batch.file_name,
            batch.content_sha256,
            batch.arrived_at,
            rows_in,
            quarantined,
            rows_in - quarantined,
            extra_columns,
        ],
    )
    return Loaded(rows_in, quarantined)


def _advance(cursor: Cursor, table: Table, watermark: datetime) -> None:
    cursor.execute(
        """insert into raw._watermarks as w (system, table_name, updated_at) values ($1, $2, $3)
        on conflict (system, table_name) do update
            set updated_at = greatest(w.updated_at, excluded.updated_at)""",
        [table.system, table.name, watermark],
    )
