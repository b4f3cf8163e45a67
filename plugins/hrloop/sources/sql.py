"""Rows of a SQL database, by any SQLAlchemy URL: those changed since the last pull, where it can tell."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pyarrow as pa
from sqlalchemy import Connection, MetaData, Select, create_engine, select, text
from sqlalchemy import Table as SqlRelation
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.types import DateTime, TypeEngine

from hrloop.sources.contract import Table
from hrloop.sources.declaration import SqlSource, SqlTable
from hrloop.sources.pull import SourceError, as_rows

_FIRST = datetime(1, 1, 2, tzinfo=UTC)  # what a query's :since is before the first pull


def pull(
    url: str, source: SqlSource, given: SqlTable, table: Table, since: datetime | None, as_of: datetime
) -> pa.Table:
    """Rows of a declared table or query as text columns under the source's own names.

    A declared ``table`` is asked for rows whose update is not before ``since``, if that column is a time in
    the database too; else all rows are read. A ``query`` may bind ``:since`` and ``:as_of``. Times without
    a zone are those of the declared ``time_zone``. Raises SourceError when the database cannot be read.
    """
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            statement = _statement(connection, source, given, since, as_of)
            result = connection.execution_options(stream_results=True).execute(statement)
            return as_rows(result.mappings(), list(result.keys()))
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", None) or error).strip()
        raise SourceError(f"{table.full_name} could not be read from its database: {reason}") from error
    finally:
        engine.dispose()


def _statement(
    connection: Connection, source: SqlSource, given: SqlTable, since: datetime | None, as_of: datetime
) -> Select:
    if given.query is not None:
        query = text(given.query)
        values = {"since": _local(since or _FIRST, source), "as_of": _local(as_of, source)}
        return query.bindparams(**{name: values[name] for name in query._bindparams if name in values})
    schema, _, name = given.table.rpartition(".")
    relation = SqlRelation(name, MetaData(), schema=schema or None, autoload_with=connection)
    changed = next((old for old, new in given.rename.items() if new == "updated_at"), "updated_at")
    statement = select(relation)
    if since is not None and changed in relation.c and isinstance(relation.c[changed].type, DateTime):
        statement = statement.where(relation.c[changed] >= _bound(since, relation.c[changed].type, source))
    return statement


def _bound(moment: datetime, column: TypeEngine, source: SqlSource) -> datetime:
    return moment if column.timezone else _local(moment, source).replace(tzinfo=None)


def _local(moment: datetime, source: SqlSource) -> datetime:
    return moment.astimezone(ZoneInfo(source.time_zone) if source.time_zone else UTC)
