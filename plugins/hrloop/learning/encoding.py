"""From a frame of features to the matrix a learner reads, and what in it the learner has never seen.

Categories and ranges are taken from the rows learnt from and kept: a category unseen there is missing to
the model and an edge case to the router.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from hrloop import arrow
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
    def known(self) -> pa.Array:
        """The categories as Arrow looks codes up in."""
        return pa.array(self.categories, pa.string())


@dataclass(frozen=True)
class Encoder:
    """The columns of the matrix, in order."""

    columns: tuple[Column, ...]

    @property
    def names(self) -> list[str]:
        return [column.name for column in self.columns]

    @property
    def feature_types(self) -> list[str]:
        """XGBoost's name of each type: ``c`` for a category, ``q`` for a quantity."""
        return ["c" if column.type == CATEGORY else "q" for column in self.columns]

    def matrix(self, frame: pd.DataFrame) -> np.ndarray:
        """The features as (n, columns) float32; a category by its code, anything missing or unseen NaN.

        Raises MissingColumn, and LearningError for a number that is none.
        """
        require(frame, self.names, "the frame to be scored")
        matrix = np.empty((len(frame), len(self.columns)), dtype=np.float32)
        for index, column in enumerate(self.columns):
            matrix[:, index] = _encoded(frame[column.name], column)
        return matrix

    def edge_cases(self, frame: pd.DataFrame) -> pa.ListArray:
        """Per row of the frame, in words, each way in which it lies outside of the rows learnt from."""
        require(frame, self.names, "the frame to be scored")
        found = [_outside(frame[column.name], column) for column in self.columns]
        row = np.concatenate([np.empty(0, int), *(rows for rows, _ in found)])
        return arrow.gathered(row, [one for _, words in found for one in words], len(frame))

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


def require(frame: pd.DataFrame, columns: list[str], where: str) -> None:
    """Raises MissingColumn naming every column that the frame lacks."""
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        raise MissingColumn(missing, where)


def _column(feature: Any, series: pd.Series, tail: float) -> Column:
    monotone = {"increasing": 1, "decreasing": -1, None: 0}[feature.monotone]
    present = series.dropna()
    seen_missing = len(present) < len(series)
    if feature.type == CATEGORY:
        values = pc.unique(_texts(present, feature.name)).to_pylist()
        return Column(feature.name, feature.type, categories=tuple(sorted(values)), seen_missing=seen_missing)
    values = np.sort(_numbers(present, feature.name))
    if len(values) == 0:
        return Column(feature.name, feature.type, monotone, seen_missing=seen_missing)
    # the ends are values that were seen, so that at few rows they are the smallest and the largest
    cut = int(tail * len(values))
    low, high = float(values[cut]), float(values[-1 - cut])
    return Column(feature.name, feature.type, monotone, low=low, high=high, seen_missing=seen_missing)


def _encoded(series: pd.Series, column: Column) -> np.ndarray:
    """The values (n,) as the learner reads them, NaN where they are missing or unseen."""
    if column.type != CATEGORY:
        return _numbers(series, column.name)
    codes = pc.index_in(_texts(series, column.name), value_set=column.known)
    return codes.to_numpy(zero_copy_only=False).astype(np.float32)  # null becomes NaN


def _outside(series: pd.Series, column: Column) -> tuple[np.ndarray, list[str]]:
    """The rows whose value lies outside of what was learnt from, and for each that in words."""
    values = _encoded(series, column)
    rows, words = [np.empty(0, int)], []
    if (column.type == CATEGORY or not column.seen_missing) and np.isnan(values).any():
        unread = np.flatnonzero(np.isnan(values))
        given = series.iloc[unread]
        missing = given.isna().to_numpy()
        if not column.seen_missing:
            rows.append(unread[missing])
            words += [f"{column.name} is missing, and never was in training"] * int(missing.sum())
        rows.append(unread[~missing])  # of a category: a number that is there is read
        words += [f"{column.name} '{value}' was not seen in training" for value in given[~missing]]
    if column.low is not None:
        rows.append(np.flatnonzero((values < column.low) | (values > column.high)))  # NaN is neither
        words += [
            f"{column.name} {value:g} is outside of {column.low:g} to {column.high:g}, "
            "the range seen in training"
            for value in values[rows[-1]]
        ]
    return np.concatenate(rows), words


def _texts(series: pd.Series, name: str) -> pa.Array:
    """The column as Arrow strings: about ten times as fast to look up as a pandas Categorical."""
    try:
        return pa.array(series.to_numpy(), type=pa.string(), from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise LearningError(
            f"feature {name} is declared a category but does not hold text ({error}); "
            "cast it to text in the feature table, or declare it a number"
        ) from error


def _numbers(series: pd.Series, name: str) -> np.ndarray:
    try:
        values = series.to_numpy(dtype=np.float64, na_value=np.nan)
    except (TypeError, ValueError) as error:
        raise LearningError(
            f"feature {name} is declared a number but cannot be read as one ({error}); "
            "cast it in the feature table, or declare it a category"
        ) from error
    if np.isinf(values).any():
        raise LearningError(f"feature {name} is infinite in {int(np.isinf(values).sum())} rows; make it null")
    return values
