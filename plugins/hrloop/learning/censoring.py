"""Censored is not stayed, and not gone: weights let those who were followed stand for those who were not.

Whoever is laid off before the milestone would have done something else had they not been. Dropping them makes
the early leavers too many among those that remain, keeping them as stayers too few.
"""

import numpy as np

from hrloop.learning.errors import LearningError


def weights(follow_up: np.ndarray, censored: np.ndarray) -> np.ndarray:
    """Inverse probability (n,) of having been followed as long as each row was; 0 for a censored one.

    follow_up (n,): time to the event, to the censoring or to the end of the window; censored (n,) bool. The
    probability is Kaplan-Meier's of *not* being censored before that time (Robins and Finkelstein 2000,
    Biometrics 56). Where an event and a censoring fall on one time, the event came first.
    Raises LearningError for a time that is missing or below 0.
    """
    follow_up, censored = np.asarray(follow_up, dtype=float), np.asarray(censored, dtype=bool)
    wrong = ~(follow_up >= 0)  # NaN is wrong, too
    if wrong.any():
        raise LearningError(
            f"{int(wrong.sum())} followed case(s) have no time of follow-up, or one below 0; an observed or"
            " censored outcome has one"
        )
    if not censored.any():
        return np.ones(len(follow_up))
    times, place = np.unique(follow_up, return_inverse=True)
    ended, all_ends = np.bincount(place[censored], minlength=len(times)), np.bincount(place)
    at_risk = len(follow_up) - np.cumsum(all_ends) + all_ends
    # of those still there at a time, the ones with an event at it are no longer at risk of a censoring
    at_risk_of_censoring = at_risk - (all_ends - ended)
    stays = 1 - ended / np.maximum(at_risk_of_censoring, 1)
    before = np.concatenate([[1.0], np.cumprod(stays)[:-1]])  # just before each time
    return np.where(censored, 0.0, 1.0 / np.maximum(before[place], np.finfo(float).tiny))
