"""What became of people as far as the data reach: worked by hand, and never more than the data can say."""

import pandas as pd
import pytest
from hrloop.adopt import fates
from hrloop.adopt.fates import Days, Fates

SNAPSHOTS = Days(pd.Timestamp("2022-01-01"), pd.Timestamp("2023-12-31"), pd.Timestamp("2023-12-31"))
CHANGES = Days(SNAPSHOTS.begin, SNAPSHOTS.end, None)


def people(*rows: tuple) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["hired_on", "last_seen", "terminated_on", "kind"])
    days = ["hired_on", "last_seen", "terminated_on"]
    return frame.assign(**{name: pd.to_datetime(frame[name]) for name in days})


COMPANY = people(
    ("2021-06-01", "2023-12-31", None, None),  # hired before the data begin
    ("2022-02-01", "2023-12-31", None, None),  # stayed
    ("2022-02-01", "2022-06-30", "2022-08-01", "voluntary"),  # left after six months to the day
    ("2022-02-01", "2022-06-30", "2022-07-31", "involuntary"),  # left a day before
    ("2022-02-01", "2022-06-30", "2022-07-01", "layoff"),  # censored
    ("2022-02-01", "2022-06-30", "2022-07-01", None),  # left, nobody knows why
    ("2022-02-01", "2022-06-30", None, None),  # vanished
    ("2023-09-01", "2023-12-31", None, None),  # the data end too early
)


@pytest.mark.parametrize(
    ("months", "days", "expected"),
    [
        (6, SNAPSHOTS, Fates(reached=6, stayed=2, left=1, censored=1, unknown=2)),
        (12, SNAPSHOTS, Fates(reached=6, stayed=1, left=2, censored=1, unknown=2)),
        (24, SNAPSHOTS, Fates(reached=0, stayed=0, left=0, censored=0, unknown=0)),
        (6, CHANGES, Fates(reached=6, stayed=3, left=1, censored=1, unknown=1)),
    ],
)
def test_fates(months, days, expected):
    assert fates.after(COMPANY, days, months) == expected
    assert expected.known + expected.unknown == expected.reached


def test_who_was_there_for_a_year():
    assert fates.present(COMPANY, SNAPSHOTS, 12).tolist() == [True, True] + [False] * 6


def test_without_anybody_nothing_is_known():
    nobody = Days(pd.NaT, pd.NaT, None)
    assert fates.after(COMPANY.iloc[:0], nobody, 6) == Fates(0, 0, 0, 0, 0)
    assert fates.after(COMPANY, nobody, 6).reached == 0
