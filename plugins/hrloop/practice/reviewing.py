"""How the company's recruiters review: they mostly agree, and overrule with a reason of their own.

They know something that no export says: how people come across. Where the work is with customers, that is
what they overrule for.
"""

import hashlib

import numpy as np
import pandas as pd

OVERRULED = 0.25  # of the decisions that they are asked about
CUSTOMER_FACING = ("sales", "customer support")
# Reason codes of an overrule with how often each is given, where the work is with customers and elsewhere.
CODES = (
    "communication",
    "skill_underrated",
    "skill_overrated",
    "missing_information",
    "wrong_information",
    "other",
)
WITH_CUSTOMERS = (0.60, 0.12, 0.10, 0.08, 0.05, 0.05)
ELSEWHERE = (0.06, 0.34, 0.22, 0.16, 0.12, 0.10)
WORDS = {
    "communication": "The phone interview decided: how the person explains things.",
    "skill_underrated": "Has done exactly this work; the list of skills does not say how well.",
    "skill_overrated": "The skills are on paper only.",
    "missing_information": "The references were not in the data.",
    "wrong_information": "The application was entered wrongly.",
    "other": "The hiring manager knows the person.",
}


def review(waiting: pd.DataFrame) -> pd.DataFrame:
    """What recruiters say to decisions that wait for them: (decision_id, job_family) of each, in any order.

    Returns decision_id, reviewer, verdict (agree or overrule), reason_code and words (None where they
    agree). The same decision always gets the same review.
    """
    draws = np.array([_draws(one) for one in waiting["decision_id"]]).reshape(-1, 3)
    customers = waiting["job_family"].isin(CUSTOMER_FACING).to_numpy()
    shares = np.where(customers[:, None], WITH_CUSTOMERS, ELSEWHERE).cumsum(axis=1)
    code = np.array(CODES)[np.minimum((draws[:, 1:2] >= shares).sum(axis=1), len(CODES) - 1)]
    overruled = draws[:, 0] < OVERRULED
    return pd.DataFrame(
        {
            "decision_id": waiting["decision_id"].to_numpy(),
            "reviewer": [f"U{1 + int(draw * 20):03d}" for draw in draws[:, 2]],
            "verdict": np.where(overruled, "overrule", "agree"),
            "reason_code": np.where(overruled, code, None),
            "words": [WORDS[one] if over else None for one, over in zip(code, overruled, strict=True)],
        }
    )


def _draws(decision_id: str) -> list[float]:
    digest = hashlib.sha256(f"review {decision_id}".encode()).digest()
    return [int.from_bytes(digest[8 * i : 8 * i + 8], "big") / 2.0**64 for i in range(3)]
