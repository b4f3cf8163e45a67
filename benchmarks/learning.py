"""Training and scoring, beside the plain XGBoost calls they are made of.

Training: our booster from the frame (categories and ranges found, categories encoded, matrix built, one
thread), beside ``xgboost.train`` on the same encoded matrix with the same parameters. The forward folds that
choose the number of rounds are left out on both sides: they are the same call again. Scoring: from the frame
to calibrated probabilities, beside ``Booster.inplace_predict`` on the encoded matrix.
"""

import numpy as np
import xgboost
from hrloop.learning import Fitted, architecture, trees
from hrloop.learning.calibration import Platt
from hrloop.learning.encoding import fit_encoder
from hrloop.usecase import UseCase

from benchmarks import MANY, Row, in_bulk, rate, seconds
from benchmarks.applications import applications, good

TRAINING_LIMIT = 0.7  # of the plain rate: the rest may go into finding and encoding categories
SCORING_LIMIT = 0.8  # of the plain rate: the rest may go into encoding and calibration
ROUNDS = 200  # trees
BLOCK = 100_000  # rows scored at a time: short turns meet the same machine
TURNS = 5  # at least


def run(use_case: UseCase, n: int) -> list[Row]:
    """Rates for n rows of the declared features, training on at most 20,000 of them."""
    frame = applications(use_case, n)
    label = good(frame)
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
            seconds(lambda rows=frame.iloc[block]: fitted.probability(rows)),
            seconds(lambda rows=encoded[block]: fitted.learnt.booster.inplace_predict(rows)),
        )
        for block in blocks
        for _ in range(-(-TURNS // len(blocks)))
    ]
    trained = [(seconds(train_ours), seconds(train_plain)) for _ in range(TURNS)]
    return [
        rate("training", learnt, trained, TRAINING_LIMIT),
        rate("scoring", n, scored, in_bulk(SCORING_LIMIT, n, MANY), rows=min(n, BLOCK)),
    ]
