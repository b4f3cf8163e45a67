"""How many cases a comparison needs. Pure."""

import math

from scipy.stats import norm


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


def _check(base: float, other: float) -> None:
    if not (0 < base < 1 and 0 < other < 1 and base != other):
        raise ValueError(f"rates {base} and {other} must differ and lie between 0 and 1")
