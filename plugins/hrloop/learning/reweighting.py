"""The monthly rhythm's weights: how strongly each feature may be used, and why, in words. Pure.

Three voices are heard. *Performance*: what the champion loses on newer outcomes when a feature is shuffled.
*Drift*: how far a feature has moved since training. *Overrules*: reason codes that reviewers give more often
than evenly, or in some context far more often than elsewhere. Each multiplies a feature's weight; the product
is held between 1 / strongest and strongest, so that no voice drops a feature or makes it the only one.

A weight is no effect: it says how often trees may look at a feature, and how freely a linear model may use
it. Whether that was good is for the comparison with the champion to say.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.special import expit
from scipy.stats import binom, hypergeom

from hrloop.evaluation import drift as distributions
from hrloop.evaluation.metrics import Interval, less_lost, means
from hrloop.learning.architecture import Architecture
from hrloop.learning.encoding import CATEGORY, require
from hrloop.learning.errors import LearningError
from hrloop.learning.fitted import Fitted

if TYPE_CHECKING:
    from hrloop.usecase import UseCase

# The noise of shuffling falls with the rows that are shuffled: twenty times some hundred outcomes bring it to
# about a fifth, below that of the outcomes themselves. Of many thousand fewer times do.
SHUFFLES, SHUFFLED_ROWS = 20, 40_000


@dataclass(frozen=True)
class Weights:
    """The weight of every feature, and what was said for and against it, in words."""

    weight: dict[str, float]
    reasons: dict[str, tuple[str, ...]]


@dataclass(frozen=True)
class Said:
    """A reason code that was heard: how many times as often as expected it is given, and in which context.

    ``context``: the feature in some of whose categories it is given more often; None for a code that is
    given more often than evenly.
    """

    code: str
    ratio: float
    context: str | None
    words: str


def feature_weights(
    use_case: "UseCase",
    performance: Mapping[str, Interval],
    drift: Mapping[str, float],
    overrides: pd.DataFrame,
) -> Weights:
    """Weights of all declared features by what was measured and what reviewers said.

    performance: as ``feature_performance`` gives it, on outcomes that the champion did not learn from;
    drift: PSI of each feature, as ``feature_drift`` gives it; overrides: one row a review (case_key, verdict,
    reason_code and the case's features). A feature that measurably lowers the loss on newer outcomes has its
    weight multiplied by the root of ``strongest``, one that raises it divided by it; so is one that has
    shifted, unless it still lowers the loss. A reason code multiplies or divides by how many times as often
    as expected it is given. Raises LearningError for a feature that was not measured, ValueError for a drift
    that is missing, MissingColumn.
    """
    names = use_case.feature_names
    unmeasured = sorted(set(names) - (set(performance) & set(drift)))
    if unmeasured:
        raise LearningError(
            f"performance or drift of {', '.join(unmeasured)} was not measured; measure every declared one"
        )
    strongest = use_case.reweighting.strongest.value
    step = float(np.sqrt(strongest))
    weight, reasons = dict.fromkeys(names, 1.0), {name: [] for name in names}

    def say(name: str, factor: float, words: str) -> None:
        weight[name] *= factor
        reasons[name].append(words)

    for name in names:
        loss, moved = performance[name], drift[name]
        holds = loss.is_above(0.0)
        told = f"shuffled, it makes log loss on {loss.n} newer outcomes {loss.value:+.4f} worse"
        if holds:
            say(name, step, f"{told} ({loss.low:.4f} to {loss.high:.4f}): used more")
        elif loss.is_below(0.0):
            say(name, 1 / step, f"{told} ({loss.low:.4f} to {loss.high:.4f}): used less")
        if distributions.band(moved) == "shifted":
            shifted = f"it has shifted since training (PSI {moved:.2f})"
            if holds:
                reasons[name].append(f"{shifted}, and still holds on newer outcomes")
            else:
                say(name, 1 / step, f"{shifted}: trusted less")
    for said in heard(use_case, overrides):
        about = use_case.reviews.about[said.code]
        factor = min(said.ratio, strongest)
        if said.context is not None:
            say(said.context, factor, f"{said.words}: tells where {', '.join(about.features)} counts")
        if about.counts == "more":
            for name in about.features:
                say(name, factor, f"{said.words}: counts for more")
        elif said.context is None:
            for name in about.features:
                say(name, 1 / factor, f"{said.words}: counts for less")
    return Weights(
        {name: round(min(max(value, 1 / strongest), strongest), 4) for name, value in weight.items()},
        {name: tuple(words) for name, words in reasons.items()},
    )


def reweighted(use_case: "UseCase", architecture: Architecture, weights: Weights) -> Architecture:
    """The architecture under these weights, in place of those it had.

    Trees then draw the declared share of columns at each split; where all weigh the same there is nothing to
    draw by, and the parameters stay.
    """
    parameters = dict(architecture.parameters)
    if architecture.kind != "linear" and len(set(weights.weight.values())) > 1:
        parameters["colsample_bynode"] = use_case.reweighting.drawn.value
    return replace(architecture, parameters=parameters, feature_weights=weights.weight)


def feature_performance(
    fitted: Fitted, frame: pd.DataFrame, label: np.ndarray, weight: np.ndarray, seed: int
) -> dict[str, Interval]:
    """How much worse log loss becomes when a feature is shuffled: permutation importance (Breiman 2001).

    frame: (n, group_key and the features) of matured decisions that the model did not learn from; label and
    weight: (n,). A shuffle gives each group the values of another one, so that what is the same for a whole
    group stays so. Intervals are over groups, 95 %; NaN ends where there are too few. A feature whose twin
    is left in place shows little.
    """
    matrix, n = fitted.encode(frame).matrix, len(frame)
    if n == 0:
        raise LearningError("no matured decisions to measure features on; wait for outcomes")
    shuffles = max(1, min(SHUFFLES, SHUFFLED_ROWS // n))
    donors = _donors(frame["group_key"], shuffles, seed)
    group = np.tile(frame["group_key"].astype(str).to_numpy(dtype=object), shuffles)
    label, weight = np.tile(label, shuffles), np.tile(weight, shuffles)
    probability = np.tile(_probability(fitted, matrix), shuffles)
    tiled = np.tile(matrix, (shuffles, 1))
    worse = {}
    for index, name in enumerate(fitted.feature_names):
        tiled[:, index] = matrix[donors, index]
        worse[name] = less_lost(label, probability, _probability(fitted, tiled))["log_loss"]
        tiled[:, index] = np.tile(matrix[:, index], shuffles)
    return {name: replace(mean, n=n) for name, mean in means(worse, group, weight, seed=seed).items()}


def feature_drift(use_case: "UseCase", training: pd.DataFrame, newest: pd.DataFrame) -> dict[str, float]:
    """PSI of each feature between the cases learnt from and the newest ones. Raises ValueError for no cases,
    MissingColumn."""
    names = use_case.feature_names
    require(training, names, "the training frame")
    require(newest, names, "the frame of newest cases")
    return {name: distributions.psi_of_values(training[name], newest[name]) for name in names}


def heard(use_case: "UseCase", overrides: pd.DataFrame) -> list[Said]:
    """The reason codes that reviewers give more often than chance explains, overall and in a context.

    Overall: more often than if all declared codes were given evenly (exact binomial test). In a context: more
    often in a category than elsewhere (Fisher's exact test); of the features that show it, the one with the
    smallest p-value is taken for the context, and to its categories that show it are added those that do so
    beside what is left. One-sided, and corrected over all codes and categories together after Holm (1979);
    the added ones after Bonferroni. A case counts once for a code; a code given fewer than
    ``minimum_overrides`` times is not heard. Raises MissingColumn.
    """
    require(
        overrides,
        ["case_key", "verdict", "reason_code", *use_case.feature_names],
        "the frame of overrides",
    )
    overrules = overrides[overrides["verdict"] == "overrule"].drop_duplicates(["case_key", "reason_code"])
    tests, alpha = _tests(use_case, overrules), use_case.reweighting.significance.value
    passed = tests[_holm(tests["p"].to_numpy()) <= alpha]
    found = []
    for code, rows in passed.groupby("code", sort=True):
        given = (overrules["reason_code"] == code).to_numpy(dtype=bool)
        if rows["feature"].isna().any():
            even = 1 / len(use_case.reviews.reason_codes)
            words = f"{code}: {given.sum()} of {len(given)} overrules, where {even:.0%} would be even"
            found.append(Said(str(code), float(given.mean() / even), None, words))
        contexts = rows[rows["feature"].notna()]
        if len(contexts):
            feature = contexts.sort_values(["p", "feature"], kind="stable")["feature"].iloc[0]
            shown = set(contexts.loc[contexts["feature"] == feature, "category"])
            inside = _context(overrules[feature], given, shown, alpha / len(tests))
            found.append(_in_context(str(code), given, feature, overrules[feature], inside))
    return found


def _tests(use_case: "UseCase", overrules: pd.DataFrame) -> pd.DataFrame:
    """One row a test: code, feature and category (None for the code overall), p."""
    total, even = len(overrules), 1 / len(use_case.reviews.reason_codes)
    tests = []
    for code, about in use_case.reviews.about.items():
        given = (overrules["reason_code"] == code).to_numpy(dtype=bool)
        number = int(given.sum())
        if number < use_case.reweighting.minimum_overrides.value:
            continue
        tests.append((code, None, None, binom.sf(number - 1, total, even)))
        for feature in use_case.features:
            if feature.type != CATEGORY or feature.name in about.features:
                continue
            p = _more_often(overrules[feature.name], given)
            tests += [(code, feature.name, category, value) for category, value in p.items()]
    return pd.DataFrame(tests, columns=["code", "feature", "category", "p"])


def _more_often(values: pd.Series, given: np.ndarray) -> pd.Series:
    """P-value by category: how probable at least so many codes in it are, if its rows were drawn from all."""
    codes, categories = pd.factorize(values, sort=True)
    rows = np.bincount(codes[codes >= 0], minlength=len(categories))
    both = np.bincount(codes[given & (codes >= 0)], minlength=len(categories))
    return pd.Series(hypergeom.sf(both - 1, len(given), given.sum(), rows), index=categories)


def _context(values: pd.Series, given: np.ndarray, shown: set[str], level: float) -> np.ndarray:
    """Whether each row (n,) is of a category in which the code is given more often than elsewhere.

    Two such categories hide each other, each being the other's elsewhere; so what is left after the first
    ones is looked at again.
    """
    while True:
        inside = values.isin(shown).to_numpy(dtype=bool)
        p = _more_often(values[~inside], given[~inside])
        if not (p <= level).any():
            return inside
        shown = shown | set(p[p <= level].index)


def _in_context(code: str, given: np.ndarray, feature: str, values: pd.Series, inside: np.ndarray) -> Said:
    here, there = given[inside], given[~inside]
    where = ", ".join(sorted(values[inside].unique()))
    words = (
        f"{code}: {here.sum()} of {len(here)} overrules in {where} ({feature}), "
        f"{there.sum()} of {len(there)} elsewhere"
    )
    # half a case added to each cell: never given elsewhere is no infinite ratio
    ratio = ((here.sum() + 0.5) / (len(here) + 1)) / ((there.sum() + 0.5) / (len(there) + 1))
    return Said(code, float(ratio), feature, words)


def _holm(p: np.ndarray) -> np.ndarray:
    """P-values (m,) adjusted after Holm (1979): below alpha, the error over all of them is at most alpha."""
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def _donors(group: pd.Series, shuffles: int, seed: int) -> np.ndarray:
    """For each shuffle and row (shuffles * n,), a random row of the group that its group is given."""
    codes, uniques = pd.factorize(group)
    order = np.argsort(codes, kind="stable")
    size = np.bincount(codes, minlength=len(uniques))
    first = np.cumsum(size) - size
    random = np.random.default_rng(seed)
    donors = []
    for _ in range(shuffles):
        donor = random.permutation(len(uniques))[codes]
        donors.append(order[first[donor] + (random.random(len(codes)) * size[donor]).astype(int)])
    return np.concatenate(donors)


def _probability(fitted: Fitted, matrix: np.ndarray) -> np.ndarray:
    return fitted.calibrator.probability(expit(fitted.learnt.margin(matrix)))
