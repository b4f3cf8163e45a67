"""Reports to be opened in a browser: an experiment, a week, or drift."""

import pandas as pd
import typer
from rich.console import Console
from rich.table import Table

from hrloop.cli.app import AsOf, UseCaseName, loop
from hrloop.rhythms import reports

app = typer.Typer(no_args_is_help=True, help="Write a report as one HTML file, and say where it is.")
console = Console()


@app.command()
def experiment(use_case: UseCaseName) -> None:
    """The newest experiment of a use case: verdict, looks, search."""
    console.print(reports.experiment(loop(), use_case))


@app.command()
def week(as_of: AsOf) -> None:
    """What changed in the seven days before, and what the rhythms found."""
    console.print(reports.weekly(loop(), as_of))


@app.command()
def drift(use_case: UseCaseName, as_of: AsOf) -> None:
    """How far each feature has moved since the cases that the champion was fitted on."""
    path, found = reports.drift(loop(), use_case, as_of)
    table = Table("feature", "PSI", "band", "KS distance", "p", title="Newest cases beside those learnt from")
    for row in found.itertuples():
        figures = ("–", "–") if pd.isna(row.ks) else (f"{row.ks:.3f}", f"{row.p_value:.3g}")
        table.add_row(row.feature, f"{row.psi:.3f}", row.band, *figures)
    console.print(table)
    console.print(path)
