"""Verdicts on batches: what blocks, what opens the way, and that no run, order or death changes them."""

import os
import sys

import pytest
from hrloop import quality
from hrloop.warehouse.fingerprint import fingerprint
from judged import DAY, application, at, employee, requisition
from sqlalchemy import text

gate_module = sys.modules["hrloop.quality.gate"]  # the package's own `gate` is the function
TABLES = ["ats__requisitions", "ats__applications", "hris__employees"]


def hashes(company, batches: bool = True) -> dict[str, str]:
    """Fingerprints of all that the gate touches."""
    names = [f"{schema}.{table}" for schema in ("raw", "quarantine") for table in TABLES]
    names += ["loop.batches", "loop.gate_results"] if batches else []
    return {name: fingerprint(company.wh, name) for name in names}


def gap(rows: list[dict], count: int) -> list[dict]:
    return [row | {"years_experience": ""} if place < count else row for place, row in enumerate(rows)]


# Blocking, and the way on -----------------------------------------------------------------------------------


def test_a_bad_batch_blocks_until_all_its_keys_have_come_again(company):
    rows = [application(n) for n in range(1, 101)]
    company.file("ats.requisitions", [requisition()])
    company.file("ats.applications", gap(rows, 6))
    assert not company.gate().passed
    assert not company.gate("2026-09-02").passed  # nothing new: it blocks every later round, too
    company.file("ats.applications", rows[:99], "2026-09-03-partly")
    assert not company.gate("2026-09-03").passed  # one key has not come again
    assert company.status("ats.applications")[f"{DAY}.csv"] == "failed"
    company.file("ats.applications", rows[98:], "2026-09-04-rest")  # two deliveries may share the work
    report = company.gate("2026-09-04")
    assert report.passed, report.failures
    assert company.status("ats.applications") == {
        f"{DAY}.csv": "superseded",
        "2026-09-03-partly.csv": "passed",
        "2026-09-04-rest.csv": "passed",
    }
    assert company.balanced()
    assert not company.gate("2026-09-03").passed  # run again, it says what it said
    assert company.gate("2026-09-04").passed


def test_a_correction_that_is_no_better_opens_nothing(company):
    rows = [application(n) for n in range(1, 101)]
    company.file("ats.requisitions", [requisition()])
    company.file("ats.applications", gap(rows, 6))
    company.file("ats.applications", gap(rows, 7), "2026-09-02-corrected")
    report = company.gate("2026-09-02")
    assert {f.batch for f in report.failures} == {f"{DAY}.csv", "2026-09-02-corrected.csv"}
    company.file("ats.applications", rows, "2026-09-03-corrected")
    assert company.gate("2026-09-03").passed


def test_an_earlier_good_delivery_does_not_excuse_a_later_bad_one(company):
    rows = [application(n) for n in range(1, 101)]
    company.file("ats.requisitions", [requisition()])
    company.file("ats.applications", rows)
    company.file("ats.applications", gap(rows, 6), "2026-09-02")
    assert not company.gate("2026-09-02").passed


def test_an_empty_file_gives_way_to_one_of_its_name_and_to_no_other(company):
    company.empty_file("ats.applications")
    company.file("ats.requisitions", [requisition()])
    assert not company.gate().passed
    company.file(
        "ats.applications", [application(1)], "2026-10-01"
    )  # next month's: September is still missing
    assert not company.gate("2026-10-01").passed
    company.file("ats.applications", [application(2)], f"{DAY}-corrected")
    with company.wh.engine("admin").begin() as connection:
        company.take(at("2026-10-02"))
        connection.execute(
            text("update loop.batches set arrived_at = '2026-10-02' where file_name like '%corrected.csv'")
        )
    assert company.gate("2026-10-02").passed


def test_nothing_delivered_is_no_pass(company):
    report = company.gate()
    assert not report.passed
    assert "No row has passed the gate" in report.failures[0].detail
    assert "hris.employees" in report.not_yet_passed


def test_files_that_arrive_later_are_not_judged(company):
    company.file("ats.requisitions", [requisition()])
    company.file("ats.requisitions", [requisition(2, job_family="")], "2026-10-01")
    company.take(at("2026-10-01"))
    report = quality.gate(company.wh, company.settings, at(DAY))
    assert report.passed
    assert company.status("ats.requisitions")["2026-10-01.csv"] == "loaded"


# Freshness --------------------------------------------------------------------------------------------------


def test_hr_master_data_goes_stale_after_a_quarter(company):
    company.file("hris.employees", [employee(n) for n in range(1, 20)], "2026-06-01")
    assert company.gate("2026-06-01").passed
    assert company.gate("2026-08-31").passed  # 91 days
    report = company.gate("2026-09-02")
    (failure,) = report.failures
    assert (failure.table, failure.check, failure.threshold) == ("hris.employees", "freshness", 92)
    assert failure.observed == pytest.approx(93 + 5.5 / 24)
    assert "Deliver a newer export" in failure.detail
    recorded = company.rows(
        "select as_of, passed from loop.gate_results where check_name = 'freshness' order by as_of"
    )
    assert recorded == [(at("2026-06-01"), True), (at("2026-08-31"), True), (at("2026-09-02"), False)]
    company.file("hris.employees", [employee(1)], "2026-09-03")
    assert company.gate("2026-09-03").passed


def test_a_delivery_that_failed_refreshes_nothing(company):
    company.file("hris.employees", [employee(n) for n in range(1, 20)], "2026-06-01")
    company.file("hris.employees", [employee(n, job_level="") for n in range(1, 20)], "2026-09-02")
    report = company.gate("2026-09-03")
    assert {f.check for f in report.failures} == {"completeness", "freshness"}


# Taxonomy ---------------------------------------------------------------------------------------------------


def test_more_than_five_per_cent_unknown_terms_fail(company):
    def skilled(unknown: int) -> list[dict]:
        """100 rows of two terms each, of which so many are unknown."""
        return [
            application(n, skills="falconry| MS Excel " if n < unknown else "SQL|py3") for n in range(100)
        ]

    company.file("ats.requisitions", [requisition()])
    company.file("ats.applications", skilled(10))  # 10 of 200
    assert company.gate().passed
    company.file("ats.applications", skilled(11), "2026-09-02")
    report = company.gate("2026-09-02")
    (failure,) = report.failures
    assert (failure.check, failure.field, failure.observed) == ("taxonomy", "skills", 5.5)
    assert "5.50 % of the 200 skills" in failure.detail
    assert "'falconry'" in failure.detail


def test_job_families_are_mapped_in_any_case_and_blanks_are_not_terms(company):
    rows = [requisition(n, job_family=" Eng " if n % 2 else "HR") for n in range(100)]
    rows += [requisition(n, job_family=" ", required_skills="|python||") for n in range(100, 105)]
    company.file("ats.requisitions", rows)
    report = company.gate()
    assert report.passed, report.failures
    rows = dict(company.rows("select field, rows from loop.gate_results where check_name = 'taxonomy'"))
    assert rows == {"job_family": 100, "required_skills": 205}


# Run twice, in any order, killed ----------------------------------------------------------------------------


def deliveries(company) -> list[str]:
    """Three months with a bad batch, its correction, dirt, and a reference that comes too late."""
    company.file("ats.requisitions", [requisition(1), requisition(2, headcount="0")], "2026-07-01")
    company.file("ats.requisitions", [requisition(3)], "2026-09-02")
    for month, first in (("2026-07-01", 0), ("2026-08-01", 100), ("2026-09-01", 200)):
        rows = [
            application(n, applied_at="2026-06-20T00:00:00Z", updated_at="") for n in range(first, first + 60)
        ]
        rows[1] |= {"years_experience": "99"}
        rows[2] |= {"requisition_id": "R3"}  # of which nobody knows before September
        rows[3] |= {"requisition_id": "R2"}  # which is in quarantine itself
        rows.append(dict(rows[5]))
        if month == "2026-08-01":
            company.file("ats.applications", rows, "2026-08-02-corrected")
            rows = gap(rows, 20)
        company.file("ats.applications", rows, month)
    company.file("hris.employees", [employee(n) for n in range(30)], "2026-07-01")
    return ["2026-07-01", "2026-08-01", "2026-08-02", "2026-09-01", "2026-09-02"]


def outcome(company) -> tuple:
    """All that must not depend on when the gate ran."""
    batches = company.rows(
        "select batch_id, status, reason, rows_in, rows_passed, rows_quarantined from loop.batches order by 1"
    )
    results = company.rows("select * from loop.gate_results where batch_id is not null order by 1")
    return batches, results, hashes(company, batches=False)


def test_the_order_of_the_rounds_changes_nothing(company):
    days = deliveries(company)
    for day in days:
        last = company.gate(day)
    assert last.passed, last.failures
    assert {
        "A202": ["unknown_requisition_id"],
        "A203": ["unknown_requisition_id"],
    }.items() <= company.quarantine("ats.applications").items()
    in_order = outcome(company)
    shuffled = [days[place] for place in (3, 0, 4, 2, 1)]
    for order in (shuffled, ["2026-09-02"]):
        company.forget()
        for day in order:
            company.gate(day)
        assert outcome(company) == in_order
        assert company.balanced()


def test_a_second_run_changes_nothing(company):
    deliveries(company)
    first = company.gate("2026-09-02")
    before = hashes(company)
    assert company.gate("2026-09-02") == first
    assert hashes(company) == before


def dies_in(name: str, company, calls: int = 1, late: bool = False) -> None:
    """Run the gate in a process that dies, without any cleaning up, in the n-th call of a function of it."""
    company.wh.dispose()
    child = os.fork()
    if child == 0:
        original, left = getattr(gate_module, name), [calls]

        def dying(*arguments, **named):
            left[0] -= 1
            if left[0] == 0:
                if late:
                    original(*arguments, **named)
                os._exit(9)
            return original(*arguments, **named)

        setattr(gate_module, name, dying)
        try:
            quality.gate(company.wh, company.settings, at("2026-09-02"))
        finally:
            os._exit(1)  # it did not die where it should
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


def test_killed_at_any_point_and_run_again_it_leaves_what_one_run_leaves(company):
    deliveries(company)
    company.gate("2026-09-02")
    whole = hashes(company)
    points = [
        {"name": "move", "calls": 2},  # requisitions are through, and nothing else
        {"name": "_judge"},  # rows have moved, no verdict
        {"name": "write", "late": True},  # in the middle of the transaction that records the verdicts
        {"name": "_freshness"},
    ]
    for point in points:
        company.forget()
        company.take(at("2026-09-02"))
        dies_in(company=company, **point)
        if point["name"] in ("move", "_judge", "write"):
            assert {"loaded"} == {status for (status,) in company.rows("select status from loop.batches")}
        assert company.balanced()
        quality.gate(company.wh, company.settings, at("2026-09-02"))
        assert hashes(company) == whole, point


# Fail closed ------------------------------------------------------------------------------------------------


def test_whatever_goes_wrong_while_checking_nothing_passes(company, monkeypatch):
    from hrloop.quality import expectations

    def broken(*_):
        raise RuntimeError("out of order")

    deliveries(company)
    monkeypatch.setattr(expectations, "_fetch", broken)
    with pytest.raises(RuntimeError, match="out of order"):
        company.gate("2026-09-02")
    assert {"loaded"} == {status for (status,) in company.rows("select status from loop.batches")}
    monkeypatch.undo()
    assert company.gate("2026-09-02").passed


def test_rows_that_vanished_from_raw_fail_the_batch(company):
    company.file("ats.requisitions", [requisition(n) for n in range(30)])
    company.take(at(DAY))
    with company.wh.engine("admin").begin() as connection:
        connection.exec_driver_sql("delete from raw.ats__requisitions where requisition_id = 'R3'")
    report = quality.gate(company.wh, company.settings, at(DAY))
    assert "raw and quarantine hold 29 of them" in report.failures[0].detail


def test_the_gate_runs_as_loader_and_needs_no_more(company):
    company.file("ats.requisitions", [requisition()])
    company.take(at(DAY))
    company.wh.dispose()
    quality.gate(company.wh, company.settings, at(DAY))
    assert set(company.wh._engines) == {"loader"}


# What people see --------------------------------------------------------------------------------------------


def test_data_docs_show_the_verdict_and_no_value_of_a_row_nor_a_password(documented):
    company = documented
    company.file("ats.requisitions", [requisition()])
    company.file("ats.applications", gap([application(n) for n in range(1, 101)], 6))
    company.gate()
    home = company.settings.home
    index = (home / "data_docs" / "index.html").read_text()
    assert "ats.applications" in index
    (page,) = (home / "data_docs" / "validations" / "ats" / "applications").glob("*/*/*.html")
    shown = page.read_text()
    assert "years_experience has a value in at least 95 % of the rows of each batch" in shown
    assert "at worst 94.00 %" in shown
    assert "2026-09-01T060000Z gate" in str(page)
    password = company.settings.secret("postgres_loader")
    for file in [*home.glob("data_docs/**/*"), *home.glob("gate/**/*")]:
        if file.is_file() and file.suffix in (".html", ".json", ""):
            content = file.read_text(errors="ignore")
            assert password not in content, file
            assert "Person 7" not in content, file
    company.gate("2026-09-02")
    assert "ats.applications" in (home / "data_docs" / "index.html").read_text()  # the pages stay
    assert (home / "data_docs" / "expectations" / "ats" / "applications.html").exists()
