"""What a version has shown on labels that nothing of it was fitted on. Pure."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from hrloop.evaluation.metrics import Interval, improvement, intervals

if TYPE_CHECKING:
    from hrloop.usecase import Promotion


@dataclass(frozen=True)
class Evidence:
    """The figures of one version.

    ``labels``: observed labels in all; ``evaluation_labels`` and ``groups``: those evaluated on. ``metrics``
    and ``improvement`` (over the base rate) are weighted for selection, so they speak of all who were
    decided on; ``metrics_selected`` are plain, of those selected only.
    """

    labels: int
    evaluation_labels: int
    groups: int
    base_rate: float
    metrics: dict[str, Interval]
    metrics_selected: dict[str, Interval]
    improvement: dict[str, Interval]

    def as_dict(self) -> dict[str, Any]:
        """Plain data for the ledger and the registry."""

        def plain(figures: dict[str, Interval]) -> dict[str, Any]:
            return {name: interval.as_dict() for name, interval in sorted(figures.items())}

        return {
            "labels": self.labels,
            "evaluation_labels": self.evaluation_labels,
            "groups": self.groups,
            "base_rate": self.base_rate if np.isfinite(self.base_rate) else None,
            "metrics": plain(self.metrics),
            "metrics_selected": plain(self.metrics_selected),
            "improvement": plain(self.improvement),
        }


def assess(
    held_out: pd.DataFrame, base_rate: float, labels: int, promotion: "Promotion", seed: int
) -> Evidence:
    """Metrics of a version on its held-out labels, and its improvement over the base rate.

    held_out: group_key, label, weight, probability. ``base_rate`` is that of the labels the version was
    fitted on: the rate of the evaluation labels themselves is not known to anyone when deciding.
    """
    columns = ("label", "probability", "group_key", "weight")
    label, probability, group, weight = (held_out[name].to_numpy() for name in columns)
    how = {
        "resamples": promotion.resamples.value,
        "level": promotion.confidence_level.value,
        "seed": seed,
    }
    return Evidence(
        labels=labels,
        evaluation_labels=len(held_out),
        groups=int(held_out["group_key"].nunique()),
        base_rate=base_rate,
        metrics=intervals(label, probability, group, weight, **how),
        metrics_selected=intervals(label, probability, group, **how),
        improvement=improvement(label, probability, base_rate, group, weight, **how),
    )
