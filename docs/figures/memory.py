"""``make figures``: what holding out fewer labels, weighing older ones less, and the floor under the chance
of selection are worth to a version.

Companies of five years in which people hire alone; from month 30 on, what makes a good hire changes, or
nothing does. At the end a version is learnt as declared but for these, and measured by the truth on all
who applied in the last half year. One company a scenario: differences of 0.005 are chance.
"""

import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

from hrloop import features, learning, practice, usecase
from hrloop.learning.training import MONTH
from hrloop.replay import measures, runs
from hrloop.replay.runs import Setting
from hrloop.rhythms import matured
from hrloop.settings import Settings
from hrloop.usecase import Count, UseCase
from hrloop.warehouse import EmbeddedServer, Warehouse, open_warehouse

USE_CASE = "recruitment"
MONTHS, CHANGE, APPLICATIONS, MILESTONE = 60, 30, 1500, 12
SCENARIOS = ("steady", "drift", "reversal")
LAST = 6  # months of applicants that versions are measured on
# Labels held out at most (None: a quarter), half-life in months (None: all count alike), floor.
WAYS = [
    (None, None, 0.02), (600, None, 0.02), (600, 24.0, 0.02), (600, 12.0, 0.02), (600, 6.0, 0.02),
    (400, 12.0, 0.02), (400, 12.0, 0.1), (400, 12.0, 0.2), (400, 12.0, 1.0),
]  # fmt: skip
REASON = "Tried by docs/figures/memory.py."


def main() -> None:
    warnings.filterwarnings("ignore", category=FutureWarning)
    rows = []
    with TemporaryDirectory(prefix="hrloop-figure-") as folder:
        server = open_warehouse(Settings(home=Path(folder) / "home", database_url=None))
        try:
            (Path(folder) / "companies").mkdir()
            runs.prepare(server, Path(folder) / "companies")
            for scenario in SCENARIOS:
                rows += _tried(server, scenario, Path(folder) / "companies" / scenario)
        finally:
            server.dispose()
            EmbeddedServer.of(server.settings).stop()
    print("| scenario | labels | held out | half-life | floor | AUC |")
    print("| --- | --- | --- | --- | --- | --- |")
    print("\n".join(rows))


def _tried(server: Warehouse, scenario: str, folder: Path) -> list[str]:
    """A row of the table for each way to learn."""
    setting = Setting(USE_CASE, APPLICATIONS, MONTHS, 1, CHANGE - MONTHS + 1, MILESTONE, 1)
    runs.write_past(server, setting, scenario, 1, folder)
    settings = server.settings.model_copy(
        update={"home": folder, "landing_dir": None, "database": runs.database_of(folder)}
    )
    warehouse = runs.warehouse_of(server, settings)
    declared = usecase.load(USE_CASE, folder / "project")
    as_of = runs.arrival(setting, 0)
    frame = features.training_frame(warehouse, declared, as_of)
    warehouse.dispose()
    chances = practice.truth(settings).set_index("application_id")[f"probability_good_at_{MILESTONE}"]
    newest = frame[frame["decided_at"] > as_of - LAST * MONTH].reset_index(drop=True)
    chance = newest["case_key"].map(chances).to_numpy()
    labels = int(matured.observed(frame).sum())
    rows = []
    for held_out, half_life, floor in WAYS:
        fitted = learning.fit(_declared(declared, held_out, half_life, floor), frame, as_of)
        probability = fitted.probability(newest)
        auc = measures.expected(chance, probability)["auc"]
        told = f"{held_out or 'a quarter'} | {f'{half_life:g} months' if half_life else 'none'} | {floor:g}"
        rows.append(f"| {scenario} | {labels:,} | {told} | {auc:.3f} |")
        print(rows[-1], flush=True)
    return rows


def _declared(use_case: UseCase, held_out: int | None, half_life: float | None, floor: float) -> UseCase:
    """The use case with so many labels evaluated on at most, this half-life, and this floor."""
    learner, selection = use_case.learner, use_case.selection
    changed = {
        "evaluation_labels": Count(value=held_out, reason=REASON) if held_out else None,
        "calibration_labels": learner.calibration_labels if held_out else None,
        "half_life_months": learner.half_life_months.model_copy(update={"value": half_life})
        if half_life
        else None,
    }
    weighed = {"propensity_floor": selection.propensity_floor.model_copy(update={"value": floor})}
    return use_case.model_copy(
        update={
            "learner": learner.model_copy(update=changed),
            "selection": selection.model_copy(update=weighed),
        }
    )


if __name__ == "__main__":
    main()
