"""A new version measured, put on record, and proposed where it convinces: what three rhythms share.

Without a champion a version has to beat the base rate; with one, the champion, paired on matured decisions
that neither was fitted on. Nothing is promoted here.
"""

from datetime import datetime, timedelta
from typing import Literal

import pandas as pd

from hrloop import as_of as moment
from hrloop import evaluation, features, release
from hrloop.evaluation import comparison, pooling
from hrloop.evaluation import drift as distributions
from hrloop.evaluation.drift import Alarm
from hrloop.learning import Fitted, TooEarly, fit, leaks
from hrloop.learning.architecture import Architecture
from hrloop.release.registry import EVIDENCE_FILE
from hrloop.rhythms import Loop, matured
from hrloop.usecase import UseCase
from hrloop.warehouse import steps

NEWEST = timedelta(days=31)  # exports come once a month
ABOUT_SHOWN = 10  # of what is new about a version: an owner reads no more, and MLflow's page holds no more
YEAR = timedelta(days=365)
Pace = Literal["weekly", "monthly"]


def frame_without_leaks(loop: Loop, declaration: UseCase, as_of: datetime) -> pd.DataFrame:
    """The training frame that every new version is fitted on.

    Raises LeakError for features from the future, by name.
    """
    frame = matured.training_frame(loop, declaration, as_of)
    open_cases = features.scoring_frame(loop.warehouse, declaration, as_of)
    leaks.check(declaration, frame, open_cases, matured.decided(loop, declaration, as_of))
    return frame


def try_one(
    loop: Loop,
    declaration: UseCase,
    frame: pd.DataFrame,
    as_of: datetime,
    rhythm: str,
    pace: Pace,
    champion: release.Serving | None,
    architecture: Architecture | None = None,
    about: tuple[str, ...] = (),
) -> dict:
    """Fit a version, measure it, and put the verdict on record: a proposed version, or why there is none.

    ``about``: what is new about it, in words for its owner. Returns verdict, version (None unless it was
    proposed), reasons, the numbers of labels, the error spent on it (``alpha``), and the drift of the newest
    cases. Where no label came since the last version was compared, none is fitted.
    """
    try:
        alpha = (
            error_of_a_run(loop, declaration, frame, champion.fitted, as_of, rhythm, pace)
            if champion
            else None
        )
        fitted = fit(declaration, frame, as_of, architecture)
    except TooEarly as reason:
        finding = release.Finding("insufficient_evidence", str(reason), (str(reason),))
        release.keep(loop.warehouse, declaration, finding, as_of, rhythm)
        return {"verdict": finding.verdict, "version": None, "reasons": [str(reason)]}
    alarm = drift(loop, declaration, frame, fitted.held_out["decided_at"], as_of)
    if champion is None:
        finding = first(declaration, frame, fitted, as_of, about, alarm)
    else:
        finding = successor(loop, declaration, frame, fitted, champion, as_of, alpha, about, alarm)
    version = None
    if finding.verdict == "promote":
        version = release.propose(
            loop.warehouse, loop.registry, declaration, fitted, finding, frame, as_of, rhythm
        )
    else:
        release.keep(loop.warehouse, declaration, finding, as_of, rhythm)
    return {
        "verdict": finding.verdict,
        "version": version,
        "reasons": list(finding.reasons),
        "labels": finding.details["labels"],
        "evaluation_labels": finding.details["evaluation_labels"],
        "alpha": alpha,
        "model": fitted.identity,
        "drift": {"raised": alarm.raised, "words": str(alarm)} if alarm else None,
    }


def error_of_a_run(
    loop: Loop,
    declaration: UseCase,
    frame: pd.DataFrame,
    champion: Fitted,
    as_of: datetime,
    rhythm: str,
    pace: Pace,
) -> float:
    """What a comparison with the champion may err by now (``comparison.error_of_a_run``).

    New are the labels that became known since this rhythm compared last, and since the champion was learnt,
    within a year: what is new is a part of a year's labels.
    Raises TooEarly where there are none, or the year's error is used up.
    """
    with loop.warehouse.engine("engine").connect() as connection:
        runs = steps.done_between(connection, rhythm, declaration.name, as_of - YEAR, as_of)
    compared = {at: summary["alpha"] for at, summary in runs if summary.get("alpha")}
    since = max([moment.parse(champion.as_of), as_of - YEAR, *compared])
    known_at = frame.loc[matured.observed(frame), "label_known_at"]
    budget = getattr(declaration.promotion.false_promotions_a_year, pace).value
    new, a_year = (int((known_at > time).sum()) for time in (since, as_of - YEAR))
    error = comparison.error_of_a_run(budget, new, a_year, sum(compared.values()), declaration.promotion)
    if new == 0:
        raise TooEarly(f"no outcome became known since {moment.text(since)}, when the last were learnt from")
    if error == 0:
        raise TooEarly(f"the {pace} comparisons of the last year have used up the error that it may have")
    return error


def first(
    declaration: UseCase,
    frame: pd.DataFrame,
    fitted: Fitted,
    as_of: datetime,
    about: tuple[str, ...] = (),
    alarm: Alarm | None = None,
) -> release.Finding:
    """What a version has shown against the base rate, where there is no champion."""
    measured = evaluation.assess(
        fitted.held_out, fitted.summary["base_rate"], _observed(frame), declaration.promotion,
        declaration.learner.seed,
    )  # fmt: skip
    verdict = evaluation.verdict.unless_shifted(evaluation.first(measured, declaration.promotion), alarm)
    brier, gain = measured.metrics["brier"], measured.improvement["brier"]
    return release.Finding(
        verdict=verdict.kind,
        words=_in_words(declaration, verdict, as_of, about, measured.evaluation_labels, measured.metrics),
        reasons=verdict.reasons,
        metrics={**measured.metrics, **_named(measured.improvement, "better_than_base_rate")},
        details={
            **measured.as_dict(),
            "verdict_id": verdict.id,
            "training": fitted.summary,
            "change": _change("base_rate", brier.value + gain.value, brier.value, brier.n),
        },
    )


def successor(
    loop: Loop,
    declaration: UseCase,
    frame: pd.DataFrame,
    fitted: Fitted,
    champion: release.Serving,
    as_of: datetime,
    alpha: float,
    about: tuple[str, ...] = (),
    alarm: Alarm | None = None,
) -> release.Finding:
    """What a version has shown against the champion on its held-out labels that neither was fitted on."""
    labelled = fitted.held_out[["decision_id", "label", "weight"]]
    rows = frame.drop(columns="label").merge(labelled, on="decision_id", validate="one_to_one")
    found = compare(loop, declaration, frame, rows, fitted, champion, as_of, alpha)
    verdict = evaluation.verdict.unless_shifted(evaluation.successor(found, declaration.promotion), alarm)
    return finding_of(declaration, found, verdict, champion.version, as_of, fitted.summary, about)


def drift(
    loop: Loop, declaration: UseCase, frame: pd.DataFrame, evaluated: pd.Series, as_of: datetime
) -> Alarm | None:
    """Whether the cases of the last month, decided or open, are unlike those decided in the time that a
    version was evaluated on: all of them, since those with an outcome differ from the others by selection.

    evaluated: when the cases were decided that it was evaluated on.
    """
    then = frame[frame["decided_at"].between(evaluated.min(), evaluated.max())]
    decided = frame[frame["decided_at"] > as_of - NEWEST]
    newest = pd.concat([decided, features.scoring_frame(loop.warehouse, declaration, as_of)])
    names = declaration.feature_names
    return distributions.alarm(then[names], newest[names], declaration.drift)


def compare(
    loop: Loop,
    declaration: UseCase,
    frame: pd.DataFrame,
    rows: pd.DataFrame,
    fitted: Fitted,
    champion: release.Serving,
    as_of: datetime,
    alpha: float,
) -> comparison.Comparison:
    """A version beside the champion on these labelled rows, less those that one of them was fitted on.

    The champion stands under the calibrator that was live before the first of these labels was known, so
    that no calibrator has seen them; and once more as it decides today, where that is under another one.
    Protected groups are compared on all cases decided meanwhile.
    """
    today = champion
    rows = matured.unseen(matured.unseen(rows, champion.fitted), fitted)
    champion = matured.unaware(loop, declaration, champion, rows)
    rows = matured.compared(rows, fitted, champion.fitted)
    if champion.calibration_id != today.calibration_id:
        rows = rows.assign(today=today.fitted.probability(rows))
    cases = frame[frame["decided_at"] >= rows["decided_at"].min()] if len(rows) else frame.iloc[:0]
    cases = cases.assign(
        recommended=matured.recommended(declaration, fitted, cases),
        reference_recommended=matured.recommended(declaration, champion.fitted, cases),
    )
    promotion = declaration.promotion
    pooled = pooling.pool(
        rows, promotion.metric, declaration.volume, matured.labels_a_month(frame, as_of), alpha
    )
    return comparison.compare(
        rows,
        fitted.summary["base_rate"],
        _observed(frame),
        promotion,
        alpha,
        declaration.learner.seed,
        group_findings=comparison.guard(
            matured.with_protected(loop, declaration, rows, as_of),
            matured.with_protected(loop, declaration, cases, as_of),
            declaration.protected.attributes,
            promotion,
            declaration.fairness,
        ),
        pooled=pooled,
    )


def finding_of(
    declaration: UseCase,
    found: comparison.Comparison,
    verdict: evaluation.Verdict,
    champion: int,
    as_of: datetime,
    training: dict,
    about: tuple[str, ...] = (),
) -> release.Finding:
    """A comparison with its verdict as the registry and the ledger keep it."""
    reference, candidate = found.reference_metrics["brier"], found.metrics["brier"]
    return release.Finding(
        verdict=verdict.kind,
        words=_in_words(
            declaration, verdict, as_of, about, found.evaluation_labels, found.metrics,
            found.reference_metrics,
        ),
        reasons=verdict.reasons,
        metrics={
            **found.metrics,
            **_named(found.improvement, "better_than_champion"),
            **_named(found.improvement_over_base_rate, "better_than_base_rate"),
        },
        compared_with=champion,
        details={
            **found.as_dict(),
            "verdict_id": verdict.id,
            "training": training,
            "about": about,
            "change": _change("champion", reference.value, candidate.value, found.evaluation_labels),
        },
    )  # fmt: skip


def _observed(frame: pd.DataFrame) -> int:
    return int(matured.observed(frame).sum())


def _named(figures: dict, suffix: str) -> dict:
    return {f"{name}_{suffix}": figure for name, figure in figures.items()}


def _change(reference: str, before: float, after: float, n: int) -> dict:
    """What a change note tells: mean squared error before and after, on n decisions."""
    return {"reference": reference, "before": before, "after": after, "n": n}


def _listed(about: tuple[str, ...]) -> list[str]:
    """The first of what is new, as a list in Markdown; the evidence beside the model holds all of it."""
    more = len(about) - ABOUT_SHOWN
    shown = [f"- {words}" for words in about[:ABOUT_SHOWN]]
    return [*shown, f"- and {more} more, in {EVIDENCE_FILE} beside the model"] if more > 0 else shown


def _in_words(
    declaration: UseCase,
    verdict: evaluation.Verdict,
    as_of: datetime,
    about: tuple[str, ...],
    labels: int,
    metrics: dict,
    champion_metrics: dict | None = None,
) -> str:
    """The evidence for its owner, in plain language (Markdown)."""
    level = f"{declaration.promotion.confidence_level.value:.0%} interval"
    columns = ["version", level] + (["champion"] if champion_metrics else [])
    figures = [
        [name.replace("_", " "), f"{figure.value:.4f}", f"{figure.low:.4f} to {figure.high:.4f}"]
        + ([f"{champion_metrics[name].value:.4f}"] if champion_metrics else [])
        for name, figure in sorted(metrics.items())
    ]
    return "\n".join(
        [
            f"**{declaration.title}, as of {moment.text(as_of)}: {verdict.kind.replace('_', ' ')}.**",
            "",
            f"Learnt from outcomes at {declaration.outcome.label_milestone} months. Why this verdict:",
            "",
            *(f"- {reason}" for reason in verdict.reasons),
            *(["", "What is new about it:", "", *_listed(about)] if about else []),
            "",
            f"| on {labels} decisions it was not fitted on | {' | '.join(columns)} |",
            "|---" * (len(columns) + 1) + "|",
            *(f"| {' | '.join(row)} |" for row in figures),
            "",
            "Outcomes exist only for those who were selected; the figures are weighted to speak of all who"
            " were decided on. To put this version in charge, approve it with a reason.",
        ]
    )
