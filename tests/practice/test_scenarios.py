"""Scenarios of the practice company: nothing before their month, and what they say from it on."""

import numpy as np
import pandas as pd
import pytest
from hrloop.practice import Gap, Garble, Shift, Turn, answer, history, scenarios, truth

MONTHS, SIZE = 6, 250


def company(folder, scenario=None):
    """Six months of a company."""
    history(folder, months=MONTHS, applications_per_month=SIZE, seed=5, scenario=scenario)
    return folder


def landed(folder) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted((folder / "landing").rglob("*"))
        if path.is_file()
    }


def table(folder, name) -> pd.DataFrame:
    files = sorted((folder / "landing" / name).glob("*"))
    return pd.concat([pd.read_csv(file).assign(file=file.name[:10]) for file in files], ignore_index=True)


@pytest.fixture(scope="module")
def as_ever(tmp_path_factory):
    return company(tmp_path_factory.mktemp("as_ever"))


@pytest.fixture(scope="module")
def turned(tmp_path_factory):
    return company(tmp_path_factory.mktemp("turned"), Turn(2, experience=-1.0))


@pytest.fixture(scope="module")
def garbled(tmp_path_factory):
    return company(tmp_path_factory.mktemp("garbled"), Garble(3, months=2, share=0.5))


def test_a_turn_changes_the_truth_of_those_who_apply_from_its_month_on(as_ever, turned):
    before, after = truth(as_ever), truth(turned)
    early = before["application_id"].str[1:5] < "2312"
    chance = "probability_good_at_12"
    assert early.sum() == pytest.approx(2 * SIZE, rel=0.06)
    pd.testing.assert_frame_equal(
        before[early], after[after["application_id"].isin(before["application_id"][early])]
    )
    late = before[~early].merge(after, on="application_id", suffixes=("", "_turned"))
    # the same people in the month of the turn; what they would have been good for has turned round
    moved = late[late["application_id"].str[1:5] == "2312"]
    assert (moved["candidate_id"] == moved["candidate_id_turned"]).all()
    assert (moved[chance] != moved[f"{chance}_turned"]).mean() > 0.9
    files = {name for name in landed(as_ever) if name.rsplit("/", 1)[1] <= "2023-12-02"}
    assert all(landed(as_ever)[name] == landed(turned)[name] for name in files)


def test_a_turn_without_factors_is_no_turn(tmp_path, as_ever):
    assert landed(company(tmp_path, Turn(0))) == landed(as_ever)


def test_garbled_ratings_are_any_of_the_scale_for_so_long_and_the_truth_is_as_ever(as_ever, garbled):
    pd.testing.assert_frame_equal(truth(as_ever), truth(garbled))
    before, after = (
        table(folder, "hris/reviews").drop_duplicates(["review_id", "file"]).set_index(["review_id", "file"])
        for folder in (as_ever, garbled)
    )
    assert before.index.equals(after.index)
    ratings = pd.DataFrame({side: pd.to_numeric(frame["rating"], errors="coerce") for side, frame in
                            (("before", before), ("after", after))}).dropna()  # fmt: skip
    differs = ratings["before"] != ratings["after"]
    by_file = differs.groupby("file").agg(["mean", "size"])
    garbled_files = by_file.index.isin(["2024-02-01", "2024-03-01"])
    assert (by_file.loc[~garbled_files, "mean"] == 0).all()
    assert (by_file.loc[garbled_files, "size"] > 20).all()
    assert by_file.loc[garbled_files, "mean"].mean() == pytest.approx(0.49, abs=0.2)
    assert ratings["after"].between(1, 5).mean() > 0.99, "the gate cannot see it"
    others = {name for name in landed(as_ever) if "hris/reviews" not in name}
    assert all(landed(as_ever)[name] == landed(garbled)[name] for name in others)


def test_a_gap_is_one_months_file_and_closed_by_a_redelivery_a_day_later(tmp_path, as_ever):
    gap = company(tmp_path, Gap(4, share=0.10))
    changed = {name for name in landed(gap) if landed(gap)[name] != landed(as_ever).get(name)}
    late, corrected = (f"landing/ats/applications/2024-03-0{day}.csv.gz" for day in (1, 2))
    assert changed == {late, corrected}
    applications = table(gap, "ats/applications")
    blank = applications["years_experience"].astype("str").fillna("").str.strip().eq("")
    shares = blank.groupby(applications["file"]).mean()
    assert shares["2024-03-01"] == pytest.approx(0.10, abs=0.005)
    assert shares.drop("2024-03-01").max() < 0.03


def test_a_company_goes_on_as_what_it_is(tmp_path, turned):
    history(
        tmp_path, months=MONTHS - 1, applications_per_month=SIZE, seed=5, scenario=Turn(2, experience=-1.0)
    )
    with pytest.raises(ValueError, match="holds another practice company"):
        history(tmp_path, months=MONTHS, applications_per_month=SIZE, seed=5)
    answer(tmp_path, "2024-02")
    assert landed(tmp_path) == landed(turned)


@pytest.mark.parametrize(
    "scenario",
    [Shift(3, 0.5), Turn(2, drive=2.0), Garble(1, 2, 0.3), Gap(7, 0.1)],
    ids=lambda one: type(one).__name__,
)
def test_what_is_written_down_is_read_again(scenario):
    assert scenarios.from_dict(scenarios.as_dict(scenario)) == scenario


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Turn(-1), "turn.month is -1; give the index of a month"),
        (lambda: Turn(0, drive=np.nan), "turn.drive is no finite number"),
        (lambda: Garble(0, 0, 0.5), "garble.months is 0; give how many months"),
        (lambda: Garble(0, 1, 0.0), "garble.share is 0.0; give a share above 0"),
        (lambda: Gap(0, 1.5), "gap.share is 1.5; give a share above 0"),
        (lambda: scenarios.from_dict({"kind": "flood"}), "'flood'; it may be shift, turn, garble, gap"),
        (lambda: scenarios.from_dict({"kind": "gap", "sheer": 1}), "scenario.sheer: a gap has month, share"),
    ],
)
def test_what_cannot_happen_is_refused(make, says):
    with pytest.raises(ValueError, match=says):
        make()
