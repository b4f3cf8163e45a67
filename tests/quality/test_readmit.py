"""Out of quarantine again: what keeps the rules by now, known from then on, with the books in balance."""

import hmac

import pytest
from hrloop import quality
from judged import DAY, application, at, requisition

LATER = at("2026-09-10")


def readmit(company, repairs=None, table="ats.applications", as_of=LATER, **selection):
    report = quality.readmit(company.wh, table, as_of, repairs, **selection)
    assert company.balanced()
    return report


@pytest.fixture
def held(company):
    """A delivery with three rows in quarantine, on lines 52 to 54."""
    company.file("ats.requisitions", [requisition()])
    rows = [application(n) for n in range(50)]
    rows += [
        application(50, years_experience="140", legacy="kept"),
        application(51, requisition_id="R2"),
        application(52, requisition_id="R2", years_experience="-1"),
    ]
    columns = [*rows[0], "legacy"]
    company.file("ats.applications", [{name: row.get(name) for name in columns} for row in rows])
    assert company.gate().passed
    assert set(company.quarantine("ats.applications")) == {"A50", "A51", "A52"}
    return company


def test_a_repaired_row_comes_back_whole_and_is_known_from_then_on(held):
    report = readmit(held, {"years_experience": "14"}, batch=f"{DAY}.csv", rows=[52])
    assert (report.readmitted, report.refused) == (1, [])
    ((row, known, happened, extra, key, line),) = held.rows(
        "select years_experience, _known_at, _happened_at, _extra, candidate_key, _row"
        " from raw.ats__applications where application_id = 'A50'"
    )
    assert (row, known, happened, extra, line) == ("14", LATER, at("2026-08-10", 9), {"legacy": "kept"}, 52)
    secret = held.settings.secret("pseudonym_key").encode()
    assert key == hmac.digest(secret, b"C50", "sha256").hex()[:32]
    ((rules, detail, at_),) = held.rows(
        "select rules, detail, readmitted_as_of from quarantine.ats__applications where row_number = 52"
    )
    assert rules == ["years_experience_out_of_range"]  # what was wrong stays on record
    assert detail.endswith('; re-admitted with {"years_experience": "14"}')
    assert at_ == LATER
    assert held.rows(
        "select rows_in, rows_passed, rows_quarantined from loop.batches where table_name = 'applications'"
    ) == [(53, 51, 2)]


def test_rows_that_still_break_a_rule_stay_and_say_which(held):
    report = readmit(held)
    assert report.readmitted == 0
    assert [(row.row_number, row.rules) for row in report.refused] == [
        (52, ["years_experience_out_of_range"]),
        (53, ["unknown_requisition_id"]),
        (54, ["unknown_requisition_id", "years_experience_out_of_range"]),
    ]
    assert "requisition_id 'R2': ats.requisitions has no such row" in report.refused[1].detail


def test_what_was_missing_may_come_later(held):
    held.file("ats.requisitions", [requisition(2)], "2026-09-05")
    assert held.gate("2026-09-05").passed
    assert set(held.quarantine("ats.applications")) == {
        "A50",
        "A51",
        "A52",
    }  # nobody brings them back unasked
    report = readmit(held)
    assert report.readmitted == 1
    assert set(held.quarantine("ats.applications")) == {"A50", "A52"}
    assert readmit(held).readmitted == 0  # once is once


def test_a_row_is_not_brought_back_over_a_later_one(held):
    held.file("ats.applications", [application(50, years_experience="15")], "2026-09-05")
    assert held.gate("2026-09-05").passed
    report = readmit(held, {"years_experience": "14"}, batch=f"{DAY}.csv", rows=[52])
    assert report.readmitted == 0
    assert report.refused[0].rules == ["duplicate_key"]
    assert "delivered with it or later stands" in report.refused[0].detail


def test_a_repeated_row_is_not_brought_back(company):
    company.file("ats.requisitions", [requisition()])
    company.file("ats.applications", [application(n) for n in range(20)] + [application(3)])
    company.gate()
    assert company.quarantine("ats.applications") == {"A3": ["duplicate_key"]}
    assert readmit(company).readmitted == 0


def test_a_batch_that_broke_rules_with_every_row_passes_once_they_come_back(company):
    company.file("ats.requisitions", [requisition()])
    company.file("ats.applications", [application(n, requisition_id="R2") for n in range(20)])
    assert not company.gate().passed
    company.file("ats.requisitions", [requisition(2)], "2026-09-05")
    assert not company.gate("2026-09-05").passed
    assert readmit(company).readmitted == 20
    report = company.gate("2026-09-11")
    assert report.passed, report.failures
    assert company.status("ats.applications") == {f"{DAY}.csv": "passed"}


def test_a_batch_that_is_held_back_gives_no_rows(company):
    company.file("ats.requisitions", [requisition()])
    rows = [application(n, years_experience="" if n < 6 else "5") for n in range(60)]
    company.file("ats.applications", [*rows, application(60, years_experience="140")])
    assert not company.gate().passed
    report = readmit(company, {"years_experience": "14"}, batch=f"{DAY}.csv", rows=[62])
    assert report.readmitted == 0
    assert "is held back for other reasons" in report.refused[0].detail


def test_mistakes_are_named(held):
    for arguments, message in (
        ({"table": "ats.nothing"}, "there is no table ats.nothing"),
        ({"repairs": {"years": "1"}, "batch": f"{DAY}.csv", "rows": [52]}, "has no column years"),
        ({"repairs": {"years_experience": "1"}}, "repairs are for rows that you name"),
        ({"as_of": at("2026-08-31")}, "re-admit its rows at a later as_of"),
    ):
        arguments = {"table": "ats.applications", "as_of": LATER, "repairs": None} | arguments
        with pytest.raises(ValueError, match=message):
            quality.readmit(held.wh, **arguments)
