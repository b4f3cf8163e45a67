"""The contract says what SOURCES of the documentation says, and a broken one is refused by name."""

import pytest
from hrloop.sources import contract
from hrloop.sources.contract import ContractError

TABLES = contract.load()


def test_holds_the_ten_tables_with_their_keys():
    assert {name: table.key for name, table in TABLES.items()} == {
        "ats.requisitions": ("requisition_id",),
        "ats.applications": ("application_id",),
        "ats.application_events": ("event_id",),
        "ats.feedback": ("feedback_id",),
        "hris.employees": ("employee_id", "valid_from"),
        "hris.terminations": ("employee_id",),
        "hris.reviews": ("review_id",),
        "hris.work_months": ("employee_id", "month"),
        "hris.surveys": ("employee_id", "surveyed_on"),
        "hris.interventions": ("intervention_id",),
    }


def test_marks_critical_and_withheld_columns():
    applications, employees = TABLES["ats.applications"], TABLES["hris.employees"]
    assert applications.critical == ["source_channel", "years_experience", "education_level", "skills"]
    assert employees.critical == ["department", "job_family", "job_level", "manager_id"]
    assert applications.withheld == ["candidate_id", "name", "email", "gender", "birth_year"]
    assert applications.protected == ["gender", "birth_year"]
    assert employees.keys_of_persons == {
        "employee_id": "employee_key",
        "candidate_id": "candidate_key",
        "manager_id": "manager_key",
    }


def test_names_a_table_for_people_and_for_postgres():
    table = TABLES["ats.applications"]
    assert (table.full_name, table.raw, table.quarantine) == (
        "ats.applications",
        "raw.ats__applications",
        "quarantine.ats__applications",
    )


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ("tables: {a.b: {key: [x], happened_at: x, columns: {x: {type: date}}}}", "description"),
        (
            "tables: {a.b: {description: d, key: [y], happened_at: x, columns: {x: {type: date}}}}",
            "key names y",
        ),
        (
            "tables: {a.b: {description: d, key: [x], happened_at: x, columns: {x: {type: day}}}}",
            "tables.a.b.columns.x.type",
        ),
        (
            "tables: {a.b: {description: d, key: [x], happened_at: x,"
            " columns: {x: {type: text, required: true}}}}",
            "neither timestamp nor date",
        ),
        (
            "tables: {a.b: {description: d, key: [x], happened_at: x,"
            " columns: {x: {type: date, required: true}, 'drop table': {type: text}}}}",
            "is no name",
        ),
        ("tables: {ab: {}}", "tables.ab"),
        ("columns: {}", "one top-level key"),
        ("tables: {", "not readable as YAML"),
    ],
)
def test_refuses_a_broken_contract_by_file_and_key(tmp_path, document, told):
    path = tmp_path / "contract.yaml"
    path.write_text(document)
    with pytest.raises(ContractError) as error:
        contract.load(path)
    assert str(path) in str(error.value)
    assert told in str(error.value)
