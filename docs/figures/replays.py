"""``python docs/figures/replays.py``: the tables of docs/replay.md, out of docs/figures/replays.csv.

In it each replay has a row, as ``hrloop replay`` writes it to ``.hrloop/reports/replay.csv``.
"""

from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pandas as pd
from hrloop.replay import report
from hrloop.replay.policies import POLICIES
from hrloop.replay.runs import Setting

REPLAYS = Path(__file__).with_suffix(".csv")
CHANGES = ("promotions", "calibrations")


def main() -> None:
    for table in tables():
        print("", *table, sep="\n")


def tables() -> Iterator[list[str]]:
    """The two tables of each setting and code, each as its lines."""
    one_run = [*(one.name for one in fields(Setting)), "code"]
    for _, ends in pd.read_csv(REPLAYS).groupby(one_run, sort=False):
        yield list(against(ends))
        yield list(since_the_start(ends))


def against(ends: pd.DataFrame) -> Iterator[str]:
    """The loop in the last months against each other policy in the same companies, by scenario."""
    yield from _head("scenario", "the loop against", *(name for name, *_ in report.FIGURES.values()))
    for cells in report.against_others(ends, list(ends["scenario"].unique())):
        yield _row(*cells)


def since_the_start(ends: pd.DataFrame) -> Iterator[str]:
    """What became of each policy from its first months to its last, and how often it changed what decides."""
    yield from _head(
        "scenario", "policy", "companies", "error: first to last", "which is", "AUC: first to last",
        "which is", "promotions, truly worse", "calibrator changed, truly worse",
    )  # fmt: skip
    for scenario, of_all in ends.groupby("scenario", sort=False):
        for policy in (name for name in POLICIES if name in set(of_all["policy"])):
            mine = of_all[of_all["policy"] == policy]
            cells = [str(len(mine))]
            for figure in ("error", "true_auc"):
                first, last = mine[f"first_{figure}"].mean(), mine[figure].mean()
                gain = report.since_the_start(mine, policy, figure)
                cells += [f"{first:.3f} → {last:.3f}", report.compared(gain, ".3f")]
            cells += [f"{mine[one].sum()}, {mine[f'false_{one}'].sum()}" for one in CHANGES]
            yield _row(scenario, policy, *cells)


def _head(*names: str) -> Iterator[str]:
    yield _row(*names)
    yield "|---" * len(names) + "|"


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
