"""From a frame of features to the matrix a learner reads, and what in it the learner has never seen.

Categories and ranges are taken from the rows learnt from and kept: a category unseen there is missing to
the model and an edge case to the router.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from hrloop.learning.errors import LearningError, MissingColumn

NUMBER, CATEGORY, BOOLEAN = "number", "category", "boolean"


@dataclass(frozen=True)
class Column:
    """One feature: its categories in the order of their codes, or the range (low, high) of its values."""

    name: str
    type: str
    monotone: int = 0
    categories: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    seen_missing: bool = True

    @cached_property
    def codes(self) -> pc.SetLookupOptions:
        """The categories as Arrow looks codes up in."""
        return pc.SetLookupOptions(pa.array(self.categories, pa.string()))


@dataclass(frozen=True)
class Encoder:
    """The columns of the matrix, in order."""

    columns: tuple[Column, ...]

    @cached_property
    def names(self) -> list[str]:
        return [column.name for column in self.columns]

    @property
    def feature_types(self) -> list[str]:
        """XGBoost's name of each type: ``c`` for a category, ``q`` for a quantity."""
        return ["c" if column.type == CATEGORY else "q" for column in self.columns]

    @cached_property
    def low(self) -> np.ndarray:
        """Where each range begins (columns, 1); NaN, which nothing is below, where there is none."""
        return np.array([[column.low] for column in self.columns], dtype=np.float64)

    @cached_property
    def high(self) -> np.ndarray:
        """Where each range ends (columns, 1); NaN, which nothing is above, where there is none."""
        return np.array([[column.high] for column in self.columns], dtype=np.float64)

    @cached_property
    def telling(self) -> np.ndarray:
        """Whether NaN may be something new (columns, 1), and not just missing as it was in training."""
        return np.array([[c.type == CATEGORY or not c.seen_missing] for c in self.columns])

    def encode(self, rows: pd.DataFrame | Mapping[str, np.ndarray]) -> "Encoded":
        """Rows as they are read: a frame, or an array (n,) for each column, which for a few rows takes less
        time than to take the columns out of a frame.

        Raises MissingColumn, and LearningError for a number that is none.
        """
        require(rows, self.names, "the frame to be scored")
        given = tuple(np.asarray(rows[name]) for name in self.names)
        values = np.empty((len(given), len(given[0])))
        for index, column in enumerate(self.columns):
            values[index] = _encoded(given[index], column)
        return Encoded(self, given, values)

    def matrix(self, frame: pd.DataFrame) -> np.ndarray:
        """The features as (n, columns) float32. Raises as ``encode`` does."""
        return self.encode(frame).matrix

    def as_dict(self) -> list[dict[str, Any]]:
        return [
            {
                "name": c.name,
                "type": c.type,
                "monotone": c.monotone,
                "categories": list(c.categories),
                "low": c.low,
                "high": c.high,
                "seen_missing": c.seen_missing,
            }
            for c in self.columns
        ]


@dataclass(frozen=True, eq=False)
class Encoded:
    """Rows as they are read: encoded once, to be scored and to be looked at.

    ``given``: an array (n,) for each column; ``values``: what is read of them, (columns, n) float64, a
    category by its code, anything missing or unseen NaN.
    """

    encoder: Encoder
    given: tuple[np.ndarray, ...]
    values: np.ndarray

    def __len__(self) -> int:
        return self.values.shape[1]

    @cached_property
    def matrix(self) -> np.ndarray:
        """The features as (n, columns) float32, as the learner takes them."""
        matrix = np.empty(self.values.shape[::-1], dtype=np.float32)
        for index, values in enumerate(self.values):
            matrix[:, index] = values
        return matrix

    def edge_cases(self) -> tuple[np.ndarray, list[str]]:
        """Each way in which a row lies outside of the rows learnt from, in words, and before it the rows (k,)
        that these k words are of; those of one row in the order of the columns."""
        values, encoder = self.values, self.encoder
        odd = (values < encoder.low) | (values > encoder.high) | (np.isnan(values) & encoder.telling)
        found, words = [np.empty(0, int)], []
        for index in np.flatnonzero(odd.any(axis=1)):
            column, rows = encoder.columns[index], np.flatnonzero(odd[index])
            if column.type == CATEGORY and column.seen_missing:
                rows = rows[~pd.isna(self.given[index][rows])]
            found.append(rows)
            words += _outside(column, self.given[index][rows], values[index][rows])
        return np.concatenate(found), words


def from_dict(columns: list[dict[str, Any]]) -> Encoder:
    """The encoder that ``as_dict`` wrote."""
    return Encoder(tuple(Column(**{**c, "categories": tuple(c["categories"])}) for c in columns))


def fit_encoder(features: Any, frame: pd.DataFrame, range_tail: float) -> Encoder:
    """Categories, ranges and missingness of the features in the rows learnt from.

    ``features``: objects with name, type and monotone, as a use case declares them. ``range_tail``: share
    of the values left out beyond each end of a range. Raises MissingColumn, and LearningError when a
    column does not hold what its type says.
    """
    require(frame, [feature.name for feature in features], "the training frame")
    return Encoder(tuple(_column(feature, frame[feature.name], range_tail) for feature in features))


def require(rows: pd.DataFrame | Mapping[str, np.ndarray], columns: list[str], where: str) -> None:
    """Raises MissingColumn naming every column that the rows lack."""
    missing = [name for name in columns if name not in rows]
    if missing:
        raise MissingColumn(missing, where)


def _column(feature: Any, series: pd.Series, tail: float) -> Column:
    monotone = {"increasing": 1, "decreasing": -1, None: 0}[feature.monotone]
    present = series.dropna()
    seen_missing = len(present) < len(series)
    if feature.type == CATEGORY:
        values = pc.unique(_texts(present.to_numpy(), feature.name)).to_pylist()
        return Column(feature.name, feature.type, categories=tuple(sorted(values)), seen_missing=seen_missing)
    values = np.sort(_numbers(present.to_numpy(), feature.name))
    if len(values) == 0:
        return Column(feature.name, feature.type, monotone, seen_missing=seen_missing)
    # the ends are values that were seen, so that at few rows they are the smallest and the largest
    cut = int(tail * len(values))
    low, high = float(values[cut]), float(values[-1 - cut])
    return Column(feature.name, feature.type, monotone, low=low, high=high, seen_missing=seen_missing)


def _encoded(given: np.ndarray, column: Column) -> np.ndarray:
    """The values (n,) as the learner reads them, NaN where they are missing or unseen."""
    if column.type != CATEGORY:
        return _numbers(given, column.name)
    codes = pc.index_in(_texts(given, column.name), options=column.codes)
    return codes.to_numpy(zero_copy_only=False)  # null becomes NaN


def _outside(column: Column, given: np.ndarray, values: np.ndarray) -> list[str]:
    """What is new about each of these values (k,) of a column, as they are given and as they are read."""
    return [
        f"{column.name} {value:g} is outside of {column.low:g} to {column.high:g}, the range seen in training"
        if not np.isnan(value)
        else f"{column.name} is missing, and never was in training"
        if missing
        else f"{column.name} '{one}' was not seen in training"
        for one, missing, value in zip(given, pd.isna(given), values, strict=True)
    ]


def _texts(given: np.ndarray, name: str) -> pa.Array:
    """The column as Arrow strings: about ten times as fast to look up as a pandas Categorical."""
    try:
        return pa.array(given, type=pa.string(), from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise LearningError(
            f"feature {name} is declared a category but does not hold text ({error}); "
            "cast it to text in the feature table, or declare it a number"
        ) from error


def _numbers(given: np.ndarray, name: str) -> np.ndarray:
    try:
        if given.dtype == object:  # numpy reads None as NaN, but not the NA of pandas
            given = np.where(pd.isna(given), np.nan, given)
        values = given.astype(np.float64, copy=False)
    except (TypeError, ValueError) as error:
        raise LearningError(
            f"feature {name} is declared a number but cannot be read as one ({error}); "
            "cast it in the feature table, or declare it a category"
        ) from error
    if np.isinf(values).any():
        raise LearningError(f"feature {name} is infinite in {int(np.isinf(values).sum())} rows; make it null")
    return values
