"""The model owner's commands: approve, reject, roll back, and the ledger of all releases."""

import os
from datetime import UTC, datetime
from getpass import getuser
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from hrloop import release
from hrloop.cli.app import UseCaseName, loop
from hrloop.rhythms import Loop, retraining

console = Console()
Version = Annotated[int, typer.Argument(help="Number of the version in the MLflow registry.")]
Reason = Annotated[str, typer.Option(help="Why; kept in the ledger.", prompt=True)]


def register(app: typer.Typer) -> None:
    """Add these commands to the root."""
    for command in (approve, reject, rollback, reconcile, releases):
        app.command()(command)


def approve(use_case: UseCaseName, version: Version, reason: Reason) -> None:
    """Approve a proposed version in your own name, and put it in charge."""
    current = loop()
    approved = release.approve(_logged_in(current), current.use_case(use_case), version, reason)
    console.print(f"{use_case} version {version} is approved by {approved.tags['approval.by']}.")
    outcome = retraining.release_if_approved(current, use_case)
    if outcome:
        console.print(f"Version {outcome['version']} is champion.")


def reject(use_case: UseCaseName, version: Version, reason: Reason) -> None:
    """Reject a proposed version in your own name; the ledger keeps the reason."""
    current = loop()
    row = release.reject(
        current.warehouse,
        _logged_in(current),
        current.use_case(use_case),
        version,
        reason,
        datetime.now(UTC),
    )
    console.print(f"{use_case} version {version} is {row.reasons[0]}")


def _logged_in(current: Loop) -> release.Registry:
    """The registry as the person at the keyboard: by MLflow's own variables, else asked for.

    Never by an option, which every user of the machine could read in the list of processes.
    """
    user = os.environ.get("MLFLOW_TRACKING_USERNAME") or typer.prompt("User in MLflow")
    password = os.environ.get("MLFLOW_TRACKING_PASSWORD") or typer.prompt("Password", hide_input=True)
    return release.log_in(current.settings, user, password)


def rollback(
    use_case: UseCaseName,
    reason: Reason,
    by: Annotated[str, typer.Option(help="Who rolls back; kept in the ledger.", default_factory=getuser)],
    version: Annotated[
        int | None, typer.Option(help="The champion to be rid of: repeated, it is one roll-back.")
    ] = None,
) -> None:
    """Put the previous champion back in charge, at once."""
    current = loop()
    row = release.rollback(
        current.warehouse,
        current.registry,
        current.use_case(use_case),
        by,
        reason,
        datetime.now(UTC),
        version=version,
    )
    console.print(f"{use_case}: version {row.version} is champion again, in place of {row.previous_version}.")


def reconcile(use_case: UseCaseName) -> None:
    """Bring ledger and registry together: judgements into the one, aliases to where it says in the other."""
    current = loop()
    whole = (current.warehouse, current.registry, current.use_case(use_case))
    new = [
        f"version {row.version} is {row.reasons[0]}"
        for row in release.record_judgements(*whole, datetime.now(UTC))
    ]
    found = new + release.reconcile(*whole)
    console.print("\n".join(found) if found else "Registry and ledger agree.")


def releases(use_case: UseCaseName) -> None:
    """Show the ledger: who put which version in charge, when, and why."""
    table = Table("as of", "what", "version", "before", "verdict", "by", "reason")
    for row in release.read(loop().warehouse, use_case):
        table.add_row(
            f"{row.as_of:%Y-%m-%d}",
            row.kind,
            str(row.version or "–"),
            str(row.previous_version or "–"),
            row.verdict,
            row.approved_by or "–",
            row.approval_reason or "; ".join(row.reasons),
        )
    console.print(table)
