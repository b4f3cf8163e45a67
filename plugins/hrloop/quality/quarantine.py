"""Rows that break a hard rule leave ``raw`` for quarantine, whole, and come back once they keep all rules."""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa
import pyarrow.csv
from sqlalchemy import Connection, text

from hrloop import as_of as moment
from hrloop import sources
from hrloop.quality.rules import broken
from hrloop.quality.suites import Suite, load_suites
from hrloop.sources import contract, declaration
from hrloop.sources.contract import Table
from hrloop.sources.load import original_of
from hrloop.sources.rows import DETAILS, DUPLICATE_KEY, prepare
from hrloop.warehouse import Warehouse

ROLE = "loader"
LOCK = "hashtext('hrloop.quality')"  # advisory lock: one gate or re-admission at a time


def move(connection: Connection, table: Table, suite: Suite, batches: Sequence[str]) -> int:
    """Move the rows of these batches that break a rule from raw to quarantine; returns how many."""
    moved = connection.execute(
        text(
            f"""
            with broken as materialized ({broken(table, suite, rows_of(table))}),
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


def rows_of(table: Table) -> str:
    """SQL: the rows of the batches in ``:batches``, for :func:`hrloop.quality.rules.broken`."""
    return f"(select ctid as row_id, r.* from {table.raw} as r where _batch_id = any(:batches))"  # noqa: S608


@dataclass(frozen=True)
class Refused:
    """A row that stays in quarantine: where it is, the rules that it breaks, and why in words."""

    batch_id: str
    row_number: int
    rules: list[str]
    detail: str

    def __str__(self) -> str:
        return f"row {self.row_number} of batch {self.batch_id}, {', '.join(self.rules)}: {self.detail}"


@dataclass(frozen=True)
class Readmission:
    """How many rows came back to ``raw``, and which were refused."""

    readmitted: int
    refused: list[Refused]


def readmit(
    wh: Warehouse,
    table: str,
    as_of: datetime,
    repairs: Mapping[str, str | None] | None = None,
    *,
    batch: str | None = None,
    rows: Sequence[int] | None = None,
) -> Readmission:
    """Bring rows of ``<system>.<table>`` that now keep all rules back from quarantine, known from ``as_of``.

    ``batch`` (id or file name) and ``rows`` (their lines) select; without, every row of the table is tried.
    ``repairs`` sets columns of the selected rows and needs both. A row is judged anew, with the keys that
    are known by ``as_of``; it is refused when it breaks a rule, when a row with its key was delivered with it
    or later, and when its batch is held back for another reason than that all of its rows broke rules.
    A batch that failed for that reason alone passes with its first re-admitted row.

    Raises ValueError for an unknown table or column, for repairs without a selection, and for an ``as_of``
    before the batch arrived.
    """
    as_of = moment.utc(as_of)
    if table not in contract.load():
        raise ValueError(f"there is no table {table}; tables are {', '.join(contract.load())}")
    declared = contract.load()[table]
    repairs = dict(repairs or {})
    if unknown := [name for name in repairs if name not in declared.columns]:
        raise ValueError(
            f"{table} has no column {', '.join(unknown)}; name one of {', '.join(declared.columns)}"
        )
    if repairs and (batch is None or not rows):
        raise ValueError("repairs are for rows that you name: give their batch and their row numbers too")
    sources.ensure_tables(wh)
    suite = load_suites(wh.settings.project)[table]
    with wh.engine(ROLE).begin() as connection:
        connection.execute(text(f"select pg_advisory_xact_lock({LOCK})"))
        connection.execute(text("set local timezone = 'UTC'"))
        held = _held(connection, declared, batch, rows)
        if early := [row for row in held if row.arrived_at > as_of]:
            raise ValueError(
                f"batch {early[0].file_name} arrived at {moment.text(early[0].arrived_at)}, after as_of"
                f" {moment.text(as_of)}; re-admit its rows at a later as_of"
            )
        refused = [_held_back(row) for row in held if not row.open]
        candidates = [row for row in held if row.open]
        if candidates:
            refused += _stage(wh, connection, declared, candidates, repairs, as_of)
            refused += _refuse(connection, declared, suite, as_of)
        count = _bring_back(connection, declared, repairs, as_of) if candidates else 0
    return Readmission(count, sorted(refused, key=lambda row: (row.batch_id, row.row_number)))


def _held(connection: Connection, table: Table, batch: str | None, rows: Sequence[int] | None) -> list:
    """Rows in quarantine, oldest delivery first, and whether the state of their batch lets them go."""
    return connection.execute(
        text(
            f"""
            select q.batch_id, q.row_number, q.original, b.file_name, b.arrived_at, b.status,
                b.status = 'passed' or b.status = 'failed' and not exists (
                    select from loop.gate_results as g
                    where g.batch_id = b.batch_id and not g.passed
                      and (g.check_name <> 'rows' or g.observed > 0)) as open
            from {table.quarantine} as q join loop.batches as b using (batch_id)
            where q.readmitted_as_of is null
              and (cast(:batch as text) is null or :batch in (b.batch_id, b.file_name))
              and (cast(:rows as bigint[]) is null or q.row_number = any(:rows))
            order by b.arrived_at, q.batch_id, q.row_number
            """  # noqa: S608
        ),
        {"batch": batch, "rows": None if rows is None else list(rows)},
    ).all()


def _held_back(row) -> Refused:
    reason = {
        "loaded": "has no verdict yet; let the gate judge it first",
        "failed": "is held back for other reasons; deliver a corrected file",
        "superseded": "was replaced by a later delivery; its rows are no longer needed",
    }[row.status]
    return Refused(row.batch_id, row.row_number, [f"batch_{row.status}"], f"batch {row.file_name} {reason}")


def _stage(
    wh: Warehouse, connection: Connection, table: Table, held: list, repairs: dict, as_of: datetime
) -> list[Refused]:
    """Put the rows, repaired and made ready like a delivery, into the temporary table ``candidate``.

    Returns those without a key, and those that another of the rows repeats.
    """
    originals = [row.original | repairs for row in held]
    texts = pa.table(
        {
            name: pa.array([original.get(name) for original in originals], pa.string())
            for name in table.columns
        }
    )
    source = declaration.load(wh.settings).systems.get(table.system)
    ready = prepare(
        table,
        texts,
        pa.array(range(len(held)), pa.int64()),  # for the time being a row's line is its place in ``held``
        batch_id="",
        arrived_at=as_of,
        pseudonym_key=wh.settings.secret("pseudonym_key"),
        time_zone=source.time_zone if source else None,
    )
    rows = ready.rows
    kept = [held[place] for place in rows["_row"].to_pylist()]
    extras = [
        {name: value for name, value in row.original.items() if name not in table.columns} for row in kept
    ]
    own = {
        "_extra": pa.array([json.dumps(extra) if extra else None for extra in extras], pa.string()),
        "_batch_id": pa.array([row.batch_id for row in kept], pa.string()),
        "_row": pa.array([row.row_number for row in kept], pa.int64()),
        "_known_at": pa.array([as_of] * len(kept), pa.timestamp("us", "UTC")),
        "_arrived_at": pa.array([row.arrived_at for row in kept], pa.timestamp("us", "UTC")),
    }
    rows = rows.drop_columns([name for name in own if name in rows.column_names])
    for name, column in own.items():
        rows = rows.append_column(name, column)
    connection.execute(text(f"create temporary table candidate (like {table.raw}) on commit drop"))
    sink = io.BytesIO()
    # Quotes tell an empty text from a missing one, for Arrow as for Postgres.
    pyarrow.csv.write_csv(rows, sink, pyarrow.csv.WriteOptions(quoting_style="all_valid"))
    sink.seek(0)
    with connection.connection.cursor() as cursor:
        columns = ", ".join(f'"{name}"' for name in rows.column_names)
        cursor.copy_expert(f"copy candidate ({columns}) from stdin (format csv, header)", sink)
    return [
        Refused(held[row.row].batch_id, held[row.row].row_number, [row.rule], DETAILS[row.rule])
        for row in ready.held
    ]


def _refuse(connection: Connection, table: Table, suite: Suite, as_of: datetime) -> list[Refused]:
    """Take the candidates that break a rule, or that a row with their key has overtaken, out again."""
    same_key = " and ".join(f"r.{name} = c.{name}" for name in table.key)
    rows = "(select ctid as row_id, c.* from candidate as c)"
    judged = f"""
        select row_id, rules, detail
        from ({broken(table, suite, rows, "cast(:as_of as timestamptz)")}) as b
        union all
        select c.ctid, array['{DUPLICATE_KEY}'],
            'a row with the same key that was delivered with it or later stands'
        from candidate as c
        where exists (select from {table.raw} as r where {same_key} and r._arrived_at >= c._arrived_at)
    """  # noqa: S608
    refused = connection.execute(
        text(
            f"""
            with judged as materialized ({judged}),
            refused as (
                delete from candidate as c using judged as j where c.ctid = j.row_id
                returning c._batch_id, c._row, c.ctid as row_id
            )
            select r._batch_id, r._row, j.rules, j.detail
            from refused as r join judged as j using (row_id)
            """  # noqa: S608
        ),
        {"as_of": as_of},
    ).all()
    found: dict[tuple[str, int], Refused] = {}
    for batch_id, row_number, rules, detail in refused:
        earlier = found.get((batch_id, row_number))
        found[batch_id, row_number] = Refused(
            batch_id,
            row_number,
            [*(earlier.rules if earlier else []), *rules],
            "; ".join([*([earlier.detail] if earlier else []), detail]),
        )
    return list(found.values())


def _bring_back(connection: Connection, table: Table, repairs: dict, as_of: datetime) -> int:
    """Move the remaining candidates to ``raw``, and set the counts and states of their batches."""
    columns = ", ".join([*table.columns, *table.keys_of_persons.values(), "_extra", "_batch_id", "_row"])
    columns += ", _happened_at, _known_at, _arrived_at"
    batches = list(connection.scalars(text("select distinct _batch_id from candidate")))
    count = connection.execute(
        text(f"insert into {table.raw} ({columns}) select {columns} from candidate")  # noqa: S608
    ).rowcount
    words = "; re-admitted" + (f" with {json.dumps(repairs, ensure_ascii=False)}" if repairs else "")
    connection.execute(
        text(
            f"""
            update {table.quarantine} as q set readmitted_as_of = :as_of, detail = q.detail || :words
            from candidate as c where q.batch_id = c._batch_id and q.row_number = c._row
            """  # noqa: S608
        ),
        {"as_of": as_of, "words": words},
    )
    recount(connection, table, batches)
    passed = connection.scalars(
        text(
            "update loop.batches set status = 'passed', reason = null"
            " where batch_id = any(:batches) and status = 'failed' returning batch_id"
        ),
        {"batches": batches},
    ).all()
    connection.execute(
        text(
            "update loop.gate_results as g set passed = true, observed = b.rows_passed,"
            " detail = g.detail || ' Re-admitted since: ' || b.rows_passed || ' rows.'"
            " from loop.batches as b where b.batch_id = g.batch_id and g.batch_id = any(:passed)"
            " and g.check_name = 'rows'"
        ),
        {"passed": list(passed)},
    )
    return count
