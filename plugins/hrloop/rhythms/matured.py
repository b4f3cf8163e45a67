"""What the four rhythms look at: decisions whose outcome is known, and versions that never saw them."""

import json
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime

import numpy as np
import pandas as pd

from hrloop import as_of as moment
from hrloop import features, release
from hrloop.decisions import policy
from hrloop.evaluation import experiment
from hrloop.labels import StaleWarehouse
from hrloop.learning import Fitted, training
from hrloop.learning.architecture import Architecture, declared
from hrloop.release import experiments
from hrloop.rhythms import Loop, Refused, recorded, verdict_of
from hrloop.rhythms.intake import refresh_decisions
from hrloop.usecase import UseCase
from hrloop.warehouse import steps

VOLUME_DAYS = 91  # labels a month are counted over a quarter: exports come once a month


def check_built(loop: Loop, step: str, as_of: datetime) -> None:
    """Raise Refused when the warehouse was not built for this as_of."""
    with loop.warehouse.engine("engine").connect() as connection:
        stands = steps.latest_done(connection, "warehouse")
    if stands is None or stands < as_of:
        raise Refused(
            f"{step} at {moment.text(as_of)}: the warehouse"
            f" {'was never built' if stands is None else f'stands at {moment.text(stands)}'}."
            " Run ingest, quality_gate and warehouse with this as_of first."
        )


def verdict_once(
    loop: Loop, step: str, use_case: str, as_of: datetime, find: Callable[[Loop, UseCase, datetime], dict]
) -> dict:
    """What a rhythm finds at ``as_of``: by ``find`` and on record the first time, from the record after that.

    Raises Refused when the warehouse was not built for this as_of, and what ``find`` raises.
    """
    found = verdict_of(loop, step, as_of, use_case)
    if found is not None:
        return found
    declaration = loop.use_case(use_case)
    with recorded(loop, step, as_of, use_case) as summary:
        check_built(loop, step, as_of)
        summary.update(find(loop, declaration, as_of))
    return summary


def training_frame(loop: Loop, declaration: UseCase, as_of: datetime) -> pd.DataFrame:
    """``features.training_frame`` for the versions in use, once the loop's own decisions are all in the
    warehouse."""
    versions = in_use(loop, declaration, as_of)
    try:
        return features.training_frame(loop.warehouse, declaration, as_of, versions)
    except StaleWarehouse:  # it stands, as was checked: the loop's own decisions came after the build
        refresh_decisions(loop, declaration, as_of)
        return features.training_frame(loop.warehouse, declaration, as_of, versions)


def in_use(loop: Loop, declaration: UseCase, as_of: datetime) -> list[Fitted]:
    """The champion, the one before it, and the challenger of an experiment, as far as they can be read."""
    now = release.standing(release.read(loop.warehouse, declaration.name))
    trial = experiments.to_look_at(loop.warehouse, declaration.name, as_of)
    versions = []
    for number in filter(None, (now.champion, now.previous, trial and trial.challenger)):
        with suppress(release.RegistryError):  # raised where that very version is asked
            versions.append(loop.registry.load(declaration.name, number).fitted)
    return versions


def labelled(declaration: UseCase, frame: pd.DataFrame, as_of: datetime) -> pd.DataFrame:
    """The decisions of a training frame with an observed label, and their ``weight`` for selection.

    In the order of decision. Raises InsufficientLabels and what else learning refuses.
    """
    ready = training.prepare(declaration, frame, as_of)
    return ready.rows.assign(weight=ready.weight)


def fitted_to(fitted: Fitted) -> pd.Timestamp:
    """When the newest of the decisions that a version was fitted on was taken.

    Where subjects come back: when the outcomes of those decisions were over, since a later decision on the
    same subject shares them.
    """
    calibrated = fitted.summary["parts"]["calibration"]
    return pd.Timestamp(calibrated.get("outcomes_to", calibrated["decided_to"]))


def unseen(rows: pd.DataFrame, fitted: Fitted) -> pd.DataFrame:
    """The rows that nothing of this version was fitted on: decided after those, or not known then."""
    learnt_at = pd.Timestamp(moment.parse(fitted.as_of))
    return rows[(rows["decided_at"] > fitted_to(fitted)) | (rows["label_known_at"] > learnt_at)]


def unaware(loop: Loop, declaration: UseCase, served: release.Serving, rows: pd.DataFrame) -> release.Serving:
    """The version under the calibrator that was live before the first of these labels was known, so that no
    calibrator has learnt from them. rows: with label_known_at."""
    if rows.empty:
        return served
    first = rows["label_known_at"].min().to_pydatetime()
    return release.calibrated_before(loop.warehouse, declaration, served, first)


def architecture_of(declaration: UseCase, fitted: Fitted) -> Architecture:
    """What a version was learnt with; a model that does not say was learnt as the use case declares."""
    return fitted.architecture or declared(declaration)


def compared(rows: pd.DataFrame, candidate: Fitted, reference: Fitted) -> pd.DataFrame:
    """Rows with the ``probability`` of a version and that of the one in charge as ``reference``."""
    return rows.assign(
        probability=candidate.probability(rows),
        reference=reference.probability(rows),
        known_at=rows["label_known_at"],
    )


def harm(
    loop: Loop,
    declaration: UseCase,
    rows: pd.DataFrame,
    version: Fitted,
    reference: release.Serving,
    alpha: float,
) -> experiment.Sequential | None:
    """Whether a version does worse than the reference on these labels, which may be asked on any day; None
    without labels. The reference stands under the calibrator that knew none of them."""
    if rows.empty:
        return None
    stream = experiment.arrivals(compared(rows, version, unaware(loop, declaration, reference, rows).fitted))
    return experiment.harm(stream.differences, alpha, bound=stream.bound)


def observed(frame: pd.DataFrame) -> pd.Series:
    """Which decisions of a training frame (n,) were selected and have an observed label."""
    return (frame["label_status"] == "observed") & frame["selected"].astype(bool)


def labels_a_month(frame: pd.DataFrame, as_of: datetime) -> float:
    """Labels of a training frame that became known per month of 30.4 days, over the last quarter."""
    recent = frame["label_known_at"] > as_of - pd.Timedelta(days=VOLUME_DAYS)
    return float((observed(frame) & recent).sum()) / (VOLUME_DAYS / 30.4)


def recommended(declaration: UseCase, fitted: Fitted, cases: pd.DataFrame) -> np.ndarray:
    """Whether a version would recommend the positive action (n,): ranks in the group and period, no
    exploration."""
    rivals = cases["group_key"].astype(str) + "|" + cases["period"].astype(str)
    ranked = policy.rank(rivals.to_numpy(str), fitted.score(cases), np.arange(len(cases), dtype=float))
    return ranked.rank <= policy.quota(ranked.size, declaration.decision)


def with_protected(loop: Loop, declaration: UseCase, rows: pd.DataFrame, as_of: datetime) -> pd.DataFrame:
    """Rows with a column for each protected attribute; for comparisons between groups alone."""
    attributes = features.protected_frame(loop.warehouse, declaration, as_of)
    key = f"{declaration.protected.of}_key"
    return rows.merge(attributes, on=key, how="left", validate="many_to_one")


def decided(loop: Loop, declaration: UseCase, as_of: datetime) -> pd.DataFrame | None:
    """The features as they were logged with the loop's decisions before ``as_of``; None without any."""
    rows = loop.warehouse.read(
        "engine",
        "select case_key, features::text as features from loop.decisions"
        " where use_case = :use_case and as_of < :as_of order by case_key",
        use_case=declaration.name,
        as_of=as_of,
    ).to_pandas()
    if rows.empty:
        return None
    logged = pd.DataFrame(rows["features"].map(json.loads).tolist())
    return logged.assign(case_key=rows["case_key"])


def reviewed(loop: Loop, use_case: str, as_of: datetime) -> pd.DataFrame:
    """Each decision that was reviewed by ``as_of``, and whether the newest review of it is an overrule.

    Columns decided_at, arm, model_version, group_key and overruled.
    """
    return loop.warehouse.read(
        "engine",
        """
        select distinct on (decisions.decision_id)
            decisions.as_of as decided_at,
            decisions.arm,
            decisions.model_version,
            decisions.group_key,
            reviews.verdict = 'overrule' as overruled
        from loop.reviews as reviews
        inner join loop.decisions as decisions on reviews.decision_id = decisions.decision_id
        where decisions.use_case = :use_case and reviews.reviewed_at <= :as_of
        order by decisions.decision_id, reviews.reviewed_at desc, reviews.review_id
        """,
        use_case=use_case,
        as_of=as_of,
    ).to_pandas()


def champion(loop: Loop, declaration: UseCase) -> release.Serving | None:
    """The version in charge; None where there is none."""
    try:
        return release.serving(loop.warehouse, loop.registry, declaration)
    except release.NoChampion:
        return None
