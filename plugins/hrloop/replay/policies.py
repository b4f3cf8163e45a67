"""Policies: ways of running a model that are replayed side by side. Each says what it does without.

What a declaration can switch off is switched off in the declaration; the rest is which rhythms run, and
whether people review. The engine knows nothing of policies.
"""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from hrloop import learning, release
from hrloop.rhythms import Loop, calibration, experiments, matured, reconcile, retraining, reweighting, watch
from hrloop.usecase import FILE_NAME, UseCase

Rhythm = Callable[[Loop, str, datetime], dict | None]
REASON = "Set by the policy that is replayed."


@dataclass(frozen=True)
class Policy:
    """A way of running a model.

    The rhythms run in the order of a day's DAGs: ``weekly`` ones, ``monthly`` ones on the first as_of of a
    month, and ``quarterly`` ones, which look at what runs on every as_of and know when a quarter begins.
    ``declared``: what it sets otherwise in the use case's declaration, by dotted key. ``gated``: whether
    deliveries are judged by more than the contract; ``reviewed``: whether people answer what is sent to them.
    """

    words: str
    weekly: tuple[Rhythm, ...]
    monthly: tuple[Rhythm, ...] = ()
    quarterly: tuple[Rhythm, ...] = ()
    declared: Mapping[str, float] = field(default_factory=dict)
    gated: bool = True
    reviewed: bool = True


def first_version(loop: Loop, use_case: str, as_of: datetime) -> dict | None:
    """The weekly rhythm until a version is in charge, and nothing after that."""
    if release.standing(release.read(loop.warehouse, use_case)).champion is None:
        return retraining.retrain(loop, use_case, as_of)
    return None


def newest_version(loop: Loop, use_case: str, as_of: datetime) -> dict:
    """Fit on the labels known by ``as_of``, the newest held out as from any version, and propose it, whatever
    it is worth."""
    return matured.verdict_once(loop, "newest_version", use_case, as_of, _propose_unseen)


def _propose_unseen(loop: Loop, declaration: UseCase, as_of: datetime) -> dict:
    frame = matured.training_frame(loop, declaration, as_of)
    try:
        fitted = learning.fit(declaration, frame, as_of)
    except learning.InsufficientLabels as reason:
        return {"verdict": "insufficient_evidence", "reasons": [str(reason)]}
    reasons = ("it learnt from the newest labels",)
    champion = release.standing(release.read(loop.warehouse, declaration.name)).champion
    finding = release.Finding("promote", "Not compared with any.", reasons, compared_with=champion)
    rhythm = "newest_version"
    version = release.propose(
        loop.warehouse, loop.registry, declaration, fitted, finding, frame, as_of, rhythm
    )
    return {"verdict": "promote", "version": version, "reasons": list(reasons)}


def new_quarter(loop: Loop, use_case: str, as_of: datetime) -> dict | None:
    """The quarterly search, on the first as_of of a quarter."""
    return experiments.start(loop, use_case, as_of) if experiments.is_due(loop, use_case, as_of) else None


_WEEKLY = (reconcile.reconcile, calibration.calibrate, watch.watch, retraining.retrain)
_CALENDAR = {
    "weekly": _WEEKLY,
    "monthly": (reweighting.reweight,),
    "quarterly": (experiments.look, new_quarter),
}
_NO_EXPLORATION = {"routing.exploration_share": 0.0}
# At a floor of 1 every label weighs the same: as if outcomes were known of everybody.
_NO_WEIGHTS = {"selection.propensity_floor": 1.0}

POLICIES: dict[str, Policy] = {
    "static": Policy(
        "trained once, and left in charge",
        (reconcile.reconcile, first_version),
        declared=_NO_EXPLORATION,
    ),
    "naive": Policy(
        "trained anew as the loop trains, and put in charge unseen, without weights or exploration",
        (reconcile.reconcile, newest_version),
        declared=_NO_EXPLORATION | _NO_WEIGHTS,
    ),
    "loop": Policy("this system, as declared", **_CALENDAR),
    "no-calibration": Policy(
        "the loop without daily calibration",
        **_CALENDAR | {"weekly": tuple(one for one in _WEEKLY if one is not calibration.calibrate)},
    ),
    "no-exploration": Policy("the loop without exploration", **_CALENDAR, declared=_NO_EXPLORATION),
    "no-gate": Policy("the loop without a quality gate from its first month on", **_CALENDAR, gated=False),
    "no-reviews": Policy(
        "the loop without reviews, and so without overrules, by which experiments are guarded: none promotes",
        **_CALENDAR,
        reviewed=False,
    ),
}


def write_project(
    policy: Policy, use_case: str, declared: Mapping[str, float], project: Path, target: Path
) -> None:
    """A checkout in ``target``: ``project`` but for what the policy, and ``declared`` for all of them, set.

    It declares this use case alone: what the others read is not built. Raises KeyError for a key that the
    declaration does not have.
    """
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    (target / "dbt").symlink_to(project / "dbt")
    model = Path("models") / use_case / FILE_NAME
    data = yaml.safe_load((project / model).read_text(encoding="utf-8"))
    _write(target / model, _changed(data, {**declared, **policy.declared}))
    for suite in sorted((project / "expectations").glob("*/*.yaml")):
        data = yaml.safe_load(suite.read_text(encoding="utf-8"))
        _write(
            target / "expectations" / suite.parent.name / suite.name, data if policy.gated else _open(data)
        )


def _changed(data: dict[str, Any], declared: Mapping[str, float]) -> dict[str, Any]:
    for key, value in declared.items():
        *parts, last = key.split(".")
        at = data
        for part in parts:
            at = at.get(part, {})
        if last not in at:
            raise KeyError(f"the declaration of {data['name']} has no {key}; correct the policy")
        at[last] = {"value": value, "reason": REASON} if isinstance(at[last], dict) else value
    return data


def _open(suite: dict[str, Any]) -> dict[str, Any]:
    """A suite that lets every delivery pass that the contract does not refuse."""
    opened = {"table": suite["table"], "freshness": {"maximum_age_days": None, "reason": REASON}}
    if "completeness" in suite:
        opened["completeness"] = suite["completeness"] | {"minimum_percent": 0, "reason": REASON}
    return opened


def _write(path: Path, data: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(data, sort_keys=False, allow_unicode=True), encoding="utf-8")
