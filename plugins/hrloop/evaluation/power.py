"""How many cases a comparison needs, and how often it sees a difference that is there. Pure."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from hrloop.evaluation import clusters, metrics


def sample_size(base: float, other: float, *, alpha: float = 0.05, power: float = 0.80) -> int:
    """Cases per arm to tell two rates apart, two-sided, with two equal arms.

    Miller's formula (evanmiller.org, "How not to run an A/B test"): the variance under no difference is
    that of the base rate. Rounded to the nearest, as published.
    """
    _check(base, other)
    z_alpha, z_power = norm.ppf(1 - alpha / 2), norm.ppf(power)
    none = math.sqrt(2 * base * (1 - base))
    some = math.sqrt(base * (1 - base) + other * (1 - other))
    return round(((z_alpha * none + z_power * some) / (other - base)) ** 2)


def sample_sizes(
    base: float, other: float, *, share: float, alpha: float = 0.05, power: float = 0.80
) -> tuple[int, int]:
    """Cases in (the base arm, the other arm) when the other gets this share of all, two-sided pooled z-test.

    The variance under no difference is that of the pooled rate (Fleiss, Levin & Paik 2003, section 4.3,
    without continuity correction).
    """
    _check(base, other)
    if not 0 < share < 1:
        raise ValueError(f"share is {share}; it must lie between 0 and 1")
    z_alpha, z_power = norm.ppf(1 - alpha / 2), norm.ppf(power)
    pooled = (1 - share) * base + share * other
    none = math.sqrt(pooled * (1 - pooled) / (share * (1 - share)))
    some = math.sqrt(base * (1 - base) / (1 - share) + other * (1 - other) / share)
    total = ((z_alpha * none + z_power * some) / (other - base)) ** 2
    return math.ceil(total * (1 - share)), math.ceil(total * share)


@dataclass(frozen=True)
class Labelled:
    """Matured labels scored by two versions; all (n,)."""

    label: np.ndarray
    probability: np.ndarray
    reference: np.ndarray
    group: np.ndarray
    weight: np.ndarray


def seen(
    draw: Callable[[np.random.Generator], Labelled], alpha: float, random: np.random.Generator
) -> tuple[bool, bool]:
    """Whether a lower Brier score is seen at one-sided ``alpha``: (paired, unpaired), each on labels drawn.

    Paired: both versions on the same labels. Unpaired, as in an A/B test on outcomes: each version on as
    many labels of its own, so on twice as many in all.
    """
    one, other = draw(random), draw(random)
    gain = metrics.paired(one.label, one.probability, one.reference, one.group, one.weight, alpha=alpha)
    codes = np.unique(one.group, return_inverse=True)[1], np.unique(other.group, return_inverse=True)[1]
    apart = clusters.difference(
        clusters.mean(np.square(other.label - other.reference), other.weight, codes[1]),
        clusters.mean(np.square(one.label - one.probability), one.weight, codes[0]),
    )
    return gain["brier"].is_above(0.0), apart.ends(alpha)[0] > 0


def _check(base: float, other: float) -> None:
    if not (0 < base < 1 and 0 < other < 1 and base != other):
        raise ValueError(f"rates {base} and {other} must differ and lie between 0 and 1")
