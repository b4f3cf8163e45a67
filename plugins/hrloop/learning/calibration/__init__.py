"""From a score to a probability, right also when there are few labels. Pure functions.

Three calibrators, each plain data and each keeping the order of the scores: ``Platt`` (slope and
intercept), ``Beta`` (another slope at either end) and ``VennAbers`` (steps). The first two are held towards
the identity by a prior. Below about 200 labels isotonic regression was worse than no calibration; these
are not.
"""

from typing import Any

import numpy as np

from hrloop.learning.calibration.beta import Beta, fit_beta
from hrloop.learning.calibration.calibrator import Calibrator
from hrloop.learning.calibration.logistic import SMALLEST_SLOPE, effective_sample_size
from hrloop.learning.calibration.platt import Platt, fit_platt
from hrloop.learning.calibration.venn_abers import VennAbers, fit_venn_abers

__all__ = [
    "SMALLEST_SLOPE",
    "Beta",
    "Calibrator",
    "Platt",
    "VennAbers",
    "confidence",
    "effective_sample_size",
    "fit_beta",
    "fit_platt",
    "fit_venn_abers",
    "from_dict",
]

_KINDS = {calibrator.kind: calibrator for calibrator in (Platt, Beta, VennAbers)}


def from_dict(parameters: dict[str, Any]) -> Calibrator:
    """The calibrator that ``as_dict`` wrote, also after JSON. Raises ValueError for another kind."""
    given = {name: tuple(value) if isinstance(value, list) else value for name, value in parameters.items()}
    kind = given.pop("kind", None)
    if kind not in _KINDS:
        raise ValueError(f"calibrator of kind {kind!r} is not known here; known are {', '.join(_KINDS)}")
    return _KINDS[kind](**given)


def confidence(probability: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """Probability that the recommended action is right: p where it is the positive one, else 1 - p.

    ``probability`` must be calibrated; ``positive`` (n,) says whether the positive action is recommended.
    Not ``max(p, 1 - p)``: an action against the odds, such as the best of a weak group, is honestly
    below one half.
    """
    probability = np.asarray(probability, dtype=float)
    return np.where(np.asarray(positive, dtype=bool), probability, 1.0 - probability)
