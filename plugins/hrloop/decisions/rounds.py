"""A decision round: every open case scored by the champion, ranked, routed, and recorded once.

Order of rounds. A decision is an event: somebody was shown it. So a case is decided in the first round at
which it is open, and later rounds find it decided. A round that is run late, after one for a later
``as_of`` (a backfill), gives what it would have given in order wherever that is still possible, that is in
every group of which no case has been decided later; the other groups are left out and reported, since
their ranks would no longer be those that an earlier round would have made. It is scored by today's
champion: one that was rolled back is never asked again, not even about the past.

A round is one transaction and closed by it: run again, it changes nothing.
"""

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import text

from hrloop import as_of as moments
from hrloop import features
from hrloop.decisions import policy
from hrloop.learning import Fitted, calibration
from hrloop.learning.encoding import CATEGORY, Encoded
from hrloop.release import NoChampion, Registry, Serving, UnreadableModel, experiments, ledger, serving
from hrloop.settings import Settings
from hrloop.usecase import UseCase
from hrloop.warehouse import Warehouse

AUDIT_KEY = "audit_key"  # the secret behind every draw
TOP = 3  # reasons shown for a decision
TABLE, SHADOW = "loop.decisions", "loop.shadow_scores"
log = logging.getLogger(__name__)


class DecisionError(ValueError):
    """A round that cannot be decided: nothing of it is recorded."""


@dataclass(frozen=True)
class DecisionReport:
    """What a round did.

    ``tried``: cases that the challenger of a running experiment decided. ``left_out``: open cases of groups
    that a later round has touched. ``note``: why nothing was decided.
    ``repaired``: aliases that had to be put back first; an incident, and no part of the round's record.
    """

    use_case: str
    as_of: datetime
    model_version: int | None = None
    decided: int = 0
    advanced: int = 0
    explored: int = 0
    tried: int = 0
    routes: dict[str, int] = field(default_factory=dict)
    review_reasons: dict[str, int] = field(default_factory=dict)
    left_out: int = 0
    note: str = ""
    repaired: tuple[str, ...] = ()

    def as_json(self) -> dict:
        """The report for the ledger of steps: the same however often the round is run."""
        kept = {name: value for name, value in self.__dict__.items() if name not in ("as_of", "repaired")}
        return {"as_of": moments.text(self.as_of), **kept}


def decide(
    wh: Warehouse, settings: Settings, registry: Registry, use_case: UseCase, as_of: datetime
) -> DecisionReport:
    """Decide every case that is open and undecided at ``as_of``, with the champion by its alias.

    Without a champion nothing is decided and people decide alone, as before; the report says so. Raises
    UnreadableModel when the champion is not what was released, DecisionError when it gives no probability,
    MissingColumn when the feature table no longer has what it reads.
    """
    with ledger.locked(wh, use_case.name, door="decide"):
        if _closed(wh, use_case, as_of):
            _, left_out = _in_order(wh, use_case, as_of)
            return report(wh, use_case, as_of, left_out)
        try:
            served = serving(wh, registry, use_case)
        except NoChampion as reason:
            return DecisionReport(use_case.name, as_of, note=str(reason))
        for words in served.repaired:
            log.warning("%s: alias put back: %s", use_case.name, words)
        trial = _trial(wh, registry, use_case, served.version, as_of)
        asked = [served.fitted, trial.fitted] if trial else [served.fitted]
        frame, left_out = _in_order(wh, use_case, as_of, asked)
        if len(frame):
            key = settings.secret(AUDIT_KEY)
            wh.merge("engine", _rows(use_case, served, trial, frame, as_of, key))
        return replace(report(wh, use_case, as_of, left_out), repaired=served.repaired)


@dataclass(frozen=True)
class Trial:
    """A running experiment with its challenger's model."""

    experiment: experiments.Experiment
    fitted: Fitted


def _trial(
    wh: Warehouse, registry: Registry, use_case: UseCase, champion: int, as_of: datetime
) -> Trial | None:
    """The experiment that runs at ``as_of`` against this very champion.

    A challenger that cannot be read decides nothing: the champion takes all groups, and the log says why.
    """
    experiment = experiments.running(wh, use_case.name, as_of)
    if experiment is None or experiment.champion != champion:
        return None
    try:
        return Trial(experiment, registry.load(use_case.name, experiment.challenger).fitted)
    except UnreadableModel as reason:
        log.error("%s: the challenger decides nothing: %s", use_case.name, reason)
        return None


def _rows(
    use_case: UseCase, served: Serving, trial: Trial | None, frame: pd.DataFrame, as_of: datetime, key: str
) -> dict[str, pa.Table]:
    """The rows of a round by table: each group decided by one arm, each case scored by both versions."""

    def by_champion(rows: pd.DataFrame) -> pa.Table:
        return table_of(
            use_case, served.fitted, served.version, rows, as_of, key, calibration_id=served.calibration_id
        )

    if trial is None:
        return {TABLE: by_champion(frame)}
    tried = in_trial(key, trial.experiment, frame["group_key"])
    mine, theirs = frame[~tried], frame[tried]
    challenger = trial.experiment.challenger
    decided = [
        by_champion(mine),
        table_of(use_case, trial.fitted, challenger, theirs, as_of, key, arm="challenger"),
    ]
    shadow = [
        shadow_of(use_case, trial.fitted, challenger, mine, as_of),
        shadow_of(use_case, served.fitted, served.version, theirs, as_of),
    ]
    return {
        # an arm without a group has no rows, and so no types; two versions may read different features
        TABLE: pa.concat_tables([part for part in decided if part.num_rows], promote_options="default"),
        SHADOW: pa.concat_tables([part for part in shadow if part.num_rows]),
    }


def in_trial(key: str, experiment: experiments.Experiment, group: pd.Series) -> np.ndarray:
    """Whether the challenger decides each group (n,): a keyed draw by experiment and group."""
    drawn = policy.draws(key, f"arm {experiment.experiment_id}", group.astype(str).tolist())
    return drawn < experiment.share


def table_of(
    use_case: UseCase,
    fitted: Fitted,
    version: int,
    frame: pd.DataFrame,
    as_of: datetime,
    key: str,
    arm: str = "champion",
    calibration_id: str | None = None,
) -> pa.Table:
    """The rows of ``loop.decisions`` for these open cases (case_key, subject_key, group_key, features).

    Raises DecisionError when the model gives something that is no probability.
    """
    frame = frame.reset_index(drop=True)
    cases = fitted.encode(frame)
    score, probability = _scored(use_case, fitted, version, cases, frame["case_key"])
    ids = decision_ids(use_case.name, frame["case_key"])
    rules, actions = use_case.routing, use_case.decision.actions
    group, band = frame["group_key"].to_numpy(), rules.exploration_band.value
    ranked = policy.rank(group, score, policy.draws(key, "tie", ids, where=policy.tied(group, score)))
    cut = policy.quota(ranked.size, use_case.decision)
    inside, in_pair = policy.paired(ranked, cut, band)
    swaps = policy.draws(key, "exploration", ids, where=inside & in_pair)
    chosen = policy.explore(ranked, cut, swaps, rules.exploration_share.value, band)
    confidence = calibration.confidence(probability, chosen.advance)
    why = policy.route(
        confidence,
        rules.confidence_below.value,
        policy.draws(key, "audit", ids),
        rules.audit_share.value,
        fitted.edge_cases(cases),
    )
    routed = pc.list_value_length(why).to_numpy() > 0

    def all_alike(value: object, kind: pa.DataType) -> pa.Array:
        return pa.repeat(pa.scalar(value, kind), len(frame))

    return pa.table(
        {
            "decision_id": pa.array(ids, pa.string()),
            "use_case": all_alike(use_case.name, pa.string()),
            **{name: pa.array(frame[name], pa.string()) for name in features.KEYS},
            "as_of": all_alike(as_of, pa.timestamp("us", "UTC")),
            "model_version": all_alike(version, pa.int32()),
            "arm": all_alike(arm, pa.string()),
            "score": score,
            "probability": probability,
            "confidence": confidence,
            "rank": pa.array(ranked.rank, pa.int32()),
            "group_size": pa.array(ranked.size, pa.int32()),
            "recommended_action": pc.if_else(pa.array(chosen.advance), actions.positive, actions.negative),
            "route": pc.if_else(pa.array(routed), "review", "automatic"),
            "route_reasons": why,
            "exploration": chosen.turned,
            "selection_propensity": chosen.propensity,
            "calibration_id": all_alike(calibration_id, pa.string()),
            "reasons": _explained(fitted, frame, routed),
            "features": _snapshot(use_case, fitted, frame),
        }
    )


def shadow_of(
    use_case: UseCase, fitted: Fitted, version: int, frame: pd.DataFrame, as_of: datetime
) -> pa.Table:
    """The rows of ``loop.shadow_scores`` for cases that another version decides. Raises as table_of does."""
    frame = frame.reset_index(drop=True)
    score, probability = _scored(use_case, fitted, version, fitted.encode(frame), frame["case_key"])
    n = len(frame)
    return pa.table(
        {
            "decision_id": pa.array(decision_ids(use_case.name, frame["case_key"]), pa.string()),
            "model_version": pa.array([version] * n, pa.int32()),
            "as_of": pa.array([as_of] * n, pa.timestamp("us", "UTC")),
            "score": score,
            "probability": probability,
        }
    )


def _scored(
    use_case: UseCase, fitted: Fitted, version: int, cases: Encoded, case_key: pd.Series
) -> tuple[np.ndarray, np.ndarray]:
    score = fitted.score(cases)
    probability = fitted.calibrator.probability(score)
    for name, values in (("score", score), ("probability", probability)):
        bad = ~((values >= 0) & (values <= 1))  # NaN is bad, too
        if bad.any():
            raise DecisionError(
                f"{use_case.name} version {version} gives {name} {values[bad][0]} for case"
                f" {case_key[bad].iloc[0]}; nothing was decided, roll the version back"
            )
    return score, probability


def decision_id(use_case: str, case_key: str) -> str:
    """One per case, whatever the round: 32 hex digits of SHA-256(use case|case)."""
    return hashlib.sha256(f"{use_case}|{case_key}".encode()).hexdigest()[:32]


def decision_ids(use_case: str, case_key: pd.Series) -> list[str]:
    """``decision_id`` of each of these cases (n,)."""
    return [decision_id(use_case, case) for case in case_key.tolist()]  # a series gives its texts slowly


def subject(wh: Warehouse, use_case: str, decision_id: str) -> str:
    """The pseudonym of whom a decision is about. Raises DecisionError for a decision that there is not."""
    with wh.engine("engine").connect() as connection:
        found = connection.scalar(
            text(f"select subject_key from {TABLE} where use_case = :use_case and decision_id = :id"),  # noqa: S608
            {"use_case": use_case, "id": decision_id},
        )
    if found is None:
        raise DecisionError(
            f"{use_case} has no decision {decision_id}; `hrloop review list` shows those that wait"
        )
    return found


def explain(wh: Warehouse, registry: Registry, decision_id: str, top: int = TOP) -> list[dict]:
    """The features that moved a decision most: [{feature, value, contribution}], largest first.

    Computed from the features that were stored and the version that decided; a contribution is in
    log-odds. Raises DecisionError for a decision that there is not, UnreadableModel.
    """
    with wh.engine("engine").connect() as connection:
        row = connection.execute(
            text(f"select use_case, model_version, features from {TABLE} where decision_id = :id"),  # noqa: S608
            {"id": decision_id},
        ).one_or_none()
    if row is None:
        raise DecisionError(f"there is no decision {decision_id}; `hrloop review list` shows those that wait")
    fitted = registry.load(row.use_case, row.model_version).fitted
    frame = pd.DataFrame([row.features])
    return reasons(fitted, frame, top)[0]


def reasons(fitted: Fitted, frame: pd.DataFrame, top: int = TOP) -> list[list[dict]]:
    """Per case the features with the largest contributions to its log-odds, either way."""
    names, contributions = fitted.feature_names, fitted.contributions(frame)
    largest = np.argsort(-np.abs(contributions), axis=1, kind="stable")[:, :top]
    values = [frame[name].tolist() for name in names]
    return [
        [
            {
                "feature": names[j],
                "value": None if pd.isna(values[j][i]) else values[j][i],
                "contribution": round(float(contributions[i, j]), 6),
            }
            for j in largest[i]
        ]
        for i in range(len(frame))
    ]


def report(wh: Warehouse, use_case: UseCase, as_of: datetime, left_out: int = 0) -> DecisionReport:
    """What the round of this as_of recorded, counted in the warehouse."""
    counted = """
        select route, arm, model_version, route_reasons, count(*) as n,
               count(*) filter (where recommended_action = :positive) as advanced,
               count(*) filter (where exploration) as explored
        from loop.decisions where use_case = :use_case and as_of = :as_of group by 1, 2, 3, 4
    """
    of = {"use_case": use_case.name, "as_of": as_of, "positive": use_case.decision.actions.positive}
    with wh.engine("engine").connect() as connection:
        rows = connection.execute(text(counted), of).all()
    routes, why = {"automatic": 0, "review": 0}, Counter()
    for row in rows:
        routes[row.route] += row.n
        why.update(dict.fromkeys({reason.split(":")[0] for reason in row.route_reasons}, row.n))
    return DecisionReport(
        use_case.name,
        as_of,
        model_version=next((row.model_version for row in rows if row.arm == "champion"), None),
        tried=sum(row.n for row in rows if row.arm == "challenger"),
        decided=sum(row.n for row in rows),
        advanced=sum(row.advanced for row in rows),
        explored=sum(row.explored for row in rows),
        routes=routes,
        review_reasons=dict(sorted(why.items())),
        left_out=left_out,
    )


def _closed(wh: Warehouse, use_case: UseCase, as_of: datetime) -> bool:
    with wh.engine("engine").connect() as connection:
        return bool(
            connection.scalar(
                text("select exists (select from loop.decisions where use_case = :u and as_of = :a)"),
                {"u": use_case.name, "a": as_of},
            )
        )


def _in_order(
    wh: Warehouse, use_case: UseCase, as_of: datetime, versions: Sequence[Fitted] = ()
) -> tuple[pd.DataFrame, int]:
    """The open cases that may be decided now, and how many are left out to keep the order of rounds."""
    frame = features.scoring_frame(wh, use_case, as_of, versions)
    with wh.engine("engine").connect() as connection:
        later = connection.scalars(
            text("select case_key from loop.decisions where use_case = :u and as_of > :a"),
            {"u": use_case.name, "a": as_of},
        ).all()
    touched = frame.loc[frame["case_key"].isin(later), "group_key"].unique()
    out = frame["group_key"].isin(touched)
    return frame[~out], int(out.sum())


def _snapshot(use_case: UseCase, fitted: Fitted, frame: pd.DataFrame) -> pa.StructArray:
    """The features that each case was decided by: what is declared, and what else the version reads."""
    kept = [*use_case.features, *features.undeclared(use_case, [fitted])]
    values = [
        pa.array(frame[one.name], pa.string() if one.type == CATEGORY else pa.float64(), from_pandas=True)
        for one in kept
    ]
    return pa.StructArray.from_arrays(values, names=[one.name for one in kept])


def _explained(fitted: Fitted, frame: pd.DataFrame, routed: np.ndarray) -> pa.Array:
    """Reasons for the cases that a person will look at; for the others explain() finds them on demand."""
    found = reasons(fitted, frame[routed].reset_index(drop=True)) if routed.any() else []
    words = pa.array([json.dumps(one) for one in found], pa.string())
    return words.take(pa.array(np.cumsum(routed) - 1, mask=~routed))
