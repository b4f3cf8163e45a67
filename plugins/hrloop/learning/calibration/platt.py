"""Platt scaling: ``logit(probability) = slope * logit(score) + intercept``."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.special import expit, logit

from hrloop.learning.calibration import logistic
from hrloop.learning.calibration.calibrator import Calibrator


@dataclass(frozen=True)
class Platt(Calibrator):
    """A fitted calibrator; plain parameters. ``Platt()`` is the identity."""

    kind: ClassVar[str] = "platt"

    slope: float = 1.0
    intercept: float = 0.0
    prior_strength: float = 0.0
    labels: int = 0
    effective_labels: float = 0.0

    def probability(self, score: np.ndarray) -> np.ndarray:
        return expit(self.slope * logit(logistic.inside(score)) + self.intercept)


def fit_platt(
    score: np.ndarray, label: np.ndarray, weight: np.ndarray | None = None, prior_strength: float = 5.0
) -> Platt:
    """The slope and intercept most probable after these labels and the prior at the identity.

    score, label, weight: (n,); label 0 or 1. ``prior_strength`` is the precision of the prior on both
    parameters, in units of Fisher information: a label near 0.5 brings 0.25 on the intercept, so a prior
    of 5 counts like 20 labels. Weights count as their effective sample size (Kish). No labels give the
    identity.
    """
    slopes = logit(logistic.inside(score))[:, None]
    (slope, intercept), effective = logistic.fit(slopes, label, weight, prior_strength)
    return Platt(float(slope), float(intercept), float(prior_strength), len(label), effective)
