"""Completeness: 95.00 % passes and 94.99 % fails, by batch and by group, whatever missing looks like."""

from fractions import Fraction

import pytest
from hrloop.quality.rules import missing
from judged import DAY, application, employee, requisition
from sqlalchemy import text


def failures(report):
    return {(f.table, f.field, f.group) for f in report.failures if f.check == "completeness"}


def applications(count: int, without: int, **values) -> list[dict]:
    """Applications of which the first ``without`` have no years of experience; all of one channel."""
    gap = {"years_experience": ""}
    return [
        application(n, **{"source_channel": "referral", **values, **(gap if n <= without else {})})
        for n in range(1, count + 1)
    ]


def test_exactly_the_limit_passes(company):
    company.file("ats.requisitions", [requisition()])
    company.file("ats.applications", applications(2000, 100))  # 95.00 %
    report = company.gate()
    assert report.passed, report.failures
    assert company.status("ats.applications") == {f"{DAY}.csv": "passed"}


def test_a_hair_below_the_limit_fails_and_says_what_and_where(company):
    company.file("ats.requisitions", [requisition()])
    company.file("ats.applications", applications(1999, 100))  # 94.99 %
    report = company.gate()
    assert not report.passed
    assert company.status("ats.applications") == {f"{DAY}.csv": "failed"}
    batch = next(f for f in report.failures if f.group is None)
    assert batch.detail == (
        "ats.applications: years_experience is 94.99 % complete in batch 2026-09-01.csv (limit 95 %):"
        " 100 of 1,999 rows lack it, worst in source_channel=referral (94.99 % of 1,999 rows)."
        " The batch is held back; deliver a corrected file with the same keys."
    )
    assert (batch.observed, batch.threshold) == (pytest.approx(100 * 1899 / 1999), 95)


@pytest.mark.parametrize(
    ("rows", "gaps", "enough"),
    [
        (10_000, 500, True),
        (10_000, 501, False),  # 94.99 %
        (100_000, 5_001, False),  # 94.999 %
        (1_000_000_000, 50_000_000, True),
        (1_000_000_000, 50_000_001, False),
        (20, 1, True),
        (19, 1, False),
        (0, 0, False),
    ],
)
def test_the_limit_is_judged_in_whole_numbers(rows, gaps, enough):
    from hrloop.quality.expectations import complete_enough, percent

    assert complete_enough(rows, gaps, Fraction(95)) is enough
    if rows and not enough:
        assert float(percent(rows - gaps, rows)) < 95  # and the words do not contradict the verdict


def test_a_limit_with_decimals_is_exact():
    from hrloop.quality.expectations import complete_enough
    from hrloop.quality.suites import Completeness

    declared = Completeness(
        critical=["a"],
        minimum_percent=99.9,
        reason="as agreed here",
        group_minimum_rows=1,
        group_reason="as agreed here",
    )
    assert complete_enough(1000, 1, declared.minimum_percent)
    assert not complete_enough(1001, 2, declared.minimum_percent)


MISSING = [
    None,
    "",
    " ",
    "   ",
    "\t",
    "\n",
    "\r\n",
    "\u00a0",
    "\u00a0 \t",
    "\u2003",
    "\u200b",
    "\ufeff",
    "\u3000",
]
MISSING += ["NaN", "nan", "NAN", " NaN ", "\u00a0nan\t"]
PRESENT = [
    "0",
    "x",
    "n",
    "no",
    "nan1",
    "nano",
    "None",
    "NULL",
    "N/A",
    "-",
    ".",
    "ä",
    " x ",
    "\u00a0é",
    "n/a",
    "日本",
]


def test_what_counts_as_missing(warehouse):
    with warehouse.engine("loader").connect() as connection:
        verdicts = connection.execute(
            text(f"select v, {missing('v')} from unnest(cast(:v as text[])) as t (v)"),
            {"v": MISSING + PRESENT},
        ).all()
    assert [value for value, gone in verdicts if gone] == MISSING
    assert [value for value, gone in verdicts if not gone] == PRESENT


def test_every_kind_of_missing_counts_in_a_delivery(company):
    kinds = ["", "NaN", "nan", "   ", "\t", "\u00a0"]
    company.file("ats.requisitions", [requisition()])
    company.file(
        "ats.applications",
        [application(n, **({"years_experience": kinds[n]} if n < 6 else {})) for n in range(100)],
    )
    report = company.gate()
    (failure,) = [f for f in report.failures if f.field == "years_experience"]
    assert failure.observed == 94
    assert "6 of 100 rows lack it" in failure.detail


def test_a_group_fails_though_the_batch_is_good_enough(company):
    company.file("ats.requisitions", [requisition()])
    rows = [
        application(
            n,
            source_channel="agency" if n <= 100 else "job board",
            years_experience="" if n <= 6 else "5",  # 6 of 100 by the agency, 6 of 1,000 in all
        )
        for n in range(1, 1001)
    ]
    company.file("ats.applications", rows)
    report = company.gate()
    assert failures(report) == {("ats.applications", "years_experience", "source_channel=agency")}
    assert "94.00 % complete in source_channel=agency of batch" in report.failures[0].detail


def test_a_group_below_the_minimum_is_judged_with_the_batch(company):
    company.file("ats.requisitions", [requisition()])
    rows = [
        application(
            n, source_channel="agency" if n <= 99 else "job board", years_experience="" if n <= 6 else "5"
        )
        for n in range(1, 1001)
    ]
    company.file("ats.applications", rows)
    assert company.gate().passed


def test_rows_without_a_group_are_a_group_and_do_not_fail_its_own_column(company):
    company.file(
        "hris.employees",
        [
            employee(n, location="" if n <= 100 else "Berlin", job_level="" if n <= 6 else "senior")
            for n in range(1, 1001)
        ],
    )
    report = company.gate()
    assert failures(report) == {("hris.employees", "job_level", "location=(missing)")}
    company.file("ats.requisitions", [requisition()])
    company.file(
        "ats.applications",
        [application(n, **({"source_channel": ""} if n <= 150 else {})) for n in range(1, 4001)],
    )
    report = company.gate("2026-09-02")
    assert company.status("ats.applications") == {f"{DAY}.csv": "passed"}  # 96.25 % have a channel


def test_completeness_is_measured_before_rows_are_quarantined(company):
    """Six bad rows without the field: quarantining them first would make the rest complete."""
    company.file("ats.requisitions", [requisition()])
    rows = [
        application(n, **({"years_experience": "", "applied_at": "2026-02-30T09:00:00Z"} if n <= 6 else {}))
        for n in range(1, 101)
    ]
    company.file("ats.applications", rows)
    report = company.gate()
    assert ("ats.applications", "years_experience", None) in failures(report)
    assert len(company.quarantine("ats.applications")) == 6
    assert company.balanced()


def test_zero_rows_fail(company):
    company.empty_file("ats.requisitions")
    report = company.gate()
    assert not report.passed
    assert company.status("ats.requisitions") == {f"{DAY}.csv": "failed"}
    assert "has no rows" in report.failures[0].detail


def test_a_column_declared_absent_is_not_checked(company, tmp_path):
    declaration = tmp_path / "sources.yaml"
    declaration.write_text(
        "systems:\n  ats:\n    kind: files\n    arrival_from_name: '(\\d{4}-\\d{2}-\\d{2})'\n"
        "    tables:\n      applications:\n        absent: [years_experience]\n"
    )
    rows = [{k: v for k, v in application(n).items() if k != "years_experience"} for n in range(50)]
    company.settings = company.settings.model_copy(update={"sources": declaration})
    company.file("ats.requisitions", [requisition()])
    company.file("ats.applications", rows)
    report = company.gate()
    assert report.passed, report.failures
    checked = company.rows("select distinct field from loop.gate_results where table_name = 'applications'")
    assert ("years_experience",) not in checked
    assert ("skills",) in checked


def test_a_verdict_stands_in_the_table_for_each_batch_field_and_group(company):
    company.file("ats.requisitions", [requisition()])
    company.file("ats.applications", applications(200, 4))
    company.gate()
    found = company.rows(
        "select field, group_column, group_value, observed, threshold, rows, passed from loop.gate_results"
        " where table_name = 'applications' and check_name = 'completeness' and field like 'years%'"
        " order by 2 nulls first"
    )
    assert found == [
        ("years_experience", None, None, 98.0, 95.0, 200, True),
        ("years_experience", "source_channel", "referral", 98.0, 95.0, 200, True),
    ]
