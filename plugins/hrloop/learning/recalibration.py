"""Daily calibration: which map from score to probability the newest labels ask for.

The matured decisions stand in the order in which their labels became known, and are cut once:

    |--------------------- past ---------------------|-- judging --|   → time of knowing
     forward blocks choose the kind of calibrator and   is compared
     which labels it learns from; it is then fitted     on, candidate
     on all of the past                                 beside today's

What was compared is what goes live, with no refit in between. The frames hold only rows that the champion's
own fitting never saw. The scores stay, and with them the ranks.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.special import xlog1py, xlogy

from hrloop import as_of as time
from hrloop.learning.calibration import Calibrator, Platt, fit_beta, fit_platt, fit_venn_abers
from hrloop.learning.encoding import require
from hrloop.learning.errors import InsufficientHistory, LearningError

if TYPE_CHECKING:
    from hrloop.usecase import Calibration, Recalibration

COLUMNS = ["decision_id", "group_key", "label_known_at", "label", "weight", "score"]
TODAY = "today"  # the candidate that changes nothing
JUDGED = 0.2  # of the labels of one window: what goes live has then missed a fifth of a window, not more
FIRST_BLOCK = 0.4  # of the past: the first forward block learns from it, the rest is cut evenly
BLOCKS = 10  # so that no label waits for more than 6 % of the past before it is learnt from

# From score, label, weight and age in days (n,) of what is known to a calibrator.
Fit = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], Calibrator]


@dataclass(frozen=True, eq=False)
class Choice:
    """A calibrator, how it was chosen, and what it is to be judged by.

    ``name``: of the candidate; TODAY when none was better on the past. ``prequential``: mean log loss
    (nats) of each candidate over the forward blocks, by its name, the simplest first. ``fitted_on``: labels
    of the past, all known before ``judged_from``. ``judged``: group_key, label, weight, probability
    (the candidate's), reference (today's), a row for each later label.
    """

    name: str
    calibrator: Calibrator
    prequential: pd.Series
    fitted_on: int
    judged_from: pd.Timestamp
    judged: pd.DataFrame


def choose(scored: pd.DataFrame, today: Calibrator, declared: "Calibration", as_of: datetime) -> Choice:
    """The calibrator that would have served best so far, fitted on the past, beside today's on newer labels.

    scored: matured decisions with the champion's scores (COLUMNS; label 0 or 1, label_known_at in UTC), in
    any order. The forward blocks flatter today's calibrator where it was itself fitted on labels in them,
    so that doubt is in favour of no change. Raises InsufficientHistory, MissingColumn, and LearningError
    for rows that were not known by ``as_of``.
    """
    rows = _in_order_of_knowing(scored, as_of)
    past, judging = _cut(rows, declared.daily, as_of)
    offered = candidates(today, declared)
    prequential = _prequential(past, offered)
    name, judged_from = prequential.idxmin(), judging["label_known_at"].iloc[0]  # the first of equals
    calibrator = offered[name](*_known(past, judged_from))
    return Choice(
        name, calibrator, prequential, len(past), judged_from, _compared(judging, calibrator, today)
    )


def comes_off(
    scored: pd.DataFrame, since: datetime, live: Calibrator, before: Calibrator, as_of: datetime
) -> pd.DataFrame:
    """The opposite comparison: the calibrator before the live one, as if it were to take its place again.

    scored: as for ``choose``. Only labels that became known after ``since``, when the live one took over,
    count: it was chosen by the others. Gives group_key, label, weight, probability (of the one before),
    reference (of the live one). Raises MissingColumn, and LearningError as ``choose``.
    """
    rows = _in_order_of_knowing(scored, as_of)
    return _compared(rows[rows["label_known_at"] > since], before, live)


def candidates(today: Calibrator, declared: "Calibration") -> dict[str, Fit]:
    """By name, the simplest first: no change, no calibration, and each kind of calibrator with each memory.

    A memory weighs labels by their age: all alike, those of a rolling window only, or with exponential
    decay. Venn-Abers counts its labels alike, so that it neither decays nor knows the weights of selection.
    """
    daily, strength = declared.daily, declared.prior_strength.value
    window, half_life = daily.window_days.value, daily.half_life_days.value
    memories = {
        "all": np.ones_like,
        "window": lambda age: (age <= window).astype(float),
        "decay": lambda age: np.exp2(-age / half_life),
    }
    kinds = {
        "platt": partial(fit_platt, prior_strength=strength),
        "beta": partial(fit_beta, prior_strength=strength),
        "venn_abers": lambda score, label, weight: fit_venn_abers(score, label),
    }
    remembering = {
        f"{kind} {memory}": partial(_remembering, fit, recency)
        for kind, fit in kinds.items()
        for memory, recency in memories.items()
        if (kind, memory) != ("venn_abers", "decay")
    }
    return {TODAY: lambda *known: today, "identity": lambda *known: Platt(), **remembering}


def _remembering(
    fit: Callable[[np.ndarray, np.ndarray, np.ndarray], Calibrator],
    recency: Callable[[np.ndarray], np.ndarray],
    score: np.ndarray,
    label: np.ndarray,
    weight: np.ndarray,
    age: np.ndarray,
) -> Calibrator:
    weight = weight * recency(age)
    kept = weight > 0
    return fit(score[kept], label[kept], weight[kept])


def _known(rows: pd.DataFrame, at: pd.Timestamp) -> tuple[np.ndarray, ...]:
    age = (at - rows["label_known_at"]) / pd.Timedelta(days=1)
    return tuple(
        column.to_numpy(dtype=float) for column in (rows["score"], rows["label"], rows["weight"], age)
    )


def _prequential(past: pd.DataFrame, offered: dict[str, Fit]) -> pd.Series:
    """Each block is scored by what the labels known before it give (Dawid 1984, The prequential approach)."""
    blocks = _blocks(past["label_known_at"])
    given: dict[str, list[np.ndarray]] = {name: [] for name in offered}
    for start, stop in blocks:
        known = _known(past.iloc[:start], past["label_known_at"].iloc[start])
        score = past["score"].iloc[start:stop].to_numpy()
        for name, fit in offered.items():
            given[name].append(fit(*known).probability(score))
    scored = past.iloc[blocks[0][0] :]
    label, weight = scored["label"].to_numpy(), scored["weight"].to_numpy()
    losses = {
        name: _log_loss(label, np.concatenate(probability), weight) for name, probability in given.items()
    }
    # candidates less than a millionth of a nat apart are equals, and the simpler one wins
    return pd.Series(losses, name="log_loss").round(6)


def _log_loss(label: np.ndarray, probability: np.ndarray, weight: np.ndarray) -> float:
    """Mean over labels, in nats; infinite where what came was held to be impossible."""
    likelihood = xlogy(label, probability) + xlog1py(1 - label, -probability)
    return float(-np.average(likelihood, weights=weight))


def _blocks(known_at: pd.Series) -> list[tuple[int, int]]:
    """(start, stop) of forward blocks of the past; labels of one moment stay together, in the later one."""
    n = len(known_at)
    edges = np.linspace(FIRST_BLOCK * n, n, BLOCKS + 1).round().astype(int)
    edges[:-1] = known_at.searchsorted(known_at.iloc[edges[:-1]], side="left")
    return [(int(start), int(stop)) for start, stop in pairwise(edges) if 0 < start < stop]


def _cut(rows: pd.DataFrame, daily: "Recalibration", as_of: datetime) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The past, and the newest labels; labels of one moment stay together, in the latter."""
    needed, known_at = daily.minimum_labels.value, rows["label_known_at"]
    recent = int((known_at > as_of - pd.Timedelta(days=daily.window_days.value)).sum())
    newest = max(needed, round(JUDGED * recent))
    if len(rows) < 2 * needed:
        raise InsufficientHistory(max(0, len(rows) - newest), min(newest, len(rows)), needed)
    start = int(known_at.searchsorted(known_at.iloc[len(rows) - newest], side="left"))
    past, judging = rows.iloc[:start], rows.iloc[start:]
    if len(past) < needed or not _blocks(past["label_known_at"]):
        raise InsufficientHistory(len(past), len(judging), needed)
    return past, judging


def _compared(rows: pd.DataFrame, candidate: Calibrator, reference: Calibrator) -> pd.DataFrame:
    score = rows["score"].to_numpy()
    return (
        rows[["group_key", "label", "weight"]]
        .assign(probability=candidate.probability(score), reference=reference.probability(score))
        .reset_index(drop=True)
    )


def _in_order_of_knowing(scored: pd.DataFrame, as_of: datetime) -> pd.DataFrame:
    require(scored, COLUMNS, "the frame of matured decisions")
    if not isinstance(scored["label_known_at"].dtype, pd.DatetimeTZDtype):
        raise LearningError(
            f"label_known_at in the frame of matured decisions is {scored['label_known_at'].dtype}, no UTC "
            "time; read a timestamptz"
        )
    rows = scored.sort_values(["label_known_at", "decision_id"], kind="stable", ignore_index=True)
    problems = {
        "is in the frame of matured decisions twice; a row is one decision": rows["decision_id"].duplicated(),
        "has no label of 0 or 1; only observed outcomes can be learnt from": ~rows["label"].isin([0, 1]),
        "has no score from 0 to 1; score it with the champion": ~rows["score"].between(0, 1),
        "has no weight above 0; weigh it by its selection": ~rows["weight"].between(
            0, np.inf, inclusive="neither"
        ),
        f"has a label that was not known by {time.text(as_of)}; build the frame with this as_of": ~(
            rows["label_known_at"] <= as_of
        ),
    }
    for problem, found in problems.items():
        if found.any():
            raise LearningError(f"decision {rows.loc[found, 'decision_id'].iloc[0]} {problem}")
    return rows
