"""Monthly reweighting: how strongly each feature may be used, by its worth and what people say."""

import json
from datetime import datetime

import pandas as pd

from hrloop.learning import Fitted, reweighting
from hrloop.rhythms import Loop, candidates, matured
from hrloop.usecase import UseCase

STEP = "monthly_reweighting"


def reweight(loop: Loop, use_case: str, as_of: datetime) -> dict:
    """Weigh the features, fit the champion's architecture under these weights, propose if convincing.

    Returns the verdict, its reasons and the weights with theirs; a note without a champion, or without
    outcomes that it did not learn from. Raises as ``retraining.retrain``.
    """
    return matured.verdict_once(loop, STEP, use_case, as_of, _find)


def _find(loop: Loop, declaration: UseCase, as_of: datetime) -> dict:
    champion = matured.champion(loop, declaration)
    if champion is None:
        return {"verdict": "keep", "version": None, "reasons": ["there is no champion to weigh anew"]}
    frame = candidates.frame_without_leaks(loop, declaration, as_of)
    weights = _weights(loop, declaration, champion.fitted, frame, as_of)
    most = sorted(weights.reasons, key=lambda name: abs(weights.weight[name] - 1), reverse=True)
    told = tuple(
        f"{name} weighs {weights.weight[name]:g}: {'; '.join(weights.reasons[name])}"
        for name in most
        if weights.reasons[name]
    )
    kept = {"weights": weights.weight, "told": list(told)}
    architecture = reweighting.reweighted(
        declaration, matured.architecture_of(declaration, champion.fitted), weights
    )
    if architecture.weights(declaration.feature_names) is None:
        return {"verdict": "keep", "version": None, "reasons": ["nothing speaks for other weights"], **kept}
    tried = candidates.try_one(loop, declaration, frame, as_of, STEP, "monthly", champion, architecture, told)
    return {**tried, **kept}


def _weights(
    loop: Loop, declaration: UseCase, fitted: Fitted, frame: pd.DataFrame, as_of: datetime
) -> reweighting.Weights:
    """Weights by what the champion's features did on decisions that it was not fitted on, and by reviews."""
    fresh = matured.unseen(matured.labelled(declaration, frame, as_of), fitted)
    label, weight = fresh["label"].to_numpy(), fresh["weight"].to_numpy()
    newer = frame["decided_at"] > matured.fitted_to(fitted)
    return reweighting.feature_weights(
        declaration,
        reweighting.feature_performance(fitted, fresh, label, weight, declaration.learner.seed),
        reweighting.feature_drift(declaration, frame[~newer], frame[newer]),
        overrides(loop, declaration, as_of),
    )


def overrides(loop: Loop, declaration: UseCase, as_of: datetime) -> pd.DataFrame:
    """The reviews known by then: case_key, verdict, reason_code and the features that were scored."""
    rows = loop.warehouse.read(
        "engine",
        """
        select decisions.case_key, reviews.verdict, reviews.reason_code, decisions.features::text as features
        from loop.reviews as reviews
        inner join loop.decisions as decisions on reviews.decision_id = decisions.decision_id
        where decisions.use_case = :use_case and reviews.reviewed_at <= :as_of
        order by reviews.reviewed_at, reviews.review_id
        """,
        use_case=declaration.name,
        as_of=as_of,
    ).to_pandas()
    snapshots = pd.DataFrame(rows.pop("features").map(json.loads).tolist(), columns=declaration.feature_names)
    return pd.concat([rows, snapshots], axis=1)
