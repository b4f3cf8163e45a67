"""The loop replayed on the practice company, under policies side by side."""

import os
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from hrloop import usecase
from hrloop.cli.app import UseCaseName, loop
from hrloop.replay import pool, report, runs
from hrloop.replay.policies import POLICIES
from hrloop.replay.runs import Case, Setting
from hrloop.replay.scenarios import SCENARIOS

console = Console()


def register(app: typer.Typer) -> None:
    """Add the command to the root."""
    app.command()(replay)


def replay(
    use_case: UseCaseName,
    policies: Annotated[str, typer.Option(help=f"Some of {','.join(POLICIES)}.")] = "static,naive,loop",
    scenarios: Annotated[str, typer.Option(help=f"Some of {','.join(SCENARIOS)}.")] = "steady",
    seeds: Annotated[int, typer.Option(min=1, help="So many companies, by the seeds from 1 on.")] = 5,
    months: Annotated[int, typer.Option(help="Months in closed loop.")] = 36,
    history: Annotated[int, typer.Option(help="Months before, in which people decide alone.")] = 30,
    applications: Annotated[int, typer.Option(min=50, help="Applications a month.")] = 1500,
    change: Annotated[int, typer.Option(min=0, help="Month of the replay in which a scenario begins.")] = 12,
    milestone: Annotated[int, typer.Option(help="Months to the outcome that is learnt.")] = 12,
    weeks: Annotated[int, typer.Option(help="As_ofs a month, a week apart: 1 for the first day alone.")] = 4,
    workers: Annotated[int, typer.Option(min=1, help="Replays at once.")] = os.cpu_count() or 1,
) -> None:
    """Replay years of the practice company in closed loop, and write the report.

    Resumes what was cut short; what is on file for this code and setting is not run again.
    """
    settings = loop().settings
    setting = Setting(use_case, applications, history, months, change, milestone, weeks)
    cases = [
        Case(scenario, seed, policy)
        for scenario in dict.fromkeys(scenarios.split(","))
        for seed in range(1, seeds + 1)
        for policy in dict.fromkeys(policies.split(","))
    ]
    runs.check(setting, cases, usecase.load(use_case, settings.project))
    failed = _with_progress(settings, setting, cases, workers)
    command = (
        f"hrloop replay {use_case} --policies {policies} --scenarios {scenarios} --seeds {seeds}"
        f" --months {months} --history {history} --applications {applications} --change {change}"
        f" --milestone {milestone} --weeks {weeks}"
    )
    for name, why in failed.items():
        console.print(f"{name} failed:\n{why}", highlight=False, markup=False)
    folder = pool.folder_of(settings, setting)
    if any(runs.lived(folder / case.name) for case in cases):
        console.print(report.write(settings, setting, cases, command))
    if failed:
        raise RuntimeError(
            f"{', '.join(failed)}: failed; the logs are in {folder / 'logs'}. Called again, what is on file"
            " is not run again."
        )


def _with_progress(settings, setting: Setting, cases: list[Case], workers: int) -> dict[str, str]:
    columns = (
        BarColumn(), MofNCompleteColumn(), TextColumn("months"), TimeElapsedColumn(), TextColumn("left"),
        TimeRemainingColumn(), TextColumn("{task.description}"),
    )  # fmt: skip
    with Progress(*columns, console=console, speed_estimate_period=600) as bar:
        task = bar.add_task("", total=len(cases) * setting.months)

        def tell(what: str, done: int, total: int) -> None:
            bar.update(task, completed=done, total=total, description=what)

        return pool.replay_all(settings, setting, cases, workers, tell)
