"""Training: from a point-in-time frame of decisions to a fitted, calibrated model.

The observed labels stand in the order of their decisions, and are cut once:

    |---------- development ----------|-- calibration --|-- evaluation --|   → time
     forward folds choose what is       fits the map      is only looked
     to be chosen, then the model       from score to     at; nothing is
     learns from all of it              probability       fitted on it

Nothing is refitted afterwards: what was evaluated is what may be promoted. The labels of the evaluation
part were decided after all others, so the figures say how an older model does on newer decisions, which is
how it will be used. The same rows in any order give the same bytes on any number of cores.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy.special import expit

from hrloop import as_of as time
from hrloop.learning import calibration, propensity
from hrloop.learning.architecture import Architecture, declared
from hrloop.learning.encoding import Encoder, fit_encoder, require
from hrloop.learning.errors import InsufficientLabels, LearningError, OneClassOnly
from hrloop.learning.fitted import KINDS, Fitted

if TYPE_CHECKING:
    from hrloop.usecase import UseCase

DECISION_COLUMNS = [
    "decision_id",
    "group_key",
    "decided_at",
    "selected",
    "selection_propensity",
    "label_status",
    "label",
    "label_known_at",
]


@dataclass(frozen=True)
class Prepared:
    """The observed labels in the order of their decisions, weighted, encoded and cut in three.

    rows: (n, columns of the frame); label: (n,); matrix: (n, features); ``counts``: selected decisions by
    the status of their label.
    """

    rows: pd.DataFrame
    label: np.ndarray
    weights: propensity.Weights
    encoder: Encoder
    matrix: np.ndarray
    development: slice
    calibrating: slice
    evaluating: slice
    counts: dict[str, int]

    @property
    def learnt(self) -> tuple[Encoder, np.ndarray, np.ndarray, np.ndarray]:
        """Encoder, matrix, label and weight of the development part: all that a model may learn from."""
        part = self.development
        return self.encoder, self.matrix[part], self.label[part], self.weights.weight[part]


def fit(
    use_case: "UseCase", frame: pd.DataFrame, as_of: datetime, architecture: Architecture | None = None
) -> Fitted:
    """Learn from the observed labels of a frame of decisions, with the declared architecture or another.

    frame: one row per decision (columns DECISION_COLUMNS and the declared features), in any order.
    Raises InsufficientLabels, OneClassOnly, MissingColumn, and LearningError for rows that were not known
    by ``as_of``.
    """
    ready = prepare(use_case, frame, as_of)
    architecture = architecture or declared(use_case)
    model, figures = KINDS[architecture.kind].fit(architecture, use_case.learner, *ready.learnt)
    rows, label, weight = ready.rows, ready.label, ready.weights.weight
    score = expit(model.margin(ready.matrix))
    calibrating, evaluating = ready.calibrating, ready.evaluating
    calibrator = calibration.fit_platt(
        score[calibrating], label[calibrating], weight[calibrating], use_case.calibration.prior_strength.value
    )
    before = slice(0, calibrating.stop)
    summary = {
        "architecture": architecture.as_dict(),
        "labels": ready.counts,
        "parts": {
            name: _part(rows, label, part)
            for name, part in [
                ("development", ready.development),
                ("calibration", calibrating),
                ("evaluation", evaluating),
            ]
        },
        # of all that was seen before the evaluation part: what a model has to beat there
        "base_rate": float(np.average(label[before], weights=weight[before])),
        "base_rate_selected": float(label[before].mean()),
        "milestone_months": use_case.outcome.label_milestone,
        **figures,
        "weights": ready.weights.summary(),
    }
    held_out = rows.iloc[evaluating][["decision_id", "group_key", "decided_at"]].assign(
        label=label[evaluating],
        weight=weight[evaluating],
        score=score[evaluating],
        probability=calibrator.probability(score[evaluating]),
    )
    return Fitted(
        use_case=use_case.name,
        as_of=time.text(as_of),
        encoder=ready.encoder,
        calibrator=calibrator,
        model=model.as_bytes(),
        summary=summary,
        held_out=held_out.reset_index(drop=True),
    )


def prepare(use_case: "UseCase", frame: pd.DataFrame, as_of: datetime) -> Prepared:
    """The labels of a frame, ready to be learnt from. Takes and raises what ``fit`` does."""
    require(frame, [*DECISION_COLUMNS, *use_case.feature_names], "the training frame")
    for column in ("decided_at", "label_known_at"):
        if not isinstance(frame[column].dtype, pd.DatetimeTZDtype):
            raise LearningError(
                f"{column} in the training frame is {frame[column].dtype}, no UTC time; read a timestamptz"
            )
    frame = frame.sort_values(["decided_at", "decision_id"], kind="stable", ignore_index=True)
    _check(frame, as_of)
    labelled = _labelled(frame)
    counts = _counts(frame)
    needed = use_case.learner.minimum_labels.value
    if labelled.sum() < needed:
        raise InsufficientLabels(counts, needed)
    weights = _weights(use_case, frame, labelled)

    rows = frame.loc[labelled].reset_index(drop=True)
    label = rows["label"].to_numpy(dtype=float)
    if label.min() == label.max():
        raise OneClassOnly(label[0], len(label))
    development, calibrating, evaluating = split(
        rows["decided_at"],
        use_case.learner.calibration_share.value,
        use_case.learner.evaluation_share.value,
    )
    seen = label[development]
    if seen.min() == seen.max():
        raise OneClassOnly(seen[0], len(seen))
    encoder = fit_encoder(use_case.features, rows.iloc[development], use_case.edge.range_tail.value)
    return Prepared(
        rows=rows,
        label=label,
        weights=weights,
        encoder=encoder,
        matrix=encoder.matrix(rows),
        development=development,
        calibrating=calibrating,
        evaluating=evaluating,
        counts=counts,
    )


def split(decided_at: pd.Series, calibration_share: float, evaluation_share: float) -> tuple[slice, ...]:
    """The slices (development, calibration, evaluation) of rows in the order of their decisions.

    Decisions of one moment stay together, in the later part. Raises LearningError when that leaves a part
    empty.
    """
    moments = decided_at.to_numpy()
    n = len(moments)
    cuts = []
    for share in (calibration_share + evaluation_share, evaluation_share):
        at = min(n - 1, max(0, n - round(share * n)))
        cuts.append(int(np.searchsorted(moments, moments[at], side="left")))
    first, second = cuts
    if not 0 < first < second < n:
        raise LearningError(
            f"{n} labels were decided at only {decided_at.nunique()} moments, which leaves no room for "
            "development, calibration and evaluation one after the other; wait for decisions of later dates"
        )
    return slice(0, first), slice(first, second), slice(second, n)


def _check(frame: pd.DataFrame, as_of: datetime) -> None:
    if frame["decision_id"].duplicated().any():
        twice = frame.loc[frame["decision_id"].duplicated(), "decision_id"].iloc[0]
        raise LearningError(f"decision {twice} is in the training frame twice; a row is one decision")
    for column, what in [("decided_at", "was decided"), ("label_known_at", "got its label")]:
        late = (frame[column] > as_of).to_numpy(dtype=bool, na_value=False)
        if late.any():
            row = frame.loc[late].iloc[0]
            raise LearningError(
                f"decision {row['decision_id']} {what} at {row[column]}, after as_of {time.text(as_of)}: "
                "the frame knows the future; build it with this as_of"
            )


def _labelled(frame: pd.DataFrame) -> np.ndarray:
    observed = (frame["label_status"] == "observed").to_numpy(dtype=bool, na_value=False)
    labelled = observed & frame["selected"].to_numpy(dtype=bool, na_value=False)
    wrong = labelled & ~frame["label"].isin([0, 1]).to_numpy(dtype=bool)
    if wrong.any():
        row = frame.loc[wrong].iloc[0]
        raise LearningError(
            f"decision {row['decision_id']} has an observed label of {row['label']}; an observed label is "
            "0 or 1, anything else must be pending, missing or censored"
        )
    return labelled


def _counts(frame: pd.DataFrame) -> dict[str, int]:
    selected = frame["selected"].to_numpy(dtype=bool, na_value=False)
    statuses = frame.loc[selected, "label_status"].dropna().value_counts()
    return {str(status): int(number) for status, number in sorted(statuses.items())}


def _weights(use_case: "UseCase", frame: pd.DataFrame, labelled: np.ndarray) -> propensity.Weights:
    """Weights of the labelled rows, from the decisions up to the newest labelled one: later ones may
    still end in a selection, and would pass for rejections."""
    newest = frame.loc[labelled, "decided_at"].max()
    settled = (frame["decided_at"] <= newest).to_numpy()
    decided = frame.loc[settled].reset_index(drop=True)
    encoder = fit_encoder(use_case.features, decided, range_tail=0.0)
    return propensity.weigh(
        decided, labelled[settled], encoder, use_case.selection, seed=use_case.learner.seed
    )


def _part(rows: pd.DataFrame, label: np.ndarray, part: slice) -> dict[str, Any]:
    moments = rows["decided_at"].iloc[part]
    return {
        "labels": len(label[part]),
        "positive": int(label[part].sum()),
        "groups": int(rows["group_key"].iloc[part].nunique()),
        "decided_from": moments.iloc[0].isoformat(),
        "decided_to": moments.iloc[-1].isoformat(),
    }
