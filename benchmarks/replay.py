"""One month of a replay of the static policy: what every replayed month takes, before a rhythm learns.

Shown beside what it takes without the build of the warehouse: the share that is dbt's. No limit is set.
"""

import tempfile
from pathlib import Path

from hrloop.replay import runs
from hrloop.replay.runs import Case, Setting
from hrloop.usecase import UseCase
from hrloop.warehouse import Warehouse

from benchmarks import Row, duration

MONTHS = 3  # the first warms up


def run(wh: Warehouse, use_case: UseCase) -> list[Row]:
    """Seconds of a month of a small company, in a warehouse that nothing was put into yet."""
    setting = Setting(use_case.name, 800, history=6, months=MONTHS, change=1, milestone=3, weeks=1)
    with tempfile.TemporaryDirectory() as home:
        folder, case = Path(home), Case("steady", 1, "static")
        past = folder / "past"
        runs.prepare(wh, folder)
        runs.write_past(wh, setting, case.scenario, case.seed, past)
        runs.replay(wh, setting, case, past, folder / case.name)
        months = [row["seconds"] for row in runs.results(folder / case.name)[1:]]
    turns = [(sum(month.values()), sum(month.values()) - month["build"]) for month in months]
    return [duration("one replayed month", setting.applications, turns, None)]
