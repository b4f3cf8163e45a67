"""What database and API sources have in common: where a pull begins, what it brings, how it fails."""

import hashlib
import io
from collections.abc import Iterable, Mapping
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
from sqlalchemy import text

from hrloop.sources.contract import Table
from hrloop.sources.rows import MOMENT, moments_of, text_of
from hrloop.warehouse import Warehouse


class SourceError(RuntimeError):
    """A source could not be reached or read; the message names system and table."""


def as_rows(records: Iterable[Mapping[str, object]], names: list[str] | None = None) -> pa.Table:
    """Records as text columns: those of ``names``, or all that any record has, in order of appearance."""
    columns: dict[str, list[str | None]] = {name: [] for name in names or []}
    count = 0
    for count, record in enumerate(records, start=1):
        for name, value in record.items():
            if name not in columns:
                columns[name] = [None] * (count - 1)
            columns[name].append(text_of(value))
        for values in columns.values():
            if len(values) < count:
                values.append(None)
    return pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()})


def until(
    rows: pa.Table, lines: pa.Array, as_of: datetime, time_zone: str | None
) -> tuple[pa.Table, pa.Array, datetime | None]:
    """The rows updated by ``as_of`` with their lines, and the last of their updates.

    All rows where none tells its update.
    """
    if "updated_at" not in rows.column_names:
        return rows, lines, None
    updated = moments_of(rows["updated_at"], time_zone)
    seen = pc.fill_null(pc.less_equal(updated, pa.scalar(as_of, MOMENT)), True)
    return rows.filter(seen), lines.filter(seen.combine_chunks()), pc.max(updated.filter(seen)).as_py()


def content_sha256(rows: pa.Table) -> str:
    """Hash of what a pull brought."""
    written = io.BytesIO()
    pyarrow.csv.write_csv(rows, written)
    return hashlib.sha256(written.getbuffer()).hexdigest()


def watermark(wh: Warehouse, table: Table) -> datetime | None:
    """The last change that a pull of the table has delivered; None before the first."""
    with wh.engine("loader").connect() as connection:
        return connection.scalar(
            text("select updated_at from raw._watermarks where system = :system and table_name = :name"),
            {"system": table.system, "name": table.name},
        )
