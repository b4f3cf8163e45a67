"""Daily calibration: the map from score to probability, by the newest labels. Ranks stay as they are.

It goes live by itself when it beats today's on labels that chose nothing of it, and comes off by itself when
the one before it does better on labels that became known since.
"""

from datetime import datetime

from hrloop import evaluation, release
from hrloop.evaluation import metrics, verdict
from hrloop.learning import InsufficientHistory, InsufficientLabels, recalibration
from hrloop.learning.calibration import Calibrator, from_dict
from hrloop.release import Release, ledger
from hrloop.rhythms import Loop, matured, recorded, verdict_of
from hrloop.usecase import UseCase

STEP = "daily_calibration"


def calibrate(loop: Loop, use_case: str, as_of: datetime) -> dict:
    """Take the live calibrator off if it worsened, else put a better one live, else change nothing.

    Returns verdict, reasons, the candidate's name and the log loss of both on the newest labels. Raises
    Refused when the warehouse was not built for this as_of, and what learning refuses.
    """
    found = verdict_of(loop, STEP, as_of, use_case)
    if found is not None:
        return found
    declaration = loop.use_case(use_case)
    with recorded(loop, STEP, as_of, use_case) as summary:
        matured.check_built(loop, STEP, as_of)
        champion = matured.champion(loop, declaration)
        if champion is None:
            summary.update(verdict="keep", reasons=["there is no champion to calibrate"])
            return summary
        try:
            summary.update(_decide(loop, declaration, champion, as_of))
        except (InsufficientHistory, InsufficientLabels) as reason:
            summary.update(verdict="insufficient_evidence", reasons=[str(reason)])
    return summary


def _decide(loop: Loop, declaration: UseCase, champion: release.Serving, as_of: datetime) -> dict:
    frame = matured.training_frame(loop, declaration, as_of)
    rows = matured.unseen(matured.labelled(declaration, frame, as_of), champion.fitted)
    scored = rows.assign(score=champion.fitted.score(rows))
    entries = release.read(loop.warehouse, declaration.name)
    own = loop.registry.load(declaration.name, champion.version).fitted.calibrator
    live = ledger.live_calibration(entries, champion.version, before=as_of)
    daily = declaration.calibration.daily
    if live is not None:
        before = ledger.live_calibration(entries, champion.version, before=live.as_of)
        judged = recalibration.comes_off(
            scored, live.as_of, _calibrator(live, own), _calibrator(before, own), as_of
        )
        gain = _paired(judged, daily.significance.value)
        fallen = verdict.calibrator_in_use(gain, daily)
        if fallen.kind == "roll_back":
            return _change(
                loop, declaration, champion, fallen, "the one before", _calibrator(before, own), judged, as_of
            )
    choice = recalibration.choose(scored, _calibrator(live, own), declaration.calibration, as_of)
    if choice.name == recalibration.TODAY:
        return {
            "verdict": "keep",
            "reasons": ["today's calibrator would have served best so far"],
            "candidate": choice.name,
        }
    fallen = verdict.calibrator(_paired(choice.judged, daily.significance.value), daily)
    if fallen.kind != "promote":
        return {"verdict": fallen.kind, "reasons": list(fallen.reasons), "candidate": choice.name}
    return _change(loop, declaration, champion, fallen, choice.name, choice.calibrator, choice.judged, as_of)


def _change(loop, declaration, champion, fallen: evaluation.Verdict, name, calibrator, judged, as_of) -> dict:
    """Write the change into the ledger, with the calibrator that is live from now on."""
    loss = {
        which: metrics.brier(judged["label"], judged[column], judged["weight"])
        for which, column in (("after", "probability"), ("before", "reference"))
    }
    finding = release.Finding(
        verdict=fallen.kind,
        words="; ".join(fallen.reasons),
        reasons=fallen.reasons,
        details={
            "calibrator": calibrator.as_dict(),
            "name": name,
            "verdict_id": fallen.id,
            "change": {"reference": "calibrator", "n": len(judged), **loss},
        },
    )
    row = release.calibrate(loop.warehouse, loop.registry, declaration, champion.version, finding, as_of)
    return {"verdict": row.verdict, "reasons": row.reasons, "candidate": name, "release_id": row.release_id}


def _calibrator(row: Release | None, own: Calibrator) -> Calibrator:
    return own if row is None else from_dict(row.evidence["details"]["calibrator"])


def _paired(judged, alpha: float) -> dict[str, metrics.Interval]:
    columns = ("label", "probability", "reference", "group_key", "weight")
    return metrics.paired(*(judged[name].to_numpy() for name in columns), alpha=alpha)
