"""Boosted trees of the time until an event (XGBoost's accelerated failure time): learnt also from cases that
were followed for a part of the time only.

The logarithm of the months is logistic about what the trees say, with a declared scale. So the odds of the
event by a month grow as a power of the month, the same for all (Bennett 1983, Statistics in Medicine 2), and
by the horizon its log-odds are

    ln(p / (1 - p)) = (ln horizon - trees) / scale

exactly: score, calibration, explanation and comparison are those of a model that learnt a label.
Barnwal, Cho and Hocking (2022), Survival regression with accelerated failure time model in XGBoost,
J. Comput. Graph. Stat. 31.
"""

from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import xgboost
from scipy.special import expit, logit

from hrloop.learning import censoring
from hrloop.learning.architecture import Architecture
from hrloop.learning.encoding import Encoder
from hrloop.learning.errors import LearningError, NobodyFollowed
from hrloop.learning.folds import learnable, log_loss
from hrloop.learning.trees import Boosted, Fold, dmatrix, grow, parameters, walk

if TYPE_CHECKING:
    from hrloop.usecase import Learner

EARLIEST = 0.5 / 30.4375  # half a day in months: an event on the first day has a logarithm too
_RISK = 1e-3  # how near to 0 or 1 the risk may be that the first tree starts from


class Survival(Boosted):
    """Trees whose sum is the logarithm of the median months until the event. ``Model`` in ``fitted`` says
    what its methods do; its margin is of the event by the horizon."""

    learns: ClassVar[Literal["label", "time"]] = "time"

    @classmethod
    def forward(
        cls,
        architecture: Architecture,
        learner: "Learner",
        encoder: Encoder,
        matrix: np.ndarray,
        label: np.ndarray,
        weight: np.ndarray,
    ) -> list[dict[str, float]]:
        """As of any model; measured on the rows of which it is known whether the event came by the horizon,
        weighted for those of which it is not. Rows after the last one that was followed so far are in no
        fold: what they show are events alone. Raises NobodyFollowed where a block holds none of those.
        """
        scale, horizon = _scale_and_horizon(architecture)
        weights = architecture.weights(encoder.names)
        lower, upper = label.T
        followed = np.flatnonzero(lower >= horizon)
        if len(followed) == 0:
            raise NobodyFollowed(len(lower), horizon, lower.max())
        seen = slice(0, followed[-1] + 1)

        def fold(learn: slice, validate: slice) -> Fold:
            after, happened = lower[validate], lower[validate] == upper[validate]
            known = weight[validate] * censoring.weights(after, happened, horizon, weight[validate])
            return (
                _parameters(architecture, learner.seed, encoder, label[learn], weight[learn]),
                _rows(encoder, matrix[learn], label[learn], weight[learn], weights),
                _rows(encoder, matrix[validate], label[validate], known),
            )

        def measure(median: np.ndarray, rows: xgboost.DMatrix) -> tuple[str, float]:
            margin = (np.log(horizon) - np.log(median.astype(np.float64))) / scale
            came = rows.get_float_info("label_upper_bound") <= horizon
            return "logloss", log_loss(margin, came, rows.get_weight())

        came = (upper <= horizon)[seen]
        return walk(learnable(came, learner.folds), fold, learner, measure)

    @classmethod
    def fit(
        cls,
        architecture: Architecture,
        learner: "Learner",
        encoder: Encoder,
        matrix: np.ndarray,
        label: np.ndarray,
        weight: np.ndarray,
    ) -> tuple["Survival", dict[str, Any]]:
        scale, horizon = _scale_and_horizon(architecture)
        folds = cls.forward(architecture, learner, encoder, matrix, label, weight)
        given = _parameters(architecture, learner.seed, encoder, label, weight)
        rows = _rows(encoder, matrix, label, weight, architecture.weights(encoder.names))
        booster, figures = grow(given, rows, folds)
        booster.set_attr(scale=repr(scale), horizon=repr(horizon))
        return cls(encoder, booster), figures

    @property
    def scale(self) -> float:
        return float(self.booster.attr("scale"))

    @property
    def horizon(self) -> float:
        """The month that the margin speaks of."""
        return float(self.booster.attr("horizon"))

    def margin(self, matrix: np.ndarray) -> np.ndarray:
        return (np.log(self.horizon) - self.predicted(matrix)) / self.scale

    def contributions(self, matrix: np.ndarray) -> np.ndarray:
        return -self.explained(matrix) / self.scale

    def risk(self, matrix: np.ndarray, months: np.ndarray) -> np.ndarray:
        """The probability, before calibration, of the event by each of these months (k,): (n, k).

        At the horizon it is that of the margin. Raises LearningError for a month that is not above 0.
        """
        months = np.asarray(months, dtype=float)
        if not (months > 0).all():
            raise LearningError(f"the risk was asked by months {months.tolist()}; a month is above 0")
        return expit((np.log(months) - self.predicted(matrix)[:, None]) / self.scale)


def _scale_and_horizon(architecture: Architecture) -> tuple[float, float]:
    found = tuple(float(architecture.parameters.get(name, 0.0)) for name in ("scale", "horizon"))
    if not all(value > 0 for value in found):
        raise LearningError(
            "an architecture of kind survival has a scale and a horizon above 0, and not "
            f"{found[0]:g} and {found[1]:g}; declare learner.time_scale"
        )
    return found


def _parameters(
    architecture: Architecture, seed: int, encoder: Encoder, label: np.ndarray, weight: np.ndarray
) -> dict[str, Any]:
    """What XGBoost is given. The trees start from the time at which a logistic law has the risk that all
    these rows together have by the horizon."""
    scale, horizon = _scale_and_horizon(architecture)
    lower, upper = label.T
    risk = 1 - censoring.without_event(lower, lower == upper, weight).at(horizon)
    start = np.log(horizon) - scale * logit(np.clip(risk, _RISK, 1 - _RISK))
    objective = {
        "objective": "survival:aft",
        "aft_loss_distribution": "logistic",
        "aft_loss_distribution_scale": scale,
        "base_score": float(np.exp(start)),
        "disable_default_eval_metric": True,
    }
    given = parameters(architecture, seed, encoder, objective, rising=-1)
    return {name: value for name, value in given.items() if name not in ("scale", "horizon")}


def _rows(
    encoder: Encoder,
    matrix: np.ndarray,
    label: np.ndarray,
    weight: np.ndarray,
    feature_weights: list[float] | None = None,
) -> xgboost.DMatrix:
    return dmatrix(encoder, matrix, np.maximum(label, EARLIEST), weight, feature_weights)
