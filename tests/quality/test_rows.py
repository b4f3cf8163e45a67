"""Hard rules: which rows go to quarantine, with what; and that no row is ever lost."""

import string
from collections import Counter

from hrloop import quality
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from judged import DAY, application, at, employee, requisition
from sqlalchemy import text

FAR = "2031-01-01T00:00:00Z"


def event(number: int, **values) -> dict:
    return {
        "event_id": f"V{number}",
        "application_id": "A1",
        "stage": "screened",
        "occurred_at": "2026-08-20T09:00:00Z",
        "score": "3",
        **values,
    }


BROKEN = [
    ("ats.applications", application, {"applied_at": "2026-02-30T09:00:00Z"}, "impossible_applied_at"),
    ("ats.applications", application, {"applied_at": "soon"}, "impossible_applied_at"),
    ("ats.applications", application, {"applied_at": " "}, "missing_applied_at"),
    ("ats.applications", application, {"applied_at": FAR, "updated_at": ""}, "applied_after_known"),
    ("ats.applications", application, {"applied_at": "1970-01-01T00:00:00Z"}, "applied_too_early"),
    ("ats.applications", application, {"requisition_id": "R404"}, "unknown_requisition_id"),
    ("ats.applications", application, {"requisition_id": ""}, "missing_requisition_id"),
    ("ats.applications", application, {"candidate_id": "NaN"}, "missing_candidate_id"),
    ("ats.applications", application, {"years_experience": "140"}, "years_experience_out_of_range"),
    ("ats.applications", application, {"years_experience": "-1"}, "years_experience_out_of_range"),
    ("ats.applications", application, {"years_experience": "five"}, "unreadable_years_experience"),
    ("ats.applications", application, {"years_experience": "inf"}, "unreadable_years_experience"),
    ("ats.applications", application, {"foreign_experience": "perhaps"}, "unreadable_foreign_experience"),
    ("ats.applications", application, {"assessment_score": "101"}, "assessment_score_out_of_range"),
    ("ats.requisitions", requisition, {"headcount": "2.5"}, "unreadable_headcount"),
    ("ats.requisitions", requisition, {"headcount": "0"}, "headcount_out_of_range"),
    ("ats.requisitions", requisition, {"closed_at": "2026-01-01T00:00:00Z"}, "closed_before_opened"),
    ("ats.application_events", event, {"stage": "hirred"}, "unknown_stage"),
    ("ats.application_events", event, {"application_id": "X404"}, "unknown_application_id"),
    ("hris.employees", employee, {"hired_on": "2023-02-30"}, "impossible_hired_on"),
    ("hris.employees", employee, {"hired_on": "today"}, "impossible_hired_on"),
    ("hris.employees", employee, {"fte": "100"}, "fte_out_of_range"),
]
KEPT = [
    ("ats.applications", application, {"years_experience": "0"}),
    ("ats.applications", application, {"years_experience": "60.0"}),
    ("ats.applications", application, {"years_experience": ""}),  # missing is counted, not quarantined
    ("ats.applications", application, {"assessment_score": "NaN"}),
    ("ats.applications", application, {"requisition_id": " R1 "}),
    ("ats.applications", application, {"applied_at": "2026-09-01T09:00:00+10:00"}),
    ("ats.applications", application, {"birth_year": "19xx", "gender": "?"}),  # never decides on a row
    ("ats.requisitions", requisition, {"headcount": "3.0"}),
    ("hris.employees", employee, {"hired_on": "2026-12-01"}),  # contracts are signed ahead
]


def test_rows_that_break_a_rule_are_quarantined_whole_and_no_others(company):
    """One delivery with a row for each case, and enough good ones to pass."""
    rows = {
        "ats.requisitions": [requisition(n) for n in range(1, 40)],
        "ats.applications": [application(n) for n in range(1, 800)],
        "ats.application_events": [event(n) for n in range(1, 40)],
        "hris.employees": [employee(n) for n in range(1, 40)],
    }
    expected = {table: {} for table in rows}
    for number, (table, make, values, *rule) in enumerate([*BROKEN, *KEPT], start=1000):
        row = make(number, **values)
        rows[table].append(row)
        if rule:
            expected[table][next(iter(row.values()))] = rule
    for table, lines in rows.items():
        columns = dict.fromkeys(name for line in lines for name in line)
        company.file(table, [{name: line.get(name) for name in columns} for line in lines])
    report = company.gate()
    assert report.passed, report.failures
    assert {table: company.quarantine(table) for table in rows} == expected
    assert report.quarantined == len(BROKEN)
    assert company.balanced()

    (key,) = [key for key, rule in expected["ats.applications"].items() if rule == ["applied_too_early"]]
    ((detail, original, as_of),) = company.rows(
        "select detail, original, quarantined_as_of from quarantine.ats__applications"
        " where original->>'application_id' = :key",
        key=key,
    )
    assert detail == "applied_at '1970-01-01T00:00:00Z': no applicant tracking system is that old"
    assert (original["name"], original["gender"]) == (f"Person {key[1:]}", "f")
    assert original["applied_at"] == "1970-01-01T00:00:00Z"
    assert not [name for name in original if name.startswith("_") or name.endswith("_key")]
    assert as_of == at(DAY, 0).replace(minute=30)  # as of its arrival, whenever the gate ran

    counted = dict(
        company.rows(
            "select check_name, observed from loop.gate_results where table_name = 'applications'"
            " and check_name like 'rule %' and passed"
        )
    )
    assert counted["rule impossible_applied_at"] == 2
    assert counted["rule years_experience_out_of_range"] == 2


def test_a_row_with_several_faults_names_them_all(company):
    company.file("ats.requisitions", [requisition(), requisition(2)])
    bad = {"requisition_id": "R404", "years_experience": "-3", "applied_at": "1970-01-01T00:00:00Z"}
    company.file("ats.applications", [application(n) for n in range(50)] + [application(77, **bad)])
    company.gate()
    assert company.quarantine("ats.applications") == {
        "A77": ["applied_too_early", "unknown_requisition_id", "years_experience_out_of_range"]
    }


def test_what_sources_quarantined_counts_and_columns_beside_the_contract_are_kept(company):
    company.file("ats.requisitions", [requisition()])
    rows = [application(n, legacy="x") for n in range(1, 60)]
    rows += [application(1, legacy="twice"), application(60, application_id="", legacy="y")]
    rows += [application(61, years_experience="200", legacy="z")]
    company.file("ats.applications", rows)
    report = company.gate()
    assert report.passed, report.failures
    assert Counter(
        rule for (rules,) in company.rows("select rules from quarantine.ats__applications") for rule in rules
    ) == {"duplicate_key": 1, "missing_key": 1, "years_experience_out_of_range": 1}
    assert company.rows(
        "select original->>'legacy' from quarantine.ats__applications"
        " where original->>'application_id' = 'A61'"
    ) == [("z",)]
    assert company.balanced()


def test_a_batch_of_which_all_was_quarantined_fails(company):
    company.file("ats.requisitions", [requisition()])
    company.file("ats.applications", [application(n, requisition_id="R404") for n in range(30)])
    report = company.gate()
    assert not report.passed
    (failure,) = report.failures
    assert failure.check == "rows"
    assert "all 30 rows broke a rule (unknown_requisition_id 30)" in failure.detail
    assert company.status("ats.applications") == {f"{DAY}.csv": "failed"}
    assert company.balanced()


def test_a_batch_whose_rows_were_all_delivered_again_does_not_fail(company):
    """Two deliveries of one night with the same rows: the later one's stand, and the earlier has no fault."""
    company.file("ats.requisitions", [requisition()])
    company.file("ats.applications", [application(n) for n in range(30)])
    company.file("ats.applications", [application(n, cover_letter="Dear") for n in range(30)], f"{DAY}-again")
    report = company.gate()
    assert report.passed, report.failures
    assert set(company.status("ats.applications").values()) == {"passed"}
    assert company.balanced()


# References -------------------------------------------------------------------------------------------------


def deliver_at(company, table, rows, name, arrived):
    """Deliver, and date the batch to a time of arrival of its own."""
    company.file(table, rows, name)
    company.take(at(DAY))
    with company.wh.engine("admin").begin() as connection:
        ids = connection.scalars(
            text("update loop.batches set arrived_at = :at where file_name = :f returning batch_id"),
            {"at": arrived, "f": f"{name}.csv"},
        ).all()
        relation = table.replace(".", "__")
        connection.execute(
            text(f"update raw.{relation} set _arrived_at = :at, _known_at = :at where _batch_id = any(:ids)"),
            {"at": arrived, "ids": list(ids)},
        )


def test_a_reference_may_come_some_hours_later_and_the_batch_waits_for_it(company):
    applications = [application(n, requisition_id="R2" if n == 1 else "R1") for n in range(30)]
    deliver_at(company, "ats.requisitions", [requisition(1)], f"{DAY}-a", at(DAY, 1))
    deliver_at(company, "ats.applications", applications, f"{DAY}-b", at(DAY, 1))
    report = quality.gate(company.wh, company.settings, at(DAY, 2))  # an hour after: R2 may still come
    assert report.passed
    assert len(report.waiting) == 1
    assert company.status("ats.applications") == {f"{DAY}-b.csv": "loaded"}
    assert company.quarantine("ats.applications") == {}
    deliver_at(company, "ats.requisitions", [requisition(2)], f"{DAY}-c", at(DAY, 3))
    report = quality.gate(company.wh, company.settings, at(DAY, 3))
    assert report.waiting == []
    assert company.status("ats.applications") == {f"{DAY}-b.csv": "passed"}
    assert company.quarantine("ats.applications") == {}


def test_a_reference_that_comes_too_late_does_not_count_whenever_the_gate_runs(company):
    deliver_at(company, "ats.requisitions", [requisition(1)], f"{DAY}-a", at(DAY, 1))
    applications = [application(n, requisition_id="R2" if n == 1 else "R1") for n in range(30)]
    deliver_at(company, "ats.applications", applications, f"{DAY}-b", at(DAY, 1))
    deliver_at(company, "ats.requisitions", [requisition(2)], f"{DAY}-c", at(DAY, 5))
    report = quality.gate(company.wh, company.settings, at("2026-09-20"))  # long after R2 came
    assert report.waiting == []
    assert company.quarantine("ats.applications") == {"A1": ["unknown_requisition_id"]}


def test_what_refers_to_a_waiting_batch_waits_too(company):
    deliver_at(company, "ats.requisitions", [requisition(1)], f"{DAY}-a", at(DAY, 0))
    applications = [application(n, requisition_id="R2" if n == 1 else "R1") for n in range(30)]
    deliver_at(company, "ats.applications", applications, f"{DAY}-b", at(DAY, 3))
    events = [event(n, application_id="A404" if n == 1 else "A2") for n in range(30)]
    deliver_at(company, "ats.application_events", events, f"{DAY}-d", at(DAY, 0))
    report = quality.gate(company.wh, company.settings, at(DAY, 4))  # the events' own hours have run out
    assert len(report.waiting) == 2
    report = quality.gate(company.wh, company.settings, at(DAY, 7))
    assert report.waiting == []
    assert company.quarantine("ats.application_events") == {"V1": ["unknown_application_id"]}


# No row is ever lost ----------------------------------------------------------------------------------------

junk = st.one_of(
    st.sampled_from(
        ["", " ", "\t", "\u00a0", "NaN", "R1", "A1", "R404", "2026-02-30", FAR, "1e400", "-5", "inf"]
    ),
    st.sampled_from(
        ["2026-08-10T09:00:00Z", "0001-01-01T00:00:00Z", "999999-01-01T00:00:00Z", "'; drop--", "\\N"]
    ),
    st.text(alphabet=string.printable + "äé\u2003\u200b日", max_size=12),
)
dirt = st.lists(
    st.dictionaries(st.sampled_from(list(application(1))), junk, max_size=4), min_size=1, max_size=12
)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(dirt=dirt, repeated=st.booleans())
def test_rows_in_are_rows_passed_and_quarantined_whatever_the_dirt(company, dirt, repeated):
    offset_free = {"applied_at", "updated_at"}  # a time without an offset is refused with its file, by design
    rows = [application(n) for n in range(1, 20)]
    for number, values in enumerate(dirt, start=20):
        tame = {
            k: v for k, v in values.items() if not (k in offset_free and v[:4].isdigit() and "Z" not in v)
        }
        rows.append(application(number, **tame))
    rows += rows[-1:] * repeated
    company.forget()
    company.file("ats.requisitions", [requisition()])
    company.file("ats.applications", rows)
    company.gate()
    ((came,),) = company.rows("select rows_in from loop.batches where table_name = 'applications'")
    assert came == len(rows)
    assert company.balanced()
