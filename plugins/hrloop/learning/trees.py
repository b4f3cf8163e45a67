"""Boosted trees (XGBoost): learnt, kept as UBJ, explained exactly."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
import xgboost

from hrloop.learning.architecture import Architecture
from hrloop.learning.encoding import Encoder
from hrloop.learning.errors import LearningError
from hrloop.learning.folds import learnable

if TYPE_CHECKING:
    from hrloop.usecase import Learner

FEW = 1000  # rows: from here on a second thread saves time
DRAWN = ("colsample_bytree", "colsample_bylevel", "colsample_bynode")
LABEL = {"objective": "binary:logistic", "eval_metric": "logloss"}


@dataclass(frozen=True, eq=False)
class Boosted:
    """A booster over the columns of an encoder, whatever it was learnt from."""

    file: ClassVar[str] = "model.ubj"
    encoder: Encoder
    booster: xgboost.Booster

    @classmethod
    def load(cls, content: bytes, encoder: Encoder) -> Self:
        booster = xgboost.Booster()
        booster.load_model(bytearray(content))
        return cls(encoder, booster)

    def as_bytes(self) -> bytes:
        return bytes(self.booster.save_raw("ubj"))

    def predicted(self, matrix: np.ndarray) -> np.ndarray:
        """The sum of the trees (n,)."""
        booster = self._for(matrix)
        predicted = booster.inplace_predict(matrix, predict_type="margin", validate_features=False)
        return predicted.astype(np.float64)

    def explained(self, matrix: np.ndarray) -> np.ndarray:
        """What each column adds to the sum of the trees (n, columns): exact SHAP values."""
        rows = dmatrix(self.encoder, matrix)
        return self._for(matrix).predict(rows, pred_contribs=True)[:, :-1].astype(np.float64)

    def _for(self, matrix: np.ndarray) -> xgboost.Booster:
        """The booster with as many threads as there are cores; for a few rows the one with one thread."""
        return self._alone if len(matrix) < FEW else self.booster

    @cached_property
    def _alone(self) -> xgboost.Booster:
        """A copy with one thread: to wake others takes longer than to score a few rows, and XGBoost's
        ``config_context`` does not give a process its threads back."""
        alone = self.booster.copy()
        alone.set_param({"nthread": 1})
        return alone


class Trees(Boosted):
    """Trees whose sum is the log-odds. ``Model`` in ``fitted`` says what its methods do."""

    learns: ClassVar[Literal["label", "time"]] = "label"

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
        given = parameters(architecture, learner.seed, encoder)
        weights = architecture.weights(encoder.names)

        def fold(learn: slice, validate: slice) -> Fold:
            return (
                given,
                dmatrix(encoder, matrix[learn], label[learn], weight[learn], weights),
                dmatrix(encoder, matrix[validate], label[validate], weight[validate]),
            )

        return walk(learnable(label, learner.folds), fold, learner)

    @classmethod
    def fit(
        cls,
        architecture: Architecture,
        learner: "Learner",
        encoder: Encoder,
        matrix: np.ndarray,
        label: np.ndarray,
        weight: np.ndarray,
    ) -> tuple["Trees", dict[str, Any]]:
        folds = cls.forward(architecture, learner, encoder, matrix, label, weight)
        given = parameters(architecture, learner.seed, encoder)
        rows = dmatrix(encoder, matrix, label, weight, architecture.weights(encoder.names))
        booster, figures = grow(given, rows, folds)
        return cls(encoder, booster), figures

    def margin(self, matrix: np.ndarray) -> np.ndarray:
        return self.predicted(matrix)

    def contributions(self, matrix: np.ndarray) -> np.ndarray:
        return self.explained(matrix)


Fold = tuple[dict[str, Any], xgboost.DMatrix, xgboost.DMatrix]  # parameters, rows to learn from, next rows


def walk(
    folds: list[tuple[slice, slice]],
    fold: Callable[[slice, slice], Fold],
    learner: "Learner",
    metric: Callable[[np.ndarray, xgboost.DMatrix], tuple[str, float]] | None = None,
) -> list[dict[str, float]]:
    """The forward folds. ``rounds`` is where the loss on a fold's next block was least, ``log_loss`` the
    loss there at the number that is chosen for all folds, their median.

    ``fold``: makes of a pair of slices what XGBoost is given; ``metric``: measures ``logloss`` where the
    objective's own does not.
    """
    found, curves = [], []
    for learn, validate in folds:
        given, rows, following = fold(learn, validate)
        curve: dict[str, Any] = {}
        booster = xgboost.train(
            given,
            rows,
            num_boost_round=learner.rounds,
            evals=[(following, "next")],
            custom_metric=metric,
            early_stopping_rounds=learner.early_stopping_rounds,
            evals_result=curve,
            verbose_eval=False,
        )
        curves.append(curve["next"]["logloss"])
        found.append(
            {
                "learnt_from": learn.stop,
                "validated_on": validate.stop - validate.start,
                "rounds": booster.best_iteration + 1,
            }
        )
    rounds = chosen_rounds(found)
    # a fold that stopped before had not improved for early_stopping_rounds: its last loss stands in
    return [
        fold | {"log_loss": round(float(curve[min(rounds, len(curve)) - 1]), 6)}
        for fold, curve in zip(found, curves, strict=True)
    ]


def grow(
    given: dict[str, Any], rows: xgboost.DMatrix, folds: list[dict[str, float]]
) -> tuple[xgboost.Booster, dict[str, Any]]:
    """As many trees as the forward folds chose, from all rows, and the plain figures of the training."""
    rounds = chosen_rounds(folds)
    booster = xgboost.train(given, rows, num_boost_round=rounds)
    return booster, {"parameters": given, "rounds": rounds, "folds": folds}


def chosen_rounds(folds: list[dict[str, float]]) -> int:
    """How many trees: the median, over forward folds, of where the loss on the next block was least.

    The losses chose the rounds, so they flatter; the evaluation part does not know them.
    """
    return round(float(np.median([fold["rounds"] for fold in folds])))


def parameters(
    architecture: Architecture,
    seed: int,
    encoder: Encoder,
    objective: dict[str, Any] = LABEL,
    rising: int = 1,
) -> dict[str, Any]:
    """What the architecture says, and what the engine answers for.

    ``objective``: XGBoost's, with settings of its own; ``rising``: 1 where the sum of the trees rises with
    the log-odds, to which the declared directions refer, and -1 where it falls. One thread: sums of floats
    depend on how threads share them, and the same bytes on any machine are worth more than speed at the
    number of labels that HR decisions have. Raises LearningError for feature weights that could have no
    effect.
    """
    given = {
        **architecture.parameters,
        **objective,
        "tree_method": "hist",
        "device": "cpu",
        "nthread": 1,
        "seed": seed,
    }
    if architecture.weights(encoder.names) and all(given.get(name, 1.0) >= 1 for name in DRAWN):
        raise LearningError(
            f"feature weights are chances to be drawn, and all columns are drawn: set one of "
            f"{', '.join(DRAWN)} below 1"
        )
    if architecture.monotone and any(column.monotone for column in encoder.columns):
        constraints = ",".join(str(rising * column.monotone) for column in encoder.columns)
        given["monotone_constraints"] = f"({constraints})"
    return given


def dmatrix(
    encoder: Encoder,
    matrix: np.ndarray,
    label: np.ndarray | None = None,
    weight: np.ndarray | None = None,
    feature_weights: list[float] | None = None,
) -> xgboost.DMatrix:
    """Encoded rows, categories marked as such, with labels (n,) or bounds of a time (n, 2), and weights."""
    bounded = label is not None and label.ndim == 2
    return xgboost.DMatrix(
        matrix,
        label=None if bounded else label,
        label_lower_bound=label[:, 0] if bounded else None,
        label_upper_bound=label[:, 1] if bounded else None,
        weight=weight,
        feature_names=encoder.names,
        feature_types=encoder.feature_types,
        feature_weights=feature_weights,
        enable_categorical=True,
        nthread=1,
    )
