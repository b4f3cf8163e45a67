"""The review queue: the cases the AI is unsure of, why, and a place to overrule it with a reason."""

from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from hrloop import decisions, reviews
from hrloop.cli.app import UseCaseName, loop
from hrloop.sources import persons

app = typer.Typer(no_args_is_help=True, help="Decide the cases the AI is unsure of.")
console = Console()
DecisionId = Annotated[str, typer.Argument(help="The decision, as `hrloop review list` names it.")]


@app.command("list")
def queue(
    use_case: UseCaseName,
    limit: Annotated[int, typer.Option(min=1, help="How many to show.")] = 20,
) -> None:
    """Show the decisions that wait for a person: oldest first, then the least sure first."""
    current = loop()
    waiting = reviews.queue(current.warehouse, current.use_case(use_case), limit)
    table = Table(
        "decision", "case", "group", "rank", "recommended", "confidence", "why it is here", "why so"
    )
    for case in waiting:
        table.add_row(
            case.decision_id,
            case.case_key,
            case.group_key,
            f"{case.rank} of {case.group_size}",
            case.recommended_action,
            f"{case.confidence:.0%}",
            "; ".join(case.route_reasons),
            "; ".join(f"{reason['feature']} {reason['contribution']:+.2f}" for reason in case.reasons),
        )
    console.print(table if waiting else "Nothing waits for a person.")


@app.command()
def codes(use_case: UseCaseName) -> None:
    """Show the reason codes of a use case."""
    for code, meaning in loop().use_case(use_case).reviews.reason_codes.items():
        console.print(f"{code:22} {meaning}")


@app.command()
def why(use_case: UseCaseName, decision_id: DecisionId) -> None:
    """Show which features moved a decision most, in log-odds."""
    current = loop()
    current.use_case(use_case)
    table = Table("feature", "value", "contribution")
    for reason in decisions.explain(current.warehouse, current.registry, decision_id):
        table.add_row(reason["feature"], str(reason["value"]), f"{reason['contribution']:+.3f}")
    console.print(table)


@app.command()
def who(use_case: UseCaseName, decision_id: DecisionId) -> None:
    """Show whom a decision is about, as the source systems identify the person."""
    current = loop()
    declaration = current.use_case(use_case)
    subject = decisions.subject(current.warehouse, use_case, decision_id)
    console.print(persons.identify(current.warehouse, declaration.decision.subject_key, subject))


@app.command()
def record(
    use_case: UseCaseName,
    decision_id: DecisionId,
    verdict: Annotated[str, typer.Argument(help="agree or overrule")],
    reviewer: Annotated[str, typer.Option(help="Who reviews.", prompt=True)],
    reason: Annotated[str, typer.Option(help="Reason code; `hrloop review codes` lists them.")] = "",
    words: Annotated[str, typer.Option(help="The reason in words.")] = "",
    action: Annotated[str | None, typer.Option(help="What is to be done instead.")] = None,
) -> None:
    """Record a verdict; to overrule needs a reason code and the reason in words."""
    current = loop()
    review_id = reviews.record(
        current.warehouse,
        current.use_case(use_case),
        decision_id,
        reviewer,
        verdict,
        datetime.now(UTC),  # a person acts now; the engine itself never asks for the time
        action=action,
        reason_code=reason,
        words=words,
    )
    console.print(f"Recorded as {review_id}.")
