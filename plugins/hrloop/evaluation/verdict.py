"""The verdict on a version: evidence in, a decision with reasons in words out. Pure, and closed on doubt.

The same evidence under the same policy gives the same verdict with the same id.
"""

import hashlib
import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from hrloop.evaluation.evidence import Evidence

if TYPE_CHECKING:
    from hrloop.usecase import Promotion

Kind = Literal["promote", "keep", "roll_back", "insufficient_evidence"]
NAMES = {"brier": "Brier score", "log_loss": "log loss"}
# NDCG is not among them: it has no value where no group holds both outcomes, as with one hire a requisition
REQUIRED = ("brier", "log_loss", "auc", "calibration_error_event_rate", "calibration_error_accuracy")


@dataclass(frozen=True)
class Verdict:
    """What to do, why in words, and an id that follows from evidence and policy alone."""

    kind: Kind
    reasons: tuple[str, ...]
    id: str


def first(evidence: Evidence, promotion: "Promotion") -> Verdict:
    """Whether a version may be the first champion.

    ``promote`` when there are enough labels, every required metric is there, and the interval of its
    improvement over the base rate, in the declared metric, lies above the declared minimum. ``keep``
    (decide without a model) when it is measurably no better. Else ``insufficient_evidence``.
    """
    kind, reasons = _first(evidence, promotion)
    return Verdict(kind, tuple(reasons), _identity("first", evidence.as_dict(), promotion.model_dump()))


def _first(evidence: Evidence, promotion: "Promotion") -> tuple[Kind, list[str]]:
    lacking = _too_few(evidence, promotion) + _missing(evidence)
    if lacking:
        return "insufficient_evidence", lacking
    metric, minimum = promotion.metric, promotion.minimum_improvement.value
    gain, level = evidence.improvement[metric], promotion.confidence_level.value
    told = (
        f"on {evidence.evaluation_labels} matured decisions in {evidence.groups} groups, all decided after "
        f"those it learnt from, its {NAMES[metric]} is {evidence.metrics[metric].value:.4f}, which is "
        f"{gain.value:.4f} better than the base rate of {evidence.base_rate:.1%} "
        f"({level:.0%} interval {gain.low:.4f} to {gain.high:.4f})"
    )
    if gain.is_below(minimum):
        return "keep", [
            told,
            f"the whole interval lies below {minimum:g}: the improvement asked for is not there",
        ]
    worse = [name for name, other in evidence.improvement.items() if other.is_below(0.0)]
    if worse:
        names = ", ".join(NAMES[name] for name in worse)
        return "insufficient_evidence", [told, f"but it is measurably worse in {names}"]
    if not gain.is_above(minimum):
        return "insufficient_evidence", [
            told,
            f"the interval reaches down to {minimum:g} or below, so it may be chance",
        ]
    return "promote", [told, f"the whole interval lies above {minimum:g}"]


def _too_few(evidence: Evidence, promotion: "Promotion") -> list[str]:
    reasons = []
    if evidence.labels < promotion.minimum_labels.value:
        reasons.append(
            f"{evidence.labels} observed labels, and a first champion needs {promotion.minimum_labels.value}"
        )
    if evidence.evaluation_labels < promotion.minimum_evaluation_labels.value:
        reasons.append(
            f"{evidence.evaluation_labels} labels to evaluate on, and a verdict needs "
            f"{promotion.minimum_evaluation_labels.value}"
        )
    return reasons


def _missing(evidence: Evidence) -> list[str]:
    """A figure that is not there is never read as zero."""
    reasons = []
    for where, figures, names in [
        ("metric", evidence.metrics, REQUIRED),
        ("improvement in", evidence.improvement, tuple(NAMES)),
    ]:
        for name in names:
            figure = figures.get(name)
            if figure is None or not all(math.isfinite(v) for v in (figure.value, figure.low, figure.high)):
                reasons.append(f"{where} {name} or its interval could not be computed")
    if not math.isfinite(evidence.base_rate):
        reasons.append("the base rate could not be computed")
    return reasons


def _identity(policy: str, *parts: dict[str, Any]) -> str:
    text = json.dumps([policy, *parts], sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
