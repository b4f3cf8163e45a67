"""The statistics of a live experiment and of the watch after a release. Pure.

``sample_ratio`` checks the assignment, ``o_brien_fleming`` gives the boundaries of the looks that were
registered, ``harm`` and ``benefit`` may be looked at any day, ``share_difference`` compares how often
something happens in two arms.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.stats import chisquare, norm

from hrloop.evaluation import clusters
from hrloop.evaluation.metrics import Interval, less_lost

if TYPE_CHECKING:
    from hrloop.usecase import Watch

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(200)
_FAR = 8.0  # standard deviations; beyond lies less than 1e-15
_BETS = (np.arange(20) + 0.5) / 20  # shares of the capital that the largest possible loss would take


def sample_ratio(counts: Mapping[str, int], shares: Mapping[str, float]) -> float:
    """p-value of these numbers of groups by arm, if the arms were drawn with these shares (chi-square).

    Count what was randomised, such as requisitions, not the cases in them. Raises ValueError for arms that
    differ between the two, for shares that do not sum to 1, and when nothing was assigned.
    """
    if set(counts) != set(shares) or len(shares) < 2:
        raise ValueError(f"counts has arms {sorted(counts)}, shares has {sorted(shares)}; give the same arms")
    if not (min(shares.values()) > 0 and math.isclose(sum(shares.values()), 1)):
        raise ValueError(f"the shares {dict(shares)} must be above 0 and sum to 1")
    total = sum(counts.values())
    if total == 0:
        raise ValueError("nothing was assigned yet; the sample ratio cannot be told")
    arms = sorted(shares)
    return float(chisquare([counts[arm] for arm in arms], [shares[arm] * total for arm in arms]).pvalue)


@dataclass(frozen=True)
class Look:
    """One registered look: the share of the error spent by then, its boundary, and the boundary's level.

    ``level`` is the one-sided tail beyond ``z``: the ``alpha`` for ``metrics.paired`` at this look.
    """

    fraction: float
    z: float
    level: float


def o_brien_fleming(
    alpha: float, fractions: Sequence[float], information: Sequence[float] | None = None
) -> tuple[Look, ...]:
    """One-sided boundaries of looks that together err with probability ``alpha``.

    Lan and DeMets (1983, Biometrika 70): by the fraction f the error 2 - 2 Φ(z_{alpha/2} / sqrt f) is spent,
    which is hardly any at first, as with O'Brien and Fleming. ``fractions`` are declared before the start,
    such as day / last day; ``information`` is what each look really had (labels), and the fractions where
    it is left out. A boundary depends on no later look. Raises ValueError for fractions not ascending
    within 0 to 1, and information not ascending.
    """
    information = fractions if information is None else information
    if not 0 < alpha < 0.5:
        raise ValueError(f"alpha is {alpha}; it must lie between 0 and 0.5")
    if len(fractions) != len(information) or not (_ascending(fractions) and fractions[-1] <= 1):
        raise ValueError(f"fractions {list(fractions)} must ascend within 0 to 1, one for each look")
    if not _ascending(information):
        raise ValueError(f"information {list(information)} must ascend: each look needs new labels")
    spent = 2 * norm.sf(norm.isf(alpha / 2) / np.sqrt(fractions))
    boundaries: list[float] = []
    for number, time in enumerate(information):
        before = float(spent[number - 1]) if number else 0.0
        tail = _tail(boundaries, information[:number], time)
        new = float(spent[number]) - before
        boundaries.append(_boundary(tail, new))
    return tuple(
        Look(float(fraction), z, float(norm.sf(z))) for fraction, z in zip(fractions, boundaries, strict=True)
    )


def _boundary(tail: Callable[[float], float], error: float) -> float:
    """Where this tail leaves the error; the farthest boundary for an error too small to tell from none."""
    if tail(2 * _FAR) >= error:
        return 2 * _FAR
    return float(brentq(lambda z: tail(z) - error, -_FAR, 2 * _FAR))


def crossing_probability(boundaries: Sequence[float], information: Sequence[float]) -> float:
    """Probability that z-values without any effect exceed one of these boundaries at its look."""
    return float(
        sum(
            _tail(boundaries[:number], information[:number], time)(boundaries[number])
            for number, time in enumerate(information)
        )
    )


@dataclass(frozen=True)
class Sequential:
    """A test that may be read after every observation. ``first``: the number at which it showed, or None."""

    p_value: float
    n: int
    first: int | None

    @property
    def shown(self) -> bool:
        """Whether it has shown at any time so far; once shown, it stays so."""
        return self.first is not None


@dataclass(frozen=True)
class Stream:
    """Paired Brier differences (n,) in the order of arrival, when each arrived (n,), and their bound."""

    differences: np.ndarray
    known_at: np.ndarray
    bound: float


def arrivals(frame: pd.DataFrame) -> Stream:
    """The stream for ``harm``: one paired Brier difference a group, above 0 where the candidate was better.

    frame: group_key, known_at, label, probability, reference. A group counts once, with the mean of its
    labels that became known first; cases of a group are not independent, so later ones would count it
    twice. The mean is plain: it speaks of those who were selected, and a heavy weight would blunt a test
    that lives by its bound. The bound is the largest difference that probabilities and references allow,
    whatever the outcomes.
    """
    label, p, r = (frame[name].to_numpy(dtype=float) for name in ("label", "probability", "reference"))
    known_at = frame["known_at"].to_numpy()
    codes = np.unique(frame["group_key"].to_numpy(), return_inverse=True)[1]
    _, earliest = np.unique(codes[np.argsort(known_at, kind="stable")], return_index=True)
    first = np.sort(known_at, kind="stable")[earliest]
    counted = known_at == first[codes]
    less = less_lost(label, p, r)["brier"][counted]
    means = np.bincount(codes[counted], weights=less) / np.bincount(codes[counted])
    order = np.argsort(first, kind="stable")
    reach = np.maximum(np.abs(np.square(r) - np.square(p)), np.abs(np.square(1 - r) - np.square(1 - p)))
    return Stream(means[order], first[order], float(reach.max(initial=0.0)))


def harm(differences: np.ndarray, alpha: float, *, bound: float, margin: float = 0.0) -> Sequential:
    """Whether the mean difference has been shown to lie below -margin, at any time so far.

    differences (n,): in order of arrival, above 0 where the candidate was better, none beyond ``bound`` in
    size; the bound is known before they are. Who bets against "at least -margin" a fixed share of the
    capital each time has, without harm, a capital that no more often than ``alpha`` ever reaches 1 / alpha
    (Ville); the mean over twenty shares is such a capital too, needs no choosing, and holds at any n
    (Waudby-Smith and Ramdas 2024, J. R. Statist. Soc. B 86). Raises ValueError for a difference that is
    missing or beyond the bound.
    """
    differences = np.asarray(differences, dtype=float)
    if not (np.abs(differences) <= bound + 1e-12).all():
        raise ValueError(f"a difference is missing or beyond the bound {bound}")
    if not 0 < alpha < 1 or margin < 0:
        raise ValueError(f"alpha {alpha} must lie between 0 and 1, and margin {margin} not below 0")
    if len(differences) == 0 or bound + margin == 0:
        return Sequential(1.0, len(differences), None)
    gains = -(differences + margin) / (bound + margin)
    capital = np.exp(np.cumsum(np.log1p(gains[:, None] * _BETS), axis=0)).mean(axis=1)
    shown = np.flatnonzero(capital >= 1 / alpha)
    return Sequential(
        p_value=min(1.0, 1 / float(capital.max())),
        n=len(differences),
        first=int(shown[0]) + 1 if len(shown) else None,
    )


def benefit(differences: np.ndarray, alpha: float, *, bound: float, margin: float = 0.0) -> Sequential:
    """Whether the mean difference has been shown to lie above the margin; else as ``harm``."""
    return harm(-np.asarray(differences, dtype=float), alpha, bound=bound, margin=margin)


def share_difference(happened: np.ndarray, arm: np.ndarray, group: np.ndarray, *, alpha: float) -> Interval:
    """How much more often something happened in the arm than beside it, with ``alpha`` beyond either end.

    happened, arm (n,) bool, group (n,): the unit that was assigned. Clustered by group; two cases are added
    to each side, of which it happened in one, so that a few cases without an event are not certainty
    (Agresti and Caffo 2000, Am. Statist. 54). Without cases on both sides it is NaN.
    """
    happened, arm = np.asarray(happened, dtype=bool), np.asarray(arm, dtype=bool)
    if not len(happened) == len(arm) == len(group):
        raise ValueError(f"{len(happened)} cases, {len(arm)} arms and {len(group)} groups; give one each")
    sides = [(happened[side], np.asarray(group)[side]) for side in (arm, ~arm)]
    if min(len(cases) for cases, _ in sides) == 0:
        return Interval(math.nan, math.nan, math.nan, len(happened))
    low, high = clusters.difference(*(_share(*side) for side in sides)).ends(alpha)
    value = float(sides[0][0].mean() - sides[1][0].mean())
    return Interval(value, min(low, value), max(high, value), len(happened))


@dataclass(frozen=True)
class WatchErrors:
    """The error of each signal of a watch: of harm over all days, of the others each day."""

    harm: float
    overrules: float
    reviews: float
    impact: float


def watch_errors(watch: "Watch") -> WatchErrors:
    """The declared error of a watch, a quarter to each of its four signals.

    Harm may be looked at any day and keeps its quarter; the others share theirs over the days (Bonferroni).
    """
    quarter = watch.significance.value / 4
    daily = quarter / watch.days.value
    return WatchErrors(harm=quarter, overrules=daily, reviews=daily, impact=daily)


def _share(happened: np.ndarray, group: np.ndarray) -> clusters.Mean:
    codes = np.unique(group.astype(str), return_inverse=True)[1]
    groups = codes.max() + 1
    values = np.r_[happened.astype(float), 1.0, 0.0]
    return clusters.mean(values, np.ones(len(values)), np.r_[codes, groups, groups + 1])


def _ascending(values: Sequence[float]) -> bool:
    return len(values) > 0 and bool((np.diff(np.r_[0.0, values]) > 0).all())


def _tail(boundaries: Sequence[float], information: Sequence[float], time: float) -> Callable[[float], float]:
    """P(no boundary crossed before, and z > the argument at this time), as a function of z.

    The recursive integration of Armitage, McPherson and Rowe (1969, J. R. Statist. Soc. A 132), on the
    scale of the score z·sqrt(information), whose increments are independent.
    """
    if not len(boundaries):
        return norm.sf
    points, density = _passed(boundaries[0], information[0])
    mass = density * norm.pdf(points / math.sqrt(information[0])) / math.sqrt(information[0])
    for number in range(1, len(boundaries)):
        step = math.sqrt(information[number] - information[number - 1])
        following, width = _passed(boundaries[number], information[number])
        mass = width * (norm.pdf((following[:, None] - points) / step) / step @ mass)
        points = following
    step = math.sqrt(time - information[len(boundaries) - 1])
    return lambda z: float(np.dot(norm.sf((z * math.sqrt(time) - points) / step), mass))


def _passed(boundary: float, time: float) -> tuple[np.ndarray, np.ndarray]:
    """Points of the score below the boundary at this time, and their weights (Gauss and Legendre)."""
    low, high = -_FAR * math.sqrt(time), boundary * math.sqrt(time)
    half = (high - low) / 2
    return low + half * (_NODES + 1), half * _WEIGHTS
