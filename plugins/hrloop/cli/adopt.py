"""A company's own data: propose how they map to the contract, check what they bring, load them."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from hrloop import adopt
from hrloop.cli.app import AsOf, loop
from hrloop.rhythms import Loop, intake
from hrloop.sources.declaration import given_secret

app = typer.Typer(
    no_args_is_help=True, help="Your own data: propose how they map to the contract, check them, load them."
)
console = Console()
_SHOWN = 40  # problems on a screen
Declaration = Annotated[Path, typer.Argument(help="The source declaration, such as sources.yaml.")]


@app.command()
def propose(
    source: Annotated[
        str | None, typer.Argument(help="Folder of exports (CSV, Parquet), or a database's SQLAlchemy URL.")
    ] = None,
    to: Annotated[Path, typer.Option(help="Where to write the declaration.")] = Path("sources.yaml"),
    secret: Annotated[str | None, typer.Option(help="Name of the secret that holds the URL.")] = None,
    overwrite: Annotated[bool, typer.Option(help="Write over a declaration that is there.")] = False,
) -> None:
    """Write a source declaration to read and mend: which table and column is which, and how sure that is."""
    if (source is None) == (secret is None):
        raise typer.BadParameter("give a folder or a URL, or --secret, the name of the secret with the URL")
    if to.exists() and not overwrite:
        raise FileExistsError(f"{to} is there; give another name with --to, or --overwrite")
    if secret is not None:
        proposal = adopt.of_database(given_secret(loop().settings, secret), secret)
    elif "://" in source:
        proposal = adopt.of_database(source)
    else:
        proposal = adopt.of_folder(Path(source), to.parent)
    to.write_text(proposal.text, encoding="utf-8")
    found = Table("table", "read from", title="Found")
    for name, place in proposal.tables.items():
        found.add_row(name, escape(place))
    console.print(found)
    console.print(f"Open questions: {len(proposal.questions)}. Read {to}, mend it, then check it.")


@app.command()
def check(
    declaration: Declaration,
    as_of: AsOf,
    as_json: Annotated[bool, typer.Option("--json", help="The report as JSON.")] = False,
) -> None:
    """Try the load beside the warehouse, and say what is wrong and whether the data will do."""
    current = _with(declaration)
    report = adopt.check(current.warehouse, current.settings, as_of)
    if as_json:
        print(json.dumps(asdict(report), indent=2))
    else:
        show(report, console)
    if not report.is_clean:
        raise typer.Exit(1)


@app.command()
def load(
    declaration: Declaration,
    as_of: AsOf,
    force: Annotated[bool, typer.Option(help="Load in spite of what the check says.")] = False,
) -> None:
    """Check, then take the rows into raw and through the gate; nothing is loaded that is not checked."""
    current = _with(declaration)
    report = adopt.check(current.warehouse, current.settings, as_of)
    show(report, console)
    if not report.is_clean and not force:
        console.print("Nothing was loaded. With --force refused files stay out and broken rows are held.")
        raise typer.Exit(1)
    taken = intake.ingest(current, as_of)
    console.print(f"{taken['taken']} batches were taken; {taken['rows']:,} rows have arrived so far.")
    intake.gate(current, as_of)
    console.print("The gate is open. Set HRLOOP_SOURCES to the declaration, then `hrloop run build`.")


def _with(declaration: Path) -> Loop:
    """The loop of this process, with this declaration."""
    current = loop()
    settings = current.settings.model_copy(update={"sources": declaration.resolve()})
    return Loop(settings, current.warehouse)


def show(report: adopt.Report, to: Console) -> None:
    """Print problems, answers and verdict."""
    for problem in report.problems[:_SHOWN]:
        to.print(escape(f"- {problem}"), soft_wrap=True)
    if more := report.problems[_SHOWN:]:
        to.print(f"- and {len(more)} more; `hrloop adopt check --json` lists all.")
    answers = Table("question", "answer", "%", "figures", title="Readiness")
    for answer in report.readiness.answers:
        percent = "–" if answer.percent is None else f"{answer.percent:.1f}"
        words = answer.detail + (f". {answer.remedy}" if answer.remedy else "")
        answers.add_row(answer.asks, answer.answer, percent, escape(words))
    to.print(answers)
    to.print(f"{report.rows_in:,} rows came in; problems: {len(report.problems)}. {report.readiness.verdict}")
