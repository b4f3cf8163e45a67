"""A feature that is known only after the decision makes a brilliant model that is of no use. It is caught
here by what gives it away, and refused by name.
"""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from hrloop.learning.encoding import BOOLEAN, CATEGORY, NUMBER, require
from hrloop.learning.errors import LeakError, MissingColumn
from hrloop.learning.propensity import fold_of

if TYPE_CHECKING:
    from hrloop.usecase import Feature, Leaks, UseCase

REMEDY = "take it as it stood at the decision, or take it out of features"
ENOUGH = 20_000  # labelled decisions: an AUC of 0.9 is then known to about 0.01 at one outcome in twenty
_FOLDS = 5


def check(
    use_case: "UseCase",
    training: pd.DataFrame,
    scoring: pd.DataFrame,
    decided_snapshot: pd.DataFrame | None = None,
) -> None:
    """Refuse features that look as if they were known only after the decision.

    training: decisions with label_status, label and the features; scoring: open cases with the features;
    decided_snapshot: features as logged when decided, with case_key. Looks for a feature that
    (a) open cases lack and labelled ones have, or that is one number for all open cases and not for
    labelled ones; (b) alone tells good outcomes from bad better than anything known before could;
    (c) differs, for the same case, from what was logged at the decision.
    Too few cases for a rule (``minimum_cases``) leave it out. Raises LeakError naming each feature, why,
    and the remedy; MissingColumn.
    """
    names = use_case.feature_names
    require(training, [*names, "label_status", "label"], "the training frame")
    require(scoring, names, "the scoring frame")
    rules = use_case.leaks
    observed = (training["label_status"] == "observed").to_numpy(dtype=bool, na_value=False)
    labelled = training.loc[observed].sort_values("decision_id", ignore_index=True)
    if len(labelled) > ENOUGH:
        drawn = pd.util.hash_array(labelled["decision_id"].to_numpy(dtype=object)) / 2.0**64
        labelled = labelled[drawn < ENOUGH / len(labelled)].reset_index(drop=True)
    fold = fold_of(labelled["decision_id"].astype(str), _FOLDS)
    findings: dict[str, str] = {}
    for feature in use_case.features:
        why = (
            _differs_when_open(feature, labelled[feature.name], scoring[feature.name], rules)
            or _separates(feature, labelled, fold, rules)
            or _changed_since(feature, training, decided_snapshot, rules)
        )
        if why:
            findings[feature.name] = f"{why}; {REMEDY}"
    if findings:
        raise LeakError(findings)


def separation(feature_type: str, values: pd.Series, label: np.ndarray, fold: np.ndarray) -> float:
    """How well one feature alone tells labels apart: exact AUC, 0.5 when it does not, 1 when it wholly does.

    A number may do so in either direction, or by being missing. A category is turned into the mean label
    of its other folds, so that a category of a single row says nothing about itself; that mean has one
    direction only, and falls below 0.5 where it is noise.
    """
    target = label.astype(float)
    if feature_type == CATEGORY:
        return _auc(
            _cross_fitted_mean(values.astype(object).where(values.notna(), None), target, fold), label
        )
    numbers = values.to_numpy(dtype=float, na_value=np.nan)
    missing = np.isnan(numbers)
    best = 0.5
    if missing.any():
        best = max(best, _either_way(missing.astype(float), label))
    if (~missing).any() and len(np.unique(label[~missing])) == 2:
        # of those who have it only, and as much as those are: a handful of present values proves nothing
        share = (~missing).mean()
        best = max(best, 0.5 + share * (_either_way(numbers[~missing], label[~missing]) - 0.5))
    return best


def _differs_when_open(
    feature: "Feature", decided: pd.Series, open_: pd.Series, rules: "Leaks"
) -> str | None:
    if min(len(decided), len(open_)) < rules.minimum_cases.value:
        return None
    missing_open, missing_decided = float(open_.isna().mean()), float(decided.isna().mean())
    if missing_open - missing_decided > rules.missing_gap.value:
        return (
            f"missing for {missing_open:.0%} of {len(open_)} open cases and for only {missing_decided:.0%} "
            f"of {len(decided)} with a label, so it is filled in afterwards"
        )
    if feature.type not in (NUMBER, BOOLEAN):
        return None
    numbers = open_.dropna().to_numpy(dtype=float)
    if len(numbers) == 0 or (numbers != numbers[0]).any():
        return None
    same = float((decided.to_numpy(dtype=float, na_value=np.nan) == numbers[0]).mean())
    if 1.0 - same > rules.missing_gap.value:
        return (
            f"{numbers[0]:g} for every one of {len(open_)} open cases and for only {same:.0%} of "
            f"{len(decided)} with a label, so it is counted afterwards"
        )
    return None


def _separates(feature: "Feature", labelled: pd.DataFrame, fold: np.ndarray, rules: "Leaks") -> str | None:
    label = labelled["label"].to_numpy(dtype=float)
    if len(label) < rules.minimum_cases.value or len(np.unique(label)) < 2:
        return None
    auc = separation(feature.type, labelled[feature.name], label, fold)
    if auc <= rules.separation_auc.value:
        return None
    return (
        f"alone it tells {len(label)} good and bad outcomes apart with an AUC of {auc:.3f}, above "
        f"{rules.separation_auc.value:g} ({' '.join(rules.separation_auc.reason.split())})"
    )


def _changed_since(
    feature: "Feature", training: pd.DataFrame, snapshot: pd.DataFrame | None, rules: "Leaks"
) -> str | None:
    if snapshot is None:
        return None
    if feature.name not in snapshot.columns:
        return None  # was not a feature when those decisions were made
    for where, frame in [("the training frame", training), ("the decided snapshot", snapshot)]:
        if "case_key" not in frame.columns:
            raise MissingColumn(["case_key"], where)
    both = training[["case_key", feature.name]].merge(
        snapshot[["case_key", feature.name]], on="case_key", suffixes=("", "_logged")
    )
    if len(both) < rules.minimum_cases.value:
        return None
    now, then = both[feature.name], both[f"{feature.name}_logged"]
    if feature.type == CATEGORY:
        equal = (now.astype(object) == then.astype(object)).to_numpy(dtype=bool, na_value=False)
    else:
        equal = np.isclose(
            now.to_numpy(dtype=float, na_value=np.nan), then.to_numpy(dtype=float, na_value=np.nan), rtol=1e-6
        )
    differing = float((~(equal | (now.isna() & then.isna()).to_numpy())).mean())
    if differing <= rules.snapshot_mismatch.value:
        return None
    return (
        f"for {differing:.0%} of {len(both)} decided cases the training frame holds another value than was "
        "logged at the decision, so it changes afterwards"
    )


def _auc(score: np.ndarray, label: np.ndarray) -> float:
    """Exact AUC by ranks, ties counted half; both classes must be there."""
    positive = label == 1
    n_positive, n_negative = int(positive.sum()), int((~positive).sum())
    above = rankdata(score)[positive].sum() - n_positive * (n_positive + 1) / 2
    return float(above / (n_positive * n_negative))


def _either_way(score: np.ndarray, label: np.ndarray) -> float:
    auc = _auc(score, label)
    return max(auc, 1 - auc)


def _cross_fitted_mean(values: pd.Series, target: np.ndarray, fold: np.ndarray) -> np.ndarray:
    codes, uniques = pd.factorize(values, use_na_sentinel=False)
    sums = np.zeros((_FOLDS, len(uniques)))
    counts = np.zeros((_FOLDS, len(uniques)))
    np.add.at(sums, (fold, codes), target)
    np.add.at(counts, (fold, codes), 1.0)
    other_sums, other_counts = sums.sum(axis=0) - sums, counts.sum(axis=0) - counts
    overall = target.mean()
    # one pseudo-row at the overall mean: a category seen nowhere else says nothing
    means = (other_sums + overall) / (other_counts + 1.0)
    return means[fold, codes]
