"""From a score to a probability, right also when there are few labels. Pure functions.

Platt scaling, ``logit(probability) = slope * logit(score) + intercept``, with a Gaussian prior at the
identity (slope 1, intercept 0). Below about 200 labels isotonic regression was worse than no calibration;
a slope and an intercept held towards the identity are not, and they leave the ranks as they are.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.special import expit, logit

SMALLEST_SLOPE = 0.01  # above 0, so that calibration never reverses or merges ranks
_EDGE = 1e-12  # scores of exactly 0 or 1 have no logit


@dataclass(frozen=True)
class Platt:
    """A fitted calibrator; plain parameters. ``Platt()`` is the identity."""

    slope: float = 1.0
    intercept: float = 0.0
    prior_strength: float = 0.0
    labels: int = 0
    effective_labels: float = 0.0

    def probability(self, score: np.ndarray) -> np.ndarray:
        """Calibrated probability (n,) of scores (n,) between 0 and 1."""
        return expit(self.slope * _logit(score) + self.intercept)

    def as_dict(self) -> dict[str, Any]:
        return {"kind": "platt", **asdict(self)}


def from_dict(parameters: dict[str, Any]) -> Platt:
    """The calibrator that ``as_dict`` wrote. Raises ValueError for another kind."""
    given = dict(parameters)
    kind = given.pop("kind", None)
    if kind != "platt":
        raise ValueError(f"calibrator of kind {kind!r} is not known here; known is 'platt'")
    return Platt(**given)


def fit_platt(
    score: np.ndarray, label: np.ndarray, weight: np.ndarray | None = None, prior_strength: float = 5.0
) -> Platt:
    """The slope and intercept most probable after these labels and the prior at the identity.

    score, label, weight: (n,); label 0 or 1. ``prior_strength`` is the precision of the prior on both
    parameters, in units of Fisher information: a label near 0.5 brings 0.25 on the intercept, so a prior
    of 5 counts like 20 labels. Weights are scaled to sum to their effective sample size (Kish), so that a
    few heavy rows do not pass for many. No labels give the identity. The problem is convex; Newton's
    method with halved steps finds its one minimum.
    """
    label = np.asarray(label, dtype=float)
    weight = np.ones_like(label) if weight is None else np.asarray(weight, dtype=float)
    if len(label) == 0:
        return Platt(prior_strength=prior_strength)
    effective = effective_sample_size(weight)
    weight = weight * (effective / weight.sum())
    x = _logit(score)
    start = np.array([1.0, 0.0])
    slope, intercept = _newton(x, label, weight, prior_strength, start, slope_is_free=True)
    if slope < SMALLEST_SLOPE:
        start = np.array([SMALLEST_SLOPE, 0.0])
        slope, intercept = _newton(x, label, weight, prior_strength, start, slope_is_free=False)
    return Platt(float(slope), float(intercept), float(prior_strength), len(label), float(effective))


def confidence(probability: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """Probability that the recommended action is right: p where it is the positive one, else 1 - p.

    ``probability`` must be calibrated; ``positive`` (n,) says whether the positive action is recommended.
    Not ``max(p, 1 - p)``: an action against the odds, such as the best of a weak group, is honestly
    below one half.
    """
    probability = np.asarray(probability, dtype=float)
    return np.where(np.asarray(positive, dtype=bool), probability, 1.0 - probability)


def effective_sample_size(weight: np.ndarray) -> float:
    """Kish's effective sample size, (Σw)² / Σw²: how many equal weights hold as much."""
    weight = np.asarray(weight, dtype=float)
    return float(weight.sum() ** 2 / np.square(weight).sum()) if len(weight) else 0.0


def _logit(score: np.ndarray) -> np.ndarray:
    return logit(np.clip(np.asarray(score, dtype=float), _EDGE, 1 - _EDGE))


def _newton(x, label, weight, strength, start, slope_is_free) -> np.ndarray:
    free = np.array([slope_is_free, True])
    identity = np.array([1.0, 0.0])

    def loss(at):
        margin = at[0] * x + at[1]
        # log(1 + e^m) - y m, without overflow, and half the squared distance to the identity
        fit = np.dot(weight, np.logaddexp(0.0, margin) - label * margin)
        return fit + 0.5 * strength * np.square(at - identity).sum()

    at, current = start, loss(start)
    for _ in range(100):
        p = expit(at[0] * x + at[1])
        residual, curvature = weight * (p - label), weight * p * (1 - p)
        gradient = np.array([np.dot(residual, x), residual.sum()]) + strength * (at - identity)
        mixed = np.dot(curvature, x)
        hessian = np.array([[np.dot(curvature, x * x), mixed], [mixed, curvature.sum()]])
        # without a prior, separable or constant scores leave a flat direction: 1e-9 keeps it solvable
        hessian += (strength + 1e-9) * np.eye(2)
        step = np.zeros(2)
        step[free] = np.linalg.solve(hessian[np.ix_(free, free)], gradient[free])
        scale = 1.0
        while scale > 1e-8 and loss(at - scale * step) > current:
            scale /= 2
        moved = at - scale * step
        improvement, at = current - loss(moved), moved
        current -= improvement
        if improvement < 1e-12 * (1 + abs(current)):
            break
    return at
