"""The model owner's commands: approve, reject, roll back, and the ledger of all releases."""

from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from hrloop import release, services
from hrloop.cli.app import UseCaseName, loop
from hrloop.rhythms import training

console = Console()
Version = Annotated[int, typer.Argument(help="Number of the version in the MLflow registry.")]
Reason = Annotated[str, typer.Option(help="Why; kept in the ledger.", prompt=True)]
User = Annotated[str, typer.Option(help="User of the MLflow server to act as.")]


def register(app: typer.Typer) -> None:
    """Add these commands to the root."""
    for command in (approve, reject, rollback, reconcile, releases):
        app.command()(command)


def approve(use_case: UseCaseName, version: Version, reason: Reason, user: User = services.OWNER) -> None:
    """Approve a proposed version as its owner, and put it in charge."""
    current = loop()
    registry = release.connect(current.settings, user=user)
    release.approve(registry, current.use_case(use_case), version, reason, datetime.now(UTC))
    console.print(f"{use_case} version {version} is approved by {user}.")
    outcome = training.release_if_approved(current, use_case)
    if outcome:
        console.print(f"Version {outcome['version']} is champion.")


def reject(use_case: UseCaseName, version: Version, reason: Reason, user: User = services.OWNER) -> None:
    """Reject a proposed version as its owner; the ledger keeps the reason."""
    current = loop()
    registry = release.connect(current.settings, user=user)
    declaration = current.use_case(use_case)
    release.reject(current.warehouse, registry, declaration, version, reason, datetime.now(UTC))
    console.print(f"{use_case} version {version} is rejected by {user}.")


def rollback(
    use_case: UseCaseName,
    reason: Reason,
    user: User = services.OWNER,
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
        user,
        reason,
        datetime.now(UTC),
        version=version,
    )
    console.print(f"{use_case}: version {row.version} is champion again, in place of {row.previous_version}.")


def reconcile(use_case: UseCaseName) -> None:
    """Put the registry's aliases where the ledger says, and tell what had been moved."""
    current = loop()
    moved = release.reconcile(current.warehouse, current.registry, current.use_case(use_case))
    console.print("\n".join(moved) if moved else "Registry and ledger agree.")


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
