"""Cases that could not be followed to the end: how many stayed, and whom the others stand for.

Months are counted from where a case's clock starts. A case is followed until the event or until it is
censored, whichever comes first; where both fall on one moment the event comes first. The estimates are those
of Kaplan and Meier (1958, J. Am. Stat. Assoc. 53). They hold where censoring and event depend on each other
in no way, so whatever drives both must not be read as chance.
"""

from dataclasses import dataclass

import numpy as np

from hrloop.learning.errors import LearningError, NobodyFollowed


@dataclass(frozen=True, eq=False)
class Curve:
    """A share that falls in steps from 1: it is ``share`` (k,) from each rising moment ``month`` (k,) on."""

    month: np.ndarray
    share: np.ndarray

    def at(self, months: np.ndarray | float) -> np.ndarray:
        """The share at these months, a step at that very moment taken."""
        return np.r_[1.0, self.share][np.searchsorted(self.month, months, side="right")]

    def before(self, months: np.ndarray | float) -> np.ndarray:
        """The share just before these months."""
        return np.r_[1.0, self.share][np.searchsorted(self.month, months, side="left")]


def bounds(follow_up: np.ndarray, label: np.ndarray, horizon: float) -> np.ndarray:
    """Between which months the event lies (n, 2), as a model of times learns it: equal where it happened,
    up to infinity where it had not by the lower one.

    follow_up: (n,) months; label: (n,), 1 where the event happened by the horizon, 0 where it is known not
    to have, NaN where the case was censored before. Calendar months differ in length, so a case that was
    followed to its due date counts as followed to the horizon, and an event by the due date as one by the
    horizon. Raises LearningError for a follow-up that is missing or negative.
    """
    _check(follow_up)
    lower = np.where(label == 0, horizon, np.minimum(follow_up, horizon))
    return np.column_stack([lower, np.where(label == 1, lower, np.inf)])


def without_event(follow_up: np.ndarray, happened: np.ndarray, weight: np.ndarray | None = None) -> Curve:
    """The share that the event has not met yet, by month.

    follow_up: (n,) months; happened: (n,) bool, whether the event ended the follow-up; weight: (n,), how
    many each case stands for. Raises LearningError for a follow-up that is missing or negative.
    """
    month, events, censored, later = _counts(follow_up, happened, weight)
    return _curve(month, later + censored, events)


def weights(
    follow_up: np.ndarray, happened: np.ndarray, horizon: float, weight: np.ndarray | None = None
) -> np.ndarray:
    """How many cases each stands for (n,) of which it is known whether the event came by the horizon: the
    inverse probability of not having been censored by then; 0 where that is not known.

    Arguments as in ``without_event``. Estimated from all these cases alike (Robins and Finkelstein 2000,
    Biometrics 56), so the weighted share of events is 1 - ``without_event`` at the horizon. Raises
    NobodyFollowed where all who had no event were censored before the horizon, and LearningError for a
    follow-up that is missing or negative.
    """
    month, _, censored, later = _counts(follow_up, happened, weight)
    kept = _curve(month, later, censored)
    if kept.before(horizon) == 0:
        raise NobodyFollowed(len(follow_up), horizon, month[-1])
    known = (follow_up >= horizon) | happened
    return np.divide(1.0, kept.before(np.minimum(follow_up, horizon)), where=known, out=np.zeros(len(known)))


def _counts(
    follow_up: np.ndarray, happened: np.ndarray, weight: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The moments (k,) at which anything ended, with the weight of the events, of those censored, and of
    those who were followed longer."""
    _check(follow_up)
    weight = np.ones(len(follow_up)) if weight is None else weight
    month, index = np.unique(follow_up, return_inverse=True)
    events = np.bincount(index, weights=weight * happened, minlength=len(month))
    censored = np.bincount(index, weights=weight * ~happened, minlength=len(month))
    # summed from the end, so that after the last moment there is exactly nothing
    later = np.r_[np.cumsum((events + censored)[::-1])[::-1], 0.0][1:]
    return month, events, censored, later


def _curve(month: np.ndarray, staying: np.ndarray, leaving: np.ndarray) -> Curve:
    """The product limit; where nobody is left to leave, the share stays."""
    at_risk = staying + leaving
    return Curve(month, np.cumprod(np.divide(staying, at_risk, where=at_risk > 0, out=np.ones(len(month)))))


def _check(follow_up: np.ndarray) -> None:
    wrong = ~(follow_up >= 0)
    if wrong.any():
        raise LearningError(
            f"row {np.flatnonzero(wrong)[0]} was followed for {follow_up[wrong][0]} months; a case is "
            "followed from where its clock starts, for 0 months or more"
        )
