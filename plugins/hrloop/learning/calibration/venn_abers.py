"""Inductive Venn-Abers: calibration without a shape, with two probabilities whose distance shows the doubt.

Vovk, Petej and Fedorova (2015), Large-scale probabilistic predictors with and without guarantees of
validity, NeurIPS. A score gets the value of isotonic regression with itself added as a 0 (p0) and as a 1
(p1); they are merged as p1 / (1 - p0 + p1), which is minimax for log loss (section 4).
"""

import warnings
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from hrloop.learning.calibration.calibrator import Calibrator

with np.errstate():  # the package silences divisions for the whole process when it is imported
    from venn_abers import VennAbers as Computed

_SCORE_DECIMALS = 3  # at most 1,001 scores told apart, which bounds time and size whatever the labels
_PROBABILITY_DECIMALS = 6


@dataclass(frozen=True)
class VennAbers(Calibrator):
    """A fitted calibrator; plain arrays. ``VennAbers()`` knows nothing and says one half.

    ``score`` (k,) rising: where a step is. ``p0``, ``p1`` (k + 1,): their values below, between and above;
    exactly on a step p0 is already that above, and p1 still that below.
    """

    kind: ClassVar[str] = "venn_abers"

    score: tuple[float, ...] = ()
    p0: tuple[float, ...] = (0.0,)
    p1: tuple[float, ...] = (1.0,)
    labels: int = 0

    def probability(self, score: np.ndarray) -> np.ndarray:
        p0, p1 = self.pair(score)
        return p1 / (1 - p0 + p1)

    def pair(self, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """p0 and p1 (n,) of scores (n,) between 0 and 1."""
        score = np.asarray(score, dtype=float)
        p0 = np.asarray(self.p0)[np.searchsorted(self.score, score, side="right")]
        p1 = np.asarray(self.p1)[np.searchsorted(self.score, score, side="left")]
        return p0, p1


def fit_venn_abers(score: np.ndarray, label: np.ndarray) -> VennAbers:
    """The steps that follow from these labels. score, label: (n,); label 0 or 1.

    Every label counts alike: the method has no weights. Only scores at which p0 or p1 changes are kept.
    """
    score, label = np.asarray(score, dtype=float), np.asarray(label, dtype=float)
    if len(label) == 0:
        return VennAbers()
    with np.errstate(divide="ignore", invalid="ignore"), warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", "All-NaN slice", RuntimeWarning
        )  # where the highest scores end in 0
        computed = Computed().fit(np.column_stack([1 - score, score]), label, precision=_SCORE_DECIMALS)
    # + 0.0 makes 0 of the package's -0
    p0, p1 = (np.round(p[:, 1], _PROBABILITY_DECIMALS) + 0.0 for p in (computed.p0, computed.p1))
    steps = (np.diff(p0) != 0) | (np.diff(p1) != 0)
    kept = np.r_[True, steps]
    return VennAbers(
        tuple(computed.c[steps].tolist()), tuple(p0[kept].tolist()), tuple(p1[kept].tolist()), len(label)
    )
