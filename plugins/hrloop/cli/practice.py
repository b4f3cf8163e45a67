"""The practice company: its past, and its next month under the loop's decisions."""

from datetime import datetime, timedelta
from typing import Annotated

import pandas as pd
import typer
from rich.console import Console

from hrloop import practice, reviews
from hrloop.cli.app import AsOf, UseCaseName, loop
from hrloop.usecase import UseCase
from hrloop.warehouse import Warehouse

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
    console.print(practice.answer(current.settings, month, decided(current.warehouse)))


@app.command()
def review(
    use_case: UseCaseName,
    as_of: AsOf,
    limit: Annotated[int, typer.Option(min=1, help="At most so many decisions.")] = 400,
) -> None:
    """Let the recruiters review what waits for them, a day after the round."""
    current = loop()
    number = reviewed(current.warehouse, current.use_case(use_case), as_of, limit)
    console.print(f"{number} decisions were reviewed.")


def reviewed(warehouse: Warehouse, use_case: UseCase, as_of: datetime, limit: int) -> int:
    """Record what the company's recruiters say to the decisions of one round; how many.

    The same decisions are reviewed however often it is run.
    """
    waiting = warehouse.read(
        "engine",
        "select decision_id, features ->> 'job_family' as job_family from loop.decisions"
        " where use_case = :use_case and as_of = :as_of and route = 'review'"
        " order by confidence, decision_id limit :limit",
        use_case=use_case.name,
        as_of=as_of,
        limit=limit,
    ).to_pandas()
    for row in practice.review(waiting).itertuples():
        reviews.record(
            warehouse,
            use_case,
            row.decision_id,
            row.reviewer,
            row.verdict,
            as_of + timedelta(days=1),
            reason_code=row.reason_code,
            words=row.words,
        )
    return len(waiting)


def decided(warehouse: Warehouse) -> pd.DataFrame:
    """The loop's recorded decisions as the practice company takes them, one row an application.

    ``action`` is what a reviewer said, where one did. Practice is for every use case whose cases are
    applications; there is one decision a case.
    """
    return warehouse.read(
        "engine",
        """
        select distinct on (decisions.case_key)
            decisions.case_key as application_id,
            decisions.recommended_action,
            decisions.rank,
            decisions.exploration,
            reviews.action
        from loop.decisions as decisions
        left join loop.reviews as reviews on decisions.decision_id = reviews.decision_id
        order by decisions.case_key, reviews.reviewed_at desc
        """,
    ).to_pandas()
