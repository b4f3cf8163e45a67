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
FORM = {figure: (name, form) for figure, (name, _, form, _) in report.FIGURES.items()}
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
    yield from _head("scenario", "the loop against", *(name for name, _ in FORM.values()))
    for scenario, mine in ends.groupby("scenario", sort=False):
        for other in _policies(mine):
            if other != report.LOOP:
                gains = {figure: report.paired(mine, report.LOOP, other, figure) for figure in FORM}
                yield _row(
                    scenario, other, *(report.compared(gain, FORM[name][1]) for name, gain in gains.items())
                )


def since_the_start(ends: pd.DataFrame) -> Iterator[str]:
    """What became of each policy from its first months to its last, and how often it changed what decides."""
    yield from _head(
        "scenario", "policy", "companies", "error: first to last", "which is", "AUC: first to last",
        "which is", "promotions, truly worse", "calibrator changed, truly worse",
    )  # fmt: skip
    for scenario, of_all in ends.groupby("scenario", sort=False):
        for policy in _policies(of_all):
            mine = of_all[of_all["policy"] == policy]
            cells = [str(len(mine))]
            for figure in ("error", "true_auc"):
                first, last = mine[f"first_{figure}"].mean(), mine[figure].mean()
                gain = report.since_the_start(mine, policy, figure)
                cells += [f"{first:.3f} → {last:.3f}", report.compared(gain, ".3f")]
            cells += [f"{mine[one].sum()}, {mine[f'false_{one}'].sum()}" for one in CHANGES]
            yield _row(scenario, policy, *cells)


def _policies(ends: pd.DataFrame) -> list[str]:
    return [name for name in POLICIES if name in set(ends["policy"])]


def _head(*names: str) -> Iterator[str]:
    yield _row(*names)
    yield "|---" * len(names) + "|"


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
