"""How the company's people review: they mostly agree, and overrule with a reason of their own.

They know something that no export says. Recruiters know how people come across, and where the work is with
customers, that is what they overrule for. HR partners know when a season is busy, and where overtime alone
has risen, that is what they overrule for.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
import pandas as pd

CUSTOMER_FACING = ("sales", "customer support")


@dataclass(frozen=True)
class Panel:
    """People who review.

    ``says`` holds what they say, by reason code; ``knowing`` and ``elsewhere`` how often each code is given
    when they overrule, in its order, where what they know applies and where it does not.
    """

    initial: str
    size: int
    overruled: float  # share of the decisions that they are asked about
    says: dict[str, str]
    knowing: tuple[float, ...]
    elsewhere: tuple[float, ...]

    def review(self, decision_id: pd.Series, known: np.ndarray) -> pd.DataFrame:
        """What they say to these decisions (n,); ``known``: where what they know applies (n,)."""
        draws = np.array([_draws(one) for one in decision_id]).reshape(-1, 3)
        shares = np.where(known[:, None], self.knowing, self.elsewhere).cumsum(axis=1)
        position = np.minimum((draws[:, 1:2] >= shares).sum(axis=1), len(self.says) - 1)
        code = np.array(list(self.says))[position]
        overruled = draws[:, 0] < self.overruled
        return pd.DataFrame(
            {
                "decision_id": decision_id.to_numpy(),
                "reviewer": [f"{self.initial}{1 + int(draw * self.size):03d}" for draw in draws[:, 2]],
                "verdict": np.where(overruled, "overrule", "agree"),
                "reason_code": np.where(overruled, code, ""),
                "words": [self.says[one] if over else "" for one, over in zip(code, overruled, strict=True)],
            }
        )


RECRUITERS = Panel(
    initial="U",
    size=20,
    overruled=0.25,
    says={
        "communication": "The phone interview decided: how the person explains things.",
        "skill_underrated": "Has done exactly this work; the list of skills does not say how well.",
        "skill_overrated": "The skills are on paper only.",
        "missing_information": "The references were not in the data.",
        "wrong_information": "The application was entered wrongly.",
        "other": "The hiring manager knows the person.",
    },
    knowing=(0.60, 0.12, 0.10, 0.08, 0.05, 0.05),
    elsewhere=(0.06, 0.34, 0.22, 0.16, 0.12, 0.10),
)
HR_PARTNERS = Panel(
    initial="P",
    size=20,
    overruled=0.20,
    says={
        "workload_temporary": "The quarter's closing; it is over in a month.",
        "known_plans": "We have talked: the plans are known.",
        "already_addressed": "The manager is on it already.",
        "wrong_information": "The hours were booked on the wrong person.",
        "other": "It is not the time for it in this team.",
    },
    knowing=(0.65, 0.10, 0.10, 0.05, 0.10),
    elsewhere=(0.08, 0.36, 0.28, 0.10, 0.18),
)


def review(waiting: pd.DataFrame) -> pd.DataFrame:
    """What recruiters say to decisions that wait for them: (decision_id, job_family) of each, in any order.

    Returns decision_id, reviewer, verdict (agree or overrule), reason_code and words (empty where they
    agree). The same decision always gets the same review.
    """
    return RECRUITERS.review(waiting["decision_id"], waiting["job_family"].isin(CUSTOMER_FACING).to_numpy())


def review_warnings(waiting: pd.DataFrame) -> pd.DataFrame:
    """What HR partners say to decisions about employees, as :func:`review` returns it.

    ``waiting`` has decision_id, overtime_up, messages_down and survey_down of each (bool; missing where
    unknown).
    """
    signs = waiting[["overtime_up", "messages_down", "survey_down"]].astype("boolean").fillna(False)
    alone = signs["overtime_up"] & ~signs["messages_down"] & ~signs["survey_down"]
    return HR_PARTNERS.review(waiting["decision_id"], alone.to_numpy(dtype=bool))


def _draws(decision_id: str) -> list[float]:
    digest = hashlib.sha256(f"review {decision_id}".encode()).digest()
    return [int.from_bytes(digest[8 * i : 8 * i + 8], "big") / 2.0**64 for i in range(3)]
