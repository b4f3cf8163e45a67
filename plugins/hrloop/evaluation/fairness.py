"""Whether one group is selected less often than another, and whether that could be chance. Pure.

The four-fifths rule (EEOC Uniform Guidelines, 1978, section 4D): a group's selection rate below four fifths
of the highest group's rate points to adverse impact. A ratio alone is noise in small groups, so a finding
needs Fisher's exact test as well, and below a minimum number the answer is ``undetermined``.

Who is decided on every month is not a new person each time: such counts are divided by their design effect
before anything is told from them (Rao and Scott, 1992, Biometrics 48, 577-585).
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import numpy as np
import pandas as pd
from scipy.stats import beta, fisher_exact

from hrloop.evaluation.metrics import Interval

Finding = Literal["adverse", "none", "undetermined"]


@dataclass(frozen=True)
class Impact:
    """Selection of one group against the reference group.

    ``below``: whether the ratio is below the threshold, compared exactly; ``finding``: ``adverse`` when it
    is and chance does not explain it, ``undetermined`` when either group is too small, else ``none``.
    ``p_value``, ``ratio`` and the size of a group are told from counts divided by their design effect.
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


def impacts(
    selected: np.ndarray,
    group: np.ndarray,
    person: np.ndarray,
    *,
    threshold: float,
    significance: float,
    minimum: int,
) -> list[Impact]:
    """The selection of each group against that of the group selected most often, by name of the group.

    selected (bool), group, person: (n,), a row for each decision; a person may be decided on more than once.
    """
    rows = pd.DataFrame({"selected": selected, "group": np.asarray(group, str), "person": person})
    counts = rows.groupby("group")["selected"].agg(["sum", "size"])
    return impact_ratios(
        {name: int(n) for name, n in counts["sum"].items()},
        {name: int(n) for name, n in counts["size"].items()},
        {
            name: design_effect(part["selected"].to_numpy(), part["person"].to_numpy())
            for name, part in rows.groupby("group")
        },
        threshold=threshold,
        significance=significance,
        minimum=minimum,
    )


def impact_ratios(
    selected: dict[str, int],
    decided: dict[str, int],
    effects: dict[str, float] | None = None,
    *,
    threshold: float = 0.80,
    significance: float = 0.05,
    minimum: int = 30,
    level: float = 0.95,
) -> list[Impact]:
    """The same from numbers of decisions by group, with the design effect of each group (none: 1).

    Intervals are exact: Clopper-Pearson for either rate at half the error each, so that they hold at least
    ``level`` in groups of any size. Raises ValueError for numbers that cannot be.
    """
    _check(selected, decided)
    if not decided:
        return []
    effects = effects or dict.fromkeys(decided, 1.0)
    rates = {group: Fraction(selected[group], decided[group]) for group in decided}
    worth = {
        group: (round(selected[group] / effects[group]), max(round(decided[group] / effects[group]), 1))
        for group in decided
    }
    large = [group for group in sorted(decided) if worth[group][1] >= minimum]
    # a group too small for a verdict on itself is no measure for others either, if there is a larger one
    reference = max(large or sorted(decided), key=lambda group: rates[group])
    found = []
    for group in sorted(set(decided) - {reference}):
        (k, n), (k_ref, n_ref) = worth[group], worth[reference]
        p_value = float(fisher_exact([[k, n - k], [k_ref, n_ref - k_ref]]).pvalue)
        # fractions: 48 % of 60 % is exactly four fifths, which floats deny
        below = rates[group] < Fraction(str(threshold)) * rates[reference]
        if min(n, n_ref) < minimum:
            finding: Finding = "undetermined"
        else:
            finding = "adverse" if below and p_value < significance else "none"
        found.append(
            Impact(
                group=group,
                reference=reference,
                selected=selected[group],
                n=decided[group],
                rate=float(rates[group]),
                ratio=_ratio(rates[group], rates[reference], worth[group], worth[reference], level),
                p_value=p_value,
                below=below,
                finding=finding,
            )
        )
    return found


def design_effect(selected: np.ndarray, person: np.ndarray) -> float:
    """How many decisions (n,) on people who recur are worth one on a person of its own; at least 1.

    The variance of the rate between people over that of as many people decided on once. Where all or none
    were selected nothing can be told of it, and each person counts once.
    """
    people = pd.Series(np.asarray(selected, bool)).groupby(np.asarray(person)).agg(["sum", "size"])
    m, n = len(people), len(selected)
    rate = people["sum"].sum() / n
    if m == n:
        return 1.0
    if m == 1 or rate in (0.0, 1.0):
        return n / m
    between = m / (m - 1) * np.square(people["sum"] - people["size"] * rate).sum() / n**2
    return float(max(1.0, n * between / (rate * (1 - rate))))


def exact_rate(selected: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Clopper-Pearson interval of a rate."""
    tail = (1 - level) / 2
    low = beta.ppf(tail, selected, n - selected + 1) if selected else 0.0
    high = beta.ppf(1 - tail, selected + 1, n - selected) if selected < n else 1.0
    return float(low), float(high)


def _ratio(
    rate: Fraction, reference: Fraction, worth: tuple[int, int], worth_ref: tuple[int, int], level: float
) -> Interval:
    each = 1 - (1 - level) / 2
    low, high = exact_rate(*worth, each)
    low_ref, high_ref = exact_rate(*worth_ref, each)
    return Interval(
        value=float(rate / reference) if reference else float("nan"),
        low=low / high_ref,
        high=high / low_ref if low_ref else float("inf"),
        n=worth[1] + worth_ref[1],
    )


def _check(selected: dict[str, int], decided: dict[str, int]) -> None:
    if set(selected) != set(decided):
        raise ValueError(f"selected has groups {sorted(selected)}, decided has {sorted(decided)}; give both")
    for group, n in decided.items():
        if not (isinstance(n, int | np.integer) and isinstance(selected[group], int | np.integer)):
            raise ValueError(f"group {group}: numbers of people are whole")
        if not 0 <= selected[group] <= n or n == 0:
            raise ValueError(f"group {group}: {selected[group]} selected of {n} decided cannot be")
