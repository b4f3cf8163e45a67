"""What became of people, as far as the data reach: pure functions on a row for each person.

``people`` has the columns hired_on, last_seen, terminated_on (datetime64, NaT where there is none) and kind.
"""

from dataclasses import dataclass

import pandas as pd


@dataclass(frozen=True)
class Days:
    """The day from which on leaving is on record, and the last of which HR rows speak (NaT: there is none).

    ``last_snapshot`` is None where rows are changes: then nobody can be missing from one.
    """

    begin: pd.Timestamp
    end: pd.Timestamp
    last_snapshot: pd.Timestamp | None


@dataclass(frozen=True)
class Fates:
    """How many people the data reach far enough for, and what became of them."""

    reached: int
    stayed: int
    left: int
    censored: int
    unknown: int

    @property
    def known(self) -> int:
        return self.stayed + self.left + self.censored


def after(people: pd.DataFrame, days: Days, months: int) -> Fates:
    """What became of people so many months after they were hired.

    Who was hired before the data begin is left out: that they are in the data at all says that they stayed.
    """
    due = people["hired_on"] + pd.DateOffset(months=months)
    reached = (people["hired_on"] >= days.begin) & (due <= days.end)
    ended = people["terminated_on"].between(people["hired_on"], due, inclusive="left")
    left = ended & people["kind"].isin(["voluntary", "involuntary"])
    censored = ended & people["kind"].notna() & ~left
    unknown = (ended & people["kind"].isna()) | (vanished(people, days) & (people["last_seen"] < due))
    stayed = ~(left | censored | unknown)
    counts = ((reached & kind).sum() for kind in (stayed, left, censored, unknown))
    return Fates(int(reached.sum()), *map(int, counts))


def vanished(people: pd.DataFrame, days: Days) -> pd.Series:
    """Who is missing from the last snapshot without a termination."""
    if days.last_snapshot is None:
        return pd.Series(False, index=people.index)
    return people["terminated_on"].isna() & (people["last_seen"] < days.last_snapshot)


def present(people: pd.DataFrame, days: Days, months: int) -> pd.Series:
    """Who was hired so many months before the data end, and was there that long."""
    last = people["terminated_on"].fillna(days.end).where(~vanished(people, days), people["last_seen"])
    return people["hired_on"] + pd.DateOffset(months=months) <= last.clip(upper=days.end)
