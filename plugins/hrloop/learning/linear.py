"""Logistic regression: learnt by scikit-learn, kept as plain parameters, explained by itself.

A number is standardised and has a mark for being missing; a category has one column for each of its values
and one for being missing. A fitted model needs of all this only what each feature adds to the log-odds, so
that is what is kept: a line for a number, a table for a category.
"""

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from hrloop.learning.architecture import Architecture
from hrloop.learning.encoding import CATEGORY, Column, Encoder
from hrloop.learning.folds import learnable, log_loss

if TYPE_CHECKING:
    from hrloop.usecase import Learner


@dataclass(frozen=True)
class Term:
    """What one feature adds to the log-odds, less what it adds on average over the rows learnt from.

    A number that is there adds ``slope * (value - mean) + levels[0]``; a category adds the level of its
    code. The last level is that of a missing value.
    """

    name: str
    slope: float
    mean: float
    levels: tuple[float, ...]

    def contribution(self, values: np.ndarray, column: Column) -> np.ndarray:
        """(n,) from the column's values (n,) as encoded, NaN where missing."""
        missing, levels = np.isnan(values), np.array(self.levels)
        if column.type == CATEGORY:
            return levels[np.where(missing, len(levels) - 1, values).astype(int)]
        return np.where(missing, levels[-1], self.slope * (values - self.mean) + levels[0])


@dataclass(frozen=True, eq=False)
class Linear:
    """A constant and one term a feature. ``Model`` in ``fitted`` says what its methods do."""

    file: ClassVar[str] = "model.json"
    learns: ClassVar[Literal["label", "time"]] = "label"
    encoder: Encoder
    constant: float
    terms: tuple[Term, ...]

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
        found = []
        for learn, validate in learnable(label, learner.folds):
            model = _fitted(architecture, encoder, matrix[learn], label[learn], weight[learn])
            margin = model.margin(matrix[validate])
            found.append(
                {
                    "learnt_from": learn.stop,
                    "validated_on": validate.stop - validate.start,
                    "log_loss": round(log_loss(margin, label[validate], weight[validate]), 6),
                }
            )
        return found

    @classmethod
    def fit(
        cls,
        architecture: Architecture,
        learner: "Learner",
        encoder: Encoder,
        matrix: np.ndarray,
        label: np.ndarray,
        weight: np.ndarray,
    ) -> tuple["Linear", dict[str, Any]]:
        folds = cls.forward(architecture, learner, encoder, matrix, label, weight)
        model = _fitted(architecture, encoder, matrix, label, weight)
        return model, {"parameters": dict(architecture.parameters), "folds": folds}

    @classmethod
    def load(cls, content: bytes, encoder: Encoder) -> "Linear":
        data = json.loads(content)
        terms = tuple(Term(**{**term, "levels": tuple(term["levels"])}) for term in data["terms"])
        return cls(encoder, data["constant"], terms)

    def as_bytes(self) -> bytes:
        data = {"constant": self.constant, "terms": [asdict(term) for term in self.terms]}
        return json.dumps(data, indent=1, sort_keys=True, allow_nan=False).encode()

    def margin(self, matrix: np.ndarray) -> np.ndarray:
        # one feature after the other: a row's sum does not depend on how many rows there are
        margin = np.full(len(matrix), self.constant)
        for contribution in self.contributions(matrix).T:
            margin += contribution
        return margin

    def contributions(self, matrix: np.ndarray) -> np.ndarray:
        matrix = matrix.astype(np.float64)
        columns = zip(self.terms, self.encoder.columns, matrix.T, strict=True)
        return np.column_stack([term.contribution(values, column) for term, column, values in columns])


def _fitted(
    architecture: Architecture, encoder: Encoder, matrix: np.ndarray, label: np.ndarray, weight: np.ndarray
) -> Linear:
    """The most probable terms, weights of the rows counted, under a Gaussian prior on every coefficient.

    A feature's weight multiplies its columns, and with them the standard deviation of its prior.
    """
    matrix = matrix.astype(np.float64)
    feature_weights = architecture.weights(encoder.names) or [1.0] * len(encoder.columns)
    parts = [
        _columns(matrix[:, index], column, weight) * feature_weights[index]
        for index, column in enumerate(encoder.columns)
    ]
    model = LogisticRegression(**architecture.parameters, solver="newton-cholesky", tol=1e-8)
    with threadpool_limits(limits=1, user_api="blas"):  # sums depend on how threads share them
        model.fit(np.hstack(parts), label, sample_weight=weight)
    edges = np.cumsum([part.shape[1] for part in parts])[:-1]
    constant, terms = float(model.intercept_[0]), []
    for index, coefficients in enumerate(np.split(model.coef_[0], edges)):
        term, average = _term(
            coefficients * feature_weights[index], matrix[:, index], encoder.columns[index], weight
        )
        terms.append(term)
        constant += average
    return Linear(encoder, constant, tuple(terms))


def _columns(values: np.ndarray, column: Column, weight: np.ndarray) -> np.ndarray:
    """The columns (n, k) that a feature becomes, the last one marking the missing values."""
    missing = np.isnan(values)
    if column.type == CATEGORY:
        width = len(column.categories) + 1
        return np.eye(width)[np.where(missing, width - 1, values).astype(int)]
    mean, scale = _moments(values, weight)
    return np.column_stack([np.where(missing, 0.0, (values - mean) / scale), missing])


def _term(
    coefficients: np.ndarray, values: np.ndarray, column: Column, weight: np.ndarray
) -> tuple[Term, float]:
    """A feature's term, and the average that it leaves to the constant."""
    missing = np.isnan(values)
    if column.type == CATEGORY:
        codes = np.where(missing, len(coefficients) - 1, values).astype(int)
        average = float(np.average(coefficients[codes], weights=weight))
        return Term(column.name, 0.0, 0.0, tuple((coefficients - average).tolist())), average
    mean, scale = _moments(values, weight)
    average = float(coefficients[1] * np.average(missing, weights=weight))
    levels = (-average, float(coefficients[1]) - average)
    return Term(column.name, float(coefficients[0]) / scale, mean, levels), average


def _moments(values: np.ndarray, weight: np.ndarray) -> tuple[float, float]:
    """Weighted mean and standard deviation of the values that are there; 0 and 1 where none vary."""
    present = ~np.isnan(values)
    values, weight = values[present], weight[present]
    if len(values) == 0:
        return 0.0, 1.0
    mean = np.average(values, weights=weight)
    scale = np.sqrt(np.average(np.square(values - mean), weights=weight)) if np.ptp(values) else 1.0
    return float(mean), float(scale)
