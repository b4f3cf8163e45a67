"""What a version has shown against the one in charge, on labels that neither was fitted on. Pure."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from hrloop.evaluation.fairness import Finding, impacts
from hrloop.evaluation.metrics import Interval, intervals, paired
from hrloop.evaluation.pooling import Pooled

if TYPE_CHECKING:
    from hrloop.usecase import ErrorBudget, Fairness, Promotion

GroupVerdict = Literal["hurt", "none", "undetermined"]
EXPERIMENTS_A_YEAR = 4


@dataclass(frozen=True)
class GroupFinding:
    """What a version would mean for one protected group, beside the version in charge.

    ``gain``: its paired Brier difference, above 0 is better; ``impact`` and ``reference_impact``: the
    finding on its selection under either version. ``hurt`` when it measurably loses more than the margin,
    or is adversely selected by the new version only; ``undetermined`` below the minimum of a group.
    """

    attribute: str
    group: str
    labels: int
    people: int
    gain: Interval
    impact: Finding
    reference_impact: Finding
    finding: GroupVerdict

    def as_dict(self) -> dict[str, Any]:
        """Plain data for the ledger and the registry."""
        return {**vars(self), "gain": self.gain.as_dict()}


@dataclass(frozen=True)
class Comparison:
    """The figures of a version beside those of the version in charge, the reference.

    ``labels``: observed labels in all; ``evaluation_labels`` and ``groups``: those compared on;
    ``effective_labels``: how many equally weighted ones hold as much (Kish). ``improvement``: over the
    reference, paired, each end erring with probability ``alpha``; ``improvement_over_base_rate`` likewise
    at the declared confidence level. ``improvement_over_today``: over the version in charge under the
    calibrator that is live today, which has learnt from some of these labels; None where the reference
    stands under it. All are weighted for selection.
    """

    labels: int
    evaluation_labels: int
    groups: int
    effective_labels: float
    base_rate: float
    alpha: float
    metrics: dict[str, Interval]
    reference_metrics: dict[str, Interval]
    improvement: dict[str, Interval]
    improvement_over_base_rate: dict[str, Interval]
    improvement_over_today: dict[str, Interval] | None = None
    group_findings: tuple[GroupFinding, ...] | None = None
    pooled: Pooled | None = None

    @property
    def groups_hurt(self) -> tuple[GroupFinding, ...]:
        """The protected groups that the version would hurt."""
        return tuple(found for found in self.group_findings or () if found.finding == "hurt")

    def as_dict(self) -> dict[str, Any]:
        """Plain data for the ledger and the registry."""

        def plain(figures: dict[str, Interval]) -> dict[str, Any]:
            return {name: interval.as_dict() for name, interval in sorted(figures.items())}

        findings, today = self.group_findings, self.improvement_over_today
        return {
            "labels": self.labels,
            "evaluation_labels": self.evaluation_labels,
            "groups": self.groups,
            "effective_labels": self.effective_labels,
            "base_rate": self.base_rate if np.isfinite(self.base_rate) else None,
            "alpha": self.alpha,
            "metrics": plain(self.metrics),
            "reference_metrics": plain(self.reference_metrics),
            "improvement": plain(self.improvement),
            "improvement_over_base_rate": plain(self.improvement_over_base_rate),
            "improvement_over_today": None if today is None else plain(today),
            "group_findings": None if findings is None else [found.as_dict() for found in findings],
            "pooled": self.pooled.as_dict() if self.pooled else None,
        }


def error_of_an_experiment(budget: "ErrorBudget") -> float:
    """The one-sided error that an experiment may spend: its even part of the year's budget."""
    return budget.quarterly.value / EXPERIMENTS_A_YEAR


def error_of_a_run(budget: float, new: int, a_year: int, spent: float, promotion: "Promotion") -> float:
    """The one-sided error that one run of a rhythm may spend, out of its ``budget`` of a year.

    It is spent by evidence, not by the calendar: in proportion to the labels that are ``new`` since the
    run before, of those of ``a_year``. So where exports come once a month the run that meets new labels has
    a month's part, and those between, which would ask the same labels again, next to nothing. Never more
    than is left of what was ``spent`` within a year, nor than an end of the declared interval errs by.

    Expected promotions by luck add up however dependent the runs are, so any year keeps the budget.
    """
    most = (1 - promotion.confidence_level.value) / 2
    return max(0.0, min(budget * new / a_year if new else 0.0, budget - spent, most))


def compare(
    frame: pd.DataFrame,
    base_rate: float,
    labels: int,
    promotion: "Promotion",
    alpha: float,
    seed: int,
    *,
    group_findings: tuple[GroupFinding, ...] | None = None,
    pooled: Pooled | None = None,
) -> Comparison:
    """A version and the one in charge on the same matured labels.

    frame: group_key, label, weight, probability (of the version), reference (probability of the one in
    charge), and ``today`` (that under the calibrator that is live) where it is another. ``base_rate`` and
    ``labels`` as for ``assess``; ``alpha``: what this comparison may err by; ``group_findings`` from
    ``guard``, ``pooled`` from ``pooling.pool``. Raises ValueError for a probability or base rate that is
    missing.
    """
    columns = ("label", "probability", "reference", "group_key", "weight")
    label, probability, reference, group, weight = (frame[name].to_numpy() for name in columns)
    level = promotion.confidence_level.value
    how = {"resamples": promotion.resamples.value, "level": level, "seed": seed}
    return Comparison(
        labels=labels,
        evaluation_labels=len(frame),
        groups=int(frame["group_key"].nunique()),
        effective_labels=_effective(weight.astype(float)),
        base_rate=base_rate,
        alpha=alpha,
        metrics=intervals(label, probability, group, weight, **how),
        reference_metrics=intervals(label, reference, group, weight, **how),
        improvement=paired(label, probability, reference, group, weight, alpha=alpha),
        improvement_over_base_rate=paired(
            label, probability, base_rate, group, weight, alpha=(1 - level) / 2
        ),
        improvement_over_today=paired(
            label, probability, frame["today"].to_numpy(), group, weight, alpha=alpha
        )
        if "today" in frame
        else None,
        group_findings=group_findings,
        pooled=pooled,
    )


def guard(
    labelled: pd.DataFrame,
    decided: pd.DataFrame,
    attributes: tuple[str, ...],
    promotion: "Promotion",
    fairness: "Fairness",
) -> tuple[GroupFinding, ...]:
    """What a version would mean for each protected group, by attribute and name of the group.

    labelled: group_key, label, weight, probability, reference; decided: subject_key, recommended,
    reference_recommended (bool: the positive action by the version, by the one in charge), a row for each
    case that both scored; both with a column for each attribute. Who did not state an attribute is in no
    group of it. Ages and other numbers are given in bands.
    """
    return tuple(
        finding
        for attribute in attributes
        for finding in _guard(labelled, decided, attribute, promotion, fairness)
    )


def _guard(
    labelled: pd.DataFrame,
    decided: pd.DataFrame,
    attribute: str,
    promotion: "Promotion",
    fairness: "Fairness",
) -> list[GroupFinding]:
    labelled, decided = (frame[frame[attribute].notna()] for frame in (labelled, decided))
    impact = _impact(decided, attribute, "recommended", fairness)
    reference_impact = _impact(decided, attribute, "reference_recommended", fairness)
    people = decided.groupby(decided[attribute].astype(str))["subject_key"].nunique()
    findings = []
    for name in sorted(set(people.index) | set(labelled[attribute].astype(str))):
        rows = labelled[labelled[attribute].astype(str) == name]
        gain = paired(
            *(rows[n].to_numpy() for n in ("label", "probability", "reference", "group_key", "weight")),
            alpha=(1 - promotion.confidence_level.value) / 2,
        )["brier"]
        count = int(people.get(name, 0))
        before, after = reference_impact.get(name, "none"), impact.get(name, "none")
        loses = len(rows) >= fairness.minimum_group.value and gain.is_below(-promotion.group_margin.value)
        if loses or (after == "adverse" and before != "adverse"):
            finding: GroupVerdict = "hurt"
        elif min(len(rows), count) < fairness.minimum_group.value:
            finding = "undetermined"
        else:
            finding = "none"
        findings.append(GroupFinding(attribute, name, len(rows), count, gain, after, before, finding))
    return findings


def _impact(decided: pd.DataFrame, attribute: str, column: str, fairness: "Fairness") -> dict[str, Finding]:
    """The finding on each group but the one selected most often."""
    found = impacts(
        decided[column].to_numpy(bool),
        decided[attribute].to_numpy(),
        decided["subject_key"].to_numpy(),
        threshold=fairness.impact_ratio.value,
        significance=fairness.significance.value,
        minimum=fairness.minimum_group.value,
    )
    return {one.group: one.finding for one in found}


def _effective(weight: np.ndarray) -> float:
    return float(weight.sum() ** 2 / np.square(weight).sum()) if len(weight) else 0.0
