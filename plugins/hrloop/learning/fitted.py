"""A fitted model as an object of its own: scores, explains, and is kept as data, never as code."""

import hashlib
import json
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xgboost
from scipy.special import expit

from hrloop.learning import calibration, encoding
from hrloop.learning.calibration import Calibrator
from hrloop.learning.encoding import Encoder
from hrloop.learning.errors import LearningError

MODEL_FILE, PARAMETERS_FILE = "model.ubj", "fitted.json"
FORMAT = 1


@dataclass(frozen=True, eq=False)
class Fitted:
    """A booster, what it was fed, its calibrator, and how it was trained.

    ``model``: the booster as UBJ bytes. ``summary``: plain figures of the training. ``held_out``: the
    labels kept for evaluation with their scores (decision_id, group_key, decided_at, label, weight, score,
    probability); it is evidence, not part of the model, so a loaded model has none.
    """

    use_case: str
    as_of: str
    encoder: Encoder
    calibrator: Calibrator
    model: bytes = field(repr=False)
    summary: dict[str, Any] = field(repr=False)
    held_out: pd.DataFrame | None = field(default=None, repr=False)

    @cached_property
    def booster(self) -> xgboost.Booster:
        booster = xgboost.Booster()
        booster.load_model(bytearray(self.model))
        return booster

    @cached_property
    def identity(self) -> str:
        """SHA-256 of all that is saved: equal for equal models, in hexadecimal."""
        return hashlib.sha256(self._parameters().encode()).hexdigest()

    @property
    def feature_names(self) -> list[str]:
        return self.encoder.names

    def margin(self, frame: pd.DataFrame) -> np.ndarray:
        """Log-odds (n,) of a good outcome, before calibration. Raises MissingColumn, LearningError."""
        if len(frame) == 0:
            return np.empty(0)
        matrix = self.encoder.matrix(frame)
        margin = self.booster.inplace_predict(matrix, predict_type="margin", validate_features=False)
        return margin.astype(np.float64)

    def score(self, frame: pd.DataFrame) -> np.ndarray:
        """Uncalibrated probability (n,) of a good outcome."""
        return expit(self.margin(frame))

    def probability(self, frame: pd.DataFrame) -> np.ndarray:
        """Calibrated probability (n,) of a good outcome; in the order of the scores."""
        return self.calibrator.probability(self.score(frame))

    def contributions(self, frame: pd.DataFrame) -> np.ndarray:
        """What each feature adds to the log-odds before calibration: (n, features), exact SHAP values.

        A row's contributions and one constant, the same for all rows, sum to its ``margin``.
        """
        if len(frame) == 0:
            return np.empty((0, len(self.encoder.columns)))
        matrix = xgboost.DMatrix(
            self.encoder.matrix(frame),
            feature_names=self.encoder.names,
            feature_types=self.encoder.feature_types,
            enable_categorical=True,
        )
        return self.booster.predict(matrix, pred_contribs=True)[:, :-1].astype(np.float64)

    def edge_cases(self, frame: pd.DataFrame) -> list[list[str]]:
        """Per row, in words, each way in which it lies outside of what was learnt from; empty if none."""
        return self.encoder.edge_cases(frame)

    def recalibrated(self, calibrator: Calibrator) -> "Fitted":
        """The same model under another calibrator: ranks and contributions stay."""
        return replace(self, calibrator=calibrator, held_out=None)

    def save(self, folder: Path) -> None:
        """Write ``model.ubj`` and ``fitted.json``; the latter last, and with the hash of the former, so
        that a folder written half is not taken for a model."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / PARAMETERS_FILE).unlink(missing_ok=True)
        (folder / MODEL_FILE).write_bytes(self.model)
        (folder / PARAMETERS_FILE).write_text(self._parameters(), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "Fitted":
        """The model saved in this folder.

        Raises LearningError when a file is missing, the two do not belong together, or the format is of
        another version.
        """
        try:
            model = (folder / MODEL_FILE).read_bytes()
            data = json.loads((folder / PARAMETERS_FILE).read_text(encoding="utf-8"))
        except (FileNotFoundError, json.JSONDecodeError) as error:
            raise LearningError(f"{folder} holds no whole model: {error}; register it again") from error
        if data.get("format") != FORMAT:
            raise LearningError(
                f"{folder / PARAMETERS_FILE} has format {data.get('format')!r}, and this version of hrloop "
                f"reads {FORMAT}; load it with the version that wrote it, or train again"
            )
        if data["model_sha256"] != hashlib.sha256(model).hexdigest():
            raise LearningError(
                f"{folder / MODEL_FILE} is not the model that {PARAMETERS_FILE} describes (its SHA-256 "
                "differs); register it again"
            )
        return cls(
            use_case=data["use_case"],
            as_of=data["as_of"],
            encoder=encoding.from_dict(data["columns"]),
            calibrator=calibration.from_dict(data["calibrator"]),
            model=model,
            summary=data["summary"],
        )

    def _parameters(self) -> str:
        return json.dumps(
            {
                "format": FORMAT,
                "use_case": self.use_case,
                "as_of": self.as_of,
                "columns": self.encoder.as_dict(),
                "calibrator": self.calibrator.as_dict(),
                "summary": self.summary,
                "model_sha256": hashlib.sha256(self.model).hexdigest(),
            },
            indent=1,
            sort_keys=True,
            allow_nan=False,
        )
