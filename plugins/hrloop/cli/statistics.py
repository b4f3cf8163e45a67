"""How often the verdicts err and what they see, simulated under the thresholds of a use case."""

import json
from collections.abc import Iterable
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from hrloop import usecase
from hrloop.cli.app import UseCaseName
from hrloop.evaluation import simulation
from hrloop.settings import PROJECT

console = Console()


def register(app: typer.Typer) -> None:
    """Add the command to the root."""
    app.command()(statistics)


def statistics(
    use_case: UseCaseName,
    runs: Annotated[int, typer.Option(min=2, help="Simulated runs for each row.")] = 2000,
    seed: Annotated[int, typer.Option(min=0, help="The same seed, the same figures.")] = 1,
    workers: Annotated[int, typer.Option(min=1, help="Processes; they change no figure.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="All figures as JSON.")] = False,
) -> None:
    """Simulate the comparisons, experiments and a year of candidates with the code that decides on them."""
    progress = Console(stderr=True)

    def watched(outcomes: Iterable, words: str) -> Iterable:
        return track(
            outcomes,
            description=f"{words:45}",
            total=runs,
            console=progress,
            transient=True,
            disable=not progress.is_terminal,
        )

    tables = simulation.statistics(usecase.load(use_case, PROJECT), runs, seed, workers, watched)
    if as_json:
        print(json.dumps(tables, indent=2))
    else:
        show(tables, Console(width=max(console.width, 140)))


def show(tables: dict[str, Any], to: Console) -> None:
    """Print the tables of ``simulation.statistics``."""
    runs = f"{tables['runs']:,} runs"
    versions = Table(
        "version", "true Brier gain", "correlation of losses", title="Versions beside the champion"
    )
    for row in tables["versions"]:
        versions.add_row(row["version"], f"{row['gain']:+.4f}", f"{row['correlation']:.2f}")
    to.print(versions)

    experiments = Table(
        "labels a month", "version", "promoted", "ended against it", "z daily: better", "z daily: different",
        title=f"Experiments of four weeks, looked at daily ({runs})",
    )  # fmt: skip
    for row in tables["experiment"]:
        experiments.add_row(
            f"{row['labels_a_month']:,}",
            row["version"],
            *(_share(row[name]) for name in ("promoted", "stopped", "naive_promoted", "naive_found")),
        )
    to.print(experiments)

    year = Table(
        "rhythm", "candidates", "budget", "promotions by luck", "most in a year",
        title=f"A year of candidates equal to the champion ({runs})",
    )  # fmt: skip
    for row in tables["year"]:
        interval = f"{row['value']:.3f} ({row['low']:.3f}–{row['high']:.3f})"
        year.add_row(
            row["rhythm"], str(row["candidates"]), f"{row['budget']:.2f}", interval, str(row["most"])
        )
    to.print(year)

    power = Table(
        "labels", "one-sided error", "paired", "unpaired, twice the labels",
        title=f"How often a better version is seen ({runs})",
    )  # fmt: skip
    for row in tables["power"]:
        power.add_row(
            str(row["labels"]), f"{row['alpha']:.1%}", _share(row["paired"]), _share(row["unpaired"])
        )
    to.print(power)

    interval = Table(
        "labels", "version", "error at each end", "interval above the truth", "interval below the truth",
        title=f"How often the paired interval misses the truth ({runs})",
    )  # fmt: skip
    for row in tables["interval"]:
        ends = (_share(row["too_high"]), _share(row["too_low"]))
        interval.add_row(str(row["labels"]), row["version"], f"{row['alpha']:.1%}", *ends)
    to.print(interval)

    harm = Table(
        "labels", "version", "error", "harm shown", title=f"Harm, looked at after every group ({runs})"
    )
    for row in tables["harm"]:
        harm.add_row(f"{row['labels']:,}", row["version"], f"{row['alpha']:.0%}", _share(row["shown"]))
    to.print(harm)


def _share(figure: dict[str, float]) -> str:
    return f"{figure['value']:.1%} ({figure['low']:.1%}–{figure['high']:.1%})"
