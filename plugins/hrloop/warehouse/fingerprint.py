"""One hash for the content of a table: equal content, equal hash, in whatever order it was written."""

from sqlalchemy import text

from hrloop.warehouse.connections import Warehouse

# Wall-clock stamps and counters of the machinery, and what a build worked through (dbt/macros/growth.sql);
# everything else must be reproducible.
OPERATIONAL = {
    "loaded_at", "recorded_at", "started_at", "finished_at", "sequence", "stands_on", "since", "changed_case",
}  # fmt: skip


def fingerprint(warehouse: Warehouse, table: str, role: str = "admin") -> str:
    """MD5 over the sorted hashes of all rows of ``schema.table``, without operational columns.

    A table that has no other columns counts as empty.

    Raises ValueError when there is no such table.
    """
    schema, name = table.split(".")
    with warehouse.engine(role).connect() as connection:
        columns = connection.scalars(
            text(
                "select column_name from information_schema.columns"
                " where table_schema = :schema and table_name = :name order by column_name"
            ),
            {"schema": schema, "name": name},
        ).all()
        if not columns:
            raise ValueError(f"there is no table {table}")
        quote = connection.dialect.identifier_preparer.quote
        fields = ", ".join(f"t.{quote(column)}" for column in columns if column not in OPERATIONAL)
        # The identifiers come from the catalogue and are quoted; there is no value in the statement.
        lines = (
            f"select md5(row({fields})::text) as line from {quote(schema)}.{quote(name)} as t"  # noqa: S608
            f" where {bool(fields)}"
        )
        return connection.scalar(
            text(f"select md5(coalesce(string_agg(line, '' order by line), '')) from ({lines}) as lines")  # noqa: S608
        )
