"""A company with n applications in 36 months, and the month after, as loader and gate would leave it."""

from datetime import UTC, datetime
from pathlib import Path

from hrloop import sources
from hrloop.sources import contract
from hrloop.warehouse import Warehouse
from sqlalchemy import text

MONTHS = 36  # of history; one more is the new month
_ROWS = Path(__file__).with_suffix(".sql").read_text(encoding="utf-8")


def as_of(month: int) -> datetime:
    """When the rows of a month (0 to MONTHS) are all known."""
    year, of_year = divmod(month + 1, 12)
    return datetime(2023 + year, of_year + 1, 1, 6, tzinfo=UTC)


def deliver(wh: Warehouse, n: int, first: int, last: int) -> None:
    """Put what becomes known from one month to another into ``raw``, which ``clear`` has emptied before."""
    with wh.engine("loader").begin() as connection:
        connection.execute(text(_ROWS), {"n": n, "first": first, "last": last})
    with wh.engine("loader").connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for table in contract.load().values():  # as Postgres does by itself, a minute after a large delivery
            connection.exec_driver_sql(f"vacuum (analyze) {table.raw}")


def clear(wh: Warehouse) -> None:
    """Make the tables of ``raw``, and empty them and the list of batches."""
    sources.ensure_tables(wh)
    with wh.engine("admin").begin() as connection:
        connection.execute(text(f"truncate {', '.join(table.raw for table in contract.load().values())}"))
        connection.execute(text("delete from loop.batches"))
