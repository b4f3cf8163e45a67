"""Folds forward in time: each learns from what came before it, and is measured on what came next."""

from itertools import pairwise

import numpy as np

from hrloop.learning.errors import TooEarly

FIRST_BLOCK = 0.4  # of the rows: the first forward fold learns from it, the rest is cut evenly


def forward_folds(n: int, folds: int) -> list[tuple[slice, slice]]:
    """(learn, validate) slices of n rows in the order of time; each fold validates on what comes next."""
    edges = np.linspace(FIRST_BLOCK * n, n, folds + 1).round().astype(int)
    return [(slice(0, int(a)), slice(int(a), int(b))) for a, b in pairwise(edges) if 0 < a < b]


def learnable(label: np.ndarray, folds: int) -> list[tuple[slice, slice]]:
    """The forward folds of these labels (n,) that hold both classes to learn from.

    Raises TooEarly when there is none.
    """
    found = [fold for fold in forward_folds(len(label), folds) if len(np.unique(label[fold[0]])) == 2]
    if not found:
        raise TooEarly(
            f"no forward fold of {len(label)} labels has both good and bad outcomes to learn from; "
            "wait for more labels"
        )
    return found


def log_loss(margin: np.ndarray, label: np.ndarray, weight: np.ndarray) -> float:
    """Weighted mean log loss of log-odds (n,), without overflow: log(1 + e^m) - y m."""
    return float(np.average(np.logaddexp(0.0, margin) - label * margin, weights=weight))
