"""What stays the same about the practice company: its sites, jobs, calendar and sources of chance."""

from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from hrloop.practice.taxonomy import JOB_FAMILIES

LOCATIONS = ("Berlin", "Hamburg", "Lisbon", "Warsaw", "Zurich")
INTERNATIONAL = ("Lisbon", "Warsaw")  # sites that work in English across borders

DEPARTMENTS = {
    "engineering": "Technology",
    "data": "Technology",
    "sales": "Commercial",
    "marketing": "Commercial",
    "customer support": "Service",
    "operations": "Service",
    "finance": "Corporate",
    "human resources": "Corporate",
}
OCCUPATIONS = {
    "engineering": "Software Engineer",
    "data": "Data Analyst",
    "sales": "Sales Manager",
    "marketing": "Marketing Specialist",
    "customer support": "Support Specialist",
    "operations": "Operations Specialist",
    "finance": "Financial Controller",
    "human resources": "HR Specialist",
}
LEVELS = ("Junior", "Regular", "Senior", "Lead")  # job_level 1–4; leaders of the company stand on 5

BAD_BATCH_MONTH = 34  # index of the month whose applications file falls below the 95 % rule
LAYOFF_MONTHS = (20, 44)  # a small wave each; index of the month

# One independent stream of chance per month and purpose: the number is the last part of its spawn key, so
# it must never change once practice data exist.
STREAMS = {
    "founding": 0, "requisitions": 1, "applicants": 2, "fates": 3, "hiring": 4, "feedback": 5,
    "starters": 6, "changes": 7, "leavers": 8, "reviews": 9, "work": 10, "surveys": 11,
    "interventions": 12, "dirt": 13, "habits": 14, "seasons": 15, "resolves": 16, "managers": 17,
}  # fmt: skip

DAY = np.timedelta64(86_400, "s")
NEVER = np.datetime64("2200-01-01", "s")


@dataclass(frozen=True)
class Shift:
    """Success becomes rarer for whoever applies from a month on.

    ``month``: index of that month; ``log_odds``: by how much the log-odds of a good outcome fall, at each
    milestone alike.
    """

    month: int
    log_odds: float

    def __post_init__(self):
        if self.month < 0:
            raise ValueError(f"shift.month is {self.month}; give the index of a month, 0 for the first")
        if not 0 < self.log_odds < np.inf:
            raise ValueError(f"shift.log_odds is {self.log_odds}; success becomes rarer by more than 0")


@dataclass(frozen=True)
class Company:
    """A practice company: everything it does follows from these and from the decisions it is given."""

    seed: int
    start: date
    applications_per_month: int
    shift: Shift | None = None

    def __post_init__(self):
        if self.start.day != 1:
            raise ValueError(f"start {self.start} is not the first of a month; give one such as 2023-10-01")
        if self.applications_per_month < 50:
            raise ValueError(
                f"applications_per_month is {self.applications_per_month}; below 50 there are too few for"
                " two requisitions, so give 50 or more"
            )

    @property
    def workforce(self) -> int:
        """Employees at the start: 2,000 beside 1,500 applications a month, and in that proportion."""
        return max(100, self.applications_per_month * 4 // 3)

    def month(self, index: int) -> np.datetime64:
        """The month of this index, as datetime64[M]; index 0 is the month of ``start``."""
        return np.datetime64(self.start, "M") + index

    def opening(self, index: int) -> np.datetime64:
        """The first second of the month of this index, UTC."""
        return self.month(index).astype("M8[s]")

    def label(self, index: int) -> str:
        """The month of this index as YYYY-MM."""
        return str(self.month(index))

    def rng(self, index: int, stream: str, *more: int) -> np.random.Generator:
        """The chance of one month and purpose, the same in whatever order months are written."""
        key = (index, STREAMS[stream], *more)
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=key))


def identifiers(prefix: str, month: np.datetime64, count: int) -> pd.Series:
    """``count`` ids such as A2310-0000001: kind, month of origin, number within the month."""
    stem = f"{prefix}{str(month)[2:4]}{str(month)[5:7]}-"
    numbers = pc.utf8_lpad(pc.cast(pa.array(np.arange(1, count + 1)), pa.string()), 7, "0")
    return texts(pc.binary_join_element_wise(stem, numbers, ""))


def texts(values) -> pd.Series:
    """An Arrow array of strings as a pandas Series of dtype str."""
    return pd.Series(values.to_pandas(), dtype="str")


def pick(options, positions) -> pd.Series:
    """The options at these positions, as a Series of strings."""
    return texts(pa.array(list(options), pa.string()).take(pa.array(positions)))


def position(options, values: pd.Series) -> np.ndarray:
    """Where each value stands in the options (n,); -1 for a value that is none of them."""
    return pd.Categorical(values, categories=list(options)).codes.astype(np.int64)


def add_months(days: np.ndarray, months) -> np.ndarray:
    """Calendar addition on datetime64[D] (n,); the last day of a month where the day does not exist."""
    days = np.asarray(days, dtype="M8[D]")
    first = days.astype("M8[M]")
    target = first + np.asarray(months, dtype=np.int64)
    longest = (target + 1).astype("M8[D]") - target.astype("M8[D]") - np.timedelta64(1, "D")
    return target.astype("M8[D]") + np.minimum(days - first.astype("M8[D]"), longest)


def seconds(values) -> np.ndarray:
    """A column of times as datetime64[s], whatever unit a file or a concatenation left it in."""
    return np.asarray(values).astype("M8[s]")


def dates(values) -> np.ndarray:
    """A column of times as datetime64[D]."""
    return np.asarray(values).astype("M8[D]")


def later(start, rng: np.random.Generator, low: float, high: float) -> np.ndarray:
    """Times (datetime64[s]) between ``low`` and ``high`` days after ``start``, evenly spread."""
    start = seconds(start)
    return start + (rng.uniform(low, high, size=start.shape) * 86_400).astype("m8[s]")


def leader_ids(department: pd.Series, location: pd.Series, company: Company, rng) -> pd.Series:
    """A leader of the same department and site for each row. Leaders are the first employees on file."""
    departments = tuple(dict.fromkeys(DEPARTMENTS.values()))
    cell = position(departments, department) * len(LOCATIONS) + position(LOCATIONS, location)
    round_ = rng.integers(0, leaders(company) // leader_cells(), size=len(cell))
    return leader_id(round_ * leader_cells() + cell + 1)


def leader_id(number: np.ndarray) -> pd.Series:
    """The employee ids of leaders, by their number from 1."""
    numbers = pc.utf8_lpad(pc.cast(pa.array(number), pa.string()), 7, "0")
    return texts(pc.binary_join_element_wise("E0000-", numbers, ""))


def leader_cells() -> int:
    """How many departments at a site there are."""
    return len(set(DEPARTMENTS.values())) * len(LOCATIONS)


def leaders(company: Company) -> int:
    """How many leaders there are: one or more for every department at every site."""
    return leader_cells() * max(1, company.workforce // 400)


def going_rate(family: pd.Series, level: np.ndarray) -> np.ndarray:
    """What a job of this family and level pays a month, full time (n,)."""
    base = np.array([4600, 4400, 3900, 3000, 4100, 3200, 3700, 3600])[position(JOB_FAMILIES, family)]
    return base * (0.6 + 0.22 * np.asarray(level))


def job_title(family: pd.Series, level: np.ndarray) -> pd.Series:
    """Such as 'Senior Data Analyst'."""
    names = [
        f"{word} {OCCUPATIONS[name]}".removeprefix("Regular ")
        for name in JOB_FAMILIES
        for word in (*LEVELS, "Head")
    ]
    return pick(names, position(JOB_FAMILIES, family) * (len(LEVELS) + 1) + np.asarray(level) - 1)
