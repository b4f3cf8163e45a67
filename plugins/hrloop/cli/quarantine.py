"""Rows that broke a hard rule: see them, and bring the repaired ones back."""

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from hrloop import quality
from hrloop.cli.app import AsOf, loop
from hrloop.sources import contract

app = typer.Typer(
    no_args_is_help=True, help="Rows that broke a hard rule: see them, bring repaired ones back."
)
console = Console()
SourceTable = Annotated[str, typer.Argument(help="Table of the source contract, such as ats.applications.")]


@app.command("list")
def held(
    table: SourceTable,
    limit: Annotated[int, typer.Option(min=1, help="How many to show.")] = 50,
) -> None:
    """Show the rows of a table that are held, with the rules they broke."""
    tables = contract.load()
    if table not in tables:
        raise ValueError(f"there is no table {table}; tables are {', '.join(tables)}")
    # The name of the table comes from the contract.
    query = f"""
        select b.file_name, q.batch_id, q.row_number, q.rules, q.detail
        from quarantine.{table.replace(".", "__")} as q join loop.batches as b using (batch_id)
        where q.readmitted_as_of is null order by b.arrived_at, q.row_number limit :limit
    """  # noqa: S608
    rows = loop().warehouse.read("loader", query, limit=limit)
    shown = Table("batch", "file", "row", "rules", "detail")
    for row in rows.to_pylist():
        shown.add_row(
            row["batch_id"], row["file_name"], str(row["row_number"]), ", ".join(row["rules"]), row["detail"]
        )
    console.print(shown if rows.num_rows else f"No row of {table} is held.")


@app.command()
def readmit(
    table: SourceTable,
    as_of: AsOf,
    batch: Annotated[str | None, typer.Option(help="Batch id or file name; default: all.")] = None,
    row: Annotated[list[int] | None, typer.Option(help="Row number; may be repeated.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="Repair: column=value.")] = None,
) -> None:
    """Bring back the rows that keep all rules by now, or after a repair of the rows named."""
    repairs: dict[str, str | None] = {}
    for repair in set_ or []:
        column, equals, value = repair.partition("=")
        if not equals:
            raise typer.BadParameter(f"--set {repair}: write column=value")
        repairs[column] = value or None
    done = quality.readmit(loop().warehouse, table, as_of, repairs, batch=batch, rows=row)
    console.print(f"{done.readmitted} rows of {table} are back in raw, known from this as_of on.")
    for refusal in done.refused:
        console.print(f"refused: {refusal}")
