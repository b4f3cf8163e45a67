"""Labels as of a time, held to a reference that goes through the source rows one by one."""

from datetime import timedelta

import pandas as pd
import pytest
import small_company as company
from hrloop import labels, usecase


@pytest.fixture(scope="module")
def recruitment(server) -> usecase.UseCase:
    return usecase.load("recruitment", server.settings.project)


@pytest.fixture(scope="module")
def rows() -> company.Rows:
    return company.random_rows(seed=11, applications=120)


@pytest.fixture(scope="module")
def standing(server, tmp_path_factory, rows):
    with company.fresh(server, tmp_path_factory.mktemp("labels")) as warehouse:
        company.insert(warehouse, rows)
        company.build(warehouse, company.END, ["+int_outcome_milestone_versions", "warehouse_standing"])
        yield warehouse


def test_every_milestone_is_what_was_known(standing, recruitment, rows):
    cases = {row["application_id"] for row in rows.tables["ats.applications"]}
    seen = set()
    for days in range(120, (company.END - company.START).days, 70):
        as_of = company.START + timedelta(days=days, hours=5)
        table = labels.frame(standing, recruitment, as_of)
        expected = {
            (case, months): outcome
            for case in cases
            for months in recruitment.outcome.milestones
            if (outcome := company.outcome(rows, case, months, as_of)) is not None
        }
        found = {
            (row.case_key, row.milestone_months): (
                row.label_status,
                None if pd.isna(row.label) else row.label,
            )
            for row in table.itertuples()
        }
        assert found == expected, as_of
        assert (table["label_known_at"] <= as_of).all()
        seen |= set(found.values())
    everything = {
        ("observed", 0.0),
        ("observed", 1.0),
        ("pending", None),
        ("missing", None),
        ("censored", None),
    }
    assert seen == everything, "the reference was not put to the test"


def test_one_milestone_and_none_that_is_not_declared(standing, recruitment):
    table = labels.frame(standing, recruitment, company.END, milestone=12)
    assert set(table["milestone_months"]) == {12}
    with pytest.raises(ValueError, match=r"declares no milestone 9; it has \[3, 6, 12, 24\]"):
        labels.frame(standing, recruitment, company.END, milestone=9)


def test_types_do_not_depend_on_the_rows(standing, recruitment):
    empty = labels.frame(standing, recruitment, company.START)
    full = labels.frame(standing, recruitment, company.END)
    assert len(empty) == 0
    assert len(full) > 0
    for name in ("label", "retained", "rating"):
        assert empty[name].dtype == full[name].dtype == "float64"
    assert empty["label_known_at"].dtype == full["label_known_at"].dtype == "datetime64[us, UTC]"
