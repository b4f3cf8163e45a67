"""What the loop is worth: the savings of a year beside its cost."""

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from hrloop.evaluation.returns import Returns

console = Console()


def register(app: typer.Typer) -> None:
    """Add the command to the root."""
    app.command()(roi)


def roi(
    saved: Annotated[list[float], typer.Option(help="What one thing saves in a year; once for each thing.")],
    cost: Annotated[float, typer.Option(help="What the loop costs in a year, in the same currency.")],
) -> None:
    """Show the gross ratio and the net return on investment of a year, which differ by one."""
    found = Returns(sum(saved), cost)
    table = Table("figure", "how", "of the cost")
    table.add_row("gross ratio", "saved / cost", f"{found.gross_ratio:.0%}")
    table.add_row("net ROI", "(saved - cost) / cost", f"{found.net_roi:.0%}")
    console.print(table)
