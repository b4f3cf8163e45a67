"""The weekly paired comparison, beside the bootstrap of the same rows written with scikit-learn's metrics.

Of n applications a tenth are hired, and the newest quarter of their outcomes is compared on. Ours gives
intervals for six metrics of either version and the paired differences in closed form; the reference resamples
groups as often and takes the three metrics of either version that scikit-learn has: Brier score, log loss and
AUC. A fortieth of its resamples is measured.
"""

import numpy as np
import pandas as pd
from hrloop.evaluation import comparison
from hrloop.usecase import UseCase
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

from benchmarks import Row, duration, seconds

LIMIT = 1.0  # it gives more, and is run each week for each candidate
PART = 40


def run(use_case: UseCase, n: int) -> list[Row]:
    """Seconds of the comparison of two versions."""
    frame, promotion = _matured(n // 40), use_case.promotion
    resamples = promotion.resamples.value // PART

    def ours() -> None:
        comparison.compare(frame, base_rate=0.4, labels=n // 10, promotion=promotion, alpha=0.005, seed=1)

    turns = [(seconds(ours), PART * seconds(lambda: _plain(frame, resamples))) for _ in range(3)]
    return [duration("paired evaluation", n, turns, LIMIT)]


def _matured(labels: int) -> pd.DataFrame:
    """Labels with the probabilities of two versions, in groups of about two; the same at each run."""
    random = np.random.default_rng(4)
    better = random.beta(2, 3, labels)
    return pd.DataFrame(
        {
            "group_key": random.integers(0, max(labels // 2, 2), labels).astype(str),
            "label": (random.random(labels) < better).astype(float),
            "weight": random.uniform(0.5, 2, labels),
            "probability": better,
            "reference": np.clip(better + random.normal(0, 0.1, labels), 0.01, 0.99),
        }
    )


def _plain(frame: pd.DataFrame, resamples: int) -> None:
    random = np.random.default_rng(1)
    codes, groups = pd.factorize(frame["group_key"])
    label = frame["label"].to_numpy()
    for _ in range(resamples):
        drawn = np.bincount(random.integers(0, len(groups), len(groups)), minlength=len(groups))
        weight = drawn[codes] * frame["weight"].to_numpy()
        for version in ("probability", "reference"):
            for metric in (brier_score_loss, log_loss, roc_auc_score):
                metric(label, frame[version].to_numpy(), sample_weight=weight)
