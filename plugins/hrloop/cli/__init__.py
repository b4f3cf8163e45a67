"""The ``hrloop`` command: what a person does with the loop besides looking at Airflow and MLflow."""

import sys

from hrloop.cli import (
    adopt,
    operate,
    people,
    practice,
    quarantine,
    release,
    replay,
    report,
    returns,
    statistics,
)
from hrloop.cli.app import app

__all__ = ["app", "main"]

app.add_typer(adopt.app, name="adopt")
app.add_typer(practice.app, name="practice")
app.add_typer(quarantine.app, name="quarantine")
app.add_typer(people.app, name="review")
app.add_typer(report.app, name="report")
operate.register(app)
release.register(app)
replay.register(app)
returns.register(app)
statistics.register(app)


def main() -> None:
    """Run the command. A refusal is told in its own words, without a traceback, and exits with 1."""
    try:
        app()
    except (ValueError, RuntimeError, FileNotFoundError, FileExistsError) as error:
        if "--debug" in sys.argv:
            raise
        print(f"hrloop: {error}", file=sys.stderr)
        sys.exit(1)
