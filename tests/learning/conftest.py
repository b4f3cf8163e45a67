"""Synthetic decisions: a company that selects some applicants, and a known truth about all of them."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from hrloop import usecase
from hrloop.settings import PROJECT
from hrloop.usecase import UseCase
from scipy.special import expit

AS_OF = datetime(2026, 10, 1, 6, tzinfo=UTC)
START = pd.Timestamp("2023-10-01T00:00:00Z")
FAMILIES = ["engineering", "nursing", "sales", "finance"]


@pytest.fixture(scope="session")
def recruitment() -> UseCase:
    """The repository's own use case."""
    return usecase.load("recruitment", PROJECT)


@pytest.fixture(scope="session")
def use_case(recruitment: UseCase) -> UseCase:
    """A small use case of five features on the repository's thresholds, with few rounds."""
    features = [
        {"name": "experience", "type": "number", "description": "Years of experience."},
        {"name": "match", "type": "number", "description": "Share of skills matched."},
        {"name": "family", "type": "category", "description": "Job family."},
        {"name": "channel", "type": "category", "description": "Where from."},
        {"name": "abroad", "type": "boolean", "description": "Worked abroad."},
    ]
    data = recruitment.model_dump()
    data["features"] = features
    data["learner"]["rounds"] = 80
    data["learner"]["parameters"]["eta"] = 0.1
    data["volume"]["segment"] = "family"
    data["reviews"]["about"] = {}
    return UseCase.model_validate(data)


@pytest.fixture(scope="session")
def company() -> Callable[..., pd.DataFrame]:
    """Makes a training frame of n decisions; column ``truth`` holds the outcome of everyone."""

    def make(n: int = 4000, seed: int = 1, selectivity: float = 1.0) -> pd.DataFrame:
        r = np.random.default_rng(seed)
        groups = r.integers(0, max(2, n // 20), n)
        frame = pd.DataFrame(
            {
                "decision_id": [f"d{i:07d}" for i in range(n)],
                "case_key": [f"a{i:07d}" for i in range(n)],
                "subject_key": [f"c{i:07d}" for i in range(n)],
                "group_key": [f"r{g:05d}" for g in groups],
                "experience": r.gamma(4, 2, n).round(1),
                "match": r.beta(2, 2, n).round(2),
                "family": r.choice(FAMILIES, n),
                "channel": r.choice(["board", "referral", "agency"], n, p=[0.6, 0.1, 0.3]),
                "abroad": r.random(n) < 0.3,
            }
        )
        frame.loc[r.random(n) < 0.03, "experience"] = np.nan
        frame.loc[r.random(n) < 0.03, "channel"] = None
        experience = frame["experience"].fillna(8.0)
        interaction = np.where(frame["family"] == "sales", -1.0, 1.0) * (frame["match"] - 0.5)
        merit = 3.0 * interaction + 0.15 * (experience - 8) + 0.6 * (frame["channel"] == "referral")
        frame["truth"] = (r.random(n) < expit(merit - 0.2)).astype(float)
        eager = selectivity * (2.0 * (frame["match"] - 0.5) + 0.2 * (experience - 8)) - 0.7
        frame["true_propensity"] = expit(eager)
        frame["selected"] = r.random(n) < frame["true_propensity"]
        frame["selection_propensity"] = np.nan
        frame["origin"] = "history"
        days = np.sort(r.uniform(0, 700, n))
        frame["decided_at"] = START + pd.to_timedelta(days, unit="D").round("s")
        known = frame["decided_at"] + timedelta(days=400)
        observed = (frame["selected"] & (known <= AS_OF)).to_numpy()
        missing = observed & (r.random(n) < 0.05)
        frame["label_status"] = np.where(observed, "observed", np.where(frame["selected"], "pending", None))
        frame.loc[missing, "label_status"] = "missing"
        is_observed = frame["label_status"] == "observed"
        frame["label"] = frame["truth"].where(is_observed)
        frame["follow_up"] = np.where(is_observed, 12.0, np.nan)
        frame["label_known_at"] = known.where(is_observed)
        return frame

    return make


@pytest.fixture(scope="session")
def as_of() -> datetime:
    return AS_OF
