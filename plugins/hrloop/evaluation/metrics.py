"""How good probabilities are, and how sure one can be of it. Pure, vectorised.

Labels are 0 or 1, probabilities are of label 1, weights default to 1; all are (n,). A metric that is not
defined (no rows, one class only) is NaN, and whoever decides by it must treat that as missing. Intervals
allow for groups, as cases of one requisition or team are not independent: by a bootstrap over them, and in
closed form where two versions are compared.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from hrloop.evaluation import clusters

_EDGE = 1e-15  # log loss of a certain and wrong probability stays finite, as in scikit-learn
_BINS = 10
_CELLS = 4_000_000  # resamples are drawn in chunks of so many weights: 32 MB
_DEFINED = 0.95  # with more resamples undefined than the rest, an interval would flatter


@dataclass(frozen=True)
class Interval:
    """A figure with its interval, over n rows (or groups, where it is a mean of groups)."""

    value: float
    low: float
    high: float
    n: int

    def is_above(self, bound: float) -> bool:
        """Whether the whole interval lies above; never for a figure that is missing."""
        return math.isfinite(self.value) and math.isfinite(self.low) and self.low > bound

    def is_below(self, bound: float) -> bool:
        """Whether the whole interval lies below; never for a figure that is missing."""
        return math.isfinite(self.value) and math.isfinite(self.high) and self.high < bound

    def as_dict(self) -> dict[str, float | int | None]:
        """Plain data; None where a figure is not defined."""
        figures = {"value": self.value, "low": self.low, "high": self.high}
        return {k: v if math.isfinite(v) else None for k, v in figures.items()} | {"n": self.n}

    def __str__(self) -> str:
        return f"{self.value:.4f} ({self.low:.4f} to {self.high:.4f})"


def log_loss(label: np.ndarray, probability: np.ndarray, weight: np.ndarray | None = None) -> float:
    """Mean negative log-likelihood, in nats."""
    label, probability, weight = _checked(label, probability, weight)
    return _mean(_log_losses(label, probability), weight)


def brier(label: np.ndarray, probability: np.ndarray, weight: np.ndarray | None = None) -> float:
    """Mean squared difference between probability and outcome."""
    label, probability, weight = _checked(label, probability, weight)
    return _mean(np.square(label - probability), weight)


def auc(label: np.ndarray, probability: np.ndarray, weight: np.ndarray | None = None) -> float:
    """Probability that a random 1 is ranked above a random 0, ties counted half."""
    label, probability, weight = _checked(label, probability, weight)
    return float(_auc(label, probability)(weight[None, :])[0]) if len(label) else math.nan


def ndcg(label: np.ndarray, probability: np.ndarray, group: np.ndarray) -> float:
    """Mean over groups of the normalised discounted cumulative gain; the gain is the label.

    Groups whose labels are all alike are left out: no order of them could be wrong, and counting their 1.0
    would flatter. Tied rows share their discounts.
    """
    label, probability, _ = _checked(label, probability, None)
    values, _ = _ndcg_per_group(label, probability, _codes(group, len(label))[0])
    return float(values.mean()) if len(values) else math.nan


def calibration_error_event_rate(
    label: np.ndarray, probability: np.ndarray, weight: np.ndarray | None = None, bins: int = _BINS
) -> float:
    """Expected calibration error of the event: mean over bins of |rate of 1 - mean probability of 1|.

    Bins hold equally many rows. Noise alone keeps it above 0: with n rows by about sqrt(bins / n) / 3.
    """
    label, probability, weight = _checked(label, probability, weight)
    return _binned_error(label, probability, weight, bins)


def calibration_error_accuracy(
    label: np.ndarray,
    probability: np.ndarray,
    weight: np.ndarray | None = None,
    positive: np.ndarray | None = None,
    bins: int = _BINS,
) -> float:
    """Expected calibration error of the recommendation: mean over bins of |share right - mean confidence|.

    ``positive`` (n,): whether the positive action was recommended, else where the probability is at least
    one half. Confidence is p for the positive action and 1 - p for the other; right is 1 there, 0 here.
    """
    label, probability, weight = _checked(label, probability, weight)
    right, confidence = _recommendation(label, probability, positive)
    return _binned_error(right, confidence, weight, bins)


def intervals(
    label: np.ndarray,
    probability: np.ndarray,
    group: np.ndarray,
    weight: np.ndarray | None = None,
    *,
    positive: np.ndarray | None = None,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Interval]:
    """Every metric of this module by its name, with an interval from resampling whole groups.

    The interval is of the percentile kind with the bootstrap's own bias taken off; the same seed gives the
    same interval. With fewer than two groups, or where a metric is undefined in more than one of twenty
    resamples, its ends are NaN. NDCG is unweighted, and its n counts groups.
    """
    label, probability, weight = _checked(label, probability, weight)
    codes, groups = _codes(group, len(label))
    right, confidence = _recommendation(label, probability, positive)
    statistics = {
        "log_loss": _mean_statistic(_log_losses(label, probability), weight, codes, groups),
        "brier": _mean_statistic(np.square(label - probability), weight, codes, groups),
        "auc": _auc_statistic(label, probability, weight, codes),
        "ndcg": _ndcg_statistic(label, probability, codes, groups),
        "calibration_error_event_rate": _binned_statistic(label, probability, weight, codes, groups),
        "calibration_error_accuracy": _binned_statistic(right, confidence, weight, codes, groups),
    }
    counted = {name: len(label) for name in statistics}
    counted["ndcg"] = len(_ndcg_per_group(label, probability, codes)[0])
    found = _bootstrap(statistics, counted, groups, len(label), resamples, level, seed)
    # none of these can be negative, also where taking off the bias would make it so
    return {name: replace(i, low=0.0) if i.low < 0 else i for name, i in found.items()}


def improvement(
    label: np.ndarray,
    probability: np.ndarray,
    reference: np.ndarray | float,
    group: np.ndarray,
    weight: np.ndarray | None = None,
    *,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Interval]:
    """How much less is lost than by a reference, paired case by case: ``brier`` and ``log_loss``.

    reference: (n,) probabilities of another version, or one base rate for all. Above 0 is better than the
    reference. Pairing takes out what both find hard; docs/statistics.md shows its power beside that of an
    unpaired test.
    """
    return means(
        less_lost(label, probability, reference), group, weight, resamples=resamples, level=level, seed=seed
    )


def means(
    values: Mapping[str, np.ndarray],
    group: np.ndarray,
    weight: np.ndarray | None = None,
    *,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Interval]:
    """The weighted mean of each of these columns (n,), with an interval as ``intervals`` gives it.

    The resamples are the same for all of them.
    """
    n = len(next(iter(values.values())))
    weight = _checked_weight(weight, n)
    codes, groups = _codes(group, n)
    statistics = {name: _mean_statistic(column, weight, codes, groups) for name, column in values.items()}
    return _bootstrap(statistics, dict.fromkeys(values, n), groups, n, resamples, level, seed)


def paired(
    label: np.ndarray,
    probability: np.ndarray,
    reference: np.ndarray | float,
    group: np.ndarray,
    weight: np.ndarray | None = None,
    *,
    alpha: float,
) -> dict[str, Interval]:
    """``improvement`` with an interval whose ends hold one by one: the truth lies below the lower end with
    probability ``alpha``, and above the upper one likewise (level 1 - 2 alpha).

    In closed form (``clusters``), for verdicts at the small errors that a budget leaves, where a bootstrap
    would need tens of thousands of resamples. Simulated at 60 to 300 labels with weights up to fivefold and
    groups of one to three (docs/statistics.md), it holds its error when the differences are symmetric and
    exceeds it somewhat when they are skewed. With fewer than two groups its ends are NaN.
    """
    label, probability, weight = _checked(label, probability, weight)
    codes, _ = _codes(group, len(label))
    found = {}
    for name, values in less_lost(label, probability, reference).items():
        mean = clusters.mean(values, weight, codes)
        found[name] = Interval(mean.value, *mean.ends(alpha), len(label))
    return found


def less_lost(
    label: np.ndarray, probability: np.ndarray, reference: np.ndarray | float
) -> dict[str, np.ndarray]:
    """Loss of the reference minus loss of the probability, case by case (n,): ``brier`` and ``log_loss``."""
    label, probability, _ = _checked(label, probability, None)
    label, reference, _ = _checked(
        label, np.broadcast_to(np.asarray(reference, dtype=float), label.shape), None
    )
    return {
        "brier": np.square(label - reference) - np.square(label - probability),
        "log_loss": _log_losses(label, reference) - _log_losses(label, probability),
    }


# A statistic takes how often each group was drawn, (resamples, groups), and gives (resamples,) values.
Statistic = Callable[[np.ndarray], np.ndarray]


def _bootstrap(
    statistics: dict[str, Statistic],
    counted: dict[str, int],
    groups: int,
    rows: int,
    resamples: int,
    level: float,
    seed: int,
) -> dict[str, Interval]:
    if groups == 0:
        return {name: Interval(math.nan, math.nan, math.nan, 0) for name in statistics}
    once = np.ones((1, groups))
    values = {name: float(statistic(once)[0]) for name, statistic in statistics.items()}
    draws: dict[str, list[np.ndarray]] = {name: [] for name in statistics}
    if groups > 1:
        random = np.random.default_rng(seed)
        chunk = max(1, _CELLS // max(rows, groups))
        for start in range(0, resamples, chunk):
            size = min(chunk, resamples - start)
            drawn = random.multinomial(groups, np.full(groups, 1 / groups), size=size).astype(float)
            for name, statistic in statistics.items():
                draws[name].append(statistic(drawn))
    return {name: _interval(value, draws[name], level, counted[name]) for name, value in values.items()}


def _interval(value: float, draws: list[np.ndarray], level: float, n: int) -> Interval:
    drawn = np.concatenate(draws) if draws else np.empty(0)
    defined = drawn[np.isfinite(drawn)]
    if not math.isfinite(value) or len(defined) == 0 or len(defined) < _DEFINED * len(drawn):
        return Interval(value, math.nan, math.nan, n)
    tail = (1 - level) / 2
    low, high = np.quantile(defined, [tail, 1 - tail])
    # binned errors grow with every resample; for means the bias is nil
    bias = defined.mean() - value
    return Interval(value, float(min(low - bias, value)), float(max(high - bias, value)), n)


def _mean_statistic(values: np.ndarray, weight: np.ndarray, codes: np.ndarray, groups: int) -> Statistic:
    sums = np.bincount(codes, weights=weight * values, minlength=groups)
    weights = np.bincount(codes, weights=weight, minlength=groups)
    return lambda drawn: _divided(drawn @ sums, drawn @ weights)


def _auc_statistic(
    label: np.ndarray, probability: np.ndarray, weight: np.ndarray, codes: np.ndarray
) -> Statistic:
    area = _auc(label, probability)
    return lambda drawn: area(drawn[:, codes] * weight)


def _ndcg_statistic(label: np.ndarray, probability: np.ndarray, codes: np.ndarray, groups: int) -> Statistic:
    values, which = _ndcg_per_group(label, probability, codes)
    sums, counts = np.zeros(groups), np.zeros(groups)
    sums[which], counts[which] = values, 1.0
    return lambda drawn: _divided(drawn @ sums, drawn @ counts)


def _binned_statistic(
    label: np.ndarray, probability: np.ndarray, weight: np.ndarray, codes: np.ndarray, groups: int
) -> Statistic:
    bins = _bins(probability, _BINS)
    number = int(bins.max(initial=-1)) + 1
    gaps, weights = np.zeros((groups, number)), np.zeros((groups, number))
    np.add.at(gaps, (codes, bins), weight * (label - probability))
    np.add.at(weights, (codes, bins), weight)
    return lambda drawn: _divided(np.abs(drawn @ gaps).sum(axis=1), (drawn @ weights).sum(axis=1))


def _auc(label: np.ndarray, probability: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """A function of weights (resamples, n) that gives the AUC of each row of them."""
    order = np.argsort(probability, kind="stable")
    zeros, ones = order[label[order] == 0], order[label[order] == 1]
    # for each 1, how many 0s are ranked below it, and how many below it or tied with it
    below = np.searchsorted(probability[zeros], probability[ones], side="left")
    level = np.searchsorted(probability[zeros], probability[ones], side="right")

    def area(weights: np.ndarray) -> np.ndarray:
        up_to = np.zeros((len(weights), len(zeros) + 1))
        np.cumsum(weights[:, zeros], axis=1, out=up_to[:, 1:])
        weight = weights[:, ones]
        beaten = np.einsum("ij,ij->i", weight, up_to[:, below] + up_to[:, level]) / 2
        return _divided(beaten, weight.sum(axis=1) * up_to[:, -1])

    return area


def _ndcg_per_group(
    label: np.ndarray, probability: np.ndarray, codes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """NDCG of each group whose labels differ, and the codes of these groups."""
    if len(label) == 0:
        return np.empty(0), np.empty(0, dtype=int)
    groups = int(codes.max()) + 1
    size = np.bincount(codes, minlength=groups)
    ones = np.bincount(codes, weights=label, minlength=groups)
    order = np.lexsort((-probability, codes))
    first = np.concatenate([[0], np.cumsum(size)[:-1]])
    discount = 1 / np.log2(np.arange(len(label)) - first[codes[order]] + 2)
    changes = (np.diff(codes[order]) != 0) | (np.diff(probability[order]) != 0)
    starts = np.flatnonzero(np.r_[True, changes])
    lengths = np.diff(np.r_[starts, len(label)])
    shared = np.repeat(np.add.reduceat(discount, starts) / lengths, lengths)
    gain = np.bincount(codes[order], weights=label[order] * shared, minlength=groups)
    ideal = np.r_[0.0, np.cumsum(1 / np.log2(np.arange(size.max()) + 2))][ones.astype(int)]
    mixed = np.flatnonzero((ones > 0) & (ones < size))
    return gain[mixed] / ideal[mixed], mixed


def _binned_error(label: np.ndarray, probability: np.ndarray, weight: np.ndarray, bins: int) -> float:
    if len(label) == 0:
        return math.nan
    gaps = np.bincount(_bins(probability, bins), weights=weight * (label - probability))
    return float(_divided(np.abs(gaps).sum(), weight.sum()))


def _bins(probability: np.ndarray, bins: int) -> np.ndarray:
    """Number of the bin (n,) of each row: equally many rows each, ties together."""
    if len(probability) == 0:
        return np.empty(0, dtype=int)
    edges = np.unique(np.quantile(probability, np.linspace(0, 1, bins + 1)[1:-1]))
    return np.searchsorted(edges, probability, side="right")


def _recommendation(
    label: np.ndarray, probability: np.ndarray, positive: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    positive = probability >= 0.5 if positive is None else np.asarray(positive, dtype=bool)
    if len(positive) != len(label):
        raise ValueError(f"{len(positive)} recommendations for {len(label)} labels; give one each")
    return np.where(positive, label, 1 - label), np.where(positive, probability, 1 - probability)


def _log_losses(label: np.ndarray, probability: np.ndarray) -> np.ndarray:
    p = np.clip(probability, _EDGE, 1 - _EDGE)
    return -(label * np.log(p) + (1 - label) * np.log1p(-p))


def _mean(values: np.ndarray, weight: np.ndarray) -> float:
    return float(_divided(np.dot(values, weight), weight.sum()))


def _divided(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(denominator > 0, np.divide(numerator, denominator), np.nan)


def _codes(group: np.ndarray, rows: int) -> tuple[np.ndarray, int]:
    if len(group) != rows:
        raise ValueError(f"{len(group)} groups for {rows} labels; give one each")
    group = np.asarray(group)
    uniques, codes = np.unique(group.astype(str) if group.dtype == object else group, return_inverse=True)
    return codes, len(uniques)


def _checked(
    label: np.ndarray, probability: np.ndarray, weight: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The three as float arrays of one length. Raises ValueError for what no metric can be made of."""
    label, probability = np.asarray(label, dtype=float), np.asarray(probability, dtype=float)
    if not (label.ndim == 1 and label.shape == probability.shape):
        raise ValueError(f"labels {label.shape} and probabilities {probability.shape} must have one length")
    if not np.isin(label, (0.0, 1.0)).all():
        raise ValueError("a label is neither 0 nor 1: only observed outcomes can be evaluated")
    if not ((probability >= 0) & (probability <= 1)).all():
        raise ValueError("a probability is missing or outside of 0 to 1")
    return label, probability, _checked_weight(weight, len(label))


def _checked_weight(weight: np.ndarray | None, rows: int) -> np.ndarray:
    weight = np.ones(rows) if weight is None else np.asarray(weight, dtype=float)
    if weight.shape != (rows,):
        raise ValueError(f"weights {weight.shape} for {rows} labels; give one each")
    if not (np.isfinite(weight) & (weight >= 0)).all():
        raise ValueError("a weight is missing, infinite or negative")
    return weight
