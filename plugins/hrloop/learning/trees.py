"""Boosted trees (XGBoost): learnt, kept as UBJ, explained exactly."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

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


@dataclass(frozen=True, eq=False)
class Trees:
    """A booster over the columns of an encoder. ``Model`` in ``fitted`` says what its methods do."""

    file: ClassVar[str] = "model.ubj"
    encoder: Encoder
    booster: xgboost.Booster

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
        """The forward folds. ``rounds`` is where the loss on a fold's next block was least, ``log_loss`` the
        loss there at the number that is chosen for all folds, their median."""
        given = parameters(architecture, learner.seed, encoder)
        weights = architecture.weights(encoder.names)
        found, curves = [], []
        for learn, validate in learnable(label, learner.folds):
            curve: dict[str, Any] = {}
            booster = xgboost.train(
                given,
                dmatrix(encoder, matrix[learn], label[learn], weight[learn], weights),
                num_boost_round=learner.rounds,
                evals=[(dmatrix(encoder, matrix[validate], label[validate], weight[validate]), "next")],
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
        given, rounds = parameters(architecture, learner.seed, encoder), chosen_rounds(folds)
        rows = dmatrix(encoder, matrix, label, weight, architecture.weights(encoder.names))
        booster = xgboost.train(given, rows, num_boost_round=rounds)
        return cls(encoder, booster), {"parameters": given, "rounds": rounds, "folds": folds}

    @classmethod
    def load(cls, content: bytes, encoder: Encoder) -> "Trees":
        booster = xgboost.Booster()
        booster.load_model(bytearray(content))
        return cls(encoder, booster)

    def as_bytes(self) -> bytes:
        return bytes(self.booster.save_raw("ubj"))

    def margin(self, matrix: np.ndarray) -> np.ndarray:
        with _threads(len(matrix)):
            margin = self.booster.inplace_predict(matrix, predict_type="margin", validate_features=False)
        return margin.astype(np.float64)

    def contributions(self, matrix: np.ndarray) -> np.ndarray:
        with _threads(len(matrix)):
            rows = xgboost.DMatrix(
                matrix,
                feature_names=self.encoder.names,
                feature_types=self.encoder.feature_types,
                enable_categorical=True,
            )
            return self.booster.predict(rows, pred_contribs=True)[:, :-1].astype(np.float64)


def _threads(rows: int) -> AbstractContextManager:
    """As many threads as there are cores; for a few rows one, as it takes longer to wake the others."""
    return xgboost.config_context(nthread=1) if rows < FEW else nullcontext()


def chosen_rounds(folds: list[dict[str, float]]) -> int:
    """How many trees: the median, over forward folds, of where the loss on the next block was least.

    The losses chose the rounds, so they flatter; the evaluation part does not know them.
    """
    return round(float(np.median([fold["rounds"] for fold in folds])))


def parameters(architecture: Architecture, seed: int, encoder: Encoder) -> dict[str, Any]:
    """What the architecture says, and what the engine answers for.

    One thread: sums of floats depend on how threads share them, and the same bytes on any machine are
    worth more than speed at the number of labels that HR decisions have. Raises LearningError for feature
    weights that could have no effect.
    """
    given = {
        **architecture.parameters,
        "objective": "binary:logistic",
        "eval_metric": "logloss",
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
        constraints = ",".join(str(column.monotone) for column in encoder.columns)
        given["monotone_constraints"] = f"({constraints})"
    return given


def dmatrix(
    encoder: Encoder,
    matrix: np.ndarray,
    label: np.ndarray,
    weight: np.ndarray,
    feature_weights: list[float] | None = None,
) -> xgboost.DMatrix:
    """Encoded rows with labels and weights, categories marked as such."""
    return xgboost.DMatrix(
        matrix,
        label=label,
        weight=weight,
        feature_names=encoder.names,
        feature_types=encoder.feature_types,
        feature_weights=feature_weights,
        enable_categorical=True,
        nthread=1,
    )
