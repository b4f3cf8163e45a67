"""``make figures``: what is learnt from people whom nobody here made up, beside Cox and the base rate.

``job_retention`` and ``promotion`` come with the package peopleanalyticsdata (MIT licence): the tables of
McNulty (2021), Handbook of Regression Modeling in People Analytics, whose documentation calls them fictional.
``gbsg2`` comes with lifelines: real patients of a trial (Schumacher et al. 1994, J. Clin. Oncol. 12), more
than half of them censored. Encoder, learners, calibration, evidence and verdict are the engine's, thresholds
those of the use case recruitment. The tables have no dates, so people are cut into development, calibration
and evaluation by chance.

With a folder as its argument it writes ``job_retention`` there as a company would export it.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
from hrloop import evaluation, usecase
from hrloop.evaluation import Evidence, Verdict, metrics
from hrloop.learning import Architecture, calibration, censoring, training
from hrloop.learning.encoding import fit_encoder
from hrloop.learning.fitted import KINDS
from hrloop.settings import PROJECT
from hrloop.usecase import Feature, UseCase
from lifelines import CoxPHFitter
from lifelines.datasets import load_gbsg2
from scipy.special import expit

# found without importing the package, which needs a setuptools older than the pinned one
DATA = Path(find_spec("peopleanalyticsdata").submodule_search_locations[0]) / "data"
SPLIT = 1  # seed of the split that the table shows
SPLITS = range(1, 11)  # and of those that show how much a split matters
SCALES, PENALTIES = (0.5, 0.7, 1.0, 1.4), (0.03, 0.3, 3.0)  # the forward folds choose one
NAIVE, COX = "base rate", "Cox (lifelines)"
NAMES = {"survival": "survival trees", "xgboost": "trees of labels", "linear": "logistic regression"}
SURVEYED = date(2024, 1, 15)  # invented, as is HIRED: the table counts months from a survey without a date
HIRED = date(2020, 1, 1)


@dataclass(frozen=True)
class Study:
    """People with their features, and whether the outcome came within ``horizon`` months.

    follow_up: (n,) months; label: (n,), NaN for who was lost before the horizon.
    """

    title: str
    people: pd.DataFrame
    follow_up: np.ndarray
    label: np.ndarray
    horizon: float

    @classmethod
    def of(
        cls,
        title: str,
        people: pd.DataFrame,
        names: list[str],
        month: pd.Series,
        came: pd.Series,
        horizon: float,
    ) -> "Study":
        """came: whether the event ended the follow-up of so many months."""
        follow_up, event = month.to_numpy(dtype=float), came.to_numpy(dtype=bool)
        label = np.where(event & (follow_up <= horizon), 1.0, np.where(follow_up >= horizon, 0.0, np.nan))
        return cls(title, people[names], follow_up, label, horizon)


@dataclass(frozen=True)
class Cut:
    """The people of a study in an order by chance: the rows of the three parts, and the weights (n,) of those
    known at the horizon for those who were lost before, 0 for the lost."""

    people: pd.DataFrame
    label: np.ndarray
    bounds: np.ndarray
    weight: np.ndarray
    development: np.ndarray
    calibrating: np.ndarray
    evaluating: np.ndarray

    @property
    def before(self) -> np.ndarray:
        """All rows that the evaluation part is not."""
        return np.r_[self.development, self.calibrating]

    def known(self, rows: np.ndarray) -> np.ndarray:
        return rows[self.weight[rows] > 0]

    def base_rate(self, horizon: float) -> float:
        return _risk(self.bounds[self.before], horizon)


@dataclass(frozen=True)
class Shown:
    """What one model showed on people whom nothing of it was fitted on. ``than_cox``: its Brier score's
    advantage over Cox, person by person; ``said`` and ``came``: the share that leaves, there."""

    study: str
    model: str
    evidence: Evidence
    verdict: Verdict
    than_cox: metrics.Interval | None
    said: float
    came: float


def retention(horizon: float, asked: bool = True) -> Study:
    """Who leaves the job within these months of a survey. Without what they were ``asked``, only what any HR
    system holds is left. Gender is protected, and never a feature."""
    people = pd.read_csv(DATA / "job_retention.csv")
    names = ["field", "level", "sentiment", "intention"] if asked else ["field", "level"]
    title = f"leaving within {horizon:g} months" + ("" if asked else ", field and level alone")
    return Study.of(title, people, names, people["month"], people["left"] == 1, horizon)


def promotion() -> Study:
    """Who is promoted within six years, by store and part time. The column ``diverse`` is protected, and
    ``year`` is that of the promotion or of the last record: the outcome itself."""
    people = pd.read_csv(DATA / "promotion.csv")
    promoted = people["promoted"] == 1
    return Study.of(
        "promotion within 6 years", people, ["store", "flexible"], people["year"] * 12, promoted, 72.0
    )


def recurrence() -> Study:
    """Whose cancer comes back, or who dies of it, within three years of its removal."""
    people = load_gbsg2().rename(columns=str.lower)
    names = [name for name in people.columns if name not in ("time", "cens")]
    return Study.of(
        "recurrence within 36 months", people, names, people["time"] / 30.4375, people["cens"] == 1, 36.0
    )


def studies() -> list[Study]:
    return [retention(12.0), retention(6.0), retention(12.0, asked=False), promotion(), recurrence()]


def cut(study: Study, thresholds: UseCase, seed: int) -> Cut:
    """Cut by chance, in the shares that the use case declares, whatever their number."""
    order = np.random.default_rng(seed).permutation(len(study.label))
    label = study.label[order]
    bounds = censoring.bounds(study.follow_up[order], label, study.horizon)
    learner, places = thresholds.learner, np.arange(len(order))
    slices = training.split(
        pd.Series(places),
        round(learner.calibration_share.value * len(places)),
        round(learner.evaluation_share.value * len(places)),
    )
    parts = [places[part] for part in slices]
    weight = np.empty(len(order))
    for part in parts:
        weight[part] = censoring.weights(*_followed(bounds[part]), study.horizon)
    return Cut(study.people.iloc[order].reset_index(drop=True), label, bounds, weight, *parts)


def probability(study: Study, people: Cut, thresholds: UseCase) -> dict[str, np.ndarray]:
    """By the name of each model the risk (n,) that it gives everyone: the base rate, Cox, and each kind of
    the engine's."""
    others = {
        NAIVE: np.full(len(people.label), people.base_rate(study.horizon)),
        COX: _cox(people, study.horizon),
    }
    return others | {name: _ours(kind, people, thresholds, study.horizon) for kind, name in NAMES.items()}


def shown(study: Study, thresholds: UseCase, seed: int) -> Iterator[Shown]:
    """What each model shows on one split: evidence and verdict as for a first version."""
    people = cut(study, thresholds, seed)
    risk = probability(study, people, thresholds)
    rows = people.known(people.evaluating)
    label, weight = people.label[rows], people.weight[rows] / people.weight[rows].mean()
    group = rows.astype(str)  # nobody belongs together
    held_out = pd.DataFrame({"label": label, "group_key": group, "weight": weight})
    labels, base = int((people.weight > 0).sum()), people.base_rate(study.horizon)
    draws = thresholds.learner.seed
    for name, said in risk.items():
        evidence = evaluation.assess(
            held_out.assign(probability=said[rows]), base, labels, thresholds.promotion, draws
        )
        than_cox = None
        if name in NAMES.values():
            than_cox = metrics.improvement(label, said[rows], risk[COX][rows], group, weight, seed=draws)
        yield Shown(
            study=study.title,
            model=name,
            evidence=evidence,
            verdict=evaluation.first(evidence, thresholds.promotion),
            than_cox=than_cox and than_cox["brier"],
            said=float(said[people.evaluating].mean()),
            came=_risk(people.bounds[people.evaluating], study.horizon),
        )


def table(found: list[Shown]) -> str:
    """One row a model, in Markdown; the verdict is of the engine's own models alone."""
    heads = ["", "model", "people", "AUC", "Brier", "better than the base rate", "better than Cox"]
    heads += ["calibration error", "said", "came", "verdict"]
    rows = []
    for one in found:
        figures, ours = one.evidence.metrics, one.model in NAMES.values()
        rows.append(
            [one.study, one.model, f"{one.evidence.evaluation_labels}"]
            + [_interval(figures[name]) for name in ("auc", "brier")]
            + [_interval(one.evidence.improvement["brier"]) if one.model != NAIVE else "–"]
            + [_interval(one.than_cox) if one.than_cox else "–"]
            + [_interval(figures["calibration_error_event_rate"])]
            + [f"{one.said:.1%}", f"{one.came:.1%}", one.verdict.kind if ours else "–"]
        )
    return _markdown([heads, *rows])


def spread(splits: list[list[Shown]]) -> str:
    """How much the split matters: one row a model, over all splits, in Markdown."""
    heads = ["", "model", "AUC: least, middle, most", "better than the base rate: least, middle, most"]
    rows = []
    for same in zip(*splits, strict=True):
        if same[0].model == NAIVE:
            continue
        ours = same[0].model in NAMES.values()
        areas = [one.evidence.metrics["auc"].value for one in same]
        gains = [one.evidence.improvement["brier"].value for one in same]
        promoted = sum(one.verdict.kind == "promote" for one in same)
        spans = [", ".join(f"{at:.3f}" for at in np.quantile(found, [0, 0.5, 1])) for found in (areas, gains)]
        rows.append([same[0].study, same[0].model, *spans, f"{promoted} of {len(same)}" if ours else "–"])
    return _markdown([[*heads, "promoted"], *rows])


def export(folder: Path) -> None:
    """Write ``job_retention`` into a landing folder, as the HR system of these people might have exported it.

    From the table: field (as job_family), level (as job_level), gender, sentiment (1 to 10, as engagement 1
    to 5), intention (under its own name, which is in no contract), and how many months after the survey who
    left. Invented: the numbers of the employees, the calendar (SURVEYED, HIRED), that everything was known
    on its day, that who left resigned, and that who was lost before the twelfth month came to the end of a
    contract, which censors. There is no department, location or manager: declare department and manager_id
    absent.
    """
    people = pd.read_csv(DATA / "job_retention.csv")
    employee = people.index.map("P{:04d}".format)
    ended = pd.Series([pd.Timestamp(SURVEYED) + pd.DateOffset(months=month) for month in people["month"]])
    tables = {
        "employees": pd.DataFrame(
            {
                "employee_id": employee,
                "valid_from": HIRED,
                "hired_on": HIRED,
                "job_family": people["field"],
                "job_level": people["level"],
                "gender": people["gender"],
            }
        ),
        "surveys": pd.DataFrame(
            {
                "employee_id": employee,
                "surveyed_on": SURVEYED,
                "engagement": (1 + 4 * (people["sentiment"] - 1) / 9).round(2),
                "intention": people["intention"],
            }
        ),
        "terminations": pd.DataFrame(
            {
                "employee_id": employee,
                "terminated_on": ended.dt.date,
                "kind": np.where(people["left"] == 1, "voluntary", "end_of_contract"),
            }
        )[(people["left"] == 1) | (people["month"] < 12)],
    }
    happened = {"employees": "valid_from", "surveys": "surveyed_on", "terminations": "terminated_on"}
    for name, rows in tables.items():
        rows = rows.assign(updated_at=rows[happened[name]].map("{}T18:00:00Z".format))
        file = folder / "hris" / name / f"{SURVEYED.replace(year=SURVEYED.year + 1)}.csv"
        file.parent.mkdir(parents=True, exist_ok=True)
        rows.to_csv(file, index=False)


def _ours(kind: str, people: Cut, thresholds: UseCase, horizon: float) -> np.ndarray:
    """The calibrated risk (n,) after one of the engine's kinds. Times are learnt from all of the development
    part, labels from those known at the horizon."""
    features = [
        Feature(name=name, type="category" if values.dtype == "str" else "number", description="As it came.")
        for name, values in people.people.items()
    ]
    encoder = fit_encoder(features, people.people.iloc[people.development], thresholds.edge.range_tail.value)
    matrix = encoder.matrix(people.people)
    if KINDS[kind].learns == "time":
        rows, target, weight = people.development, people.bounds, np.ones(len(matrix))
    else:
        rows, target, weight = people.known(people.development), people.label, people.weight
    fits = [
        KINDS[kind].fit(one, thresholds.learner, encoder, matrix[rows], target[rows], weight[rows])
        for one in _candidates(kind, thresholds, horizon)
    ]
    model, _ = min(fits, key=lambda fit: np.mean([fold["log_loss"] for fold in fit[1]["folds"]]))
    score, fitted_on = expit(model.margin(matrix)), people.known(people.calibrating)
    calibrator = calibration.fit_platt(
        score[fitted_on],
        people.label[fitted_on],
        people.weight[fitted_on],
        thresholds.calibration.prior_strength.value,
    )
    return calibrator.probability(score)


def _candidates(kind: str, thresholds: UseCase, horizon: float) -> list[Architecture]:
    trees = thresholds.learner.parameters.model_dump()
    return {
        "survival": [
            Architecture("survival", trees | {"scale": scale, "horizon": horizon}) for scale in SCALES
        ],
        "xgboost": [Architecture("xgboost", trees)],
        "linear": [Architecture("linear", {"C": penalty}) for penalty in PENALTIES],
    }[kind]


def _cox(people: Cut, horizon: float) -> np.ndarray:
    """The risk by the horizon (n,) after a proportional hazards regression, which needs no calibration part
    and learns from that too."""
    design = pd.get_dummies(people.people, drop_first=True, dtype=float)
    month, happened = _followed(people.bounds)
    rows = design.assign(month=month, happened=happened).iloc[people.before]
    cox = CoxPHFitter().fit(rows, "month", "happened")
    return 1 - cox.predict_survival_function(design, times=[horizon]).to_numpy()[0]


def _risk(bounds: np.ndarray, horizon: float) -> float:
    return float(1 - censoring.without_event(*_followed(bounds)).at(horizon))


def _followed(bounds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return bounds[:, 0], bounds[:, 0] == bounds[:, 1]


def _interval(figure: metrics.Interval) -> str:
    return f"{figure.value:.3f} ({figure.low:.3f} to {figure.high:.3f})"


def _markdown(rows: list[list[str]]) -> str:
    lines = [rows[0], ["---"] * len(rows[0]), *rows[1:]]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main() -> None:
    if len(sys.argv) > 1:
        export(Path(sys.argv[1]))
        return
    thresholds = usecase.load("recruitment", PROJECT)
    found = [[one for study in studies() for one in shown(study, thresholds, split)] for split in SPLITS]
    print(table(found[SPLITS.index(SPLIT)]), spread(found), sep="\n\n")


if __name__ == "__main__":
    main()
