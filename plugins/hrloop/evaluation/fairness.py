"""Whether one group is selected less often than another, and whether that could be chance. Pure.

The four-fifths rule (EEOC Uniform Guidelines, 1978, section 4D): a group's selection rate below four fifths
of the highest group's rate points to adverse impact. A ratio alone is noise in small groups, so a finding
needs Fisher's exact test as well, and below a minimum number the answer is ``undetermined``.
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import numpy as np
from scipy.stats import beta, fisher_exact

from hrloop.evaluation.metrics import Interval

Finding = Literal["adverse", "none", "undetermined"]


@dataclass(frozen=True)
class Impact:
    """Selection of one group against the reference group.

    ``below``: whether the ratio is below the threshold, compared exactly; ``finding``: ``adverse`` when it
    is and chance does not explain it, ``undetermined`` when either group is too small, else ``none``.
    """

    group: str
    reference: str
    selected: int
    n: int
    rate: float
    ratio: Interval
    p_value: float
    below: bool
    finding: Finding


def impact_ratios(
    selected: dict[str, int],
    decided: dict[str, int],
    *,
    threshold: float = 0.80,
    significance: float = 0.05,
    minimum: int = 30,
    level: float = 0.95,
) -> list[Impact]:
    """The selection of each group against that of the group selected most often, by name of the group.

    selected, decided: numbers of people by group. Intervals are exact: Clopper-Pearson for either rate at
    half the error each, so that they hold at least ``level`` in groups of any size. Raises ValueError for
    numbers that cannot be.
    """
    _check(selected, decided)
    if not decided:
        return []
    rates = {group: Fraction(selected[group], decided[group]) for group in decided}
    large = [group for group in sorted(decided) if decided[group] >= minimum]
    # a group too small for a verdict on itself is no measure for others either, if there is a larger one
    reference = max(large or sorted(decided), key=lambda group: rates[group])
    return [
        _impact(group, reference, selected, decided, rates, threshold, significance, minimum, level)
        for group in sorted(decided)
        if group != reference
    ]


def exact_rate(selected: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Clopper-Pearson interval of a rate."""
    tail = (1 - level) / 2
    low = beta.ppf(tail, selected, n - selected + 1) if selected else 0.0
    high = beta.ppf(1 - tail, selected + 1, n - selected) if selected < n else 1.0
    return float(low), float(high)


def _impact(
    group: str,
    reference: str,
    selected: dict[str, int],
    decided: dict[str, int],
    rates: dict[str, Fraction],
    threshold: float,
    significance: float,
    minimum: int,
    level: float,
) -> Impact:
    k, n, k_ref, n_ref = selected[group], decided[group], selected[reference], decided[reference]
    p_value = float(fisher_exact([[k, n - k], [k_ref, n_ref - k_ref]]).pvalue)
    # fractions: 48 % of 60 % is exactly four fifths, which floats deny
    below = rates[group] < Fraction(str(threshold)) * rates[reference]
    if min(n, n_ref) < minimum:
        finding: Finding = "undetermined"
    else:
        finding = "adverse" if below and p_value < significance else "none"
    return Impact(
        group=group,
        reference=reference,
        selected=k,
        n=n,
        rate=float(rates[group]),
        ratio=_ratio(k, n, k_ref, n_ref, level),
        p_value=p_value,
        below=below,
        finding=finding,
    )


def _ratio(k: int, n: int, k_ref: int, n_ref: int, level: float) -> Interval:
    each = 1 - (1 - level) / 2
    low, high = exact_rate(k, n, each)
    low_ref, high_ref = exact_rate(k_ref, n_ref, each)
    return Interval(
        value=(k * n_ref) / (n * k_ref) if k_ref else float("nan"),
        low=low / high_ref,
        high=high / low_ref if low_ref else float("inf"),
        n=n + n_ref,
    )


def _check(selected: dict[str, int], decided: dict[str, int]) -> None:
    if set(selected) != set(decided):
        raise ValueError(f"selected has groups {sorted(selected)}, decided has {sorted(decided)}; give both")
    for group, n in decided.items():
        if not (isinstance(n, int | np.integer) and isinstance(selected[group], int | np.integer)):
            raise ValueError(f"group {group}: numbers of people are whole")
        if not 0 <= selected[group] <= n or n == 0:
            raise ValueError(f"group {group}: {selected[group]} selected of {n} decided cannot be")
