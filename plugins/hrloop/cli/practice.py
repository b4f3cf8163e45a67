"""The practice company: its past, and its next month under the loop's decisions."""

from typing import Annotated

import typer
from rich.console import Console

from hrloop import practice
from hrloop.cli.app import AsOf, UseCaseName, loop
from hrloop.replay.company import alerted, decided, reviewed

app = typer.Typer(
    no_args_is_help=True, help="A company to practise on: writes the exports of an ATS and HRIS."
)
console = Console()


@app.command()
def history(
    months: Annotated[int, typer.Option(min=1, help="Months to write.")] = 36,
    applications: Annotated[int, typer.Option(min=1, help="Applications a month.")] = 1500,
    seed: Annotated[int, typer.Option(help="The same seed, the same files.")] = 7,
) -> None:
    """Write the exports of the past into the landing folder."""
    report = practice.history(loop().settings, months, seed, applications)
    console.print(report)


@app.command()
def answer(month: Annotated[str, typer.Argument(help="Month that was decided on, such as 2026-07.")]) -> None:
    """Live through the month after it, under the loop's recorded decisions, and export it."""
    current = loop()
    use_cases = current.use_cases().values()
    report = practice.answer(
        current.settings,
        month,
        decided(current.warehouse, use_cases),
        alerted(current.warehouse, use_cases),
    )
    console.print(report)


@app.command()
def review(
    use_case: UseCaseName,
    as_of: AsOf,
    limit: Annotated[int, typer.Option(min=1, help="At most so many decisions.")] = 400,
) -> None:
    """Let the company's people review what waits for them, a day after the round."""
    current = loop()
    number = reviewed(current.warehouse, current.use_case(use_case), as_of, limit)
    console.print(f"{number} decisions were reviewed.")
