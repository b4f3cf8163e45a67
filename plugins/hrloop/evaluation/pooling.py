"""What segments learn from one another when labels are few: partial pooling. Pure.

Each segment's paired difference is drawn towards their common mean, the more the less of its own it has to
say (empirical Bayes). The common mean allows for segments that truly differ, so that one large segment
cannot speak for all.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from hrloop.evaluation.metrics import Interval, less_lost, paired

if TYPE_CHECKING:
    from hrloop.usecase import Volume


@dataclass(frozen=True)
class RandomEffects:
    """The mean of k effects, its interval, the variance between them, and each drawn towards the mean."""

    mean: Interval
    between: float
    shrunk: tuple[Interval, ...]


@dataclass(frozen=True)
class Pooled:
    """The paired difference by segment, below the floor of labels a month.

    ``mean``: over segments, as if each stood for others like it; ``between``: the standard deviation of
    their true differences; ``segments``: by name, each drawn towards the mean, its n the labels.
    """

    segment: str
    labels_a_month: float
    floor: int
    mean: Interval
    between: float
    segments: dict[str, Interval]

    def as_dict(self) -> dict[str, Any]:
        """Plain data for the ledger and the registry."""
        return {
            "segment": self.segment,
            "labels_a_month": self.labels_a_month,
            "floor": self.floor,
            "mean": self.mean.as_dict(),
            "between": self.between if math.isfinite(self.between) else None,
            "segments": {name: found.as_dict() for name, found in sorted(self.segments.items())},
        }


def pool(
    frame: pd.DataFrame, metric: str, volume: "Volume", labels_a_month: float, alpha: float
) -> Pooled | None:
    """Partial pooling over the declared segments; None where labels come often enough to need none.

    frame: group_key, label, weight, probability, reference and the segment's column, in which a missing
    value is a segment of its own. Ends hold ``alpha`` each. Where nothing can be pooled, since there is one
    segment or each is a group of its own, the mean is that of all over their groups. Raises ValueError for a
    number of labels a month that is missing: a volume that is not known is not enough.
    """
    if not math.isfinite(labels_a_month):
        raise ValueError("labels a month are missing; whether to pool cannot be told")
    floor = volume.labels_a_month.value
    if labels_a_month >= floor:
        return None
    name = frame[volume.segment].astype(object).where(frame[volume.segment].notna(), "(missing)").astype(str)
    groups = frame.groupby(name)["group_key"].nunique()
    if len(groups) == 1 or groups.max() == 1:
        mean, between = _all(frame, metric, alpha), math.nan
        segments = {str(one): _all(rows, metric, alpha) for one, rows in frame.groupby(name)}
    else:
        effects = _effects(frame, name, metric)
        found = random_effects(effects["value"].to_numpy(), effects["variance"].to_numpy(), alpha)
        mean, between = found.mean, math.sqrt(found.between)
        mean = Interval(mean.value, mean.low, mean.high, len(frame))
        segments = {
            one: Interval(i.value, i.low, i.high, int(n))
            for one, i, n in zip(effects.index, found.shrunk, effects["n"], strict=True)
        }
    return Pooled(volume.segment, float(labels_a_month), floor, mean, between, segments)


def random_effects(value: np.ndarray, variance: np.ndarray, alpha: float) -> RandomEffects:
    """Effects (k,) with their variances (k,) as draws from one distribution; ends hold ``alpha`` each.

    Variance between them after DerSimonian and Laird (1986, Controlled Clinical Trials 7); interval of the
    mean after Hartung, Knapp, Sidik and Jonkman, never narrower than the plain one, with k - 1 degrees of
    freedom. Raises ValueError for fewer than two effects or a variance that is not above 0.
    """
    k = len(value)
    if k < 2 or len(variance) != k or not (np.isfinite(value).all() and (variance > 0).all()):
        raise ValueError(f"{k} effects; give at least two, each with a variance above 0")
    fixed = 1 / variance
    spread = np.dot(fixed, np.square(value - np.dot(fixed, value) / fixed.sum()))
    between = max(0.0, (spread - (k - 1)) / (fixed.sum() - np.square(fixed).sum() / fixed.sum()))
    weight = 1 / (variance + between)
    mean = float(np.dot(weight, value) / weight.sum())
    scale = max(1.0, float(np.dot(weight, np.square(value - mean)) / (k - 1)))
    squared_error = scale / weight.sum()
    reach = -float(stdtrit(k - 1, alpha))
    own = between / (variance + between)
    drawn = mean + own * (value - mean)
    errors = np.sqrt(own * variance + np.square(1 - own) * squared_error)
    return RandomEffects(
        mean=_around(mean, math.sqrt(squared_error), reach, k),
        between=float(between),
        shrunk=tuple(_around(float(d), float(e), reach, 1) for d, e in zip(drawn, errors, strict=True)),
    )


def _effects(frame: pd.DataFrame, name: pd.Series, metric: str) -> pd.DataFrame:
    """Value, variance and n of each segment's weighted mean difference, by name.

    The variance of a case of weight one is estimated over all segments: one of five labels has none of its
    own worth the name.
    """
    label, probability, reference, weight = (
        frame[column].to_numpy(dtype=float) for column in ("label", "probability", "reference", "weight")
    )
    less = less_lost(label, probability, reference)[metric]
    rows = pd.DataFrame({"segment": name.to_numpy(), "group": frame["group_key"].to_numpy()})
    rows = rows.assign(w=weight, wd=weight * less, ww=weight**2, n=1)
    groups = rows.groupby(["segment", "group"], as_index=False).sum()
    whole = groups.groupby("segment")[["w", "wd", "ww", "n"]].sum()
    value = whole["wd"] / whole["w"]
    of = whole.loc[groups["segment"]]
    residual = groups["wd"].to_numpy() - groups["w"].to_numpy() * value.loc[groups["segment"]].to_numpy()
    share = groups["w"].to_numpy() / of["w"].to_numpy()
    # what independent cases of unit variance would leave in the squared residuals
    expected = groups["ww"].to_numpy() * (1 - 2 * share) + share**2 * of["ww"].to_numpy()
    unit = np.square(residual).sum() / expected.sum()
    return pd.DataFrame({"value": value, "variance": unit * whole["ww"] / whole["w"] ** 2, "n": whole["n"]})


def _all(frame: pd.DataFrame, metric: str, alpha: float) -> Interval:
    columns = ("label", "probability", "reference", "group_key", "weight")
    return paired(*(frame[name].to_numpy() for name in columns), alpha=alpha)[metric]


def _around(value: float, error: float, reach: float, n: int) -> Interval:
    return Interval(value, value - reach * error, value + reach * error, n)
