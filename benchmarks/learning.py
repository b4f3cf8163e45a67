"""Training and scoring, beside the plain XGBoost calls they are made of.

Training: our booster from the frame (categories and ranges found, categories encoded, matrix built, one
thread), beside ``xgboost.train`` on the same encoded matrix with the same parameters. The forward folds that
choose the number of rounds are left out on both sides: they are the same call again. Scoring: from the frame
to calibrated probabilities, beside ``Booster.inplace_predict`` on the encoded matrix.
"""

import time
from collections.abc import Callable

import numpy as np
import pandas as pd
import xgboost
from hrloop import usecase
from hrloop.learning import Fitted, architecture, trees
from hrloop.learning.calibration import Platt
from hrloop.learning.encoding import fit_encoder
from hrloop.settings import PROJECT

from benchmarks import Row

TRAINING_LIMIT = 0.7  # of the plain rate: the rest may go into finding and encoding categories
SCORING_LIMIT = 0.8  # of the plain rate: the rest may go into encoding and calibration
ROUNDS = 200  # trees
BLOCK = 100_000  # rows scored at a time: short turns meet the same machine
TURNS = 5  # at least


def run(n: int) -> list[Row]:
    """Rates for n rows of the recruitment features, training on at most 20,000 of them."""
    use_case = usecase.load("recruitment", PROJECT)
    frame = _applications(use_case, n)
    label = (np.random.default_rng(1).random(n) < 0.2 + 0.6 * frame["skills_match_share"]).to_numpy(float)
    learnt = min(n, 20_000)
    head, target, weight = frame.head(learnt), label[:learnt], np.ones(learnt)
    encoder = fit_encoder(use_case.features, head, use_case.edge.range_tail.value)
    matrix = encoder.matrix(head)
    learner = use_case.learner
    parameters = trees.parameters(architecture.declared(use_case), learner.seed, encoder)

    def train_ours() -> xgboost.Booster:
        own = fit_encoder(use_case.features, head, use_case.edge.range_tail.value)
        rows = trees.dmatrix(own, own.matrix(head), target, weight)
        return xgboost.train(parameters, rows, num_boost_round=ROUNDS)

    def train_plain() -> xgboost.Booster:
        rows = trees.dmatrix(encoder, matrix, target, weight)
        return xgboost.train(parameters, rows, num_boost_round=ROUNDS)

    fitted = Fitted(
        use_case=use_case.name,
        as_of="2026-10-01T06:00:00Z",
        encoder=encoder,
        calibrator=Platt(slope=0.9, intercept=-0.1),
        model=bytes(train_plain().save_raw("ubj")),
        summary={},
    )
    encoded = encoder.matrix(frame)
    blocks = [slice(start, min(n, start + BLOCK)) for start in range(0, n, BLOCK)]
    scored = [
        (
            lambda rows=frame.iloc[block]: fitted.probability(rows),
            lambda rows=encoded[block]: fitted.learnt.booster.inplace_predict(rows),
        )
        for block in blocks
        for _ in range(-(-TURNS // len(blocks)))
    ]
    return [
        _row("training", learnt, learnt, [(train_ours, train_plain)] * TURNS, TRAINING_LIMIT),
        _row("scoring", n, min(n, BLOCK), scored, SCORING_LIMIT),
    ]


def _row(name: str, n: int, size: int, turns: list[tuple[Callable, Callable]], limit: float) -> Row:
    """Rates over turns of ``size`` rows, ours and the plain call one after the other; medians, so that other
    work on the machine, which meets now one and now the other, does not decide."""
    ours, plain = np.array([(_seconds(mine), _seconds(theirs)) for mine, theirs in turns]).T
    ratio = float(np.median(plain / ours))
    rates = (float(size / np.median(ours)), float(size / np.median(plain)))
    return Row(name, n, *rates, "rows/s", ratio, limit, ratio >= limit)


def _seconds(work: Callable) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _applications(use_case: usecase.UseCase, n: int) -> pd.DataFrame:
    """n rows of the declared features, numbers and texts, one in twenty missing; the same at each run."""
    random = np.random.default_rng(0)
    frame = pd.DataFrame(index=range(n))
    for feature in use_case.features:
        if feature.type == "category":
            values = np.array([f"{feature.name} {i}" for i in range(12)], dtype=object)[
                random.integers(0, 12, n)
            ]
            frame[feature.name] = pd.Series(values, dtype=object)
        elif feature.type == "boolean":
            frame[feature.name] = random.integers(0, 2, n).astype(float)
        else:
            frame[feature.name] = random.random(n).round(3)
        if feature.name != "skills_match_share":
            frame.loc[random.random(n) < 0.05, feature.name] = None
    return frame
