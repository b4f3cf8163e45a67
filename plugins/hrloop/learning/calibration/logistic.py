"""Logistic regression on functions of the score, with a Gaussian prior at the identity. Fits Platt and beta
calibration.
"""

from itertools import chain, combinations

import numpy as np
from scipy.special import expit

SMALLEST_SLOPE = 0.01  # above 0, so that calibration never reverses or merges ranks
_EDGE = 1e-12  # scores of exactly 0 or 1 have no logarithm on one side


def inside(score: np.ndarray) -> np.ndarray:
    """Scores (n,) as floats a hair inside of 0 to 1."""
    return np.clip(np.asarray(score, dtype=float), _EDGE, 1 - _EDGE)


def effective_sample_size(weight: np.ndarray) -> float:
    """Kish's effective sample size, (Σw)² / Σw²: how many equal weights hold as much."""
    weight = np.asarray(weight, dtype=float)
    return float(weight.sum() ** 2 / np.square(weight).sum()) if len(weight) else 0.0


def fit(
    slopes: np.ndarray, label: np.ndarray, weight: np.ndarray | None, prior_strength: float
) -> tuple[np.ndarray, float]:
    """Coefficients most probable after these labels and the prior, and the effective number of labels.

    slopes: (n, k) functions of the score that rise with it, whose coefficients are 1 in the identity and
    stay at SMALLEST_SLOPE or above; an intercept, 0 in the identity, comes last: (k + 1,) in all. label,
    weight: (n,); label 0 or 1. Weights are scaled to sum to their effective sample size, so that a few
    heavy rows do not pass for many. No labels give the identity.
    """
    label = np.asarray(label, dtype=float)
    weight = np.ones_like(label) if weight is None else np.asarray(weight, dtype=float)
    number = slopes.shape[1]
    identity = np.array([1.0] * number + [0.0])
    if len(label) == 0:
        return identity, 0.0
    effective = effective_sample_size(weight)
    weight = weight * (effective / weight.sum())
    x = np.column_stack([slopes, np.ones(len(label))])

    def loss(at: np.ndarray) -> float:
        margin = x @ at
        # log(1 + e^m) - y m, without overflow, and half the squared distance to the identity
        fit = np.dot(weight, np.logaddexp(0.0, margin) - label * margin)
        return fit + 0.5 * prior_strength * np.square(at - identity).sum()

    def lowest(held: tuple[int, ...]) -> np.ndarray:
        """Where the loss is least with these slopes held at their bound; Newton's method, halved steps."""
        free = np.setdiff1d(np.arange(number + 1), held)
        at = identity.copy()
        at[list(held)] = SMALLEST_SLOPE
        current = loss(at)
        for _ in range(100):
            p = expit(x @ at)
            gradient = x.T @ (weight * (p - label)) + prior_strength * (at - identity)
            # without a prior, separable or constant scores leave a flat direction: 1e-9 keeps it solvable
            hessian = (x.T * (weight * p * (1 - p))) @ x + (prior_strength + 1e-9) * np.eye(number + 1)
            step = np.zeros(number + 1)
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

    # The loss is convex: free of bounds it has one minimum, and with them the minimum is the lowest of
    # those found with some slopes held that keeps all bounds.
    at = lowest(())
    if (at[:number] >= SMALLEST_SLOPE).all():
        return at, effective
    some = chain.from_iterable(combinations(range(number), held + 1) for held in range(number))
    found = [lowest(held) for held in some]
    return min((at for at in found if (at[:number] >= SMALLEST_SLOPE).all()), key=loss), effective
