"""What may happen to a version: proposed, approved or rejected, promoted, rolled back, reconciled.

A change of champion is one row in the ledger, written under one lock. The row's commit is the moment at
which it happens; the aliases in MLflow are moved after it, and whoever reads the champion first puts them
where the ledger says. So a process that is killed anywhere leaves the old champion or the new one, for
everybody alike:

    lock → aliases as the ledger says → checks → ledger row, commit → aliases, change note → unlock
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Literal

import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from sqlalchemy import Connection

from hrloop import as_of as moments
from hrloop.learning import Fitted, calibration
from hrloop.learning.calibration import Calibrator
from hrloop.release import experiments, ledger, notes
from hrloop.release.ledger import Release, Standing
from hrloop.release.registry import NoChampion, Registry, UnreadableModel, Version
from hrloop.services import SERVICE_ACCOUNT
from hrloop.usecase import UseCase
from hrloop.warehouse import Warehouse

Verdict = Literal["promote", "keep", "roll_back", "insufficient_evidence"]


class ReleaseRefused(ValueError):
    """A release that may not happen; the message says why, and what would have to be done first."""


@dataclass(frozen=True)
class Finding:
    """What was measured of a version, and what it means.

    ``metrics``: name → figure with ``value``, ``low``, ``high`` and ``n``. ``compared_with``: the champion
    that it was measured against, None for the first version. ``words``: the finding for its owner, in plain
    language (Markdown). ``details``: further figures to be kept, as JSON can hold them.
    """

    verdict: Verdict
    words: str
    reasons: tuple[str, ...] = ()
    metrics: Mapping[str, object] = field(default_factory=dict)
    compared_with: int | None = None
    details: Mapping[str, object] = field(default_factory=dict)

    def as_json(self) -> dict:
        """The evidence as it is kept with the version and in the ledger."""
        figures = {
            name: {part: getattr(metric, part) for part in ("value", "low", "high", "n")}
            for name, metric in self.metrics.items()
        }
        return _plain(
            {
                "verdict": self.verdict,
                "words": self.words,
                "reasons": self.reasons,
                "metrics": figures,
                "compared_with": self.compared_with,
                "details": self.details,
            }
        )


def _plain(value: object) -> object:
    """The value as JSON holds it: a number that is none (NaN, infinite) becomes null, a time its text."""
    match value:
        case Mapping():
            return {str(key): _plain(part) for key, part in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_plain(part) for part in value]
        case datetime():
            return moments.text(value)
        case np.generic():
            return _plain(value.item())
        case float():
            return value if math.isfinite(value) else None
        case None | str() | bool() | int():
            return value
    raise TypeError(f"a finding holds {value!r}, a {type(value).__name__}, which JSON cannot hold")


def propose(
    wh: Warehouse,
    registry: Registry,
    use_case: UseCase,
    fitted: Fitted,
    finding: Finding,
    frame: pd.DataFrame,
    as_of: datetime,
    rhythm: str = "weekly_retraining",
) -> int:
    """Register a version with its evidence and ask its owner for approval; return its number.

    ``frame`` is the training frame, of which the version keeps the digest. One version per rhythm and
    ``as_of``: asked again, the one that is there is returned. Raises ReleaseRefused when the verdict is not
    to promote.
    """
    if finding.verdict != "promote":
        raise ReleaseRefused(
            f"{use_case.name} at {moments.text(as_of)}: the verdict is {finding.verdict}, so there is"
            " nothing to propose; record it with keep()"
        )
    asking = {"approval.status": "requested", "approval.requested_at": moments.text(as_of)}
    return _register(wh, registry, use_case, fitted, finding, frame, as_of, rhythm, asking)


def challenge(
    wh: Warehouse,
    registry: Registry,
    use_case: UseCase,
    fitted: Fitted,
    finding: Finding,
    frame: pd.DataFrame,
    as_of: datetime,
    rhythm: str,
) -> int:
    """Register a version that an experiment is to judge, and return its number; once per rhythm and as_of.

    Nobody is asked yet: request_approval() does so when the experiment's verdict is to promote.
    """
    return _register(wh, registry, use_case, fitted, finding, frame, as_of, rhythm, {})


def request_approval(
    wh: Warehouse, registry: Registry, use_case: UseCase, version: int, words: str, as_of: datetime
) -> None:
    """Ask the owner for approval of a challenger whose experiment ended with the verdict to promote.

    ``words``: the evidence for its owner, in Markdown. Asked again, nothing changes. Raises ReleaseRefused
    without such an experiment.
    """
    with ledger.locked(wh, use_case.name) as connection:
        tried = experiments.of_challenger(connection, use_case.name, version)
        if tried is None or tried.verdict != "promote":
            raise ReleaseRefused(f"{use_case.name} version {version} has come through no experiment")
        if "approval.status" not in registry.version(use_case.name, version).tags:
            registry.describe(use_case.name, version, words)
            asking = {"approval.requested_at": moments.text(as_of), "approval.status": "requested"}
            registry.tag(use_case.name, version, asking)


def _register(
    wh: Warehouse,
    registry: Registry,
    use_case: UseCase,
    fitted: Fitted,
    finding: Finding,
    frame: pd.DataFrame,
    as_of: datetime,
    rhythm: str,
    approval: Mapping[str, str],
) -> int:
    content = finding.as_json()
    metrics = {
        name if part == "value" else f"{name}.{part}": figure[part]
        for name, figure in content["metrics"].items()
        for part in ("value", "low", "high", "n")
        if figure[part] is not None
    }
    labels = frame["label_status"].value_counts().to_dict()
    architecture = fitted.summary["architecture"]
    with ledger.locked(wh, use_case.name) as connection:
        number = registry.register(
            use_case,
            fitted,
            key=f"{rhythm} {moments.text(as_of)}",
            evidence=content,
            metrics=metrics,
            parameters={
                "as_of": moments.text(as_of),
                "rhythm": rhythm,
                "rows": len(frame),
                **{f"labels.{status}": count for status, count in sorted(labels.items())},
                "learner.kind": architecture["kind"],
                **{f"learner.{name}": value for name, value in architecture["parameters"].items()},
            },
            frame=frame,
            description=finding.words,
            tags={
                "as_of": moments.text(as_of),
                "rhythm": rhythm,
                "evidence.verdict": finding.verdict,
                "evidence.compared_with": str(finding.compared_with or "none"),
                **approval,
            },
            as_of=as_of,
        )
        if number not in ledger.standing(ledger.entries(connection, use_case.name)).spent:
            registry.set_alias(use_case.name, "challenger", number)
    return number


def keep(
    wh: Warehouse, use_case: UseCase, finding: Finding, as_of: datetime, rhythm: str = "weekly_retraining"
) -> Release:
    """Record a verdict that changes nothing: ``keep`` or ``insufficient_evidence``. Written once."""
    if finding.verdict not in ("keep", "insufficient_evidence"):
        raise ReleaseRefused(f"a verdict to {finding.verdict} changes the champion; propose the version")
    with ledger.locked(wh, use_case.name) as connection:
        before = ledger.standing(ledger.entries(connection, use_case.name))
        row = Release(
            release_id=ledger.release_id(use_case.name, "verdict", rhythm, moments.text(as_of)),
            use_case=use_case.name,
            as_of=as_of,
            kind=finding.verdict,
            version=before.champion,
            previous_version=before.champion,
            verdict=finding.verdict,
            reasons=list(finding.reasons),
            evidence=finding.as_json(),
        )
        return ledger.record(connection, row)


def approve(registry: Registry, use_case: UseCase, version: int, reason: str) -> Version:
    """Approve a version, as the person whom the registry's login names, and return it with its stamps.

    Raises ReleaseRefused without a reason, for the service account, and for a version that does not wait for
    approval.
    """
    return _judge(registry, use_case, version, "approved", reason)


def reject(
    wh: Warehouse, registry: Registry, use_case: UseCase, version: int, reason: str, as_of: datetime
) -> Release:
    """Reject a version, as the person whom the registry's login names, and put that in the ledger.

    The first rejection stands. Refused as in approve(), and for a version that has been promoted.
    """
    with ledger.locked(wh, use_case.name) as connection:
        rows = ledger.entries(connection, use_case.name)
        for row in rows:
            if row.kind in ledger.REFUSALS and row.version == version:
                return row
            if row.kind in ledger.PROMOTIONS and row.version == version:
                raise ReleaseRefused(
                    f"{use_case.name} version {version} has been promoted; roll it back instead"
                )
        found = registry.version(use_case.name, version)
        if found.tags.get("approval.status") != "rejected":
            found = _judge(registry, use_case, version, "rejected", reason)
        return ledger.record(connection, _refusal(use_case, found, ledger.standing(rows), as_of))


def record_judgements(wh: Warehouse, registry: Registry, use_case: UseCase, as_of: datetime) -> list[Release]:
    """Put in the ledger what was judged in MLflow itself, and return the new rows, oldest version first.

    These are rejections, by their stamps, and requests that nobody answered within
    ``promotion.approval_days``: at ``as_of`` such a version times out, and cannot be approved any more.
    Approvals come into the ledger with their promotion.
    """
    _only_the_service(registry)
    days = use_case.promotion.approval_days.value
    with ledger.locked(wh, use_case.name) as connection:
        rows = ledger.entries(connection, use_case.name)
        before = ledger.standing(rows)
        new = []
        for version in registry.versions(use_case.name):
            if version.number in before.spent:
                continue
            status = version.tags.get("approval.status")
            if status == "requested" and _asked_at(version) + timedelta(days=days) <= as_of:
                status = "timed_out"
                registry.tag(use_case.name, version.number, {"approval.status": status})
            if status in ("rejected", "timed_out"):
                new.append(ledger.record(connection, _refusal(use_case, version, before, as_of)))
    return new


def _asked_at(version: Version) -> datetime:
    return moments.parse(version.tags["approval.requested_at"])


def _refusal(use_case: UseCase, version: Version, before: Standing, as_of: datetime) -> Release:
    """The ledger row of a version that was rejected, or whose request timed out."""
    if version.tags["approval.status"] == "rejected":
        kind, stamps = "reject", _stamps(version)
        why = f"rejected by {stamps['approved_by']}: {stamps['approval_reason']}"
    else:
        words = f"nobody answered within {use_case.promotion.approval_days.value} days"
        kind, stamps, why = "time_out", {"approval_reason": words}, f"timed out: {words}"
    return Release(
        release_id=ledger.release_id(use_case.name, kind, version.number),
        use_case=use_case.name,
        as_of=as_of,
        kind=kind,
        version=version.number,
        previous_version=before.champion,
        run_id=version.run_id,
        verdict="keep",
        reasons=[why],
        evidence={"words": version.description},
        **stamps,
    )


def _judge(registry: Registry, use_case: UseCase, version: int, status: str, reason: str) -> Version:
    """Give the reason and then the status; the server adds who and when. Returns the version with both."""
    if registry.username == SERVICE_ACCOUNT:
        raise ReleaseRefused("the service account cannot judge a version: log in as a person, such as owner")
    if not reason.strip():
        raise ReleaseRefused(f"a version is {status} with a reason; give one")
    found = registry.version(use_case.name, version)
    before = found.tags.get("approval.status", "not proposed")
    if before not in ("requested", "approved"):
        raise ReleaseRefused(f"{_name(found)} is {before}: it cannot be {status} now")
    try:
        registry.tag(use_case.name, version, {"approval.reason": reason.strip(), "approval.status": status})
    except MlflowException as refusal:
        if refusal.error_code not in ("PERMISSION_DENIED", "INVALID_PARAMETER_VALUE"):
            raise
        why = refusal.message.removeprefix(f"{refusal.error_code}: ")
        raise ReleaseRefused(
            f"{_name(found)} cannot be {status} by {registry.username!r}: {why}"
        ) from refusal
    judged = registry.version(use_case.name, version)
    stamps = _stamps(judged)
    if (judged.tags["approval.status"], stamps["approved_by"]) != (status, registry.username):
        raise ReleaseRefused(
            f"{_name(judged)} was {judged.tags['approval.status']} by {stamps['approved_by']} meanwhile"
        )
    return judged


def promote(wh: Warehouse, registry: Registry, use_case: UseCase, version: int, as_of: datetime) -> Release:
    """Make an approved version the champion, and return its row in the ledger.

    A version is promoted once: asked again, the row that is there is returned and nothing changes, also
    when the version has been rolled back meanwhile. Raises ReleaseRefused for a version that is not
    approved by a person, whose verdict is not to promote, or that was measured against another champion
    than today's; UnreadableModel when its artefact is not the one that was registered.
    """
    _only_the_service(registry)
    with ledger.locked(wh, use_case.name) as connection:
        rows = ledger.entries(connection, use_case.name)
        _follow(connection, registry, use_case, ledger.standing(rows))
        for row in rows:
            if row.kind in ledger.PROMOTIONS and row.version == version:
                return row
            if row.kind in ledger.REFUSALS and row.version == version:
                raise ReleaseRefused(
                    f"{use_case.name} version {version} cannot be promoted, it was {row.reasons[0]}"
                )
        tried = experiments.of_challenger(connection, use_case.name, version)
        row = _checked(registry, use_case, version, ledger.standing(rows), as_of, tried)
        row = ledger.record(connection, row)
        _follow(connection, registry, use_case, ledger.standing([*rows, row]))
        notes.publish(connection, registry, use_case, [row])
    return row


def _only_the_service(registry: Registry) -> None:
    """Aliases are the service account's: a row must not be written by one who cannot make it come true."""
    if registry.username != SERVICE_ACCOUNT:
        raise ReleaseRefused(f"aliases are moved by {SERVICE_ACCOUNT!r} alone, not by {registry.username!r}")


def _checked(
    registry: Registry,
    use_case: UseCase,
    version: int,
    before: Standing,
    as_of: datetime,
    tried: experiments.Experiment | None,
) -> Release:
    """The ledger row of a promotion that may happen. An experiment's verdict stands for its challenger's."""
    artefact = registry.load(use_case.name, version)
    found, evidence = artefact.version, artefact.evidence
    if tried is not None:
        last = list(tried.evidence.values())[-1] if tried.evidence else {}
        evidence = {
            **evidence,
            **last.get("finding", {}),
            "verdict": tried.verdict or "insufficient_evidence",
            "reasons": list(tried.reasons),
            "compared_with": tried.champion,
        }
    approval = _approval(found)
    if evidence["verdict"] != "promote":
        raise ReleaseRefused(f"{_name(found)} has the verdict {evidence['verdict']}, not promote")
    if evidence["compared_with"] != before.champion:
        raise ReleaseRefused(
            f"{_name(found)} was measured against {_champion(evidence['compared_with'])}, and today's is"
            f" {_champion(before.champion)}: measure and propose it anew"
        )
    return Release(
        release_id=ledger.release_id(use_case.name, "promote", version),
        use_case=use_case.name,
        as_of=as_of,
        kind="first" if before.champion is None else "promote",
        version=version,
        previous_version=before.champion,
        run_id=found.run_id,
        verdict="promote",
        reasons=evidence["reasons"],
        evidence={**evidence, "artefact_sha256": artefact.sha256},
        **approval,
    )


def _approval(version: Version) -> dict:
    status = version.tags.get("approval.status", "not proposed")
    if status != "approved":
        raise ReleaseRefused(f"{_name(version)} is {status}, not approved: its owner approves it first")
    return _stamps(version)


def _stamps(version: Version) -> dict:
    """Who judged a version, when and why, as the ledger has it. Raises ReleaseRefused when one is missing."""
    by, at, reason = (version.tags.get(f"approval.{part}", "").strip() for part in ("by", "at", "reason"))
    if not (by and at and reason) or by == SERVICE_ACCOUNT:
        raise ReleaseRefused(
            f"{_name(version)} is {version.tags['approval.status']} without the name of a person, a time or a"
            f" reason (by {by or '?'}, at {at or '?'}, reason {reason or '?'}): its owner judges it again"
        )
    return {"approved_by": by, "approved_at": moments.parse(at), "approval_reason": reason}


def _name(version: Version) -> str:
    return f"{version.use_case} version {version.number}"


def _champion(number: int | None) -> str:
    return f"version {number}" if number else "no champion"


def rollback(
    wh: Warehouse,
    registry: Registry,
    use_case: UseCase,
    by: str,
    reason: str,
    as_of: datetime,
    version: int | None = None,
) -> Release:
    """Put the previous champion back in charge, and return the row in the ledger.

    ``version`` is the champion to be rid of, by default today's; where it is given, a call that is repeated
    is one roll-back. Raises ReleaseRefused when there is nothing to go back to or the version is not in
    charge; UnreadableModel when the previous one cannot be read.
    """
    if not (by.strip() and reason.strip()):
        raise ReleaseRefused("a roll-back needs a name and a reason; give both")
    _only_the_service(registry)
    with ledger.locked(wh, use_case.name) as connection:
        rows = ledger.entries(connection, use_case.name)
        before = ledger.standing(rows)
        _follow(connection, registry, use_case, before)
        for row in rows:
            if version is not None and row.kind == "roll_back" and row.previous_version == version:
                return row
        if version not in (None, before.champion):
            raise ReleaseRefused(
                f"{use_case.name} version {version} is not in charge, {_champion(before.champion)} is"
            )
        if before.previous is None:
            raise ReleaseRefused(f"{use_case.name} has {_champion(before.champion)} and none to go back to")
        previous = registry.load(use_case.name, before.previous)
        row = Release(
            release_id=ledger.release_id(use_case.name, "roll_back", before.champion),
            use_case=use_case.name,
            as_of=as_of,
            kind="roll_back",
            version=before.previous,
            previous_version=before.champion,
            run_id=previous.version.run_id,
            verdict="roll_back",
            reasons=[reason.strip()],
            evidence={"artefact_sha256": previous.sha256},
            approved_by=by.strip(),
            approved_at=as_of,
            approval_reason=reason.strip(),
        )
        row = ledger.record(connection, row)
        _follow(connection, registry, use_case, ledger.standing([*rows, row]))
        notes.publish(connection, registry, use_case, [row])
    return row


def calibrate(
    wh: Warehouse, registry: Registry, use_case: UseCase, version: int, finding: Finding, as_of: datetime
) -> Release:
    """Put a calibrator live on the champion (verdict ``promote``), or take the live one off (``roll_back``).

    The calibrator stands in ``finding.details["calibrator"]`` as plain data. Ranks stay as they are, so
    nobody's approval is waited for; the ledger keeps the evidence. One change per use case and ``as_of``:
    asked again, the row that is there is returned. Raises ReleaseRefused for another verdict, for a version
    that is not in charge, when there is nothing to take off, and for a time before the newest change of what
    decides: what is live now was chosen with more labels than were known then.
    """
    if finding.verdict not in ("promote", "roll_back"):
        raise ReleaseRefused(f"a verdict to {finding.verdict} changes no calibrator; record it with keep()")
    with ledger.locked(wh, use_case.name) as connection:
        rows = ledger.entries(connection, use_case.name)
        identity = ledger.release_id(use_case.name, "calibrate", moments.text(as_of))
        for row in rows:
            if row.release_id == identity:
                return row
        before = ledger.standing(rows)
        if before.champion != version:
            raise ReleaseRefused(
                f"{use_case.name} version {version} is not in charge, {_champion(before.champion)} is"
            )
        if later := ledger.changed_after(rows, as_of):
            raise ReleaseRefused(
                f"{use_case.name}: what decides was changed at {moments.text(later)}, after"
                f" {moments.text(as_of)}; calibrate at a later time"
            )
        if finding.verdict == "roll_back" and before.calibration is None:
            raise ReleaseRefused(
                f"{use_case.name} version {version} has its own calibrator; none to take off"
            )
        if finding.verdict == "promote":
            calibration.from_dict(finding.details["calibrator"])  # refused here rather than when deciding
        row = Release(
            release_id=identity,
            use_case=use_case.name,
            as_of=as_of,
            kind="calibrate",
            version=version,
            previous_version=version,
            verdict=finding.verdict,
            reasons=list(finding.reasons),
            evidence=finding.as_json(),
        )
        row = ledger.record(connection, row)
        notes.publish(connection, registry, use_case, [row])
    return row


def reconcile(wh: Warehouse, registry: Registry, use_case: UseCase) -> list[str]:
    """Put the aliases where the ledger says, and tell in words what had to be moved.

    Finds an alias that was moved by hand, and finishes a release that was killed half-way, its note too.
    """
    with ledger.locked(wh, use_case.name) as connection:
        rows = ledger.entries(connection, use_case.name)
        moved = _follow(connection, registry, use_case, ledger.standing(rows))
        notes.publish(connection, registry, use_case, rows)
    return moved


def _follow(connection: Connection, registry: Registry, use_case: UseCase, now: Standing) -> list[str]:
    """Move the aliases to where they belong, and tell in words which were elsewhere."""
    found, moved = registry.aliases(use_case.name), []
    for alias, number in (("previous", now.previous), ("champion", now.champion)):
        if found.get(alias) != number:
            registry.set_alias(use_case.name, alias, number)
            moved.append(f"{alias} was {found.get(alias, 'nobody')}, the ledger says {number or 'nobody'}")
    challenger = found.get("challenger")
    if challenger in now.spent or _has_lost(connection, use_case, challenger):
        registry.set_alias(use_case.name, "challenger", None)
        moved.append(f"challenger was {challenger}, on which a verdict has fallen")
    return moved


def _has_lost(connection: Connection, use_case: UseCase, challenger: int | None) -> bool:
    """Whether the experiment that this version was tried in, if any, ended and did not come out for it."""
    tried = challenger and experiments.of_challenger(connection, use_case.name, challenger)
    return bool(tried and tried.verdict) and tried.verdict != "promote"


@dataclass(frozen=True)
class Serving:
    """The champion to decide with: its number, and its model under the calibrator that is live.

    ``own``: the calibrator that the version was registered with. ``calibration_id``: the ledger's row of the
    one that is live, None for its own. ``repaired``: aliases that had to be put right on the way, in words.
    """

    version: int
    fitted: Fitted
    own: Calibrator
    calibration_id: str | None = None
    repaired: tuple[str, ...] = ()


def serving(wh: Warehouse, registry: Registry, use_case: UseCase) -> Serving:
    """The champion to decide with.

    Aliases are reconciled first; then the version is read by its alias, and its artefact must be the one
    that the ledger released. Raises NoChampion, and UnreadableModel.
    """
    with ledger.locked(wh, use_case.name) as connection:
        rows = ledger.entries(connection, use_case.name)
        now = ledger.standing(rows)
        moved = _follow(connection, registry, use_case, now)
        number = registry.aliases(use_case.name).get("champion")
    if number is None:
        raise NoChampion(f"{use_case.name} has no champion yet: train, approve and promote a version first")
    if number != now.champion:
        raise UnreadableModel(
            f"{use_case.name}: the alias champion names version {number} and the ledger {now.champion},"
            " although they were just reconciled: somebody moves the alias; see who may in MLflow"
        )
    return replace(served_by(registry, use_case, rows, number), repaired=tuple(moved))


def served_by(registry: Registry, use_case: UseCase, rows: Sequence[Release], version: int) -> Serving:
    """A version that was released by these rows of the ledger, under the calibrator that is live after them.

    Raises UnreadableModel.
    """
    released = next(
        row for row in reversed(rows) if row.version == version and "artefact_sha256" in row.evidence
    )
    fitted = registry.load(use_case.name, version, released.evidence["artefact_sha256"]).fitted
    return _calibrated(Serving(version, fitted, fitted.calibrator), ledger.live_calibration(rows, version))


def calibrated_before(wh: Warehouse, use_case: UseCase, served: Serving, before: datetime) -> Serving:
    """The same version under the calibrator that was live before that time."""
    rows = ledger.read(wh, use_case.name)
    return _calibrated(served, ledger.live_calibration(rows, served.version, before))


def _calibrated(served: Serving, live: Release | None) -> Serving:
    """The version under the calibrator of this row; without one, under its own."""
    if live is None:
        return replace(served, fitted=served.fitted.recalibrated(served.own), calibration_id=None)
    calibrator = calibration.from_dict(live.evidence["details"]["calibrator"])
    return replace(served, fitted=served.fitted.recalibrated(calibrator), calibration_id=live.release_id)
