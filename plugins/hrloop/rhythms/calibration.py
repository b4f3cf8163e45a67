"""Daily calibration: the map from score to probability, by the newest labels. Ranks stay as they are.

It goes live by itself when it beats today's on labels that chose nothing of it, and comes off by itself when
the one before it does better on labels that became known since.
"""

from dataclasses import dataclass
from datetime import datetime

import pandas as pd

from hrloop import as_of as moment
from hrloop import release
from hrloop.evaluation import metrics, verdict
from hrloop.evaluation.verdict import Kind
from hrloop.learning import TooEarly, recalibration
from hrloop.learning.calibration import Calibrator, from_dict
from hrloop.release import Release, ledger
from hrloop.rhythms import Loop, matured
from hrloop.usecase import Calibration, UseCase

STEP = "daily_calibration"


@dataclass(frozen=True)
class Live:
    """The calibrator in force, since when, and the one ``before`` it; None where it is the version's own."""

    calibrator: Calibrator
    since: datetime | None = None
    before: Calibrator | None = None


@dataclass(frozen=True, eq=False)
class Found:
    """A verdict with its reasons, and the ``name`` of the calibrator that it is on.

    ``calibrator``: the one to be live from now on, and ``judged`` what showed it, as
    ``recalibration.Choice``; None where nothing changes.
    """

    kind: Kind
    reasons: tuple[str, ...]
    name: str
    verdict_id: str | None = None
    calibrator: Calibrator | None = None
    judged: pd.DataFrame | None = None


def calibrate(loop: Loop, use_case: str, as_of: datetime) -> dict:
    """Take the live calibrator off if it worsened, else put a better one live, else change nothing.

    Returns verdict, reasons, the candidate's name and the log loss of both on the newest labels. Raises
    Refused when the warehouse was not built for this as_of, and what learning refuses.
    """
    return matured.verdict_once(loop, STEP, use_case, as_of, _find)


def _find(loop: Loop, declaration: UseCase, as_of: datetime) -> dict:
    champion = matured.champion(loop, declaration)
    if champion is None:
        return {"verdict": "keep", "reasons": ["there is no champion to calibrate"]}
    if later := ledger.changed_after(release.read(loop.warehouse, declaration.name), as_of):
        return {"verdict": "keep", "reasons": [f"what decides was changed since, at {moment.text(later)}"]}
    try:
        return _decide(loop, declaration, champion, as_of)
    except TooEarly as reason:
        return {"verdict": "insufficient_evidence", "reasons": [str(reason)]}


def look(scored: pd.DataFrame, live: Live, declared: Calibration, as_of: datetime) -> Found:
    """What the matured decisions say: the live calibrator comes off, a better one goes live, or neither.

    scored: as for ``recalibration.choose``, of decisions that the champion was not fitted on. Raises what
    it raises. Pure.
    """
    alpha = declared.daily.significance.value
    if live.before is not None:
        judged = recalibration.comes_off(scored, live.since, live.calibrator, live.before, as_of)
        fallen = verdict.calibrator_in_use(_paired(judged, alpha), declared.daily)
        if fallen.kind == "roll_back":
            return Found(fallen.kind, fallen.reasons, "the one before", fallen.id, live.before, judged)
    choice = recalibration.choose(scored, live.calibrator, declared, as_of)
    if choice.name == recalibration.TODAY:
        return Found("keep", ("today's calibrator would have served best so far",), choice.name)
    fallen = verdict.calibrator(_paired(choice.judged, alpha), declared.daily)
    changed = (choice.calibrator, choice.judged) if fallen.kind == "promote" else (None, None)
    return Found(fallen.kind, fallen.reasons, choice.name, fallen.id, *changed)


def _decide(loop: Loop, declaration: UseCase, champion: release.Serving, as_of: datetime) -> dict:
    frame = matured.training_frame(loop, declaration, as_of)
    rows = matured.unseen(matured.labelled(declaration, frame, as_of), champion.fitted)
    scored = rows.assign(score=champion.fitted.score(rows))
    found = look(scored, _live(loop, declaration, champion, as_of), declaration.calibration, as_of)
    if found.calibrator is None:
        return {"verdict": found.kind, "reasons": list(found.reasons), "candidate": found.name}
    return _change(loop, declaration, champion, found, as_of)


def _live(loop: Loop, declaration: UseCase, champion: release.Serving, as_of: datetime) -> Live:
    entries = release.read(loop.warehouse, declaration.name)
    row = ledger.live_calibration(entries, champion.version, before=as_of)
    if row is None:
        return Live(champion.own)
    before = ledger.live_calibration(entries, champion.version, before=row.as_of)
    return Live(_calibrator(row, champion.own), row.as_of, _calibrator(before, champion.own))


def _change(loop, declaration, champion, found: Found, as_of) -> dict:
    """Write the change into the ledger, with the calibrator that is live from now on."""
    judged = found.judged
    loss = {
        which: metrics.brier(judged["label"], judged[column], judged["weight"])
        for which, column in (("after", "probability"), ("before", "reference"))
    }
    finding = release.Finding(
        verdict=found.kind,
        words="; ".join(found.reasons),
        reasons=found.reasons,
        details={
            "calibrator": found.calibrator.as_dict(),
            "name": found.name,
            "verdict_id": found.verdict_id,
            "change": {"reference": "calibrator", "n": len(judged), **loss},
        },
    )
    row = release.calibrate(loop.warehouse, loop.registry, declaration, champion.version, finding, as_of)
    return {
        "verdict": row.verdict,
        "reasons": row.reasons,
        "candidate": found.name,
        "release_id": row.release_id,
    }


def _calibrator(row: Release | None, own: Calibrator) -> Calibrator:
    return own if row is None else from_dict(row.evidence["details"]["calibrator"])


def _paired(judged, alpha: float) -> dict[str, metrics.Interval]:
    columns = ("label", "probability", "reference", "group_key", "weight")
    return metrics.paired(*(judged[name].to_numpy() for name in columns), alpha=alpha)
