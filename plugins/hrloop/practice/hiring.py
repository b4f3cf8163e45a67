"""How people in the company choose among applicants: by themselves, or following recommendations.

The old way is able but biased: it takes long experience for good everywhere, and marks women, and fields of
study that more women choose, down. Neither matters for the truth.
"""

import numpy as np
import pandas as pd

from hrloop.practice.company import Company, identifiers, later, pick, position, seconds
from hrloop.practice.people import EDUCATION_LEVELS

FOLLOW_RATE = 0.9  # how often people do what the recommendation says
ADVANCED_SHARE = 0.4  # of a requisition's applicants, when people choose alone
BIAS_GENDER = 0.60  # subtracted from women's screening score, in standard deviations of that score
BIAS_FIELD = 0.45  # and from that of social science, humanities and health
RANK_WEIGHT = 0.8  # how much a recommendation's rank counts against people's own impression
NO_SHOW_SHARE = 0.08  # offers that are declined
RECRUITERS = 20
DECISION_COLUMNS = ("application_id", "recommended_action", "rank", "action", "exploration")


def choose(
    company: Company, index: int, pending: pd.DataFrame, decisions: pd.DataFrame | None
) -> pd.DataFrame:
    """What people do in month ``index`` with the pending applications of the month before.

    Returns, row by row with ``pending``: advanced, offered, hired, withdrawn (bool), screening and
    interview (scores from 1 to 5). ``decisions`` is what :func:`read_decisions` returns, or None.
    """
    rng = company.rng(index, "hiring")
    count = len(pending)
    follows = rng.random(count) < FOLLOW_RATE
    declines = rng.random(count) < NO_SHOW_SHARE
    loses_interest = rng.random(count) < 0.03
    screening = _screening(pending, rng.normal(size=count))
    impression = 0.35 * pending["talent"] + 0.15 * pending["performance"] + 0.75 * rng.normal(size=count)

    group = pending["requisition_id"]
    size = group.groupby(group).transform("size").to_numpy()
    advanced = _rank(screening, group) <= np.ceil(ADVANCED_SHARE * size)
    own_view = 0.55 * screening + impression.to_numpy(dtype=float)
    if decisions is not None:
        given = pending[["application_id"]].merge(decisions, on="application_id", how="left")
        decided = given["recommended_action"].notna().to_numpy()
        final = given["action"].notna().to_numpy()
        drawn = given["exploration"].fillna(False).to_numpy(dtype=bool)
        recommended = given["action"].fillna(given["recommended_action"]).eq("advance").to_numpy()
        advanced = np.where(decided & (final | drawn | follows), recommended, advanced)
        # rank 1 of 25 counts as +0.5, rank 25 as -0.5; no rank counts as the middle
        standing = 0.5 - (given["rank"].to_numpy(dtype=float) - 0.5) / size
        own_view = own_view + RANK_WEIGHT * 2 * np.nan_to_num(standing)
    advanced = advanced & ~loses_interest
    offered = advanced & (
        _rank(np.where(advanced, own_view, -np.inf), group) <= pending["headcount"].to_numpy()
    )
    return pd.DataFrame(
        {
            "advanced": advanced,
            "offered": offered,
            "hired": offered & ~declines,
            "withdrawn": loses_interest | (offered & declines),
            "screening": np.clip(np.round(3 + 0.9 * screening), 1, 5),
            "interview": np.clip(np.round(3 + 0.9 * impression), 1, 5),
        }
    )


def read_decisions(decisions: pd.DataFrame, pending: pd.DataFrame, month: str) -> pd.DataFrame:
    """The decisions about pending applications, checked, one row each, all columns present.

    Decisions on applications of earlier months come too late to matter and are left out. Raises
    ValueError naming column, row and remedy.
    """
    missing = {"application_id", "recommended_action"} - set(decisions.columns)
    if missing:
        raise ValueError(f"decisions for {month} lack the columns {sorted(missing)}; add them")
    table = decisions.reindex(columns=list(DECISION_COLUMNS)).reset_index(drop=True)
    table["action"] = table["action"].astype(object).where(table["action"].notna(), None)
    for column in ("recommended_action", "action"):
        known = table[column].isin(["advance", "decline"])
        known |= table[column].isna() & (column == "action")
        if not known.all():
            row = table.loc[~known].iloc[0]
            raise ValueError(
                f"decisions for {month}: {column} of {row['application_id']} is {row[column]!r};"
                " write 'advance' or 'decline'"
            )
    twice = table["application_id"].duplicated()
    if twice.any():
        raise ValueError(
            f"decisions for {month}: {table.loc[twice, 'application_id'].iloc[0]} stands there twice;"
            " give one row per application"
        )
    table = table.astype(
        {"application_id": "str", "recommended_action": "str", "action": "str", "rank": "float64"}
    )
    table["exploration"] = table["exploration"].astype("boolean").fillna(False).astype(bool)
    here = table["application_id"].isin(pending["application_id"])
    origin = table["application_id"].str[1:5]
    late = origin.str.fullmatch(r"\d{4}") & (origin < month[2:4] + month[5:7])
    if not (here | late).all():
        stranger = table.loc[~(here | late), "application_id"].iloc[0]
        raise ValueError(
            f"decisions for {month}: no application {stranger} was made in {month};"
            " give the decisions of the month whose applications are pending"
        )
    return table.loc[here].sort_values("application_id").reset_index(drop=True)


def stage_events(
    company: Company, index: int, pending: pd.DataFrame, choice: pd.DataFrame, employee_id: pd.Series
) -> pd.DataFrame:
    """The stage events of the pending applications, all within month ``index``, from its third day on."""
    rng = company.rng(index, "hiring", 1)
    count = len(pending)
    # The round of decisions is on the first (a held-up one on the second): screening starts after it.
    screened = later(np.full(count, company.opening(index)), rng, 2.3, 7.0)
    interviewed = later(screened, rng, 2.0, 7.0)
    offered = later(interviewed, rng, 2.0, 6.0)
    advanced, hired = choice["advanced"].to_numpy(), choice["hired"].to_numpy()
    offer, withdrawn = choice["offered"].to_numpy(), choice["withdrawn"].to_numpy()
    turned_down = later(np.where(advanced, interviewed, screened), rng, 0.5, 3.0)
    answered = later(offered, rng, 0.3, 3.0)
    early_exit = later(screened, rng, 0.2, 2.0)
    reason = pick(["skills", "experience", "motivation", "other"], rng.integers(0, 4, size=count))

    def event(stage, rows, at, score=None, reason_code=None, employee=None):
        picked = np.flatnonzero(rows)
        return pd.DataFrame(
            {
                "application_id": pending["application_id"].iloc[picked].array,
                "stage": pd.Series([stage] * len(picked), dtype="str"),
                "occurred_at": at[picked],
                "score": score.to_numpy(dtype=float)[picked] if score is not None else np.nan,
                "reason_code": pd.Series(
                    reason_code.iloc[picked].array if reason_code is not None else [None] * len(picked),
                    dtype="str",
                ),
                "employee_id": pd.Series(
                    employee.iloc[picked].array if employee is not None else [None] * len(picked),
                    dtype="str",
                ),
            }
        )

    events = pd.concat(
        [
            event("screened", np.ones(count, dtype=bool), screened, choice["screening"]),
            event("interview", advanced, interviewed, choice["interview"]),
            event("offer", offer, offered),
            event("hired", hired, answered, employee=employee_id),
            event("withdrawn", withdrawn & offer, answered),
            event("withdrawn", withdrawn & ~offer, early_exit),
            event("rejected", ~hired & ~withdrawn, turned_down, reason_code=reason),
        ],
        ignore_index=True,
    ).sort_values(["occurred_at", "application_id", "stage"], ignore_index=True)
    events.insert(0, "event_id", identifiers("V", company.month(index), len(events)))
    events.insert(4, "actor_id", _recruiters(len(events), rng))
    # a rejection is now and then written down weeks after it was decided
    late = (events["stage"] == "rejected").to_numpy() & (rng.random(len(events)) < 0.02)
    at = seconds(events["occurred_at"])
    events["updated_at"] = np.where(late, later(at, rng, 10, 30), later(at, rng, 0.0, 0.08))
    return events


def feedback(company: Company, index: int, pending: pd.DataFrame, choice: pd.DataFrame) -> pd.DataFrame:
    """What recruiters clicked, shortlisted, dismissed and rated on the way, within month ``index``."""
    rng = company.rng(index, "feedback")
    count = len(pending)
    advanced = choice["advanced"].to_numpy()
    seen = rng.random(count) < 0.8
    parts = []
    for kind, share in (
        ("view", 1.0),
        ("click", 0.4),
        ("dismiss", 0.35),
        ("shortlist", 0.7),
        ("rating", 0.5),
    ):
        wanted = seen & (rng.random(count) < share)
        wanted &= ~advanced if kind == "dismiss" else advanced | (kind in ("view", "click"))
        rows = np.flatnonzero(wanted)
        rating = choice["interview"].to_numpy(dtype=float)[rows]
        parts.append(
            pd.DataFrame(
                {
                    "application_id": pending["application_id"].iloc[rows].array,
                    "kind": pd.Series([kind] * len(rows), dtype="str"),
                    "value": rating if kind == "rating" else np.nan,
                    "occurred_at": later(np.full(len(rows), company.opening(index)), rng, 2.3, 20.0),
                }
            )
        )
    frame = pd.concat(parts, ignore_index=True)
    frame = frame.sort_values(["occurred_at", "application_id", "kind"], ignore_index=True)
    frame.insert(0, "feedback_id", identifiers("F", company.month(index), len(frame)))
    frame.insert(4, "actor_id", _recruiters(len(frame), rng))
    return frame


def _screening(pending: pd.DataFrame, chance: np.ndarray) -> np.ndarray:
    """The screening score people give (n,), about standard normal; biased."""
    education = position(EDUCATION_LEVELS, pending["education_level"]) - 2.0
    years = pending["years_experience"].to_numpy(dtype=float)
    proxy = pending["education_field"].isin(["social_science", "humanities", "health"]).to_numpy()
    return (
        1.3 * (pending["match"].to_numpy() - 0.55)
        + 0.40 * pending["assessment"].fillna(0.0).to_numpy()
        + 0.30 * (years.clip(max=20) - 7) / 5
        + 0.12 * education
        + 0.25 * pending["source_channel"].eq("referral").to_numpy()
        + 0.10 * pending["performance"].to_numpy()
        - BIAS_GENDER * pending["gender"].eq("female").to_numpy()
        - BIAS_FIELD * proxy
        + 0.5 * chance
        + 0.25
    )


def _rank(score: np.ndarray, group: pd.Series) -> np.ndarray:
    """Rank within the group, 1 = highest score (n,); ties by position."""
    return pd.Series(score).groupby(group.to_numpy()).rank(ascending=False, method="first").to_numpy()


def _recruiters(count: int, rng) -> pd.Series:
    return pick([f"U{number:03d}" for number in range(1, RECRUITERS + 1)], rng.integers(0, RECRUITERS, count))
