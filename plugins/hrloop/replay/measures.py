"""What a replay measures: how good decisions truly are, and how good they look. Pure.

The truth gives each case the probability of a good outcome, before chance is drawn. Every case counts here
as that much of a good one and the rest of a bad one, so that what is measured is the expectation over what
might become of it: the same figures as of drawn outcomes, without their noise.
"""

from collections import Counter

import numpy as np
import pandas as pd
from scipy import stats

from hrloop.evaluation import metrics
from hrloop.evaluation.fairness import impact_ratios
from hrloop.evaluation.metrics import Interval


def expected(chance: np.ndarray, probability: np.ndarray) -> dict[str, float]:
    """AUC, Brier score and calibration error (form of the event rate) of probabilities, all (n,).

    chance: the true probability of a good outcome. NaN where a figure is not defined.
    """
    label = np.r_[np.ones(len(chance)), np.zeros(len(chance))]
    return _figures(label, np.r_[probability, probability], np.r_[chance, 1 - chance])


def seen(label: np.ndarray, probability: np.ndarray) -> dict[str, float]:
    """The same of outcomes that are known, each counted once, as a table of accuracy would have it."""
    return _figures(label, probability, np.ones(len(label)))


def _figures(label: np.ndarray, probability: np.ndarray, weight: np.ndarray) -> dict[str, float]:
    return {
        "auc": metrics.auc(label, probability, weight),
        "brier": metrics.brier(label, probability, weight),
        "calibration": metrics.calibration_error_event_rate(label, probability, weight),
    }


def first_ranked(group: pd.Series, rank: pd.Series, selected: np.ndarray) -> np.ndarray:
    """As many cases of each group as were selected of it, by rank alone: (n,) bool.

    What draws have put in or out is undone, so that the two can be compared.
    """
    return (rank <= pd.Series(selected, index=group.index).groupby(group).transform("sum")).to_numpy()


def selections(
    rows: pd.DataFrame, selected: np.ndarray, attributes: tuple[str, ...]
) -> dict[str, dict[str, list[int]]]:
    """Selected and decided by attribute and group: {"gender": {"female": [selected, decided], …}, …}.

    rows: a column for each attribute, None where it is not known; selected: (n,) bool.
    """
    counts = {}
    for attribute in attributes:
        groups = pd.DataFrame({"group": rows[attribute].to_numpy(), "selected": selected}).dropna()
        sums = groups.groupby("group")["selected"].agg(["sum", "size"])
        counts[attribute] = {str(name): [int(row["sum"]), int(row["size"])] for name, row in sums.iterrows()}
    return counts


def over_seeds(values: np.ndarray, level: float = 0.95) -> Interval:
    """The mean over seeds (n,) with Student's interval; its ends are NaN with fewer than two."""
    values = np.asarray(values, dtype=float)
    values = values[np.isfinite(values)]
    if len(values) == 0:
        return Interval(np.nan, np.nan, np.nan, 0)
    mean = float(values.mean())
    if len(values) == 1:
        return Interval(mean, np.nan, np.nan, 1)
    half = stats.t.ppf((1 + level) / 2, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return Interval(mean, mean - half, mean + half, len(values))


def lowest_ratio(counted: list[dict[str, list[int]]], minimum: int) -> float:
    """The lowest impact ratio among the groups of some months together; NaN with fewer than two groups.

    counted: per month group → [selected, decided], as ``selections`` gives them. ``minimum``: smaller groups
    are left out.
    """
    selected, decided = Counter(), Counter()
    for month in counted:
        for group, (chosen, of) in month.items():
            selected[group] += chosen
            decided[group] += of
    large = [group for group in decided if decided[group] >= minimum]
    ratios = impact_ratios({g: selected[g] for g in large}, {g: decided[g] for g in large})
    return min((one.ratio.value for one in ratios), default=np.nan)
