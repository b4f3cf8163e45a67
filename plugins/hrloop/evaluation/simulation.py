"""How often the verdicts err, by simulation with the code that makes them. Pure but for its processes.

One truth, two versions that each see it through a noise of their own; cases in groups of one to three whose
noise is alike; labels only for those selected, weighted back. All of it is seeded by run, so that the same
seed gives the same figures on any number of processes.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.special import expit, logit
from scipy.stats import norm

from hrloop.evaluation import metrics, verdict
from hrloop.evaluation.comparison import (
    EXPERIMENTS_A_YEAR,
    Comparison,
    compare,
    error_of_a_run,
    error_of_an_experiment,
)
from hrloop.evaluation.experiment import Look, Sequential, arrivals, harm, o_brien_fleming
from hrloop.evaluation.fairness import exact_rate
from hrloop.evaluation.metrics import Interval
from hrloop.evaluation.power import Labelled, seen

if TYPE_CHECKING:
    from hrloop.usecase import Promotion, UseCase

BEFORE = 1200  # labels known when the simulated time begins: a first champion's thousand and some
_CHUNK = 25  # runs a process is handed at once
_RESAMPLES = 20  # intervals of single metrics are shown and decide nothing, so they may be rough here
_TWO_SIDED = norm.isf(0.025)
_PASSED = Interval(0.0, -0.05, 0.05, 300)  # share overruled, measurably within the margin


@dataclass(frozen=True)
class World:
    """The practice company's order of difficulty: base rate 0.59, champion's AUC 0.74 and Brier score 0.20.

    The true margin (log odds) of a case is normal with ``spread``; a version sees it with a normal noise
    and gives the calibrated probability of what it sees. ``shared``: the part of the noise's variance that
    two versions have in common, as both learnt from much the same labels; ``alike``: the part that cases of
    a group have in common. Those selected were seen by people with a correlation of ``seen`` to the truth
    and preferred by ``preference``, which makes the labels' weights differ up to fivefold.
    """

    centre: float = 0.5
    spread: float = 1.6
    noise: float = 1.4
    shared: float = 0.9
    alike: float = 0.36
    seen: float = 0.4
    preference: float = 0.7
    heaviest: float = 5.0
    base_rate: float = 0.59

    def labels(self, random: np.random.Generator, n: int) -> "Truth":
        """n labels of those selected, in groups of one to three, in the order in which they become known."""
        group = np.repeat(np.arange(n), random.integers(1, 4, n))[:n]
        # selection in proportion to exp(preference * seen) moves a normal by the preference
        by_people = random.normal(self.preference, 1, n)
        weight = np.exp(-self.preference * by_people)
        weight = np.minimum(weight / weight.mean(), self.heaviest)
        own = self._grouped(random, group) * np.sqrt(1 - self.seen**2)
        margin = self.centre + self.spread * (self.seen * by_people + own)
        label = (random.random(n) < expit(margin)).astype(float)
        return Truth(margin, label, group, weight / weight.mean(), self._grouped(random, group))

    def version(self, random: np.random.Generator, truth: "Truth", noise: float) -> np.ndarray:
        """Calibrated probabilities (n,) of a version that sees the margins with this noise."""
        own = self._grouped(random, truth.group)
        view = truth.margin + noise * (np.sqrt(self.shared) * truth.view + np.sqrt(1 - self.shared) * own)
        trust = self.spread**2 / (self.spread**2 + noise**2)
        left = self.spread**2 * (1 - trust)
        # the mean of a logistic over a normal (MacKay 1992, Neural Computation 4)
        return expit((self.centre + trust * (view - self.centre)) / np.sqrt(1 + np.pi * left / 8))

    def _grouped(self, random: np.random.Generator, group: np.ndarray) -> np.ndarray:
        """Standard normal noise (n,), alike within a group."""
        common = random.normal(size=group[-1] + 1)[group]
        return np.sqrt(self.alike) * common + np.sqrt(1 - self.alike) * random.normal(size=len(group))


class Truth(NamedTuple):
    """Labels with what lies behind them, all (n,): ``view`` is the noise that versions share."""

    margin: np.ndarray
    label: np.ndarray
    group: np.ndarray
    weight: np.ndarray
    view: np.ndarray

    def between(self, start: int, end: int) -> "Truth":
        """Those that became known from ``start`` up to before ``end``."""
        return Truth(*(column[start:end] for column in self))


WORLD = World()
# noise of the version beside the champion's 1.4
VERSIONS = {"equal": 1.4, "slightly worse": 1.5, "worse": 1.7, "better": 1.0}
VOLUMES = (150, 1_000, 10_000)
SIZES = (150, 300, 600)
LEVELS = (0.025, 0.005)
# A year's runs that meet new labels: where these come evenly, and where they come once a month.
EVENLY = {"weekly": 52, "monthly": 12}
BY_THE_MONTH = 12
YEAR = {**EVENLY, "quarterly": EXPERIMENTS_A_YEAR}


def statistics(
    use_case: "UseCase",
    runs: int,
    seed: int,
    workers: int = 1,
    watched: Callable[[Iterable, str], Iterable] = lambda found, words: found,
) -> dict[str, Any]:
    """All tables of docs/statistics.md under the thresholds of a use case, as plain data.

    ``watched`` is given the outcomes of each table's row, and words for it, and passes them on, so that a
    command can show how far it is. Shares come with their exact 95 % interval.
    """
    promotion = use_case.promotion

    def shares(run: Callable, words: str) -> list[dict[str, float]]:
        found = np.array(list(watched(outcomes(run, runs, seed, workers), words)), dtype=int)
        return [_share(int(column.sum()), runs) for column in found.T]

    tables: dict[str, Any] = {"runs": runs, "seed": seed, "use_case": use_case.name}
    tables["versions"] = [
        {"version": name, "gain": gain, "correlation": correlation}
        for name, noise in VERSIONS.items()
        for gain, correlation in [true_gain(partial(scored, n=400_000, noise=noise))]
    ]
    tables["experiment"], looks = [], looks_of(use_case)
    for volume in VOLUMES:
        for name, noise in VERSIONS.items():
            run = partial(experiment, use_case=use_case, volume=volume, noise=noise, looks=looks)
            found = shares(run, f"experiment, {volume:,} labels a month, {name}")
            names = ("promoted", "stopped", "naive_promoted", "naive_found")
            tables["experiment"].append(
                {"labels_a_month": volume, "version": name, **dict(zip(names, found, strict=True))}
            )
    lucky = np.array(
        list(watched(outcomes(partial(year, use_case=use_case, looks=looks), runs, seed, workers), "year"))
    )
    budget = {rhythm: getattr(promotion.false_promotions_a_year, rhythm).value for rhythm in YEAR}
    tables["year"] = [
        {"rhythm": rhythm, "candidates": runs_of_it, "budget": budget[rhythm], **_mean(column)}
        for (rhythm, runs_of_it), column in zip(YEAR.items(), lucky.T[: len(YEAR)], strict=True)
    ]
    together = _mean(lucky[:, : len(YEAR)].sum(axis=1))
    tables["year"] += [
        {"rhythm": "all", "candidates": sum(YEAR.values()), "budget": sum(budget.values()), **together},
        {
            "rhythm": "weekly, labels once a month",
            "candidates": BY_THE_MONTH,
            "budget": budget["weekly"],
            **_mean(lucky[:, -1]),
        },
    ]
    tables["power"] = []
    for level in LEVELS:
        for n in SIZES:
            run = partial(power_of, n=n, noise=VERSIONS["better"], alpha=level)
            paired, unpaired = shares(run, f"power at {n} labels")
            tables["power"].append({"labels": n, "alpha": level, "paired": paired, "unpaired": unpaired})
    tables["interval"] = []
    for name, draw in (("equal", scored), ("sharper", sharper)):
        truth, _ = true_gain(partial(draw, n=400_000, noise=WORLD.noise))
        for n in (60, 150, 300):
            run = partial(missed, draw=partial(draw, n=n, noise=WORLD.noise), truth=truth)
            found = shares(run, f"interval at {n} labels, {name}")
            for level, (above, below) in zip(LEVELS, (found[:2], found[2:]), strict=True):
                row = {"version": name, "labels": n, "alpha": level}
                tables["interval"].append({**row, "too_high": above, "too_low": below})
    tables["harm"] = []
    alpha = use_case.experiment.harm_significance.value
    for n in (30, 150, 1_000):
        for name in ("equal", "worse"):
            run = partial(harm_shown, n=n, noise=VERSIONS[name], alpha=alpha)
            (found,) = shares(run, f"harm at {n} labels, {name}")
            tables["harm"].append({"labels": n, "version": name, "alpha": alpha, "shown": found})
    return tables


def outcomes(
    run: Callable[[np.random.Generator], tuple], runs: int, seed: int, workers: int = 1
) -> Iterable[tuple]:
    """What each run came to, in order; the same whatever the number of processes."""
    seeds = np.random.SeedSequence(seed).spawn(runs)
    if workers == 1:
        yield from map(partial(_run, run), seeds)
        return
    with ProcessPoolExecutor(workers) as pool:
        yield from pool.map(partial(_run, run), seeds, chunksize=_CHUNK)


def scored(random: np.random.Generator, n: int, noise: float) -> Labelled:
    """n labels, scored by a version with this noise and by the champion."""
    truth = WORLD.labels(random, n)
    reference, probability = (WORLD.version(random, truth, own) for own in (WORLD.noise, noise))
    return Labelled(truth.label, probability, reference, truth.group, truth.weight)


def sharper(random: np.random.Generator, n: int, noise: float) -> Labelled:
    """As ``scored``, with a version too sure of itself: its losses are rare and large."""
    drawn = scored(random, n, noise)
    return replace(drawn, probability=expit(1.8 * logit(drawn.probability)))


def true_gain(draw: Callable[[np.random.Generator], Labelled]) -> tuple[float, float]:
    """Brier gain of the version over the champion, and the correlation of their losses, on what is drawn."""
    drawn = draw(np.random.default_rng(0))
    losses = [np.square(drawn.label - p) for p in (drawn.reference, drawn.probability)]
    gain = float(np.average(losses[0] - losses[1], weights=drawn.weight))
    return gain, float(np.corrcoef(*losses)[0, 1])


def looks_of(use_case: "UseCase") -> tuple[Look, ...]:
    """The declared looks of an experiment to which labels come evenly."""
    days = use_case.experiment.looks
    alpha = error_of_an_experiment(use_case.promotion.false_promotions_a_year)
    return o_brien_fleming(alpha, [day / days[-1] for day in days])


def experiment(
    random: np.random.Generator, use_case: "UseCase", volume: int, noise: float, looks: tuple[Look, ...]
) -> tuple[bool, bool, bool, bool]:
    """One experiment, looked at daily: promoted, stopped for harm, and what a z-test looked at daily says.

    The latter at 5 % two-sided, unweighted and unclustered: whether it ever found the version better, and
    whether it ever found a difference.
    """
    last = use_case.experiment.looks[-1]
    drawn = scored(random, round(volume * last * 12 / 365), noise)
    day = 1 + np.arange(len(drawn.label)) * last // len(drawn.label)
    ended = _ended(drawn, day, use_case, looks)
    z = _daily_z(metrics.less_lost(drawn.label, drawn.probability, drawn.reference)["brier"], day)
    return (
        ended == "promote",
        ended == "keep",
        bool((z > _TWO_SIDED).any()),
        bool((abs(z) > _TWO_SIDED).any()),
    )


def year(
    random: np.random.Generator, use_case: "UseCase", looks: tuple[Look, ...], volume: int = 150
) -> tuple[int, ...]:
    """Promotions in a year of candidates that all equal the champion: all of them luck. By rhythm as in
    ``YEAR``, and last those of the weekly one where labels come once a month.

    Each weekly and monthly candidate is compared on the newest labels, which overlap from one to the next;
    each quarterly one in an experiment on the labels that become known during it.
    """
    truth = WORLD.labels(random, BEFORE + 12 * volume)
    champion = WORLD.version(random, truth, WORLD.noise)
    budget = use_case.promotion.false_promotions_a_year
    promoted = []
    for rhythm, runs in (*EVENLY.items(), ("weekly", BY_THE_MONTH)):
        whole = getattr(budget, rhythm).value
        alpha, count = error_of_a_run(whole, 1, runs, 0.0, use_case.promotion), 0
        for number in range(1, runs + 1):
            known = BEFORE + round(12 * volume * number / runs)
            start = known - use_case.learner.evaluating(known)
            drawn = _candidate(random, truth, champion, start, known)
            count += _compared(drawn, use_case.promotion, alpha) == "promote"
        promoted.append(count)
    days, count = use_case.experiment.looks[-1], 0
    for number in range(EXPERIMENTS_A_YEAR):
        start = BEFORE + 3 * volume * number
        drawn = _candidate(random, truth, champion, start, start + round(volume * days * 12 / 365))
        day = 1 + np.arange(len(drawn.label)) * days // len(drawn.label)
        count += _ended(drawn, day, use_case, looks) == "promote"
    *evenly, by_the_month = promoted
    return *evenly, count, by_the_month


def power_of(random: np.random.Generator, n: int, noise: float, alpha: float) -> tuple[bool, bool]:
    """Whether the better version is seen on n labels, paired and unpaired (``power.seen``)."""
    return seen(partial(scored, n=n, noise=noise), alpha, random)


def missed(
    random: np.random.Generator, draw: Callable[[np.random.Generator], Labelled], truth: float
) -> tuple[bool, ...]:
    """Whether the paired Brier interval lies above the truth, and below it, at each of the levels."""
    drawn = draw(random)
    found = [_paired(drawn, level)["brier"] for level in LEVELS]
    return tuple(side for gain in found for side in (gain.is_above(truth), gain.is_below(truth)))


def harm_shown(random: np.random.Generator, n: int, noise: float, alpha: float) -> tuple[bool]:
    """Whether harm is shown at any time up to n labels."""
    stream = arrivals(_frame(scored(random, n, noise)).assign(known_at=0))
    return (harm(stream.differences, alpha, bound=stream.bound).shown,)


def _run(run: Callable[[np.random.Generator], tuple], seed: np.random.SeedSequence) -> tuple:
    return run(np.random.default_rng(seed))


def _candidate(
    random: np.random.Generator, truth: Truth, champion: np.ndarray, start: int, end: int
) -> Labelled:
    part = truth.between(start, end)
    probability = WORLD.version(random, part, WORLD.noise)
    return Labelled(part.label, probability, champion[start:end], part.group, part.weight)


def _ended(drawn: Labelled, day: np.ndarray, use_case: "UseCase", looks: tuple[Look, ...]) -> str:
    """The verdict that ends an experiment whose assignment and share overruled raise no doubt."""
    declared, promotion = use_case.experiment, use_case.promotion
    stream = arrivals(_frame(drawn).assign(known_at=day))
    whole = harm(stream.differences, declared.harm_significance.value, bound=stream.bound)
    # on a day harm is read from the groups that arrived by then; the first at which it showed stays so
    shown_on = stream.known_at[whole.first - 1] if whole.shown else declared.looks[-1] + 1
    at = dict(zip(declared.looks, looks, strict=True))
    for today in range(1, declared.looks[-1] + 1):
        known = day <= today
        comparison = None
        if today in at and not _open(_until(drawn, known), promotion, at[today].level):
            comparison = _comparison(_until(drawn, known), promotion, at[today].level)
        found = verdict.experiment(
            verdict.ExperimentSignals(
                day=today,
                sample_ratio=1.0,
                harm=Sequential(whole.p_value, whole.n, whole.first if today >= shown_on else None),
                overrules=_PASSED,
                comparison=comparison,
            ),
            promotion,
            declared,
        )
        if found is not None:
            return found.kind
    raise AssertionError("an experiment ends on its last day")


def _compared(drawn: Labelled, promotion: "Promotion", alpha: float) -> str:
    if _open(drawn, promotion, alpha):
        return "insufficient_evidence"
    return verdict.successor(_comparison(drawn, promotion, alpha), promotion).kind


def _open(drawn: Labelled, promotion: "Promotion", alpha: float) -> bool:
    """Whether the paired interval holds the minimum: then no verdict falls, whatever else is known."""
    gain, minimum = _paired(drawn, alpha)[promotion.metric], promotion.minimum_improvement.value
    return not (gain.is_above(minimum) or gain.is_below(minimum))


def _comparison(drawn: Labelled, promotion: "Promotion", alpha: float) -> Comparison:
    rough = promotion.model_copy(
        update={"resamples": promotion.resamples.model_copy(update={"value": _RESAMPLES})}
    )
    return compare(_frame(drawn), WORLD.base_rate, BEFORE, rough, alpha, 0, group_findings=())


def _paired(drawn: Labelled, alpha: float) -> dict[str, Interval]:
    return metrics.paired(
        drawn.label, drawn.probability, drawn.reference, drawn.group, drawn.weight, alpha=alpha
    )


def _until(drawn: Labelled, known: np.ndarray) -> Labelled:
    return Labelled(*(column[known] for column in vars(drawn).values()))


def _frame(drawn: Labelled) -> pd.DataFrame:
    return pd.DataFrame({"group_key": drawn.group, **{k: v for k, v in vars(drawn).items() if k != "group"}})


def _daily_z(differences: np.ndarray, day: np.ndarray) -> np.ndarray:
    """The z of the mean of all differences known by the end of each day."""
    last = np.searchsorted(day, np.unique(day), side="right")
    n = last[last > 1]
    sums, squares = np.cumsum(differences)[n - 1], np.cumsum(np.square(differences))[n - 1]
    variance = (squares - sums**2 / n) / (n - 1)
    return sums / np.sqrt(n * variance)


def _share(count: int, runs: int) -> dict[str, float]:
    low, high = exact_rate(count, runs)
    return {"value": count / runs, "low": low, "high": high}


def _mean(counts: np.ndarray) -> dict[str, float]:
    reach = norm.isf(0.025) * counts.std(ddof=1) / np.sqrt(len(counts))
    value = float(counts.mean())
    return {"value": value, "low": max(0.0, value - reach), "high": value + reach, "most": int(counts.max())}
