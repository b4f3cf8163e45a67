"""A fitted model as an object of its own: scores, explains, and is kept as data, never as code."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, Self

import numpy as np
import pandas as pd
from scipy.special import expit

from hrloop.learning import architecture, calibration, encoding
from hrloop.learning.architecture import Architecture
from hrloop.learning.calibration import Calibrator
from hrloop.learning.encoding import Encoded, Encoder
from hrloop.learning.errors import LearningError, MissingColumn
from hrloop.learning.linear import Linear
from hrloop.learning.survival import Survival
from hrloop.learning.trees import Trees

if TYPE_CHECKING:
    from hrloop.usecase import Learner

PARAMETERS_FILE = "fitted.json"
FORMAT = 2
READABLE = (1, 2)  # in format 1 every model was boosted trees, and no architecture was written


class Model(Protocol):
    """A kind of model: how it is learnt, and what it says of encoded rows.

    matrix: (n, columns) as ``Encoder.matrix`` gives it; weight: (n,), mean about 1; rows in the order of
    their decisions. label: where the kind learns labels (n,), 0 or 1; where it learns times (n, 2), the
    months between which the event lies (``censoring.bounds``). ``learner``: the declaration's rounds, folds
    and seed.
    """

    file: ClassVar[str]  # its name in a saved folder
    learns: ClassVar[Literal["label", "time"]]

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
        """Per forward fold, its rows and the weighted ``log_loss`` on the block that came next.

        Raises LearningError when no fold has both classes to learn from.
        """

    @classmethod
    def fit(
        cls,
        architecture: Architecture,
        learner: "Learner",
        encoder: Encoder,
        matrix: np.ndarray,
        label: np.ndarray,
        weight: np.ndarray,
    ) -> tuple[Self, dict[str, Any]]:
        """The model of all these rows, and the plain figures of its training. Raises as ``forward``."""

    @classmethod
    def load(cls, content: bytes, encoder: Encoder) -> Self:
        """The model that ``as_bytes`` wrote."""

    def as_bytes(self) -> bytes: ...

    def margin(self, matrix: np.ndarray) -> np.ndarray:
        """Log-odds (n,)."""

    def contributions(self, matrix: np.ndarray) -> np.ndarray:
        """What each column adds to the log-odds (n, columns), up to one constant for all rows."""


KINDS: dict[str, type[Model]] = {"xgboost": Trees, "linear": Linear, "survival": Survival}


@dataclass(frozen=True, eq=False)
class Fitted:
    """A model, what it was fed, its calibrator, and how it was trained.

    ``model``: as bytes, UBJ for trees and JSON for a linear model. ``summary``: plain figures of the
    training, with its ``architecture``. ``held_out``: the labels kept for evaluation with their scores
    (decision_id, group_key, decided_at, label, weight, score, probability); it is evidence, not part of the
    model, so a loaded model has none.
    """

    use_case: str
    as_of: str
    encoder: Encoder
    calibrator: Calibrator
    model: bytes = field(repr=False)
    summary: dict[str, Any] = field(repr=False)
    held_out: pd.DataFrame | None = field(default=None, repr=False)

    @property
    def architecture(self) -> Architecture | None:
        """What it was learnt with; None for a model of format 1, whose use case declared it."""
        written = self.summary.get("architecture")
        return architecture.from_dict(written) if written else None

    @cached_property
    def learnt(self) -> Model:
        """The model itself, which speaks of encoded rows."""
        return _kind(self.summary).load(self.model, self.encoder)

    @cached_property
    def identity(self) -> str:
        """SHA-256 of all that is saved: equal for equal models, in hexadecimal."""
        return hashlib.sha256(self._parameters().encode()).hexdigest()

    @property
    def feature_names(self) -> list[str]:
        return self.encoder.names

    def encode(self, rows: pd.DataFrame | Mapping[str, np.ndarray]) -> Encoded:
        """Rows, as a frame or as an array (n,) for each column, read once for all that follows.

        Raises MissingColumn, LearningError.
        """
        try:
            return self.encoder.encode(rows)
        except MissingColumn as missing:
            version = f"the version of {self.use_case} learnt at {self.as_of}"
            raise MissingColumn(missing.columns, "the frame to be scored", version) from missing

    def margin(self, cases: pd.DataFrame | Encoded) -> np.ndarray:
        """Log-odds (n,) of a good outcome, before calibration. Raises as ``encode`` does."""
        if len(cases) == 0:
            return np.empty(0)
        return self.learnt.margin(self._read(cases).matrix)

    def score(self, cases: pd.DataFrame | Encoded) -> np.ndarray:
        """Uncalibrated probability (n,) of a good outcome."""
        return expit(self.margin(cases))

    def probability(self, cases: pd.DataFrame | Encoded) -> np.ndarray:
        """Calibrated probability (n,) of a good outcome; in the order of the scores."""
        return self.calibrator.probability(self.score(cases))

    def contributions(self, cases: pd.DataFrame | Encoded) -> np.ndarray:
        """What each feature adds to the log-odds before calibration: (n, features), exact SHAP values.

        Of a linear model these are coefficient times distance from the mean of the rows learnt from. A
        row's contributions and one constant, the same for all rows, sum to its ``margin``.
        """
        if len(cases) == 0:
            return np.empty((0, len(self.encoder.columns)))
        return self.learnt.contributions(self._read(cases).matrix)

    def edge_cases(self, cases: pd.DataFrame | Encoded) -> tuple[np.ndarray, list[str]]:
        """Rows (k,), and for each in words one way in which it lies outside of what was learnt from."""
        return self._read(cases).edge_cases()

    def _read(self, cases: pd.DataFrame | Encoded) -> Encoded:
        return cases if isinstance(cases, Encoded) else self.encode(cases)

    def recalibrated(self, calibrator: Calibrator) -> "Fitted":
        """The same model under another calibrator: ranks and contributions stay."""
        return replace(self, calibrator=calibrator, held_out=None)

    def save(self, folder: Path) -> None:
        """Write the model's file (``model.ubj`` or ``model.json``) and ``fitted.json``; the latter last, and
        with the hash of the former, so that a folder written half is not taken for a model."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / PARAMETERS_FILE).unlink(missing_ok=True)
        (folder / _kind(self.summary).file).write_bytes(self.model)
        (folder / PARAMETERS_FILE).write_text(self._parameters(), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "Fitted":
        """The model saved in this folder.

        Raises LearningError when a file is missing, the two do not belong together, or the format or the
        kind of model is of another version.
        """
        try:
            data = json.loads((folder / PARAMETERS_FILE).read_text(encoding="utf-8"))
            if data.get("format") not in READABLE:
                raise LearningError(
                    f"{folder / PARAMETERS_FILE} has format {data.get('format')!r}, and this version of "
                    f"hrloop reads {' and '.join(map(str, READABLE))}; load it with the version that wrote "
                    "it, or train again"
                )
            file = folder / _kind(data["summary"]).file
            model = file.read_bytes()
        except (FileNotFoundError, json.JSONDecodeError) as error:
            raise LearningError(f"{folder} holds no whole model: {error}; register it again") from error
        if data["model_sha256"] != hashlib.sha256(model).hexdigest():
            raise LearningError(
                f"{file} is not the model that {PARAMETERS_FILE} describes (its SHA-256 "
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
                # a model of format 1 stays what it was, and keeps its identity
                "format": FORMAT if "architecture" in self.summary else 1,
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


def _kind(summary: dict[str, Any]) -> type[Model]:
    """The class of a model by its summary; a summary of format 1 names no architecture."""
    kind = summary.get("architecture", {"kind": "xgboost"})["kind"]
    if kind not in KINDS:
        raise LearningError(
            f"a model of kind {kind!r} is not known here; known are {', '.join(KINDS)}; load it with the "
            "version that wrote it"
        )
    return KINDS[kind]
