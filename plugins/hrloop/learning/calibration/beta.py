"""Beta calibration: ``logit(probability) = a * ln(score) - b * ln(1 - score) + c``.

Kull, Silva Filho and Flach (2017), Beta calibration: a well-founded and easily implemented improvement on
logistic calibration for binary classifiers, AISTATS. Where a and b are equal it is Platt scaling; where
they differ, it bends low scores and high ones differently.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.special import expit

from hrloop.learning.calibration import logistic
from hrloop.learning.calibration.calibrator import Calibrator


@dataclass(frozen=True)
class Beta(Calibrator):
    """A fitted calibrator; plain parameters. ``Beta()`` is the identity."""

    kind: ClassVar[str] = "beta"

    a: float = 1.0
    b: float = 1.0
    c: float = 0.0
    prior_strength: float = 0.0
    labels: int = 0
    effective_labels: float = 0.0

    def probability(self, score: np.ndarray) -> np.ndarray:
        score = logistic.inside(score)
        return expit(self.a * np.log(score) - self.b * np.log1p(-score) + self.c)


def fit_beta(
    score: np.ndarray, label: np.ndarray, weight: np.ndarray | None = None, prior_strength: float = 5.0
) -> Beta:
    """The a, b and c most probable after these labels and the prior at the identity.

    Arguments, weights and the meaning of ``prior_strength``, which holds for each parameter, are those of
    ``fit_platt``. a and b stay above 0, so that ranks stay.
    """
    inside = logistic.inside(score)
    slopes = np.column_stack([np.log(inside), -np.log1p(-inside)])
    (a, b, c), effective = logistic.fit(slopes, label, weight, prior_strength)
    return Beta(float(a), float(b), float(c), float(prior_strength), len(label), effective)
