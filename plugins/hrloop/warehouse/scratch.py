"""A warehouse to try something in, beside the real one."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from sqlalchemy import create_engine, text

from hrloop.warehouse.bootstrap import bootstrap
from hrloop.warehouse.connections import Warehouse

_LOCK = 7_402_193_312  # advisory lock: one scratch warehouse at a time per server


@contextmanager
def scratch(wh: Warehouse) -> Iterator[Warehouse]:
    """An empty warehouse on the same server, with the same roles, dropped at the end; a second one waits.

    One that a killed process left behind is dropped first.
    """
    beside = replace(wh, database=f"{wh.database}_scratch", _engines={})
    server = create_engine(wh.admin.set(drivername="postgresql+psycopg2"), isolation_level="AUTOCOMMIT")
    try:
        with server.connect() as connection:
            quote = connection.dialect.identifier_preparer.quote
            drop = text(f"drop database if exists {quote(beside.database)} with (force)")
            connection.execute(text("select pg_advisory_lock(:key)"), {"key": _LOCK})
            connection.execute(drop)
            try:
                bootstrap(beside)
                yield beside
            finally:
                beside.dispose()
                connection.execute(drop)
                connection.execute(text("select pg_advisory_unlock(:key)"), {"key": _LOCK})
    finally:
        server.dispose()
