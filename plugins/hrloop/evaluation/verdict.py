"""The verdict on a version: evidence in, a decision with reasons in words out. Pure, and closed on doubt.

The same evidence under the same policy gives the same verdict with the same id.
"""

import hashlib
import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from hrloop.evaluation.comparison import Comparison, GroupFinding
from hrloop.evaluation.drift import Alarm
from hrloop.evaluation.evidence import Evidence
from hrloop.evaluation.experiment import Sequential
from hrloop.evaluation.metrics import Interval

if TYPE_CHECKING:
    from hrloop.usecase import Experiment, Promotion, Recalibration, Watch

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
    lacking = _too_few(evidence, promotion) + _missing(
        evidence.base_rate, metric=evidence.metrics, improvement=evidence.improvement
    )
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


@dataclass(frozen=True)
class ExperimentSignals:
    """What is known of a live experiment on a day of it. None is a signal that could not be measured.

    ``sample_ratio``: p-value of the numbers of groups by arm; ``harm``: on the labels matured since it
    began; ``overrules``: share overruled in the challenger's arm minus that in the champion's, each end at
    the declared ``harm_significance``; ``comparison``: at the level of this look, None on a day that is no
    registered look.
    """

    day: int
    sample_ratio: float | None
    harm: Sequential | None
    overrules: Interval | None
    comparison: Comparison | None


@dataclass(frozen=True)
class WatchSignals:
    """What is known of a release on a day of its watch. None is a signal that could not be measured.

    ``readable``: whether the champion loads and scores; ``harm``: of the champion against the version
    before it, on labels matured since; ``overrules`` and ``reviews``: share overruled, and share sent to a
    person, after minus before; ``adverse``: groups adversely selected that were not before.
    """

    readable: bool
    harm: Sequential | None
    overrules: Interval | None
    reviews: Interval | None
    adverse: tuple[str, ...] | None


def successor(comparison: Comparison, promotion: "Promotion") -> Verdict:
    """Whether a version may take the place of the one in charge.

    ``promote`` when there are enough labels, every required figure is there, the whole paired interval lies
    above the declared minimum (and that over segments, where labels are so few that they are pooled), the
    version is measurably worse neither in the other loss nor than the base rate, is better on these labels
    than the one in charge under the calibrator that is live today, and hurts no protected group. ``keep``
    when it is measurably no better, or hurts a group. Else ``insufficient_evidence``.
    """
    kind, reasons = _successor(comparison, promotion)
    return Verdict(kind, tuple(reasons), _identity("successor", comparison.as_dict(), promotion.model_dump()))


def unless_shifted(verdict: Verdict, alarm: Alarm | None) -> Verdict:
    """The verdict, but ``insufficient_evidence`` in place of ``promote`` while the drift alarm stands: the
    evidence speaks of cases that are no longer the ones to be decided.

    alarm: between the cases evaluated on and those that are open, None where these are too few to tell.
    """
    if verdict.kind != "promote" or alarm is None or not alarm.raised:
        return verdict
    reasons = (*verdict.reasons, f"but today's cases are unlike those it was measured on: {alarm}")
    identity = _identity("unless_shifted", {"verdict": verdict.id, "alarm": str(alarm)})
    return Verdict("insufficient_evidence", reasons, identity)


def experiment(signals: ExperimentSignals, promotion: "Promotion", declared: "Experiment") -> Verdict | None:
    """What a live experiment has come to; None while it goes on.

    It ends on any day with ``keep`` when the challenger has shown harm or is measurably overruled more than
    the margin allows, and with ``insufficient_evidence`` when the arms were not drawn as declared. At a look
    it ends as ``successor`` says; to promote, sample ratio and harm must be known and the share overruled
    must be measurably within the margin. On the last day it ends in any case.
    """
    kind, reasons = _experiment(signals, promotion, declared)
    if kind is None:
        return None
    return Verdict(
        kind,
        tuple(reasons),
        _identity("experiment", _plain(signals), promotion.model_dump(), declared.model_dump()),
    )


def watch(signals: WatchSignals, declared: "Watch") -> Verdict:
    """Whether a release is rolled back: ``roll_back``, ``keep``, or ``insufficient_evidence``.

    One broken guardrail is enough. ``keep`` says that all were measured and hold; where one could not be
    measured the release stands, and ``insufficient_evidence`` says so. The intervals are expected at the
    errors of ``experiment.watch_errors``.
    """
    broken, lacking = _guardrails(signals, declared)
    kind: Kind = "roll_back" if broken else "insufficient_evidence" if lacking else "keep"
    reasons = broken or lacking or ["every guardrail was measured, and none is broken"]
    return Verdict(kind, tuple(reasons), _identity("watch", _plain(signals), declared.model_dump()))


def calibrator(gain: dict[str, Interval], declared: "Recalibration") -> Verdict:
    """Whether a calibrator goes live in place of today's.

    gain: ``metrics.paired`` over today's at the declared significance, on the newest labels. ``promote``
    when its log loss is measurably better and its Brier score not measurably worse, ``keep`` when it is
    measurably worse in either, else ``insufficient_evidence``.
    """
    kind, reason = _calibrator(gain, declared.minimum_labels.value)
    return Verdict(kind, (reason,), _identity("calibrator", _plain(gain), declared.model_dump()))


def calibrator_in_use(loss: dict[str, Interval], declared: "Recalibration") -> Verdict:
    """Whether a calibrator comes off again.

    loss: ``metrics.paired`` of the calibrator before over the one in use, on labels that became known since
    it went live. ``roll_back`` when the one before is measurably better in either loss, ``keep`` when it is
    not, ``insufficient_evidence`` (it stays) with too few labels or a missing figure.
    """
    few = _too_few_to_judge(loss, declared.minimum_labels.value)
    better = [NAMES[name] for name, less in loss.items() if less.is_above(0.0)]
    if few:
        kind, reason = "insufficient_evidence", few
    elif better:
        kind, reason = "roll_back", f"the calibrator before it is measurably better in {', '.join(better)}"
    else:
        kind, reason = "keep", "the calibrator before it is not measurably better"
    return Verdict(kind, (reason,), _identity("calibrator_in_use", _plain(loss), declared.model_dump()))


def _successor(comparison: Comparison, promotion: "Promotion") -> tuple[Kind, list[str]]:
    lacking = _too_few(comparison, promotion) + _missing(
        comparison.base_rate,
        metric=comparison.metrics,
        metric_of_the_version_in_charge=comparison.reference_metrics,
        improvement=comparison.improvement,
        improvement_over_the_base_rate=comparison.improvement_over_base_rate,
    )
    if comparison.group_findings is None:
        lacking.append("what it means for protected groups was not measured")
    if lacking:
        return "insufficient_evidence", lacking
    metric, minimum = promotion.metric, promotion.minimum_improvement.value
    gain = comparison.improvement[metric]
    told = [_told(comparison, metric), *_undetermined(comparison), *_pooled_in_words(comparison)]
    if gain.is_below(minimum):
        return "keep", [*told, f"the whole interval lies below {minimum:g}: it is measurably no better"]
    if comparison.groups_hurt:
        return "keep", [*told, *(_hurt(found, promotion) for found in comparison.groups_hurt)]
    doubts = _doubts(comparison, minimum, gain) + _outdone(comparison, metric)
    if doubts:
        return "insufficient_evidence", [*told, *doubts]
    return "promote", [*told, f"the whole interval lies above {minimum:g}, and no protected group is hurt"]


def _doubts(comparison: Comparison, minimum: float, gain: Interval) -> list[str]:
    doubts = []
    for gains, than in (
        (comparison.improvement, ""),
        (comparison.improvement_over_base_rate, " than the base rate"),
    ):
        worse = [NAMES[name] for name, other in gains.items() if other.is_below(0.0)]
        if worse:
            doubts.append(f"it is measurably worse{than} in {', '.join(worse)}")
    if not gain.is_above(minimum):
        doubts.append(f"the interval reaches down to {minimum:g} or below, so it may be chance")
    if comparison.pooled and not comparison.pooled.mean.is_above(minimum):
        doubts.append(f"over segments the interval reaches down to {minimum:g} or below")
    return doubts


def _outdone(comparison: Comparison, metric: str) -> list[str]:
    """A promotion takes the live calibrator off: what the version gains must outweigh it. The calibrator has
    learnt from some of these labels, so that doubt is in favour of what is in charge."""
    if comparison.improvement_over_today is None:
        return []
    gain = comparison.improvement_over_today[metric]
    if gain.value > 0:
        return []
    return [
        f"under the calibrator that is live today the version in charge has the better {NAMES[metric]} by"
        f" {abs(gain.value):.4f} on the same decisions, and a promotion would take the calibrator off"
    ]


def _told(comparison: Comparison, metric: str) -> str:
    ours, theirs = comparison.metrics[metric].value, comparison.reference_metrics[metric].value
    gain = comparison.improvement[metric]
    side = f"{abs(gain.value):.4f} {'better' if gain.value >= 0 else 'worse'}"
    return (
        f"on {comparison.evaluation_labels} matured decisions in {comparison.groups} groups that neither "
        f"learnt from (they weigh like {comparison.effective_labels:.0f}), its {NAMES[metric]} is {ours:.4f} "
        f"and that of the version in charge {theirs:.4f}: {side} "
        f"({1 - 2 * comparison.alpha:.1%} interval {gain.low:.4f} to {gain.high:.4f})"
    )


def _undetermined(comparison: Comparison) -> list[str]:
    names = [
        f"{found.attribute} {found.group}"
        for found in comparison.group_findings or ()
        if found.finding == "undetermined"
    ]
    return [f"too few to tell for {', '.join(names)}"] if names else []


def _pooled_in_words(comparison: Comparison) -> list[str]:
    pooled = comparison.pooled
    if pooled is None:
        return []
    return [
        f"labels come at {pooled.labels_a_month:.0f} a month, below the floor of {pooled.floor}, so"
        f" {len(pooled.segments)} segments by {pooled.segment} are pooled: over them the difference is"
        f" {pooled.mean.value:.4f} ({pooled.mean.low:.4f} to {pooled.mean.high:.4f})"
    ]


def _hurt(found: GroupFinding, promotion: "Promotion") -> str:
    who = f"{found.attribute} {found.group}"
    if found.impact == "adverse" and found.reference_impact != "adverse":
        return (
            f"{who} would be adversely selected, and is not by the version in charge ({found.people} people)"
        )
    return (
        f"{who} would lose more than {promotion.group_margin.value:g} Brier on {found.labels} decisions"
        f" ({found.gain.low:.4f} to {found.gain.high:.4f})"
    )


def _experiment(
    signals: ExperimentSignals, promotion: "Promotion", declared: "Experiment"
) -> tuple[Kind | None, list[str]]:
    ratio, harm, overrules = signals.sample_ratio, signals.harm, signals.overrules
    margin, last = declared.overrule_margin.value, signals.day >= declared.looks[-1]
    if _known(ratio) and ratio < declared.sample_ratio.value:
        return "insufficient_evidence", [
            f"the arms were not drawn as declared (p = {ratio:.2g}): nothing can be told from them"
        ]
    if harm is not None and harm.shown:
        return "keep", [f"it has shown harm on {harm.n} groups (p = {harm.p_value:.2g}, valid on any day)"]
    if overrules is not None and overrules.is_above(margin):
        return "keep", [
            f"people overrule it {overrules.value:.1%} more often, above {margin:.0%} beyond chance"
        ]
    if signals.day < declared.looks[0] or (signals.comparison is None and not last):
        return None, []
    if signals.comparison is None:
        return "insufficient_evidence", ["the last day has come, and no comparison could be made"]
    kind, reasons = _successor(signals.comparison, promotion)
    unknown = [] if _known(ratio) else ["whether the arms were drawn as declared could not be measured"]
    if harm is None or harm.n == 0:
        unknown.append("harm could not be measured")
    if overrules is None or not overrules.is_below(margin):
        unknown.append(f"that people overrule it at most {margin:.0%} more often is not shown")
    if kind == "promote" and unknown:
        kind, reasons = "insufficient_evidence", reasons + unknown
    if kind == "insufficient_evidence" and not last:
        return None, []
    return kind, [f"on day {signals.day} of the experiment", *reasons]


def _guardrails(signals: WatchSignals, declared: "Watch") -> tuple[list[str], list[str]]:
    """Reasons to roll back, and what could not be measured."""
    broken, lacking = [], []
    if not signals.readable:
        broken.append("the model in charge cannot be read")
    if signals.harm is None or signals.harm.n == 0:
        lacking.append(
            "harm could not be measured: no label has matured since, or the version before cannot be read"
        )
    elif signals.harm.shown:
        broken.append(
            f"it has shown harm on {signals.harm.n} groups (p = {signals.harm.p_value:.2g}, valid on any day)"
        )
    for found, margin, what in (
        (signals.overrules, declared.overrule_margin.value, "share that people overrule"),
        (signals.reviews, declared.review_margin.value, "share that a person must look at"),
    ):
        if found is None or not _finite(found):
            lacking.append(f"the {what} could not be measured")
        elif found.is_above(margin):
            broken.append(f"the {what} has risen by {found.value:.1%}, above {margin:.0%} beyond chance")
    if signals.adverse is None:
        lacking.append("selection by protected group could not be measured")
    elif signals.adverse:
        broken.append(f"adversely selected, and not so before: {', '.join(signals.adverse)}")
    return broken, lacking


def _calibrator(gain: dict[str, Interval], minimum: int) -> tuple[Kind, str]:
    few = _too_few_to_judge(gain, minimum)
    if few:
        return "insufficient_evidence", few
    worse = [NAMES[name] for name, less in gain.items() if less.is_below(0.0)]
    if worse:
        return "keep", f"it is measurably worse than today's in {', '.join(worse)}"
    less = gain["log_loss"]
    words = f"its log loss on {less.n} newest labels is {less.value:.4f} below today's"
    if less.is_above(0.0):
        return "promote", f"{words} ({less.low:.4f} to {less.high:.4f})"
    return "insufficient_evidence", f"{words} ({less.low:.4f} to {less.high:.4f}), which may be chance"


def _too_few_to_judge(gain: dict[str, Interval], minimum: int) -> str | None:
    for name, words in NAMES.items():
        found = gain.get(name)
        if found is None or not _finite(found):
            return f"the difference in {words} or its interval could not be computed"
        if found.n < minimum:
            return f"{found.n} new labels, and a calibrator is judged on {minimum}"
    return None


def _too_few(evidence: Evidence | Comparison, promotion: "Promotion") -> list[str]:
    reasons = []
    if evidence.labels < promotion.minimum_labels.value:
        reasons.append(
            f"{evidence.labels} observed labels, and a champion needs {promotion.minimum_labels.value}"
        )
    if evidence.evaluation_labels < promotion.minimum_evaluation_labels.value:
        reasons.append(
            f"{evidence.evaluation_labels} labels to evaluate on, and a verdict needs "
            f"{promotion.minimum_evaluation_labels.value}"
        )
    return reasons


def _missing(base_rate: float, **figures: dict[str, Interval]) -> list[str]:
    """A figure that is not there is never read as zero."""
    reasons = []
    for what, found in figures.items():
        for name in REQUIRED if what.startswith("metric") else tuple(NAMES):
            figure = found.get(name)
            if figure is None or not _finite(figure):
                reasons.append(f"{what.replace('_', ' ')}: {name} or its interval could not be computed")
    if not math.isfinite(base_rate):
        reasons.append("the base rate could not be computed")
    return reasons


def _finite(figure: Interval) -> bool:
    return all(math.isfinite(value) for value in (figure.value, figure.low, figure.high))


def _known(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _plain(signals: Any) -> dict[str, Any]:
    """Signals as plain data, for the identity."""
    fields = signals if isinstance(signals, dict) else vars(signals)
    return {name: _plain_value(value) for name, value in fields.items()}


def _plain_value(value: Any) -> Any:
    if isinstance(value, Interval | Comparison):
        return value.as_dict()
    if isinstance(value, Sequential):
        return vars(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _identity(policy: str, *parts: dict[str, Any]) -> str:
    text = json.dumps([policy, *parts], sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
