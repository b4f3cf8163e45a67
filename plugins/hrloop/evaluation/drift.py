"""How far a distribution has moved: population stability index, and Kolmogorov-Smirnov. Pure.

PSI = Σ (actual - expected) · ln(actual / expected) over bins. Bands after Siddiqi, Credit Risk Scorecards
(2006): below 0.10 stable, below 0.25 shifting, from there shifted.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.stats import ks_2samp

if TYPE_CHECKING:
    from hrloop.usecase import Drift

SHIFTING, SHIFTED = 0.10, 0.25


def psi(expected: np.ndarray, actual: np.ndarray) -> float:
    """PSI between two distributions, given as shares of the same bins, each summing to 1.

    Raises ValueError for shares that are none, and for a bin that is empty on one side only, where PSI is
    infinite: merge it with its neighbour, or use ``psi_of_counts``, which smooths.
    """
    expected, actual = np.asarray(expected, dtype=float), np.asarray(actual, dtype=float)
    if expected.shape != actual.shape or expected.ndim != 1:
        raise ValueError(f"{expected.shape} expected and {actual.shape} actual shares; give the same bins")
    for name, shares in (("expected", expected), ("actual", actual)):
        if not ((shares >= 0).all() and abs(shares.sum() - 1) < 1e-6):
            raise ValueError(f"the {name} shares must be at least 0 and sum to 1; they sum to {shares.sum()}")
    used = (expected > 0) | (actual > 0)
    if ((expected == 0) | (actual == 0))[used].any():
        raise ValueError("a bin is empty on one side only; merge bins, or use psi_of_counts")
    expected, actual = expected[used], actual[used]
    return float(np.sum((actual - expected) * np.log(actual / expected)))


def psi_of_counts(expected: np.ndarray, actual: np.ndarray) -> float:
    """PSI between two rows of counts over the same bins, half a row added to each bin.

    Raises ValueError when a side has no rows: nothing seen is not the same as nothing changed.
    """
    expected, actual = np.asarray(expected, dtype=float), np.asarray(actual, dtype=float)
    if expected.sum() == 0 or actual.sum() == 0:
        raise ValueError("no rows on one side; drift cannot be told")
    expected, actual = expected + 0.5, actual + 0.5
    return psi(expected / expected.sum(), actual / actual.sum())


def psi_of_values(expected: pd.Series, actual: pd.Series, bins: int = 10) -> float:
    """PSI between two samples of one feature; missing values are a bin of their own.

    Numbers are cut at the quantiles of the expected sample into equally full bins, a value that fills more
    than one being a bin of its own; texts and booleans are their own bins. Raises ValueError when a sample
    has no rows.
    """
    if pd.api.types.is_numeric_dtype(expected) and not pd.api.types.is_bool_dtype(expected):
        before = expected.to_numpy(dtype=float, na_value=np.nan)
        now = actual.to_numpy(dtype=float, na_value=np.nan)
        present = before[~np.isnan(before)]
        edges = _edges(present, bins) if len(present) else []
        last = len(edges) + 1
        counts = [
            np.bincount(
                np.where(np.isnan(values), last, np.searchsorted(edges, values)),
                minlength=last + 1,
            )
            for values in (before, now)
        ]
    else:
        both = pd.concat([expected, actual], ignore_index=True).astype(object)
        codes, uniques = pd.factorize(both, use_na_sentinel=False)
        cut = len(expected)
        counts = [np.bincount(part, minlength=len(uniques)) for part in (codes[:cut], codes[cut:])]
    used = (counts[0] + counts[1]) > 0
    return psi_of_counts(counts[0][used], counts[1][used])


def _edges(values: np.ndarray, bins: int) -> np.ndarray:
    """Upper ends of all bins but the last. A value that stands at several quantiles is closed off below."""
    cuts = np.quantile(values, np.linspace(0, 1, bins + 1))
    distinct, times = np.unique(cuts, return_counts=True)
    heavy = distinct[times > 1]
    return np.unique(np.concatenate([cuts[1:-1], heavy, np.nextafter(heavy, -np.inf)]))


def ks(expected: np.ndarray, actual: np.ndarray) -> tuple[float, float]:
    """Largest distance between two samples' distribution functions, and its p-value (two-sided).

    Missing values are left out: ``psi_of_values`` sees how many there are. Raises ValueError when a sample
    has no values.
    """
    expected, actual = np.asarray(expected, dtype=float), np.asarray(actual, dtype=float)
    expected, actual = expected[~np.isnan(expected)], actual[~np.isnan(actual)]
    if len(expected) == 0 or len(actual) == 0:
        raise ValueError("no values on one side; drift cannot be told")
    found = ks_2samp(expected, actual)
    return float(found.statistic), float(found.pvalue)


def by_feature(expected: pd.DataFrame, actual: pd.DataFrame) -> pd.DataFrame:
    """How far each column of the one frame has moved in the other: a row a feature, the furthest first.

    Columns: feature, psi, band, and of numbers ks (distance) and p_value; these are NaN for texts, and where
    a side has no values. Raises ValueError when a frame has no rows.
    """
    rows = []
    for name in expected.columns:
        before, now = expected[name], actual[name]
        value, distance = psi_of_values(before, now), (np.nan, np.nan)
        if pd.api.types.is_numeric_dtype(before) and before.notna().any() and now.notna().any():
            distance = ks(before.to_numpy(), now.to_numpy())
        rows.append((name, value, band(value), *distance))
    found = pd.DataFrame(rows, columns=["feature", "psi", "band", "ks", "p_value"])
    return found.sort_values("psi", ascending=False, kind="stable", ignore_index=True)


@dataclass(frozen=True)
class Alarm:
    """How many of the features have shifted, which (the furthest first) with their PSI, and whether these
    are more, or one is further, than is declared."""

    features: int
    shifted: tuple[tuple[str, float], ...]
    raised: bool

    def __str__(self) -> str:
        named = ", ".join(f"{name} (PSI {value:.2f})" for name, value in self.shifted)
        return f"{len(self.shifted)} of {self.features} features have shifted" + (
            f": {named}" if named else ""
        )


def alarm(expected: pd.DataFrame, actual: pd.DataFrame, declared: "Drift") -> Alarm | None:
    """Whether so many features have shifted, or one so far, between two sets of cases that what held for the
    one need not hold for the other; None where one has too few cases to tell.

    Both with a column for each feature. Without any change PSI is about (bins - 1) · (1 / n + 1 / m).
    """
    if min(len(expected), len(actual)) < declared.minimum_cases.value:
        return None
    found = {name: psi_of_values(expected[name], actual[name]) for name in expected.columns}
    shifted = sorted(
        ((name, value) for name, value in found.items() if band(value) == "shifted"), key=lambda one: -one[1]
    )
    raised = (
        len(shifted) > declared.shifted_share.value * len(found)
        or max(found.values()) > declared.broken.value
    )
    return Alarm(len(found), tuple(shifted), raised)


def band(value: float) -> str:
    """``stable``, ``shifting`` or ``shifted``. Raises ValueError for a PSI that is missing."""
    if not np.isfinite(value):
        raise ValueError("PSI is missing; a drift that was not measured is not small")
    return "stable" if value < SHIFTING else "shifting" if value < SHIFTED else "shifted"
