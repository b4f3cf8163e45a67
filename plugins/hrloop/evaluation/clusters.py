"""The weighted mean of rows that come in groups, with an error in closed form that holds for few of them.

Cases of one requisition or team are not independent, and labels stand for unequally many cases. Its error
is that of the jackknife over groups (CR3), its degrees of freedom are those of Bell and McCaffrey (2002,
Survey Methodology 28), and its interval is widened on the side on which a skewed sample hides its rare
large values (Hall 1992, J. R. Statist. Soc. B 54). For equal rows without groups or skewness it is
Student's t. Pure.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

_STRAIGHT = 1e-6  # a skewness so small bends nothing, and the formula would divide by it


@dataclass(frozen=True)
class Mean:
    """A mean with its standard error, degrees of freedom, and the skewness of the estimate itself.

    Error and freedom are NaN where fewer than two groups have weight.
    """

    value: float
    error: float
    freedom: float
    skewness: float

    def ends(self, alpha: float) -> tuple[float, float]:
        """An interval that the truth leaves on either side with probability ``alpha``."""
        if not math.isfinite(self.error):
            return math.nan, math.nan
        reach = -float(stdtrit(self.freedom, alpha))
        low = max(reach, _hall(reach, self.skewness))
        high = max(reach, -_hall(-reach, self.skewness))
        return self.value - low * self.error, self.value + high * self.error


def mean(values: np.ndarray, weight: np.ndarray, codes: np.ndarray) -> Mean:
    """The weighted mean of values (n,), weights (n,), whose groups are numbered from 0 by codes (n,)."""
    total = weight.sum()
    if total <= 0:
        return Mean(math.nan, math.nan, math.nan, math.nan)
    value = float(np.dot(values, weight) / total)
    share = np.bincount(codes, weights=weight) / total
    groups = np.count_nonzero(share)
    if groups < 2:
        return Mean(value, math.nan, math.nan, math.nan)
    # by how much leaving out a group would move the mean
    moves = np.bincount(codes, weights=weight * (values - value)) / total / (1 - share)
    squares = np.square(moves).sum()
    skewness = float((moves**3).sum() / squares**1.5) if squares > 0 else 0.0
    variances = np.bincount(codes, weights=np.square(weight))
    return Mean(value, math.sqrt(squares * (groups - 1) / groups), _freedom(share, variances), skewness)


def difference(one: Mean, other: Mean) -> Mean:
    """One mean minus another of other groups, with Welch and Satterthwaite's degrees of freedom."""
    squares = one.error**2 + other.error**2
    if not squares > 0:
        return Mean(one.value - other.value, math.sqrt(squares), one.freedom + other.freedom, 0.0)
    return Mean(
        value=one.value - other.value,
        error=math.sqrt(squares),
        freedom=squares**2 / (one.error**4 / one.freedom + other.error**4 / other.freedom),
        skewness=(one.skewness * one.error**3 - other.skewness * other.error**3) / squares**1.5,
    )


def _freedom(share: np.ndarray, variances: np.ndarray) -> float:
    """Satterthwaite's degrees of freedom of the squared error, if rows were independent and alike.

    share, variances: (groups,) of the weight and of the variance of its weighted sum. The squared error is
    s'Bs of the groups' sums s, with B = diag(a) - 1b' - b1' + c, so its mean is tr(BQ), its variance
    2 tr(BQBQ) with Q = diag(variances), and both need no matrix.
    """
    a = (1 - share) ** -2.0
    b = a * share
    c = np.dot(b, share)
    expected = np.dot(a - 2 * b + c, variances)
    first, second, total = np.dot(b, variances), np.dot(b * b, variances), variances.sum()
    everywhere = c * c * total**2 - 4 * c * first * total + 2 * second * total + 2 * first**2
    diagonal = np.dot((a - 2 * b + c) ** 2 - (c - 2 * b) ** 2, variances**2)
    return max(1.0, float(expected**2 / (everywhere + diagonal)))


def _hall(reach: float, skewness: float) -> float:
    """Hall's monotone cubic transformation, inverted."""
    if abs(skewness) < _STRAIGHT:
        return reach
    return float(3 / skewness * (np.cbrt(1 + skewness * (reach - skewness / 6)) - 1))
