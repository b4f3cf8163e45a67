"""Connections to the warehouse by role, and rows in bulk in and out of it."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import adbc_driver_manager as driver
import pyarrow as pa
import pyarrow.compute as pc
from adbc_driver_postgresql import dbapi
from sqlalchemy import URL, Engine, create_engine, make_url, text

from hrloop import arrow
from hrloop.settings import Settings

ROLES = ("loader", "transformer", "engine", "analyst", "fairness")
SERVICES = ("airflow", "mlflow")  # each owns a database of its own name
UNIQUE_VIOLATION = "23505"
_BINARY = {  # for each type in the schema loop, the Arrow type that a binary COPY into it reads
    "pg_catalog.text": pa.string(),
    "pg_catalog.bool": pa.bool_(),
    "pg_catalog.int4": pa.int32(),
    "pg_catalog.int8": pa.int64(),
    "pg_catalog.float8": pa.float64(),
    "pg_catalog.timestamptz": pa.timestamp("us", "UTC"),
    "pg_catalog._text": pa.list_(pa.string()),
    "pg_catalog._int4": pa.list_(pa.int32()),
    "pg_catalog.jsonb": pa.string(),
}
AT_ONCE = 20_000  # rows made ready for a copy while Postgres takes in those before
_PARAMETER = re.compile(r"(?<!:):([a-z_][a-z0-9_]*)")


@dataclass(frozen=True)
class Warehouse:
    """One warehouse database and the keys to it; engines are kept per role and process."""

    host: str
    port: int
    database: str
    settings: Settings
    admin: URL
    _engines: dict[str, Engine] = field(default_factory=dict, repr=False)
    _idle: dict[str, list[dbapi.Connection]] = field(default_factory=dict, init=False, repr=False)

    @classmethod
    def at(cls, admin_url: str | URL, settings: Settings, database: str | None = None) -> "Warehouse":
        """The warehouse in the Postgres that this administrator's URL leads to."""
        admin = make_url(admin_url)
        return cls(
            host=admin.host or "127.0.0.1",
            port=admin.port or 5432,
            database=database or settings.database,
            settings=settings,
            admin=admin,
        )

    def url(self, role: str, driver: str = "postgresql+psycopg2") -> URL:
        """URL of a role: ``admin``, one of ROLES, or a service (which leads to the service's database)."""
        if role == "admin":
            return self.admin.set(drivername=driver, database=self.database)
        if role not in ROLES + SERVICES:
            raise ValueError(f"there is no role {role!r}; roles are admin, {', '.join(ROLES + SERVICES)}")
        return self.admin.set(
            drivername=driver,
            username=role,
            password=self.settings.secret(f"postgres_{role}"),
            database=role if role in SERVICES else self.database,
        )

    def engine(self, role: str) -> Engine:
        """The SQLAlchemy engine of a role."""
        if role not in self._engines:
            self._engines[role] = create_engine(self.url(role), pool_pre_ping=True, pool_size=2)
        return self._engines[role]

    def dispose(self) -> None:
        """Close all pooled connections (before a fork, or when the database is to go)."""
        for engine in self._engines.values():
            engine.dispose()
        self._engines.clear()
        for connections in self._idle.values():
            while connections:
                connections.pop().close()

    @contextmanager
    def adbc(self, role: str) -> Iterator[dbapi.Connection]:
        """An ADBC connection of a role in a transaction: committed at the end, rolled back on an error.

        Connections are kept for the next use: to open one takes 45 ms of work, as the driver reads every
        type of the database.
        """
        connection = self._kept(role) or self._opened(role)
        try:
            yield connection
            connection.commit()
            connection.adbc_connection.set_autocommit(True)  # or the next transaction would begin here
        except BaseException:
            connection.close()  # which rolls back
            raise
        self._idle.setdefault(role, []).append(connection)

    def _opened(self, role: str) -> dbapi.Connection:
        return dbapi.connect(self.url(role, driver="postgresql").render_as_string(hide_password=False))

    def _kept(self, role: str) -> dbapi.Connection | None:
        """A connection from an earlier use, in a new transaction, if one is left that still works."""
        while connections := self._idle.get(role):
            connection = connections.pop()
            try:
                connection.adbc_connection.set_autocommit(False)
                with connection.cursor() as cursor:
                    cursor.execute("select")
                return connection
            except dbapi.Error:  # the server was restarted, or has ended this connection
                connection.close()
        return None

    def read(self, role: str, sql: str, **parameters) -> pa.Table:
        """Rows of a query in bulk. Parameters are named as in ``where as_of <= :as_of``, and bound.

        By psycopg2, as ADBC reads the rows of a query that it binds itself one by one, and not by COPY.
        """
        if parameters:
            named = _PARAMETER.sub(r"%(\1)s", sql.replace("%", "%%"))
            with self.engine(role).connect() as connection, connection.connection.cursor() as cursor:
                sql = cursor.mogrify(named, parameters).decode()
        with self.adbc(role) as connection, connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetch_arrow_table()

    def merge(self, role: str, tables: Mapping[str, pa.Table]) -> int:
        """Append the rows that are not there yet, in one transaction; values are cast to the tables' types.

        ``tables``: name → rows, written in this order; a struct is written as a JSON object. A row that meets
        a primary key or unique constraint is left out. Returns how many were added.
        """
        try:
            with self.adbc(role) as connection, connection.cursor() as cursor:
                return sum(_copy(cursor, role, table, rows) for table, rows in tables.items())
        except driver.IntegrityError as error:
            if error.sqlstate != UNIQUE_VIOLATION:
                raise
        with self.adbc(role) as connection, connection.cursor() as cursor:
            return sum(_append(cursor, role, table, rows) for table, rows in tables.items())

    def environment(self) -> dict[str, str]:
        """What a dbt process needs to connect as the transformer."""
        url = self.url("transformer")
        return {
            "HRLOOP_PG_HOST": self.host,
            "HRLOOP_PG_PORT": str(self.port),
            "HRLOOP_PG_DATABASE": self.database,
            "HRLOOP_PG_TRANSFORMER_PASSWORD": str(url.password),
        }

    def exists(self) -> bool:
        """Whether the warehouse database is there."""
        engine = create_engine(self.admin.set(drivername="postgresql+psycopg2"))
        try:
            with engine.connect() as connection:
                return bool(
                    connection.scalar(
                        text("select true from pg_database where datname = :name"), {"name": self.database}
                    )
                )
        finally:
            engine.dispose()


def _copy(cursor: dbapi.Cursor, role: str, table: str, rows: pa.Table) -> int:
    """Copy rows straight into a table: the faster way, where all of them are new to it."""
    types = _types(cursor, role, table, rows)
    names = rows.column_names

    def ready() -> Iterator[pa.RecordBatch]:
        for part in rows.to_batches(max_chunksize=AT_ONCE):
            yield pa.record_batch([_binary(part[name], types[name]) for name in names], names=names)

    reader = pa.RecordBatchReader.from_batches(
        pa.schema([(name, _BINARY[types[name]]) for name in names]), ready()
    )
    schema, name = table.split(".")
    return cursor.adbc_ingest(name, reader, mode="append", db_schema_name=schema)


def _binary(column: pa.Array, kind: str) -> pa.Array:
    """A column as Postgres's binary COPY wants it for a type; jsonb is a version byte and the text."""
    if kind == "pg_catalog.jsonb":
        return pc.binary_join_element_wise("\x01", _as_text(column), "").cast(pa.string())
    return column.cast(_BINARY[kind])


def _as_text(column: pa.Array) -> pa.Array:
    """Structs as JSON objects; any other column as it is."""
    if pa.types.is_struct(column.type):
        return arrow.json_objects(pa.Table.from_struct_array(column))
    return column


def _append(cursor: dbapi.Cursor, role: str, table: str, rows: pa.Table) -> int:
    """Append those rows that do not meet a key, by way of a temporary table."""
    types = _types(cursor, role, table, rows)
    texts = pa.table({name: _as_text(rows[name].combine_chunks()) for name in rows.column_names})
    cursor.adbc_ingest("incoming", texts, mode="create", temporary=True)
    columns = ", ".join(f'"{column}"' for column in rows.column_names)
    values = ", ".join(f'"{column}"::{types[column]}' for column in rows.column_names)
    cursor.execute(
        f"insert into {table} ({columns}) select {values} from incoming"  # noqa: S608
        " on conflict do nothing"
    )
    added = cursor.rowcount
    cursor.execute("drop table incoming")
    return added


def _types(cursor: dbapi.Cursor, role: str, table: str, rows: pa.Table) -> dict[str, str]:
    """Type of each column of a table. Raises ValueError when it lacks one of the rows' columns."""
    schema, name = table.split(".")
    cursor.execute(
        "select column_name, udt_schema || '.' || udt_name from information_schema.columns"
        " where table_schema = $1 and table_name = $2",
        [schema, name],
    )
    types = dict(cursor.fetchall())
    unknown = [column for column in rows.column_names if column not in types]
    if unknown:
        raise ValueError(f"{table} has no column {', '.join(unknown)}, or {role} may not see it")
    return types
