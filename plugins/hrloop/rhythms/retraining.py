"""Weekly retraining: the champion's architecture on the newest labels; and releasing what was approved."""

from datetime import datetime

from hrloop import as_of as moment
from hrloop import release
from hrloop.release import ledger
from hrloop.rhythms import Loop, candidates, matured
from hrloop.usecase import UseCase
from hrloop.warehouse import steps

STEP = "weekly_retraining"


def retrain(loop: Loop, use_case: str, as_of: datetime) -> dict:
    """Fit on the labels known by ``as_of``, measure, propose if convincing; the verdict and its reasons.

    A use case without a champion learns its first version, with the declared architecture. Raises Refused
    when the warehouse was not built for this as_of, LeakError for features from the future, and what else
    learning refuses.
    """
    return matured.verdict_once(loop, STEP, use_case, as_of, _find)


def _find(loop: Loop, declaration: UseCase, as_of: datetime) -> dict:
    frame = candidates.frame_without_leaks(loop, declaration, as_of)
    champion = matured.champion(loop, declaration)
    architecture = matured.architecture_of(declaration, champion.fitted) if champion else None
    return candidates.try_one(loop, declaration, frame, as_of, STEP, "weekly", champion, architecture)


def release_if_approved(loop: Loop, use_case: str) -> dict | None:
    """Put the newest version that its owner approved in charge; None when none waits with an approval.

    An approval no longer waits once a newer version was promoted: of two that were approved together the
    newer one is released, and the other was not measured against it. The release is dated by where the
    warehouse stands, and not before what the version learnt from. Raises ReleaseRefused when it may not be,
    such as when the champion changed since it was measured.
    """
    declaration = loop.use_case(use_case)
    rows = release.read(loop.warehouse, use_case)
    newest = max((row.version for row in rows if row.kind in ledger.PROMOTIONS), default=0)
    approved = [number for number in loop.registry.approved(use_case) if number > newest]
    if not approved:
        return None
    learnt_at = moment.parse(loop.registry.version(use_case, approved[-1]).tags["as_of"])
    with loop.warehouse.engine("engine").connect() as connection:
        stands = steps.latest_done(connection, "warehouse") or learnt_at
    as_of = max(stands, learnt_at)
    row = release.promote(loop.warehouse, loop.registry, declaration, approved[-1], as_of)
    return {"version": row.version, "kind": row.kind, "approved_by": row.approved_by}
