"""The release watch: from a release until four weeks after its first round, one broken guardrail puts the
previous champion back."""

from datetime import datetime, timedelta

import pandas as pd

from hrloop import evaluation, release
from hrloop.evaluation import experiment, fairness
from hrloop.evaluation.metrics import Interval
from hrloop.learning import TooEarly
from hrloop.release import Release, UnreadableModel, ledger
from hrloop.rhythms import Loop, matured
from hrloop.usecase import UseCase

STEP = "release_watch"
BY = "release watch"


def watch(loop: Loop, use_case: str, as_of: datetime) -> dict:
    """Look at the champion's release; roll it back at once when a guardrail is broken.

    Returns verdict and reasons. Nothing is watched without a champion, or when it has decided for longer
    than the declared days: where cases come once a month, weeks pass before its first round. The first
    champion has no one to go back to and is not watched.
    """
    return matured.verdict_once(loop, STEP, use_case, as_of, _find)


def _find(loop: Loop, declaration: UseCase, as_of: datetime) -> dict:
    rows = release.read(loop.warehouse, declaration.name)
    for row in rows:  # one of this very as_of was cut short right after its roll-back
        if row.kind == "roll_back" and (row.approved_by, row.as_of) == (BY, as_of):
            return {"verdict": "roll_back", "reasons": row.reasons, "version": row.previous_version}
    watched = _watched(loop, rows, declaration, as_of)
    if watched is None:
        return {"verdict": "keep", "reasons": ["no release is watched"]}
    return _judge(loop, declaration, watched, as_of)


def _watched(loop: Loop, rows: list[Release], declaration: UseCase, as_of: datetime) -> Release | None:
    now, days = release.standing(rows), timedelta(days=declaration.watch.days.value)
    if now.previous is None:
        return None
    promoted = next(row for row in rows if row.kind in ledger.PROMOTIONS and row.version == now.champion)
    first = _first_decided(loop, promoted, as_of) or as_of
    return promoted if promoted.as_of <= as_of < first + days else None


def _first_decided(loop: Loop, promoted: Release, as_of: datetime) -> datetime | None:
    """The first round that a version decided in charge; None where it has decided none by ``as_of``."""
    (row,) = loop.warehouse.read(
        "engine",
        "select min(as_of) as first from loop.decisions where use_case = :use_case"
        " and model_version = :version and arm = 'champion' and as_of between :released and :as_of",
        use_case=promoted.use_case,
        version=promoted.version,
        released=promoted.as_of,
        as_of=as_of,
    ).to_pylist()
    return row["first"]


def _judge(loop: Loop, declaration: UseCase, watched: Release, as_of: datetime) -> dict:
    signals = _signals(loop, declaration, watched, as_of)
    fallen = evaluation.verdict.watch(signals, declaration.watch)
    if fallen.kind == "roll_back":
        release.rollback(
            loop.warehouse,
            loop.registry,
            declaration,
            BY,
            "; ".join(fallen.reasons),
            as_of,
            version=watched.version,
        )
    return {"verdict": fallen.kind, "reasons": list(fallen.reasons), "version": watched.version}


def _signals(
    loop: Loop, declaration: UseCase, watched: Release, as_of: datetime
) -> evaluation.verdict.WatchSignals:
    errors = experiment.watch_errors(declaration.watch)
    try:
        champion = matured.champion(loop, declaration)
    except UnreadableModel:
        champion = None
    decided, reviewed = _decided(loop, watched, as_of), _reviewed(loop, watched, as_of)
    return evaluation.verdict.WatchSignals(
        readable=champion is not None,
        harm=_harm(loop, declaration, watched, champion, as_of, errors.harm) if champion else None,
        overrules=_risen(reviewed, "overruled", errors.overrules),
        reviews=_risen(decided, "routed", errors.reviews),
        adverse=_adverse(loop, declaration, decided, errors.impact, as_of),
    )


def _harm(
    loop: Loop,
    declaration: UseCase,
    watched: Release,
    champion: release.Serving,
    as_of: datetime,
    alpha: float,
) -> experiment.Sequential | None:
    """The champion against the version before it, on labels that became known since the release.

    The champion stands as it was released, since its live calibrator may have learnt from these labels; the
    version before it as it stood then, as a roll-back would bring it back.
    """
    frame = matured.training_frame(loop, declaration, as_of)
    try:
        ledger_rows = release.read(loop.warehouse, declaration.name)
        previous = release.served_by(loop.registry, declaration, ledger_rows, watched.previous_version)
        rows = matured.labelled(declaration, frame, as_of)
    except (TooEarly, UnreadableModel):
        return None
    rows = rows[rows["label_known_at"] > watched.as_of]
    rows = matured.unseen(matured.unseen(rows, champion.fitted), previous.fitted)
    released = matured.unaware(loop, declaration, champion, rows)
    return matured.harm(loop, declaration, rows, released.fitted, previous, alpha)


def _decided(loop: Loop, watched: Release, as_of: datetime) -> pd.DataFrame:
    """Decisions of the version since its release, not as a challenger, and of the one before it: keys, after,
    routed, action."""
    return loop.warehouse.read(
        "engine",
        """
        select
            case_key,
            subject_key,
            group_key,
            model_version = :version as after,
            route = 'review' as routed,
            recommended_action as action
        from loop.decisions
        where
            use_case = :use_case
            and as_of <= :as_of
            and arm = 'champion'
            and (model_version = :previous or (model_version = :version and as_of >= :released))
        order by decision_id
        """,
        use_case=watched.use_case,
        version=watched.version,
        previous=watched.previous_version,
        released=watched.as_of,
        as_of=as_of,
    ).to_pandas()


def _reviewed(loop: Loop, watched: Release, as_of: datetime) -> pd.DataFrame:
    """Those of these decisions that were reviewed: group_key, after, overruled."""
    rows = matured.reviewed(loop, watched.use_case, as_of)
    rows = rows[rows["arm"] == "champion"]
    after = (rows["model_version"] == watched.version) & (rows["decided_at"] >= watched.as_of)
    return rows.assign(after=after)[after | (rows["model_version"] == watched.previous_version)]


def _risen(rows: pd.DataFrame, happened: str, alpha: float) -> Interval:
    return experiment.share_difference(
        rows[happened].to_numpy(bool),
        rows["after"].to_numpy(bool),
        rows["group_key"].to_numpy(str),
        alpha=alpha,
    )


def _adverse(
    loop: Loop, declaration: UseCase, decided: pd.DataFrame, significance: float, as_of: datetime
) -> tuple[str, ...] | None:
    """Protected groups adversely selected by the version and not before; None without decisions of both."""
    if decided.empty or not decided["after"].any() or decided["after"].all():
        return None
    rows = matured.with_protected(loop, declaration, decided, as_of)
    rows["selected"] = rows["action"] == declaration.decision.actions.positive
    found: list[set[str]] = []
    for after in (False, True):
        side, adverse = rows[rows["after"] == after], set()
        for attribute in declaration.protected.attributes:
            stated = side.dropna(subset=[attribute])
            for one in fairness.impacts(
                stated["selected"].to_numpy(bool),
                stated[attribute].to_numpy(),
                stated["subject_key"].to_numpy(),
                threshold=declaration.fairness.impact_ratio.value,
                significance=significance if after else declaration.fairness.significance.value,
                minimum=declaration.fairness.minimum_group.value,
            ):
                if one.finding == "adverse":
                    adverse.add(f"{attribute} {one.group}")
        found.append(adverse)
    return tuple(sorted(found[1] - found[0]))
