"""The root of the ``hrloop`` command and what its parts share."""

from datetime import datetime
from typing import Annotated

import typer

from hrloop import as_of as moments
from hrloop.rhythms import Loop

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    help="Closes the loop on HR AI: decisions meet their outcomes, and the model improves by them.",
)


@app.callback()
def options(debug: Annotated[bool, typer.Option(help="Show the traceback of an error.")] = False) -> None:
    """Options of every command; ``main`` reads debug."""


def parse_as_of(text: str) -> datetime:
    """An as_of given on the command line; a bad one is a usage error."""
    try:
        return moments.parse(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


AsOf = Annotated[
    datetime,
    typer.Option(
        "--as-of",
        parser=parse_as_of,
        metavar="TIME",
        help="The moment as of which the step sees the world, such as 2026-10-01T06:00:00Z.",
    ),
]
UseCaseName = Annotated[str, typer.Argument(help="Name of a folder in models/.")]


def loop() -> Loop:
    """The loop of this process's environment."""
    return Loop.open()
