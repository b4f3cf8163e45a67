"""The employed: who starts, changes, is reviewed, works, answers surveys and leaves."""

import numpy as np
import pandas as pd

from hrloop.practice import unrest
from hrloop.practice.company import (
    DAY,
    DEPARTMENTS,
    LAYOFF_MONTHS,
    LOCATIONS,
    NEVER,
    Company,
    add_months,
    dates,
    going_rate,
    identifiers,
    job_title,
    later,
    leader_cells,
    leader_id,
    leader_ids,
    leaders,
    pick,
    seconds,
)
from hrloop.practice.people import GENDER_SHARES, GENDERS, MILESTONES, names

RECORD = (
    "employee_id", "valid_from", "candidate_id", "hired_on", "department", "job_family", "job_title",
    "job_level", "location", "manager_id", "employment_type", "fte", "monthly_salary", "name", "email",
    "gender", "birth_year", "updated_at",
)  # fmt: skip
NEVER_REVIEWED_SHARE = 0.03
CORRECTED_REVIEW_SHARE = 0.03
CORRECTED_TERMINATION_SHARE = 0.03
LAYOFF_SHARE = 0.05  # of everyone employed in the month of the wave
HANDED_OVER_SHARE = 0.01  # of the teams, each month: another leader of their department and site takes over
# Resignations until then are drawn at the start: minds are made up seven to twelve months ahead, and a hire's
# first two years are what its application was good for.
FOUNDERS_DRAWN_MONTHS, HIRES_DRAWN_MONTHS = 12, 24


def founding(company: Company) -> pd.DataFrame:
    """The workforce on the first day; its first members lead a department at a site each."""
    rng = company.rng(0, "founding")
    count = company.workforce
    chiefs = np.arange(count) < leaders(company)
    departments = tuple(dict.fromkeys(DEPARTMENTS.values()))
    cell = np.arange(count) % (len(departments) * len(LOCATIONS))
    by_department = [[f for f, d in DEPARTMENTS.items() if d == name] for name in departments]
    family = pick(
        [families[k] for families in by_department for k in (0, 1)],
        cell // len(LOCATIONS) * 2 + rng.integers(0, 2, size=count),
    )
    level = np.where(chiefs, 5, rng.choice([1, 2, 3, 4], p=[0.2, 0.4, 0.3, 0.1], size=count))
    location = pick(LOCATIONS, cell % len(LOCATIONS))
    department = family.map(DEPARTMENTS)
    gender = rng.choice(len(GENDERS), p=GENDER_SHARES, size=count)
    ids = "E0000-" + identifiers("E", company.month(0), count).str[-7:]
    name, email = names(ids, gender, rng)
    tenure = 30 + rng.integers(0, 12 * 365, size=count)  # days with the company at its first export
    hired = dates(company.month(0)) - tenure.astype("m8[D]")
    age = 23 + tenure / 365 + rng.gamma(2.5, 6.0, size=count)
    birth = (hired.astype("M8[Y]").astype(int) + 1970 - (age - tenure / 365).clip(19, 54)).astype(np.int64)
    performance = rng.normal(0.4, 0.8, size=count)
    monthly = 0.009 * np.exp(-0.5 * performance)
    stay = np.where(chiefs, np.inf, rng.exponential(size=count) / monthly)
    pension = (birth + 66 - 1970).astype("M8[Y]").astype("M8[D]") + rng.integers(0, 365, size=count)
    leaves = dates(company.month(0)) + np.minimum(stay * 30.4, 40_000).astype(np.int64)
    retires = ~chiefs & (pension < leaves) & (pension > dates(company.month(0)))
    voluntary = ~retires & (rng.random(count) < 0.8)
    later_on = voluntary & (leaves >= company.opening(FOUNDERS_DRAWN_MONTHS))
    leaves = np.where(retires, pension, leaves)
    stays = chiefs | later_on
    manager = leader_ids(department, location, company, rng)
    frame = pd.DataFrame(
        {
            "employee_id": ids,
            "valid_from": seconds(hired),
            "candidate_id": pd.Series([None] * count, dtype="str"),
            "hired_on": seconds(hired),
            "department": department,
            "job_family": family,
            "job_title": job_title(family, level),
            "job_level": level,
            "location": location,
            # leaders report to the first of them, who reports to nobody
            "manager_id": manager.mask(chiefs, ids.iloc[0]).mask(np.arange(count) == 0),
            "employment_type": "permanent",
            "fte": rng.choice([1.0, 0.8, 0.5], p=[0.8, 0.13, 0.07], size=count),
            "monthly_salary": _salary(family, level, rng),
            "name": name,
            "email": email,
            "gender": pick(GENDERS, gender),
            "birth_year": birth,
            "updated_at": np.full(count, company.opening(0)),
            "leaves_on": np.where(stays, NEVER, seconds(leaves)),
            "leaving_kind": pd.Series(
                np.select([stays, retires, voluntary], ["none", "retirement", "voluntary"], "involuntary"),
                dtype="str",
            ),
            "performance": performance,
            "drawn_until": np.full(count, company.opening(FOUNDERS_DRAWN_MONTHS)),
            "raised_on": seconds(hired),
            "manager_since": seconds(hired),
        }
    ).join(unrest.habits(company, 0, performance))
    for months in MILESTONES:
        frame[f"rating_{months}"] = np.clip(np.round(3.4 + 0.45 * performance, 1), 1, 5)
    return frame


def starters(company: Company, index: int, hired: pd.DataFrame, hired_at: pd.Series) -> pd.DataFrame:
    """Those hired in month ``index``, with their first day, 15 to 45 days after the offer was accepted."""
    rng = company.rng(index, "starters")
    start = dates(later(hired_at, rng, 15, 45))
    months = hired["months_until_leaving"].to_numpy()
    whole = np.floor(months).astype(np.int64)
    # a month counts 28 days here, so that an exit before month m is a date before the m-th due date
    leaves = add_months(start, whole) + ((months - whole) * 28).astype("m8[D]")
    stays = hired["leaving_kind"].eq("voluntary").to_numpy() & (months >= HIRES_DRAWN_MONTHS)
    level = hired["level"].to_numpy()
    frame = pd.DataFrame(
        {
            "employee_id": hired["employee_id"],
            "valid_from": seconds(start),
            "candidate_id": hired["candidate_id"],
            "hired_on": seconds(start),
            "department": hired["department"],
            "job_family": hired["job_family"],
            "job_title": job_title(hired["job_family"], level),
            "job_level": level,
            "location": hired["location"],
            "manager_id": leader_ids(hired["department"], hired["location"], company, rng),
            "employment_type": hired["fixed_term"].map({True: "fixed_term", False: "permanent"}),
            "fte": rng.choice([1.0, 0.8, 0.5], p=[0.85, 0.1, 0.05], size=len(hired)),
            "monthly_salary": _salary(hired["job_family"], level, rng),
            "name": hired["name"],
            "email": hired["email"],
            "gender": hired["gender"],
            "birth_year": hired["birth_year"],
            "updated_at": later(start, rng, 0.3, 3.0),
            "leaves_on": np.where(stays, NEVER, seconds(leaves)),
            "leaving_kind": hired["leaving_kind"].mask(stays, "none"),
            "performance": hired["performance"],
            "drawn_until": seconds(add_months(start, HIRES_DRAWN_MONTHS)),
            "raised_on": seconds(start),
            "manager_since": seconds(start),
        }
    )
    ratings = hired[[f"rating_{months}" for months in MILESTONES]]
    return frame.join(unrest.habits(company, index, frame["performance"])).join(ratings)


def lay_off(company: Company, index: int, staff: pd.DataFrame) -> pd.DataFrame:
    """The staff after a wave of layoffs, if this month has one: some will now leave in it."""
    if index not in LAYOFF_MONTHS:
        return staff
    rng = company.rng(index, "leavers", 1)
    month = company.opening(index)
    hit = rng.random(len(staff)) < LAYOFF_SHARE
    day = later(np.full(len(staff), month), rng, 10, 20).astype("M8[D]").astype("M8[s]")
    hit &= (seconds(staff["hired_on"]) < month) & (seconds(staff["leaves_on"]) > day)
    hit &= (staff["job_level"] < 5).to_numpy()
    return staff.assign(
        leaves_on=np.where(hit, day, seconds(staff["leaves_on"])),
        leaving_kind=staff["leaving_kind"].mask(hit, "layoff"),
    )


def terminations(company: Company, index: int, staff: pd.DataFrame) -> pd.DataFrame:
    """Rows for those who leave in month ``index``: days to weeks late, a few first with a wrong kind."""
    rng = company.rng(index, "leavers")
    leaves = seconds(staff["leaves_on"])
    gone = staff.loc[(leaves >= company.opening(index)) & (leaves < company.opening(index + 1))]
    gone = gone.reset_index(drop=True)
    rows = pd.DataFrame(
        {
            "employee_id": gone["employee_id"],
            "terminated_on": seconds(gone["leaves_on"]),
            "kind": gone["leaving_kind"],
            "reason": _reasons(gone["leaving_kind"], rng),
            "updated_at": seconds(gone["leaves_on"])
            + (rng.gamma(1.5, 6.0, size=len(gone)).clip(0.3, 40) * 86_400).astype("m8[s]"),
        }
    )
    corrected = rows.loc[rng.random(len(rows)) < CORRECTED_TERMINATION_SHARE]
    wrong = (
        corrected["kind"].map({"voluntary": "involuntary", "involuntary": "voluntary"}).fillna("voluntary")
    )
    rows.loc[corrected.index, "kind"] = wrong
    return pd.concat(
        [rows, corrected.assign(updated_at=later(corrected["updated_at"], rng, 15, 50))], ignore_index=True
    )


def change(company: Company, index: int, staff: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The staff after this month's raises, promotions, moves and new managers, and the rows that say so."""
    rng = company.rng(index, "changes")
    draw = rng.random(len(staff))
    day = seconds(later(np.full(len(staff), company.opening(index)), rng, 0, 27).astype("M8[D]"))
    here = (seconds(staff["hired_on"]) < company.opening(index)) & (seconds(staff["leaves_on"]) > day)
    here &= (staff["job_level"] < 5).to_numpy()
    raised = here & (draw < 0.010)
    promoted = here & (draw >= 0.010) & (draw < 0.013) & (staff["job_level"] < 4).to_numpy()
    moved = here & (draw >= 0.013) & (draw < 0.015)
    elsewhere = pick(LOCATIONS, rng.integers(0, len(LOCATIONS), size=len(staff)))
    successor = staff["manager_id"].map(_successors(company, index))
    handed_over = here & successor.notna().to_numpy()
    changed = raised | promoted | moved | handed_over
    level = staff["job_level"].to_numpy() + promoted
    location = staff["location"].mask(moved, elsewhere)
    factor = 1 + np.where(raised, 0.04, 0.0) + np.where(promoted, 0.12, 0.0)
    staff = staff.assign(
        valid_from=np.where(changed, day, seconds(staff["valid_from"])),
        job_level=level,
        job_title=staff["job_title"].mask(promoted, job_title(staff["job_family"], level)),
        location=location,
        manager_id=staff["manager_id"]
        .mask(handed_over, successor)
        .mask(moved, leader_ids(staff["department"], location, company, rng)),
        manager_since=np.where(moved | handed_over, day, seconds(staff["manager_since"])),
        raised_on=np.where(raised | promoted, day, seconds(staff["raised_on"])),
        monthly_salary=np.round(staff["monthly_salary"].to_numpy() * factor, -1),
        updated_at=np.where(changed, later(day, rng, 0.3, 12), seconds(staff["updated_at"])),
    )
    return staff, staff.loc[changed, list(RECORD)].reset_index(drop=True)


def _successors(company: Company, index: int) -> dict[str, str]:
    """Leaders who hand their team over in month ``index``, each with the leader who takes it."""
    rng = company.rng(index, "managers")
    count, cells = leaders(company), leader_cells()
    number = np.flatnonzero(rng.random(count) < HANDED_OVER_SHARE) + 1
    taker = (number - 1 + cells) % count + 1
    alone = number == taker  # the only leader there
    return dict(zip(leader_id(number[~alone]), leader_id(taker[~alone]), strict=True))


def reviews(company: Company, index: int, staff: pd.DataFrame) -> pd.DataFrame:
    """Reviews falling due in month ``index``, after 3, 6, 12 and 24 months, then yearly.

    The period ends up to ten days before the due date, so the review of one milestone never stands in the
    window of the next. Reports come up to forty days later; a few never, a few first with a wrong rating.
    """
    rng = company.rng(index, "reviews")
    hired = dates(staff["hired_on"])
    months = (company.month(index) - hired.astype("M8[M]")).astype(np.int64)
    newcomer = staff["candidate_id"].notna().to_numpy()
    wanted = (months > 0) & ((months % 12 == 0) | (newcomer & np.isin(months, (3, 6))))
    ends = add_months(hired, months) - rng.integers(0, 11, size=len(staff)).astype("m8[D]")
    reported = rng.random(len(staff)) >= NEVER_REVIEWED_SHARE
    later_noise = np.round(rng.normal(0, 0.25, size=len(staff)), 1)
    wanted &= reported & (dates(staff["leaves_on"]) > ends)
    which = np.select([months == m for m in MILESTONES[:-1]], range(len(MILESTONES) - 1), len(MILESTONES) - 1)
    rating = staff[[f"rating_{m}" for m in MILESTONES]].to_numpy()[np.arange(len(staff)), which]
    fresh = (months > MILESTONES[-1]) | ~newcomer
    rating = np.where(fresh, np.clip(np.round(rating + later_noise, 1), 1, 5), rating)
    rows = pd.DataFrame(
        {
            "employee_id": staff["employee_id"],
            "period_end": seconds(ends),
            "rating": rating,
            "reviewer_id": staff["manager_id"],
            "updated_at": later(ends, rng, 2, 40),
        }
    )
    rows = rows.loc[wanted].reset_index(drop=True)
    rows.insert(0, "review_id", identifiers("W", company.month(index), len(rows)))
    # the true rating stands in the later row: what was first written down was a slip
    corrected = rows.loc[rng.random(len(rows)) < CORRECTED_REVIEW_SHARE]
    slip = np.where(rng.random(len(corrected)) < 0.5, -0.7, 0.7)
    rows.loc[corrected.index, "rating"] = np.clip(np.round(corrected["rating"] + slip, 1), 1, 5)
    return pd.concat(
        [rows, corrected.assign(updated_at=later(corrected["updated_at"], rng, 15, 60))], ignore_index=True
    )


def work_months(company: Company, index: int, staff: pd.DataFrame) -> pd.DataFrame:
    """One row for everyone employed through month ``index``."""
    rng = company.rng(index, "work")
    staff = through(company, index, staff)
    count = len(staff)
    restless = unrest.restlessness(company, index, staff)
    overtime = unrest.overtime(company, index, staff) * rng.gamma(40, 1 / 40, size=count)
    messages = unrest.messages(company, index, staff) * rng.lognormal(0, 0.08, size=count)
    return pd.DataFrame(
        {
            "employee_id": staff["employee_id"],
            "month": np.full(count, company.opening(index)),
            "overtime_hours": np.round(overtime, 1),
            "absence_hours": np.round(rng.gamma(0.5, 4 + 2 * restless), 1),
            "sick_hours": np.round(rng.gamma(0.4, 10, size=count), 1),
            "vacation_days": rng.poisson(2.2, size=count).astype(float),
            "meeting_hours": np.round(rng.gamma(4, 4 + staff["job_level"].to_numpy()), 1),
            "messages_sent": np.round(messages),
            "internal_applications": rng.poisson(0.03 + 0.05 * restless).astype(float),
            "updated_at": np.full(count, company.opening(index + 1) + np.timedelta64(600, "s")),
        }
    )


def through(company: Company, index: int, staff: pd.DataFrame) -> pd.DataFrame:
    """Those of the staff who are employed through the whole of month ``index``."""
    there = seconds(staff["hired_on"]) < company.opening(index)
    there &= seconds(staff["leaves_on"]) > company.opening(index) + 31 * DAY
    return staff.loc[there].reset_index(drop=True)


def surveys(company: Company, index: int, staff: pd.DataFrame) -> pd.DataFrame:
    """The quarterly survey, in the last month of a quarter; six in ten answer."""
    rng = company.rng(index, "surveys")
    month = company.opening(index)
    quarter_ends = int(str(company.month(index))[5:]) % 3 == 0
    leaves = seconds(staff["leaves_on"])
    there = (seconds(staff["hired_on"]) < month) & (leaves > company.opening(index + 1))
    there &= (rng.random(len(staff)) < 0.6) & quarter_ends
    mood = unrest.mood(company, index, staff) + 0.4 * rng.normal(size=len(staff))
    on = later(np.full(len(staff), month), rng, 9, 20).astype("M8[D]")
    rows = pd.DataFrame(
        {
            "employee_id": staff["employee_id"],
            "surveyed_on": seconds(on),
            "engagement": np.clip(np.round(3.5 + 0.6 * mood), 1, 5),
            "enps": np.clip(np.round(7 + 1.6 * mood), 0, 10),
            "manager_score": np.clip(np.round(3.6 + 0.4 * mood + 0.5 * rng.normal(size=len(staff))), 1, 5),
            "updated_at": later(on, rng, 0.5, 5),
        }
    )
    return rows.loc[there].reset_index(drop=True)


def _salary(family: pd.Series, level: np.ndarray, rng) -> np.ndarray:
    return np.round(going_rate(family, level) * rng.lognormal(0, unrest.PAY_SPREAD, size=len(family)), -1)


def _reasons(kind: pd.Series, rng) -> pd.Series:
    other = pick(
        ["better offer", "relocation", "family", "career change"], rng.integers(0, 4, size=len(kind))
    )
    named = kind.map(
        {"involuntary": "performance", "layoff": "restructuring", "retirement": "age",
         "end_of_contract": "contract ended"}
    )  # fmt: skip
    return named.fillna(other)
