"""Reports to be opened in a browser: an experiment, or a week."""

import typer
from rich.console import Console

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
