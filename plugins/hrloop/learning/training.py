"""Training: from a point-in-time frame of decisions to a fitted, calibrated model.

The observed labels stand in the order of their decisions, and are cut once:

    |---------- development ----------|-- calibration --|-- evaluation --|   → time
     forward folds choose what is       fits the map      is only looked
     to be chosen, then the model       from score to     at; nothing is
     learns from all of it              probability       fitted on it

Nothing is refitted afterwards: what was evaluated is what may be promoted. The labels of the evaluation
part were decided after all others, so the figures say how an older model does on newer decisions, which is
how it will be used. The two newer parts may be bounded in number: what lies in them is not learnt from, and a
share alone would keep ever more of the newest labels from a model. Where a half-life is declared, older
labels count for less in learning. The same rows in any order give the same bytes on any number of cores.

Where subjects come back, one event is the outcome of several decisions in a row. A part then knows of
outcomes only what had happened when the next part began: the calibration part ends a whole milestone before
the evaluation part begins, a model that learns labels takes those that were due by then, and one that learns
times follows its cases up to then.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from scipy.special import expit

from hrloop import as_of as time
from hrloop.learning import calibration, censoring, propensity
from hrloop.learning.architecture import Architecture, declared
from hrloop.learning.encoding import Encoder, fit_encoder, require
from hrloop.learning.errors import InsufficientLabels, LearningError, OneClassOnly, TooEarly
from hrloop.learning.fitted import KINDS, Fitted

if TYPE_CHECKING:
    from hrloop.usecase import Share, UseCase

DECISION_COLUMNS = [
    "decision_id",
    "group_key",
    "decided_at",
    "selected",
    "selection_propensity",
    "label_status",
    "label",
    "follow_up",
    "label_known_at",
]
MONTH = pd.Timedelta(days=30.4375)  # a year is 365.25 days
NONE = pd.Timedelta(0)

Learnt = tuple[Encoder, np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Prepared:
    """The observed labels in the order of their decisions, weighted, encoded and cut in three.

    rows: (n, columns of the frame); label, weight (for selection and censoring), both (n,); matrix:
    (n, features); ``followed``: the rows of the development part, those with a censored label too, with
    ``weight`` for selection; ``counts``: selected decisions by the status of their label; ``selection``: how
    the weights came about; ``window``: how long before the next part an outcome must be over, zero where no
    subject comes back; ``horizon``: the milestone in months; ``half_life``: months after which a label counts
    half as much in learning, None where all count alike.
    """

    rows: pd.DataFrame
    label: np.ndarray
    weight: np.ndarray
    encoder: Encoder
    matrix: np.ndarray
    development: slice
    calibrating: slice
    evaluating: slice
    followed: pd.DataFrame
    counts: dict[str, int]
    selection: dict[str, float | int]
    horizon: int
    window: pd.Timedelta
    half_life: float | None

    def learnt(self, learns: Literal["label", "time"]) -> Learnt:
        """All that a model may learn from, of the development part: encoder, matrix, label and weight.

        For a model that learns times ``label`` is (n, 2), the bounds of the months until the event.
        """
        if learns == "time":
            return self._times()
        part = np.arange(self.development.stop)
        if self.window:
            part = part[self.rows["decided_at"].iloc[part] + self.window <= self._next]
        weight = self.weight[part] * self._memory(self.rows.iloc[part])
        return self.encoder, self.matrix[part], self.label[part], weight

    @property
    def _next(self) -> pd.Timestamp:
        """When the calibration part begins."""
        return self.rows["decided_at"].iloc[self.calibrating.start]

    def _times(self) -> Learnt:
        rows, horizon = self.followed, self.horizon
        bounds = censoring.bounds(rows["follow_up"].to_numpy(), rows["label"].to_numpy(), horizon)
        if self.window:
            until = ((self._next - rows["decided_at"]) / MONTH).to_numpy()
            lower, upper = bounds.T
            bounds = np.column_stack([np.minimum(lower, until), np.where(upper > until, np.inf, upper)])
        weight = _mean_one(rows["weight"].to_numpy()) * self._memory(rows)
        return self.encoder, self.encoder.matrix(rows), bounds, weight

    def _memory(self, rows: pd.DataFrame) -> np.ndarray:
        """How much rows that are learnt from count by their age (n,), with mean 1."""
        if self.half_life is None:
            return np.ones(len(rows))
        age = ((self._next - rows["decided_at"]) / MONTH).to_numpy()
        return _mean_one(0.5 ** (age / self.half_life))


@dataclass(frozen=True)
class Followed:
    """Decisions whose outcome was seen or censored, with ``weight`` (for selection) and ``uncensored`` (for
    censoring), and how the former came about."""

    rows: pd.DataFrame
    selection: dict[str, float | int]


def fit(
    use_case: "UseCase", frame: pd.DataFrame, as_of: datetime, architecture: Architecture | None = None
) -> Fitted:
    """Learn from the observed labels of a frame of decisions, with the declared architecture or another.

    frame: one row per decision (columns DECISION_COLUMNS and the declared features), in any order.
    Raises TooEarly where there is too little to learn from, MissingColumn, and LearningError for rows that
    were not known by ``as_of``.
    """
    ready = prepare(use_case, frame, as_of)
    architecture = architecture or declared(use_case)
    kind = KINDS[architecture.kind]
    model, figures = kind.fit(architecture, use_case.learner, *ready.learnt(kind.learns))
    rows, label, weight = ready.rows, ready.label, ready.weight
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
        "weights": ready.selection,
    }
    if ready.window:
        over = rows["decided_at"].iloc[calibrating.stop - 1] + ready.window
        summary["parts"]["calibration"]["outcomes_to"] = over.isoformat()
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
    followed = _followed(use_case, frame, labelled)
    rows = followed.rows[followed.rows["label_status"] == "observed"].reset_index(drop=True)
    label = rows["label"].to_numpy(dtype=float)
    if label.min() == label.max():
        raise OneClassOnly(label[0], len(label))
    window = use_case.outcome.label_milestone * MONTH if use_case.decision.period else NONE
    learner = use_case.learner
    development, calibrating, evaluating = split(
        rows["decided_at"],
        learner.calibrating(len(rows)),
        learner.evaluating(len(rows)),
        window,
    )
    seen = label[development]
    if seen.min() == seen.max():
        raise OneClassOnly(seen[0], len(seen))
    encoder = fit_encoder(use_case.features, rows.iloc[development], use_case.edge.range_tail.value)
    return Prepared(
        rows=rows,
        label=label,
        weight=_mean_one((rows["weight"] * rows["uncensored"]).to_numpy()),
        encoder=encoder,
        matrix=encoder.matrix(rows),
        development=development,
        calibrating=calibrating,
        evaluating=evaluating,
        followed=followed.rows[followed.rows["decided_at"] < rows["decided_at"].iloc[calibrating.start]],
        counts=counts,
        selection=followed.selection,
        horizon=use_case.outcome.label_milestone,
        window=window,
        half_life=learner.half_life_months.value if learner.half_life_months else None,
    )


def split(
    decided_at: pd.Series,
    calibrating: int,
    evaluating: int,
    window: pd.Timedelta = NONE,
) -> tuple[slice, slice, slice]:
    """The slices (development, calibration, evaluation) of rows in the order of their decisions.

    ``calibrating``, ``evaluating``: the labels of these parts, about: decisions of one moment stay together,
    in the later part. The calibration part ends ``window`` before the evaluation part begins; what lies
    between is in no part. Raises TooEarly when that leaves a part empty.
    """
    moments = decided_at.to_numpy()
    n = len(moments)

    def cut(stop: int, newest: int) -> int:
        """The first of so many of the newest rows before ``stop``."""
        at = min(stop - 1, max(0, stop - newest))
        return int(np.searchsorted(moments, moments[at], side="left"))

    second = cut(n, evaluating)
    end = int(np.searchsorted(moments, moments[second] - window, side="left")) if window else second
    first = cut(end, calibrating) if end else 0
    if not 0 < first < end <= second < n:
        raise TooEarly(
            f"{n} labels were decided at only {decided_at.nunique()} moments, which leaves no room for "
            "development, calibration and evaluation one after the other; wait for decisions of later dates"
        )
    return slice(0, first), slice(first, end), slice(second, n)


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


def _followed(use_case: "UseCase", frame: pd.DataFrame, labelled: np.ndarray) -> Followed:
    """Those whose outcome was seen, or could have been and was censored, weighted for selection.

    Weights come from the decisions up to the newest of them: later ones may still end in a selection, and
    would pass for rejections.
    """
    censored = (frame["label_status"] == "censored").to_numpy(dtype=bool, na_value=False)
    seen = labelled | (censored & frame["selected"].to_numpy(dtype=bool, na_value=False))
    settled = (frame["decided_at"] <= frame.loc[seen, "decided_at"].max()).to_numpy()
    decided = frame.loc[settled].reset_index(drop=True)
    encoder = fit_encoder(use_case.features, decided, range_tail=0.0)
    weights = propensity.weigh(
        decided, seen[settled], encoder, use_case.selection, seed=use_case.learner.seed
    )
    rows = frame.loc[seen].reset_index(drop=True)
    # whatever ended an observed case's follow-up, the event or the milestone, was no censoring
    uncensored = censoring.weights(
        rows["follow_up"].to_numpy(), ~censored[seen], use_case.outcome.label_milestone
    )
    kept, factor = _thinned(rows, use_case.learner.negatives_kept)
    rows = rows.assign(weight=weights.weight * factor, uncensored=uncensored)[kept]
    return Followed(rows.reset_index(drop=True), weights.summary())


def _thinned(rows: pd.DataFrame, share: "Share | None") -> tuple[np.ndarray, np.ndarray]:
    """Which rows (n,) are used, and how many each stands for (n,): all whose outcome happened, and of the
    others a share, drawn by a hash of the decision: the same whatever else is in the frame."""
    if share is None:
        return np.ones(len(rows), dtype=bool), np.ones(len(rows))
    happened = (rows["label"] == 1).to_numpy()
    drawn = pd.util.hash_array(rows["decision_id"].to_numpy(dtype=object)) / 2.0**64
    return happened | (drawn < share.value), np.where(happened, 1.0, 1.0 / share.value)


def _mean_one(weight: np.ndarray) -> np.ndarray:
    return weight / weight.mean()


def _part(rows: pd.DataFrame, label: np.ndarray, part: slice) -> dict[str, Any]:
    moments = rows["decided_at"].iloc[part]
    return {
        "labels": len(label[part]),
        "positive": int(label[part].sum()),
        "groups": int(rows["group_key"].iloc[part].nunique()),
        "decided_from": moments.iloc[0].isoformat(),
        "decided_to": moments.iloc[-1].isoformat(),
    }
