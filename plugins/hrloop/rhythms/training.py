"""Training: a first champion for a use case, proposed with its evidence, in charge once a person approved."""

import json
from datetime import datetime

import pandas as pd
from sqlalchemy import text

from hrloop import as_of as moment
from hrloop import evaluation, features, learning, release
from hrloop.labels import StaleWarehouse
from hrloop.learning import InsufficientLabels, OneClassOnly, leaks
from hrloop.rhythms import Loop, Refused, recorded
from hrloop.rhythms.intake import refresh_decisions
from hrloop.usecase import UseCase
from hrloop.warehouse import steps


def newest(loop: Loop, use_case: str, not_after: datetime | None = None) -> datetime | None:
    """The newest as_of, not after the given one, for which the warehouse was built.

    None when the use case was trained on it already, or nothing was built yet.
    """
    with loop.warehouse.engine("engine").connect() as connection:
        as_of = connection.scalar(
            text(
                "select max(as_of) from loop.steps where step = 'warehouse' and state = 'done'"
                " and as_of <= coalesce(cast(:not_after as timestamptz), 'infinity')"
            ),
            {"not_after": not_after},
        )
        done = as_of and steps.state(connection, "training", use_case, as_of) == "done"
    return None if done else as_of


def train(loop: Loop, use_case: str, as_of: datetime) -> dict:
    """Fit on the labels known by ``as_of``, measure on the newest of them held out, propose if convincing.

    Nothing is promoted here. A use case that has a champion keeps it: to be first, a version has to beat the
    base rate, and that is no comparison with a version in charge. Raises Refused when the warehouse was not
    built for this as_of, LeakError for features from the future, and what else learning refuses.
    """
    declaration = loop.use_case(use_case)
    with recorded(loop, "training", as_of, use_case) as summary:
        _check_built(loop, as_of)
        champion = _champion_of_another_time(loop, use_case, as_of)
        if champion is not None:
            summary.update(verdict="keep", version=None, reasons=[f"version {champion} is in charge"])
        else:
            frame = _training_frame(loop, declaration, as_of)
            leaks.check(
                declaration,
                frame,
                features.scoring_frame(loop.warehouse, declaration, as_of),
                _decided(loop, declaration, as_of),
            )
            summary.update(_propose(loop, declaration, frame, as_of))
    return summary


def _check_built(loop: Loop, as_of: datetime) -> None:
    with loop.warehouse.engine("engine").connect() as connection:
        stands = steps.latest_done(connection, "warehouse")
    if stands is None or stands < as_of:
        raise Refused(
            f"training at {moment.text(as_of)}: the warehouse"
            f" {'was never built' if stands is None else f'stands at {moment.text(stands)}'}."
            " Run ingest, quality_gate and warehouse with this as_of first."
        )


def _champion_of_another_time(loop: Loop, use_case: str, as_of: datetime) -> int | None:
    """The version in charge, unless it is the one that was trained at this very as_of."""
    rows = release.read(loop.warehouse, use_case)
    champion = release.standing(rows).champion
    return next((row.version for row in rows if row.version == champion and row.as_of != as_of), None)


def _training_frame(loop: Loop, declaration: UseCase, as_of: datetime) -> pd.DataFrame:
    try:
        return features.training_frame(loop.warehouse, declaration, as_of)
    except StaleWarehouse:  # it stands, as was checked: the loop's own decisions came after the build
        refresh_decisions(loop)
        return features.training_frame(loop.warehouse, declaration, as_of)


def _decided(loop: Loop, declaration: UseCase, as_of: datetime) -> pd.DataFrame | None:
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


def _propose(loop: Loop, declaration: UseCase, frame: pd.DataFrame, as_of: datetime) -> dict:
    """Fit, measure, and put the verdict on record: a proposed version, or why there is none."""
    try:
        fitted = learning.fit(declaration, frame, as_of)
    except (InsufficientLabels, OneClassOnly) as reason:
        finding = release.Finding("insufficient_evidence", str(reason), (str(reason),))
        release.keep(loop.warehouse, declaration, finding, as_of)
        return {"verdict": finding.verdict, "version": None, "reasons": [str(reason)]}
    measured = evaluation.assess(
        fitted.held_out,
        fitted.summary["base_rate"],
        int((frame["label_status"] == "observed").sum()),
        declaration.promotion,
        declaration.learner.seed,
    )
    verdict = evaluation.first(measured, declaration.promotion)
    better = {f"{name}_better_than_base_rate": gain for name, gain in measured.improvement.items()}
    finding = release.Finding(
        verdict=verdict.kind,
        words=_in_words(declaration, measured, verdict, as_of),
        reasons=verdict.reasons,
        metrics={**measured.metrics, **better},
        details={**measured.as_dict(), "verdict_id": verdict.id, "training": fitted.summary},
    )
    version = None
    if verdict.kind == "promote":
        version = release.propose(loop.warehouse, loop.registry, declaration, fitted, finding, frame, as_of)
    else:
        release.keep(loop.warehouse, declaration, finding, as_of)
    return {
        "verdict": verdict.kind,
        "version": version,
        "reasons": list(verdict.reasons),
        "labels": measured.labels,
        "evaluation_labels": measured.evaluation_labels,
        "model": fitted.identity,
    }


def _in_words(
    declaration: UseCase, measured: evaluation.Evidence, verdict: evaluation.Verdict, as_of: datetime
) -> str:
    """The evidence for its owner, in plain language (Markdown)."""
    level = f"{declaration.promotion.confidence_level.value:.0%} interval"
    figures = [
        f"| {name.replace('_', ' ')} | {figure.value:.4f} | {figure.low:.4f} to {figure.high:.4f} |"
        for name, figure in sorted(measured.metrics.items())
    ]
    return "\n".join(
        [
            f"**{declaration.title}, as of {moment.text(as_of)}: {verdict.kind.replace('_', ' ')}.**",
            "",
            f"Learnt from outcomes at {declaration.outcome.label_milestone} months. Why this verdict:",
            "",
            *(f"- {reason}" for reason in verdict.reasons),
            "",
            f"| on {measured.evaluation_labels} held-out decisions | value | {level} |",
            "|---|---|---|",
            *figures,
            "",
            "Outcomes exist only for those who were selected; the figures are weighted to speak of all who"
            " were decided on. To put this version in charge, approve it with a reason.",
        ]
    )


def release_if_approved(loop: Loop, use_case: str) -> dict | None:
    """Put the newest version that its owner approved in charge; None when none waits with an approval.

    Raises ReleaseRefused when it may not be, such as when the champion changed since it was measured.
    """
    declaration = loop.use_case(use_case)
    spent = release.standing(release.read(loop.warehouse, use_case)).spent
    approved = [
        version
        for version in loop.registry.versions(use_case)
        if version.tags.get("approval.status") == "approved" and version.number not in spent
    ]
    if not approved:
        return None
    chosen = approved[-1]
    row = release.promote(
        loop.warehouse, loop.registry, declaration, chosen.number, moment.parse(chosen.tags["as_of"])
    )
    return {"version": row.version, "kind": row.kind, "approved_by": row.approved_by}
