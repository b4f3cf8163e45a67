"""The practice company: its past, and its next month under the loop's decisions."""

import json
from collections.abc import Iterable
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

# What a case is, in this company: who reviews the decisions on it, and the features that they are shown.
APPLICATION, EMPLOYEE_MONTH = "application_id", "employee_month_id"
REVIEWED_BY = {
    APPLICATION: (practice.review, ["job_family"]),
    EMPLOYEE_MONTH: (practice.review_warnings, ["overtime_up", "messages_down", "survey_down"]),
}


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


def reviewed(warehouse: Warehouse, use_case: UseCase, as_of: datetime, limit: int) -> int:
    """Record what the company's people say to the decisions of one round; how many.

    The same decisions are reviewed however often it is run. Raises ValueError where nobody in this company
    reviews such cases.
    """
    if use_case.decision.case_key not in REVIEWED_BY:
        raise ValueError(
            f"nobody in the practice company reviews decisions on {use_case.decision.case_key}; its people"
            f" review those on {' and '.join(REVIEWED_BY)}"
        )
    say, shown = REVIEWED_BY[use_case.decision.case_key]
    waiting = warehouse.read(
        "engine",
        "select decision_id, features::text as features from loop.decisions"
        " where use_case = :use_case and as_of = :as_of and route = 'review'"
        " order by confidence, decision_id limit :limit",
        use_case=use_case.name,
        as_of=as_of,
        limit=limit,
    ).to_pandas()
    seen = pd.DataFrame(map(json.loads, waiting["features"]), columns=shown)
    for row in say(seen.assign(decision_id=waiting["decision_id"])).itertuples():
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


def decided(warehouse: Warehouse, use_cases: Iterable[UseCase]) -> pd.DataFrame | None:
    """The loop's recorded decisions on applications as the practice company takes them, one row each.

    ``action`` is what a reviewer said, where one did. None where no use case decides on applications.
    """
    found = [
        warehouse.read(
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
            where decisions.use_case = :use_case
            order by decisions.case_key, reviews.reviewed_at desc
            """,
            use_case=use_case.name,
        ).to_pandas()
        for use_case in use_cases
        if use_case.decision.case_key == APPLICATION
    ]
    return pd.concat(found, ignore_index=True) if found else None


def alerted(warehouse: Warehouse, use_cases: Iterable[UseCase]) -> pd.DataFrame | None:
    """The loop's recorded decisions on employees' months as the practice company takes them, one row each.

    ``action`` is what a reviewer said, where one did. The loop knows employees by pseudonym; whose each is,
    only the loader can tell, as the company's own HR system could. None where no use case decides on them.
    """
    found = [
        warehouse.read(
            "engine",
            """
            select distinct on (decisions.case_key)
                decisions.subject_key as employee_key,
                right(decisions.case_key, 7) as month,
                coalesce(reviews.action, decisions.recommended_action) = :positive as alert
            from loop.decisions as decisions
            left join loop.reviews as reviews on decisions.decision_id = reviews.decision_id
            where decisions.use_case = :use_case
            order by decisions.case_key, reviews.reviewed_at desc
            """,
            use_case=use_case.name,
            positive=use_case.decision.actions.positive,
        ).to_pandas()
        for use_case in use_cases
        if use_case.decision.case_key == EMPLOYEE_MONTH
    ]
    if not found:
        return None
    names = warehouse.read("loader", "select distinct employee_key, employee_id from raw.hris__employees")
    alerts = pd.concat(found, ignore_index=True).merge(names.to_pandas(), how="left")
    action = alerts["alert"].map({True: "alert", False: "none"})
    return alerts[["employee_id", "month"]].assign(action=action)
