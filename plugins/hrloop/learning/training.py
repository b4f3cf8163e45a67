"""Training: from a point-in-time frame of decisions to a fitted, calibrated model.

The observed labels stand in the order of their decisions, and are cut once:

    |---------- development ----------|-- calibration --|-- evaluation --|   → time
     forward folds choose the rounds,   fits the map      is only looked
     then the booster learns from all   from score to     at; nothing is
     of it                              probability       fitted on it

Nothing is refitted afterwards: what was evaluated is what may be promoted. The labels of the evaluation
part were decided after all others, so the figures say how an older model does on newer decisions, which is
how it will be used. The same rows in any order give the same bytes on any number of cores.
"""

from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xgboost

from hrloop import as_of as time
from hrloop.learning import calibration, propensity
from hrloop.learning.encoding import Encoder, fit_encoder, require
from hrloop.learning.errors import InsufficientLabels, LearningError, OneClassOnly
from hrloop.learning.fitted import Fitted

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
FIRST_BLOCK = 0.4  # of the development part: the first forward fold learns from it, the rest is cut evenly


def fit(use_case: "UseCase", frame: pd.DataFrame, as_of: datetime) -> Fitted:
    """Learn from the observed labels of a frame of decisions.

    frame: one row per decision (columns DECISION_COLUMNS and the declared features), in any order.
    Raises InsufficientLabels, OneClassOnly, MissingColumn, and LearningError for rows that were not known
    by ``as_of``.
    """
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
    matrix, weight = encoder.matrix(rows), weights.weight
    parameters = xgboost_parameters(use_case.learner, encoder)
    learnt = (matrix[development], label[development], weight[development])
    rounds, folds = choose_rounds(use_case.learner, parameters, encoder, *learnt)
    booster = xgboost.train(parameters, dmatrix(encoder, *learnt), num_boost_round=rounds)

    fitted = Fitted(
        use_case=use_case.name,
        as_of=time.text(as_of),
        encoder=encoder,
        calibrator=calibration.Platt(),
        model=bytes(booster.save_raw("ubj")),
        summary={},
    )
    score = fitted.score(rows)
    calibrator = calibration.fit_platt(
        score[calibrating], label[calibrating], weight[calibrating], use_case.calibration.prior_strength.value
    )
    before = slice(0, calibrating.stop)
    summary = {
        "labels": counts,
        "parts": {
            name: _part(rows, label, part)
            for name, part in [
                ("development", development),
                ("calibration", calibrating),
                ("evaluation", evaluating),
            ]
        },
        # of all that was seen before the evaluation part: what a model has to beat there
        "base_rate": float(np.average(label[before], weights=weight[before])),
        "base_rate_selected": float(label[before].mean()),
        "milestone_months": use_case.outcome.label_milestone,
        "parameters": parameters,
        "rounds": rounds,
        "folds": folds,
        "weights": weights.summary(),
    }
    held_out = rows.iloc[evaluating][["decision_id", "group_key", "decided_at", "label"]].assign(
        label=label[evaluating],
        weight=weight[evaluating],
        score=score[evaluating],
        probability=calibrator.probability(score[evaluating]),
    )
    return Fitted(
        use_case=fitted.use_case,
        as_of=fitted.as_of,
        encoder=encoder,
        calibrator=calibrator,
        model=fitted.model,
        summary=summary,
        held_out=held_out.reset_index(drop=True),
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


def forward_folds(n: int, folds: int) -> list[tuple[slice, slice]]:
    """(learn, validate) slices of n rows in the order of time; each fold validates on what comes next."""
    edges = np.linspace(FIRST_BLOCK * n, n, folds + 1).round().astype(int)
    return [(slice(0, int(a)), slice(int(a), int(b))) for a, b in pairwise(edges) if 0 < a < b]


def choose_rounds(
    learner: Any,
    parameters: dict,
    encoder: Encoder,
    matrix: np.ndarray,
    label: np.ndarray,
    weight: np.ndarray,
) -> tuple[int, list[dict[str, float]]]:
    """How many trees: the median, over forward folds, of where the loss on the next block was least.

    Returns the number and, per fold, its rows, best round and log loss there. The losses chose the
    rounds, so they flatter; the evaluation part does not know them. A block whose labels are all one
    class cannot be learnt from and is passed over; with no fold left, LearningError.
    """
    results = []
    for learn, validate in forward_folds(len(label), learner.folds):
        if len(np.unique(label[learn])) < 2:
            continue
        booster = xgboost.train(
            parameters,
            dmatrix(encoder, matrix[learn], label[learn], weight[learn]),
            num_boost_round=learner.rounds,
            evals=[(dmatrix(encoder, matrix[validate], label[validate], weight[validate]), "next")],
            early_stopping_rounds=learner.early_stopping_rounds,
            verbose_eval=False,
        )
        results.append(
            {
                "learnt_from": learn.stop,
                "validated_on": validate.stop - validate.start,
                "rounds": booster.best_iteration + 1,
                "log_loss": round(float(booster.best_score), 6),
            }
        )
    if not results:
        raise LearningError(
            f"no forward fold of {len(label)} labels has both good and bad outcomes to learn from; "
            "wait for more labels"
        )
    return round(float(np.median([fold["rounds"] for fold in results]))), results


def xgboost_parameters(learner: Any, encoder: Encoder) -> dict[str, Any]:
    """What is declared, and what the engine answers for.

    One thread: sums of floats depend on how threads share them, and the same bytes on any machine are
    worth more than speed at the number of labels that HR decisions have.
    """
    parameters = {
        **learner.parameters.model_dump(),
        "objective": "binary:logistic",
        "eval_metric": "logloss",
        "tree_method": "hist",
        "device": "cpu",
        "nthread": 1,
        "seed": learner.seed,
    }
    if any(column.monotone for column in encoder.columns):
        constraints = ",".join(str(column.monotone) for column in encoder.columns)
        parameters["monotone_constraints"] = f"({constraints})"
    return parameters


def dmatrix(encoder: Encoder, matrix: np.ndarray, label: np.ndarray, weight: np.ndarray) -> xgboost.DMatrix:
    """Encoded rows with labels and weights, categories marked as such."""
    return xgboost.DMatrix(
        matrix,
        label=label,
        weight=weight,
        feature_names=encoder.names,
        feature_types=encoder.feature_types,
        enable_categorical=True,
        nthread=1,
    )


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
