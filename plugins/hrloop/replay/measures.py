"""What a replay measures: how good decisions truly are, and how good they look. Pure.

The truth gives each case the probability of a good outcome, before chance is drawn. Every case counts here
as that much of a good one and the rest of a bad one, so that what is measured is the expectation over what
might become of it: the same figures as of drawn outcomes, without their noise.
"""

import numpy as np
import pandas as pd

from hrloop.evaluation import metrics

FIGURES = ("auc", "brier", "calibration")


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
