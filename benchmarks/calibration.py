"""The choice of a calibrator from matured decisions, beside scikit-learn's logistic regression.

Of n applications a tenth are hired and have a label. Ours tries eight calibrators forward in time over ten
blocks; the reference fits scikit-learn's unpenalised logistic regression as often to the same labels, which
is what plain Platt scaling is.
"""

from datetime import UTC, datetime

import numpy as np
import pandas as pd
from hrloop.learning import recalibration
from hrloop.learning.calibration import Platt
from hrloop.usecase import UseCase
from scipy.special import logit
from sklearn.linear_model import LogisticRegression

from benchmarks import Row, duration, seconds

LIMIT = 1.0  # half of the calibrators are richer than Platt scaling, and it is run each day
AS_OF = datetime(2026, 10, 1, 6, tzinfo=UTC)


def run(use_case: UseCase, n: int) -> list[Row]:
    """Seconds of one choice."""
    scored, today, declared = _matured(n // 10), Platt(), use_case.calibration
    fitted = [name for name in recalibration.candidates(today, declared) if name not in ("today", "identity")]

    def ours() -> None:
        recalibration.choose(scored, today, declared, AS_OF)

    def plain() -> None:
        for share in np.linspace(recalibration.FIRST_BLOCK, 1, recalibration.BLOCKS, endpoint=False):
            known = scored.iloc[: int(share * len(scored))]
            score = logit(known[["score"]].to_numpy())
            for _ in fitted:
                LogisticRegression(C=np.inf).fit(score, known["label"], known["weight"])

    return [duration("daily calibration", n, [(seconds(ours), seconds(plain)) for _ in range(3)], LIMIT)]


def _matured(labels: int) -> pd.DataFrame:
    """Matured decisions in the order in which their labels became known; the same at each run."""
    random = np.random.default_rng(3)
    score = random.beta(2, 3, labels)
    known_at = pd.Timestamp(AS_OF) - pd.to_timedelta(np.linspace(730, 1, labels), unit="D")
    return pd.DataFrame(
        {
            "decision_id": [f"{number:08d}" for number in range(labels)],
            "group_key": random.integers(0, max(labels // 2, 2), labels).astype(str),
            "label_known_at": known_at,
            "label": (random.random(labels) < 0.1 + 0.7 * score).astype(float),
            "weight": random.uniform(0.5, 2, labels),
            "score": score,
        }
    )
