"""Rejected is not bad: weights that let the selected stand for all who were decided on.

An outcome exists only for those selected. A row selected with probability p stands for 1/p rows of its
kind. Where the loop logged that probability it is used; for decisions of people alone it is estimated
from what they saw, by a model that is deliberately shrunk, and it is floored: a bounded bias for an
unbounded variance. The floor also stands for what people selected against the loop, which would never have.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.linear_model import LogisticRegression

from hrloop.learning.calibration import effective_sample_size
from hrloop.learning.encoding import CATEGORY, Encoder
from hrloop.learning.errors import LearningError


@dataclass(frozen=True)
class Weights:
    """Weights (n,) of the labelled rows, with mean 1, and how they came about."""

    weight: np.ndarray
    propensity: np.ndarray
    logged: int
    estimated: int
    floored: int
    effective_labels: float

    def summary(self) -> dict[str, float | int]:
        return {
            "logged": self.logged,
            "estimated": self.estimated,
            "floored": self.floored,
            "effective_labels": round(self.effective_labels, 3),
            "largest_weight": round(float(self.weight.max()), 6) if len(self.weight) else 0.0,
        }


def weigh(frame: pd.DataFrame, labelled: np.ndarray, encoder: Encoder, selection: Any, seed: int) -> Weights:
    """Weights of the labelled rows of a frame of decisions.

    frame: one row per decision with group_key, selected, selection_propensity (NaN where none was logged)
    and the features; labelled: (n,) bool. ``selection``: the declaration's propensity_floor,
    regularisation and folds. Raises LearningError for a logged propensity outside of [0, 1].
    """
    propensity = frame["selection_propensity"].to_numpy(dtype=float, na_value=np.nan, copy=True)
    logged = ~np.isnan(propensity)
    wrong = labelled & logged & ~((propensity >= 0) & (propensity <= 1))
    if wrong.any():
        row = frame.loc[wrong].iloc[0]
        raise LearningError(
            f"decision {row['decision_id']} was selected with a logged propensity of "
            f"{row['selection_propensity']}; a probability lies between 0 and 1"
        )
    if (labelled & ~logged).any():
        people = frame.loc[~logged]
        estimated = estimate(
            people, encoder, selection.regularisation.value, folds=selection.folds, seed=seed
        )
        propensity[~logged] = estimated
    chosen = propensity[labelled]
    floor = selection.propensity_floor.value
    weight = 1.0 / np.maximum(chosen, floor)
    weight = weight / weight.mean() if len(weight) else weight
    return Weights(
        weight=weight,
        propensity=chosen,
        logged=int((labelled & logged).sum()),
        estimated=int((labelled & ~logged).sum()),
        floored=int((chosen < floor).sum()),
        effective_labels=effective_sample_size(weight),
    )


def estimate(
    frame: pd.DataFrame, encoder: Encoder, regularisation: float, folds: int, seed: int
) -> np.ndarray:
    """P(selected) (n,) of each row from its features and the size of its group.

    Cross-fitted by group: the rows of a group are predicted by a model that saw none of it, so that the
    weight of a row does not depend on its own selection. Logistic regression with an L2 penalty of
    inverse strength ``regularisation``. Where a fold has nobody selected to learn from, or nobody
    rejected, the overall share stands in.
    """
    selected = frame["selected"].to_numpy(dtype=bool)
    overall = float(selected.mean()) if len(selected) else 1.0
    propensity = np.full(len(frame), overall)
    if selected.all() or not selected.any():
        return propensity
    design = _design(frame, encoder)
    fold = fold_of(frame["group_key"], folds)
    for number in range(folds):
        inside = fold == number
        others = ~inside
        if not inside.any() or len(np.unique(selected[others])) < 2:
            continue
        model = LogisticRegression(C=regularisation, max_iter=500, random_state=seed)
        model.fit(design[others], selected[others])
        propensity[inside] = model.predict_proba(design[inside])[:, 1]
    return propensity


def fold_of(group: pd.Series, folds: int) -> np.ndarray:
    """The fold (n,) of each group, by a hash of its name: the same whatever else is in the frame."""
    return (pd.util.hash_array(group.to_numpy(dtype=object)) % np.uint64(folds)).astype(int)


def _design(frame: pd.DataFrame, encoder: Encoder) -> sparse.csr_array:
    """Standardised numbers with missing marks, one column per category, and the log of the group's size."""
    matrix = encoder.matrix(frame).astype(np.float64)
    blocks = []
    for index, column in enumerate(encoder.columns):
        values = matrix[:, index]
        missing = np.isnan(values)
        if column.type == CATEGORY:
            codes = np.where(missing, len(column.categories), values).astype(int)
            width = len(column.categories) + 1
            ones = np.ones(len(codes))
            blocks.append(sparse.csr_array((ones, (np.arange(len(codes)), codes)), (len(codes), width)))
        else:
            blocks.append(sparse.csr_array(_standardised(values, missing)[:, None]))
            if missing.any():
                blocks.append(sparse.csr_array(missing.astype(float)[:, None]))
    size = frame.groupby("group_key")["group_key"].transform("size").to_numpy(dtype=float)
    blocks.append(sparse.csr_array(_standardised(np.log(size), np.zeros(len(size), bool))[:, None]))
    return sparse.hstack(blocks, format="csr")


def _standardised(values: np.ndarray, missing: np.ndarray) -> np.ndarray:
    present = values[~missing]
    if len(present) == 0 or present.std() == 0:
        return np.zeros(len(values))
    return np.where(missing, 0.0, (values - present.mean()) / present.std())
