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
    """The three tables of each setting and code, each as its lines."""
    one_run = [*(one.name for one in fields(Setting)), "code"]
    for _, ends in pd.read_csv(REPLAYS).groupby(one_run, sort=False):
        yield list(against(ends))
        yield list(since_the_start(ends))
        yield list(besides(ends))


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
    for scenario, policy, mine in _replayed(ends):
        cells = [str(len(mine))]
        for figure in ("error", "true_auc"):
            first, last = mine[f"first_{figure}"].mean(), mine[figure].mean()
            gain = report.since_the_start(mine, policy, figure)
            cells += [f"{first:.3f} → {last:.3f}", report.compared(gain, ".3f")]
        cells += [f"{mine[one].sum()}, {mine[f'false_{one}'].sum()}" for one in CHANGES]
        yield _row(scenario, policy, *cells)


def besides(ends: pd.DataFrame) -> Iterator[str]:
    """In the last months: what accuracy looked like beside what it was, how evenly groups were recommended,
    and what was asked of people."""
    ratios = [name for name in ends if name.startswith("ratio_")]
    yield from _head(
        "scenario", "policy", "AUC: visible", "true", "Brier score: visible", "true",
        *(f"lowest impact ratio, {name.removeprefix('ratio_').replace('_', ' ')}" for name in ratios),
        "cases sent to a person a month", "rolled back",
    )  # fmt: skip
    forms = {"seen_auc": ".3f", "true_auc": ".3f", "seen_brier": ".3f", "true_brier": ".3f"}
    forms |= dict.fromkeys(ratios, ".2f") | {"routed": ".0f"}
    for scenario, policy, mine in _replayed(ends):
        cells = [report.averaged(mine[name], form) for name, form in forms.items()]
        yield _row(scenario, policy, *cells, str(mine["rolled_back"].sum()))


def _replayed(ends: pd.DataFrame) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Scenario, policy, and the rows of its companies."""
    for scenario, of_all in ends.groupby("scenario", sort=False):
        for policy in (name for name in POLICIES if name in set(of_all["policy"])):
            yield scenario, policy, of_all[of_all["policy"] == policy]


def _head(*names: str) -> Iterator[str]:
    yield _row(*names)
    yield "|---" * len(names) + "|"


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
