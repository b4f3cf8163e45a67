"""What the practice company is told of the loop's decisions: by what a case is, with people's own ids."""

from datetime import timedelta

import pytest
from hrloop import practice, reviews, usecase
from hrloop.cli.practice import alerted, decided, reviewed
from small_company import Rows, insert

EMPLOYEES = ["E2310-0000001", "E2310-0000002", "E2310-0000003"]


@pytest.fixture
def of_applications(settings):
    return usecase.load("recruitment", settings.project)


@pytest.fixture
def of_employees(of_applications):
    """A use case that warns of employees month by month."""
    decision = of_applications.decision.model_copy(
        update={
            "case_key": "employee_month_id",
            "subject_key": "employee_key",
            "actions": usecase.Actions(positive="alert", negative="none"),
        }
    )
    codes = dict.fromkeys(practice.reviewing.HR_PARTNERS.says, "A reason.")
    said = of_applications.reviews.model_copy(update={"reason_codes": codes})
    return of_applications.model_copy(update={"name": "leavers", "decision": decision, "reviews": said})


@pytest.fixture
def use_cases(of_applications, of_employees):
    return [of_applications, of_employees]


@pytest.fixture
def told(warehouse, of_applications, of_employees, as_of):
    """Two decisions on applications, and two months' decisions on each employee, as the engine keeps them."""
    rows = Rows()
    for employee in EMPLOYEES:
        rows.add(
            "hris.employees", as_of, employee_id=employee, valid_from="2023-10-01", hired_on="2023-10-01"
        )

    def add(use_case, case_key, subject_key, action, number, features):
        rows.decisions.append(
            {
                "decision_id": f"{case_key} {use_case.name}", "use_case": use_case.name, "case_key": case_key,
                "subject_key": subject_key, "group_key": "g", "as_of": as_of, "model_version": 1,
                "score": 0.5, "probability": 0.5, "confidence": 0.5, "rank": number, "group_size": 9,
                "recommended_action": action, "route": "review", "exploration": number == 2,
                "selection_propensity": 0.5, "features": features,
            }
        )  # fmt: skip

    for number, action in enumerate(["advance", "decline"], 1):
        case = f"A2401-{number:07d}"
        add(of_applications, case, "k-C1", action, number, {"job_family": "sales"})
    for number, employee in enumerate(EMPLOYEES, 1):
        for month in ("2024-01", "2024-02"):
            action = (
                "alert" if (month, number) in (("2024-01", 1), ("2024-02", 1), ("2024-02", 2)) else "none"
            )
            shown = {"overtime_up": True, "messages_down": None, "survey_down": False, "tenure_months": 4.0}
            add(of_employees, f"k-{employee}:{month}", f"k-{employee}", action, number, shown)
    insert(warehouse, rows)


def test_decisions_are_told_by_what_a_case_is(warehouse, told, use_cases):
    rows = decided(warehouse, use_cases).sort_values("application_id")
    assert rows["application_id"].tolist() == ["A2401-0000001", "A2401-0000002"]
    assert rows["recommended_action"].tolist() == ["advance", "decline"]
    assert rows["exploration"].tolist() == [False, True]
    assert rows["action"].isna().all()

    rows = alerted(warehouse, use_cases)
    assert list(rows) == ["employee_id", "month", "action"]
    alerts = rows[rows["action"] == "alert"]
    assert set(zip(alerts["employee_id"], alerts["month"], strict=True)) == {
        (EMPLOYEES[0], "2024-01"),
        (EMPLOYEES[0], "2024-02"),
        (EMPLOYEES[1], "2024-02"),
    }
    assert (rows["action"] == "none").sum() == 3
    read = practice.retention.read_alerts(rows, rows["employee_id"], "2024-02")
    assert read["action"].tolist() == ["alert", "alert", "none"]


def test_what_a_person_finally_decided_is_told(warehouse, told, use_cases, as_of):
    for days, verdict, words in ((1, "agree", ""), (2, "overrule", "Leave is planned.")):
        reviews.record(
            warehouse,
            use_cases[1],
            f"k-{EMPLOYEES[1]}:2024-02 leavers",
            "P001",
            verdict,
            as_of + timedelta(days=days),
            reason_code="known_plans" if verdict == "overrule" else None,
            words=words,
        )
    rows = alerted(warehouse, use_cases).set_index(["employee_id", "month"])["action"]
    assert rows[EMPLOYEES[1], "2024-02"] == "none"
    assert (rows == "alert").sum() == 2


def test_without_such_a_use_case_people_decide_alone(warehouse, told, of_applications, of_employees):
    assert decided(warehouse, [of_employees]) is None
    assert alerted(warehouse, [of_applications]) is None


def test_each_decision_is_reviewed_by_its_own_people_and_only_once(warehouse, told, use_cases, as_of):
    number = {use_case.name: reviewed(warehouse, use_case, as_of, 100) for use_case in use_cases}
    assert number == {"recruitment": 2, "leavers": 6}
    assert reviewed(warehouse, use_cases[1], as_of, 100) == 6
    rows = warehouse.read("engine", "select decision_id, reviewer from loop.reviews").to_pylist()
    assert len(rows) == 8
    by = {row["decision_id"].split()[1]: row["reviewer"][0] for row in rows}
    assert by == {"recruitment": "U", "leavers": "P"}


def test_cases_that_nobody_there_knows_are_refused(warehouse, of_applications, as_of):
    other = of_applications.model_copy(
        update={"decision": of_applications.decision.model_copy(update={"case_key": "course_id"})}
    )
    with pytest.raises(ValueError, match="nobody in the practice company reviews decisions on course_id"):
        reviewed(warehouse, other, as_of, 10)
