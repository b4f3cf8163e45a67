"""The tables that source rows live in, and who may read which of their columns."""

# ruff: noqa: S608 - names in statements are checked by the contract to be plain; values are bound

import hashlib

from sqlalchemy import Connection, text

from hrloop.sources import contract
from hrloop.sources.contract import Table
from hrloop.warehouse import Warehouse


def ensure_tables(wh: Warehouse) -> bool:
    """Make or extend ``raw``, ``quarantine`` and ``protected`` to what the contract says.

    A column that is new in the contract is added; nothing is ever dropped. True when there was anything
    to do, which a stamp on the schema tells.
    """
    tables = contract.load().values()
    statements = [statement for table in tables for statement in _statements(table)]
    statements += _watermarks()
    stamp = "source contract " + hashlib.sha256("\n".join(statements).encode()).hexdigest()[:16]
    with wh.engine("loader").begin() as connection:
        if _stamp(connection) == stamp:
            return False
        connection.execute(text("select pg_advisory_xact_lock(hashtext('hrloop.sources.tables'))"))
        # Utility statements take no parameters; the stamp is hexadecimal digits.
        connection.exec_driver_sql(";\n".join([*statements, f"comment on schema raw is '{stamp}'"]))
    return True


def _stamp(connection: Connection) -> str | None:
    return connection.scalar(text("select obj_description('raw'::regnamespace, 'pg_namespace')"))


def _statements(table: Table) -> list[str]:
    """DDL of one table. Every name in it has been checked by the contract to be a plain identifier."""
    pseudonyms = table.keys_of_persons.values()
    readable = [name for name in table.columns if name not in table.withheld]
    readable += [*pseudonyms, "_batch_id", "_row", "_happened_at", "_known_at", "_arrived_at"]
    columns = [f"{name} text" + (" not null" if name in table.key else "") for name in table.columns]
    columns += [f"{name} text" for name in pseudonyms]
    description = table.description.replace("'", "''")
    return [
        f"""create table if not exists {table.raw} (
            {", ".join(columns)},
            _extra jsonb, _batch_id text not null, _row bigint not null, _happened_at timestamptz,
            _known_at timestamptz not null, _arrived_at timestamptz not null,
            primary key ({", ".join(table.key)}, _known_at))""",
        *(
            f"alter table {table.raw} add column if not exists {name} text"
            for name in [*table.columns, *pseudonyms]
        ),
        f"comment on table {table.raw} is '{description} Values as delivered, as text.'",
        # Rows of a batch lie together, and so do those that became known together: block range indexes find
        # them at hardly any cost on load.
        *(
            f"create index if not exists {table.relation}_{name} on {table.raw}"
            f" using brin ({column}) with (pages_per_range = 32, autosummarize = on)"
            for name, column in (("batch", "_batch_id"), ("known", "_known_at"))
        ),
        f"""create table if not exists {table.quarantine} (
            batch_id text not null, row_number bigint not null, rules text[] not null, detail text not null,
            original jsonb not null, quarantined_as_of timestamptz, readmitted_as_of timestamptz,
            primary key (batch_id, row_number))""",
        f"comment on table {table.quarantine} is"
        f" 'Rows of {table.full_name} that broke a rule, whole; rows in = rows passed + rows here.'",
        # The open identifiers of persons stay with the loader: from staging on there are pseudonyms only.
        f"revoke all on {table.raw} from transformer",
        f"grant select ({', '.join(readable)}) on {table.raw} to transformer",
        *_protected(table),
    ]


def _protected(table: Table) -> list[str]:
    if not table.protected:
        return []
    key = [table.keys_of_persons.get(name, name) for name in table.key]
    view = f"protected.{table.relation}"
    return [
        f"create or replace view {view} as select"
        f" {', '.join([*key, *table.protected])}, _known_at, _batch_id from {table.raw}",
        f"comment on view {view} is 'Protected attributes, for the fairness step alone.'",
        f"grant select on {view} to fairness",
    ]


def _watermarks() -> list[str]:
    return [
        """create table if not exists raw._watermarks (
            system text, table_name text, updated_at timestamptz not null,
            primary key (system, table_name))""",
        "comment on table raw._watermarks is 'Last change that a pulled source has delivered.'",
    ]
